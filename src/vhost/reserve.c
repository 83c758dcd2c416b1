/* SPDX-License-Identifier: BSD-3-Clause */
/* Delivery in steps: buffers first, bytes then, the guest's view of them last. */
#include "vhost/vring.h"

#include <linux/virtio_net.h>

/* @return 0; -EMSGSIZE in more pieces than we note. */
static int
reserve_segment(struct reservation *reservation, struct segment segment, uint32_t *needed)
{
	if (reservation->segment_count == RESERVATION_SEGMENTS_MAX)
		return -EMSGSIZE;
	segment.bytes = RTE_MIN(segment.bytes, *needed);
	*needed -= segment.bytes;
	reservation->segments[reservation->segment_count++] = segment;
	return 0;
}

static int
reserve_walked(struct virtqueue *vq, struct reservation *reservation, uint16_t head, uint32_t *needed)
{
	struct walk walk = walk_start(vq, head);
	struct segment segment;

	while (*needed) {
		int found = walk_next(vq, &walk, VRING_DESC_F_WRITE, &segment);

		if (found <= 0)
			return found;
		if (reserve_segment(reservation, segment, needed))
			return -EMSGSIZE;
	}
	return 0;
}

/* Add what the frame still needs of one buffer. @return 0; -EMSGSIZE; -EFAULT. */
static int
reserve_buffer(struct virtqueue *vq, struct reservation *reservation, uint16_t head, uint32_t *needed)
{
	struct segment segment = { 0 };
	uint32_t before = *needed;
	int error;

	if (likely(head <= vq->mask))
		segment.at = plain_buffer(vq, head, VRING_DESC_F_WRITE, &segment.bytes);
	if (likely(segment.at))
		error = reserve_segment(reservation, segment, needed);
	else
		error = reserve_walked(vq, reservation, head, needed);
	if (!error)
		reservation->buffers[reservation->buffer_count++] = (struct vring_used_elem){ head, before - *needed };
	return error;
}

static int
reserve_buffers(struct virtqueue *vq, struct reservation *reservation)
{
	uint32_t needed = vq->header_bytes + reservation->frame_bytes;

	do {
		uint16_t taken = reservation->buffer_count;
		int error;

		if (ring_available(vq, taken + 1u) <= taken)
			return vq->fault ? -EFAULT : -ENOBUFS;
		error = reserve_buffer(vq, reservation, ring_head(vq, taken), &needed);
		if (error)
			return error;
	} while (needed && vq->mergeable);
	return needed ? -EMSGSIZE : 0;
}

int
virtqueue_reserve(struct virtqueue *vq, uint32_t frame_bytes, struct reservation *reservation)
{
	int error;

	if (!vq->open || vq->fault)
		return vq->fault ? -EFAULT : -ENOBUFS;
	if (frame_bytes > OFFLOAD_FRAME_BYTES_MAX)
		return -EMSGSIZE;
	reservation->segment_count = 0;
	reservation->buffer_count = 0;
	reservation->frame_bytes = frame_bytes;
	error = reserve_buffers(vq, reservation);
	if (!error)
		vq->available_next += reservation->buffer_count;
	return error;
}

/* Offsets count from the virtio-net header on. */
static void
write_at(struct virtqueue *vq, const struct reservation *reservation, uint32_t offset, const uint8_t *source,
	 uint32_t bytes)
{
	const struct segment *segment = reservation->segments;

	for (; offset >= segment->bytes && bytes; segment++)
		offset -= segment->bytes;
	for (; bytes; segment++) {
		uint32_t piece = RTE_MIN(segment->bytes - offset, bytes);

		memcpy(segment->at + offset, source, piece);
		if (unlikely(vq->log.bits))
			dirty_log_add(&vq->log, guest_memory_address(vq->memory, segment->at + offset), piece);
		source += piece;
		bytes -= piece;
		offset = 0;
	}
}

void
virtqueue_write(struct virtqueue *vq, const struct reservation *reservation, uint32_t offset, const void *source,
		uint32_t bytes)
{
	write_at(vq, reservation, vq->header_bytes + offset, source, bytes);
}

void
virtqueue_complete(struct virtqueue *vq, const struct reservation *reservation, const struct rte_mbuf *frame)
{
	struct virtio_net_hdr_mrg_rxbuf header = { .num_buffers = reservation->buffer_count };

	if (frame_is_gso(frame))
		gso_header(frame, &header.hdr);
	else
		header.hdr.flags = header_flags(vq, frame);
	write_at(vq, reservation, 0, (const uint8_t *)&header, vq->header_bytes);
	for (uint16_t i = 0; i < reservation->buffer_count; i++)
		ring_put_used(vq, reservation->buffers[i].id, reservation->buffers[i].len);
}
