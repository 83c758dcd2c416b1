/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The placement of queues of affinity auto: single decisions, and whole traces of load on simulated processors.
 * A trace is a function of turn and queue, or a recording, the same in every run; a processor that is asked for more
 * than it has shows every queue its share of the whole, as a real one does.
 */
#include "balance/balance.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PERCENT (BALANCE_WHOLE_CPU / 100)

enum {
	QUEUES_MAX = 256,
	CPUS_MAX = 16,
	MOVES_MAX = 16,
};

static uint64_t
mix(uint64_t z)
{
	z += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* 0 to 1, and the same for the same seed, turn and queue. */
static double
chance(unsigned seed, unsigned turn, unsigned queue)
{
	return (double)(mix(mix(mix(seed) + turn) + queue) >> 11) / (double)(UINT64_C(1) << 53);
}

/* Single decisions */

struct queue_row {
	uint16_t cpu;
	uint32_t percent;
	const char *allowed; /* NULL: all */
	bool stays;
};

struct move_row {
	uint16_t queue, from, to;
	enum balance_reason reason;
};

struct decision_case {
	const char *name;
	const char *cpus;
	uint32_t own[4];         /* percent, of processors 0 to 3 */
	struct queue_row queues[8];
	uint32_t queue_count;
	struct move_row moves[8];
	uint32_t move_count;
};

static const struct decision_case decision_cases[] = {
	{ "nothing to do is nothing done", "0-3", { 0 }, { { 0, 0, NULL, false } }, 1, { { 0 } }, 0 },
	{ "no queue at all", "0-3", { 0 }, { { 0 } }, 0, { { 0 } }, 0 },
	{ "idle queues gather on the first processor", "0-3", { 0 },
	  { { 0, 0, NULL, false }, { 1, 0, NULL, false }, { 2, 0, NULL, false } }, 3,
	  { { 2, 2, 0, BALANCE_GATHER }, { 1, 1, 0, BALANCE_GATHER } }, 2 },
	{ "the emptiest is emptied first, into the fullest", "0-3", { 0 },
	  { { 0, 10, NULL, false }, { 1, 30, NULL, false }, { 2, 5, NULL, false } }, 3,
	  { { 2, 2, 1, BALANCE_GATHER }, { 0, 0, 1, BALANCE_GATHER } }, 2 },
	{ "no gather beyond the fill mark", "0-3", { 0 },
	  { { 0, 30, NULL, false }, { 1, 30, NULL, false } }, 2, { { 0 } }, 0 },
	{ "a processor is emptied wholly or not at all", "0-3", { 0 },
	  { { 0, 40, NULL, false }, { 1, 5, NULL, false }, { 1, 30, NULL, false } }, 3, { { 0 } }, 0 },
	{ "gathered where frames are received", "0-3", { 0, 0, 0, 20 },
	  { { 0, 10, NULL, false }, { 1, 10, NULL, false } }, 2,
	  { { 1, 1, 3, BALANCE_GATHER }, { 0, 0, 3, BALANCE_GATHER } }, 2 },
	{ "a receiving processor is not emptied", "0-3", { 0, 5 },
	  { { 1, 10, NULL, false } }, 1, { { 0 } }, 0 },
	{ "a processor with a fixed queue is not emptied", "0-3", { 0 },
	  { { 0, 10, NULL, false }, { 1, 1, "1", true }, { 1, 1, NULL, false } }, 3,
	  { { 0, 0, 1, BALANCE_GATHER } }, 1 },
	{ "no gather outside the mask", "0-3", { 0 },
	  { { 0, 10, "0,2", false }, { 1, 10, "1,3", false } }, 2, { { 0 } }, 0 },
	{ "between the marks nothing moves", "0-1", { 0 },
	  { { 0, 40, NULL, false }, { 0, 28, NULL, false } }, 2, { { 0 } }, 0 },
	{ "above the high mark the smallest that is enough moves", "0-3", { 0 },
	  { { 0, 40, NULL, false }, { 0, 20, NULL, false }, { 0, 18, NULL, false } }, 3,
	  { { 0, 0, 1, BALANCE_SPREAD } }, 1 },
	{ "a processor at work before one that sleeps", "0-3", { 0 },
	  { { 0, 50, NULL, false }, { 0, 25, NULL, false }, { 2, 25, NULL, false } }, 3,
	  { { 1, 0, 2, BALANCE_SPREAD } }, 1 },
	{ "a sleeping one when those at work have no room", "0-3", { 0 },
	  { { 0, 50, NULL, false }, { 0, 25, NULL, false }, { 2, 45, NULL, false } }, 3,
	  { { 1, 0, 1, BALANCE_SPREAD } }, 1 },
	{ "receive work presses queues away", "0-1", { 60 },
	  { { 0, 20, NULL, false } }, 1, { { 0, 0, 1, BALANCE_SPREAD } }, 1 },
	{ "a queue that fills a processor alone stays", "0-3", { 0 },
	  { { 0, 95, NULL, false } }, 1, { { 0 } }, 0 },
	{ "what is less than the gain is not worth a move", "0-3", { 0 },
	  { { 0, 90, NULL, false }, { 0, 2, NULL, false } }, 2, { { 0 } }, 0 },
	{ "only auto queues leave", "0-1", { 0 },
	  { { 0, 60, "0", true }, { 0, 30, NULL, false } }, 2, { { 1, 0, 1, BALANCE_SPREAD } }, 1 },
	{ "fixed queues stay however busy", "0-1", { 0 },
	  { { 0, 50, "0-1", true }, { 0, 50, "0-1", true } }, 2, { { 0 } }, 0 },
	{ "spread within the mask only", "0-3", { 0 },
	  { { 0, 50, NULL, true }, { 0, 40, "0,3", false } }, 2, { { 1, 0, 3, BALANCE_SPREAD } }, 1 },
	{ "all busy: the busiest gives to the calmest", "0-1", { 0 },
	  { { 0, 50, NULL, false }, { 0, 40, NULL, false }, { 1, 30, NULL, false }, { 0, 10, NULL, false } }, 4,
	  { { 1, 0, 1, BALANCE_LEVEL } }, 1 },
	{ "all busy and no gap fits: an exchange", "0-1", { 0 },
	  { { 0, 50, NULL, false }, { 0, 40, NULL, false }, { 1, 30, NULL, false }, { 1, 30, NULL, false } }, 4,
	  { { 0, 0, 1, BALANCE_LEVEL }, { 2, 1, 0, BALANCE_LEVEL } }, 2 },
	{ "all equally busy", "0-1", { 0 },
	  { { 0, 45, NULL, false }, { 0, 45, NULL, false }, { 1, 45, NULL, false }, { 1, 43, NULL, false } }, 4,
	  { { 0 } }, 0 },
	{ "a processor that is gone is left", "0-1", { 0 },
	  { { 3, 20, NULL, false }, { 1, 20, NULL, false } }, 2, { { 0, 3, 1, BALANCE_EVACUATE } }, 1 },
	{ "a mask that no longer has the processor", "0-1", { 0 },
	  { { 0, 20, "1", false } }, 1, { { 0, 0, 1, BALANCE_EVACUATE } }, 1 },
	{ "a fixed queue is not evacuated, its owner decides", "0-1", { 0 },
	  { { 3, 20, "3", true } }, 1, { { 0 } }, 0 },
	{ "nowhere to go", "0-1", { 0 }, { { 3, 20, "3", false } }, 1, { { 0 } }, 0 },
	{ "no usable processor", "9", { 0 }, { { 0, 20, "0-3", false } }, 1, { { 0 } }, 0 },
};

static void
mask_of(const char *text, struct cpumask *mask)
{
	assert_int_equal(cpumask_parse(text, mask), 0);
}

static void
queue_from_row(struct balance_queue *queue, const struct queue_row *row)
{
	memset(queue, 0, sizeof(*queue));
	queue->cpu = row->cpu;
	queue->movable = !row->stays;
	queue->load.now = row->percent * PERCENT;
	mask_of(row->allowed ? row->allowed : "0-255", &queue->allowed);
}

static bool
same_moves(const struct decision_case *c, const struct balance_queue *queues, const struct balance_move *moves)
{
	for (uint32_t i = 0; i < c->move_count; i++) {
		const struct move_row *want = &c->moves[i];

		if (moves[i].queue != &queues[want->queue] || moves[i].from != want->from ||
		    moves[i].to != want->to || moves[i].reason != want->reason || moves[i].queue->cpu != want->to)
			return false;
	}
	return true;
}

static bool
decision_holds(const struct decision_case *c)
{
	static struct balance balance;
	struct balance_queue queues[8], *pointers[8];
	struct balance_move moves[MOVES_MAX];
	struct cpumask cpus;
	uint32_t count;

	mask_of(c->cpus, &cpus);
	balance_init(&balance, &balance_policy_default, &cpus);
	for (int cpu = 0; cpu < 4; cpu++)
		balance.cpus[cpu].own.now = c->own[cpu] * PERCENT;
	for (uint32_t i = 0; i < c->queue_count; i++) {
		queue_from_row(&queues[i], &c->queues[i]);
		pointers[i] = &queues[i];
	}
	count = balance_decide(&balance, pointers, c->queue_count, moves, MOVES_MAX);
	if (count == c->move_count && same_moves(c, queues, moves))
		return true;
	print_error("%s: %u moves\n", c->name, count);
	for (uint32_t i = 0; i < count; i++)
		print_error("  queue %d: %u to %u, %s\n", (int)(moves[i].queue - queues), moves[i].from, moves[i].to,
			    balance_reason_word(moves[i].reason));
	return false;
}

static void
decisions(void **state)
{
	int failed = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(decision_cases); i++)
		failed += !decision_holds(&decision_cases[i]);
	assert_int_equal(failed, 0);
}

