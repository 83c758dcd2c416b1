/* SPDX-License-Identifier: BSD-3-Clause */
#include "frame/join.h"

#include "frame/key.h"
#include "frame/offload.h"

#include <netinet/in.h>
#include <rte_branch_prediction.h>
#include <rte_ip.h>
#include <string.h>

enum {
	IPV4_BYTES = 20, /* with options, frames are not joined */
	IPV6_BYTES = 40,
	TCP_BYTES = 20,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	PAYLOAD_MIN = 512, /* of a frame that is worth it */
	PIECES_MAX = 45,   /* a frame of 64 KiB has as many */
	CHAINS = 8,        /* queues of a burst whose frames are looked after at the same time */
};

/* What is read of a frame that may be joined to another. */
struct piece {
	uint16_t ip, transport, payload; /* where these start */
	uint16_t bytes;                  /* of payload */
	uint32_t sequence;
	uint8_t flags;
	bool ipv6;
};

/* A frame that others may be joined to. */
struct chain {
	struct rte_mbuf *head, *last; /* head NULL: nothing more may be */
	struct piece piece;           /* of the head */
	uint32_t next;                /* sequence number */
	uint16_t queue_id;
};

struct chains {
	const struct join_rules *rules;
	struct chain all[CHAINS];
	uint16_t count;
};

static uint32_t
load32(const uint8_t *bytes)
{
	return (uint32_t)frame_load16(bytes) << 16 | frame_load16(bytes + 2);
}

/* Nothing but data of TCP, whole, with no padding behind it, and no part of a datagram. */
static bool
read_ip(const uint8_t *frame, uint32_t length, struct piece *piece)
{
	const uint8_t *ip = frame + piece->ip;
	const uint32_t behind = length - piece->ip;

	if (piece->ipv6) {
		piece->transport = piece->ip + IPV6_BYTES;
		return ip[6] == IPPROTO_TCP && ip[0] >> 4 == 6 && frame_load16(ip + 4) + (uint32_t)IPV6_BYTES == behind;
	}
	piece->transport = piece->ip + IPV4_BYTES;
	return ip[9] == IPPROTO_TCP && ip[0] == 0x45 && frame_load16(ip + 6) == 0x4000 &&
	       frame_load16(ip + 2) == behind;
}

static bool
read_piece(const struct rte_mbuf *frame, struct piece *piece)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(frame, const uint8_t *);
	const uint32_t length = frame->data_len;
	const uint8_t *tcp;
	uint16_t type;

	if (likely(length < FRAME_HEADER_BYTES + FRAME_TAG_BYTES + IPV6_BYTES + TCP_BYTES + PAYLOAD_MIN) ||
	    frame->nb_segs > 1 || frame_is_gso(frame))
		return false;
	piece->ip = frame_is_tpid(frame_load16(bytes + 12)) ? FRAME_HEADER_BYTES + FRAME_TAG_BYTES : FRAME_HEADER_BYTES;
	type = frame_load16(bytes + piece->ip - 2);
	piece->ipv6 = type == 0x86dd;
	if ((type != 0x0800 && !piece->ipv6) || !read_ip(bytes, length, piece))
		return false;
	tcp = bytes + piece->transport;
	piece->payload = (uint16_t)(piece->transport + (tcp[12] >> 4) * 4);
	piece->sequence = load32(tcp + 4);
	piece->flags = tcp[13];
	if (piece->payload < piece->transport + TCP_BYTES || length < piece->payload + (uint32_t)PAYLOAD_MIN ||
	    (piece->flags & ~TCP_PSH) != TCP_ACK)
		return false;
	piece->bytes = (uint16_t)(length - piece->payload);
	return true;
}

static bool
same(const uint8_t *a, const uint8_t *b, uint32_t from, uint32_t to)
{
	return !memcmp(a + from, b + from, to - from);
}

/* All that has to be the same in frames that become one: all but lengths, sequence, identification and sums. */
static bool
same_headers(const struct rte_mbuf *a, const struct rte_mbuf *b, const struct piece *piece)
{
	const uint64_t beside = RTE_MBUF_F_RX_VLAN_STRIPPED;
	const uint8_t *left = rte_pktmbuf_mtod(a, const uint8_t *), *right = rte_pktmbuf_mtod(b, const uint8_t *);
	const uint16_t ip = piece->ip, tcp = piece->transport;

	if ((a->ol_flags & beside) != (b->ol_flags & beside) || (a->ol_flags & beside && a->vlan_tci != b->vlan_tci))
		return false;
	if (!same(left, right, tcp, tcp + 4) || !same(left, right, 0, ip))
		return false;
	if (piece->ipv6 ? !same(left, right, ip, ip + 4) || !same(left, right, ip + 6, tcp) :
			  !same(left, right, ip, ip + 2) || !same(left, right, ip + 6, ip + 10) ||
				  !same(left, right, ip + 12, tcp))
		return false;
	return same(left, right, tcp + 8, tcp + 13) && same(left, right, tcp + 14, tcp + 16) &&
	       same(left, right, tcp + 18, piece->payload);
}

