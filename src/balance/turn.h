/* SPDX-License-Identifier: BSD-3-Clause */
/* One decision while it is being made: shared by the files of balance.h, and by nobody else. */
#ifndef VMQ_BALANCE_TURN_H
#define VMQ_BALANCE_TURN_H

#include "balance/balance.h"

/* Loads of processors follow every move at once. */
struct turn {
	struct balance *balance;
	struct balance_queue *const *queues;
	uint32_t queue_count;
	struct balance_move *moves;
	uint32_t limit;
	uint32_t count;
	uint32_t level;                 /* where relieving a processor stops */
	uint32_t trigger;               /* where it starts */
	enum balance_reason reason;     /* of relieving */
};

/** Whether anything keeps the processor from sleeping. */
bool cpu_works(const struct balance_cpu *cpu);

/** Whether it has so little of its own to do that it sleeps without queues. */
bool cpu_would_sleep(const struct balance_cpu *cpu);

/** Whether the policy may take the queue from `cpu` now. */
bool may_leave(const struct balance_queue *queue, uint16_t cpu);

/** The least loaded of the usable, CPU_LIMIT if there is none. */
uint16_t calmest_cpu(const struct balance *balance, const struct cpumask *allowed, uint16_t except, bool at_work);

/** The fullest at work that stays at the fill mark with `load` more, peaks counted; CPU_LIMIT if there is none. */
uint16_t fullest_cpu_with_room(const struct balance *balance, const struct cpumask *allowed, uint32_t load,
			       uint16_t except);

void turn_clear_tried(struct turn *turn);

/** Count the queue on `to`; it stays where it is. */
void turn_plan(struct turn *turn, struct balance_queue *queue, uint16_t to);

void turn_move(struct turn *turn, struct balance_queue *queue, uint16_t to, enum balance_reason reason);

/** Take moves back until there are `count`. */
void turn_undo(struct turn *turn, uint32_t count);

/** Relieve processors above their mark (balance_spread.c). */
void turn_spread(struct turn *turn);

/** Empty processors whose queues fit elsewhere (balance_gather.c). */
void turn_gather(struct turn *turn);

static inline uint32_t
larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

#endif