static void
a_move_tells_the_loads(void **state)
{
	static struct balance balance;
	struct balance_queue queues[3], *pointers[3] = { &queues[0], &queues[1], &queues[2] };
	struct balance_move moves[2];
	struct cpumask cpus;

	(void)state;
	mask_of("0-1", &cpus);
	balance_init(&balance, &balance_policy_default, &cpus);
	for (int i = 0; i < 3; i++)
		queue_from_row(&queues[i], &(const struct queue_row){ i / 2, 40 - 10 * i, NULL, false });
	balance.cpus[0].own.now = 10 * PERCENT;
	assert_int_equal(balance_decide(&balance, pointers, 3, moves, 2), 1);
	assert_ptr_equal(moves[0].queue, &queues[1]);
	assert_int_equal(moves[0].load, 30 * PERCENT);
	assert_int_equal(moves[0].from_load, 80 * PERCENT);
	assert_int_equal(moves[0].to_load, 20 * PERCENT);
}

/* The move cannot be carried out, so the reason for it stays: it is asked for again, but not at once. */
static void
a_queue_that_moved_is_held(void **state)
{
	static struct balance balance;
	struct balance_queue queues[2], *pointers[2] = { &queues[0], &queues[1] };
	struct balance_move moves[2];
	struct cpumask cpus;

	(void)state;
	mask_of("0-1", &cpus);
	balance_init(&balance, &balance_policy_default, &cpus);
	queue_from_row(&queues[0], &(const struct queue_row){ 0, 50, NULL, true });
	queue_from_row(&queues[1], &(const struct queue_row){ 0, 40, NULL, false });
	for (unsigned turn = 0; turn <= 2u * balance.policy.hold_turns; turn++) {
		const bool again = turn % balance.policy.hold_turns == 0;

		queues[1].cpu = 0;
		assert_int_equal(balance_decide(&balance, pointers, 2, moves, 2), again);
	}
}

