/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collecting from a guest that leaves its frames unfinished: checksums not filled in, TCP not yet cut to the size of
 * the wire. They are finished here, before anyone looks at them, so that what is checked is what will leave. The guest
 * may lie in every field: what is judged was copied before, and a header that does not fit its frame makes the frame an
 * empty one, which is dropped as malformed. Source: VIRTIO 1.2, 5.1.6.2.
 */
#include "vhost/vring.h"

#include <rte_mbuf.h>

/* Less payload than that no TCP has in a segment: it would make thousands of frames of one. */
enum { SEGMENT_BYTES_MIN = 48 };

/* Whether the guest has agreed to leave us frames of this kind. */
static bool
is_negotiated(const struct virtqueue *vq, uint8_t gso_type)
{
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return vq->cuts_tcp4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return vq->cuts_tcp6;
	default:
		return false;
	}
}

/* The rest of a buffer, in our memory. @return its bytes; at most OFFLOAD_FRAME_BYTES_MAX; -EFAULT. */
static int
gather(struct virtqueue *vq, struct walk *walk, struct segment *segment)
{
	uint32_t length = 0;
	int found = 1;

	while (found > 0 && length < OFFLOAD_FRAME_BYTES_MAX) {
		uint32_t piece = RTE_MIN(segment->bytes, OFFLOAD_FRAME_BYTES_MAX - length);

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

/* VIRTIO knows one kind of checksum, of 16 bits; SCTP's has 32. */
static int
take_checksum(struct unfinished *unfinished, const struct virtio_net_hdr *header, uint32_t length,
	      struct rte_mbuf *frame)
{
	if (header->csum_offset == OFFLOAD_SCTP_CHECKSUM_AT || offload_checksum(header, unfinished->bytes, length))
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
begin_cut(struct virtqueue *vq, const struct virtio_net_hdr *header, uint32_t length, struct rte_mbuf *frame)
{
	struct unfinished *unfinished = vq->unfinished;

	if (header->gso_size < SEGMENT_BYTES_MIN || !is_negotiated(vq, header->gso_type) ||
	    cut_begin(&unfinished->cut, header, unfinished->bytes, length))
		return 0;
	if (cut_next_bytes(&unfinished->cut) <= rte_pktmbuf_tailroom(frame)) {
		take_cut(unfinished, frame);
		return 0;
	}
	cut_give_up(&unfinished->cut); /* it asks for frames that no wire here takes */
	return take_whole(unfinished, length, frame);
}

/* What follows the header, as it is or finished. @return 0; -ENOBUFS; -EFAULT. */
static int
take_frame(struct virtqueue *vq, struct walk *walk, const struct virtio_net_hdr *header, struct segment *segment,
	   struct rte_mbuf *frame)
{
	int length;

	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && !offload_wants_cut(header))
		return walk_append(vq, walk, segment, frame);
	length = gather(vq, walk, segment);
	if (length < 0)
		return length;
	if (offload_wants_cut(header))
		return begin_cut(vq, header, (uint32_t)length, frame);
	return take_checksum(vq->unfinished, header, (uint32_t)length, frame);
}

static int
finish_frame(struct virtqueue *vq, struct rte_mbuf *frame)
{
	const uint16_t head = ring_head(vq, 0);
	struct walk walk = walk_start(vq, head);
	struct virtio_net_hdr_mrg_rxbuf header;
	struct segment segment;
	int found = walk_header(vq, &walk, &header, &segment);

	if (found > 0)
		found = take_frame(vq, &walk, &header.hdr, &segment, frame);
	if (found < 0)
		return found;
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
			rte_pktmbuf_free(frames[done]);
			break;
		}
		done++;
	}
	return done;
}
