/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dynamic VMQ: which processor serves which queue of affinity auto. Few processors while there is little to do,
 * all of them evenly when there is much. Called about once a second on the control thread; who calls carries the
 * moves out and tells of them. Source: vmq-spec §8.
 *
 * Theory: two marks. A processor above `high` sheds queues until it is at `fill`; queues are gathered only where
 * every processor that takes some stays at `fill` with the peaks of its queues. Load has to grow by high/fill
 * before a gather is undone, and what was shed does not fit back, so neither decision is the reason for the other.
 * When the load of all does not fit under `fill`, the even share takes its place, with the same distance between
 * where levelling starts and where it stops.
 */
#ifndef VMQ_BALANCE_BALANCE_H
#define VMQ_BALANCE_BALANCE_H

#include "util/cpumask.h"

#include <stdbool.h>
#include <stdint.h>

#define BALANCE_WHOLE_CPU 1000000 /* every load is in millionths of one processor */

/* name in code, word in JSON and tables, what it means */
#define BALANCE_REASONS(row)                                                                         \
	row(EVACUATE, evacuate, "the processor that served it is not one of those that may")         \
	row(SPREAD, spread, "its processor was above the high mark, and there is room on another")   \
	row(LEVEL, level, "all processors are busy, and its own was busier than the others")         \
	row(GATHER, gather, "load is low: the others have room for it, and its processor can sleep")

#define BALANCE_ENUM(name, word, text) BALANCE_##name,
enum balance_reason {
	BALANCE_REASONS(BALANCE_ENUM)
	BALANCE_REASON_COUNT
};
#undef BALANCE_ENUM

struct balance_policy {
	uint32_t high;                /* a processor above it is relieved */
	uint32_t fill;                /* a processor that is given queues stays at or below it */
	uint32_t gain;                /* no processor is relieved for less than this */
	uint16_t hold_turns;          /* a queue that moved stays for so long; only an evacuation is sooner */
};

extern const struct balance_policy balance_policy_default;

/* A load as measured, and what the decisions see of it. All zero at first. */
struct balance_load {
	uint32_t now;                 /* caller: since the last turn */
	uint32_t mean;                /* smoothed over about four turns */
	uint32_t peak;                /* rises with the mean, falls slowly: what there must be room for */
	bool known;
};

struct balance_queue {
	uint16_t cpu;                 /* caller at first, then balance_decide() */
	bool movable;                 /* caller: affinity auto; else its load counts and it stays */
	struct cpumask allowed;       /* caller: where it may be served */
	struct balance_load load;
	uint16_t hold;                /* turns before it may move again */
	uint16_t planned;             /* within one decision */
};

struct balance_cpu {
	bool usable;                  /* caller: queues may be put there */
	bool tried;                   /* within one decision */
	struct balance_load own;      /* caller writes own.now: work that cannot move, such as receiving from a port */
	uint32_t mean;                /* own and its queues' */
	uint32_t peak;
	uint32_t pinned;              /* the part of the mean that cannot move */
	uint32_t queue_count;
};

struct balance {
	struct balance_policy policy;
	uint16_t spreading_turns;     /* left of going on to the level: as many after a move as a queue is held */
	uint64_t settled_peak;        /* of all queues when a gather last found no room; 0: it may find some */
	struct balance_cpu cpus[CPU_LIMIT];
};

struct balance_move {
	struct balance_queue *queue;
	uint16_t from, to;
	enum balance_reason reason;
	uint32_t load;                /* the queue's */
	uint32_t from_load, to_load;  /* of the processors when it was decided, the queue still on `from` */
};

/** Every processor of `cpus` usable, nothing known. */
void balance_init(struct balance *balance, const struct balance_policy *policy, const struct cpumask *cpus);

/** Queues or processors came, went, or changed what they allow: what was found before may not hold. */
void balance_changed(struct balance *balance);

/**
 * One turn: take the loads in, decide, and put queue->cpu where the queue now belongs.
 *
 * Who cannot carry a move out writes its `from` back to queue->cpu. What does not fit in `limit` comes in the turns
 * after. No memory is allocated and the order of `queues` is kept.
 *
 * @param limit  of moves[]; an exchange needs two and more at once; with 0 only the loads are taken in.
 * @return how many moves there are, to be made in their order.
 */
uint32_t balance_decide(struct balance *balance, struct balance_queue *const *queues, uint32_t queue_count,
			struct balance_move *moves, uint32_t limit);

/**
 * Where a queue starts: the fullest processor at work that has room for it below the fill mark, else the calmest.
 * As of the last balance_decide().
 *
 * @return the processor; CPU_LIMIT when none of `allowed` is usable.
 */
uint16_t balance_place(const struct balance *balance, const struct cpumask *allowed, uint32_t load);

/** The word of a reason as JSON and tables show it, e.g. `gather`. */
const char *balance_reason_word(enum balance_reason reason);

/** What the reason means, in one phrase. */
const char *balance_reason_meaning(enum balance_reason reason);

#endif
