/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a copy of 64 bytes costs when both ends are in the nearest cache: the unit that the classifier is compared
 * with. Copies a burst of 32 frames between buffers that stay hot, as delivery would. Prints nanoseconds a copy,
 * one number a round.
 */
#include <rte_memcpy.h>
#include <stdio.h>
#include <time.h>

enum { BURST = 32, FRAME_BYTES = 64, ROUND_BURSTS = 1 << 17, ROUNDS = 9 };

static uint8_t from[BURST][FRAME_BYTES] __attribute__((aligned(64)));
static uint8_t to[BURST][FRAME_BYTES] __attribute__((aligned(64)));

static void
copy_burst(void)
{
	for (unsigned i = 0; i < BURST; i++)
		rte_memcpy(to[i], from[i], FRAME_BYTES);
	/* The compiler must take it that someone reads the copies and writes new frames. */
	__asm__ volatile("" : : "r"(from), "r"(to) : "memory");
}

static double
round_ns(void)
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned i = 0; i < ROUND_BURSTS; i++)
		copy_burst();
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
	       (ROUND_BURSTS * BURST);
}

int
main(void)
{
	round_ns();
	for (unsigned i = 0; i < ROUNDS; i++)
		printf("%.3f\n", round_ns());
	return 0;
}
