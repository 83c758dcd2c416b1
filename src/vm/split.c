/* Delivery in two parts: see struct split_delivery. Workers. */
#include "vm/guest.h"
#include "vm/vring.h"

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

/* @return DROP_REASON_COUNT: the guest gets it at the next flush; else why not. */
static enum drop_reason
deliver_one(struct virtqueue *vq, const struct split_delivery *delivery, uint16_t i)
{
	const struct rte_mbuf *frame = delivery->frames[i];
	uint8_t *slot = delivery->lookahead + (size_t)i * LOOKAHEAD_SLOT_BYTES;
	uint16_t offset = delivery->offsets[i];
	struct reservation reservation;
	int error;

	memcpy(slot, rte_pktmbuf_mtod(frame, const uint8_t *), offset);
	error = virtqueue_reserve(vq, frame->pkt_len, &reservation);
	if (error)
		return error == -EMSGSIZE ? DROP_TOO_BIG : error == -EFAULT ? DROP_GUEST_FAULT : DROP_RING_FULL;
	place_rest(vq, &reservation, frame, offset);
	if (!delivery->inspect(delivery->ctx, i, slot, offset)) {
		virtqueue_cancel(vq, &reservation, 1);
		return DROP_VLAN_MISMATCH;
	}
	virtqueue_write(vq, &reservation, 0, slot, offset);
	virtqueue_complete(vq, &reservation);
	return DROP_REASON_COUNT;
}

uint16_t
guest_deliver_split(struct guest *guest, const struct split_delivery *delivery, uint64_t *drops)
{
	struct virtqueue *vq = &guest->rings[GUEST_RECEIVES];
	uint16_t used_before = vq->used_next, got = 0;

	for (uint16_t i = 0; i < delivery->n; i++) {
		struct rte_mbuf *frame = delivery->frames[i];
		enum drop_reason reason = deliver_one(vq, delivery, i);

		if (reason != DROP_REASON_COUNT) {
			drops[reason]++;
			continue;
		}
		delivery->frames[i] = delivery->frames[got];
		delivery->frames[got++] = frame;
	}
	if (got && !vq->fault)
		ring_flush(vq, used_before);
	return got;
}
