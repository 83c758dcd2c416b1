/* SPDX-License-Identifier: BSD-3-Clause */
/* Where frames enter: the wire, the host, the VMs. Every frame that enters is counted here, once. */
#include "frame/join.h"
#include "frame/mbuf.h"
#include "datapath/limit.h"
#include "datapath/capture.h"

enum {
	HOST_TURNS = 16,
	VM_TURNS = 8,
	/* A burst of less than that has no two frames that are worth joining. */
	JOIN_BYTES_MIN = 1024,
	JOIN_FRAME_BYTES = 64,
	JOIN_REST_BURSTS = 7,
};

/* A source that gives half a burst has more: some drivers never give over 32 frames at once. */
static inline bool
is_full(unsigned frames)
{
	return frames >= BURST / 2;
}

static void
count_entered(struct queue_counters *counters, struct rte_mbuf **frames, uint16_t n)
{
	counters->tx_packets += n;
	for (uint16_t i = 0; i < n; i++)
		counters->tx_bytes += frames[i]->pkt_len;
}

void
learn_source(struct passage *passage, const struct rte_mbuf *frame, uint64_t key)
{
	const struct switch_sides *sides = &passage->view->sides;
	const uint64_t mac = frame_load_mac(rte_pktmbuf_mtod(frame, const uint8_t *) + 6);
	const uint64_t source = frame_key_of(mac, frame_key_vlan(key));
	uint16_t queue_id;

	if (sides->host && mac == sides->host_mac)
		return;
	passage->adapter->nic_ops->find(passage->view->filters, &source, &queue_id, 1);
	if (queue_id == QUEUE_DEFAULT)
		learn_address(&passage->adapter->learned, source,
			      passage->source == SOURCE_WIRE ? SIDE_WIRE : SIDE_HOST, passage->worker->now_seconds);
}

static void
learn_whole(struct passage *passage, const struct rte_mbuf *frame)
{
	uint64_t key = frame_mbuf_key(frame);

	if (key != FRAME_KEY_MALFORMED)
		learn_source(passage, frame, key);
}

/* For join_rules. */
static bool
takes(const void *ctx, uint16_t queue_id, unsigned kind)
{
	const struct passage *passage = ctx;
	const struct view_queue *queue = view_queue(passage->view, queue_id);

	return queue->port && view_queue_takes(queue, passage->worker, kind);
}

/* After a full burst of which nothing was joined the next few are not looked at. */
static uint16_t __rte_noinline
join(struct passage *passage, struct rte_mbuf **frames, uint16_t *queue_ids, uint16_t n)
{
	const struct join_rules rules = { takes, passage };
	uint16_t left;

	if (passage->lane->join_rest) {
		passage->lane->join_rest--;
		return n;
	}
	if (!passage->view->join)
		return n;
	left = join_burst(&rules, frames, queue_ids, n);
	if (left == BURST)
		passage->lane->join_rest = JOIN_REST_BURSTS;
	return left;
}

static uint16_t
poll_wire(struct passage *passage, uint16_t rx_queue)
{
	struct adapter_counters *counters = &passage->lane->counters;
	struct rte_mbuf *frames[BURST];
	uint16_t queue_ids[BURST];
	uint16_t n = passage->adapter->nic_ops->receive(passage->view->nic, passage->view->filters, rx_queue, frames,
							queue_ids, BURST);
	const bool full = is_full(n);
	uint64_t bytes = 0;

	if (!n)
		return 0;
	capture_seen(passage, CAPTURE_WIRE, true, QUEUE_DEFAULT, frames, n);
	for (uint16_t i = 0; i < n; i++)
		bytes += frames[i]->pkt_len;
	counters->wire_rx_bytes += bytes;
	if (bytes >= JOIN_BYTES_MIN + n * (uint64_t)JOIN_FRAME_BYTES)
		n = join(passage, frames, queue_ids, n);
	counters->wire_rx_packets += n;
	/*
	 * One source address per burst is enough to learn who is on the wire within a few bursts, and it keeps the cost
	 * off the frames that filters match. What reaches the default queue is learned frame by frame (forward.c).
	 */
	learn_whole(passage, frames[0]);
	forward_burst(passage, frames, queue_ids, n);
	egress_flush(passage);
	passage->worker->hungry |= full;
	return n;
}

