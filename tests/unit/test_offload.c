/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames completed in software, whatever a sender left to hardware, and every way to lie about them. */
#include "frame/offload.h"
#include "frame/mbuf.h"
#include "left_frames.h"
#include "packet_pool.h"
#include "rows.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_ether.h>
#include <stdlib.h>
#include <string.h>

enum {
	MSS = 1000,
	POOL_FRAMES = 255,
	POOL_ROOM = 2048,
};

static struct rte_mempool *pool;

static struct shape_case {
	const char *name;
	struct shape shape;
} shapes[] = {
	{ "TCP over IPv4", { IPPROTO_TCP, false, 0, 0, 0 } },
	{ "TCP over IPv4, options of both", { IPPROTO_TCP, false, 0, 2, 10 } },
	{ "TCP over IPv4, a tag", { IPPROTO_TCP, false, 1, 0, 3 } },
	{ "TCP over IPv4, two tags", { IPPROTO_TCP, false, 2, 0, 3 } },
	{ "TCP over IPv6", { IPPROTO_TCP, true, 0, 0, 3 } },
	{ "TCP over IPv6, three extension headers, a tag", { IPPROTO_TCP, true, 1, 3, 3 } },
	{ "UDP over IPv4", { IPPROTO_UDP, false, 0, 0, 0 } },
	{ "UDP over IPv4, a tag", { IPPROTO_UDP, false, 1, 0, 0 } },
	{ "UDP over IPv6", { IPPROTO_UDP, true, 0, 0, 0 } },
	{ "UDP over IPv6, an extension header", { IPPROTO_UDP, true, 0, 1, 0 } },
};

static void
checksum(void **state)
{
	const struct shape *shape = &((const struct shape_case *)*state)->shape;

	for (uint32_t payload = 0; payload < 70; payload++) {
		struct built *built = build(shape, payload);
		struct virtio_net_hdr header = header_of(shape, built, 0);

		assert_int_equal(offload_checksum(&header, built->bytes, built->length), 0);
		assert_true(checksum_is_right(shape, built));
		free(built);
	}
}

static void
assert_same_but_lengths(const struct shape *shape, const struct built *whole, const struct built *piece, uint32_t index)
{
	const uint8_t *ip = piece->bytes + piece->ip, *transport = piece->bytes + piece->transport;
	const bool first = index == 0;

	assert_memory_equal(piece->bytes, whole->bytes, whole->ip);
	if (shape->ipv6) {
		assert_int_equal(get16(ip + 4), piece->length - piece->ip - IPV6_BYTES);
		assert_memory_equal(ip + 6, whole->bytes + whole->ip + 6, whole->transport - whole->ip - 6);
	} else {
		assert_int_equal(get16(ip + 2), piece->length - piece->ip);
		assert_int_equal(get16(ip + 4), (uint16_t)(0xfffe + index));
		assert_int_equal(sum(ip, piece->transport - piece->ip, 0), 0xffff);
	}
	if (shape->protocol == IPPROTO_UDP) {
		assert_int_equal(get16(transport + 4), piece->length - piece->transport);
		return;
	}
	assert_int_equal(get32(transport + 4), 0xffffff00U + index * MSS);
	assert_int_equal(transport[13] & CWR, first ? CWR : 0);
	assert_memory_equal(transport + 20, whole->bytes + whole->transport + 20, 4U * shape->options);
}

/* The frame as it is described to who takes it whole: as its sender described it, and with the same bytes. */
static void
whole(void **state)
{
	const struct shape *shape = &((const struct shape_case *)*state)->shape;
	struct built *built = build(shape, 20 * MSS);
	struct virtio_net_hdr header = header_of(shape, built, MSS), told;
	struct rte_mbuf *frame = packet_of(pool, built->bytes, built->length);
	uint8_t *bytes = malloc(built->length);

	if (shape->protocol == IPPROTO_TCP)
		header.gso_type |= VIRTIO_NET_HDR_GSO_ECN; /* all have CWR */
	header.hdr_len = (uint16_t)built->payload;
	assert_int_equal(gso_note(frame, &header), 0);
	assert_true(frame_is_gso(frame));
	assert_int_equal(gso_pieces(frame), 20);
	assert_int_equal(frame_wire_bytes(frame), built->payload + MSS);
	gso_header(frame, &told);
	assert_memory_equal(&told, &header, sizeof(header));
	assert_memory_equal(rte_pktmbuf_read(frame, 0, built->length, bytes), built->bytes, built->length);
	rte_pktmbuf_free(frame);
	free(bytes);
	free(built);
}

