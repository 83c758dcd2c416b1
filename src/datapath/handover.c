/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames for queues that another worker serves, through one ring for each pair of workers.
 *
 * Theory: a ring keeps the order of its producer, so a queue's frames arrive in the order in which their producer
 * saw them. When a queue moves from one home to another, frames from before the move are in the old home's
 * rings and lanes and newer ones in the new home's rings. The new home leaves them there until the old one is
 * done: every worker says which views it has adopted; once all have adopted the one that moved the queue, nobody
 * gives the old home anything more; it then empties its rings and lanes in one turn and says so. Neither waits
 * for control. A home that waits has emptied its rings of all that is older than what it waits for, which is all
 * that anyone can wait for at it: two homes never wait for each other.
 */
#include "datapath/capture.h"

bool
handover_settled(const struct worker *worker, const struct view_queue *queue)
{
	const struct worker *previous;

	if (likely(queue->previous == WORKER_NONE))
		return true;
	previous = &worker->path->workers[queue->previous];
	return atomic_load_explicit(&previous->drained, memory_order_acquire) >= queue->moved;
}

static void
count_handed(struct lane *lane, int64_t buffers)
{
	__atomic_store_n(&lane->handed, lane->handed + (uint64_t)buffers, __ATOMIC_RELAXED);
}

/* A full ring means that the serving worker lags: its queues have no buffers left. */
static void
outbox_flush(struct passage *passage, uint16_t home)
{
	struct outbox *outbox = &passage->lane->outboxes[home];
	struct rte_ring *ring = adapter_ring(passage->adapter, passage->worker->index, home);
	unsigned put = rte_ring_sp_enqueue_burst_elem(ring, outbox->items, sizeof(outbox->items[0]), outbox->count,
						      NULL);

	for (unsigned i = put; i < outbox->count; i++) {
		struct lane *lane = &outbox->items[i].queue->lanes[passage->worker->index];

		count_handed(lane, -outbox->items[i].frame->nb_segs);
		count_dropped(passage, lane, DROP_NO_BUFFER, &outbox->items[i].frame, 1);
		rte_pktmbuf_free(outbox->items[i].frame);
	}
	outbox->count = 0;
	if (home != passage->worker->index)
		worker_wake(&passage->worker->path->workers[home]);
}

/* What was taken is read first: it is never more than what was handed over by then. */
uint64_t
handover_waiting_of(const struct path *path, const struct path_queue *queue)
{
	uint64_t buffers = 0;

	for (uint16_t i = 0; i < path->worker_count; i++) {
		uint64_t taken = __atomic_load_n(&queue->lanes[i].taken, __ATOMIC_ACQUIRE);

		buffers += __atomic_load_n(&queue->lanes[i].handed, __ATOMIC_ACQUIRE) - taken;
	}
	return buffers;
}

/*
 * Counting what waits reads a counter of every worker, so it is done once for up to a burst of frames, not for each.
 * Other producers do not see the room that is left of it: each may put up to a burst too many; one alone never does, but
 * for the rest of a frame that takes several buffers.
 */
static bool
take_room(const struct passage *passage, const struct view_queue *queue, struct lane *lane, uint32_t buffers)
{
	const struct worker *worker = passage->worker;
	uint64_t waiting;

	if (likely(lane->room && lane->room_turn == worker->turns)) {
		lane->room -= RTE_MIN(lane->room, buffers);
		return true;
	}
	waiting = handover_waiting_of(worker->path, queue->path) + backlog_buffers(queue->path);
	if (waiting >= queue->waiting_max)
		return false;
	lane->room = (uint32_t)RTE_MIN(queue->waiting_max - waiting, (uint64_t)BURST);
	lane->room -= RTE_MIN(lane->room, buffers);
	lane->room_turn = worker->turns;
	return true;
}