static void
place_prefers_a_processor_at_work(void **state)
{
	static const struct {
		const char *name, *allowed;
		uint32_t percent;
		uint16_t cpu;
	} cases[] = {
		{ "the fullest with room", "0-3", 10, 1 },
		{ "room on a calmer one", "0-3", 30, 0 },
		{ "a sleeping one", "0-3", 45, 2 },
		{ "within the mask", "0,3", 10, 0 },
		{ "the calmest of the mask when none has room", "0-1", 60, 0 },
		{ "none of the mask is usable", "4-9", 10, CPU_LIMIT },
	};
	static struct balance balance;
	struct balance_queue queues[2], *pointers[2] = { &queues[0], &queues[1] };
	struct balance_move moves[2];
	struct cpumask mask;

	(void)state;
	mask_of("0-3", &mask);
	balance_init(&balance, &balance_policy_default, &mask);
	assert_int_equal(balance_place(&balance, &mask, 0), 0);
	queue_from_row(&queues[0], &(const struct queue_row){ 0, 20, NULL, true });
	queue_from_row(&queues[1], &(const struct queue_row){ 1, 40, NULL, true });
	assert_int_equal(balance_decide(&balance, pointers, 2, moves, 2), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		mask_of(cases[i].allowed, &mask);
		print_message("%s\n", cases[i].name);
		assert_int_equal(balance_place(&balance, &mask, cases[i].percent * PERCENT), cases[i].cpu);
	}
}

static void
reasons_have_words(void **state)
{
	(void)state;
	for (int reason = 0; reason < BALANCE_REASON_COUNT; reason++) {
		assert_true(strlen(balance_reason_word((enum balance_reason)reason)) > 0);
		assert_true(strlen(balance_reason_meaning((enum balance_reason)reason)) > 0);
	}
	assert_string_equal(balance_reason_word(BALANCE_GATHER), "gather");
}

/* Traces: what queue `queue` of `count` asks for in a turn, in processors, before noise. */

typedef double (*trace_fn)(unsigned turn, unsigned queue, unsigned count);

static double
trace_idle(unsigned turn, unsigned queue, unsigned count)
{
	(void)turn, (void)queue, (void)count;
	return 0;
}

/* One share of 1, each queue between half and one and a half of the mean. */
static double
trace_alike(unsigned turn, unsigned queue, unsigned count)
{
	(void)turn;
	return (0.5 + chance(1, 0, queue)) / count;
}

/* Heavy-tailed: the r-th busiest asks for 1/r^0.6 of what the busiest does. Which queue has which rank is shuffled. */
static double
zipf(unsigned queue, unsigned count)
{
	static double sums[QUEUES_MAX + 1];

	if (sums[count] == 0) {
		for (unsigned rank = 1; rank <= count; rank++)
			sums[count] += pow(rank, -0.6);
	}
	return pow((queue * 97 + 41) % count + 1, -0.6) / sums[count];
}

static double
trace_zipf(unsigned turn, unsigned queue, unsigned count)
{
	(void)turn;
	return zipf(queue, count);
}

/* A few coarse ones, the rest idle: packing is hard. */
static double
trace_coarse(unsigned turn, unsigned queue, unsigned count)
{
	(void)turn;
	return queue % 5 ? 0 : (0.5 + chance(2, 0, queue)) / (count / 5 + 1);
}

/* Three that fill a processor each, the rest alike. */
static double
trace_elephants(unsigned turn, unsigned queue, unsigned count)
{
	(void)turn;
	return queue % 100 == 7 ? 0.92 / 11 : (0.5 + chance(3, 0, queue)) * (1 - 3 * 0.92 / 11) / count;
}

/* A day of 1200 turns, queues of three kinds with their hours. */
static double
trace_day(unsigned turn, unsigned queue, unsigned count)
{
	const double hour = 2 * M_PI * (turn / 1200.0 - (queue % 3) * 0.08);

	return (0.52 - 0.48 * cos(hour)) * zipf(queue, count);
}

/* On and off, the length of a burst heavy-tailed: 8 turns and more. */
static double
trace_bursts(unsigned turn, unsigned queue, unsigned count)
{
	const unsigned length = (unsigned)(8 / pow(1 - 0.98 * chance(4, 0, queue), 0.8));
	const bool on = chance(5, turn / length, queue) < 0.35;

	return (on ? 1.0 : 0.08) * (0.5 + chance(6, 0, queue)) / count;
}