/* Lengths and sums that its sender made wrong are right for who takes it whole. */
static void
written_anew(void **state)
{
	const struct shape *shape = &((const struct shape_case *)*state)->shape;
	struct built *built = build(shape, 20 * MSS);
	struct virtio_net_hdr header = header_of(shape, built, MSS);
	struct rte_mbuf *frame = packet_of(pool, built->bytes, built->length);
	uint8_t *bytes = rte_pktmbuf_mtod(frame, uint8_t *);

	put16(bytes + built->ip + (shape->ipv6 ? 4 : 2), 40);
	if (!shape->ipv6)
		put16(bytes + built->ip + 10, 0x1234);
	if (shape->protocol == IPPROTO_UDP)
		put16(bytes + built->transport + 4, 9);
	put16(bytes + built->transport + checksum_at(shape), 0x4321);
	assert_int_equal(gso_note(frame, &header), 0);
	assert_memory_equal(bytes, built->bytes, built->payload);
	rte_pktmbuf_free(frame);
	free(built);
}

/* @return the frames that it becomes. */
static uint32_t
check_pieces(const struct shape *shape, const struct built *whole, const struct rte_mbuf *frame)
{
	struct built *piece = calloc(1, sizeof(*piece));
	uint32_t at = whole->payload, index = 0;
	struct cut cut;

	for (cut_begin(&cut, frame); cut_pending(&cut); index++) {
		struct rte_mbuf *into = rte_pktmbuf_alloc(pool);
		uint32_t bytes;

		cut_next(&cut, into);
		assert_true(frame_is_checked(into));
		bytes = into->pkt_len;
		*piece = (struct built){ .ip = whole->ip, .transport = whole->transport, .length = bytes };
		assert_true(bytes <= whole->payload + MSS);
		assert_int_equal(into->data_len, bytes);
		memcpy(piece->bytes, rte_pktmbuf_mtod(into, void *), bytes);
		rte_pktmbuf_free(into);
		assert_same_but_lengths(shape, whole, piece, index);
		assert_true(checksum_is_right(shape, piece));
		assert_memory_equal(piece->bytes + whole->payload, whole->bytes + at, bytes - whole->payload);
		at += bytes - whole->payload;
		if (shape->protocol == IPPROTO_TCP)
			assert_int_equal(piece->bytes[whole->transport + 13] & (FIN | PSH | ACK),
					 cut_pending(&cut) ? ACK : FIN | PSH | ACK);
	}
	assert_int_equal(at, whole->length);
	free(piece);
	return index;
}

static void
cut(void **state)
{
	const struct shape *shape = &((const struct shape_case *)*state)->shape;
	static const uint32_t payloads[] = { 1, MSS - 1, MSS, MSS + 1, 2 * MSS, 63999, 64000 };

	for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		struct built *whole = build(shape, payloads[i]);
		struct virtio_net_hdr header = header_of(shape, whole, MSS);
		struct rte_mbuf *frame = packet_of(pool, whole->bytes, whole->length);

		assert_int_equal(gso_note(frame, &header), 0);
		assert_int_equal(gso_pieces(frame), (payloads[i] + MSS - 1) / MSS);
		assert_int_equal(check_pieces(shape, whole, frame), gso_pieces(frame));
		rte_pktmbuf_free(frame);
		free(whole);
	}
}

/* A tag that comes or goes on the way moves everything behind it. */
static void
tags(void **state)
{
	const struct shape *shape = &((const struct shape_case *)*state)->shape;
	struct built *whole = build(shape, 5 * MSS);
	struct virtio_net_hdr header = header_of(shape, whole, MSS), told;
	struct rte_mbuf *frame = packet_of(pool, whole->bytes, whole->length);

	assert_int_equal(gso_note(frame, &header), 0);
	frame->vlan_tci = 7;
	assert_int_equal(rte_vlan_insert(&frame), 0);
	gso_header(frame, &told);
	assert_int_equal(told.csum_start, whole->transport + 4);
	assert_int_equal(told.hdr_len, whole->payload + 4);
	assert_int_equal(frame_mbuf_take_tag(frame), 7);
	assert_int_equal(check_pieces(shape, whole, frame), 5);
	rte_pktmbuf_free(frame);
	free(whole);
}

