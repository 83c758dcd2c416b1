/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far apart two processors are: nanoseconds for a cache line there and back. A virtual processor may be moved
 * while it runs, to a core that shares a cache with the other's or to one that does not; what two processors do
 * together then costs several times as much, and measurements before and after cannot be compared.
 *
 * bench_lines CPU CPU
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TRIPS = 50000, ROUNDS = 5, ENDS = 2 };

struct end {
	pthread_t thread;
	int cpu;
	unsigned turn; /* the line is this end's when it holds a number of that parity */
	double ns;     /* for a trip, the least of the rounds */
};

static _Alignas(128) atomic_uint line;

static double
round_ns(unsigned turn)
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned i = 0; i < TRIPS; i++) {
		unsigned seen;

		do
			seen = atomic_load_explicit(&line, memory_order_acquire);
		while (seen % ENDS != turn);
		atomic_store_explicit(&line, seen + 1, memory_order_release);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / TRIPS;
}

static void *
run(void *argument)
{
	struct end *end = argument;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(end->cpu, &cpus);
	if (pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus)) {
		fprintf(stderr, "bench_lines: may not run on processor %d\n", end->cpu);
		exit(1);
	}
	end->ns = round_ns(end->turn);
	for (unsigned i = 1; i < ROUNDS; i++) {
		double ns = round_ns(end->turn);

		if (ns < end->ns)
			end->ns = ns;
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	struct end ends[ENDS] = { 0 };

	if (argc != 1 + ENDS) {
		fprintf(stderr, "usage: bench_lines CPU CPU\n");
		return 1;
	}
	for (unsigned i = 0; i < ENDS; i++) {
		ends[i] = (struct end){ .cpu = atoi(argv[1 + i]), .turn = i };
		if (pthread_create(&ends[i].thread, NULL, run, &ends[i]))
			return 1;
	}
	for (unsigned i = 0; i < ENDS; i++)
		pthread_join(ends[i].thread, NULL);
	printf("%.0f\n", ends[0].ns);
	return 0;
}
