/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a sender left to the hardware, done in software: checksums, and frames that were not yet cut to the size of a
 * wire. A kernel hands such frames over with a virtio-net header that says what is missing. Every field of it is
 * checked against the frame, since whoever made both may lie. Source: virtio 1.2, 5.1.6; any thread.
 */
#ifndef VMQ_FRAME_OFFLOAD_H
#define VMQ_FRAME_OFFLOAD_H

#include <linux/virtio_net.h>
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

/* A long frame on its way to become several. */
struct cut {
	const uint8_t *frame; /* in the caller's memory; NULL: nothing is being cut */
	uint32_t length;
	uint32_t next;        /* where in the frame the payload starts that is not yet cut off */
	uint16_t segment;     /* bytes of payload of each frame but the last */
	uint16_t ip, transport, payload; /* where these start */
	uint8_t protocol;     /* IPPROTO_TCP or IPPROTO_UDP */
	bool ipv6;
};

/**
 * Begin to cut a frame of TCP or UDP over IPv4 or IPv6, with VLAN tags and IPv6 extension headers.
 * @param frame  stays as it is until cut_pending() is false.
 * @return 0; -EBADMSG: the header does not fit the frame; -EOPNOTSUPP: of a kind that is not cut, such as a tunnel's.
 */
int cut_begin(struct cut *cut, const struct virtio_net_hdr *header, const uint8_t *frame, uint32_t length);

static inline bool
cut_pending(const struct cut *cut)
{
	return cut->frame != NULL;
}

/** What is not cut off yet is given up. */
static inline void
cut_give_up(struct cut *cut)
{
	cut->frame = NULL;
}

/** Bytes of the frame that is next, with its headers. */
uint32_t cut_next_bytes(const struct cut *cut);

/** Write the next frame, complete with its checksums. */
void cut_next(struct cut *cut, uint8_t *into);

#endif
