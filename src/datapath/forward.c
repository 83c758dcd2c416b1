/* SPDX-License-Identifier: BSD-3-Clause */
/* Where frames go: to the queue of the filter that matched, or through the switch. */
#include "frame/mbuf.h"
#include "frame/offload.h"
#include "datapath/worker.h"

enum { TOGETHER = 8 }; /* frames of a burst that are forwarded as one if they all go to the same queue */

/* The MTU bounds what follows the Ethernet header and the outermost tag, of each frame that a GSO frame becomes. */
static inline bool
is_too_big(const struct view *view, const struct rte_mbuf *frame)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(frame, const uint8_t *);
	const uint32_t length = frame_wire_bytes(frame);

	if (likely(length <= view->frame_bytes_max))
		return false;
	return length > view->frame_bytes_max + FRAME_TAG_BYTES || !frame_is_tpid(frame_load16(bytes + 12));
}

/* A copy enters as a frame of its own, so that the counters still add up. */
static struct rte_mbuf *
copy_frame(struct passage *passage, struct rte_mbuf *frame)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(frame, passage->view->pools[passage->worker->index], 0, UINT32_MAX);

	passage->lane->counters.copies++;
	if (!copy) {
		view_lane(passage->view, QUEUE_DEFAULT, passage->worker)->counters.drops[DROP_NO_MEMORY]++;
		return NULL;
	}
	copy->vlan_tci = frame->vlan_tci;
	copy->ol_flags |= frame->ol_flags & (RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	return copy;
}

/*
 * Send a frame to several: each but the last gets a copy, since VMs, wire and host differ in where they want the
 * tag. A way is held back until the next one is known: the last takes the frame itself.
 */
enum way { WAY_NONE, WAY_WIRE, WAY_HOST, WAY_QUEUE };

static void
send_way(struct passage *passage, enum way way, uint16_t queue_id, struct rte_mbuf *frame)
{
	if (way == WAY_WIRE)
		egress_to_wire(passage, frame);
	else if (way == WAY_HOST)
		egress_to_host(passage, frame);
	else
		egress_to_queue(passage, queue_id, frame);
}

struct fan {
	struct passage *passage;
	struct rte_mbuf *frame;
	enum way way; /* waits to be sent: the last one takes the frame itself */
	uint16_t queue_id;
};

static void
fan_to(struct fan *fan, enum way way, uint16_t queue_id)
{
	if (fan->way != WAY_NONE) {
		struct rte_mbuf *copy = copy_frame(fan->passage, fan->frame);

		if (copy)
			send_way(fan->passage, fan->way, fan->queue_id, copy);
	}
	fan->way = way;
	fan->queue_id = queue_id;
}

static void
fan_to_vms(struct fan *fan, uint16_t vlan, bool link_local)
{
	const struct passage *passage = fan->passage;
	const struct view *view = passage->view;

	for (uint16_t i = 0; i < view->vm_count; i++) {
		const uint16_t id = view->vms[i];
		const struct switch_policy *policy = view_queue(view, id)->policy;

		if (passage->source == SOURCE_VM && id == passage->source_queue)
			continue;
		if (switch_policy_has_vlan(policy, vlan) && (!link_local || policy->link_local))
			fan_to(fan, WAY_QUEUE, id);
	}
}

/* Whether the source of this burst takes part in link-local groups; the wire always does. */
static bool
source_is_link_local(const struct passage *passage)
{
	if (passage->source == SOURCE_VM)
		return view_queue(passage->view, passage->source_queue)->policy->link_local;
	return passage->source == SOURCE_WIRE || passage->view->sides.host_link_local;
}

static void
forward_default(struct passage *passage, struct rte_mbuf *frame)
{
	uint64_t key = frame_mbuf_key(frame);
	struct fan fan = { .passage = passage, .frame = frame, .way = WAY_NONE };
	struct switch_decision decision;

	if (key == FRAME_KEY_MALFORMED) {
		egress_drop(passage, QUEUE_DEFAULT, frame, DROP_MALFORMED);
		return;
	}
	if (passage->source == SOURCE_WIRE)
		learn_source(passage, frame, key);
	decision = switch_decide(&passage->adapter->learned, &passage->view->sides, key, passage->source,
				 source_is_link_local(passage), passage->worker->now_seconds);
	if (decision.vms)
		fan_to_vms(&fan, frame_key_vlan(key), decision.link_local);
	if (decision.wire)
		fan_to(&fan, WAY_WIRE, QUEUE_DEFAULT);
	if (decision.host)
		fan_to(&fan, WAY_HOST, QUEUE_DEFAULT);
	if (fan.way == WAY_NONE)
		egress_drop(passage, QUEUE_DEFAULT, frame, decision.link_local ? DROP_LINK_LOCAL : DROP_NO_CONSUMER);
	else
		send_way(passage, fan.way, fan.queue_id, frame);
}

