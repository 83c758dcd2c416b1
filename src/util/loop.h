/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop of the control thread, as those see it who live on it and do not know control. Everything here is
 * called on that thread, and so are the functions that the loop calls.
 */
#ifndef VMQ_UTIL_LOOP_H
#define VMQ_UTIL_LOOP_H

struct loop_source; /* something that the loop waits for */

typedef void loop_call(void *argument);

struct loop {
	/** Call whenever a descriptor is readable, or its other end has gone. @return NULL: no memory. */
	struct loop_source *(*watch)(void *ctx, int handle, loop_call *call, void *argument);
	/** A timer; it is not armed yet. @return NULL: no memory. */
	struct loop_source *(*timer)(void *ctx, loop_call *call, void *argument);
	/** Let a timer call once, in so many milliseconds; 0: not at all. */
	void (*arm)(struct loop_source *timer, unsigned milliseconds);
	/** End a source, also from its own call; NULL does nothing. */
	void (*cancel)(struct loop_source *source);
	void *ctx;
};

#endif
