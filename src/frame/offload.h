/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a sender left to the hardware: checksums, and frames that were not yet cut to the size of a wire. Kernels and
 * guests hand such frames over with a virtio-net header that says what is missing. Every field of it is checked against
 * the frame, since whoever made both may lie. Checksums are filled in where a frame comes in; a long frame goes its way
 * whole and is cut where it leaves, if who takes it does not cut it himself. Source: virtio 1.2, 5.1.6; any thread.
 */
#ifndef VMQ_FRAME_OFFLOAD_H
#define VMQ_FRAME_OFFLOAD_H

#include <linux/virtio_net.h>
#include <rte_common.h>
#include <rte_mbuf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The header's flags and kinds that are understood; a frame of another kind is refused. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum {
	OFFLOAD_FRAME_BYTES_MAX = 65536 + 256, /* of a frame that is still to be cut, with its headers */
	/* Where the checksum of SCTP is, and no other protocol's. Source: RFC 9260, 3. */
	OFFLOAD_SCTP_CHECKSUM_AT = 8,
};

/** Whether somebody who can be trusted found the checksum of its TCP or UDP right, or made it. */
static inline bool
frame_is_checked(const struct rte_mbuf *frame)
{
	return (frame->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

/** Whether the frame has to be cut before it may go on a wire. */
static inline bool
offload_wants_cut(const struct virtio_net_hdr *header)
{
	return header->gso_type != VIRTIO_NET_HDR_GSO_NONE;
}

/**
 * Fill in the checksum that the header says is missing, if one is: of TCP, UDP and the like, and of SCTP.
 * @return 0; -EBADMSG: it is said to lie outside the frame.
 */
int offload_checksum(const struct virtio_net_hdr *header, uint8_t *frame, uint32_t length);

/*
 * A GSO frame is one of TCP or UDP, longer than any wire takes, that is still to be cut. It lies in a chain of packet
 * buffers, all its headers in the first; what it becomes stands in the buffer's own fields for offloads.
 */
#define FRAME_GSO (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)

static inline bool
frame_is_gso(const struct rte_mbuf *frame)
{
	return frame->ol_flags & FRAME_GSO;
}

/* Kinds of GSO frames, as bits: what somebody takes whole, or what has to be taken for one frame. */
enum gso_kind {
	GSO_TCP4 = 1 << 0,
	GSO_TCP6 = 1 << 1,
	GSO_ECN = 1 << 2, /* with CWR, of either */
	GSO_UDP4 = 1 << 3,
	GSO_UDP6 = 1 << 4,
};

/** What has to be taken for this GSO frame. */
unsigned gso_kinds(const struct rte_mbuf *frame);

/** Bytes of its headers, tags in it included. */
static inline uint32_t
gso_header_bytes(const struct rte_mbuf *frame)
{
	return frame->l2_len + frame->l3_len + frame->l4_len;
}

/** How many frames a GSO frame becomes. */
static inline uint32_t
gso_pieces(const struct rte_mbuf *frame)
{
	return (frame->pkt_len - gso_header_bytes(frame) + frame->tso_segsz - 1) / frame->tso_segsz;
}

/** Packet buffers that a frame takes, now or once it is cut, whichever is more: what it may cost to pass it on. */
static inline uint32_t
frame_pieces(const struct rte_mbuf *frame)
{
	return frame_is_gso(frame) ? RTE_MAX(gso_pieces(frame), (uint32_t)frame->nb_segs) : frame->nb_segs;
}

/* A burst ends with the frame with which its pieces are so many: one sender's long frames do not hold up the others. */
enum { BURST_PIECES_MAX = 256 };

/** Bytes of the longest frame that leaves: of a GSO frame, of the longest that it becomes. */
static inline uint32_t
frame_wire_bytes(const struct rte_mbuf *frame)
{
	return frame_is_gso(frame) ? RTE_MIN(frame->pkt_len, gso_header_bytes(frame) + frame->tso_segsz) :
				     frame->pkt_len;
}

/**
 * Make a GSO frame of one that its sender did not cut: TCP or UDP over IPv4 or IPv6, with VLAN tags and IPv6 extension
 * headers. Its lengths and its checksum's field are written anew, so that they are right whoever takes it whole.
 * @return 0; -EBADMSG: the header does not fit the frame; -EOPNOTSUPP: of a kind that is not cut, such as a tunnel's.
 */
int gso_note(struct rte_mbuf *frame, const struct virtio_net_hdr *header);

/** What to say of a GSO frame to someone who takes it whole. */
void gso_header(const struct rte_mbuf *frame, struct virtio_net_hdr *header);

/* A GSO frame on its way to become several. */
struct cut {
	const struct rte_mbuf *frame;
	const struct rte_mbuf *from; /* where the payload goes on that is not cut off yet */
	uint32_t offset;             /* in `from` */
	uint32_t done, left;         /* bytes of payload */
	struct layout {
		uint16_t ip, transport, payload; /* where these start */
		uint8_t protocol;    /* IPPROTO_TCP or IPPROTO_UDP */
		bool ipv6;
	} layout;
};

/** @param frame  stays as it is until cut_pending() is false. */
void cut_begin(struct cut *cut, const struct rte_mbuf *frame);

static inline bool
cut_pending(const struct cut *cut)
{
	return cut->left != 0;
}

/** Write the next frame, complete with its checksums, into an empty buffer that has room for frame_wire_bytes(). */
void cut_next(struct cut *cut, struct rte_mbuf *into);

#endif