/* Every queue at once: twenty times as much from turn 300 to turn 600. */
static double
trace_step(unsigned turn, unsigned queue, unsigned count)
{
	return (turn >= 300 && turn < 600 ? 1 : 0.05) * trace_zipf(0, queue, count);
}

/* What record_loads.py recorded; queues beyond those live through the same at another time. */
enum { RECORDED_QUEUES = 64, RECORDED_TURNS = 240, RECORDED_COPIES = QUEUES_MAX / RECORDED_QUEUES };

static double recorded[RECORDED_TURNS][RECORDED_QUEUES];

static int
recorded_read(void **state)
{
	FILE *file = fopen("loads.csv", "r");
	double sum = 0;

	(void)state;
	assert_non_null(file);
	for (unsigned turn = 0; turn < RECORDED_TURNS; turn++)
		for (unsigned queue = 0; queue < RECORDED_QUEUES; queue++) {
			assert_int_equal(fscanf(file, "%lf%*1[,\n]", &recorded[turn][queue]), 1);
			sum += recorded[turn][queue];
		}
	assert_int_equal(fgetc(file), EOF);
	fclose(file);
	for (unsigned turn = 0; turn < RECORDED_TURNS; turn++)
		for (unsigned queue = 0; queue < RECORDED_QUEUES; queue++)
			recorded[turn][queue] /= sum / RECORDED_TURNS;
	return 0;
}

/* The mean over all turns is 1. */
static double
trace_recorded(unsigned turn, unsigned queue, unsigned count)
{
	const unsigned later = queue / RECORDED_QUEUES * (RECORDED_TURNS / RECORDED_COPIES);
	const double all = count / (double)RECORDED_QUEUES;

	return recorded[(turn + later) % RECORDED_TURNS][queue % RECORDED_QUEUES] / all;
}

enum start { START_ON_ONE, START_IN_TURN };

struct scenario {
	const char *name;
	trace_fn trace;
	double total;             /* processors that the trace asks for at its 1 */
	unsigned cpus, queues;
	double noise;             /* each sample is off by up to this part */
	double receive;           /* processors: work of processor 0 that cannot move */
	enum start start;
	unsigned fixed_every;     /* every n-th queue is fixed to its first processor and the next; 0: none */
};

struct simulation {
	const struct scenario *scenario;
	unsigned turn;
	uint32_t limit;
	struct balance balance;
	struct balance_queue queues[QUEUES_MAX], *pointers[QUEUES_MAX];
	double demand[QUEUES_MAX];
	struct balance_move moves[MOVES_MAX];
	unsigned move_count;      /* of the last turn */
	unsigned moves_of[QUEUES_MAX];
	unsigned last_move[QUEUES_MAX];
	uint16_t came_from[QUEUES_MAX];
	unsigned moves_back;      /* soon, and to where the queue came from */
	unsigned reasons[BALANCE_REASON_COUNT];
};

static void
simulation_init(struct simulation *simulation, const struct scenario *scenario)
{
	struct cpumask cpus = { 0 };

	memset(simulation, 0, sizeof(*simulation));
	simulation->scenario = scenario;
	simulation->limit = MOVES_MAX;
	for (unsigned cpu = 0; cpu < scenario->cpus; cpu++)
		cpumask_add(&cpus, cpu);
	balance_init(&simulation->balance, &balance_policy_default, &cpus);
	for (unsigned i = 0; i < scenario->queues; i++) {
		struct balance_queue *queue = &simulation->queues[i];

		simulation->pointers[i] = queue;
		queue->movable = !scenario->fixed_every || i % scenario->fixed_every;
		queue->cpu = (uint16_t)(scenario->start == START_ON_ONE && queue->movable ? 0 : i % scenario->cpus);
		queue->allowed = cpus;
		if (!queue->movable) {
			queue->allowed = (struct cpumask){ 0 };
			cpumask_add(&queue->allowed, queue->cpu);
			cpumask_add(&queue->allowed, (queue->cpu + 1) % scenario->cpus);
		}
	}
}

static double
cpu_demand(const struct simulation *simulation, unsigned cpu)
{
	double demand = cpu == 0 ? simulation->scenario->receive : 0;

	for (unsigned i = 0; i < simulation->scenario->queues; i++) {
		if (simulation->queues[i].cpu == cpu)
			demand += simulation->demand[i];
	}
	return demand;
}

static void
simulation_measure(struct simulation *simulation)
{
	const struct scenario *scenario = simulation->scenario;
	double scale[CPUS_MAX] = { 0 };

	for (unsigned i = 0; i < scenario->queues; i++)
		simulation->demand[i] = scenario->total * scenario->trace(simulation->turn, i, scenario->queues);
	for (unsigned cpu = 0; cpu < scenario->cpus; cpu++)
		scale[cpu] = BALANCE_WHOLE_CPU / fmax(1, cpu_demand(simulation, cpu));
	simulation->balance.cpus[0].own.now = (uint32_t)(scenario->receive * scale[0]);
	for (unsigned i = 0; i < scenario->queues; i++) {
		const double off = 1 + scenario->noise * (2 * chance(7, simulation->turn, i) - 1);
		struct balance_queue *queue = &simulation->queues[i];

		queue->load.now = (uint32_t)(simulation->demand[i] * off * scale[queue->cpu]);
	}
}

