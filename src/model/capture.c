/* SPDX-License-Identifier: BSD-3-Clause */
/* Who watches what. A capture ends with what it watches: whoever has that queue or name next is not seen by it. */
#include "model/internal.h"

#include <errno.h>
#include <stdlib.h>

enum { CAPTURES_MAX = 8 }; /* each costs the workers a copy, and memory */

/* From the next commit on, workers see one capture more or less. */
static void
adapters_touch(struct model *model, const struct capture *capture)
{
	struct adapter *adapter;

	TAILQ_FOREACH(adapter, &model->adapters, of_model)
		if (capture_watches(capture, adapter))
			adapter->dirty = true;
}

int
capture_start(struct model *model, const struct capture_target *target, const struct capture_wish *wish,
	      struct capture **result, int *file, struct refusal *why)
{
	struct capture *capture, *other;
	unsigned count = 0;
	int error;

	TAILQ_FOREACH(other, &model->captures, of_model)
		count++;
	if (count == CAPTURES_MAX)
		return refuse(why, -EMFILE, "%u captures are running already, and no more may", count);
	capture = memory_zeroed(1, sizeof(*capture));
	capture->model = model;
	capture->target = *target;
	error = model->config.path->capture_open(model->config.path_ctx, capture, wish, file, why);
	if (error) {
		free(capture);
		return error;
	}
	TAILQ_INSERT_TAIL(&model->captures, capture, of_model);
	adapters_touch(model, capture);
	*result = capture;
	return 0;
}

static void
leave(struct capture *capture)
{
	struct model *model = capture->model;

	adapters_touch(model, capture);
	TAILQ_REMOVE(&model->captures, capture, of_model);
	TAILQ_INSERT_TAIL(&model->leaving_captures, capture, of_model);
	capture->over = true;
}

void
capture_end(struct capture *capture)
{
	capture->abandoned = true;
	if (!capture->over)
		leave(capture);
	else if (!capture->path)
		free(capture);
}

void
captures_end_of(struct model *model, const void *subject)
{
	struct capture *capture, *next;

	for (capture = TAILQ_FIRST(&model->captures); capture; capture = next) {
		const struct capture_target *target = &capture->target;

		next = TAILQ_NEXT(capture, of_model);
		if (subject == target->adapter || subject == target->queue || subject == target->vm)
			leave(capture);
	}
}

void
captures_close(struct model *model)
{
	struct capture *capture;

	while ((capture = TAILQ_FIRST(&model->leaving_captures))) {
		TAILQ_REMOVE(&model->leaving_captures, capture, of_model);
		model->config.path->capture_close(model->config.path_ctx, capture);
		capture->path = NULL;
		if (capture->abandoned)
			free(capture);
	}
}
