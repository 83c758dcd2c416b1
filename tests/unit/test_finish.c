/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A checksum that a guest leaves is filled in when its frames are collected, and what it does not cut comes as a GSO
 * frame: every kind of frame, in every layout of buffers; and whatever it says that is not so makes an empty frame of
 * one, or nothing.
 */
#include "guest_rings.h"
#include "left_frames.h"
#include "packet_pool.h"
#include "vhost/vring.h"

#include "rows.h"

#include <netinet/in.h>
#include <stdlib.h>

enum {
	MSS = 1000,
	SEGMENT_BYTES_MIN = 48,
	POOL_FRAMES = 255,
	POOL_ROOM = 2048,
	ENTRIES = 64,
	BURST = 64,
	OFFERED = 7,
};

#define LEAVES_UDP (FEATURE(NET_F_HOST_USO))
#define LEAVES (LEAVES_UDP | MODERN | FEATURE(NET_F_CSUM) | FEATURE(NET_F_HOST_TSO4) | FEATURE(NET_F_HOST_TSO6) | FEATURE(NET_F_HOST_ECN))

static struct rte_mempool *pool;
static struct guest_rings guest;

static void
begin(uint64_t features)
{
	guest_rings_reset(&guest, ENTRIES, features, 0);
}

/* Offer a frame behind its header. */
static void
offer(const struct virtio_net_hdr *header, const struct built *built, struct guest_buffer buffer)
{
	const uint32_t header_bytes = guest_header_bytes(guest.features);
	uint8_t *bytes = calloc(1, header_bytes + built->length);

	memcpy(bytes, header, sizeof(*header));
	memcpy(bytes + header_bytes, built->bytes, built->length);
	buffer.bytes = header_bytes + built->length;
	assert_int_equal(guest_buffer_fill(&guest, guest_offer(&guest, &buffer), bytes, buffer.bytes), buffer.bytes);
	free(bytes);
}

static void
check_piece(const struct shape *shape, const struct built *whole, const struct rte_mbuf *frame)
{
	struct built *piece = calloc(1, sizeof(*piece));

	*piece = (struct built){ .ip = whole->ip, .transport = whole->transport, .length = frame->pkt_len };
	assert_int_equal(frame->nb_segs, 1);
	assert_int_equal(frame->data_len, frame->pkt_len);
	memcpy(piece->bytes, rte_pktmbuf_mtod(frame, void *), frame->pkt_len);
	assert_memory_equal(piece->bytes, whole->bytes, whole->ip);
	assert_true(checksum_is_right(shape, piece));
	free(piece);
}

static struct shape_case {
	const char *name;
	struct shape shape;
} shapes[] = {
	{ "TCP over IPv4", { IPPROTO_TCP, false, 0, 0, 3 } },
	{ "TCP over IPv4, a tag, options", { IPPROTO_TCP, false, 1, 2, 3 } },
	{ "TCP over IPv6", { IPPROTO_TCP, true, 0, 0, 3 } },
	{ "TCP over IPv6, two tags, extension headers", { IPPROTO_TCP, true, 2, 2, 0 } },
	{ "datagrams over IPv4", { IPPROTO_UDP, false, 0, 0, 0 } },
	{ "datagrams over IPv6, a tag", { IPPROTO_UDP, true, 1, 0, 0 } },
};

static const struct guest_buffer layouts[] = {
	{ .pieces = 1 },
	{ .pieces = 1, .indirect = true },
	{ .pieces = 2, .first = 12 },
	{ .pieces = 7, .first = 5 },
	{ .pieces = 18, .indirect = true },
};

static void
checksum(void **state)
{
	const struct shape *shape = &((const struct shape_case *)*state)->shape;

	for (size_t i = 0; i < RTE_DIM(layouts); i++) {
		struct built *built = build(shape, 300);
		struct virtio_net_hdr header = header_of(shape, built, 0);
		struct rte_mbuf *frame;

		begin(LEAVES);
		offer(&header, built, layouts[i]);
		assert_int_equal(virtqueue_collect(&guest.vq, pool, &frame, 1), 1);
		assert_int_equal(frame->pkt_len, built->length);
		check_piece(shape, built, frame);
		assert_false(frame_is_checked(frame)); /* it began with what the guest says of the addresses */
		rte_pktmbuf_free(frame);
		free(built);
	}
}

/* It is cut elsewhere (test_offload.c); here it comes with its bytes, and what it is to become. */
static void
check_whole(const struct built *built, const struct virtio_net_hdr *header, const struct rte_mbuf *frame)
{
	uint8_t *bytes = malloc(built->length);
	struct virtio_net_hdr told;

	assert_true(frame_is_gso(frame));
	assert_int_equal(frame->pkt_len, built->length);
	gso_header(frame, &told);
	assert_int_equal(told.gso_size, header->gso_size);
	assert_int_equal(told.csum_start, header->csum_start);
	assert_int_equal(told.csum_offset, header->csum_offset);
	assert_memory_equal(rte_pktmbuf_read(frame, 0, built->length, bytes), built->bytes, built->length);
	free(bytes);
}

