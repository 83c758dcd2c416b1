/* SPDX-License-Identifier: BSD-3-Clause */
#include "left_frames.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

void
put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

uint32_t
get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

uint32_t
get32(const uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

uint32_t
sum(const uint8_t *bytes, uint32_t length, uint32_t start)
{
	uint64_t total = start;

	for (uint32_t i = 0; i < length; i++)
		total += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint32_t)total;
}

static uint32_t
pseudo_sum(const struct shape *shape, const struct built *built, uint32_t length)
{
	const uint8_t *ip = built->bytes + built->ip;

	return sum(shape->ipv6 ? ip + 8 : ip + 12, shape->ipv6 ? 32 : 8, shape->protocol + length);
}

uint32_t
checksum_at(const struct shape *shape)
{
	return shape->protocol == IPPROTO_TCP ? 16 : 6;
}

static uint32_t
transport_bytes(const struct shape *shape)
{
	return shape->protocol == IPPROTO_TCP ? 20 + 4U * shape->options : 8;
}

static void
build_ip(const struct shape *shape, struct built *built)
{
	uint8_t *ip = built->bytes + built->ip;
	const uint32_t behind = built->length - built->ip;

	if (shape->ipv6) {
		ip[0] = 0x60;
		put16(ip + 4, behind - IPV6_BYTES);
		ip[6] = shape->extensions ? IPPROTO_HOPOPTS : shape->protocol;
		memset(ip + 8, 0x2a, 32);
		for (uint32_t i = 0; i < shape->extensions; i++)
			ip[IPV6_BYTES + 8 * i] = i + 1 < shape->extensions ? IPPROTO_DSTOPTS : shape->protocol;
		return;
	}
	ip[0] = (uint8_t)(0x45 + 2 * shape->extensions);
	put16(ip + 2, behind);
	put16(ip + 4, 0xfffe); /* the identification goes round */
	ip[9] = shape->protocol;
	memset(ip + 12, 0x2a, 8);
	put16(ip + 10, ~sum(ip, built->transport - built->ip, 0));
}

/* A frame whose checksum is left to the hardware, as a kernel leaves it: the field has the sum of the pseudo header. */
struct built *
build(const struct shape *shape, uint32_t payload)
{
	struct built *built = calloc(1, sizeof(*built));
	uint8_t *bytes = built->bytes;

	memset(bytes, 0x52, 12);
	built->ip = ETHERNET_BYTES + 4U * shape->tags;
	for (uint32_t i = 0; i < shape->tags; i++)
		put16(bytes + 12 + 4 * i, 0x8100);
	put16(bytes + built->ip - 2, shape->ipv6 ? 0x86dd : 0x0800);
	built->transport = built->ip + (shape->ipv6 ? IPV6_BYTES : IPV4_BYTES) + 8U * shape->extensions;
	built->payload = built->transport + transport_bytes(shape);
	built->length = built->payload + payload;
	for (uint32_t i = built->payload; i < built->length; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	build_ip(shape, built);
	bytes += built->transport;
	if (shape->protocol == IPPROTO_TCP) {
		put16(bytes + 4, 0xffff); /* the sequence number goes round */
		put16(bytes + 6, 0xff00);
		bytes[12] = (uint8_t)((5 + shape->options) << 4);
		bytes[13] = FIN | PSH | ACK | CWR;
	} else {
		put16(bytes + 4, built->length - built->transport);
	}
	put16(bytes + checksum_at(shape), pseudo_sum(shape, built, built->length - built->transport));
	return built;
}

struct virtio_net_hdr
header_of(const struct shape *shape, const struct built *built, uint16_t segment)
{
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = (uint16_t)built->transport,
		.csum_offset = (uint16_t)checksum_at(shape),
		.gso_size = segment,
	};

	if (segment)
		header.gso_type = shape->protocol == IPPROTO_UDP ? VIRTIO_NET_HDR_GSO_UDP_L4 :
				  shape->ipv6                    ? VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN :
								   VIRTIO_NET_HDR_GSO_TCPV4;
	return header;
}

bool
checksum_is_right(const struct shape *shape, const struct built *built)
{
	const uint32_t length = built->length - built->transport;

	return sum(built->bytes + built->transport, length, pseudo_sum(shape, built, length)) == 0xffff;
}
