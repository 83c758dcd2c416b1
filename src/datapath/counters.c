/* SPDX-License-Identifier: BSD-3-Clause */
/* What workers count, summed by control; what queues counted that are gone stays with their adapter. */
#include "datapath/worker.h"

#include <rte_cycles.h>

/* Counter structs are made of 64-bit counters and nothing else, so that they can be added up as arrays. */
static void
counters_add(void *sum, const void *counters, size_t size)
{
	uint64_t *to = sum;
	const uint64_t *from = counters;

	for (size_t i = 0; i < size / sizeof(uint64_t); i++)
		to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

static void
counters_subtract(void *sum, const void *counters, size_t size)
{
	uint64_t *to = sum;
	const uint64_t *from = counters;

	for (size_t i = 0; i < size / sizeof(uint64_t); i++)
		to[i] -= from[i];
}

static void
queue_counters_sum(const struct path *path, const struct path_queue *half, struct queue_counters *counters)
{
	*counters = (struct queue_counters){ 0 };
	for (uint16_t i = 0; i < path->worker_count; i++)
		counters_add(counters, &half->lanes[i].counters, sizeof(*counters));
}

static void
adapter_counters_sum(const struct path_adapter *half, struct adapter_counters *counters)
{
	*counters = half->gone;
	for (uint16_t i = 0; i < half->path->worker_count; i++)
		counters_add(counters, &half->lanes[i].counters, sizeof(*counters));
}

void
path_cpu_counters(void *ctx, unsigned cpu, struct cpu_counters *counters)
{
	const struct path *path = ctx;
	const struct worker *worker = &path->workers[worker_of_cpu(path, (uint16_t)cpu)];

	*counters = (struct cpu_counters){ .busy_cycles = worker->busy_cycles, .received = worker->received,
					   .cycles = rte_rdtsc(), .hertz = rte_get_tsc_hz() };
}

void
path_queue_counters(void *ctx, const struct queue *queue, struct queue_counters *counters)
{
	const struct path_queue *half = queue->path;

	queue_counters_sum(ctx, half, counters);
	counters_subtract(counters, &half->cleared, sizeof(*counters));
}

void
path_counters_keep(void *ctx, const struct queue *queue)
{
	struct path_adapter *half = queue->adapter->path;
	struct queue_counters counters;

	path_queue_counters(ctx, queue, &counters);
	if (half)
		counters_add(&half->gone.freed, &counters, sizeof(counters));
}

void
path_adapter_counters(void *ctx, const struct adapter *adapter, struct adapter_counters *counters)
{
	const struct path_adapter *half = adapter->path;

	(void)ctx;
	adapter_counters_sum(half, counters);
	counters_subtract(counters, &half->cleared, sizeof(*counters));
}

void
path_counters_clear(void *ctx, struct adapter *adapter)
{
	struct path_adapter *half = adapter->path;

	adapter_counters_sum(half, &half->cleared);
	for (struct queue *queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue)) {
		struct path_queue *queue_half = queue->path;

		queue_counters_sum(ctx, queue_half, &queue_half->cleared);
	}
}
