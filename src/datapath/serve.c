/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Delivery to the queues that this worker serves. Frames of a queue gather in its lane until there are enough of
 * them, until the first has waited long enough, or, where the queue leaves that to us, until no source has more
 * waiting: so many queues do not break bursts into single frames, and an idle machine does not add a microsecond.
 */
#include "frame/mbuf.h"
#include "datapath/limit.h"
#include "datapath/capture.h"

#include <rte_ether.h>

enum {
	GATHER_TOGETHER = 672, /* frames of all queues that gather; half of them wait at a time */
	GATHER_LEAST = 8,
	PHASES = 8, /* of queues that begin together */
};

_Static_assert((int)LANE_FRAMES >= (int)COALESCE_FRAMES_MAX, "a lane holds all that a queue may gather");

/*
 * An access VM never sees a tag: one in the frame is put beside it, where a frame that waits is still known by it.
 * @return the VLAN.
 */
static inline uint16_t
take_tag_out(struct rte_mbuf *frame)
{
	if (frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)
		return frame->vlan_tci & 0x0fff;
	if (!frame_is_tpid(frame_load16(rte_pktmbuf_mtod(frame, const uint8_t *) + 12)))
		return VLAN_UNTAGGED;
	frame->vlan_tci = frame_mbuf_take_tag(frame);
	frame->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	return frame->vlan_tci & 0x0fff;
}

/* A trunk VM sees every tag. @return how many frames there are still. */
static uint16_t
put_tags_in(const struct passage *passage, struct lane *lane, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *frame = frames[i];

		if (frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED && rte_vlan_insert(&frame)) {
			count_dropped(passage, lane, DROP_NO_MEMORY, &frame, 1);
			rte_pktmbuf_free(frame);
			continue;
		}
		frames[kept++] = frame;
	}
	return kept;
}

static void
offer_whole(const struct passage *passage, const struct view_queue *queue, struct lane *lane, struct offer *offer)
{
	enum drop_reason rest = DROP_VM_DOWN;

	offer->taken = passage->worker->path->vm_ops->deliver(queue->port, offer->frames, offer->n, &rest);
	if (unlikely(rest == DROP_NO_BUFFER))
		offer->waiting = offer->n - offer->taken;
	else
		count_dropped(passage, lane, rest, offer->frames + offer->taken, offer->n - offer->taken);
}

static void
offer_in_parts(const struct passage *passage, const struct view_queue *queue, struct lane *lane, struct offer *offer)
{
	uint16_t vlans[LANE_FRAMES];

	for (uint16_t i = 0; i < offer->n; i++)
		vlans[i] = queue->policy->trunk ? frame_key_vlan(frame_mbuf_key(offer->frames[i])) :
						  take_tag_out(offer->frames[i]);
	split_offer(passage, queue, lane, vlans, offer);
}

void
serve_offer(struct passage *passage, const struct view_queue *queue, struct lane *lane, struct offer *offer)
{
	if (queue->policy->trunk)
		offer->n = put_tags_in(passage, lane, offer->frames, offer->n);
	if (queue->lookahead) {
		offer_in_parts(passage, queue, lane, offer);
	} else {
		for (uint16_t i = 0; !queue->policy->trunk && i < offer->n; i++)
			take_tag_out(offer->frames[i]);
		offer_whole(passage, queue, lane, offer);
	}
	if (likely(offer->taken))
		egress_notify(passage, queue->port);
	capture_seen(passage, CAPTURE_QUEUE, true, queue->path->id, offer->frames, offer->taken);
	lane->counters.rx_packets += offer->taken;
}

enum drop_reason
serve_refusal(const struct view_queue *queue, const struct path_queue *half)
{
	if (unlikely(queue->path != half))
		return DROP_QUEUE_FREED;
	if (unlikely(!queue->running))
		return DROP_FILTER_CLEARED;
	return likely(queue->port) ? DROP_REASON_COUNT : DROP_VM_DOWN;
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
uint64_t
serve_free(struct rte_mbuf **frames, uint16_t n)
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

/* What waits goes before what comes. @return whether something still waits. */
static bool
serve_older(struct passage *passage, struct lane *lane)
{
	if (likely(!lane->queue->backlog.buffers))
		return false;
	backlog_serve(passage, lane->queue);
	return lane->queue->backlog.buffers;
}

/* What waits has been paid for when it came. @return how many frames there are still. */
static uint16_t
keep_within_limit(const struct passage *passage, const struct view_queue *queue, struct lane *lane)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < lane->count; i++) {
		struct rte_mbuf *frame = lane->frames[i];

		if (limit_pass(&lane->queue->rx_due, queue->rx_byte_cycles, queue->limit_burst,
			       passage->worker->now_cycles, frame->pkt_len)) {
			lane->frames[kept++] = frame;
			continue;
		}
		count_dropped(passage, lane, DROP_RATE_LIMIT, &frame, 1);
		rte_pktmbuf_free(frame);
	}
	return kept;
}

static void
serve_lane(struct passage *passage, struct lane *lane)
{
	const struct view_queue *queue = view_queue(passage->view, lane->queue->id);
	const enum drop_reason refusal = serve_refusal(queue, lane->queue);
	struct offer offer = { .frames = lane->frames, .n = lane->count };

	if (unlikely(queue->rx_byte_cycles > 0) && refusal == DROP_REASON_COUNT)
		offer.n = keep_within_limit(passage, queue, lane);
	if (unlikely(serve_older(passage, lane)))
		offer.waiting = offer.n;
	else if (likely(refusal == DROP_REASON_COUNT))
		serve_offer(passage, queue, lane, &offer);
	else
		count_dropped(passage, lane, refusal, offer.frames, offer.n);
	lane->counters.rx_bytes += serve_free(offer.frames, offer.taken);
	if (unlikely(offer.waiting))
		backlog_put(passage, queue, lane, offer.frames + offer.taken, offer.waiting);
	serve_free(offer.frames + offer.taken + offer.waiting, offer.n - offer.taken - offer.waiting);
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
	if (lane->count >= lane->enough || unlikely(frame->nb_segs > 1)) /* a long one is a burst by itself */
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
