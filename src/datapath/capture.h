/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies of frames for who wants to look at them. A worker copies into its own ring and goes on; where there is no room
 * it counts. Without a capture this costs a test of the view for each burst.
 */
#ifndef VMQ_DATAPATH_CAPTURE_H
#define VMQ_DATAPATH_CAPTURE_H

#include "datapath/worker.h"
#include "util/capture.h"

/* What happened to the frames of a burst. */
struct sighting {
	enum capture_place place;
	bool inbound;              /* see CAPTURE_INBOUND */
	uint16_t queue;            /* the default queue for wire and host */
	enum drop_reason reason;   /* with CAPTURE_DROPPED */
};

/** Show frames, which stay as they are, to the captures that want to see them. */
void capture_copy(const struct passage *passage, const struct sighting *seen, struct rte_mbuf *const *frames,
		  uint16_t n);

static inline void
capture_seen(const struct passage *passage, enum capture_place place, bool inbound, uint16_t queue,
	     struct rte_mbuf *const *frames, uint16_t n)
{
	const struct sighting seen = { .place = place, .inbound = inbound, .queue = queue };

	if (unlikely(passage->view->capture_count) && n)
		capture_copy(passage, &seen, frames, n);
}

/** Count frames as dropped on behalf of a queue, and show them. They stay the caller's. */
static inline void
count_dropped(const struct passage *passage, struct lane *lane, enum drop_reason reason, struct rte_mbuf *const *frames,
	      uint16_t n)
{
	const struct sighting seen = { .place = CAPTURE_DROPPED, .queue = lane->queue->id, .reason = reason };

	lane->counters.drops[reason] += n;
	if (unlikely(passage->view->capture_count) && n)
		capture_copy(passage, &seen, frames, n);
}

/** For path_ops. */
int path_capture_open(void *ctx, struct capture *capture, const struct capture_wish *wish, int *file,
		      struct refusal *why);
void path_capture_close(void *ctx, struct capture *capture);
/** The captures that watch an adapter, for a view: as many as *count, in memory of the caller's to free. */
struct view_capture *view_captures(const struct adapter *adapter, uint16_t *count);

#endif
