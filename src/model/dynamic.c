/* SPDX-License-Identifier: BSD-3-Clause */
/* Dynamic VMQ: measures what queues cost their processors, lets the policy decide (balance.h), moves them. */
#include "model/internal.h"

#include <stddef.h>
#include <stdlib.h>

/* What a processor did since the last turn. */
struct cpu_work {
	uint32_t busy;     /* millionths of its time that it had frames */
	uint64_t received; /* frames that it took from ports */
	uint64_t frames;   /* of the queues that it serves */
};

static struct cpu_work
take_cpu(struct model *model, unsigned cpu)
{
	struct cpu_counters *before = &model->counted[cpu], now;
	uint64_t busy = 0, received;

	model->config.path->cpu_counters(model->config.path_ctx, cpu, &now);
	if (before->cycles)
		busy = (now.busy_cycles - before->busy_cycles) * BALANCE_WHOLE_CPU / (now.cycles - before->cycles);
	if (busy > BALANCE_WHOLE_CPU)
		busy = BALANCE_WHOLE_CPU;
	received = now.received - before->received;
	*before = now;
	return (struct cpu_work){ .busy = (uint32_t)busy, .received = received };
}

static uint64_t
frames_served(const struct queue *queue)
{
	const struct model_config *config = &queue->adapter->model->config;
	struct queue_counters counters = { 0 };
	uint64_t frames;

	config->path->queue_counters(config->path_ctx, queue, &counters);
	frames = counters.rx_packets + counters.tx_packets;
	for (int reason = 0; reason < DROP_REASON_COUNT; reason++)
		frames += counters.drops[reason];
	return frames;
}

/* Queues that a processor serves; what they did since the last turn is in balance.load.now, as frames for now. */
static uint32_t
take_queues(struct model *model, struct balance_queue **queues, struct cpu_work *works)
{
	const struct adapter *adapter;
	uint32_t count = 0;

	TAILQ_FOREACH(adapter, &model->adapters, of_model) {
		for (struct queue *queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue)) {
			uint64_t served = frames_served(queue), frames = served - queue->served;

			if (queue_is_reserved(queue) || queue->state != QUEUE_RUNNING)
				continue;
			/* Counters that were cleared begin again. */
			queue->balance.load.now = served < queue->served ? 0 : (uint32_t)frames;
			queue->served = served;
			queue->balance.cpu = queue->cpu;
			queue->balance.movable = queue->affinity_auto;
			queue->balance.allowed = queue->affinity;
			works[queue->cpu].frames += queue->balance.load.now;
			queues[count++] = &queue->balance;
		}
	}
	return count;
}

/* A processor's time is shared out by frames: those it received itself, and those of each queue that it served. */
static void
weigh(struct model *model, struct balance_queue *const *queues, uint32_t count, const struct cpu_work *works)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct cpu_work *work = &works[queues[i]->cpu];
		uint64_t frames = work->frames + work->received;

		queues[i]->load.now = frames ? (uint32_t)((uint64_t)work->busy * queues[i]->load.now / frames) : 0;
	}
	for (unsigned cpu = cpumask_next(&model->config.cpus, 0); cpu < CPU_LIMIT;
	     cpu = cpumask_next(&model->config.cpus, cpu + 1)) {
		uint64_t frames = works[cpu].frames + works[cpu].received;

		model->balance.cpus[cpu].own.now =
			frames ? (uint32_t)((uint64_t)works[cpu].busy * works[cpu].received / frames) : works[cpu].busy;
	}
}

static struct queue *
queue_of(struct balance_queue *balance)
{
	return (struct queue *)((char *)balance - offsetof(struct queue, balance));
}

static void
move(struct queue *queue)
{
	const struct model_event event = {
		.type = EVENT_QUEUE_MOVED,
		.adapter = queue->adapter,
		.queue = queue,
		.from_cpu = queue->cpu,
		.reason = balance_reason_word(queue->balance.reason),
	};

	queue_serve_on(queue, queue->balance.cpu);
	queue->adapter->dirty = true;
	model_emit(queue->adapter->model, &event);
}

static uint32_t
queue_total(const struct model *model)
{
	const struct adapter *adapter;
	uint32_t count = 0;

	TAILQ_FOREACH(adapter, &model->adapters, of_model)
		count += adapter->config.queues;
	return count;
}

unsigned
model_balance(struct model *model)
{
	const struct model_config *config = &model->config;
	struct balance_queue **queues = memory_zeroed(queue_total(model) + 1u, sizeof(*queues));
	struct cpu_work *works = memory_zeroed(CPU_LIMIT, sizeof(*works));
	uint32_t count, moved;

	for (unsigned cpu = cpumask_next(&config->cpus, 0); cpu < CPU_LIMIT; cpu = cpumask_next(&config->cpus, cpu + 1))
		works[cpu] = take_cpu(model, cpu);
	count = take_queues(model, queues, works);
	weigh(model, queues, count, works);
	moved = balance_decide(&model->balance, queues, count);
	for (uint32_t i = 0; i < count; i++) {
		struct queue *queue = queue_of(queues[i]);

		if (queue->balance.cpu != queue->cpu)
			move(queue);
	}
	free(works);
	free(queues);
	return moved;
}
