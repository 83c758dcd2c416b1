/* SPDX-License-Identifier: BSD-3-Clause */
#include "frame/offload.h"

#include "frame/key.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#define __FAVOR_BSD
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <rte_hash_crc.h>
#include <rte_ip.h>
#include <string.h>

enum {
	ETHERTYPE_AT = 12,
	IPV4 = 0x0800,
	IPV6 = 0x86dd,
	TCP_CWR = 0x80,
	TCP_ONLY_LAST = TH_FIN | TH_PUSH,
};

static uint16_t
fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* A sum of zero is written as its other form: to UDP zero means that there is none, to the others both are the same. */
static void
store_checksum(uint8_t *at, uint16_t sum)
{
	const uint16_t checksum = sum == 0xffff ? 0xffff : (uint16_t)~sum;

	memcpy(at, &checksum, sizeof(checksum));
}

static void
sctp_checksum(uint8_t *transport, uint32_t length)
{
	uint32_t crc = ~0U;

	memset(transport + OFFLOAD_SCTP_CHECKSUM_AT, 0, sizeof(crc));
	for (uint32_t i = 0; i < length; i++) /* rte_hash_crc() loads words that have to be aligned */
		crc = rte_hash_crc_1byte(transport[i], crc);
	crc = htole32(~crc);
	memcpy(transport + OFFLOAD_SCTP_CHECKSUM_AT, &crc, sizeof(crc));
}

int
offload_checksum(const struct virtio_net_hdr *header, uint8_t *frame, uint32_t length)
{
	const uint32_t start = header->csum_start, offset = header->csum_offset;
	const uint32_t size = offset == OFFLOAD_SCTP_CHECKSUM_AT ? 4 : 2;

	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return 0;
	if (start < FRAME_HEADER_BYTES || start + offset + size > length)
		return -EBADMSG;
	if (offset == OFFLOAD_SCTP_CHECKSUM_AT)
		sctp_checksum(frame + start, length - start);
	else /* the field holds the sum of the pseudo header */
		store_checksum(frame + start + offset, rte_raw_cksum(frame + start, length - start));
	return 0;
}

/* Where the outermost IP header starts, behind VLAN tags. @return 0: there is none, or not whole. */
static uint16_t
find_ip(const uint8_t *frame, uint32_t length, bool *ipv6)
{
	uint32_t at = ETHERTYPE_AT;
	uint16_t ethertype;

	while (at + 2 + FRAME_TAG_BYTES <= length && frame_is_tpid(frame_load16(frame + at)))
		at += FRAME_TAG_BYTES;
	if (at + 2 + sizeof(struct ip) > length)
		return 0;
	ethertype = frame_load16(frame + at);
	*ipv6 = ethertype == IPV6;
	return ethertype == IPV4 || ethertype == IPV6 ? (uint16_t)(at + 2) : 0;
}

/* Whether the IP header at `ip` is of this protocol and its payload starts at `transport`; a fragment's does not. */
static bool
ipv4_leads_to(const uint8_t *frame, uint16_t ip, uint16_t transport, uint8_t protocol)
{
	const uint8_t *header = frame + ip;

	return header[0] >> 4 == 4 && ip + (header[0] & 0xf) * 4 == transport &&
	       (header[0] & 0xf) * 4 >= (int)sizeof(struct ip) && header[offsetof(struct ip, ip_p)] == protocol &&
	       !(frame_load16(header + offsetof(struct ip, ip_off)) & (IP_MF | IP_OFFMASK));
}

static bool
ipv6_leads_to(const uint8_t *frame, uint16_t ip, uint16_t transport, uint8_t protocol)
{
	uint8_t next = frame[ip + offsetof(struct ip6_hdr, ip6_nxt)];
	uint32_t at = ip + sizeof(struct ip6_hdr);

	while (at + 2 <= transport && (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS)) {
		next = frame[at];
		at += (frame[at + 1] + 1U) * 8;
	}
	return frame[ip] >> 4 == 6 && at == transport && next == protocol;
}

/* What the header calls the frame. @return 0: a kind that is not cut. */
static uint8_t
gso_protocol(const struct virtio_net_hdr *header, bool ipv6)
{
	switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return ipv6 ? 0 : IPPROTO_TCP;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return ipv6 ? IPPROTO_TCP : 0;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return IPPROTO_UDP;
	default:
		return 0;
	}
}

static struct layout
layout_of(const struct rte_mbuf *frame)
{
	const uint16_t ip = frame->l2_len, transport = (uint16_t)(ip + frame->l3_len);

	return (struct layout){
		.ip = ip,
		.transport = transport,
		.payload = (uint16_t)(transport + frame->l4_len),
		.protocol = frame->ol_flags & RTE_MBUF_F_TX_TCP_SEG ? IPPROTO_TCP : IPPROTO_UDP,
		.ipv6 = frame->ol_flags & RTE_MBUF_F_TX_IPV6,
	};
}

