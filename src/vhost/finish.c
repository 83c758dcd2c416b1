/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collecting from a guest that leaves its frames unfinished: checksums not filled in, TCP not yet cut to the size of
 * the wire. They are finished here, before anyone looks at them, so that what is checked is what will leave. The guest
 * may lie in every field: what is judged was copied before, and a header that does not fit its frame makes the frame an
 * empty one, which is dropped as malformed. Source: VIRTIO 1.2, 5.1.6.2.
 */
#include "vhost/vring.h"

#include <rte_mbuf.h>

enum {
	/* Less payload than that no TCP has in a segment: it would make thousands of frames of one. */
	SEGMENT_BYTES_MIN = 48,
	/* VIRTIO knows one kind of checksum, of 16 bits; a field there would be SCTP's, of 32. */
	SCTP_CHECKSUM_AT = 8,
};

/* Whether the guest has agreed to leave us frames of this kind. */
static bool
is_negotiated(const struct unfinished *unfinished, uint8_t gso_type)
{
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return unfinished->features >> VIRTIO_NET_F_HOST_TSO4 & 1;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return unfinished->features >> VIRTIO_NET_F_HOST_TSO6 & 1;
	default:
		return false;
	}
}

/* The rest of a buffer, in our memory. @return its bytes; at most LONG_FRAME_BYTES_MAX; -EFAULT. */
static int
gather(struct virtqueue *vq, struct walk *walk, struct segment *segment)
{
	uint32_t length = 0;
	int found = 1;

	while (found > 0 && length < LONG_FRAME_BYTES_MAX) {
		uint32_t piece = RTE_MIN(segment->bytes, LONG_FRAME_BYTES_MAX - length);

		memcpy(vq->unfinished->bytes + length, segment->at, piece);
		length += piece;
		found = walk_next(vq, walk, 0, segment);
	}
	return found < 0 ? found : (int)length;
}

/* A frame as it lies in bytes[]; one that is longer than any MTU is cut short, and still too long. */
static int
take_whole(const struct unfinished *unfinished, uint32_t length, struct rte_mbuf *frame)
{
	struct rte_mbuf *last = frame;

	return frame_append(frame, &last, unfinished->bytes, length);
}

static int
take_checksum(struct unfinished *unfinished, const struct virtio_net_hdr *header, uint32_t length,
	      struct rte_mbuf *frame)
{
	if (header->csum_offset == SCTP_CHECKSUM_AT || offload_checksum(header, unfinished->bytes, length))
		return 0;
	return take_whole(unfinished, length, frame);
}

/* The next frame of those that a long one becomes. */
static void
take_cut(struct unfinished *unfinished, struct rte_mbuf *frame)
{
	const uint32_t bytes = cut_next_bytes(&unfinished->cut);

	cut_next(&unfinished->cut, rte_pktmbuf_mtod(frame, uint8_t *));
	frame->data_len = (uint16_t)bytes;
	frame->pkt_len = bytes;
}

static int
begin_cut(struct unfinished *unfinished, const struct virtio_net_hdr *header, uint32_t length, struct rte_mbuf *frame)
{
	struct cut *cut = &unfinished->cut;

	if (header->gso_size < SEGMENT_BYTES_MIN || !is_negotiated(unfinished, header->gso_type) ||
	    cut_begin(cut, header, unfinished->bytes, length))
		return 0;
	if (cut_next_bytes(cut) <= rte_pktmbuf_tailroom(frame)) {
		take_cut(unfinished, frame);
		return 0;
	}
	cut->frame = NULL; /* it asks for frames that no wire here takes */
	return take_whole(unfinished, length, frame);
}

static int
finish_frame(struct virtqueue *vq, struct rte_mbuf *frame)
{
	const uint16_t head = ring_head(vq, 0);
	struct walk walk = walk_start(vq, head);
	struct segment segment;
	union net_header header;
	int length, found = walk_header(vq, &walk, &header, &segment), error = 0;

	if (found < 0)
		return found;
	if (found && !(header.fields.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && !offload_wants_cut(&header.fields)) {
		error = walk_append(vq, &walk, &segment, frame);
	} else if (found) {
		length = gather(vq, &walk, &segment);
		if (length < 0)
			return length;
		error = (offload_wants_cut(&header.fields) ? begin_cut : take_checksum)(vq->unfinished, &header.fields,
											(uint32_t)length, frame);
	}
	if (error)
		return error;
	ring_put_used(vq, head, 0);
	vq->available_next++;
	return 0;
}

uint16_t
finish_collect(struct virtqueue *vq, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t done = 0;

	while (done < n && (cut_pending(&vq->unfinished->cut) || ring_available(vq, 1))) {
		frames[done] = rte_pktmbuf_alloc(pool);
		if (!frames[done])
			break;
		if (cut_pending(&vq->unfinished->cut)) {
			take_cut(vq->unfinished, frames[done]);
		} else if (finish_frame(vq, frames[done])) {
			vq->unfinished->cut.frame = NULL;
			rte_pktmbuf_free(frames[done]);
			break;
		}
		done++;
	}
	return done;
}
