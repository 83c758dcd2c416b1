/* SPDX-License-Identifier: BSD-3-Clause */
/* A question put again and again, on a thread of its own, because an answer may never come. */
#ifndef VMQ_UTIL_WATCH_H
#define VMQ_UTIL_WATCH_H

#include <stddef.h>

struct watch;

struct watch_question {
	void (*ask)(unsigned id, void *answer); /* may never return */
	size_t answer_bytes;
	unsigned period_ms;                     /* between an answer and the next question */
};

/**
 * Ask once, on the caller's thread, then on one that has the caller's capabilities, processors and signal mask.
 *
 * @return NULL: no memory, or no thread.
 */
struct watch *watch_start(const struct watch_question *question, unsigned id);

/** The last answer. Never waits for one. @return ms since a question was put that is not answered; 0: there is none. */
unsigned watch_read(struct watch *watch, void *answer);

/** Ends it; waits for the answer that is due, if need be for ever. */
void watch_stop(struct watch *watch);

#endif