void
handover_put(struct passage *passage, const struct view_queue *queue, struct rte_mbuf *frame)
{
	struct lane *lane = &queue->path->lanes[passage->worker->index];
	struct outbox *outbox = &passage->lane->outboxes[queue->home];

	if (unlikely(!take_room(passage, queue, lane, frame->nb_segs))) {
		count_dropped(passage, lane, DROP_NO_BUFFER, &frame, 1);
		rte_pktmbuf_free(frame);
		return;
	}
	if (outbox->count == RTE_DIM(outbox->items))
		outbox_flush(passage, queue->home);
	count_handed(lane, frame->nb_segs);
	outbox->items[outbox->count++] = (struct handover){ frame, queue->path };
}

bool
handover_quiet(const struct worker *worker, const struct view_queue *queue)
{
	return queue->previous == WORKER_NONE || handover_drained_by_all(worker->path) >= queue->moved;
}

void
handover_flush(struct passage *passage)
{
	for (uint16_t home = 0; home < passage->worker->path->worker_count; home++)
		if (passage->lane->outboxes[home].count)
			outbox_flush(passage, home);
}

/* @return false: it must wait, and all behind it. */
static bool
take_one(struct passage *passage, const struct handover *item, uint16_t producer)
{
	const struct view_queue *queue = view_queue(passage->view, item->queue->id);
	const uint16_t buffers = item->frame->nb_segs;
	struct lane *lane = &item->queue->lanes[producer];

	if (queue->path == item->queue && queue->home == passage->worker->index &&
	    !handover_settled(passage->worker, queue)) {
		passage->worker->stalled = RTE_MIN(passage->worker->stalled, queue->moved);
		return false;
	}
	serve_frame(passage, &item->queue->lanes[passage->worker->index], item->frame);
	__atomic_store_n(&lane->taken, lane->taken + buffers, __ATOMIC_RELEASE);
	return true;
}

/*
 * First what was dequeued before, then as many rounds as a full ring needs: so everything that was there at the start
 * of the turn is dealt with, and what is left in the inbox came later.
 */
static void
take_from(struct passage *passage, uint16_t producer, unsigned *frames)
{
	struct inbox *inbox = &passage->lane->inboxes[producer];
	struct rte_ring *ring = adapter_ring(passage->adapter, producer, passage->worker->index);

	for (unsigned round = 0; round <= RING_FRAMES / BURST; round++) {
		for (; inbox->next < inbox->count; inbox->next++, (*frames)++)
			if (!take_one(passage, &inbox->items[inbox->next], producer))
				return;
		inbox->next = 0;
		inbox->count = (uint16_t)rte_ring_sc_dequeue_burst_elem(ring, inbox->items, sizeof(inbox->items[0]),
									BURST, NULL);
		if (!inbox->count)
			return;
		for (uint16_t i = 0; i < inbox->count; i++)
			rte_prefetch0(inbox->items[i].frame);
	}
	passage->worker->hungry = true;
}

unsigned
handover_take(struct passage *passage)
{
	unsigned frames = 0;

	for (uint16_t producer = 0; producer < passage->worker->path->worker_count; producer++)
		take_from(passage, producer, &frames);
	return frames;
}

bool
handover_waiting(const struct worker *worker, const struct path_adapter *adapter)
{
	const struct adapter_lane *lane = &adapter->lanes[worker->index];

	for (uint16_t producer = 0; producer < worker->path->worker_count; producer++)
		if (lane->inboxes[producer].next < lane->inboxes[producer].count ||
		    !rte_ring_empty(adapter_ring(adapter, producer, worker->index)))
			return true;
	return false;
}

uint64_t
handover_adopted_by_all(const struct path *path)
{
	uint64_t lowest = UINT64_MAX;

	for (uint16_t i = 0; i < path->worker_count; i++) {
		uint64_t adopted = atomic_load_explicit(&path->workers[i].adopted, memory_order_acquire);

		lowest = adopted < lowest ? adopted : lowest;
	}
	return lowest;
}

uint64_t
handover_drained_by_all(const struct path *path)
{
	uint64_t lowest = UINT64_MAX;

	for (uint16_t i = 0; i < path->worker_count; i++)
		lowest = RTE_MIN(lowest, atomic_load_explicit(&path->workers[i].drained, memory_order_acquire));
	return lowest;
}