static bool
checksums_are_right(const struct rte_mbuf *frame, const struct piece *piece)
{
	const uint64_t ip_known = frame->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	const uint64_t tcp_known = frame->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	const uint8_t *ip = rte_pktmbuf_mtod_offset(frame, const uint8_t *, piece->ip);
	const uint8_t *tcp = rte_pktmbuf_mtod_offset(frame, const uint8_t *, piece->transport);

	if (!piece->ipv6 && ip_known != RTE_MBUF_F_RX_IP_CKSUM_GOOD && rte_raw_cksum(ip, IPV4_BYTES) != 0xffff)
		return false;
	if (tcp_known == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		return true;
	return piece->ipv6 ? !rte_ipv6_udptcp_cksum_verify((const void *)ip, tcp) :
			     !rte_ipv4_udptcp_cksum_verify((const void *)ip, tcp);
}

static bool
fits(const struct chain *chain, const struct rte_mbuf *frame, const struct piece *piece)
{
	const struct rte_mbuf *head = chain->head;

	return piece->sequence == chain->next && piece->ipv6 == chain->piece.ipv6 && piece->ip == chain->piece.ip &&
	       piece->payload == chain->piece.payload && piece->bytes <= chain->piece.bytes &&
	       head->nb_segs < PIECES_MAX && head->pkt_len - piece->ip + piece->bytes <= UINT16_MAX &&
	       same_headers(head, frame, piece);
}

/* What costs most is asked last; of the head when the second comes. */
static bool
may_join(const struct chains *chains, const struct chain *chain, const struct rte_mbuf *frame,
	 const struct piece *piece)
{
	const struct join_rules *rules = chains->rules;

	if (!fits(chain, frame, piece))
		return false;
	if (chain->head->nb_segs == 1 &&
	    (!rules->takes(rules->ctx, chain->queue_id, piece->ipv6 ? GSO_TCP6 : GSO_TCP4) ||
	     !checksums_are_right(chain->head, &chain->piece)))
		return false;
	return checksums_are_right(frame, piece);
}

/* What was joined is a GSO frame from here on. */
static void
close_chain(struct chain *chain)
{
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = chain->piece.ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = chain->piece.bytes,
		.csum_start = chain->piece.transport,
	};

	if (chain->head && chain->head->nb_segs > 1)
		gso_note(chain->head, &header);
	chain->head = NULL;
}

static void
join(struct chain *chain, struct rte_mbuf *frame, const struct piece *piece)
{
	uint8_t *flags = rte_pktmbuf_mtod_offset(chain->head, uint8_t *, chain->piece.transport + 13);

	*flags |= piece->flags & TCP_PSH;
	rte_pktmbuf_adj(frame, piece->payload);
	chain->last->next = frame;
	chain->last = frame;
	chain->head->nb_segs++;
	chain->head->pkt_len += piece->bytes;
	chain->next += piece->bytes;
	if (piece->flags & TCP_PSH || piece->bytes < chain->piece.bytes)
		close_chain(chain);
}

static struct chain *
chain_of(struct chains *chains, uint16_t queue_id)
{
	for (uint16_t i = 0; i < chains->count; i++)
		if (chains->all[i].queue_id == queue_id)
			return &chains->all[i];
	if (chains->count == CHAINS)
		return NULL;
	chains->all[chains->count] = (struct chain){ .queue_id = queue_id };
	return &chains->all[chains->count++];
}

/* @return whether the frame is part of another now. */
static bool
take(struct chains *chains, struct rte_mbuf *frame, uint16_t queue_id)
{
	struct piece piece;
	const bool candidate = read_piece(frame, &piece);
	struct chain *chain;

	if (likely(!candidate && !chains->count))
		return false;
	chain = chain_of(chains, queue_id);
	if (!chain)
		return false;
	if (candidate && chain->head && may_join(chains, chain, frame, &piece)) {
		join(chain, frame, &piece);
		return true;
	}
	close_chain(chain);
	if (candidate && !(piece.flags & TCP_PSH))
		*chain = (struct chain){ .head = frame, .last = frame, .piece = piece, .queue_id = queue_id,
					 .next = piece.sequence + piece.bytes };
	return false;
}

uint16_t
join_burst(const struct join_rules *rules, struct rte_mbuf **frames, uint16_t *queue_ids, uint16_t n)
{
	struct chains chains = { .rules = rules };
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		if (take(&chains, frames[i], queue_ids[i]))
			continue;
		frames[kept] = frames[i];
		queue_ids[kept++] = queue_ids[i];
	}
	for (uint16_t i = 0; i < chains.count; i++)
		close_chain(&chains.all[i]);
	return kept;
}
