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
cut_protocol(const struct virtio_net_hdr *header, bool ipv6)
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

static uint32_t
transport_header_bytes(const struct cut *cut)
{
	const uint8_t *transport = cut->frame + cut->transport;

	if (cut->protocol == IPPROTO_UDP)
		return sizeof(struct udphdr);
	return (uint32_t)(transport[offsetof(struct tcphdr, th_flags) - 1] >> 4) * 4;
}

static uint32_t
transport_header_least(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
}

int
cut_begin(struct cut *cut, const struct virtio_net_hdr *header, const uint8_t *frame, uint32_t length)
{
	struct cut found = { .frame = frame, .length = length, .segment = header->gso_size };
	uint32_t bytes;

	cut_give_up(cut);
	found.transport = header->csum_start;
	found.ip = find_ip(frame, length, &found.ipv6);
	found.protocol = cut_protocol(header, found.ipv6);
	if (!found.ip || !found.protocol || !(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return -EOPNOTSUPP;
	if (!found.segment || found.ip + (found.ipv6 ? sizeof(struct ip6_hdr) : sizeof(struct ip)) > found.transport ||
	    found.transport + transport_header_least(found.protocol) > length)
		return -EBADMSG;
	if (!(found.ipv6 ? ipv6_leads_to : ipv4_leads_to)(frame, found.ip, found.transport, found.protocol))
		return -EOPNOTSUPP;
	bytes = transport_header_bytes(&found);
	if (bytes < transport_header_least(found.protocol) || found.transport + bytes >= length ||
	    found.transport + bytes > UINT16_MAX)
		return -EBADMSG;
	found.payload = (uint16_t)(found.transport + bytes);
	found.next = found.payload;
	*cut = found;
	return 0;
}

static uint32_t
next_payload_bytes(const struct cut *cut)
{
	const uint32_t left = cut->length - cut->next;

	return left < cut->segment ? left : cut->segment;
}

uint32_t
cut_next_bytes(const struct cut *cut)
{
	return cut->payload + next_payload_bytes(cut);
}

static void
store16(uint8_t *at, uint32_t value)
{
	const uint16_t stored = htons((uint16_t)value);

	memcpy(at, &stored, sizeof(stored));
}

/* Each frame gets an identification of its own, and its length. */
static void
write_ipv4(const struct cut *cut, uint8_t *ip, uint32_t length, uint32_t index)
{
	uint16_t checksum;

	store16(ip + offsetof(struct ip, ip_len), length);
	store16(ip + offsetof(struct ip, ip_id),
		frame_load16(cut->frame + cut->ip + offsetof(struct ip, ip_id)) + index);
	memset(ip + offsetof(struct ip, ip_sum), 0, sizeof(checksum));
	checksum = (uint16_t)~rte_raw_cksum(ip, (size_t)(cut->transport - cut->ip));
	memcpy(ip + offsetof(struct ip, ip_sum), &checksum, sizeof(checksum));
}

static void
write_tcp(const struct cut *cut, uint8_t *tcp, bool last)
{
	uint32_t sequence;

	memcpy(&sequence, tcp + offsetof(struct tcphdr, th_seq), sizeof(sequence));
	sequence = htonl(ntohl(sequence) + cut->next - cut->payload);
	memcpy(tcp + offsetof(struct tcphdr, th_seq), &sequence, sizeof(sequence));
	if (!last)
		tcp[offsetof(struct tcphdr, th_flags)] &= (uint8_t)~TCP_ONLY_LAST;
	if (cut->next != cut->payload)
		tcp[offsetof(struct tcphdr, th_flags)] &= (uint8_t)~TCP_CWR;
}

/* Over addresses, protocol, length and all that follows. Source: RFC 9293, 3.1; RFC 8200, 8.1. */
static void
write_checksum(const struct cut *cut, uint8_t *into, uint32_t length)
{
	const uint32_t addresses_at = cut->ipv6 ? offsetof(struct ip6_hdr, ip6_src) : offsetof(struct ip, ip_src);
	const uint32_t addresses = 2 * (cut->ipv6 ? sizeof(struct in6_addr) : sizeof(struct in_addr));
	uint8_t *transport = into + cut->transport;
	uint8_t *field = transport + (cut->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, th_sum) :
								     offsetof(struct udphdr, uh_sum));

	memset(field, 0, sizeof(uint16_t));
	store_checksum(field, fold((uint32_t)rte_raw_cksum(into + cut->ip + addresses_at, addresses) +
				   htons(cut->protocol) + htons((uint16_t)length) + rte_raw_cksum(transport, length)));
}

void
cut_next(struct cut *cut, uint8_t *into)
{
	const uint32_t payload = next_payload_bytes(cut);
	const uint32_t length = cut->payload - cut->transport +
				payload; /* of the transport's header and what follows */
	const bool last = cut->next + payload == cut->length;

	memcpy(into, cut->frame, cut->payload);
	memcpy(into + cut->payload, cut->frame + cut->next, payload);
	if (cut->ipv6)
		store16(into + cut->ip + offsetof(struct ip6_hdr, ip6_plen),
			cut->transport - cut->ip - sizeof(struct ip6_hdr) + length);
	else
		write_ipv4(cut, into + cut->ip, cut->transport - cut->ip + length,
			   (cut->next - cut->payload) / cut->segment);
	if (cut->protocol == IPPROTO_TCP)
		write_tcp(cut, into + cut->transport, last);
	else
		store16(into + cut->transport + offsetof(struct udphdr, uh_ulen), length);
	write_checksum(cut, into, length);
	cut->next += payload;
	if (last)
		cut_give_up(cut);
}
