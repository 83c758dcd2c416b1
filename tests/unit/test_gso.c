/* SPDX-License-Identifier: BSD-3-Clause */
/* GSO frames on their way into a guest: whole into buffers of every kind if it takes such, else not at all. */
#include "guest_rings.h"
#include "left_frames.h"
#include "packet_pool.h"
#include "rows.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum {
	MSS = 1448,
	PAYLOAD = 40 * MSS,
	POOL_FRAMES = 255,
	POOL_ROOM = 2048,
	ENTRIES = 256,
	HEADER_BYTES = 12,
	BUFFERS = 60,
};

#define CSUM FEATURE(NET_F_GUEST_CSUM)
#define TSO4 FEATURE(NET_F_GUEST_TSO4)
#define TSO6 FEATURE(NET_F_GUEST_TSO6)
#define ECN FEATURE(NET_F_GUEST_ECN)
#define USO4 FEATURE(NET_F_GUEST_USO4)
#define USO6 FEATURE(NET_F_GUEST_USO6)

static const struct shape tcp4 = { IPPROTO_TCP, false, 0, 0, 3 }, tcp6 = { IPPROTO_TCP, true, 0, 1, 3 };
static const struct shape udp4 = { IPPROTO_UDP, false, 0, 0, 0 }, udp6 = { IPPROTO_UDP, true, 0, 0, 0 };

static struct rte_mempool *pool;
static struct guest_rings guest;

/* All shapes of TCP have CWR, unless it is taken out. */
static struct rte_mbuf *
gso_frame(const struct shape *shape, bool ecn, struct built **built)
{
	struct virtio_net_hdr header;
	struct rte_mbuf *frame;

	*built = build(shape, PAYLOAD);
	if (!ecn && shape->protocol == IPPROTO_TCP)
		(*built)->bytes[(*built)->transport + 13] &= (uint8_t)~CWR;
	header = header_of(shape, *built, MSS);
	frame = packet_of(pool, (*built)->bytes, (*built)->length);
	assert_int_equal(gso_note(frame, &header), 0);
	return frame;
}

static struct layout_case {
	const char *name;
	uint64_t features;
	struct guest_buffer buffer;
} layouts[] = {
	{ "mergeable, as Linux makes them", MERGEABLE, { 1536, 1, VRING_DESC_F_WRITE, 0, false, 0 } },
	{ "mergeable, a page each", MERGEABLE, { 4096, 1, VRING_DESC_F_WRITE, 0, false, 0 } },
	{ "mergeable, in pieces", MERGEABLE, { 4096, 3, VRING_DESC_F_WRITE, 0, true, 0 } },
	{ "one for each frame, in pages", MODERN, { 69632, 17, VRING_DESC_F_WRITE, 0, true, 0 } },
	{ "one for each frame, in one piece", MODERN, { 66000, 1, VRING_DESC_F_WRITE, 0, false, 0 } },
};

static void
taken_whole(void **state)
{
	const struct layout_case *row = *state;
	static uint8_t got[ROOM + HEADER_BYTES];
	struct virtio_net_hdr_v1 expected;
	struct built *built;
	struct rte_mbuf *frame = gso_frame(&tcp4, true, &built);
	enum drop_reason rest;

	guest_rings_reset(&guest, ENTRIES, row->features | CSUM | TSO4 | ECN, 65530);
	for (uint32_t i = 0; i < BUFFERS && (i + 1) * row->buffer.bytes <= GUEST_BUFFERS_BYTES; i++)
		guest_offer(&guest, &row->buffer);
	assert_int_equal(virtqueue_deliver(&guest.vq, &frame, 1, &rest), 1);
	memset(&expected, 0, sizeof(expected));
	gso_header(frame, (struct virtio_net_hdr *)&expected);
	expected.num_buffers = (uint16_t)(guest.used->idx - 65530);
	assert_int_equal(guest_take(&guest, got, sizeof(got)), HEADER_BYTES + built->length);
	assert_memory_equal(got, &expected, HEADER_BYTES);
	assert_int_equal(expected.gso_type, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN);
	assert_memory_equal(got + HEADER_BYTES, built->bytes, built->length);
	rte_pktmbuf_free(frame);
	free(built);
}

static struct takes_case {
	const char *name;
	const struct shape *shape;
	bool ecn;
	uint64_t features;
	bool taken;
} takes[] = {
	{ "TCP over IPv4", &tcp4, false, CSUM | TSO4, true },
	{ "TCP over IPv4, and only IPv6 is taken", &tcp4, false, CSUM | TSO6 | ECN, false },
	{ "TCP over IPv4, and checksums are not", &tcp4, false, TSO4 | ECN, false },
	{ "TCP over IPv4, and only checksums are", &tcp4, false, CSUM, false },
	{ "TCP over IPv4, and nothing is", &tcp4, false, 0, false },
	{ "TCP over IPv4 with CWR", &tcp4, true, CSUM | TSO4 | ECN, true },
	{ "TCP over IPv4 with CWR, which is not", &tcp4, true, CSUM | TSO4 | TSO6, false },
	{ "TCP over IPv6", &tcp6, false, CSUM | TSO6, true },
	{ "TCP over IPv6, and only IPv4 is taken", &tcp6, false, CSUM | TSO4 | ECN, false },
	{ "datagrams over IPv4", &udp4, false, CSUM | USO4, true },
	{ "datagrams over IPv4, and only IPv6 is taken", &udp4, false, CSUM | USO6, false },
	{ "datagrams over IPv4, and only TCP is", &udp4, false, CSUM | TSO4 | TSO6 | ECN, false },
	{ "datagrams over IPv6", &udp6, false, CSUM | USO6, true },
	{ "datagrams over IPv6, and only IPv4 is taken", &udp6, false, CSUM | USO4, false },
};

