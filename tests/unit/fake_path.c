/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *
cleared(size_t bytes)
{
	void *at = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(bytes, (size_t)RTE_CACHE_LINE_SIZE));

	return memset(at, 0, bytes);
}

static struct path_queue *
half_build(uint16_t id)
{
	struct path_queue *half = cleared(sizeof(*half) + FAKE_WORKERS * sizeof(half->lanes[0]));

	half->id = id;
	for (uint16_t w = 0; w < FAKE_WORKERS; w++)
		half->lanes[w].queue = half;
	return half;
}

static void
rings_build(struct path_adapter *adapter)
{
	char name[RTE_RING_NAMESIZE];

	adapter->rings = calloc(FAKE_WORKERS * FAKE_WORKERS, sizeof(adapter->rings[0]));
	for (unsigned i = 0; i < FAKE_WORKERS * FAKE_WORKERS; i++) {
		snprintf(name, sizeof(name), "fake-%u", i);
		adapter->rings[i] = rte_ring_create_elem(name, sizeof(struct handover), RING_FRAMES, SOCKET_ID_ANY,
							 RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
	}
	for (uint16_t w = 0; w < FAKE_WORKERS; w++) {
		adapter->lanes[w].inboxes = calloc(FAKE_WORKERS, sizeof(struct inbox));
		adapter->lanes[w].outboxes = calloc(FAKE_WORKERS, sizeof(struct outbox));
	}
}

static void
view_fill(struct fake_path *fake, struct rte_mempool *pool)
{
	struct view *view = fake->view;

	view->epoch = 1;
	view->queue_count = FAKE_QUEUES;
	view->vms = calloc(FAKE_QUEUES, sizeof(view->vms[0]));
	view->pools = calloc(FAKE_WORKERS, sizeof(view->pools[0]));
	view->lanes = calloc(FAKE_WORKERS * FAKE_QUEUES, sizeof(view->lanes[0]));
	view->frame_bytes_max = 1514;
	for (uint16_t id = 0; id < FAKE_QUEUES; id++) {
		view->queues[id] = (struct view_queue){
			.path = fake->halves[id],
			.policy = fake->policy,
			.running = true,
			.previous = WORKER_NONE,
			.waiting_max = FAKE_WAITING_MAX,
			.gather_frames = FAKE_GATHER,
		};
		for (uint16_t w = 0; w < FAKE_WORKERS; w++) {
			view->lanes[w * FAKE_QUEUES + id] = &fake->halves[id]->lanes[w];
			view->pools[w] = pool;
		}
	}
}

void
fake_path_build(struct fake_path *fake, const struct vm_ops *vm_ops, const struct nic_ops *nic_ops,
		struct rte_mempool *pool)
{
	fake->path = cleared(sizeof(*fake->path) + FAKE_WORKERS * sizeof(fake->path->workers[0]));
	fake->adapter = cleared(sizeof(*fake->adapter) + FAKE_WORKERS * sizeof(fake->adapter->lanes[0]));
	fake->view = calloc(1, sizeof(*fake->view) + FAKE_QUEUES * sizeof(fake->view->queues[0]));
	fake->policy = calloc(1, sizeof(*fake->policy));
	for (uint16_t id = 0; id < FAKE_QUEUES; id++)
		fake->halves[id] = half_build(id);
	fake->path->vm_ops = vm_ops;
	fake->path->worker_count = FAKE_WORKERS;
	for (uint16_t w = 0; w < FAKE_WORKERS; w++)
		fake->path->workers[w] = (struct worker){ .path = fake->path, .index = w, .now_cycles = 1, .wake = -1 };
	fake->adapter->path = fake->path;
	fake->adapter->nic_ops = nic_ops;
	fake->adapter->host_ops = nic_ops;
	rings_build(fake->adapter);
	view_fill(fake, pool);
}

void
fake_path_free(struct fake_path *fake)
{
	for (unsigned i = 0; i < FAKE_WORKERS * FAKE_WORKERS; i++)
		rte_ring_free(fake->adapter->rings[i]);
	for (uint16_t w = 0; w < FAKE_WORKERS; w++) {
		free(fake->adapter->lanes[w].inboxes);
		free(fake->adapter->lanes[w].outboxes);
	}
	for (uint16_t id = 0; id < FAKE_QUEUES; id++)
		free(fake->halves[id]);
	free(fake->adapter->rings);
	free(fake->view->lanes);
	free(fake->view->pools);
	free(fake->view->vms);
	free(fake->view);
	free(fake->policy);
	free(fake->adapter);
	free(fake->path);
}

struct passage
fake_passage(const struct fake_path *fake, uint16_t worker)
{
	return (struct passage){ .worker = &fake->path->workers[worker],
				 .adapter = fake->adapter,
				 .lane = &fake->adapter->lanes[worker],
				 .view = fake->view };
}

void
fake_attach(struct fake_path *fake, uint16_t queue, void *port)
{
	fake->view->queues[queue].port = port;
	fake->view->vms[fake->view->vm_count++] = queue;
}

uint64_t
fake_drops(const struct fake_path *fake, uint16_t queue, enum drop_reason reason)
{
	uint64_t sum = 0;

	for (uint16_t w = 0; w < FAKE_WORKERS; w++)
		sum += fake->halves[queue]->lanes[w].counters.drops[reason];
	return sum;
}
