/* SPDX-License-Identifier: BSD-3-Clause */
/* What workers see of an adapter, drawn from the model by control. */
#include "datapath/capture.h"

#include <stdlib.h>

enum {
	LIMIT_BURST_USECS = 10000,  /* 1 % of a second's frames */
	STORM_BURST_USECS = 100000, /* who comes up asks a few questions at once */
};

static void
policy_add_vlan(struct switch_policy *policy, uint16_t vlan)
{
	for (uint16_t i = 0; i < policy->vlan_count; i++)
		if (policy->vlans[i] == vlan)
			return;
	policy->vlans[policy->vlan_count++] = vlan;
	if (vlan == VLAN_ANY)
		policy->any_vlan = true;
	else
		policy->members[vlan / 64] |= UINT64_C(1) << vlan % 64;
}

static struct switch_policy *
policy_build(const struct queue *queue)
{
	struct switch_policy *policy = calloc(1, sizeof(*policy) + queue->filter_count * sizeof(policy->vlans[0]));
	const struct filter *filter;

	if (!policy)
		abort();
	policy->trunk = queue->vm->trunk;
	policy->spoof_check = queue->vm->spoof_check;
	policy->link_local = queue->vm->link_local;
	TAILQ_FOREACH(filter, &queue->filters, of_queue)
		policy_add_vlan(policy, filter->vlan);
	return policy;
}

uint16_t
worker_of_cpu(const struct path *path, uint16_t cpu)
{
	for (uint16_t i = 0; i < path->worker_count; i++)
		if (path->workers[i].cpu == cpu)
			return i;
	abort();
}

/* Of the view that is being built. */
static uint64_t
epoch_to_come(const struct path *path)
{
	return atomic_load_explicit(&path->epoch, memory_order_relaxed) + 1;
}

/* A queue that comes to another processor remembers from where and since when; see handover.c. */
static void
place_queue(const struct queue *queue, struct path *path)
{
	struct path_queue *half = queue->path;
	uint16_t home = worker_of_cpu(path, queue->cpu);

	if (half->home != WORKER_NONE && half->home != home) {
		half->previous = half->home;
		half->moved = epoch_to_come(path);
		path->moving = true;
	}
	half->home = home;
}

static double
byte_cycles_of(uint64_t rate)
{
	return rate ? 8.0 * (double)rte_get_tsc_hz() / (double)rate : 0;
}

/* A queue has its buffers and no more: what gathers at its home, and what waits there or on the way. */
static void
set_limits(struct view_queue *seen, const struct queue *queue)
{
	uint32_t frames = queue_coalesce_limit(queue->coalesce_frames, COALESCE_AUTO_FRAMES);
	uint32_t usecs = queue_coalesce_limit(queue->coalesce_usecs, COALESCE_AUTO_USECS);

	seen->gather_adaptive = queue->coalesce_usecs == COALESCE_AUTO;
	seen->gather_fewer = queue->coalesce_frames == COALESCE_AUTO;
	seen->gather_frames = (uint16_t)RTE_MIN(frames, queue->buffers / 2);
	seen->waiting_max = RTE_MIN(queue->buffers - seen->gather_frames, (uint32_t)WAITING_FRAMES_MAX);
	seen->gather_cycles = cycles_of(usecs);
	seen->rx_byte_cycles = byte_cycles_of(queue->rate_rx);
	seen->tx_byte_cycles = byte_cycles_of(queue->rate_tx);
	seen->limit_burst = cycles_of(LIMIT_BURST_USECS);
	seen->storm_cycles = queue->storm ? (double)rte_get_tsc_hz() / queue->storm : 0;
	seen->storm_burst = cycles_of(STORM_BURST_USECS);
}

/* Frames are split where the queue has lookahead memory and its other part is the guest's. */
static void
set_lookahead(struct view_queue *seen, const struct queue *queue)
{
	const struct memory *memory;

	if (!queue->lookahead_bytes || memory_space_of(queue, MEMORY_POST_LOOKAHEAD) != SPACE_GUEST)
		return;
	TAILQ_FOREACH(memory, &queue->memory, of_queue)
		if (memory->request.usage == MEMORY_LOOKAHEAD)
			seen->lookahead = memory->address;
	seen->lookahead_bytes = queue->lookahead_bytes;
	seen->passed = calloc(PASSED_KEYS, sizeof(seen->passed[0]));
	if (!seen->passed)
		abort();
}

static struct view_queue
view_queue_build(const struct queue *queue, struct path *path)
{
	struct path_queue *half = queue->path;
	struct view_queue seen = { .path = half, .running = queue->state == QUEUE_RUNNING };

	place_queue(queue, path);
	seen.home = half->home;
	seen.previous = half->previous;
	seen.moved = half->moved;
	set_limits(&seen, queue);
	set_lookahead(&seen, queue);
	if (queue->vm && seen.running) {
		seen.port = queue->vm->port;
		seen.policy = policy_build(queue);
	}
	return seen;
}

static struct switch_sides
sides_of(const struct adapter *adapter)
{
	struct nic_link link = { 0 };

	if (!adapter->host)
		return (struct switch_sides){ 0 };
	adapter->model->config.host->link(adapter->host->nic, &link);
	return (struct switch_sides){ .host = true,
				      .host_link_local = adapter->config.link_local,
				      .host_mac = link.mac };
}

struct view *
view_build(const struct adapter *adapter, struct path *path)
{
	const struct nic_ops *nic_ops = adapter->model->config.nic;
	uint32_t count = adapter->config.queues + 1;
	struct view *view = calloc(1, sizeof(*view) + count * sizeof(view->queues[0]));

	if (!view || !(view->vms = calloc(count, sizeof(view->vms[0]))) ||
	    !(view->pools = calloc(path->worker_count, sizeof(view->pools[0]))) ||
	    !(view->lanes = calloc(path->worker_count * count, sizeof(view->lanes[0]))))
		abort();
	view->epoch = epoch_to_come(path);
	view->nic = adapter->nic;
	view->filters = nic_ops->filters(adapter->nic);
	view->host = adapter->host ? adapter->host->nic : NULL;
	view->sides = sides_of(adapter);
	for (uint16_t w = 0; w < path->worker_count; w++)
		view->pools[w] = nic_ops->pool(adapter->nic, nic_ops->node_of_cpu(path->workers[w].cpu));
	view->frame_bytes_max = adapter->config.mtu + 14u;
	view->join = adapter->config.gro;
	view->captures = view_captures(adapter, &view->capture_count);
	view->queue_count = count;
	view->drop = view_queue_build(adapter->drop_queue, path);
	for (uint32_t id = 0; id < count; id++) {
		const struct queue *queue = adapter->queues[id];

		if (!queue || queue->state == QUEUE_DMA_STOPPED || queue->state == QUEUE_FREEING)
			continue;
		view->queues[id] = view_queue_build(queue, path);
		for (uint16_t w = 0; w < path->worker_count; w++)
			view->lanes[w * count + id] = &view->queues[id].path->lanes[w];
		if (view->queues[id].port)
			view->vms[view->vm_count++] = (uint16_t)id;
	}
	return view;
}

void
view_free(struct view *view)
{
	if (!view)
		return;
	for (uint32_t i = 0; i < view->queue_count; i++) {
		free((void *)view->queues[i].policy);
		free(view->queues[i].passed);
	}
	free(view->captures);
	free(view->lanes);
	free(view->pools);
	free(view->vms);
	free(view);
}