static void
taken_or_not(void **state)
{
	const struct takes_case *row = *state;
	struct built *built;
	struct rte_mbuf *frame = gso_frame(row->shape, row->ecn, &built);
	enum drop_reason rest;

	guest_rings_reset(&guest, ENTRIES, MERGEABLE | row->features, 0);
	for (int i = 0; i < BUFFERS; i++)
		guest_offer(&guest, &layouts[0].buffer);
	assert_int_equal(virtqueue_takes(&guest.vq, gso_kinds(frame)), row->taken);
	assert_int_equal(virtqueue_deliver(&guest.vq, &frame, 1, &rest), row->taken);
	assert_int_equal(guest.used->idx > 0, row->taken);
	if (!row->taken)
		assert_int_equal(rest, DROP_TOO_BIG);
	rte_pktmbuf_free(frame);
	free(built);
}

/* What it takes may change while frames are on their way, within what it agreed to. */
static void
changed(void **state)
{
	struct built *built;
	struct rte_mbuf *frame = gso_frame(&tcp4, false, &built);
	enum drop_reason rest;

	(void)state;
	guest_rings_reset(&guest, ENTRIES, MERGEABLE | CSUM | TSO4, 0);
	for (int i = 0; i < BUFFERS; i++)
		guest_offer(&guest, &layouts[0].buffer);
	assert_true(virtqueue_set_takes(&guest.vq, CSUM));
	assert_false(virtqueue_takes(&guest.vq, gso_kinds(frame)));
	assert_int_equal(virtqueue_deliver(&guest.vq, &frame, 1, &rest), 0);
	assert_false(virtqueue_set_takes(&guest.vq, CSUM | TSO4 | TSO6));
	assert_false(virtqueue_takes(&guest.vq, gso_kinds(frame)));
	assert_true(virtqueue_set_takes(&guest.vq, CSUM | TSO4));
	assert_int_equal(virtqueue_deliver(&guest.vq, &frame, 1, &rest), 1);
	rte_pktmbuf_free(frame);
	free(built);
}

/* A ring that could never hold one is given none, whatever its guest has agreed to. */
static void
small_rings(void **state)
{
	(void)state;
	for (uint16_t entries = 16; entries <= 256; entries *= 2) {
		guest_rings_reset(&guest, entries, MERGEABLE | CSUM | TSO4, 0);
		assert_int_equal(virtqueue_takes(&guest.vq, GSO_TCP4), entries >= 64);
	}
}

/* A short one looks like any frame, and needs its header all the same. */
static void
in_one_buffer(void **state)
{
	struct built *built = build(&tcp4, 1000);
	struct virtio_net_hdr header = header_of(&tcp4, built, 500), told;
	struct rte_mbuf *frame = packet_of(pool, built->bytes, built->length);
	enum drop_reason rest;

	(void)state;
	assert_int_equal(frame->nb_segs, 1);
	assert_int_equal(gso_note(frame, &header), 0);
	guest_rings_reset(&guest, ENTRIES, MERGEABLE | CSUM | TSO4 | ECN, 0);
	guest_offer(&guest, &layouts[0].buffer);
	assert_int_equal(virtqueue_deliver(&guest.vq, &frame, 1, &rest), 1);
	guest_buffer_read(&guest, 0, (uint8_t *)&told, sizeof(told));
	assert_int_equal(told.gso_size, 500);
	rte_pktmbuf_free(frame);
	free(built);
}

/* Not enough buffers: it may wait, and none was taken. */
static void
too_few_buffers(void **state)
{
	struct built *built;
	struct rte_mbuf *frame = gso_frame(&tcp4, false, &built);
	enum drop_reason rest;

	(void)state;
	guest_rings_reset(&guest, ENTRIES, MERGEABLE | CSUM | TSO4, 0);
	for (int i = 0; i < 20; i++)
		guest_offer(&guest, &layouts[0].buffer);
	assert_int_equal(virtqueue_deliver(&guest.vq, &frame, 1, &rest), 0);
	assert_int_equal(rest, DROP_NO_BUFFER);
	assert_int_equal(guest.used->idx, 0);
	for (int i = 0; i < 20; i++)
		guest_offer(&guest, &layouts[0].buffer);
	assert_int_equal(virtqueue_deliver(&guest.vq, &frame, 1, &rest), 1);
	rte_pktmbuf_free(frame);
	free(built);
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
	ROWS(&all, taken_whole, layouts);
	ROWS(&all, taken_or_not, takes);
	TEST(&all, changed);
	TEST(&all, small_rings);
	TEST(&all, in_one_buffer);
	TEST(&all, too_few_buffers);
	failed = row_tests_run("GSO frames into guests", &all);
	guest_rings_destroy(&guest);
	rte_eal_cleanup();
	return failed;
}