static uint32_t
transport_header_bytes(const uint8_t *transport, uint8_t protocol)
{
	if (protocol == IPPROTO_UDP)
		return sizeof(struct udphdr);
	return (uint32_t)(transport[offsetof(struct tcphdr, th_flags) - 1] >> 4) * 4;
}

static uint32_t
transport_header_least(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
}

/* @param length  of what lies in the first buffer: all headers do. */
static int
find_layout(const struct virtio_net_hdr *header, const uint8_t *frame, uint32_t length, struct layout *found)
{
	uint32_t bytes;

	found->transport = header->csum_start;
	found->ip = find_ip(frame, length, &found->ipv6);
	found->protocol = gso_protocol(header, found->ipv6);
	if (!found->ip || !found->protocol || !(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return -EOPNOTSUPP;
	if (found->ip + (found->ipv6 ? sizeof(struct ip6_hdr) : sizeof(struct ip)) > found->transport ||
	    found->transport + transport_header_least(found->protocol) > length)
		return -EBADMSG;
	if (!(found->ipv6 ? ipv6_leads_to : ipv4_leads_to)(frame, found->ip, found->transport, found->protocol))
		return -EOPNOTSUPP;
	bytes = transport_header_bytes(frame + found->transport, found->protocol);
	if (bytes < transport_header_least(found->protocol) || found->transport + bytes > length)
		return -EBADMSG;
	found->payload = (uint16_t)(found->transport + bytes);
	return 0;
}

/* The fields have few bits: more tags or longer IP headers than they hold nobody sends. */
static int
note_layout(struct rte_mbuf *frame, const struct layout *layout, uint16_t segment)
{
	frame->l2_len = layout->ip & 0x7f;
	frame->l3_len = (uint16_t)(layout->transport - layout->ip) & 0x1ff;
	frame->l4_len = (uint16_t)(layout->payload - layout->transport) & 0xff;
	frame->tso_segsz = segment;
	if (gso_header_bytes(frame) != layout->payload)
		return -EOPNOTSUPP;
	frame->ol_flags |= layout->protocol == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
	frame->ol_flags |= layout->ipv6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	return 0;
}

static void
store16(uint8_t *at, uint32_t value)
{
	const uint16_t stored = htons((uint16_t)value);

	memcpy(at, &stored, sizeof(stored));
}

/* @param length  of the IP header and all that follows. */
static void
write_ip_length(const struct layout *layout, uint8_t *ip, uint32_t length)
{
	uint16_t checksum;

	if (layout->ipv6) {
		store16(ip + offsetof(struct ip6_hdr, ip6_plen), length - sizeof(struct ip6_hdr));
		return;
	}
	store16(ip + offsetof(struct ip, ip_len), length);
	memset(ip + offsetof(struct ip, ip_sum), 0, sizeof(checksum));
	checksum = (uint16_t)~rte_raw_cksum(ip, (size_t)(layout->transport - layout->ip));
	memcpy(ip + offsetof(struct ip, ip_sum), &checksum, sizeof(checksum));
}

/* Behind the start of its header. */
static uint16_t
checksum_offset(const struct layout *layout)
{
	return layout->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, th_sum) : offsetof(struct udphdr, uh_sum);
}

/* Of addresses, protocol and length. Source: RFC 9293, 3.1; RFC 8200, 8.1. */
static uint16_t
pseudo_sum(const struct layout *layout, const uint8_t *frame, uint32_t length)
{
	const uint32_t addresses_at = layout->ipv6 ? offsetof(struct ip6_hdr, ip6_src) : offsetof(struct ip, ip_src);
	const uint32_t addresses = 2 * (layout->ipv6 ? sizeof(struct in6_addr) : sizeof(struct in_addr));

	return fold((uint32_t)rte_raw_cksum(frame + layout->ip + addresses_at, addresses) + htons(layout->protocol) +
		    htons((uint16_t)length));
}

static void
write_udp_length(const struct layout *layout, uint8_t *frame, uint32_t length)
{
	if (layout->protocol == IPPROTO_UDP)
		store16(frame + layout->transport + offsetof(struct udphdr, uh_ulen), length);
}

int
gso_note(struct rte_mbuf *frame, const struct virtio_net_hdr *header)
{
	uint8_t *bytes = rte_pktmbuf_mtod(frame, uint8_t *);
	struct layout layout;
	uint16_t sum;
	int error = find_layout(header, bytes, frame->data_len, &layout);

	if (error)
		return error;
	if (!header->gso_size || frame->pkt_len <= layout.payload || frame->pkt_len - layout.ip > UINT16_MAX)
		return -EBADMSG;
	error = note_layout(frame, &layout, header->gso_size);
	if (error)
		return error;
	write_ip_length(&layout, bytes + layout.ip, frame->pkt_len - layout.ip);
	write_udp_length(&layout, bytes, frame->pkt_len - layout.transport);
	sum = pseudo_sum(&layout, bytes, frame->pkt_len - layout.transport);
	memcpy(bytes + layout.transport + checksum_offset(&layout), &sum, sizeof(sum));
	return 0;
}

unsigned
gso_kinds(const struct rte_mbuf *frame)
{
	const struct layout layout = layout_of(frame);
	const uint8_t *flags = rte_pktmbuf_mtod_offset(frame, const uint8_t *,
						       layout.transport + offsetof(struct tcphdr, th_flags));

	if (layout.protocol == IPPROTO_UDP)
		return layout.ipv6 ? GSO_UDP6 : GSO_UDP4;
	return (layout.ipv6 ? GSO_TCP6 : GSO_TCP4) | (*flags & TCP_CWR ? GSO_ECN : 0U);
}

static uint8_t
gso_type(unsigned kinds)
{
	if (kinds & (GSO_UDP4 | GSO_UDP6))
		return VIRTIO_NET_HDR_GSO_UDP_L4;
	return (kinds & GSO_TCP6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4) |
	       (kinds & GSO_ECN ? VIRTIO_NET_HDR_GSO_ECN : 0);
}

void
gso_header(const struct rte_mbuf *frame, struct virtio_net_hdr *header)
{
	const struct layout layout = layout_of(frame);

	*header = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = gso_type(gso_kinds(frame)),
		.hdr_len = layout.payload,
		.gso_size = frame->tso_segsz,
		.csum_start = layout.transport,
		.csum_offset = checksum_offset(&layout),
	};
}

