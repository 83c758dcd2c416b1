/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dynamic VMQ: which processor serves which queue of affinity auto. Few processors while there is little to do,
 * all of them evenly when there is much. Called about once a second on the control thread; the caller carries the
 * moves out. Source: vmq-spec §8.
 *
 * Theory: two marks. A processor above 70 % sheds queues until it is at 55 %; one is emptied only where those that
 * take its queues stay at 55 %, with the peaks of all their queues. Load has to grow by a quarter before a gather is
 * undone, and what was shed does not fit back, so neither decision is the reason for the other. When all processors
 * together are busier than 55 %, their mean takes the place of the lower mark, and 6 % more that of the upper.
 */
#ifndef VMQ_BALANCE_BALANCE_H
#define VMQ_BALANCE_BALANCE_H

#include "util/cpumask.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	BALANCE_PERCENT = 10000,                  /* every load is in millionths of one processor */
	BALANCE_WHOLE_CPU = 100 * BALANCE_PERCENT,
	BALANCE_HIGH = 70 * BALANCE_PERCENT,      /* a processor above it sheds queues */
	BALANCE_FILL = 55 * BALANCE_PERCENT,      /* until it is here; one that takes queues stays below, if all can */
	BALANCE_HOLD_TURNS = 10,                  /* a queue that moved stays for so long */
};

enum balance_reason {
	BALANCE_SPREAD,               /* its processor was above the high mark */
	BALANCE_LEVEL,                /* all are busy, and its own was busier than the others */
	BALANCE_GATHER,               /* the others have room for it, and its processor can sleep */
	BALANCE_REASON_COUNT
};

/* A load as measured, and what the decisions see of it. All zero at first. */
struct balance_load {
	uint32_t now;                 /* caller: since the last turn */
	uint32_t mean;                /* smoothed over about three turns */
	uint32_t peak;                /* rises with the mean, falls slowly: what there must be room for */
	bool known;
};

struct balance_queue {
	uint16_t cpu;                 /* caller: serves it now; after balance_decide(): serves it next */
	bool movable;                 /* caller: affinity auto; else its load counts and it stays */
	struct cpumask allowed;       /* caller: where it may be served */
	struct balance_load load;
	uint16_t hold;                /* turns before it may move again */
	uint16_t planned;             /* within one decision: where it is counted */
	enum balance_reason reason;   /* of its last move */
};

struct balance_cpu {
	struct balance_load own;      /* caller writes own.now: work that cannot move, such as receiving from a port */
	uint32_t mean;                /* own and its queues' */
	uint32_t peak;
	uint32_t queue_count;
	bool done;                    /* within one decision: no more can be done for it */
};

struct balance {
	uint32_t cpu_count;           /* caller: processors that may serve queues, not zero */
	struct balance_cpu cpus[CPU_LIMIT];
};

/**
 * One turn: take the loads in, decide, and put queue->cpu where the queue now belongs, with the reason beside it.
 * No memory is allocated and the order of `queues` is kept.
 *
 * @return how many queues have another processor.
 */
uint32_t balance_decide(struct balance *balance, struct balance_queue *const *queues, uint32_t queue_count);

/** The word of a reason as JSON and tables show it, e.g. `gather`. */
const char *balance_reason_word(enum balance_reason reason);

#endif
