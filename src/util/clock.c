/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/clock.h"

#include <time.h>

enum { MS_IN_S = 1000, NS_IN_MS = 1000000 };

uint64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * MS_IN_S + (uint64_t)now.tv_nsec / NS_IN_MS;
}

void
clock_condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

void
clock_wait(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t end_ms)
{
	const struct timespec end = { .tv_sec = (time_t)(end_ms / MS_IN_S),
				      .tv_nsec = (long)(end_ms % MS_IN_S) * NS_IN_MS };

	pthread_cond_timedwait(condition, lock, &end);
}