static void
forward_frame(struct passage *passage, struct rte_mbuf *frame, uint16_t queue_id)
{
	const struct view_queue *queue = view_queue(passage->view, queue_id);

	if (unlikely(!queue->running))
		queue_id = QUEUE_DEFAULT;
	if (unlikely(is_too_big(passage->view, frame)))
		egress_drop(passage, queue_id, frame, DROP_TOO_BIG);
	else if (unlikely(queue_id == QUEUE_DEFAULT))
		forward_default(passage, frame);
	else if (unlikely(queue_id == QUEUE_DROP))
		egress_drop(passage, queue_id, frame, DROP_DROP_QUEUE);
	else if (unlikely(queue_id == passage->source_queue))
		egress_drop(passage, queue_id, frame, DROP_NO_CONSUMER);
	else
		egress_to_queue(passage, queue_id, frame);
}

/* Read once a burst: the compiler cannot know that storing into a lane leaves the view unchanged. */
struct shortcut {
	struct lane *const *lanes;           /* of this worker, by queue id */
	uint32_t queue_count;
	uint32_t frame_bytes_max;
	uint64_t epoch;
	uint16_t source_queue;
};

static struct shortcut
shortcut_of(const struct passage *passage)
{
	const struct view *view = passage->view;

	return (struct shortcut){
		.lanes = &view->lanes[passage->worker->index * view->queue_count],
		.queue_count = view->queue_count,
		.frame_bytes_max = view->frame_bytes_max,
		.epoch = view->epoch,
		.source_queue = passage->source_queue,
	};
}

/*
 * The lane of a running VM's queue that this worker serves without a ring, known for this view (egress.c).
 * NULL: look closer.
 */
static inline struct lane *
straight_lane(const struct shortcut *shortcut, uint16_t queue_id)
{
	struct lane *lane;

	if (unlikely(queue_id >= shortcut->queue_count || queue_id == shortcut->source_queue))
		return NULL;
	lane = shortcut->lanes[queue_id];
	return likely(lane && lane->straight == shortcut->epoch) ? lane : NULL;
}

static inline bool
all_fit(const struct shortcut *shortcut, struct rte_mbuf *const *frames)
{
	uint64_t flags = 0;
	uint32_t longest = 0;

	for (uint16_t i = 0; i < TOGETHER; i++) {
		longest = RTE_MAX(longest, frames[i]->pkt_len);
		flags |= frames[i]->ol_flags;
	}
	return longest <= shortcut->frame_bytes_max && !(flags & FRAME_GSO);
}

/* Of TOGETHER frames that all go to one queue. @return false: look closer at each. */
static inline bool
forward_together(struct passage *passage, const struct shortcut *shortcut, struct rte_mbuf **frames, uint16_t queue_id)
{
	struct lane *lane = straight_lane(shortcut, queue_id);

	if (unlikely(!lane || !all_fit(shortcut, frames)))
		return false;
	serve_frames(passage, lane, frames, TOGETHER);
	return true;
}

static inline void
forward_each(struct passage *passage, const struct shortcut *shortcut, struct rte_mbuf **frames,
	     const uint16_t *queue_ids, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		struct lane *lane = straight_lane(shortcut, queue_ids[i]);

		if (likely(lane && frames[i]->pkt_len <= shortcut->frame_bytes_max && !frame_is_gso(frames[i])))
			serve_frame(passage, lane, frames[i]);
		else
			forward_frame(passage, frames[i], queue_ids[i]);
	}
}

static inline bool
same_queue(const uint16_t *queue_ids)
{
	return !memcmp(&queue_ids[0], &queue_ids[1], (TOGETHER - 1) * sizeof(queue_ids[0]));
}

void
forward_burst(struct passage *passage, struct rte_mbuf **frames, const uint16_t *queue_ids, uint16_t n)
{
	const struct shortcut shortcut = shortcut_of(passage);
	uint16_t i = 0;

	for (; i + TOGETHER <= n; i += TOGETHER)
		if (!same_queue(&queue_ids[i]) || !forward_together(passage, &shortcut, &frames[i], queue_ids[i]))
			forward_each(passage, &shortcut, &frames[i], &queue_ids[i], TOGETHER);
	forward_each(passage, &shortcut, &frames[i], &queue_ids[i], n - i);
}
