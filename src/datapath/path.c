/* SPDX-License-Identifier: BSD-3-Clause */
/* The control side of the data path: starts workers, builds what they see, sums what they count. */
#include "datapath/capture.h"

#include <errno.h>
#include <limits.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Each outweighs any number of ports that a receiver polls. */
enum { FAR_FROM_MEMORY = 1 << 16, POLLS_IT_ALREADY = 1 << 20 };

static void
grace_wait(void *ctx)
{
	struct path *path = ctx;

	rte_rcu_qsbr_synchronize(path->grace, RTE_QSBR_THRID_INVALID);
}

/*
 * A queue moves again only once it has settled: no worker waits for another any more, and what waited has been dealt
 * with. Otherwise a home that lost the queue before it got it would deliver what it should still hold back.
 */
static void
settle(struct path *path)
{
	uint64_t epoch = atomic_load_explicit(&path->epoch, memory_order_relaxed);

	path->moving = false;
	while (handover_drained_by_all(path) < epoch)
		grace_wait(path);
	grace_wait(path);
	grace_wait(path);
}

/*
 * After the first wait nobody acts on an old view any more, but frames that did may still gather in lanes or wait
 * in rings, and each worker is asked to empty these. The second wait ends turns that began before that was asked;
 * by the end of the third every worker has delivered or dropped them as the new view says, or has asked the new view's
 * filters about those that wait on for descriptors.
 */
static void
path_synchronize(void *ctx)
{
	struct path *path = ctx;

	grace_wait(path);
	atomic_fetch_add_explicit(&path->flush_request, 1, memory_order_release);
	grace_wait(path);
	grace_wait(path);
	if (path->moving)
		settle(path);
}

/* A sleeping worker polls the descriptors of the view it fell asleep with: wake it to see the new one. */
static void
wake_all(void *ctx)
{
	struct path *path = ctx;

	for (uint16_t i = 0; i < path->worker_count; i++)
		worker_wake(&path->workers[i]);
}

struct grace
path_grace(struct path *path)
{
	return (struct grace){ .wait = grace_wait, .wake = wake_all, .ctx = path };
}

static int
grace_create(uint16_t workers, struct rte_rcu_qsbr **grace)
{
	*grace = rte_zmalloc("grace", rte_rcu_qsbr_get_memsize(workers), RTE_CACHE_LINE_SIZE);
	return *grace ? rte_rcu_qsbr_init(*grace, workers) : -ENOMEM;
}

static int
workers_launch(struct path *path, const struct cpumask *cpus)
{
	unsigned cpu = cpumask_next(cpus, 0), lcore;

	RTE_LCORE_FOREACH_WORKER(lcore) {
		struct worker *worker = &path->workers[path->worker_count];

		if (cpu == CPU_LIMIT)
			break;
		worker->path = path;
		worker->index = path->worker_count;
		worker->cpu = (uint16_t)cpu;
		worker->lcore = lcore;
		worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (worker->wake < 0 || rte_eal_remote_launch(worker_main, worker, lcore))
			return -ENODEV;
		path->worker_count++;
		cpu = cpumask_next(cpus, cpu + 1);
	}
	return cpu == CPU_LIMIT ? 0 : -ENODEV;
}

int
path_create(const struct cpumask *cpus, const struct vm_ops *vm, struct path **result)
{
	uint16_t workers = (uint16_t)cpumask_count(cpus);
	struct path *path = rte_zmalloc("path", sizeof(*path) + workers * sizeof(path->workers[0]), 0);
	struct roster *roster = calloc(1, sizeof(*roster));
	int error;

	if (!path || !roster) {
		rte_free(path);
		free(roster);
		return -ENOMEM;
	}
	path->vm_ops = vm;
	path->roster = roster;
	error = backlog_init();
	if (!error)
		error = grace_create(workers, &path->grace);
	if (!error)
		error = workers_launch(path, cpus);
	if (error) {
		path_destroy(path);
		return error;
	}
	*result = path;
	return 0;
}

void
path_destroy(struct path *path)
{
	atomic_store(&path->stopping, true);
	for (uint16_t i = 0; i < path->worker_count; i++) {
		eventfd_write(path->workers[i].wake, 1);
		rte_eal_wait_lcore(path->workers[i].lcore);
		close(path->workers[i].wake);
	}
	free(path->roster);
	rte_free(path->grace);
	rte_free(path);
}