static void
whole(void **state)
{
	const struct shape *shape = &((const struct shape_case *)*state)->shape;
	static const uint32_t payloads[] = { 1, MSS, 10 * MSS, 64000, 64001 };

	for (size_t i = 0; i < RTE_DIM(layouts) * RTE_DIM(payloads); i++) {
		struct built *built = build(shape, payloads[i / RTE_DIM(layouts)]);
		struct virtio_net_hdr header = header_of(shape, built, MSS);
		struct rte_mbuf *frames[BURST];

		begin(LEAVES);
		offer(&header, built, layouts[i % RTE_DIM(layouts)]);
		assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, BURST), 1);
		assert_int_equal(guest.used->idx, 1);
		check_whole(built, &header, frames[0]);
		rte_pktmbuf_free(frames[0]);
		free(built);
	}
}

/* One burst is not longer for a guest whose frames become many. */
static void
bursts(void **state)
{
	static const uint16_t segments[] = { MSS, MSS / 2, SEGMENT_BYTES_MIN };
	static const uint16_t expected[] = { 4, 2, 1 };
	const struct shape shape = shapes[0].shape;
	struct built *built = build(&shape, 64000);
	struct rte_mbuf *frames[BURST];

	(void)state;
	for (size_t i = 0; i < RTE_DIM(segments); i++) {
		struct virtio_net_hdr header = header_of(&shape, built, segments[i]);

		begin(LEAVES);
		for (int frame = 0; frame < OFFERED; frame++)
			offer(&header, built, layouts[0]);
		assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, BURST), expected[i]);
		rte_pktmbuf_free_bulk(frames, expected[i]);
		assert_in_range(virtqueue_collect(&guest.vq, pool, frames, BURST), 1, expected[i]);
		rte_pktmbuf_free_bulk(frames, RTE_MIN(expected[i], OFFERED - expected[i]));
	}
	free(built);
}

/* Frames that need nothing are as they were, before and behind those that do. */
static void
order(void **state)
{
	const struct shape shape = shapes[0].shape;
	struct built *built[3] = { build(&shape, 10), build(&shape, 3 * MSS), build(&shape, 20) };
	struct virtio_net_hdr nothing = { 0 }, header = header_of(&shape, built[1], MSS);
	struct rte_mbuf *frames[BURST];

	(void)state;
	begin(LEAVES);
	offer(&nothing, built[0], layouts[0]);
	offer(&header, built[1], layouts[0]);
	offer(&nothing, built[2], layouts[3]);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, BURST), 3);
	for (int i = 0; i < 3; i += 2) {
		assert_int_equal(frames[i]->pkt_len, built[i]->length);
		assert_memory_equal(rte_pktmbuf_mtod(frames[i], void *), built[i]->bytes, built[i]->length);
	}
	check_whole(built[1], &header, frames[1]);
	rte_pktmbuf_free_bulk(frames, 3);
	for (int i = 0; i < 3; i++)
		free(built[i]);
}

static struct lie_case {
	const char *name;
	uint64_t features;
	uint32_t payload;
	uint16_t segment;
	uint8_t flags, gso_type; /* instead of the right ones, unless 0 */
	uint16_t start, offset;
	uint32_t expected;       /* bytes of the one frame that comes of it */
} lies[] = {
	{ "checksum in the Ethernet header", LEAVES, 100, 0, 0, 0, 13, 0, 0 },
	{ "checksum starts behind the frame", LEAVES, 100, 0, 0, 0, 60000, 0, 0 },
	{ "checksum far behind the frame", LEAVES, 100, 0, 0, 0, 0, 65000, 0 },
	{ "a checksum of SCTP's kind", LEAVES, 100, 0, 0, 0, 0, 8, 0 },
	{ "segments of nothing", LEAVES, 3000, 0, 0, VIRTIO_NET_HDR_GSO_TCPV4, 0, 0, 0 },
	{ "segments of next to nothing", LEAVES, 3000, 47, 0, 0, 0, 0, 0 },
	{ "segments without checksum", LEAVES, 3000, MSS, 0x80, 0, 0, 0, 0 },
	{ "of a kind that nobody knows", LEAVES, 3000, MSS, 0, 0x7f, 0, 0, 0 },
	{ "UDP that was not negotiated", LEAVES & ~LEAVES_UDP, 3000, MSS, 0, VIRTIO_NET_HDR_GSO_UDP_L4, 0, 0, 0 },
	{ "said to be UDP and is TCP", LEAVES, 3000, MSS, 0, VIRTIO_NET_HDR_GSO_UDP_L4, 0, 0, 0 },
	{ "fragments of UDP", LEAVES, 3000, MSS, 0, VIRTIO_NET_HDR_GSO_UDP, 0, 0, 0 },
	{ "TCP that was not negotiated", MODERN | FEATURE(NET_F_CSUM) | FEATURE(NET_F_HOST_TSO6), 3000, MSS, 0, 0, 0, 0, 0 },
	{ "said to be IPv6 and is IPv4", LEAVES, 3000, MSS, 0, VIRTIO_NET_HDR_GSO_TCPV6, 0, 0, 0 },
	{ "TCP starts elsewhere", LEAVES, 3000, MSS, 0, 0, 50, 0, 0 },
	{ "nothing behind the header", LEAVES, 0, MSS, 0, 0, 0, 0, 0 },
	{ "longer than any frame is", LEAVES, 69000, MSS, 0, 0, 60000, 0, 0 },
	{ "long, and nothing is left to do", LEAVES, 12000, 0, 0x80, 0, 0, 0, COLLECT_FRAME_BYTES_MAX },
	{ "long, and only a checksum is missing", LEAVES, 12000, 0, 0, 0, 0, 0, COLLECT_FRAME_BYTES_MAX },
};