static void
simulation_note(struct simulation *simulation, const struct balance_move *move)
{
	const size_t queue = (size_t)(move->queue - simulation->queues);

	assert_true(move->queue->movable);
	assert_true(cpumask_has(&move->queue->allowed, move->to));
	assert_true(simulation->balance.cpus[move->to].usable);
	assert_int_not_equal(move->from, move->to);
	assert_int_equal(move->queue->cpu, move->to);
	if (simulation->moves_of[queue] && move->reason != BALANCE_EVACUATE)
		assert_true(simulation->turn - simulation->last_move[queue] >=
			    simulation->balance.policy.hold_turns);
	if (simulation->moves_of[queue] && simulation->came_from[queue] == move->to &&
	    simulation->turn - simulation->last_move[queue] < 2u * simulation->balance.policy.hold_turns)
		simulation->moves_back++;
	simulation->came_from[queue] = move->from;
	simulation->moves_of[queue]++;
	simulation->last_move[queue] = simulation->turn;
	simulation->reasons[move->reason]++;
}

static void
simulation_turn(struct simulation *simulation)
{
	simulation_measure(simulation);
	simulation->move_count = balance_decide(&simulation->balance, simulation->pointers,
						simulation->scenario->queues, simulation->moves,
						simulation->limit);
	assert_true(simulation->move_count <= simulation->limit);
	for (unsigned i = 0; i < simulation->move_count; i++)
		simulation_note(simulation, &simulation->moves[i]);
	simulation->turn++;
}

static unsigned
simulation_run(struct simulation *simulation, unsigned turns)
{
	unsigned moves = 0;

	for (unsigned i = 0; i < turns; i++) {
		simulation_turn(simulation);
		moves += simulation->move_count;
	}
	return moves;
}

static double
busiest(const struct simulation *simulation)
{
	double most = 0;

	for (unsigned cpu = 0; cpu < simulation->scenario->cpus; cpu++)
		most = fmax(most, cpu_demand(simulation, cpu));
	return most;
}

/* No packing has a lower maximum: the mean, the largest that cannot be cut, and what cannot leave a processor. */
static double
packing_bound(const struct simulation *simulation)
{
	double sum = simulation->scenario->receive, largest = 0, pinned[CPUS_MAX] = { sum };

	for (unsigned i = 0; i < simulation->scenario->queues; i++) {
		sum += simulation->demand[i];
		largest = fmax(largest, simulation->demand[i]);
		if (!simulation->queues[i].movable)
			pinned[simulation->queues[i].cpu] += simulation->demand[i];
	}
	for (unsigned cpu = 0; cpu < simulation->scenario->cpus; cpu++)
		largest = fmax(largest, pinned[cpu]);
	return fmax(sum / simulation->scenario->cpus, largest);
}

static unsigned
cpus_in_use(const struct simulation *simulation)
{
	unsigned count = 0;

	for (unsigned cpu = 0; cpu < simulation->scenario->cpus; cpu++) {
		bool used = cpu == 0 && simulation->scenario->receive > 0;

		for (unsigned i = 0; i < simulation->scenario->queues; i++)
			used |= simulation->queues[i].cpu == cpu;
		count += used;
	}
	return count;
}

/* No packing below the fill mark has fewer processors. */
static unsigned
cpus_needed(const struct simulation *simulation)
{
	double sum = simulation->scenario->receive;

	for (unsigned i = 0; i < simulation->scenario->queues; i++)
		sum += simulation->demand[i];
	return (unsigned)fmax(1, ceil(sum * BALANCE_WHOLE_CPU / simulation->balance.policy.fill));
}

/* High load: within 10 % of the best packing. Low load: one processor more than needed, none above the high mark. */
static bool
is_packed(const struct simulation *simulation)
{
	if (packing_bound(simulation) * BALANCE_WHOLE_CPU > simulation->balance.policy.fill)
		return busiest(simulation) <= 1.1 * packing_bound(simulation);
	return cpus_in_use(simulation) <= cpus_needed(simulation) + 1 &&
	       busiest(simulation) * BALANCE_WHOLE_CPU <= simulation->balance.policy.high;
}

static unsigned
most_moves_of_one(const struct simulation *simulation)
{
	unsigned most = 0;

	for (unsigned i = 0; i < simulation->scenario->queues; i++)
		most = simulation->moves_of[i] > most ? simulation->moves_of[i] : most;
	return most;
}

static void
simulation_print(const struct simulation *simulation)
{
	print_message("%s: busiest %.3f, best packing %.3f; %u processors, %u needed; at most %u moves of a queue;",
		      simulation->scenario->name, busiest(simulation), packing_bound(simulation),
		      cpus_in_use(simulation), cpus_needed(simulation), most_moves_of_one(simulation));
	for (int reason = 0; reason < BALANCE_REASON_COUNT; reason++)
		print_message(" %s %u", balance_reason_word((enum balance_reason)reason), simulation->reasons[reason]);
	print_message("\n");
}

static struct simulation machine;

