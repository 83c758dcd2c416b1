/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a worker: turns while there is something to do, sleep when there is not. */
#include "util/unprivileged.h"
#include "datapath/worker.h"

#include <rte_cycles.h>
#include <sys/prctl.h>
#include <time.h>

enum {
	PATIENCE_MIN_USECS = 30,  /* without a frame before a sleep */
	PATIENCE_MAX_USECS = 120, /* where sleeps keep being cut short by frames */
	SHORT_SLEEP_USECS = 200,
	CLOCK_TURNS = 256, /* turns between looks at the clock */
};

static uint32_t
clock_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)now.tv_sec;
}

/* Nobody else writes it, so it needs no locked instruction. */
static void
count_up(_Atomic uint64_t *counter, uint64_t by)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

/*
 * Publish the epoch up to which this worker has dealt with everything it was given. It never goes back, even when a
 * worker that has just woken reports an older one, and never runs ahead of the current epoch, even while all sleep.
 */
static void
say_drained(struct worker *worker, uint64_t epoch, uint64_t adopted_by_all)
{
	uint64_t now = RTE_MIN(RTE_MIN(adopted_by_all, worker->stalled), epoch);

	if (now > atomic_load_explicit(&worker->drained, memory_order_relaxed))
		atomic_store_explicit(&worker->drained, now, memory_order_release);
}

/* One look at everything. Says at its end what other workers may rely on; see handover.c. */
unsigned
worker_turn(struct worker *worker)
{
	struct path *path = worker->path;
	uint64_t epoch = atomic_load_explicit(&path->epoch, memory_order_seq_cst);
	uint64_t adopted_by_all = handover_adopted_by_all(path);
	uint64_t flush = atomic_load_explicit(&path->flush_request, memory_order_acquire);
	const struct roster *roster = atomic_load_explicit(&path->roster, memory_order_acquire);
	unsigned entered = 0;

	worker->now_cycles = rte_rdtsc();
	worker->hungry = false;
	worker->stalled = UINT64_MAX;
	worker->empty_lanes = flush != worker->flushed;
	for (uint16_t i = 0; i < roster->count; i++)
		entered += worker_poll_adapter(worker, roster->adapters[i]);
	worker->flushed = flush;
	if (entered)
		count_up(&worker->busy_cycles, rte_rdtsc() - worker->now_cycles);
	atomic_store_explicit(&worker->adopted, epoch, memory_order_release);
	say_drained(worker, epoch, adopted_by_all);
	rte_rcu_qsbr_quiescent(path->grace, worker->index);
	return entered;
}

/* Look longer before sleeping while sleeps are short; look less after a sleep that found nothing. In cycles. */
static uint64_t
patience_after(uint64_t patience, uint64_t slept, unsigned found)
{
	if (!found)
		return RTE_MAX(patience / 2, cycles_of(PATIENCE_MIN_USECS));
	if (slept < cycles_of(SHORT_SLEEP_USECS))
		return RTE_MIN(patience * 2, cycles_of(PATIENCE_MAX_USECS));
	return patience;
}

int
worker_main(void *argument)
{
	struct worker *worker = argument;
	struct path *path = worker->path;
	uint64_t patience = cycles_of(PATIENCE_MIN_USECS), busy_at = rte_rdtsc(), slept_at;
	unsigned found;

	unprivileged_thread();
	prctl(PR_SET_TIMERSLACK, 1000UL);
	rte_rcu_qsbr_thread_register(path->grace, worker->index);
	rte_rcu_qsbr_thread_online(path->grace, worker->index);
	while (!atomic_load_explicit(&path->stopping, memory_order_relaxed)) {
		if (worker->turns++ % CLOCK_TURNS == 0)
			worker->now_seconds = clock_seconds();
		if (worker_turn(worker))
			busy_at = worker->now_cycles;
		if (worker->now_cycles - busy_at < patience || !worker_may_sleep(worker))
			continue;
		slept_at = rte_rdtsc();
		found = worker_sleep(worker);
		worker->now_seconds = clock_seconds();
		found += worker_turn(worker);
		patience = patience_after(patience, rte_rdtsc() - slept_at, found);
		if (found)
			busy_at = worker->now_cycles;
	}
	atomic_store_explicit(&worker->adopted, UINT64_MAX, memory_order_release);
	rte_rcu_qsbr_thread_offline(path->grace, worker->index);
	rte_rcu_qsbr_thread_unregister(path->grace, worker->index);
	return 0;
}
