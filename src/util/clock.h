/* SPDX-License-Identifier: BSD-3-Clause */
/* The monotonic clock, and waiting by it. */
#ifndef VMQ_UTIL_CLOCK_H
#define VMQ_UTIL_CLOCK_H

#include <pthread.h>
#include <stdint.h>

/** Milliseconds since some moment before the program started. */
uint64_t clock_ms(void);

/** A condition for clock_wait(). */
void clock_condition_init(pthread_cond_t *condition);

/** Wait until the condition is signalled, or the clock stands at end_ms, or for no reason. */
void clock_wait(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t end_ms);

#endif