/* Loads that stay: settled in 80 turns, then 500 turns without a move though every sample is off. */
static const struct scenario steady_scenarios[] = {
	{ "idle", trace_idle, 0, 16, 256, 0, 0, START_IN_TURN, 0 },
	{ "low, alike", trace_alike, 0.4, 16, 256, 0.05, 0, START_IN_TURN, 0 },
	{ "low, alike, receiving", trace_alike, 1.4, 16, 256, 0.05, 0.3, START_IN_TURN, 0 },
	{ "low, zipf", trace_zipf, 2.4, 16, 256, 0.05, 0, START_IN_TURN, 0 },
	{ "low, zipf, from one", trace_zipf, 2.4, 16, 256, 0.05, 0, START_ON_ONE, 0 },
	{ "low, coarse", trace_coarse, 3.1, 16, 256, 0.05, 0, START_IN_TURN, 0 },
	{ "middle, alike", trace_alike, 5, 16, 256, 0.05, 0, START_IN_TURN, 0 },
	{ "middle, zipf, from one", trace_zipf, 6.3, 16, 256, 0.05, 0, START_ON_ONE, 0 },
	{ "high, alike", trace_alike, 12, 16, 256, 0.05, 0, START_IN_TURN, 0 },
	{ "high, alike, from one", trace_alike, 12, 16, 256, 0.05, 0, START_ON_ONE, 0 },
	{ "high, zipf", trace_zipf, 12, 16, 256, 0.05, 0, START_IN_TURN, 0 },
	{ "high, zipf, from one, receiving", trace_zipf, 11.5, 16, 256, 0.05, 0.4, START_ON_ONE, 0 },
	{ "high, zipf, one in seven fixed", trace_zipf, 11, 16, 256, 0.05, 0, START_ON_ONE, 7 },
	{ "high, coarse", trace_coarse, 12, 16, 256, 0.05, 0, START_IN_TURN, 0 },
	{ "high, coarse, from one", trace_coarse, 11, 16, 256, 0.05, 0, START_ON_ONE, 0 },
	{ "high, elephants", trace_elephants, 11, 16, 256, 0.05, 0, START_IN_TURN, 0 },
	{ "nearly full", trace_zipf, 15, 16, 256, 0.05, 0, START_ON_ONE, 0 },
	{ "two processors, low", trace_zipf, 0.4, 2, 8, 0.05, 0, START_IN_TURN, 0 },
	{ "two processors, high", trace_zipf, 1.6, 2, 8, 0.05, 0, START_ON_ONE, 0 },
	{ "two processors, high, receiving", trace_alike, 1.2, 2, 8, 0.05, 0.3, START_ON_ONE, 0 },
};

static bool
steady_holds(const struct scenario *scenario)
{
	unsigned later;
	bool packed;

	simulation_init(&machine, scenario);
	simulation_run(&machine, 80);
	later = simulation_run(&machine, 500);
	packed = is_packed(&machine);
	simulation_print(&machine);
	if (!packed)
		print_error("%s: not packed\n", scenario->name);
	if (later > 0)
		print_error("%s: %u moves after it had settled\n", scenario->name, later);
	return packed && later == 0;
}

static void
steady_loads_settle_and_stay(void **state)
{
	int failed = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(steady_scenarios); i++)
		failed += !steady_holds(&steady_scenarios[i]);
	assert_int_equal(failed, 0);
}

static unsigned
turns_until_packed(struct simulation *simulation, unsigned limit)
{
	unsigned turns = 0;

	do {
		simulation_turn(simulation);
		turns++;
	} while (turns < limit && !is_packed(simulation));
	return turns;
}