static uint16_t
poll_host(struct passage *passage)
{
	const struct view *view = passage->view;
	struct rte_mbuf *frames[BURST];
	uint16_t queue_ids[BURST];
	uint16_t n = passage->adapter->host_ops->receive(view->host, NULL, 0, frames, queue_ids, BURST);

	if (!n)
		return 0;
	capture_seen(passage, CAPTURE_HOST, false, QUEUE_DEFAULT, frames, n);
	count_entered(&view_lane(view, QUEUE_DEFAULT, passage->worker)->counters, frames, n);
	/* Learn from every frame of the host: it may never send one that reaches the default queue. */
	for (uint16_t i = 0; i < n; i++)
		learn_whole(passage, frames[i]);
	passage->adapter->nic_ops->place(view->filters, frames, queue_ids, n);
	forward_burst(passage, frames, queue_ids, n);
	egress_flush(passage);
	passage->worker->hungry |= is_full(n);
	return n;
}

/* Check one frame that a VM sent and note its VLAN beside it. */
static enum drop_reason
admit(const struct switch_policy *policy, const struct switch_owner *owner, struct rte_mbuf *frame)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(frame, const uint8_t *);
	uint64_t key = frame_key(bytes, frame->data_len);
	bool tagged = key != FRAME_KEY_MALFORMED && frame_is_tpid(frame_load16(bytes + 12));
	uint16_t vlan, priority = 0;
	enum drop_reason reason;

	if (key == FRAME_KEY_MALFORMED)
		return DROP_MALFORMED;
	reason = switch_check_sender(policy, owner, frame_load_mac(bytes + 6), frame_key_vlan(key), &vlan);
	if (reason != DROP_REASON_COUNT || policy->trunk)
		return reason;
	/* An access VM may put priority on its frames: the tag is taken out, the priority kept beside. */
	if (tagged)
		priority = frame_mbuf_take_tag(frame) & 0xf000;
	/* Set even for VLAN 0: after a tag was taken out, an inner tag must not be read as the frame's own. */
	if (vlan || tagged) {
		frame->vlan_tci = priority | vlan;
		frame->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	}
	return reason;
}

/* Before its contents are looked at: what a VM sends under a false address counts too. */
static bool
within_limit(const struct passage *passage, const struct view_queue *queue, const struct rte_mbuf *frame)
{
	return likely(queue->tx_byte_cycles <= 0) ||
	       limit_pass(&queue->path->tx_due, queue->tx_byte_cycles, queue->limit_burst, passage->worker->now_cycles,
			  frame->pkt_len);
}

/* Each frame that a long one becomes is one to the group. */
static bool
within_storm_limit(const struct passage *passage, const struct view_queue *queue, const struct rte_mbuf *frame)
{
	return likely(queue->storm_cycles <= 0) ||
	       !mac_is_group(frame_load_mac(rte_pktmbuf_mtod(frame, const uint8_t *))) ||
	       limit_pass(&queue->path->storm_due, queue->storm_cycles, queue->storm_burst, passage->worker->now_cycles,
			  frame_pieces(frame));
}

static enum drop_reason
check_sent(const struct passage *passage, const struct view_queue *queue, const struct switch_owner *owner,
	   struct rte_mbuf *frame)
{
	enum drop_reason reason = within_limit(passage, queue, frame) ? admit(queue->policy, owner, frame) :
									DROP_RATE_LIMIT;

	return reason != DROP_REASON_COUNT || within_storm_limit(passage, queue, frame) ? reason : DROP_STORM;
}

