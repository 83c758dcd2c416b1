/* SPDX-License-Identifier: BSD-3-Clause */
/* A call that may never return, made on a thread of its own and waited for at most so long. */
#ifndef VMQ_UTIL_BOUNDED_H
#define VMQ_UTIL_BOUNDED_H

struct bounded_call {
	void (*run)(void *ctx);  /* may never return */
	void (*late)(void *ctx); /* after run(), if nobody waited any more; same thread; ctx is its own to free */
};

/**
 * The thread that runs it has the caller's capabilities, processors and signal mask.
 *
 * @return 0: run() returned, and ctx is the caller's again; -ETIMEDOUT: it did not yet, and ctx belongs to the call;
 *         else -errno: there is no thread, nothing was run.
 */
int bounded_run(const struct bounded_call *call, void *ctx, unsigned limit_ms);

#endif