static void
lie(void **state)
{
	const struct lie_case *row = *state;
	const struct shape shape = shapes[0].shape;
	struct built *built = build(&shape, row->payload);
	struct virtio_net_hdr header = header_of(&shape, built, row->segment);
	struct rte_mbuf *frames[BURST];

	if (row->flags)
		header.flags = row->flags;
	if (row->gso_type)
		header.gso_type = row->gso_type;
	if (row->start)
		header.csum_start = row->start;
	if (row->offset)
		header.csum_offset = row->offset;
	begin(row->features);
	offer(&header, built, layouts[0]);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, BURST), 1);
	assert_int_equal(frames[0]->pkt_len, row->expected);
	rte_pktmbuf_free(frames[0]);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, BURST), 0);
	assert_int_equal(guest.used->idx, 1);
	free(built);
}

/* Datagrams may be short, but one frame is not more than 128 of them. */
static void
datagrams(void **state)
{
	const struct shape shape = { IPPROTO_UDP, false, 0, 0, 0 };
	struct rte_mbuf *frame;

	(void)state;
	for (uint32_t count = 127; count < 130; count++) {
		struct built *built = build(&shape, count * 20 - 5);
		struct virtio_net_hdr header = header_of(&shape, built, 20);

		begin(LEAVES);
		offer(&header, built, layouts[0]);
		assert_int_equal(virtqueue_collect(&guest.vq, pool, &frame, 1), 1);
		assert_int_equal(frame->pkt_len, count <= 128 ? built->length : 0);
		rte_pktmbuf_free(frame);
		free(built);
	}
}

static void
less_than_a_header(void **state)
{
	struct rte_mbuf *frame;

	(void)state;
	begin(LEAVES);
	guest_offer(&guest, &(struct guest_buffer){ .bytes = 7, .pieces = 1 });
	assert_int_equal(virtqueue_collect(&guest.vq, pool, &frame, 1), 1);
	assert_int_equal(frame->pkt_len, 0);
	rte_pktmbuf_free(frame);
}

/* Behind a good frame: nothing of that burst comes, as with guests that finish their frames. */
static void
a_broken_chain(void **state)
{
	const struct shape shape = shapes[0].shape;
	struct built *built = build(&shape, 100);
	struct virtio_net_hdr header = header_of(&shape, built, 0);
	struct rte_mbuf *frames[BURST];

	(void)state;
	begin(LEAVES);
	offer(&header, built, layouts[0]);
	guest_offer_head(&guest, ENTRIES);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, BURST), 0);
	assert_int_equal(guest.vq.fault, RING_FAULT_HEAD);
	free(built);
}

/* With too little packet memory left the frame stays with the guest. */
static void
no_memory(void **state)
{
	const struct shape shape = shapes[0].shape;
	struct built *built = build(&shape, 10 * MSS);
	struct virtio_net_hdr header = header_of(&shape, built, MSS);
	struct rte_mbuf *all[POOL_FRAMES], *frame;

	(void)state;
	begin(LEAVES);
	offer(&header, built, layouts[0]);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, all, POOL_FRAMES - 3), 0);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, &frame, 1), 0);
	assert_int_equal(rte_mempool_avail_count(pool), 3);
	assert_int_equal(guest.used->idx, 0);
	rte_pktmbuf_free_bulk(all, POOL_FRAMES - 3);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, &frame, 1), 1);
	check_whole(built, &header, frame);
	rte_pktmbuf_free(frame);
	free(built);
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
	static struct row_tests all;
	int failed;

	pool = packet_pool_start(POOL_FRAMES, POOL_ROOM);
	if (!pool)
		return 1;
	guest_rings_create(&guest);
	ROWS(&all, checksum, shapes);
	ROWS(&all, whole, shapes);
	TEST(&all, bursts);
	TEST(&all, order);
	ROWS(&all, lie, lies);
	TEST(&all, datagrams);
	TEST(&all, less_than_a_header);
	TEST(&all, a_broken_chain);
	TEST(&all, no_memory);
	TEST(&all, nothing_was_lost);
	failed = row_tests_run("finish", &all);
	guest_rings_destroy(&guest);
	rte_eal_cleanup();
	return failed;
}
