/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ways out of a worker. Frames for wire and host gather while a burst is looked at and leave together at its
 * end, or when there is no room for more. Frames for queues gather in lanes (serve.c). What a way out does not take
 * whole is cut here.
 */
#include "datapath/capture.h"
#include "frame/offload.h"

#include <rte_ether.h>

void
egress_drop(struct passage *passage, uint16_t queue_id, struct rte_mbuf *frame, enum drop_reason reason)
{
	count_dropped(passage, view_lane(passage->view, queue_id, passage->worker), reason, &frame, 1);
	rte_pktmbuf_free(frame);
}

/*
 * A GSO frame goes on as the frames that it becomes, for who does not take it whole. Each but the first enters as a frame
 * of its own, so that the counters still add up.
 */
static void
send_cut(struct passage *passage, uint16_t queue_id, struct rte_mbuf *frame,
	 void (*send)(struct passage *passage, uint16_t queue_id, struct rte_mbuf *frame))
{
	struct rte_mempool *pool = passage->view->pools[passage->worker->index];
	struct queue_counters *sender = &view_lane(passage->view, passage->source_queue, passage->worker)->counters;
	uint32_t left = gso_pieces(frame);
	struct cut cut;

	passage->lane->counters.copies += left - 1;
	for (cut_begin(&cut, frame); left; left--) {
		struct rte_mbuf *piece = rte_pktmbuf_alloc(pool);

		if (unlikely(!piece))
			break;
		cut_next(&cut, piece);
		send(passage, queue_id, piece);
	}
	sender->drops[DROP_NO_MEMORY] += left;
	rte_pktmbuf_free(frame);
}

/*
 * Whether this worker serves the queue and nothing older waits in a ring. Once true, it holds until the next view: only
 * frames that do not go straight can wait.
 */
static bool
goes_straight(const struct passage *passage, const struct view_queue *queue, struct lane *lane)
{
	const struct worker *worker = passage->worker;

	if (likely(lane->straight == passage->view->epoch))
		return true;
	if (queue->home != worker->index || lane->handed != lane->taken || !handover_settled(worker, queue))
		return false;
	lane->straight = passage->view->epoch;
	return true;
}

/* It makes no difference where nobody is attached. */
static bool
queue_takes(const struct passage *passage, const struct view_queue *queue, const struct rte_mbuf *frame)
{
	return likely(!frame_is_gso(frame)) || !queue->port ||
	       view_queue_takes(queue, passage->worker, gso_kinds(frame));
}

/* Straight into the lane where it may, else through the ring. */
void
egress_to_queue(struct passage *passage, uint16_t queue_id, struct rte_mbuf *frame)
{
	const struct view_queue *queue = view_queue(passage->view, queue_id);
	struct lane *lane = &queue->path->lanes[passage->worker->index];

	if (unlikely(!queue_takes(passage, queue, frame)))
		send_cut(passage, queue_id, frame, egress_to_queue);
	else if (likely(goes_straight(passage, queue, lane)))
		serve_frame(passage, lane, frame);
	else
		handover_put(passage, queue, frame);
}

/* Wire and host want the tag where 802.1Q has it. */
static bool
put_tag_in(struct passage *passage, struct rte_mbuf **frame)
{
	if (!((*frame)->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) || !rte_vlan_insert(frame))
		return true;
	egress_drop(passage, passage->source_queue, *frame, DROP_NO_MEMORY);
	return false;
}

static uint64_t
total_bytes(struct rte_mbuf **frames, uint16_t n)
{
	uint64_t bytes = 0;

	for (uint16_t i = 0; i < n; i++)
		bytes += frames[i]->pkt_len;
	return bytes;
}

/*
 * Those that a port does not take are dropped on behalf of who sent them: one that is too long for it alone, else all
 * that are left. @return how many it took, and their bytes.
 */
