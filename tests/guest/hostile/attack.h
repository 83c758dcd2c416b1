/* SPDX-License-Identifier: BSD-3-Clause */
/* An attack as a row of a table, and what vmqd has to do about it. */
#ifndef HOSTILE_ATTACK_H
#define HOSTILE_ATTACK_H

#include "guest.h"

enum outcome {
	HARMLESS,  /* nobody else notices, whatever becomes of the attacker */
	FAULT,     /* the attacker is detached: its queue counts guest_fault */
	CLOSED,    /* vmqd closes the connection */
	DETACHED,  /* one of the two, as early as vmqd notices */
};

struct attack {
	const char *name;
	enum outcome outcome;
	void (*run)(struct guest *guest); /* from the connection on; returns when told to stop */
};

/* Tables that end with a row without a name. */
extern const struct attack talk_attacks[];   /* talk.c: what is said on the socket, and how */
extern const struct attack memory_attacks[]; /* memory.c: what memory and rings are made of, while they are used */
extern const struct attack left_attacks[];   /* left.c: frames that vmqd has to finish */
extern const struct attack runs[];           /* runs.c, watch.c: guests that tests use, most behave */

/** rings.c: what stands in a ring; each row in one direction or in both, so their names are made. */
const struct attack *ring_attacks(void);
void ring_attack_run(struct guest *guest, const char *name);

#endif