/* The roster with `added` and without `removed`; either may be NULL. */
static int
roster_change(struct path *path, struct path_adapter *added, const struct path_adapter *removed)
{
	struct roster *old = path->roster;
	struct roster *roster = calloc(1, sizeof(*roster) + (old->count + 1u) * sizeof(roster->adapters[0]));

	if (!roster)
		return -ENOMEM;
	for (uint16_t i = 0; i < old->count; i++)
		if (old->adapters[i] != removed)
			roster->adapters[roster->count++] = old->adapters[i];
	if (added)
		roster->adapters[roster->count++] = added;
	atomic_store_explicit(&path->roster, roster, memory_order_release);
	wake_all(path);
	path_synchronize(path);
	free(old);
	return 0;
}

static unsigned
ports_polled(const struct path *path, uint16_t worker)
{
	const struct roster *roster = path->roster;
	unsigned ports = 0;

	for (uint16_t i = 0; i < roster->count; i++)
		for (uint16_t r = 0; r < roster->adapters[i]->receiver_count; r++)
			ports += roster->adapters[i]->receivers[r] == worker;
	return ports;
}

/*
 * Of the workers on these processors that poll nothing of this adapter yet, the one that polls the fewest ports; where
 * there is one, of those near the memory that the frames arrive in.
 */
static uint16_t
receiver_choose(const struct path_adapter *half, const struct adapter *adapter)
{
	const struct path *path = half->path;
	const int node = half->nic_ops->rx_node(adapter->nic, half->receiver_count);
	unsigned fewest = UINT_MAX;
	uint16_t best = 0;

	for (uint16_t w = 0; w < path->worker_count; w++) {
		unsigned ports = ports_polled(path, w);

		for (uint16_t r = 0; r < half->receiver_count; r++)
			ports += half->receivers[r] == w ? POLLS_IT_ALREADY : 0;
		if (half->nic_ops->node_of_cpu(path->workers[w].cpu) != node)
			ports += FAR_FROM_MEMORY;
		if (!cpumask_has(&adapter->config.cpus, path->workers[w].cpu) || ports >= fewest)
			continue;
		best = w;
		fewest = ports;
	}
	return best;
}

