/* SPDX-License-Identifier: BSD-3-Clause */
/* The control thread's event loop for those who live on it without knowing it (util/loop.h). */
#include "control/internal.h"

#include <stdlib.h>

struct loop_source {
	sd_event_source *source;
	loop_call *call;
	void *argument;
};

static int
on_io(sd_event_source *source, int handle, uint32_t events, void *ctx)
{
	const struct loop_source *it = ctx;

	(void)source;
	(void)handle;
	(void)events;
	it->call(it->argument);
	return 0;
}

static int
on_time(sd_event_source *source, uint64_t usec, void *ctx)
{
	const struct loop_source *it = ctx;

	(void)source;
	(void)usec;
	it->call(it->argument);
	return 0;
}

static struct loop_source *
source_create(loop_call *call, void *argument)
{
	struct loop_source *it = calloc(1, sizeof(*it));

	if (it)
		*it = (struct loop_source){ .call = call, .argument = argument };
	return it;
}

static struct loop_source *
source_created(struct loop_source *it, int error)
{
	if (error >= 0)
		return it;
	free(it);
	return NULL;
}

static struct loop_source *
loop_watch(void *ctx, int handle, loop_call *call, void *argument)
{
	struct loop_source *it = source_create(call, argument);

	return it ? source_created(it, sd_event_add_io(ctx, &it->source, handle, EPOLLIN, on_io, it)) : NULL;
}

static struct loop_source *
loop_timer(void *ctx, loop_call *call, void *argument)
{
	struct loop_source *it = source_create(call, argument);
	int error;

	if (!it)
		return NULL;
	error = sd_event_add_time_relative(ctx, &it->source, CLOCK_MONOTONIC, 0, 0, on_time, it);
	if (error >= 0)
		error = sd_event_source_set_enabled(it->source, SD_EVENT_OFF);
	return source_created(it, error);
}

static void
loop_arm(struct loop_source *timer, unsigned milliseconds)
{
	if (milliseconds)
		sd_event_source_set_time_relative(timer->source, (uint64_t)milliseconds * 1000);
	sd_event_source_set_enabled(timer->source, milliseconds ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static void
loop_cancel(struct loop_source *it)
{
	if (!it)
		return;
	sd_event_source_disable_unref(it->source);
	free(it);
}

struct loop
control_loop(struct control *control)
{
	return (struct loop){ loop_watch, loop_timer, loop_arm, loop_cancel, control->event };
}
