/* SPDX-License-Identifier: BSD-3-Clause */
/* One decision: loads are taken in, processors that are too busy shed queues; where none does, one is emptied. */
#include "balance/balance.h"

#include <assert.h>
#include <stddef.h>

enum {
	MEAN_TURNS = 3,
	PEAK_TURNS = 16,
	SLACK_DIVISOR = 32,                  /* the mean is never met exactly: 3 % more is level */
	UNEVEN_DIVISOR = 16,                 /* levelling starts another 6 % above: in all below 10 % */
	SATURATED = 97 * BALANCE_PERCENT,    /* who shows as much may be asked for any more */
	ALIKE = 4 * BALANCE_PERCENT,         /* nothing moves between processors that are apart by less */
	AWAKE = BALANCE_WHOLE_CPU / 1000,    /* who does as much of its own would not sleep without queues */
};

/* Loads of processors follow every move at once. */
struct turn {
	struct balance_cpu *cpus;
	struct balance_queue *const *queues;
	uint32_t queue_count;
	uint32_t moves;
};

const char *
balance_reason_word(enum balance_reason reason)
{
	static const char *const words[BALANCE_REASON_COUNT] = {
		[BALANCE_SPREAD] = "spread",
		[BALANCE_LEVEL] = "level",
		[BALANCE_GATHER] = "gather",
	};

	assert(reason < BALANCE_REASON_COUNT);
	return words[reason];
}

static uint32_t
larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static void
load_observe(struct balance_load *load)
{
	if (!load->known) {
		load->mean = load->peak = load->now;
		load->known = true;
	}
	load->mean = (uint32_t)(load->mean + ((int64_t)load->now - load->mean) / MEAN_TURNS);
	load->peak = larger(load->mean, load->peak - load->peak / PEAK_TURNS);
}

/* @param sign  1 or -1: count the queue in, or out. */
static void
cpu_add(struct balance_cpu *cpu, const struct balance_queue *queue, int sign)
{
	cpu->mean += (uint32_t)sign * queue->load.mean;
	cpu->peak += (uint32_t)sign * queue->load.peak;
	cpu->queue_count += (uint32_t)sign;
}

static void
turn_observe(struct turn *turn)
{
	for (struct balance_cpu *cpu = turn->cpus; cpu < turn->cpus + CPU_LIMIT; cpu++) {
		load_observe(&cpu->own);
		cpu->mean = cpu->own.mean;
		cpu->peak = cpu->own.peak;
		cpu->queue_count = 0;
		cpu->done = false;
	}
	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *queue = turn->queues[i];

		assert(queue->cpu < CPU_LIMIT);
		load_observe(&queue->load);
		cpu_add(&turn->cpus[queue->cpu], queue, 1);
		queue->planned = queue->cpu;
		if (queue->hold > 0)
			queue->hold--;
	}
}

/* Count the queue on `to`; it stays where it is. */
static void
turn_plan(struct turn *turn, struct balance_queue *queue, uint16_t to)
{
	cpu_add(&turn->cpus[queue->planned], queue, -1);
	cpu_add(&turn->cpus[to], queue, 1);
	queue->planned = to;
}

static void
turn_move(struct turn *turn, struct balance_queue *queue, uint16_t to, enum balance_reason reason)
{
	turn_plan(turn, queue, to);
	queue->cpu = to;
	queue->reason = reason;
	queue->hold = BALANCE_HOLD_TURNS;
	turn->moves++;
}

static bool
may_leave(const struct balance_queue *queue)
{
	return queue->movable && queue->hold == 0;
}

/* Where a queue goes: another processor that may serve it, CPU_LIMIT if there is none. */
typedef uint16_t (*choose_fn)(const struct balance_cpu *cpus, const struct balance_queue *queue);

static uint16_t
calmest(const struct balance_cpu *cpus, const struct balance_queue *queue)
{
	uint16_t best = CPU_LIMIT;

	for (uint16_t i = 0; i < CPU_LIMIT; i++) {
		if (i != queue->cpu && cpumask_has(&queue->allowed, i) &&
		    (best == CPU_LIMIT || cpus[i].mean < cpus[best].mean))
			best = i;
	}
	return best;
}

/* The fullest at work that stays at the fill mark with the queue, peaks counted. */
static uint16_t
fullest_with_room(const struct balance_cpu *cpus, const struct balance_queue *queue)
{
	uint16_t best = CPU_LIMIT;

	for (uint16_t i = 0; i < CPU_LIMIT; i++) {
		const bool works = cpus[i].queue_count > 0 || cpus[i].own.mean >= AWAKE;

		if (i != queue->cpu && cpumask_has(&queue->allowed, i) && works &&
		    cpus[i].peak + queue->load.peak <= BALANCE_FILL &&
		    (best == CPU_LIMIT || cpus[i].peak > cpus[best].peak))
			best = i;
	}
	return best;
}

/* Move the queue that most lowers the busier of the two processors. @return whether one does. */
static bool
shed(struct turn *turn, uint16_t from, choose_fn choose, enum balance_reason reason)
{
	uint32_t best_high = turn->cpus[from].mean;
	struct balance_queue *best = NULL;
	uint16_t best_to = CPU_LIMIT;

	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *queue = turn->queues[i];
		uint16_t to = CPU_LIMIT;
		uint32_t high;

		if (queue->cpu == from && may_leave(queue))
			to = choose(turn->cpus, queue);
		if (to == CPU_LIMIT || turn->cpus[to].mean + ALIKE > turn->cpus[from].mean)
			continue;
		high = larger(turn->cpus[from].mean - queue->load.mean, turn->cpus[to].mean + queue->load.mean);
		if (high < best_high) {
			best_high = high;
			best = queue;
			best_to = to;
		}
	}
	if (best)
		turn_move(turn, best, best_to, reason);
	return best;
}

