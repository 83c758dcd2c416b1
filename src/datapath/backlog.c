/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames that wait in their queue's receive buffers because the guest has no descriptors left: a list for each queue,
 * in order, until the frames take as many as the queue has, each for a second at most. A queue that waits holds up
 * nobody: it is looked at now and then, which reads one index of the guest's. Source: vmq-spec §5.
 *
 * A frame that waits may see filters change. Nothing is delivered by filters that are no more, so each view's filters
 * are asked anew. The list belongs to whoever may touch the guest, so it comes to a new home with the queue itself.
 */
#include "frame/mbuf.h"
#include "datapath/capture.h"

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_mbuf_dyn.h>

enum { WAIT_SECONDS_MAX = 1 };

/* In each packet buffer, while its frame waits. */
struct waiting {
	struct rte_mbuf *next;
	uint64_t since; /* clock cycles */
};

static int waiting_offset;

int
backlog_init(void)
{
	static const struct rte_mbuf_dynfield field = {
		.name = "vmq_backlog",
		.size = sizeof(struct waiting),
		.align = _Alignof(struct waiting),
	};

	waiting_offset = rte_mbuf_dynfield_register(&field);
	return waiting_offset < 0 ? -rte_errno : 0;
}

static struct waiting *
waiting_of(struct rte_mbuf *frame)
{
	return RTE_MBUF_DYNFIELD(frame, waiting_offset, struct waiting *);
}

static void
set_buffers(struct backlog *backlog, uint32_t buffers)
{
	__atomic_store_n(&backlog->buffers, buffers, __ATOMIC_RELEASE);
}

static void
append(struct backlog *backlog, struct rte_mbuf *frame)
{
	if (backlog->first)
		waiting_of(backlog->last)->next = frame;
	else
		backlog->first = frame;
	backlog->last = frame;
	waiting_of(frame)->next = NULL;
	set_buffers(backlog, backlog->buffers + frame->nb_segs);
}

static struct rte_mbuf *
take_first(struct backlog *backlog)
{
	struct rte_mbuf *frame = backlog->first;

	backlog->first = waiting_of(frame)->next;
	set_buffers(backlog, backlog->buffers - frame->nb_segs);
	return frame;
}

static void
put_back(struct backlog *backlog, struct rte_mbuf **frames, uint16_t n)
{
	while (n--) {
		waiting_of(frames[n])->next = backlog->first;
		if (!backlog->first)
			backlog->last = frames[n];
		backlog->first = frames[n];
		set_buffers(backlog, backlog->buffers + frames[n]->nb_segs);
	}
}

static void
drop_first(const struct passage *passage, struct lane *lane, enum drop_reason reason)
{
	struct rte_mbuf *frame = take_first(&lane->queue->backlog);

	count_dropped(passage, lane, reason, &frame, 1);
	rte_pktmbuf_free(frame);
}

static void
list(struct passage *passage, struct path_queue *half)
{
	if (half->backlog.listed)
		return;
	half->backlog.listed = true;
	passage->lane->backlogs[passage->lane->backlog_count++] = half;
}

void
backlog_put(struct passage *passage, const struct view_queue *queue, struct lane *lane, struct rte_mbuf **frames,
	    uint16_t n)
{
	struct backlog *backlog = &lane->queue->backlog;
	const uint64_t on_the_way = handover_waiting_of(passage->worker->path, lane->queue);
	uint16_t kept = 0;

	if (!backlog->buffers)
		backlog->epoch = passage->view->epoch;
	for (; kept < n && on_the_way + backlog->buffers < queue->waiting_max; kept++) {
		waiting_of(frames[kept])->since = passage->worker->now_cycles;
		append(backlog, frames[kept]);
	}
	count_dropped(passage, lane, DROP_NO_BUFFER, frames + kept, n - kept);
	serve_free(frames + kept, n - kept);
	if (backlog->buffers && queue->home == passage->worker->index)
		list(passage, lane->queue);
}

/* Whether the filters of this view would let the VM have the frame. */
static bool
still_wanted(const struct passage *passage, const struct view_queue *queue, const struct rte_mbuf *frame)
{
	const uint64_t key = frame_mbuf_key(frame), mac = frame_key_mac(key);
	uint16_t queue_id;

	if (switch_is_link_local(mac) && !queue->policy->link_local)
		return false;
	if (mac_is_group(mac) && switch_policy_has_vlan(queue->policy, frame_key_vlan(key)))
		return true;
	passage->adapter->nic_ops->find(passage->view->filters, &key, &queue_id, 1);
	return queue_id == queue->path->id;
}

