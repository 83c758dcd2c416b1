/* SPDX-License-Identifier: BSD-3-Clause */
/* Dynamic VMQ under load: where the marks are, and what a processor above them gives to whom. */
#include "balance/turn.h"

enum {
	SLACK_DIVISOR = 32,                       /* the even share is never met exactly: 3 % more is level */
	UNEVEN_DIVISOR = 20,                      /* levelling starts another 5 % above: in all below 10 % */
	SATURATED = BALANCE_WHOLE_CPU / 100 * 97, /* who shows as much may be asked for any more */
};

struct share {
	uint64_t load;
	uint32_t cpus;
};

static void
share_leave_out(struct share *share, uint64_t load)
{
	share->load -= load;
	share->cpus--;
}

/* All that must be shared by processors that no single queue, and nothing that stays, fills beyond `mark`. */
static struct share
share_below(const struct turn *turn, uint64_t mark)
{
	const struct balance *balance = turn->balance;
	struct share share = { 0 };

	for (uint16_t i = 0; i < CPU_LIMIT; i++) {
		const struct balance_cpu *cpu = &balance->cpus[i];

		if (!cpu->usable)
			continue;
		share.load += cpu->mean;
		share.cpus++;
		if (cpu->pinned > mark)
			share_leave_out(&share, cpu->pinned);
	}
	for (uint32_t i = 0; i < turn->queue_count; i++) {
		const struct balance_queue *queue = turn->queues[i];

		if (queue->movable && balance->cpus[queue->cpu].usable && queue->load.mean > mark)
			share_leave_out(&share, queue->load.mean);
	}
	return share;
}

/*
 * The load that every processor would have if queues could be cut: what none can go below, apart from those that
 * one queue, or what cannot move, fills further. Each pass leaves those out, and the rest share less.
 */
static uint32_t
turn_even_share(const struct turn *turn)
{
	uint64_t even = UINT64_MAX;

	for (;;) {
		const struct share share = share_below(turn, even);
		const uint64_t less = share.cpus ? share.load / share.cpus : 0;

		if (less >= even || share.cpus == 0)
			return even == UINT64_MAX ? 0 : (uint32_t)even;
		even = less;
	}
}

static void
turn_set_marks(struct turn *turn)
{
	const struct balance_policy *policy = &turn->balance->policy;
	const uint32_t even = turn_even_share(turn);

	turn->level = even + even / SLACK_DIVISOR;
	turn->trigger = turn->level + turn->level / UNEVEN_DIVISOR;
	if (turn->trigger > SATURATED)
		turn->trigger = larger(turn->level, SATURATED);
	turn->reason = BALANCE_LEVEL;
	if (turn->level <= policy->fill) {
		turn->level = policy->fill;
		turn->trigger = policy->high;
		turn->reason = BALANCE_SPREAD;
	}
}

static uint16_t
cpu_below_level(const struct turn *turn, const struct balance_queue *queue, uint16_t except)
{
	const struct balance *balance = turn->balance;

	for (int at_work = 1; at_work >= 0; at_work--) {
		const uint16_t cpu = calmest_cpu(balance, &queue->allowed, except, at_work);

		if (cpu < CPU_LIMIT && balance->cpus[cpu].mean + queue->load.mean <= turn->level)
			return cpu;
	}
	return CPU_LIMIT;
}

/* The fewest moves: the smallest that is enough, else the largest. */
static bool
sheds_better(uint32_t load, uint32_t best, uint32_t need)
{
	if (load >= need)
		return best < need || load < best;
	return best < need && load > best;
}

static bool
shed_to_room(struct turn *turn, uint16_t from)
{
	const uint32_t need = turn->balance->cpus[from].mean - turn->level;
	struct balance_queue *best = NULL;
	uint16_t best_to = CPU_LIMIT;

	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *queue = turn->queues[i];
		uint16_t to;

		if (!may_leave(queue, from) || !sheds_better(queue->load.mean, best ? best->load.mean : 0, need))
			continue;
		to = cpu_below_level(turn, queue, from);
		if (to < CPU_LIMIT) {
			best = queue;
			best_to = to;
		}
	}
	if (best)
		turn_move(turn, best, best_to, turn->reason);
	return best;
}

/* Halve the difference to the calmest as well as one queue can. */
static bool
shed_to_calmer(struct turn *turn, uint16_t from)
{
	const struct balance *balance = turn->balance;
	const uint32_t load = balance->cpus[from].mean;
	uint32_t best_high = load - balance->policy.gain + 1;
	struct balance_queue *best = NULL;
	uint16_t best_to = CPU_LIMIT;

	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *queue = turn->queues[i];
		uint16_t to;
		uint32_t high;

		if (!may_leave(queue, from))
			continue;
		to = calmest_cpu(balance, &queue->allowed, from, false);
		if (to == CPU_LIMIT)
			continue;
		high = larger(load - queue->load.mean, balance->cpus[to].mean + queue->load.mean);
		if (high < best_high) {
			best_high = high;
			best = queue;
			best_to = to;
		}
	}
	if (best)
		turn_move(turn, best, best_to, turn->reason);
	return best;
}

struct exchange {
	struct balance_queue *queue;   /* NULL: none */
	uint16_t to;
	uint32_t high;                 /* of the two processors, once it is made */
};

static uint64_t
distance(int64_t a, int64_t b)
{
	return (uint64_t)(a > b ? a - b : b - a);
}

