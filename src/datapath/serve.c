/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Delivery to the queues that this worker serves. Frames of a queue gather in its lane until there are enough of
 * them, until the first has waited long enough, or, where the queue leaves that to us, until no source has more
 * waiting: so many queues do not break bursts into single frames, and an idle machine does not add a microsecond.
 */
#include "frame/key.h"
#include "datapath/worker.h"

#include <rte_ether.h>

enum {
	GATHER_TOGETHER = 672, /* frames of all queues that gather; half of them wait at a time */
	GATHER_LEAST = 8,
	PHASES = 8, /* of queues that begin together */
};

_Static_assert((int)LANE_FRAMES >= (int)COALESCE_FRAMES_MAX, "a lane holds all that a queue may gather");

/* An access VM never sees a tag; one kept beside the frame is out of it already. @return the VLAN. */
static inline uint16_t
take_tag_out(struct rte_mbuf *frame)
{
	uint8_t *bytes = rte_pktmbuf_mtod(frame, uint8_t *);
	uint16_t vlan;

	if (frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)
		return frame->vlan_tci & 0x0fff;
	if (!frame_is_tpid(frame_load16(bytes + 12)))
		return VLAN_UNTAGGED;
	vlan = frame_load16(bytes + 14) & 0x0fff;
	memmove(bytes + FRAME_TAG_BYTES, bytes, 12);
	rte_pktmbuf_adj(frame, FRAME_TAG_BYTES);
	return vlan;
}

/* A trunk VM sees every tag. @return how many frames there are still. */
static uint16_t
put_tags_in(struct lane *lane, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *frame = frames[i];

		if (frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED && rte_vlan_insert(&frame)) {
			lane->counters.drops[DROP_NO_MEMORY]++;
			rte_pktmbuf_free(frame);
			continue;
		}
		frames[kept++] = frame;
	}
	return kept;
}

static uint16_t
vlan_in(const struct rte_mbuf *frame)
{
	return frame_key_vlan(frame_key(rte_pktmbuf_mtod(frame, const uint8_t *), frame->data_len));
}

/* @return how many frames the VM got; the others are counted. */
static uint16_t
deliver_whole(const struct passage *passage, const struct view_queue *queue, struct lane *lane, uint16_t n)
{
	enum drop_reason rest = DROP_VM_DOWN;
	uint16_t taken = passage->worker->path->vm_ops->deliver(queue->port, lane->frames, n, &rest);

	lane->counters.drops[rest] += n - taken;
	return taken;
}

static uint16_t
deliver_in_parts(const struct passage *passage, const struct view_queue *queue, struct lane *lane, uint16_t *n)
{
	uint16_t vlans[LANE_FRAMES];

	if (queue->policy->trunk)
		*n = put_tags_in(lane, lane->frames, *n);
	for (uint16_t i = 0; i < *n; i++)
		vlans[i] = queue->policy->trunk ? vlan_in(lane->frames[i]) : take_tag_out(lane->frames[i]);
	return split_deliver(passage, queue, lane, vlans, *n);
}

/* @return how many frames the VM got; the others are counted. *n: how many are left to be freed. */
static uint16_t
deliver(const struct passage *passage, const struct view_queue *queue, struct lane *lane, uint16_t *n)
{
	if (!queue->port) {
		lane->counters.drops[DROP_VM_DOWN] += *n;
		return 0;
	}
	if (queue->lookahead)
		return deliver_in_parts(passage, queue, lane, n);
	if (queue->policy->trunk)
		*n = put_tags_in(lane, lane->frames, *n);
	else
		for (uint16_t i = 0; i < *n; i++)
			take_tag_out(lane->frames[i]);
	return deliver_whole(passage, queue, lane, *n);
}

/* One buffer of its own with one reference: the pool takes it as it is. Reads the first cache line only. */
static inline bool
is_plain(const struct rte_mbuf *frame)
{
	return frame->nb_segs == 1 && rte_mbuf_refcnt_read(frame) == 1 && RTE_MBUF_DIRECT(frame);
}

/*
 * Nearly all are plain and of one pool: those go back together. A pointer that is already in place is not stored again:
 * the pool copies 16 bytes at a time, and such a load stalls behind 8-byte stores until all earlier stores have
 * drained, those to guest memory included. @return their bytes.
 */
static uint64_t
free_frames(struct rte_mbuf **frames, uint16_t n)
{
	struct rte_mempool *pool = n ? frames[0]->pool : NULL;
	uint16_t together = 0;
	uint64_t bytes = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *frame = frames[i];

		bytes += frame->pkt_len;
		if (unlikely(frame->pool != pool || !is_plain(frame))) {
			rte_pktmbuf_free(frame);
			continue;
		}
		if (unlikely(together != i))
			frames[together] = frame;
		together++;
	}
	if (likely(together))
		rte_mempool_put_bulk(pool, (void *const *)frames, together);
	return bytes;
}

