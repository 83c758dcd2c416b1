/* SPDX-License-Identifier: BSD-3-Clause */
/* Dynamic VMQ when there is little to do: which processors are emptied so that they can sleep. */
#include "balance/turn.h"

enum {
	SETTLED_DIVISOR = 32, /* a gather that found no room is tried again when the load is 3 % lower */
};

static struct balance_queue *
largest_planned_on(const struct turn *turn, uint16_t cpu)
{
	struct balance_queue *best = NULL;

	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *queue = turn->queues[i];

		if (queue->planned == cpu && (!best || queue->load.peak > best->load.peak))
			best = queue;
	}
	return best;
}

static bool
plan_to_empty(struct turn *turn, uint16_t cpu)
{
	struct balance_queue *queue;

	while ((queue = largest_planned_on(turn, cpu))) {
		const uint16_t to = fullest_cpu_with_room(turn->balance, &queue->allowed, queue->load.peak, cpu);

		if (to == CPU_LIMIT)
			return false;
		turn_plan(turn, queue, to);
	}
	return true;
}

/* The whole plan is known to fit, so the moves for which this turn has no place may come later. */
static void
cpu_empty(struct turn *turn, uint16_t cpu)
{
	const bool fits = plan_to_empty(turn, cpu);

	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *queue = turn->queues[i];
		const uint16_t to = queue->planned;

		if (queue->cpu != cpu || to == cpu)
			continue;
		turn_plan(turn, queue, cpu);
		if (fits && turn->count < turn->limit)
			turn_move(turn, queue, to, BALANCE_GATHER);
	}
}

enum emptying { EMPTY_NOW, EMPTY_LATER, EMPTY_NEVER };

static enum emptying
cpu_can_be_emptied(const struct turn *turn, uint16_t cpu)
{
	const struct balance_cpu *idle = &turn->balance->cpus[cpu];
	enum emptying answer = EMPTY_NOW;

	if (!cpu_would_sleep(idle))
		return EMPTY_NEVER;
	for (uint32_t i = 0; i < turn->queue_count; i++) {
		const struct balance_queue *queue = turn->queues[i];

		if (queue->cpu != cpu)
			continue;
		if (!queue->movable)
			return EMPTY_NEVER;
		if (queue->hold > 0)
			answer = EMPTY_LATER;
	}
	return answer;
}

/* The emptiest, and of equals the last: the first processors are where queues gather. */
static uint16_t
emptiest_untried(const struct turn *turn)
{
	const struct balance_cpu *cpus = turn->balance->cpus;
	uint16_t best = CPU_LIMIT;

	for (uint16_t i = 0; i < CPU_LIMIT; i++) {
		if (!cpus[i].usable || cpus[i].tried || cpus[i].queue_count == 0)
			continue;
		if (best == CPU_LIMIT || cpus[i].peak <= cpus[best].peak)
			best = i;
	}
	return best;
}

static uint64_t
turn_peak(const struct turn *turn)
{
	uint64_t peak = 0;

	for (uint16_t i = 0; i < CPU_LIMIT; i++)
		peak += turn->balance->cpus[i].peak;
	return peak;
}

static bool
is_settled(struct balance *balance, uint64_t peak)
{
	if (balance->settled_peak == 0 || peak < balance->settled_peak - balance->settled_peak / SETTLED_DIVISOR)
		return false;
	if (peak > balance->settled_peak)
		balance->settled_peak = peak;
	return true;
}

void
turn_gather(struct turn *turn)
{
	struct balance *balance = turn->balance;
	const uint64_t peak = turn_peak(turn);
	bool some_later = false;
	uint16_t cpu;

	if (is_settled(balance, peak))
		return;
	turn_clear_tried(turn);
	while (turn->count < turn->limit && (cpu = emptiest_untried(turn)) < CPU_LIMIT) {
		const enum emptying emptying = cpu_can_be_emptied(turn, cpu);

		balance->cpus[cpu].tried = true;
		some_later |= emptying == EMPTY_LATER;
		if (emptying == EMPTY_NOW)
			cpu_empty(turn, cpu);
	}
	balance->settled_peak = turn->count > 0 || some_later ? 0 : peak + 1;
}