/* The busier of two processors after their queues have changed places; UINT32_MAX where they may not. */
static uint32_t
high_after_swap(const struct balance_cpu *cpus, const struct balance_queue *big, const struct balance_queue *small)
{
	const uint32_t less = big->load.mean - small->load.mean;

	if (small->load.mean >= big->load.mean || !may_leave(small) || !cpumask_has(&big->allowed, small->cpu) ||
	    !cpumask_has(&small->allowed, big->cpu) || cpus[small->cpu].mean + ALIKE > cpus[big->cpu].mean)
		return UINT32_MAX;
	return larger(cpus[big->cpu].mean - less, cpus[small->cpu].mean + less);
}

/* Where every queue is too big for every gap: give a big one for a smaller one. */
static bool
swap(struct turn *turn, uint16_t from, enum balance_reason reason)
{
	uint32_t best_high = turn->cpus[from].mean;
	struct balance_queue *best_big = NULL, *best_small = NULL;
	uint16_t to;

	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *big = turn->queues[i];

		for (uint32_t j = 0; big->cpu == from && may_leave(big) && j < turn->queue_count; j++) {
			const uint32_t high = high_after_swap(turn->cpus, big, turn->queues[j]);

			if (high < best_high) {
				best_high = high;
				best_big = big;
				best_small = turn->queues[j];
			}
		}
	}
	if (!best_big)
		return false;
	to = best_small->cpu;
	turn_move(turn, best_small, from, reason);
	turn_move(turn, best_big, to, reason);
	return true;
}

static uint16_t
busiest(const struct balance_cpu *cpus, uint32_t above)
{
	uint16_t best = CPU_LIMIT;

	for (uint16_t i = 0; i < CPU_LIMIT; i++) {
		if (!cpus[i].done && cpus[i].mean > above && (best == CPU_LIMIT || cpus[i].mean > cpus[best].mean))
			best = i;
	}
	return best;
}

static uint32_t
mean_of_cpus(const struct balance *balance)
{
	uint64_t sum = 0;

	for (uint16_t i = 0; i < CPU_LIMIT; i++)
		sum += balance->cpus[i].mean;
	return (uint32_t)(sum / balance->cpu_count);
}

/* Bring each processor that is above `mark` down to `level`. */
static void
turn_relieve(struct turn *turn, uint32_t mark, uint32_t level, enum balance_reason reason)
{
	uint16_t cpu;

	while ((cpu = busiest(turn->cpus, mark)) < CPU_LIMIT) {
		while (turn->cpus[cpu].mean > level &&
		       ((reason == BALANCE_SPREAD && shed(turn, cpu, fullest_with_room, reason)) ||
			shed(turn, cpu, calmest, reason) || swap(turn, cpu, reason)))
			;
		turn->cpus[cpu].done = true;
	}
}

/* @return whether all queues of the processor had room elsewhere; else none of them moves. */
static bool
empty(struct turn *turn, uint16_t cpu)
{
	bool fits = true;

	for (uint32_t i = 0; i < turn->queue_count && fits; i++) {
		struct balance_queue *queue = turn->queues[i];
		uint16_t to;

		if (queue->cpu != cpu)
			continue;
		to = fullest_with_room(turn->cpus, queue);
		fits = to < CPU_LIMIT;
		if (fits)
			turn_plan(turn, queue, to);
	}
	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *queue = turn->queues[i];

		if (queue->cpu == cpu && fits)
			turn_move(turn, queue, queue->planned, BALANCE_GATHER);
		else
			turn_plan(turn, queue, queue->cpu);
	}
	return fits;
}

/* The emptiest, and of equals the last: the first processors are where queues gather. */
static uint16_t
emptiest(const struct balance_cpu *cpus)
{
	uint16_t best = CPU_LIMIT;

	for (uint16_t i = 0; i < CPU_LIMIT; i++) {
		if (cpus[i].queue_count > 0 && !cpus[i].done && (best == CPU_LIMIT || cpus[i].peak <= cpus[best].peak))
			best = i;
	}
	return best;
}

/* Empty one processor that has neither work of its own nor a queue that stays. */
static void
turn_gather(struct turn *turn)
{
	uint16_t cpu;

	for (uint16_t i = 0; i < CPU_LIMIT; i++)
		turn->cpus[i].done = turn->cpus[i].own.mean >= AWAKE;
	for (uint32_t i = 0; i < turn->queue_count; i++)
		turn->cpus[turn->queues[i]->cpu].done |= !may_leave(turn->queues[i]);
	while ((cpu = emptiest(turn->cpus)) < CPU_LIMIT && !empty(turn, cpu))
		turn->cpus[cpu].done = true;
}

uint32_t
balance_decide(struct balance *balance, struct balance_queue *const *queues, uint32_t queue_count)
{
	struct turn turn = { .cpus = balance->cpus, .queues = queues, .queue_count = queue_count };
	uint32_t level, mark;

	turn_observe(&turn);
	level = mean_of_cpus(balance);
	level += level / SLACK_DIVISOR;
	mark = level + level / UNEVEN_DIVISOR;
	if (level <= BALANCE_FILL)
		turn_relieve(&turn, BALANCE_HIGH, BALANCE_FILL, BALANCE_SPREAD);
	else
		turn_relieve(&turn, mark < SATURATED ? mark : SATURATED, level, BALANCE_LEVEL);
	if (turn.moves == 0)
		turn_gather(&turn);
	return turn.moves;
}
