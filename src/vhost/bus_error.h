/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that vanishes. It is a file that the other end may truncate; whoever touches a page beyond the end
 * gets a bus error, which would end this process, and with it every VM.
 *
 * Every guest's memory has a guard: a bus error in it replaces the mapping by empty memory of our own and notes that
 * this guest lost its memory. Whoever touched it goes on, reads zeroes or writes where nobody looks, and finds the
 * note when it is done with its burst. This costs nothing until it happens.
 *
 * All functions but bus_guard_lost() are the control thread's.
 */
#ifndef VMQ_VHOST_BUS_ERROR_H
#define VMQ_VHOST_BUS_ERROR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BUS_GUARD_RANGES_MAX = 9 }; /* of one guest: its regions, and the dirty log */

/* A range counts while its length is not 0: the signal handler reads it on any thread, without a lock. */
struct guarded_range {
	_Atomic uintptr_t start;
	_Atomic size_t bytes;
};

struct bus_guard {
	atomic_bool lost;
	bool taken;
	struct guarded_range ranges[BUS_GUARD_RANGES_MAX];
	struct bus_guard *next; /* never changes: a guard is used again, and never freed */
};

/** Take over SIGBUS, if that is not done; the rest goes to whoever had it. @return 0; -errno. */
int bus_error_open(void);

/** A guard that watches nothing yet, and lost nothing. @return NULL: no memory. */
struct bus_guard *bus_guard_take(void);
void bus_guard_release(struct bus_guard *guard);

/** Watch memory, as it was mapped. @return 0; -ENOSPC. */
int bus_guard_watch(struct bus_guard *guard, void *start, size_t bytes);

/** Stop watching what begins there, before it is unmapped; what was lost stays lost. */
void bus_guard_unwatch(struct bus_guard *guard, const void *start);

/** Whether memory that it watched vanished. Any thread. */
static inline bool
bus_guard_lost(const struct bus_guard *guard)
{
	return atomic_load_explicit(&guard->lost, memory_order_relaxed);
}

#endif
