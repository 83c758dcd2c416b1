/* SPDX-License-Identifier: BSD-3-Clause */
/* One decision: loads are taken in, then who must leave, then who is too busy, then who can rest. */
#include "balance/turn.h"

#include <assert.h>
#include <string.h>

enum {
	MEAN_TURNS = 4,
	PEAK_TURNS = 16,
};

const struct balance_policy balance_policy_default = {
	.high = BALANCE_WHOLE_CPU / 100 * 70,
	.fill = BALANCE_WHOLE_CPU / 100 * 55,
	.gain = BALANCE_WHOLE_CPU / 100 * 3,
	.hold_turns = 10,
};

struct reason_row {
	const char *word;
	const char *meaning;
};

#define REASON_ROW(name, word, text) [BALANCE_##name] = { #word, text },
static const struct reason_row rows[] = { BALANCE_REASONS(REASON_ROW) };
#undef REASON_ROW
static_assert(sizeof(rows) / sizeof(rows[0]) == BALANCE_REASON_COUNT, "one row per reason");

const char *
balance_reason_word(enum balance_reason reason)
{
	assert(reason < BALANCE_REASON_COUNT);
	return rows[reason].word;
}

const char *
balance_reason_meaning(enum balance_reason reason)
{
	assert(reason < BALANCE_REASON_COUNT);
	return rows[reason].meaning;
}

void
balance_init(struct balance *balance, const struct balance_policy *policy, const struct cpumask *cpus)
{
	assert(policy->gain < policy->fill && policy->fill <= policy->high);
	memset(balance, 0, sizeof(*balance));
	balance->policy = *policy;
	for (uint16_t i = 0; i < CPU_LIMIT; i++)
		balance->cpus[i].usable = cpumask_has(cpus, i);
}

void
balance_changed(struct balance *balance)
{
	balance->settled_peak = 0;
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

static void
cpu_take(struct balance_cpu *cpu, const struct balance_queue *queue)
{
	cpu->mean += queue->load.mean;
	cpu->peak += queue->load.peak;
	cpu->queue_count++;
}

static void
cpu_give(struct balance_cpu *cpu, const struct balance_queue *queue)
{
	cpu->mean -= queue->load.mean;
	cpu->peak -= queue->load.peak;
	cpu->queue_count--;
}

bool
cpu_would_sleep(const struct balance_cpu *cpu)
{
	return cpu->own.mean < BALANCE_WHOLE_CPU / 1000;
}

bool
cpu_works(const struct balance_cpu *cpu)
{
	return cpu->queue_count > 0 || !cpu_would_sleep(cpu);
}

static void
turn_observe(struct turn *turn)
{
	struct balance *balance = turn->balance;

	for (uint16_t i = 0; i < CPU_LIMIT; i++) {
		struct balance_cpu *cpu = &balance->cpus[i];

		load_observe(&cpu->own);
		cpu->mean = cpu->pinned = cpu->own.mean;
		cpu->peak = cpu->own.peak;
		cpu->queue_count = 0;
	}
	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *queue = turn->queues[i];

		assert(queue->cpu < CPU_LIMIT);
		load_observe(&queue->load);
		cpu_take(&balance->cpus[queue->cpu], queue);
		if (!queue->movable)
			balance->cpus[queue->cpu].pinned += queue->load.mean;
		queue->planned = queue->cpu;
		if (queue->hold > 0)
			queue->hold--;
	}
}

void
turn_clear_tried(struct turn *turn)
{
	for (uint16_t i = 0; i < CPU_LIMIT; i++)
		turn->balance->cpus[i].tried = false;
}

void
turn_plan(struct turn *turn, struct balance_queue *queue, uint16_t to)
{
	cpu_give(&turn->balance->cpus[queue->planned], queue);
	cpu_take(&turn->balance->cpus[to], queue);
	queue->planned = to;
}

void
turn_move(struct turn *turn, struct balance_queue *queue, uint16_t to, enum balance_reason reason)
{
	const struct balance_cpu *cpus = turn->balance->cpus;

	assert(turn->count < turn->limit && queue->planned == queue->cpu);
	turn->moves[turn->count++] = (struct balance_move){
		.queue = queue,
		.from = queue->cpu,
		.to = to,
		.reason = reason,
		.load = queue->load.mean,
		.from_load = cpus[queue->cpu].mean,
		.to_load = cpus[to].mean,
	};
	turn_plan(turn, queue, to);
	queue->cpu = to;
	queue->hold = turn->balance->policy.hold_turns;
}

void
turn_undo(struct turn *turn, uint32_t count)
{
	while (turn->count > count) {
		const struct balance_move *move = &turn->moves[--turn->count];

		turn_plan(turn, move->queue, move->from);
		move->queue->cpu = move->from;
		move->queue->hold = 0;
	}
}

bool
may_leave(const struct balance_queue *queue, uint16_t cpu)
{
	return queue->cpu == cpu && queue->movable && queue->hold == 0;
}

uint16_t
calmest_cpu(const struct balance *balance, const struct cpumask *allowed, uint16_t except, bool at_work)
{
	uint16_t best = CPU_LIMIT;

	for (uint16_t i = 0; i < CPU_LIMIT; i++) {
		const struct balance_cpu *cpu = &balance->cpus[i];

		if (!cpu->usable || i == except || (at_work && !cpu_works(cpu)) || !cpumask_has(allowed, i))
			continue;
		if (best == CPU_LIMIT || cpu->mean < balance->cpus[best].mean)
			best = i;
	}
	return best;
}

uint16_t
fullest_cpu_with_room(const struct balance *balance, const struct cpumask *allowed, uint32_t load, uint16_t except)
{
	uint16_t best = CPU_LIMIT;

	for (uint16_t i = 0; i < CPU_LIMIT; i++) {
		const struct balance_cpu *cpu = &balance->cpus[i];

		if (!cpu->usable || i == except || !cpu_works(cpu) || !cpumask_has(allowed, i))
			continue;
		if (cpu->peak + load > balance->policy.fill)
			continue;
		if (best == CPU_LIMIT || cpu->peak > balance->cpus[best].peak)
			best = i;
	}
	return best;
}

uint16_t
balance_place(const struct balance *balance, const struct cpumask *allowed, uint32_t load)
{
	const uint16_t cpu = fullest_cpu_with_room(balance, allowed, load, CPU_LIMIT);

	return cpu < CPU_LIMIT ? cpu : calmest_cpu(balance, allowed, CPU_LIMIT, false);
}

static void
turn_evacuate(struct turn *turn)
{
	const struct balance *balance = turn->balance;

	for (uint32_t i = 0; i < turn->queue_count && turn->count < turn->limit; i++) {
		struct balance_queue *queue = turn->queues[i];
		uint16_t to;

		if (!queue->movable || (balance->cpus[queue->cpu].usable && cpumask_has(&queue->allowed, queue->cpu)))
			continue;
		to = balance_place(balance, &queue->allowed, queue->load.peak);
		if (to < CPU_LIMIT)
			turn_move(turn, queue, to, BALANCE_EVACUATE);
	}
}

uint32_t
balance_decide(struct balance *balance, struct balance_queue *const *queues, uint32_t queue_count,
	       struct balance_move *moves, uint32_t limit)
{
	struct turn turn = {
		.balance = balance,
		.queues = queues,
		.queue_count = queue_count,
		.moves = moves,
		.limit = limit,
	};

	turn_observe(&turn);
	turn_evacuate(&turn);
	turn_spread(&turn);
	if (turn.count > 0)
		balance_changed(balance);
	else
		turn_gather(&turn);
	return turn.count;
}
