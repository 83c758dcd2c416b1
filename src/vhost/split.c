/* SPDX-License-Identifier: BSD-3-Clause */
/* Delivery in two parts: see struct split_delivery. Workers. */
#include "vhost/guest.h"
#include "vhost/vring.h"

_Static_assert((int)DELIVER_BURST_MAX <= (int)INSPECT_BURST_MAX, "a burst is inspected as a whole");

/* Everything behind the first part, wherever the frame's pieces have it. */
static void
place_rest(struct virtqueue *vq, const struct reservation *reservation, const struct rte_mbuf *frame, uint32_t offset)
{
	uint32_t begin = 0;

	for (; frame; begin += frame->data_len, frame = frame->next) {
		uint32_t skip = offset > begin ? RTE_MIN(offset - begin, frame->data_len) : 0;

		if (skip < frame->data_len)
			virtqueue_write(vq, reservation, begin + skip, rte_pktmbuf_mtod_offset(frame, uint8_t *, skip),
					frame->data_len - skip);
	}
}

static void
look_ahead(const struct split_delivery *delivery, uint16_t i)
{
	frame_copy(split_slot(delivery, i), rte_pktmbuf_mtod(delivery->frames[i], const uint8_t *),
		   delivery->offsets[i]);
}

static uint16_t
inspect(const struct split_delivery *delivery, uint16_t first, uint16_t n)
{
	return delivery->inspect(delivery->ctx, delivery, first, n);
}

/* A frame in one piece, into a buffer in one piece. */
static void
place_plain_rest(const struct virtqueue *vq, const struct split_delivery *delivery, uint16_t i, uint8_t *at)
{
	const uint32_t offset = delivery->offsets[i];
	const struct rte_mbuf *frame = delivery->frames[i];

	if (offset < frame->pkt_len)
		frame_copy(at + vq->header_bytes + offset, rte_pktmbuf_mtod_offset(frame, const uint8_t *, offset),
			   frame->pkt_len - offset);
}

static void
place_plain(struct virtqueue *vq, const struct split_delivery *delivery, uint16_t first, const struct landing *landing,
	    uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		place_plain_rest(vq, delivery, first + i, landing->at[i]);
		frame_copy(landing->at[i] + vq->header_bytes, split_slot(delivery, first + i),
			   delivery->offsets[first + i]);
		landing_complete(vq, landing, i, delivery->frames[first + i]);
	}
	landing_take(vq, n);
}

/* @return how many of the leading frames may pass; until they did, none of their bytes is in the guest's memory. */
static uint16_t
inspect_plain(const struct split_delivery *delivery, uint16_t first, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		look_ahead(delivery, first + i);
	return n ? inspect(delivery, first, n) : 0;
}

/* In passes, as whole frames are (deliver.c). @return how many of the leading frames the guest gets. */
static uint16_t
deliver_plain(struct virtqueue *vq, const struct split_delivery *delivery, uint16_t first, uint16_t n)
{
	struct landing landing;

	n = landing_find(vq, delivery->frames + first, &landing, n);
	n = inspect_plain(delivery, first, n);
	place_plain(vq, delivery, first, &landing, n);
	return n;
}

/* @return DROP_REASON_COUNT: the guest gets it at the next flush; else why not. */
static enum drop_reason
deliver_one(struct virtqueue *vq, const struct split_delivery *delivery, uint16_t i)
{
	const struct rte_mbuf *frame = delivery->frames[i];
	struct reservation reservation;
	int error;

	if (!vq->open)
		return DROP_RING_FULL;
	if (frame_is_gso(frame))
		return DROP_TOO_BIG; /* such frames are cut for a queue like this one */
	look_ahead(delivery, i);
	if (!inspect(delivery, i, 1))
		return DROP_VLAN_MISMATCH;
	error = virtqueue_reserve(vq, frame->pkt_len, &reservation);
	if (error)
		return error == -EMSGSIZE ? DROP_TOO_BIG : error == -EFAULT ? DROP_GUEST_FAULT : DROP_NO_BUFFER;
	place_rest(vq, &reservation, frame, delivery->offsets[i]);
	virtqueue_write(vq, &reservation, 0, split_slot(delivery, i), delivery->offsets[i]);
	virtqueue_complete(vq, &reservation, frame);
	return DROP_REASON_COUNT;
}

static void
swap_frames(const struct split_delivery *delivery, uint16_t a, uint16_t b)
{
	struct rte_mbuf *frame = delivery->frames[a];

	delivery->frames[a] = delivery->frames[b];
	delivery->frames[b] = frame;
}

/* Frames that the guest gets go before those that it does not. @return how many it gets so far. */
static uint16_t
keep_frames(const struct split_delivery *delivery, uint16_t got, uint16_t first, uint16_t n)
{
	if (unlikely(got != first))
		for (uint16_t i = 0; i < n; i++)
			swap_frames(delivery, first + i, got + i);
	return got + n;
}

/*
 * Who comes when the ring is full finds it full, however short the frame: as with whole frames.
 * @param waiting  out: frames that found it full, those behind the ones that the guest gets.
 */
static uint16_t
deliver_all(struct virtqueue *vq, const struct split_delivery *delivery, uint64_t *drops, uint16_t *waiting)
{
	uint16_t got = 0, i = 0, window = DELIVER_BURST_MAX;

	while (i < delivery->n) {
		uint16_t some = RTE_MIN(delivery->n - i, window);
		uint16_t plain = vq->open && !vq->fault ? deliver_plain(vq, delivery, i, some) : 0;
		enum drop_reason reason;

		window = plain == some ? DELIVER_BURST_MAX : DELIVER_WINDOW_MIXED;
		got = keep_frames(delivery, got, i, plain);
		i += plain;
		if (likely(plain == some))
			continue;
		reason = deliver_one(vq, delivery, i);
		if (reason == DROP_NO_BUFFER) {
			*waiting = delivery->n - i;
			keep_frames(delivery, got, i, *waiting);
			break;
		}
		if (reason == DROP_RING_FULL || reason == DROP_GUEST_FAULT) {
			drops[reason] += delivery->n - i;
			break;
		}
		if (reason == DROP_REASON_COUNT)
			got = keep_frames(delivery, got, i, 1);
		else
			drops[reason]++;
		i++;
	}
	return got;
}

uint16_t
guest_deliver_split(struct guest *guest, const struct split_delivery *delivery, uint64_t *drops, uint16_t *waiting)
{
	struct virtqueue *vq = &guest->rings[GUEST_RECEIVES];
	uint16_t used_before = vq->used_next, got = deliver_all(vq, delivery, drops, waiting);

	if (got && !vq->fault)
		ring_flush(vq, used_before);
	return got;
}