/* What a header may say that is not so. */
static struct lie_case {
	const char *name;
	int expected;
	struct shape shape;
	uint32_t payload;
	uint16_t segment;
	uint8_t flags, gso_type;       /* instead of the right ones, unless 0 */
	int start, offset;             /* added to the right ones */
	uint32_t at;                   /* the byte of the frame to be changed, unless 0 */
	uint8_t value;
} lies[] = {
#define TCP4 { IPPROTO_TCP, false, 0, 0, 0 }
#define TCP6 { IPPROTO_TCP, true, 0, 0, 0 }
#define UDP4 { IPPROTO_UDP, false, 0, 0, 0 }
	{ "checksum in the Ethernet header", -EBADMSG, TCP4, 100, 0, 0, 0, -21, 0, 0, 0 },
	{ "checksum starts behind the frame", -EBADMSG, TCP4, 100, 0, 0, 0, 200, 0, 0, 0 },
	{ "checksum half behind the frame", -EBADMSG, TCP4, 0, 0, 0, 0, 0, 3, 0, 0 },
	{ "checksum far behind the frame", -EBADMSG, TCP4, 100, 0, 0, 0, 0, 60000, 0, 0 },
	{ "segments of nothing", -EBADMSG, TCP4, 3000, 0, 0, VIRTIO_NET_HDR_GSO_TCPV4, 0, 0, 0, 0 },
	{ "segments without checksum", -EOPNOTSUPP, TCP4, 3000, MSS, 0x80, 0, 0, 0, 0, 0 },
	{ "of a kind that nobody knows", -EOPNOTSUPP, TCP4, 3000, MSS, 0, 0x7f, 0, 0, 0, 0 },
	{ "fragments of UDP", -EOPNOTSUPP, UDP4, 3000, MSS, 0, VIRTIO_NET_HDR_GSO_UDP, 0, 0, 0, 0 },
	{ "said to be IPv6 and is IPv4", -EOPNOTSUPP, TCP4, 3000, MSS, 0, VIRTIO_NET_HDR_GSO_TCPV6, 0, 0, 0, 0 },
	{ "said to be UDP and is TCP", -EOPNOTSUPP, TCP4, 3000, MSS, 0, VIRTIO_NET_HDR_GSO_UDP_L4, 0, 0, 0, 0 },
	{ "no IP at all", -EOPNOTSUPP, TCP4, 3000, MSS, 0, 0, 0, 0, 12, 0x12 },
	{ "IP of another version", -EOPNOTSUPP, TCP4, 3000, MSS, 0, 0, 0, 0, 14, 0x65 },
	{ "IPv4 header shorter than one", -EOPNOTSUPP, TCP4, 3000, MSS, 0, 0, 0, 0, 14, 0x44 },
	{ "a fragment", -EOPNOTSUPP, TCP4, 3000, MSS, 0, 0, 0, 0, 20, 0x20 },
	{ "a tunnel: TCP further in", -EOPNOTSUPP, TCP4, 3000, MSS, 0, 0, 50, 0, 0, 0 },
	{ "TCP where its IP header stands", -EBADMSG, TCP4, 3000, MSS, 0, 0, -10, 0, 0, 0 },
	{ "TCP starts behind the frame", -EBADMSG, TCP4, 3000, MSS, 0, 0, 4000, 0, 0, 0 },
	{ "TCP header shorter than one", -EBADMSG, TCP4, 3000, MSS, 0, 0, 0, 0, 46, 0x40 },
	{ "TCP header longer than the frame", -EBADMSG, TCP4, 10, MSS, 0, 0, 0, 0, 46, 0xf0 },
	{ "nothing behind the header", -EBADMSG, TCP4, 0, MSS, 0, 0, 0, 0, 0, 0 },
	{ "IPv6 extension header longer than the frame", -EOPNOTSUPP, { IPPROTO_TCP, true, 0, 1, 0 }, 3000, MSS, 0, 0, 0, 0, 55, 0xff },
	{ "an IPv6 fragment", -EOPNOTSUPP, TCP6, 3000, MSS, 0, 0, 0, 0, 20, IPPROTO_FRAGMENT },
};