static void
a_step_settles_in_bounded_time(void **state)
{
	static const struct scenario scenarios[] = {
		{ "step, 16 processors", trace_step, 12, 16, 256, 0.05, 0, START_IN_TURN, 0 },
		{ "step, 16 processors, receiving", trace_step, 11.5, 16, 256, 0.05, 0.4, START_IN_TURN, 0 },
		{ "step, 2 processors", trace_step, 1.5, 2, 8, 0.05, 0, START_IN_TURN, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(scenarios); i++) {
		unsigned up, down;

		simulation_init(&machine, &scenarios[i]);
		simulation_run(&machine, 300);
		assert_true(is_packed(&machine));
		up = turns_until_packed(&machine, 300);
		simulation_run(&machine, 300 - up);
		assert_true(is_packed(&machine));
		down = turns_until_packed(&machine, 300);
		simulation_run(&machine, 300 - down);
		simulation_print(&machine);
		print_message("%s: up in %u turns, down in %u\n", scenarios[i].name, up, down);
		assert_true(is_packed(&machine));
		assert_true(up <= 60);
		assert_true(down <= 120);
		assert_true(most_moves_of_one(&machine) <= 8);
	}
}

struct followed {
	unsigned turns;           /* of high load */
	unsigned uneven;          /* of these, not within 10 % of the best packing of that very turn */
	unsigned overloaded;      /* a processor was asked for more than it has, though all together were not */
	unsigned moves;
	double excess;            /* busiest to best packing, mean of the turns of high load */
};

static void
simulation_follow(struct simulation *simulation, unsigned turns, struct followed *followed)
{
	memset(followed, 0, sizeof(*followed));
	for (unsigned i = 0; i < turns; i++) {
		double bound, most;

		simulation_turn(simulation);
		bound = packing_bound(simulation);
		most = busiest(simulation);
		followed->moves += simulation->move_count;
		followed->overloaded += most > 1 && bound <= 0.9;
		if (bound * BALANCE_WHOLE_CPU <= simulation->balance.policy.fill)
			continue;
		followed->turns++;
		followed->uneven += most > 1.1 * bound;
		followed->excess += most / bound;
	}
	followed->excess = followed->turns ? followed->excess / followed->turns : 1;
}

/* Bursts of a few turns cannot be foreseen, but the maximum must be lower than where nobody moves a queue. */
static void
loads_that_change_are_followed(void **state)
{
	static const struct {
		struct scenario scenario;
		double uneven_part, overloaded_part, excess;
		unsigned moves_of_one;
		double moves_a_turn;
	} cases[] = {
		{ { "day", trace_day, 11.5, 16, 256, 0.05, 0, START_IN_TURN, 0 }, 0.02, 0, 1.08, 24, 1 },
		{ { "day, two processors", trace_day, 1.5, 2, 8, 0.05, 0, START_IN_TURN, 0 }, 0.02, 0, 1.08, 8, 0.02 },
		{ { "bursts, low", trace_bursts, 6, 16, 256, 0.1, 0, START_IN_TURN, 0 }, 0, 0.01, 1, 10, 0.1 },
		{ { "bursts, high", trace_bursts, 26, 16, 256, 0.1, 0, START_IN_TURN, 0 }, 1, 0.02, 1.25, 70, 3 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct followed followed;

		simulation_init(&machine, &cases[i].scenario);
		simulation_run(&machine, 60);
		simulation_follow(&machine, 2400, &followed);
		simulation_print(&machine);
		print_message("%s: %u turns of high load, %u uneven, %u overloaded, excess %.3f, %u moves\n",
			      cases[i].scenario.name, followed.turns, followed.uneven, followed.overloaded,
			      followed.excess, followed.moves);
		assert_true(followed.uneven <= cases[i].uneven_part * followed.turns);
		assert_true(followed.overloaded <= cases[i].overloaded_part * 2400);
		assert_true(followed.excess <= cases[i].excess);
		assert_true(most_moves_of_one(&machine) <= cases[i].moves_of_one);
		assert_true(followed.moves <= cases[i].moves_a_turn * 2400);
	}
}

static void
moving_pays_under_bursts(void **state)
{
	static const struct scenario scenario = { "bursts", trace_bursts, 26, 16, 256, 0.1, 0, START_IN_TURN, 0 };
	struct followed moved, unmoved;

	(void)state;
	simulation_init(&machine, &scenario);
	simulation_follow(&machine, 1200, &moved);
	simulation_init(&machine, &scenario);
	machine.limit = 0;
	simulation_follow(&machine, 1200, &unmoved);
	print_message("overloaded %u turns, %u where nobody moves a queue; excess %.3f and %.3f\n", moved.overloaded,
		      unmoved.overloaded, moved.excess, unmoved.excess);
	assert_int_equal(unmoved.moves, 0);
	assert_true(moved.overloaded < unmoved.overloaded);
}

static bool
is_empty(const struct simulation *simulation, unsigned cpu)
{
	for (unsigned i = 0; i < simulation->scenario->queues; i++) {
		if (simulation->queues[i].movable && simulation->queues[i].cpu == cpu)
			return false;
	}
	return true;
}

static void
processors_go_and_come_back(void **state)
{
	static const struct scenario scenario = { "processors", trace_zipf, 10, 16, 256, 0.05, 0, START_IN_TURN, 7 };

	(void)state;
	simulation_init(&machine, &scenario);
	simulation_run(&machine, 80);
	for (unsigned cpu = 12; cpu < 16; cpu++)
		machine.balance.cpus[cpu].usable = false;
	balance_changed(&machine.balance);
	simulation_run(&machine, 64 / MOVES_MAX + 1);
	for (unsigned cpu = 12; cpu < 16; cpu++)
		assert_true(is_empty(&machine, cpu));
	simulation_run(&machine, 80);
	assert_true(busiest(&machine) <= 1.1 * 10 / 12);
	for (unsigned cpu = 12; cpu < 16; cpu++) {
		assert_true(is_empty(&machine, cpu));
		machine.balance.cpus[cpu].usable = true;
	}
	balance_changed(&machine.balance);
	simulation_run(&machine, 160);
	simulation_print(&machine);
	assert_true(machine.reasons[BALANCE_EVACUATE] > 0);
	assert_true(is_packed(&machine));
}

/* What a queue does in the next second nobody foresees: judged is the mean over some turns. */
enum { WINDOW_TURNS = 20, WINDOWS = 4 * RECORDED_TURNS / WINDOW_TURNS };

struct window {
	double cpus[CPUS_MAX];
	double queues[QUEUES_MAX];
};

static void
window_take(struct window *window, const struct simulation *simulation)
{
	for (unsigned cpu = 0; cpu < simulation->scenario->cpus; cpu++)
		window->cpus[cpu] += cpu_demand(simulation, cpu) / WINDOW_TURNS;
	for (unsigned i = 0; i < simulation->scenario->queues; i++)
		window->queues[i] += simulation->demand[i] / WINDOW_TURNS;
}

static double
window_busiest(const struct window *window, unsigned cpus)
{
	double most = 0;

	for (unsigned cpu = 0; cpu < cpus; cpu++)
		most = fmax(most, window->cpus[cpu]);
	return most;
}

/* Of a packing that knows the whole window before it begins. */
static double
window_bound(const struct window *window, const struct scenario *scenario)
{
	double sum = scenario->receive, largest = sum;

	for (unsigned i = 0; i < scenario->queues; i++) {
		sum += window->queues[i];
		largest = fmax(largest, window->queues[i]);
	}
	return fmax(sum / scenario->cpus, largest);
}

struct watched {
	double excess, worst;     /* busiest to best packing: mean and most of the windows */
	double busiest;           /* of all windows */
	unsigned moves;
};

static void
simulation_watch(struct simulation *simulation, struct watched *watched)
{
	const struct scenario *scenario = simulation->scenario;

	memset(watched, 0, sizeof(*watched));
	simulation->moves_back = 0;
	for (unsigned i = 0; i < WINDOWS; i++) {
		struct window window = { 0 };
		double busiest, excess;

		for (unsigned turn = 0; turn < WINDOW_TURNS; turn++) {
			watched->moves += simulation_run(simulation, 1);
			window_take(&window, simulation);
		}
		busiest = window_busiest(&window, scenario->cpus);
		excess = busiest / window_bound(&window, scenario);
		watched->excess += excess / WINDOWS;
		watched->worst = fmax(watched->worst, excess);
		watched->busiest = fmax(watched->busiest, busiest);
	}
}

static const struct recorded_case {
	struct scenario scenario;
	double excess, worst;     /* at most */
	double busiest;
	double turns_of_a_move;   /* of one queue, between two moves, at least */
	unsigned cpus;            /* in use at the end, at most */
} recorded_cases[] = {
	{ { "recorded, high", trace_recorded, 11, 16, 256, 0, 0, START_ON_ONE, 0 }, 1.1, 1.2, 1, 50, 16 },
	{ { "recorded, high, receiving", trace_recorded, 10.5, 16, 256, 0, 0.3, START_IN_TURN, 0 },
	  1.1, 1.2, 1, 50, 16 },
	{ { "recorded, middle", trace_recorded, 6, 16, 256, 0, 0, START_IN_TURN, 0 }, 2, 2, 0.7, 150, 12 },
	{ { "recorded, low", trace_recorded, 1.5, 16, 256, 0, 0, START_IN_TURN, 0 }, 16, 16, 0.7, INFINITY, 3 },
};

/* Packed as well as can be under high load, below the high mark on few processors under less; hardly a move in vain. */
static bool
recorded_holds(const struct recorded_case *c)
{
	const double turns = (double)WINDOWS * WINDOW_TURNS * c->scenario.queues;
	struct watched watched;

	simulation_init(&machine, &c->scenario);
	simulation_run(&machine, 80);
	simulation_watch(&machine, &watched);
	simulation_print(&machine);
	print_message("  excess %.3f, worst %.3f, busiest %.3f, %u moves, %u of them back\n", watched.excess,
		      watched.worst, watched.busiest, watched.moves, machine.moves_back);
	return watched.excess <= c->excess && watched.worst <= c->worst && watched.busiest <= c->busiest &&
	       watched.moves <= turns / c->turns_of_a_move && machine.moves_back <= watched.moves / 20 &&
	       cpus_in_use(&machine) <= c->cpus;
}

static void
recorded_loads_are_packed(void **state)
{
	int failed = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(recorded_cases); i++) {
		if (recorded_holds(&recorded_cases[i]))
			continue;
		failed++;
		print_error("%s: not held\n", recorded_cases[i].scenario.name);
	}
	assert_int_equal(failed, 0);
}

/* Every second queue may only be on the first four: these fill them, the others make room and stay away. */
static void
masks_that_are_narrow(void **state)
{
	static const struct scenario scenario = { "masks", trace_zipf, 6, 16, 256, 0.05, 0, START_IN_TURN, 0 };
	double sum = 0;

	(void)state;
	simulation_init(&machine, &scenario);
	for (unsigned i = 0; i < scenario.queues; i += 2) {
		mask_of("0-3", &machine.queues[i].allowed);
		sum += scenario.total * trace_zipf(0, i, scenario.queues);
	}
	simulation_run(&machine, 120);
	simulation_print(&machine);
	assert_true(busiest(&machine) <= 1.1 * sum / 4);
	assert_int_equal(simulation_run(&machine, 500), 0);
}

/* A limit far below what there is to do only takes longer. */
static void
two_moves_a_turn_are_enough(void **state)
{
	static const struct scenario scenarios[] = {
		{ "two a turn, low", trace_zipf, 2.4, 16, 256, 0.05, 0, START_IN_TURN, 0 },
		{ "two a turn, high", trace_zipf, 11.5, 16, 256, 0.05, 0, START_ON_ONE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(scenarios); i++) {
		simulation_init(&machine, &scenarios[i]);
		machine.limit = 2;
		simulation_run(&machine, 600);
		simulation_print(&machine);
		assert_true(is_packed(&machine));
		assert_int_equal(simulation_run(&machine, 200), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decisions),
		cmocka_unit_test(a_move_tells_the_loads),
		cmocka_unit_test(a_queue_that_moved_is_held),
		cmocka_unit_test(place_prefers_a_processor_at_work),
		cmocka_unit_test(reasons_have_words),
		cmocka_unit_test(steady_loads_settle_and_stay),
		cmocka_unit_test(a_step_settles_in_bounded_time),
		cmocka_unit_test(loads_that_change_are_followed),
		cmocka_unit_test(moving_pays_under_bursts),
		cmocka_unit_test(processors_go_and_come_back),
		cmocka_unit_test_setup(recorded_loads_are_packed, recorded_read),
		cmocka_unit_test(masks_that_are_narrow),
		cmocka_unit_test(two_moves_a_turn_are_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