void
cut_begin(struct cut *cut, const struct rte_mbuf *frame)
{
	*cut = (struct cut){ .frame = frame, .from = frame, .layout = layout_of(frame) };
	cut->offset = cut->layout.payload;
	cut->left = frame->pkt_len - cut->layout.payload;
}

static void
write_tcp(const struct cut *cut, uint8_t *tcp, bool last)
{
	uint32_t sequence;

	memcpy(&sequence, tcp + offsetof(struct tcphdr, th_seq), sizeof(sequence));
	sequence = htonl(ntohl(sequence) + cut->done);
	memcpy(tcp + offsetof(struct tcphdr, th_seq), &sequence, sizeof(sequence));
	if (!last)
		tcp[offsetof(struct tcphdr, th_flags)] &= (uint8_t)~TCP_ONLY_LAST;
	if (cut->done)
		tcp[offsetof(struct tcphdr, th_flags)] &= (uint8_t)~TCP_CWR;
}

/* Each frame gets an identification of its own. */
static void
write_identification(const struct cut *cut, uint8_t *ip)
{
	uint8_t *at = ip + offsetof(struct ip, ip_id);

	if (!cut->layout.ipv6)
		store16(at, frame_load16(at) + cut->done / cut->frame->tso_segsz);
}

static void
write_checksum(const struct layout *layout, uint8_t *frame, uint32_t length)
{
	uint8_t *field = frame + layout->transport + checksum_offset(layout);

	memset(field, 0, sizeof(uint16_t));
	store_checksum(field, fold((uint32_t)pseudo_sum(layout, frame, length) +
				   rte_raw_cksum(frame + layout->transport, length)));
}

/* The next bytes of payload, wherever the chain has them. */
static void
copy_payload(struct cut *cut, uint8_t *into, uint32_t bytes)
{
	while (bytes) {
		const uint32_t piece = RTE_MIN(bytes, cut->from->data_len - cut->offset);

		memcpy(into, rte_pktmbuf_mtod_offset(cut->from, const uint8_t *, cut->offset), piece);
		into += piece;
		bytes -= piece;
		cut->offset += piece;
		if (cut->offset == cut->from->data_len) {
			cut->from = cut->from->next;
			cut->offset = 0;
		}
	}
}

void
cut_next(struct cut *cut, struct rte_mbuf *into)
{
	const struct layout *layout = &cut->layout;
	const uint32_t payload = RTE_MIN(cut->left, (uint32_t)cut->frame->tso_segsz);
	const uint32_t bytes = layout->payload + payload;
	uint8_t *frame = rte_pktmbuf_mtod(into, uint8_t *);

	memcpy(frame, rte_pktmbuf_mtod(cut->frame, const uint8_t *), layout->payload);
	copy_payload(cut, frame + layout->payload, payload);
	write_identification(cut, frame + layout->ip);
	write_ip_length(layout, frame + layout->ip, bytes - layout->ip);
	write_udp_length(layout, frame, bytes - layout->transport);
	if (layout->protocol == IPPROTO_TCP)
		write_tcp(cut, frame + layout->transport, payload == cut->left);
	write_checksum(layout, frame, bytes - layout->transport);
	cut->done += payload;
	cut->left -= payload;
	into->data_len = (uint16_t)bytes;
	into->pkt_len = bytes;
	into->vlan_tci = cut->frame->vlan_tci;
	into->ol_flags = cut->frame->ol_flags & (RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	into->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}
