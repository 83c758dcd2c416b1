/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collecting from a guest that leaves its frames unfinished. A checksum that is not filled in is filled in here. A frame
 * of TCP that is not cut to the size of the wire becomes a GSO frame, which whoever takes it cuts. The guest may lie in
 * every field: what is judged was copied before, and a header that does not fit its frame makes the frame an empty one,
 * which is dropped as malformed. Source: VIRTIO 1.2, 5.1.6.2.
 */
#include "vhost/vring.h"

#include <rte_mbuf.h>

enum {
	SEGMENT_BYTES_MIN = 48, /* less payload than that no TCP has in a segment: it would make thousands of frames of one */
	DATAGRAMS_MAX = 128,    /* that one frame becomes. Source: Linux, udp.h: UDP_MAX_SEGMENTS */
};

/* Whether the guest has agreed to leave us frames of this kind. */
static bool
is_negotiated(const struct virtqueue *vq, uint8_t gso_type)
{
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return vq->cuts_tcp4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return vq->cuts_tcp6;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return vq->cuts_udp;
	default:
		return false;
	}
}

/* Of a GSO frame. */
static bool
becomes_too_many(const struct rte_mbuf *frame)
{
	return frame->ol_flags & RTE_MBUF_F_TX_UDP_SEG ? gso_pieces(frame) > DATAGRAMS_MAX :
							 frame->tso_segsz < SEGMENT_BYTES_MIN;
}

static void
make_empty(struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame->next);
	rte_pktmbuf_reset(frame);
}

/* What does not fit one buffer is longer than any MTU here: it stays as it is, and is dropped for that. */
static void
finish_checksum(const struct virtio_net_hdr *header, struct rte_mbuf *frame)
{
	/* VIRTIO knows one kind of checksum, of 16 bits; SCTP's has 32. */
	const bool known = header->csum_offset != OFFLOAD_SCTP_CHECKSUM_AT;

	if (frame->nb_segs == 1 &&
	    (!known || offload_checksum(header, rte_pktmbuf_mtod(frame, uint8_t *), frame->data_len)))
		make_empty(frame);
}

static void
finish_gso(const struct virtqueue *vq, const struct virtio_net_hdr *header, struct rte_mbuf *frame)
{
	if (!is_negotiated(vq, header->gso_type) || gso_note(frame, header) || becomes_too_many(frame))
		make_empty(frame);
}

/* What follows the header, finished as far as it has to be here. @return 0; -ENOBUFS; -EFAULT. */
static int
take_frame(struct virtqueue *vq, struct walk *walk, const struct virtio_net_hdr *header, struct segment *segment,
	   struct rte_mbuf *frame)
{
	const bool gso = offload_wants_cut(header);
	int error = walk_append(vq, walk, segment, frame, gso ? OFFLOAD_FRAME_BYTES_MAX : COLLECT_FRAME_BYTES_MAX);

	if (error)
		return error;
	if (gso)
		finish_gso(vq, header, frame);
	else if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		finish_checksum(header, frame);
	return 0;
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
	uint32_t burst = 0;
	uint16_t done = 0;

	while (done < n && burst < BURST_PIECES_MAX && ring_available(vq, 1)) {
		frames[done] = rte_pktmbuf_alloc(pool);
		if (!frames[done])
			break;
		if (finish_frame(vq, frames[done])) {
			rte_pktmbuf_free(frames[done]);
			break;
		}
		burst += frame_pieces(frames[done++]);
	}
	return done;
}