static void
lie(void **state)
{
	const struct lie_case *row = *state;
	struct built *built = build(&row->shape, row->payload);
	struct virtio_net_hdr header = header_of(&row->shape, built, row->segment);
	uint8_t *exact = malloc(built->length); /* what is read or written behind it is found by the sanitizer */
	struct rte_mbuf *frame;

	if (row->flags)
		header.flags = row->flags;
	if (row->gso_type)
		header.gso_type = row->gso_type;
	header.csum_start = (uint16_t)(header.csum_start + row->start);
	header.csum_offset = (uint16_t)(header.csum_offset + row->offset);
	memcpy(exact, built->bytes, built->length);
	if (row->at)
		exact[row->at] = row->value;
	if (offload_wants_cut(&header)) {
		frame = packet_of(pool, exact, built->length);
		assert_int_equal(gso_note(frame, &header), row->expected);
		assert_false(frame_is_gso(frame));
		rte_pktmbuf_free(frame);
	} else {
		assert_int_equal(offload_checksum(&header, exact, built->length), row->expected);
		assert_memory_equal(exact, built->bytes, built->length);
	}
	free(exact);
	free(built);
}

/* Nothing is missing: nothing is changed. */
static void
complete(void **state)
{
	const struct shape shape = TCP4;
	struct built *built = build(&shape, 100), *before = malloc(sizeof(*before));
	struct virtio_net_hdr header = header_of(&shape, built, 0);

	(void)state;
	header.flags = VIRTIO_NET_HDR_F_DATA_VALID;
	*before = *built;
	assert_int_equal(offload_checksum(&header, built->bytes, built->length), 0);
	assert_memory_equal(built, before, sizeof(*built));
	free(built);
	free(before);
}

/* A checksum that comes out as zero is written as all ones: zero says that a UDP frame has none. */
static void
zero(void **state)
{
	const struct shape shape = UDP4;
	struct built *built = build(&shape, 2);
	struct virtio_net_hdr header = header_of(&shape, built, 0);

	(void)state;
	put16(built->bytes + built->payload, 0);
	put16(built->bytes + built->payload,
	      ~sum(built->bytes + built->transport, built->length - built->transport, 0));
	assert_int_equal(offload_checksum(&header, built->bytes, built->length), 0);
	assert_int_equal(get16(built->bytes + built->transport + checksum_at(&shape)), 0xffff);
	free(built);
}

/* CRC32c of "123456789" is 0xe3069283; source: RFC 3720, B.4. Here it stands where the field itself counts as zero. */
static void
sctp(void **state)
{
	uint8_t frame[ETHERNET_BYTES + IPV4_BYTES + 12] = { 0 };
	struct virtio_net_hdr header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					 .csum_start = ETHERNET_BYTES + IPV4_BYTES,
					 .csum_offset = 8 };
	uint32_t crc = ~0U;

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		frame[header.csum_start + i] = (uint8_t)(i + 1);
	memset(frame + header.csum_start + 8, 0xee, 4);
	for (uint32_t i = 0; i < 12; i++) {
		crc ^= i < 8 ? i + 1 : 0;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	crc = ~crc;
	assert_int_equal(offload_checksum(&header, frame, sizeof(frame)), 0);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(frame[header.csum_start + 8 + i], crc >> 8 * i & 0xff);
}

static void
nothing_was_lost(void **state)
{
	(void)state;
	assert_int_equal(rte_mempool_avail_count(pool), POOL_FRAMES);
}

int
main(void)
{
	static struct row_tests tests;
	int failed;

	pool = packet_pool_start(POOL_FRAMES, POOL_ROOM);
	if (!pool)
		return 1;
	ROWS(&tests, checksum, shapes);
	ROWS(&tests, whole, shapes);
	ROWS(&tests, written_anew, shapes);
	ROWS(&tests, cut, shapes);
	ROWS(&tests, tags, shapes);
	ROWS(&tests, lie, lies);
	TEST(&tests, complete);
	TEST(&tests, zero);
	TEST(&tests, sctp);
	TEST(&tests, nothing_was_lost);
	failed = row_tests_run("offload: what a sender left to the hardware", &tests);
	rte_eal_cleanup();
	return failed;
}