static int
rings_create(struct path_adapter *half)
{
	uint16_t workers = half->path->worker_count;
	char name[RTE_RING_NAMESIZE];

	half->rings = calloc((size_t)workers * workers, sizeof(half->rings[0]));
	for (unsigned i = 0; half->rings && i < (unsigned)workers * workers; i++) {
		snprintf(name, sizeof(name), "%p-%u", (void *)half, i);
		half->rings[i] = rte_ring_create_elem(name, sizeof(struct handover), RING_FRAMES, SOCKET_ID_ANY,
						      RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
		if (!half->rings[i])
			return -ENOMEM;
	}
	return half->rings ? 0 : -ENOMEM;
}

static int
boxes_create(struct path_adapter *half)
{
	uint16_t workers = half->path->worker_count;

	for (uint16_t i = 0; i < workers; i++) {
		half->lanes[i].inboxes = rte_zmalloc("inboxes", workers * sizeof(struct inbox), RTE_CACHE_LINE_SIZE);
		half->lanes[i].outboxes = rte_zmalloc("outboxes", workers * sizeof(struct outbox), RTE_CACHE_LINE_SIZE);
		if (!half->lanes[i].inboxes || !half->lanes[i].outboxes)
			return -ENOMEM;
	}
	return 0;
}

static void
half_free(struct path_adapter *half)
{
	uint16_t workers = half->path->worker_count;

	for (unsigned i = 0; half->rings && i < (unsigned)workers * workers; i++)
		rte_ring_free(half->rings[i]);
	for (uint16_t i = 0; i < workers; i++) {
		rte_free(half->lanes[i].inboxes);
		rte_free(half->lanes[i].outboxes);
	}
	free(half->rings);
	free(half->receivers);
	view_free(half->view);
	view_free(half->replaced);
	rte_free(half);
}

/* A port may come, or come back, with more queues than it had. */
static void
receivers_choose(struct path_adapter *half, const struct adapter *adapter)
{
	const uint16_t queues = half->nic_ops->rx_queues(adapter->nic);

	while (half->receiver_count < RTE_MIN(queues, (uint16_t)CPU_LIMIT)) {
		half->receivers[half->receiver_count] = receiver_choose(half, adapter);
		atomic_fetch_add_explicit(&half->receiver_count, 1, memory_order_release);
	}
}

static struct path_adapter *
half_create(struct path *path, const struct adapter *adapter)
{
	struct path_adapter *half;

	half = rte_zmalloc("adapter", sizeof(*half) + path->worker_count * sizeof(half->lanes[0]), 0);
	if (!half)
		return NULL;
	half->path = path;
	half->nic_ops = adapter->model->config.nic;
	half->host_ops = adapter->model->config.host;
	half->poll_busy = adapter->config.poll == POLL_BUSY;
	half->receivers = calloc(CPU_LIMIT, sizeof(half->receivers[0]));
	if (!half->receivers || rings_create(half) || boxes_create(half)) {
		half_free(half);
		return NULL;
	}
	receivers_choose(half, adapter);
	return half;
}

static int
path_adapter_open(void *ctx, struct adapter *adapter, struct refusal *why)
{
	struct path *path = ctx;
	struct path_adapter *half = half_create(path, adapter);

	if (!half || roster_change(path, half, NULL)) {
		if (half)
			half_free(half);
		return refuse(why, -ENOMEM, "no memory for adapter %s: start vmqd with more --memory",
			      adapter->config.name);
	}
	adapter->path = half;
	return 0;
}

static void
path_adapter_close(void *ctx, struct adapter *adapter)
{
	struct path_adapter *half = adapter->path;

	if (roster_change(ctx, NULL, half))
		abort();
	half_free(half);
	adapter->path = NULL;
}

/* Who sleeps watches the port as it was. */
static void
path_adapter_connected(void *ctx, struct adapter *adapter)
{
	receivers_choose(adapter->path, adapter);
	wake_all(ctx);
}

static int
path_queue_open(void *ctx, struct queue *queue, struct refusal *why)
{
	const struct path *path = ctx;
	struct path_queue *half;

	half = rte_zmalloc("queue", sizeof(*half) + path->worker_count * sizeof(half->lanes[0]), RTE_CACHE_LINE_SIZE);
	if (!half)
		return refuse(why, -ENOMEM, "no memory for a queue: start vmqd with more --memory");
	half->id = queue->id;
	for (uint16_t i = 0; i < path->worker_count; i++)
		half->lanes[i].queue = half;
	half->home = WORKER_NONE;
	half->previous = WORKER_NONE;
	queue->path = half;
	return 0;
}

static void
path_publish(void *ctx, struct adapter *adapter)
{
	struct path *path = ctx;
	struct path_adapter *half = adapter->path;
	struct view *view = view_build(adapter, path);

	half->replaced = half->view;
	atomic_store_explicit(&half->view, view, memory_order_release);
	atomic_fetch_add_explicit(&path->epoch, 1, memory_order_seq_cst);
	wake_all(path);
}

static void
path_retire(void *ctx, struct adapter *adapter)
{
	struct path_adapter *half = adapter->path;

	(void)ctx;
	view_free(half->replaced);
	half->replaced = NULL;
}

static uint32_t
path_outstanding(void *ctx, const struct queue *queue)
{
	const struct path *path = ctx;
	const struct path_queue *half = queue->path;
	uint64_t frames = handover_waiting_of(path, half) + backlog_buffers(half);

	for (uint16_t i = 0; i < path->worker_count; i++)
		frames += __atomic_load_n(&half->lanes[i].count, __ATOMIC_ACQUIRE);
	return (uint32_t)frames;
}

static void
path_queue_close(void *ctx, struct queue *queue)
{
	path_counters_keep(ctx, queue);
	/* A worker that has just delivered its last frame may still have it in its list until its turn ends. */
	grace_wait(ctx);
	rte_free(queue->path);
	queue->path = NULL;
}

const struct path_ops path_worker_ops = {
	.adapter_open = path_adapter_open,
	.adapter_close = path_adapter_close,
	.adapter_connected = path_adapter_connected,
	.queue_open = path_queue_open,
	.queue_close = path_queue_close,
	.publish = path_publish,
	.synchronize = path_synchronize,
	.retire = path_retire,
	.outstanding = path_outstanding,
	.queue_counters = path_queue_counters,
	.adapter_counters = path_adapter_counters,
	.counters_clear = path_counters_clear,
	.capture_open = path_capture_open,
	.capture_close = path_capture_close,
	.cpu_counters = path_cpu_counters,
};