static uint16_t
flush_port(struct passage *passage, enum capture_place place, const struct nic_ops *ops, void *port,
	   struct rte_mbuf **frames, uint16_t n, uint64_t *bytes)
{
	uint64_t total = total_bytes(frames, n), lost = 0;
	uint16_t sent = 0, at = 0;

	capture_seen(passage, place, place == CAPTURE_HOST, QUEUE_DEFAULT, frames, n);
	while (at < n) {
		enum drop_reason rest;
		uint16_t some = ops->transmit(port, passage->worker->index, frames + at, n - at, &rest);

		sent += some;
		at += some;
		while (unlikely(at < n)) {
			lost += frames[at]->pkt_len;
			egress_drop(passage, passage->source_queue, frames[at++], rest);
			if (rest == DROP_TOO_BIG)
				break;
		}
	}
	*bytes = total - lost;
	return sent;
}

static void
flush_wire(struct passage *passage)
{
	struct adapter_lane *lane = passage->lane;
	uint64_t bytes;

	lane->counters.wire_tx_packets += flush_port(passage, CAPTURE_WIRE, passage->adapter->nic_ops,
						     passage->view->nic, lane->wire, lane->wire_count, &bytes);
	lane->counters.wire_tx_bytes += bytes;
	lane->wire_count = 0;
}

static void
flush_host(struct passage *passage)
{
	struct adapter_lane *lane = passage->lane;
	struct queue_counters *counters = &view_lane(passage->view, QUEUE_DEFAULT, passage->worker)->counters;
	uint64_t bytes;

	counters->rx_packets += flush_port(passage, CAPTURE_HOST, passage->adapter->host_ops, passage->view->host,
					   lane->host, lane->host_count, &bytes);
	counters->rx_bytes += bytes;
	lane->host_count = 0;
}

static void
to_wire(struct passage *passage, uint16_t queue_id, struct rte_mbuf *frame)
{
	struct adapter_lane *lane = passage->lane;

	(void)queue_id;
	if (unlikely(lane->wire_count == RTE_DIM(lane->wire)))
		flush_wire(passage);
	if (put_tag_in(passage, &frame))
		lane->wire[lane->wire_count++] = frame;
}

void
egress_to_wire(struct passage *passage, struct rte_mbuf *frame)
{
	if (unlikely(frame_is_gso(frame)) && !passage->adapter->nic_ops->takes(passage->view->nic, frame))
		send_cut(passage, QUEUE_DEFAULT, frame, to_wire);
	else
		to_wire(passage, QUEUE_DEFAULT, frame);
}

static void
to_host(struct passage *passage, uint16_t queue_id, struct rte_mbuf *frame)
{
	struct adapter_lane *lane = passage->lane;

	(void)queue_id;
	if (unlikely(lane->host_count == RTE_DIM(lane->host)))
		flush_host(passage);
	if (put_tag_in(passage, &frame))
		lane->host[lane->host_count++] = frame;
}

void
egress_to_host(struct passage *passage, struct rte_mbuf *frame)
{
	if (unlikely(frame_is_gso(frame)) && !passage->adapter->host_ops->takes(passage->view->host, frame))
		send_cut(passage, QUEUE_DEFAULT, frame, to_host);
	else
		to_host(passage, QUEUE_DEFAULT, frame);
}

void
egress_notify(struct passage *passage, void *port)
{
	if (passage->lane->notify_count == NOTIFY_PORTS)
		egress_notify_all(passage);
	passage->lane->notify[passage->lane->notify_count++] = port;
}

void
egress_notify_all(struct passage *passage)
{
	if (passage->lane->notify_count)
		passage->worker->path->vm_ops->notify(passage->lane->notify, passage->lane->notify_count);
	passage->lane->notify_count = 0;
}

void
egress_flush(struct passage *passage)
{
	struct adapter_lane *lane = passage->lane;

	handover_flush(passage);
	if (lane->wire_count)
		flush_wire(passage);
	if (lane->host_count)
		flush_host(passage);
}
