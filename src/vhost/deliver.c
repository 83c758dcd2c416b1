/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Delivery of whole frames: a worker's burst into a guest's buffers. Most frames fit into one plain buffer; those
 * are placed in passes, so that the misses on descriptors and buffers overlap. Any other goes by a reservation.
 */
#include "vhost/vring.h"

#include <rte_mbuf.h>

/* Copy the heads once and touch every descriptor. @return how many are in the ring. */
static uint16_t
load_heads(struct virtqueue *vq, uint16_t *heads, uint16_t n)
{
	n = RTE_MIN(n, ring_available(vq, n));
	for (uint16_t i = 0; i < n; i++) {
		heads[i] = ring_head(vq, i);
		if (unlikely(heads[i] > vq->mask))
			return i;
		rte_prefetch0(&vq->descriptors[heads[i]]);
	}
	return n;
}

/* And nothing has to be said of it. */
static inline bool
is_in_one_piece(const struct rte_mbuf *frame)
{
	return frame->nb_segs == 1 && !frame_is_gso(frame);
}

/* Find the buffers and touch them. @return how many of the leading frames are plain. */
static uint16_t
find_buffers(struct virtqueue *vq, struct rte_mbuf *const *frames, struct landing *landing, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		uint32_t room;
		uint8_t *at = plain_buffer(vq, landing->heads[i], VRING_DESC_F_WRITE, &room);

		if (unlikely(!at || !is_in_one_piece(frames[i]) || room < vq->header_bytes + frames[i]->pkt_len))
			return i;
		landing->at[i] = at;
		touch_buffer(vq, at, frames[i]->pkt_len);
	}
	return n;
}

uint16_t
landing_find(struct virtqueue *vq, struct rte_mbuf *const *frames, struct landing *landing, uint16_t n)
{
	if (unlikely(vq->log.bits))
		return 0;
	n = load_heads(vq, landing->heads, n);
	ring_touch_used(vq, n);
	return find_buffers(vq, frames, landing, n);
}

/* Of a long frame touch_buffer() touched the beginning; all of many would be more than the nearest cache holds. */
static void
touch_rest(const struct virtqueue *vq, const uint8_t *at, uint32_t frame_bytes)
{
	for (uint32_t offset = TOUCHED_BYTES; offset < frame_bytes; offset += RTE_CACHE_LINE_SIZE)
		rte_prefetch0_write(at + vq->header_bytes + offset);
}

static void
place_frames(struct virtqueue *vq, struct rte_mbuf **frames, const struct landing *landing, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		uint32_t bytes = frames[i]->pkt_len;

		if (unlikely(bytes > TOUCHED_BYTES) && i + 1 < n) /* long frames come in rows */
			touch_rest(vq, landing->at[i + 1], frames[i + 1]->pkt_len);
		frame_copy(landing->at[i] + vq->header_bytes, rte_pktmbuf_mtod(frames[i], uint8_t *), bytes);
		landing_complete(vq, landing, i, frames[i]);
	}
	landing_take(vq, n);
}

/* @return how many of the leading frames were placed; the next one, if any, is not plain. */
static uint16_t
deliver_plain(struct virtqueue *vq, struct rte_mbuf **frames, uint16_t n)
{
	struct landing landing;

	n = landing_find(vq, frames, &landing, n);
	place_frames(vq, frames, &landing, n);
	return n;
}

static int
deliver_reserved(struct virtqueue *vq, const struct rte_mbuf *frame)
{
	struct reservation reservation;
	uint32_t offset = 0;
	int error = -EMSGSIZE;

	if (!frame_is_gso(frame) || virtqueue_takes(vq, gso_kinds(frame)))
		error = virtqueue_reserve(vq, frame->pkt_len, &reservation);

	if (error)
		return error;
	for (const struct rte_mbuf *piece = frame; piece; offset += piece->data_len, piece = piece->next)
		virtqueue_write(vq, &reservation, offset, rte_pktmbuf_mtod(piece, const void *), piece->data_len);
	virtqueue_complete(vq, &reservation, frame);
	return 0;
}

/* A frame that this guest cannot take goes behind all others. */
static void
put_last(struct rte_mbuf **frames, uint16_t n)
{
	struct rte_mbuf *frame = frames[0];

	memmove(frames, frames + 1, (n - 1u) * sizeof(frames[0]));
	frames[n - 1] = frame;
}

/* @return how many the guest gets once they are flushed. */
static uint16_t
deliver_all(struct virtqueue *vq, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	uint16_t done = 0, window = DELIVER_BURST_MAX;

	while (done < n) {
		uint16_t some = RTE_MIN(n - done, window);
		uint16_t plain = deliver_plain(vq, frames + done, some);
		int error;

		done += plain;
		window = plain == some ? DELIVER_BURST_MAX : DELIVER_WINDOW_MIXED;
		if (likely(plain == some))
			continue;
		error = deliver_reserved(vq, frames[done]);
		if (!error) {
			done++;
		} else if (error == -EMSGSIZE) {
			put_last(frames + done, n-- - done);
			*rest = DROP_TOO_BIG;
		} else {
			*rest = DROP_NO_BUFFER;
			break;
		}
	}
	return done;
}

uint16_t
virtqueue_deliver(struct virtqueue *vq, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	uint16_t used_before = vq->used_next, done = 0;

	*rest = DROP_RING_FULL;
	if (likely(vq->open && !vq->fault))
		done = deliver_all(vq, frames, n, rest);
	if (unlikely(vq->fault)) {
		*rest = DROP_GUEST_FAULT;
		return 0;
	}
	ring_flush(vq, used_before);
	return done;
}