static void
ask_filters(const struct passage *passage, const struct view_queue *queue, struct lane *lane)
{
	struct backlog *backlog = &lane->queue->backlog;

	for (uint32_t left = backlog->buffers; left;) {
		left -= backlog->first->nb_segs;
		if (still_wanted(passage, queue, backlog->first))
			append(backlog, take_first(backlog));
		else
			drop_first(passage, lane, DROP_FILTER_CLEARED);
	}
	backlog->epoch = passage->view->epoch;
}

/* @return how many frames the guest got of the first ones. */
static uint16_t
offer_some(struct passage *passage, const struct view_queue *queue, struct lane *lane)
{
	struct backlog *backlog = &lane->queue->backlog;
	struct rte_mbuf *frames[BURST];
	struct offer offer = { .frames = frames };

	while (offer.n < RTE_MIN((uint32_t)BURST, queue->waiting_max) && backlog->buffers)
		frames[offer.n++] = take_first(backlog);
	serve_offer(passage, queue, lane, &offer);
	put_back(backlog, frames + offer.taken, offer.waiting);
	lane->counters.rx_bytes += serve_free(frames, offer.taken);
	serve_free(frames + offer.taken + offer.waiting, offer.n - offer.taken - offer.waiting);
	return offer.waiting ? 0 : offer.taken;
}

static void
drop_expired(const struct passage *passage, struct lane *lane)
{
	struct backlog *backlog = &lane->queue->backlog;
	const uint64_t longest = WAIT_SECONDS_MAX * rte_get_tsc_hz();

	while (backlog->buffers && passage->worker->now_cycles - waiting_of(backlog->first)->since > longest)
		drop_first(passage, lane, DROP_RING_FULL);
}

unsigned
backlog_serve(struct passage *passage, struct path_queue *half)
{
	const struct view_queue *queue = view_queue(passage->view, half->id);
	const enum drop_reason refusal = serve_refusal(queue, half);
	struct lane *lane = &half->lanes[passage->worker->index];
	const uint64_t before = lane->counters.rx_packets;

	while (refusal != DROP_REASON_COUNT && half->backlog.buffers)
		drop_first(passage, lane, refusal);
	if (half->backlog.buffers && half->backlog.epoch != passage->view->epoch)
		ask_filters(passage, queue, lane);
	while (half->backlog.buffers && offer_some(passage, queue, lane))
		;
	drop_expired(passage, lane);
	return (unsigned)(lane->counters.rx_packets - before);
}

/* Queues that came to this worker bring along what waits for them, once the worker before has let go of it. */
static void
adopt(struct passage *passage)
{
	const struct view *view = passage->view;
	bool all_settled = true;

	for (uint16_t i = 0; i < view->vm_count; i++) {
		const struct view_queue *queue = view_queue(view, view->vms[i]);

		if (queue->home != passage->worker->index)
			continue;
		if (!handover_settled(passage->worker, queue))
			all_settled = false;
		else if (backlog_buffers(queue->path))
			list(passage, queue->path);
	}
	if (all_settled)
		passage->lane->backlog_epoch = view->epoch;
}

/* A queue that is another's now is left to it, with what waits. */
static bool
is_to_stay(const struct passage *passage, const struct path_queue *half)
{
	return half->backlog.buffers && view_queue(passage->view, half->id)->home == passage->worker->index;
}

unsigned
backlog_serve_all(struct passage *passage, bool due)
{
	struct adapter_lane *own = passage->lane;
	unsigned frames = 0;
	uint16_t kept = 0;

	if (unlikely(own->backlog_epoch != passage->view->epoch)) {
		adopt(passage);
		due = true;
	}
	if (likely(!own->backlog_count) || !due)
		return 0;
	for (uint16_t i = 0; i < own->backlog_count; i++) {
		struct path_queue *half = own->backlogs[i];

		frames += backlog_serve(passage, half);
		half->backlog.listed = is_to_stay(passage, half);
		if (half->backlog.listed)
			own->backlogs[kept++] = half;
	}
	own->backlog_count = kept;
	return frames;
}