/* Of what `from` may give to `to` and has not been picked: what comes closest to `want`, and closer than nothing. */
static struct balance_queue *
closest_to_give(const struct turn *turn, uint16_t from, uint16_t to, int64_t want)
{
	struct balance_queue *best = NULL;
	uint64_t best_distance = distance(want, 0);

	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *queue = turn->queues[i];

		if (!may_leave(queue, from) || queue->planned != from || !cpumask_has(&queue->allowed, to))
			continue;
		if (distance(want, queue->load.mean) < best_distance) {
			best_distance = distance(want, queue->load.mean);
			best = queue;
		}
	}
	return best;
}

/* Pick what `to` gives back for `queue`, so that the two processors end alike. @return the load of it. */
static uint32_t
pick_return(struct turn *turn, const struct balance_queue *queue, uint16_t to)
{
	const struct balance_cpu *cpus = turn->balance->cpus;
	int64_t want = queue->load.mean - ((int64_t)cpus[queue->cpu].mean - cpus[to].mean) / 2;
	uint32_t load = 0;

	for (uint32_t room = turn->limit - turn->count - 1; room > 0; room--) {
		struct balance_queue *back = closest_to_give(turn, to, queue->cpu, want);

		if (!back)
			break;
		back->planned = queue->cpu;
		want -= back->load.mean;
		load += back->load.mean;
	}
	return load;
}

/* Take back what was picked, or move it. */
static void
end_return(struct turn *turn, uint16_t from, uint16_t to, bool move)
{
	for (uint32_t i = 0; i < turn->queue_count; i++) {
		struct balance_queue *queue = turn->queues[i];

		if (queue->cpu != from || queue->planned != to)
			continue;
		queue->planned = from;
		if (move)
			turn_move(turn, queue, to, turn->reason);
	}
}

static void
consider_exchange(struct turn *turn, struct balance_queue *queue, uint16_t to, struct exchange *best)
{
	const struct balance_cpu *cpus = turn->balance->cpus;
	const uint32_t back = pick_return(turn, queue, to);
	const uint32_t high = larger(cpus[queue->cpu].mean - queue->load.mean + back,
				     cpus[to].mean + queue->load.mean - back);

	end_return(turn, to, queue->cpu, false);
	if (back < queue->load.mean && high < best->high)
		*best = (struct exchange){ queue, to, high };
}

/* Every queue is too big for every gap: give a big one for some smaller ones. */
static bool
shed_by_exchange(struct turn *turn, uint16_t from)
{
	const struct balance_cpu *cpus = turn->balance->cpus;
	const uint32_t gain = turn->balance->policy.gain;
	struct exchange best = { .high = cpus[from].mean - gain + 1 };

	for (uint32_t i = 0; i < turn->queue_count && turn->limit - turn->count >= 2; i++) {
		struct balance_queue *queue = turn->queues[i];

		if (!may_leave(queue, from) || queue->load.mean < gain)
			continue;
		for (uint16_t to = 0; to < CPU_LIMIT; to++) {
			if (cpus[to].usable && cpus[to].mean + gain <= cpus[from].mean &&
			    cpumask_has(&queue->allowed, to))
				consider_exchange(turn, queue, to, &best);
		}
	}
	if (!best.queue)
		return false;
	pick_return(turn, best.queue, best.to);
	turn_move(turn, best.queue, best.to, turn->reason);
	end_return(turn, best.to, from, true);
	return true;
}

/* While there is room below the fill mark, few processors; when there is none, the best half of a difference. */
static bool
shed(struct turn *turn, uint16_t from)
{
	if (turn->reason == BALANCE_SPREAD)
		return shed_to_room(turn, from) || shed_to_calmer(turn, from) || shed_by_exchange(turn, from);
	return shed_to_calmer(turn, from) || shed_to_room(turn, from) || shed_by_exchange(turn, from);
}

static void
cpu_relieve(struct turn *turn, uint16_t cpu)
{
	const struct balance_cpu *busy = &turn->balance->cpus[cpu];
	const uint32_t load_before = busy->mean, count_before = turn->count, gain = turn->balance->policy.gain;

	while (busy->mean > turn->level && turn->count < turn->limit && shed(turn, cpu))
		;
	if (turn->count < turn->limit && load_before - busy->mean < gain)
		turn_undo(turn, count_before);
}

static uint16_t
busiest_untried(const struct turn *turn, uint32_t above)
{
	const struct balance_cpu *cpus = turn->balance->cpus;
	uint16_t best = CPU_LIMIT;

	for (uint16_t i = 0; i < CPU_LIMIT; i++) {
		if (!cpus[i].usable || cpus[i].tried || cpus[i].mean <= above)
			continue;
		if (best == CPU_LIMIT || cpus[i].mean > cpus[best].mean)
			best = i;
	}
	return best;
}

/*
 * Starts with a processor above the trigger and goes on, for as many turns as it takes, until all that can be are
 * at the level: queues that are held now may be what has to move. A processor that cannot be relieved starts nothing.
 */
void
turn_spread(struct turn *turn)
{
	struct balance *balance = turn->balance;
	const uint32_t count_before = turn->count;
	uint32_t above;

	turn_set_marks(turn);
	above = balance->spreading_turns > 0 ? turn->level : turn->trigger;
	turn_clear_tried(turn);
	while (turn->count < turn->limit) {
		const uint16_t cpu = busiest_untried(turn, above);

		if (cpu == CPU_LIMIT)
			break;
		balance->cpus[cpu].tried = true;
		cpu_relieve(turn, cpu);
	}
	if (turn->count > count_before)
		balance->spreading_turns = balance->policy.hold_turns + 1;
	else if (balance->spreading_turns > 0)
		balance->spreading_turns--;
}