static void
serve_lane(struct passage *passage, struct lane *lane)
{
	const struct view_queue *queue = view_queue(passage->view, lane->queue->id);
	uint16_t n = lane->count, taken = 0;

	if (queue->path != lane->queue)
		lane->counters.drops[DROP_QUEUE_FREED] += n;
	else if (!queue->running)
		lane->counters.drops[DROP_FILTER_CLEARED] += n;
	else
		taken = deliver(passage, queue, lane, &n);
	if (likely(taken))
		egress_notify(passage, queue->port);
	lane->counters.rx_packets += taken;
	lane->counters.rx_bytes += free_frames(lane->frames, taken);
	free_frames(lane->frames + taken, n - taken);
	__atomic_store_n(&lane->count, 0, __ATOMIC_RELEASE);
}

/*
 * Waiting frames fall out of the nearest caches, so with many queues each gathers fewer. Queues that begin together
 * would also fill up together, with twice as many frames waiting: so each begins with a different part of the number.
 */
static uint16_t
enough(const struct passage *passage, const struct view_queue *queue, bool begins)
{
	unsigned queues = passage->lane->touched_count;
	unsigned frames = RTE_MIN(GATHER_TOGETHER / queues, queue->gather_frames);

	if (!queue->gather_fewer)
		return queue->gather_frames;
	if (begins)
		frames = frames * (PHASES - (queues - 1) % PHASES) / PHASES;
	return (uint16_t)RTE_MIN(RTE_MAX(frames, (unsigned)GATHER_LEAST), queue->gather_frames);
}

static void
begin_to_gather(struct passage *passage, struct lane *lane)
{
	const struct view_queue *queue = view_queue(passage->view, lane->queue->id);
	bool begins = !lane->touched;

	if (begins) {
		lane->touched = true;
		passage->lane->touched[passage->lane->touched_count++] = lane;
	}
	lane->enough = enough(passage, queue, begins);
	lane->due = passage->worker->now_cycles + queue->gather_cycles;
	passage->lane->due = RTE_MIN(passage->lane->due, lane->due);
}

void
serve_frame(struct passage *passage, struct lane *lane, struct rte_mbuf *frame)
{
	if (!lane->count)
		begin_to_gather(passage, lane);
	lane->frames[lane->count++] = frame;
	if (lane->count >= lane->enough)
		serve_lane(passage, lane);
}

void
serve_frames(struct passage *passage, struct lane *lane, struct rte_mbuf **frames, uint16_t n)
{
	while (n) {
		uint16_t some;

		if (!lane->count)
			begin_to_gather(passage, lane);
		some = RTE_MIN(n, (uint16_t)(lane->enough - lane->count));
		memcpy(&lane->frames[lane->count], frames, some * sizeof(frames[0]));
		lane->count += some;
		frames += some;
		n -= some;
		if (lane->count >= lane->enough)
			serve_lane(passage, lane);
	}
}

/* Whether frames of this queue may wait for another turn. */
static bool
may_wait(const struct passage *passage, const struct lane *lane)
{
	const struct worker *worker = passage->worker;
	const struct view_queue *queue = view_queue(passage->view, lane->queue->id);

	if (queue->path != lane->queue || queue->home != worker->index)
		return false;
	return worker->now_cycles < lane->due && (worker->hungry || !queue->gather_adaptive);
}

/* While more is coming in, frames wait until the first of them has waited long enough, or the view changes. */
static bool
all_may_wait(const struct passage *passage)
{
	const struct worker *worker = passage->worker;

	return worker->hungry && worker->now_cycles < passage->lane->due &&
	       passage->lane->due_epoch == passage->view->epoch;
}

void
serve_due(struct passage *passage, bool everything)
{
	struct adapter_lane *own = passage->lane;
	uint16_t kept = 0;

	if (!everything && all_may_wait(passage))
		return;
	own->due = UINT64_MAX;
	own->due_epoch = passage->view->epoch;
	for (uint16_t i = 0; i < own->touched_count; i++) {
		struct lane *lane = own->touched[i];

		if (lane->count && !everything && may_wait(passage, lane)) {
			own->touched[kept++] = lane;
			own->due = RTE_MIN(own->due, lane->due);
			continue;
		}
		if (lane->count)
			serve_lane(passage, lane);
		lane->touched = false;
	}
	own->touched_count = kept;
}