static uint16_t
poll_vm(struct passage *passage, uint16_t id)
{
	const struct view_queue *queue = view_queue(passage->view, id);
	const struct nic_ops *nic_ops = passage->adapter->nic_ops;
	const struct switch_owner owner = { nic_ops->owns, passage->view->filters, id };
	struct rte_mbuf *frames[BURST];
	uint16_t queue_ids[BURST];
	uint16_t admitted = 0;
	uint16_t n = passage->worker->path->vm_ops->collect(queue->port, passage->view->pools[passage->worker->index],
							    frames, BURST);

	if (!n)
		return 0;
	egress_notify(passage, queue->port);
	passage->source_queue = id;
	capture_seen(passage, CAPTURE_QUEUE, false, id, frames, n);
	count_entered(&view_lane(passage->view, id, passage->worker)->counters, frames, n);
	for (uint16_t i = 0; i < n; i++) {
		const enum drop_reason reason = check_sent(passage, queue, &owner, frames[i]);

		if (reason == DROP_REASON_COUNT)
			frames[admitted++] = frames[i];
		else
			egress_drop(passage, id, frames[i], reason);
	}
	nic_ops->place(passage->view->filters, frames, queue_ids, admitted);
	forward_burst(passage, frames, queue_ids, admitted);
	egress_flush(passage);
	passage->worker->hungry |= is_full(n);
	return n;
}

/* While the wire is full, sources that are costly to poll and often empty are polled every few turns. */
static bool
is_due(const struct passage *passage, unsigned from_wire, uint32_t turns)
{
	return !is_full(from_wire) || passage->worker->turns % turns == 0;
}

/* A look at it is a system call. */
static bool
host_is_due(const struct passage *passage, unsigned from_wire)
{
	return passage->view->host && is_due(passage, from_wire, HOST_TURNS);
}

/* A look at eight silent VMs takes a twentieth of the time of a burst. */
static bool
vms_are_due(const struct passage *passage, unsigned from_wire)
{
	return passage->lane->vms_sent || is_due(passage, from_wire, VM_TURNS);
}

/* The first receiver also looks after the host. */
static unsigned
poll_ports(struct passage *passage)
{
	const struct path_adapter *adapter = passage->adapter;
	unsigned entered = 0;
	uint16_t from_wire;

	for (uint16_t i = 0; i < adapter->receiver_count; i++) {
		if (adapter->receivers[i] != passage->worker->index)
			continue;
		passage->source = SOURCE_WIRE;
		from_wire = poll_wire(passage, i);
		entered += from_wire;
		passage->source = SOURCE_HOST;
		if (i == 0 && host_is_due(passage, from_wire))
			entered += poll_host(passage);
	}
	if (entered)
		atomic_store_explicit(&passage->worker->received,
				      atomic_load_explicit(&passage->worker->received, memory_order_relaxed) + entered,
				      memory_order_relaxed);
	return entered;
}

static unsigned
poll_vms(struct passage *passage)
{
	const struct view *view = passage->view;
	unsigned entered = 0;

	passage->source = SOURCE_VM;
	for (uint16_t i = 0; i < view->vm_count; i++) {
		const struct view_queue *queue = view_queue(view, view->vms[i]);

		if (queue->home == passage->worker->index && handover_quiet(passage->worker, queue))
			entered += poll_vm(passage, view->vms[i]);
	}
	passage->lane->vms_sent = entered > 0;
	return entered;
}

unsigned
worker_poll_adapter(struct worker *worker, struct path_adapter *adapter)
{
	const struct view *view = atomic_load_explicit(&adapter->view, memory_order_acquire);
	struct passage passage = {
		.worker = worker,
		.adapter = adapter,
		.lane = &adapter->lanes[worker->index],
		.view = view,
		.source_queue = QUEUE_DEFAULT,
	};
	unsigned frames;

	if (!view)
		return 0;
	frames = poll_ports(&passage);
	if (vms_are_due(&passage, frames))
		frames += poll_vms(&passage);
	frames += handover_take(&passage);
	serve_due(&passage, worker->empty_lanes);
	frames += backlog_serve_all(&passage, worker->empty_lanes || !worker->hungry || worker->turns % VM_TURNS == 0);
	egress_notify_all(&passage);
	return frames;
}
