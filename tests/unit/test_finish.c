/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest leaves undone is done when its frames are collected: every kind of frame, in every layout of buffers,
 * however few are asked for at a time; and whatever it says that is not so makes an empty frame of one, or nothing.
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
	POOL_FRAMES = 255,
	POOL_ROOM = 2048,
	ENTRIES = 64,
	BURST = 64,
};

#define LEAVES (MODERN | FEATURE(NET_F_CSUM) | FEATURE(NET_F_HOST_TSO4) | FEATURE(NET_F_HOST_TSO6) | FEATURE(NET_F_HOST_ECN))

static struct rte_mempool *pool;
static struct guest_rings guest;
static struct unfinished *unfinished;

static void
begin(uint64_t features)
{
	guest_rings_reset(&guest, ENTRIES, features, 0);
	free(unfinished);
	unfinished = calloc(1, sizeof(*unfinished));
	guest.vq.unfinished = unfinished;
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
		rte_pktmbuf_free(frame);
		free(built);
	}
}

/* In bursts of this size; the buffer is back after the first. */
static void
cut_in_bursts(const struct shape *shape, uint32_t payload, struct guest_buffer layout, uint16_t burst)
{
	struct built *built = build(shape, payload);
	struct virtio_net_hdr header = header_of(shape, built, MSS);
	uint32_t at = built->payload, index = 0;
	struct rte_mbuf *frames[BURST];
	uint16_t n;

	begin(LEAVES);
	offer(&header, built, layout);
	while ((n = virtqueue_collect(&guest.vq, pool, frames, burst))) {
		assert_int_equal(guest.used->idx, 1);
		for (uint16_t i = 0; i < n; i++, index++) {
			const uint32_t bytes = frames[i]->pkt_len - built->payload;

			check_piece(shape, built, frames[i]);
			assert_memory_equal(rte_pktmbuf_mtod_offset(frames[i], uint8_t *, built->payload),
					    built->bytes + at, bytes);
			at += bytes;
		}
		rte_pktmbuf_free_bulk(frames, n);
	}
	assert_int_equal(at, built->length);
	assert_int_equal(index, (payload + MSS - 1) / MSS);
	free(built);
}

static void
cut(void **state)
{
	const struct shape *shape = &((const struct shape_case *)*state)->shape;

	for (size_t i = 0; i < RTE_DIM(layouts); i++) {
		cut_in_bursts(shape, 10 * MSS, layouts[i], BURST);
		cut_in_bursts(shape, 64000, layouts[i], BURST);
		cut_in_bursts(shape, 64001, layouts[i], 7);
		cut_in_bursts(shape, 1, layouts[i], 1);
	}
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
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, BURST), 5);
	for (int i = 0; i < 3; i += 2) {
		struct rte_mbuf *frame = frames[i ? 4 : 0];

		assert_int_equal(frame->pkt_len, built[i]->length);
		assert_memory_equal(rte_pktmbuf_mtod(frame, void *), built[i]->bytes, built[i]->length);
	}
	rte_pktmbuf_free_bulk(frames, 5);
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
	{ "UDP, which was not offered", LEAVES, 3000, MSS, 0, VIRTIO_NET_HDR_GSO_UDP_L4, 0, 0, 0 },
	{ "TCP that was not negotiated", MODERN | FEATURE(NET_F_CSUM) | FEATURE(NET_F_HOST_TSO6), 3000, MSS, 0, 0, 0, 0, 0 },
	{ "said to be IPv6 and is IPv4", LEAVES, 3000, MSS, 0, VIRTIO_NET_HDR_GSO_TCPV6, 0, 0, 0 },
	{ "TCP starts elsewhere", LEAVES, 3000, MSS, 0, 0, 50, 0, 0 },
	{ "nothing behind the header", LEAVES, 0, MSS, 0, 0, 0, 0, 0 },
	{ "segments that no buffer holds", LEAVES, 64000, 5000, 0, 0, 0, 0, COLLECT_FRAME_BYTES_MAX },
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

/* With no packet memory left what is cut waits, and goes on where it was. */
static void
no_memory(void **state)
{
	const struct shape shape = shapes[0].shape;
	struct built *built = build(&shape, 3 * MSS);
	struct virtio_net_hdr header = header_of(&shape, built, MSS);
	struct rte_mbuf *all[POOL_FRAMES], *frames[BURST];

	(void)state;
	begin(LEAVES);
	offer(&header, built, layouts[0]);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, all, POOL_FRAMES - 1), 0);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, BURST), 1);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames + 1, BURST - 1), 0);
	rte_pktmbuf_free_bulk(all, POOL_FRAMES - 1);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames + 1, BURST - 1), 2);
	for (int i = 0; i < 3; i++)
		check_piece(&shape, built, frames[i]);
	rte_pktmbuf_free_bulk(frames, 3);
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
	ROWS(&all, cut, shapes);
	TEST(&all, order);
	ROWS(&all, lie, lies);
	TEST(&all, less_than_a_header);
	TEST(&all, a_broken_chain);
	TEST(&all, no_memory);
	TEST(&all, nothing_was_lost);
	failed = row_tests_run("finish", &all);
	free(unfinished);
	guest_rings_destroy(&guest);
	rte_eal_cleanup();
	return failed;
}
