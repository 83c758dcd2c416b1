/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtqueues: every layout of buffers that a driver may offer, in both directions, whole frames and frames in steps;
 * every way to break a ring, one row each; notifications; indices that wrap around.
 */
#include "guest_rings.h"
#include "packet_pool.h"
#include "vhost/guest.h"
#include "vhost/vring.h"

#include "rows.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	FRAME_MAX = 9018,
	POOL_FRAMES = 255,
	POOL_ROOM = 2048,
	HEADER_MAX = 12,
};

static struct rte_mempool *pool;
static struct guest_rings guest;

/* A frame in up to three segments that a test makes by hand. */
struct hand_frame {
	struct rte_mbuf segments[3];
	uint8_t bytes[FRAME_MAX + 64];
};

static struct rte_mbuf *
frame_make(struct hand_frame *frame, uint32_t bytes, unsigned seed, unsigned pieces)
{
	uint32_t each = bytes / pieces, offset = 0;

	memset(frame->segments, 0, sizeof(frame->segments));
	for (uint32_t i = 0; i < bytes; i++)
		frame->bytes[i] = (uint8_t)(i * 7 + i / 256 + seed);
	for (unsigned i = 0; i < pieces; i++) {
		uint32_t length = i == pieces - 1 ? bytes - offset : each;

		frame->segments[i].buf_addr = frame->bytes + offset;
		frame->segments[i].data_len = (uint16_t)length;
		frame->segments[i].next = i == pieces - 1 ? NULL : &frame->segments[i + 1];
		offset += length;
	}
	frame->segments[0].pkt_len = bytes;
	frame->segments[0].nb_segs = (uint16_t)pieces;
	return &frame->segments[0];
}

#define W VRING_DESC_F_WRITE

/* What the guest has to find: header and frame, the header saying in how many buffers. */
static void
check_taken(const struct guest_layout *row, const struct hand_frame *frame, uint32_t bytes)
{
	static uint8_t got[FRAME_MAX + HEADER_MAX];
	uint32_t header = guest_header_bytes(row->features);
	struct virtio_net_hdr_v1 expected = { .num_buffers = (uint16_t)guest_layout_buffers(row, bytes) };

	assert_int_equal(guest_take(&guest, got, sizeof(got)), header + bytes);
	assert_memory_equal(got, &expected, header);
	assert_memory_equal(got + header, frame->bytes, bytes);
}

static void
offer_some(const struct guest_layout *row, uint32_t buffers)
{
	for (uint32_t i = 0; i < buffers; i++)
		guest_offer(&guest, &row->buffer);
}

/* The bytes behind what was written are the guest's, and still what they were. */
static void
check_untouched(uint16_t head, uint32_t written, uint32_t all)
{
	static uint8_t got[GUEST_BUFFERS_BYTES];

	assert_int_equal(guest_buffer_read(&guest, head, got, all), all);
	for (uint32_t i = written; i < all; i++)
		if (got[i] != GUEST_CANARY)
			fail_msg("byte %u of %u was written", i, all);
}

static void
deliver_one(const struct guest_layout *row, uint32_t bytes, unsigned pieces)
{
	static struct hand_frame frame;
	struct rte_mbuf *frames[1] = { frame_make(&frame, bytes, bytes, pieces) };
	uint32_t buffers = guest_layout_buffers(row, bytes);
	uint16_t base = (uint16_t)(65530 + bytes), taken;
	enum drop_reason rest;

	guest_rings_reset(&guest, 2048, row->features, base);
	offer_some(row, buffers ? buffers : RTE_MIN(130u, GUEST_BUFFERS_BYTES / row->buffer.bytes));
	taken = virtqueue_deliver(&guest.vq, frames, 1, &rest);
	assert_int_equal(guest.vq.fault, RING_FAULT_NONE);
	if (!buffers) {
		assert_int_equal(taken, 0);
		assert_int_equal(rest, DROP_TOO_BIG);
		assert_int_equal(guest.vq.available_next, base);
		return;
	}
	assert_int_equal(taken, 1);
	assert_int_equal((uint16_t)(guest.vq.available_next - base), buffers);
	check_taken(row, &frame, bytes);
	if (buffers == 1)
		check_untouched((uint16_t)guest.used->ring[base & 2047].id, guest_header_bytes(row->features) + bytes,
				row->buffer.bytes);
}

/* Every length up to where the last layouts change, then some. */
static uint32_t
next_length(uint32_t bytes)
{
	return bytes < 200 || (bytes > 1400 && bytes < 1600) || bytes >= 9000 ? bytes + 1 : bytes + 41;
}

static void
deliver_every_length(void **state)
{
	const struct guest_layout *row = *state;

	for (uint32_t bytes = 60; bytes <= FRAME_MAX; bytes = next_length(bytes))
		deliver_one(row, bytes, 1 + bytes % 3);
}

/* A frame in steps: until the flush the guest sees no index move, and of the lookahead part no byte before its turn. */
static void
deliver_in_steps(const struct guest_layout *row, uint32_t bytes, uint32_t lookahead)
{
	static struct hand_frame frame;
	struct reservation reservation;
	uint16_t before;
	uint8_t first[HEADER_MAX + 256];
	uint32_t seen;

	frame_make(&frame, bytes, bytes, 1);
	guest_rings_reset(&guest, 2048, row->features, 7);
	offer_some(row, guest_layout_buffers(row, bytes));
	assert_int_equal(virtqueue_reserve(&guest.vq, bytes, &reservation), 0);
	before = guest.used->idx;
	virtqueue_write(&guest.vq, &reservation, lookahead, frame.bytes + lookahead, bytes - lookahead);
	assert_int_equal(guest.used->idx, before);
	seen = RTE_MIN(guest_header_bytes(row->features) + lookahead, reservation.buffers[0].len);
	guest_buffer_read(&guest, (uint16_t)reservation.buffers[0].id, first, seen);
	for (uint32_t i = 0; i < seen; i++)
		assert_int_equal(first[i], GUEST_CANARY);
	virtqueue_write(&guest.vq, &reservation, 0, frame.bytes, lookahead);
	assert_int_equal(guest.used->idx, before);
	virtqueue_complete(&guest.vq, &reservation, &frame.segments[0]);
	assert_int_equal(guest.used->idx, before);
	ring_flush(&guest.vq, before);
	check_taken(row, &frame, bytes);
}

static void
steps_give_the_same_bytes(void **state)
{
	const struct guest_layout *row = *state;

	for (uint32_t bytes = 60; bytes <= FRAME_MAX; bytes = next_length(bytes))
		if (guest_layout_buffers(row, bytes))
			deliver_in_steps(row, bytes, 14 + bytes % 46);
}

/* Guests: what they send. The frame may be in any pieces; so may the header before it. */
static struct guest_layout collection_layouts[] = {
	{ "one descriptor, modern", MODERN, { 0, 1, 0, 0, false, 0 } },
	{ "one descriptor, legacy header", 0, { 0, 1, 0, 0, false, 0 } },
	{ "one descriptor, mergeable", MERGEABLE, { 0, 1, 0, 0, false, 0 } },
	{ "two pieces", MODERN, { 0, 2, 0, 0, false, 0 } },
	{ "nineteen pieces", MODERN, { 0, 19, 0, 0, false, 0 } },
	{ "pieces shorter than the header", MODERN, { 0, 72, 0, 0, false, 0 } },
	{ "pieces shorter than the legacy header", 0, { 0, 70, 0, 0, false, 0 } },
	{ "indirect, one piece", MODERN, { 0, 1, 0, 0, true, 0 } },
	{ "indirect, six pieces", MODERN, { 0, 6, 0, 0, true, 0 } },
	{ "direct pieces, then an indirect table", MODERN, { 0, 6, 0, 2, true, 0 } },
};

static void
check_collected(struct rte_mbuf *frame, const uint8_t *expected, uint32_t bytes)
{
	uint32_t offset = 0, segments = 0;

	assert_int_equal(frame->pkt_len, bytes);
	for (const struct rte_mbuf *segment = frame; segment; segment = segment->next) {
		assert_memory_equal(rte_pktmbuf_mtod(segment, const void *), expected + offset, segment->data_len);
		offset += segment->data_len;
		segments++;
	}
	assert_int_equal(offset, bytes);
	assert_int_equal(frame->nb_segs, segments);
	assert_int_equal(segments, bytes ? (bytes + POOL_ROOM - 1) / POOL_ROOM : 1);
}

static void
collect_one(const struct guest_layout *row, uint32_t bytes)
{
	static uint8_t sent[HEADER_MAX + 20000];
	uint32_t header = guest_header_bytes(row->features);
	struct guest_buffer buffer = row->buffer;
	struct rte_mbuf *frames[4];
	uint16_t head;

	guest_rings_reset(&guest, 256, row->features, (uint16_t)(65530 + bytes));
	for (uint32_t i = 0; i < header + bytes; i++)
		sent[i] = i < header ? 0xee : (uint8_t)(i * 5 + i / 256 + bytes);
	buffer.bytes = header + bytes;
	head = guest_offer(&guest, &buffer);
	guest_buffer_fill(&guest, head, sent, header + bytes);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 4), 1);
	assert_int_equal(guest.vq.fault, RING_FAULT_NONE);
	check_collected(frames[0], sent + header, RTE_MIN(bytes, (uint32_t)COLLECT_FRAME_BYTES_MAX));
	rte_pktmbuf_free(frames[0]);
	assert_int_equal((uint16_t)(guest.used->idx - guest.used_seen), 1);
	assert_int_equal(guest.used->ring[guest.used_seen & 255].id, head);
	assert_int_equal(guest.used->ring[guest.used_seen & 255].len, 0);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 4), 0);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_FRAMES);
}

static void
collect_every_length(void **state)
{
	const struct guest_layout *row = *state;
	static const uint32_t odd[] = { 0, 1, 13, 14, 31, 32, 33, 64, 65, 2047, 2048, 2049, 4096, 9215, 9216, 9217,
					20000 };

	for (unsigned i = 0; i < RTE_DIM(odd); i++)
		if (guest_header_bytes(row->features) + odd[i] >= row->buffer.pieces)
			collect_one(row, odd[i]);
	for (uint32_t bytes = 60; bytes <= FRAME_MAX; bytes = next_length(bytes))
		collect_one(row, bytes);
}

/* The header in a descriptor of its own, as drivers do that know no other way. */
static void
collect_behind_a_header_descriptor(void **state)
{
	static const struct guest_buffer header = { 12, 1, 0, 0, false, 0 }, payload = { 1000, 1, 0, 0, false, 0 };
	struct rte_mbuf *frames[1];

	(void)state;
	guest_rings_reset(&guest, 256, MODERN, 0);
	guest_offer(&guest, &header);
	guest_offer(&guest, &payload);
	guest.available->idx = 1;
	guest.descriptors[0].flags = VRING_DESC_F_NEXT;
	guest.descriptors[0].next = 1;
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 1), 1);
	assert_int_equal(frames[0]->pkt_len, 1000);
	rte_pktmbuf_free(frames[0]);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_FRAMES);
}

/* What is shorter than a header comes as an empty frame: the switch counts it as malformed. */
static void
collect_less_than_a_header(void **state)
{
	(void)state;
	for (uint32_t bytes = 1; bytes <= 12; bytes++) {
		const struct guest_buffer buffer = { bytes, 1, 0, 0, false, 0 };
		struct rte_mbuf *frames[1];

		guest_rings_reset(&guest, 256, MODERN, 0);
		guest_offer(&guest, &buffer);
		assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 1), 1);
		assert_int_equal(frames[0]->pkt_len, 0);
		rte_pktmbuf_free(frames[0]);
	}
}

/* Bursts over the end of the ring and of 16 bits, in both directions, in order. */
static void
burst_around(uint16_t base, uint16_t entries, uint16_t burst)
{
	static const struct guest_buffer into = { 256, 1, W, 0, false, 0 };
	static struct hand_frame made[DELIVER_BURST_MAX];
	const struct guest_layout row = { "", MERGEABLE, into };
	struct rte_mbuf *frames[DELIVER_BURST_MAX];
	enum drop_reason rest;

	guest_rings_reset(&guest, entries, MERGEABLE, base);
	for (unsigned round = 0; round < 40; round++) {
		guest.descriptors_taken = 0;
		guest.buffers_taken = 0;
		for (uint16_t i = 0; i < burst; i++) {
			guest_offer(&guest, &into);
			frames[i] = frame_make(&made[i], 60 + i, round + i, 1);
		}
		assert_int_equal(virtqueue_deliver(&guest.vq, frames, burst, &rest), burst);
		for (uint16_t i = 0; i < burst; i++)
			check_taken(&row, &made[i], 60 + i);
		assert_int_equal(guest.used_seen, guest.used->idx);
	}
}

static void
indices_wrap_around(void **state)
{
	(void)state;
	burst_around(65400, 64, 64);
	burst_around(65400, 64, 33);
	burst_around(65400, 256, 31);
	burst_around(32760, 128, 7);
	burst_around(65535, 1, 1);
}

static void
collect_around(uint16_t base, uint16_t entries, uint16_t burst)
{
	static const struct guest_buffer from = { 12 + 64, 1, 0, 0, false, 0 };
	struct rte_mbuf *frames[COLLECT_BURST_MAX];

	guest_rings_reset(&guest, entries, MODERN, base);
	for (unsigned round = 0; round < 40; round++) {
		guest.descriptors_taken = 0;
		guest.buffers_taken = 0;
		for (uint16_t i = 0; i < burst; i++) {
			uint16_t head = guest_offer(&guest, &from);

			memset(guest_at(&guest, guest.descriptors[head].addr), (int)(round + i), from.bytes);
		}
		assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, burst), burst);
		for (uint16_t i = 0; i < burst; i++)
			assert_int_equal(*rte_pktmbuf_mtod(frames[i], uint8_t *), (uint8_t)(round + i));
		rte_pktmbuf_free_bulk(frames, burst);
		assert_int_equal(guest.used->idx, guest.available->idx);
	}
}

static void
indices_wrap_around_when_collecting(void **state)
{
	(void)state;
	collect_around(65400, 64, 64);
	collect_around(65400, 64, 33);
	collect_around(65535, 1, 1);
}

static void
a_full_ring_takes_what_it_can(void **state)
{
	static const struct guest_buffer into = { 2048, 1, W, 0, false, 0 };
	static struct hand_frame made[8];
	struct rte_mbuf *frames[8];
	enum drop_reason rest;

	(void)state;
	guest_rings_reset(&guest, 256, MERGEABLE, 0);
	for (unsigned i = 0; i < 8; i++)
		frames[i] = frame_make(&made[i], i == 4 ? 9000 : 60, i, 1);
	for (unsigned i = 0; i < 6; i++)
		guest_offer(&guest, &into);
	/* Four small ones fit, the large one needs five more buffers and there are two. */
	assert_int_equal(virtqueue_deliver(&guest.vq, frames, 8, &rest), 4);
	assert_int_equal(rest, DROP_NO_BUFFER);
	assert_int_equal(guest.used->idx, 4);
	assert_int_equal(guest.vq.available_next, 4);
	assert_int_equal(virtqueue_deliver(&guest.vq, frames + 5, 3, &rest), 2);
	assert_int_equal(rest, DROP_NO_BUFFER);
	assert_int_equal(virtqueue_deliver(&guest.vq, frames + 7, 1, &rest), 0);
	assert_int_equal(rest, DROP_NO_BUFFER);
	assert_int_equal(guest.vq.fault, RING_FAULT_NONE);
}

static struct header_case {
	const char *name;
	uint64_t features;
	uint32_t bytes; /* of a frame; the longest takes several buffers */
} headers[] = {
	{ "a header of 10 bytes", 0, 300 },
	{ "a header of 12 bytes", MODERN, 300 },
	{ "a frame in several buffers", MERGEABLE, 3000 },
};

static uint8_t
flags_of_a_frame(uint32_t bytes, uint64_t checked)
{
	static const struct guest_buffer into = { 1600, 1, W, 0, false, 0 };
	static struct hand_frame made;
	struct rte_mbuf *frame = frame_make(&made, bytes, 0, 1);
	static struct virtio_net_hdr_v1 got[FRAME_MAX];
	enum drop_reason rest;

	frame->ol_flags = checked;
	guest_offer(&guest, &into);
	guest_offer(&guest, &into);
	assert_int_equal(virtqueue_deliver(&guest.vq, &frame, 1, &rest), 1);
	guest_take(&guest, (uint8_t *)got, sizeof(got));
	return got->flags;
}

/* A guest that listens is told of checksums that were found right, and of no others; it may change its mind. */
static void
checked_frames_are_told(void **state)
{
	const struct header_case *row = *state;
	const uint64_t csum = FEATURE(NET_F_GUEST_CSUM), good = RTE_MBUF_F_RX_L4_CKSUM_GOOD;

	guest_rings_reset(&guest, 256, row->features | csum, 0);
	assert_int_equal(flags_of_a_frame(row->bytes, good), VIRTIO_NET_HDR_F_DATA_VALID);
	assert_int_equal(flags_of_a_frame(row->bytes, 0), 0);
	assert_int_equal(flags_of_a_frame(row->bytes, RTE_MBUF_F_RX_L4_CKSUM_BAD), 0);
	assert_int_equal(flags_of_a_frame(row->bytes, RTE_MBUF_F_RX_L4_CKSUM_NONE), 0);
	assert_true(virtqueue_set_takes(&guest.vq, 0));
	assert_int_equal(flags_of_a_frame(row->bytes, good), 0);
	assert_true(virtqueue_set_takes(&guest.vq, csum));
	assert_int_equal(flags_of_a_frame(row->bytes, good), VIRTIO_NET_HDR_F_DATA_VALID);
	guest_rings_reset(&guest, 256, row->features, 0);
	assert_int_equal(flags_of_a_frame(row->bytes, good), 0);
}

static void
frames_that_are_too_big_come_last(void **state)
{
	static const struct guest_buffer into = { 1526, 1, W, 0, false, 0 };
	static const uint32_t lengths[6] = { 60, 9000, 61, 62, 1515, 63 };
	static struct hand_frame made[6];
	const struct guest_layout row = { "", MODERN, into };
	struct rte_mbuf *frames[6];
	enum drop_reason rest;

	(void)state;
	guest_rings_reset(&guest, 256, MODERN, 0);
	for (unsigned i = 0; i < 6; i++) {
		frames[i] = frame_make(&made[i], lengths[i], i, 1);
		guest_offer(&guest, &into);
	}
	assert_int_equal(virtqueue_deliver(&guest.vq, frames, 6, &rest), 4);
	assert_int_equal(rest, DROP_TOO_BIG);
	for (unsigned i = 0; i < 6; i++)
		if (lengths[i] < 1515)
			check_taken(&row, &made[i], lengths[i]);
	assert_int_equal(frames[4]->pkt_len + frames[5]->pkt_len, 9000 + 1515);
	for (unsigned i = 0; i < 4; i++)
		assert_true(frames[i]->pkt_len < 64);
}

static void
more_frames_than_a_pass_holds(void **state)
{
	static const struct guest_buffer into = { 256, 1, W, 0, false, 0 };
	static struct hand_frame made;
	struct rte_mbuf *frames[200];
	enum drop_reason rest;

	(void)state;
	guest_rings_reset(&guest, 256, MODERN, 0);
	for (unsigned i = 0; i < 200; i++) {
		frames[i] = frame_make(&made, 60, 0, 1);
		guest_offer(&guest, &into);
	}
	assert_int_equal(virtqueue_deliver(&guest.vq, frames, 200, &rest), 200);
	assert_int_equal(guest.used->idx, 200);
}

static void
a_reservation_that_fails_takes_nothing(void **state)
{
	static const struct guest_buffer into = { 100, 1, W, 0, false, 0 };
	static struct reservation reservation;

	(void)state;
	guest_rings_reset(&guest, 256, MERGEABLE, 65534);
	for (unsigned i = 0; i < 8; i++)
		guest_offer(&guest, &into);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(virtqueue_reserve(&guest.vq, 150, &reservation), 0);
	assert_int_equal(virtqueue_reserve(&guest.vq, 500, &reservation), -ENOBUFS);
	assert_int_equal(virtqueue_reserve(&guest.vq, OFFLOAD_FRAME_BYTES_MAX + 1, &reservation), -EMSGSIZE);
	assert_int_equal(guest.vq.available_next, 4);
	assert_int_equal(virtqueue_reserve(&guest.vq, 150, &reservation), 0);
	assert_int_equal(guest.vq.available_next, 6);
	assert_int_equal(guest.used->idx, 65534);
	assert_int_equal(guest.vq.fault, RING_FAULT_NONE);
}

static void
an_empty_pool_leaves_frames_with_the_guest(void **state)
{
	static const struct guest_buffer from = { 12 + 5000, 1, 0, 0, false, 0 };
	struct rte_mbuf *held[POOL_FRAMES], *frames[4];

	(void)state;
	guest_rings_reset(&guest, 256, MODERN, 0);
	for (unsigned i = 0; i < 3; i++)
		guest_offer(&guest, &from);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, held, POOL_FRAMES), 0);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 4), 0);
	assert_int_equal(guest.used->idx, 0);
	/* Three frames of three buffers each: five buffers are three first ones and one frame's rest. */
	rte_pktmbuf_free_bulk(held, 5);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 4), 1);
	assert_int_equal(guest.used->idx, 1);
	assert_int_equal(guest.vq.available_next, 1);
	rte_pktmbuf_free(frames[0]);
	rte_pktmbuf_free_bulk(held + 5, POOL_FRAMES - 5);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 4), 2);
	rte_pktmbuf_free_bulk(frames, 2);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_FRAMES);
}

/* Attacks. Each breaks a ring that holds four good buffers of two pieces. */
struct attack {
	const char *name;
	void (*strike)(void);
	enum ring_fault fault;
	uint64_t features_off;
};

static struct vring_desc *
first_descriptor(void)
{
	return &guest.descriptors[0];
}

static void
available_index_too_far(void)
{
	guest.available->idx = (uint16_t)(guest.vq.available_next + guest.entries + 1);
}

static void
available_index_backwards(void)
{
	guest.available->idx = (uint16_t)(guest.vq.available_next - 1);
}

static void
available_index_half_around(void)
{
	guest.available->idx = (uint16_t)(guest.vq.available_next + 32768);
}

static void
head_at_the_end(void)
{
	guest.available->ring[guest.vq.available_next & (guest.entries - 1)] = guest.entries;
}

static void
head_far_out(void)
{
	guest.available->ring[guest.vq.available_next & (guest.entries - 1)] = 65535;
}

static void
next_out_of_the_ring(void)
{
	first_descriptor()->next = guest.entries;
}

static void
next_to_itself(void)
{
	*first_descriptor() = (struct vring_desc){ .addr = GUEST_BUFFERS_AT, .len = 1, .next = 0,
						   .flags = VRING_DESC_F_NEXT | (first_descriptor()->flags & W) };
}

static void
next_in_a_circle(void)
{
	for (uint16_t i = 0; i < guest.entries; i++) {
		guest.descriptors[i].len = 1;
		guest.descriptors[i].addr = GUEST_BUFFERS_AT;
		guest.descriptors[i].flags = VRING_DESC_F_NEXT | (first_descriptor()->flags & W);
		guest.descriptors[i].next = (uint16_t)((i + 1) % guest.entries);
	}
}

static void
address_nowhere(void)
{
	first_descriptor()->addr = 0x7fffffff0000;
}

static void
address_null(void)
{
	first_descriptor()->addr = 0;
}

static void
address_before_its_memory(void)
{
	first_descriptor()->addr = GUEST_RINGS_AT - 1;
}

static void
address_over_two_regions(void)
{
	first_descriptor()->addr = GUEST_BUFFERS_AT - 8;
}

static void
address_over_the_end(void)
{
	first_descriptor()->addr = GUEST_BUFFERS_AT + GUEST_BUFFERS_BYTES - 8;
}

static void
address_that_wraps(void)
{
	first_descriptor()->addr = UINT64_MAX - 8;
}

static void
length_that_wraps(void)
{
	first_descriptor()->addr = UINT64_MAX;
	first_descriptor()->len = UINT32_MAX;
}

static void
length_of_all(void)
{
	first_descriptor()->len = UINT32_MAX;
}

static void
length_of_nothing(void)
{
	first_descriptor()->len = 0;
}

static void
second_address_nowhere(void)
{
	guest.descriptors[first_descriptor()->next].addr = 1;
}

static void
second_length_of_nothing(void)
{
	guest.descriptors[first_descriptor()->next].len = 0;
}

static void
direction_wrong(void)
{
	first_descriptor()->flags ^= W;
}

static void
second_direction_wrong(void)
{
	guest.descriptors[first_descriptor()->next].flags ^= W;
}

/* An indirect table in the buffers' memory that holds the first buffer's two pieces. */
static struct vring_desc *
make_indirect(uint32_t bytes)
{
	struct vring_desc *table = guest_at(&guest, GUEST_BUFFERS_AT + 0x40000);

	table[0] = guest.descriptors[0];
	table[1] = guest.descriptors[1];
	table[0].next = 1;
	*first_descriptor() = (struct vring_desc){ .addr = GUEST_BUFFERS_AT + 0x40000, .len = bytes,
						   .flags = VRING_DESC_F_INDIRECT };
	return table;
}

static void
indirect_not_negotiated(void)
{
	make_indirect(32);
}

static void
indirect_of_no_length(void)
{
	make_indirect(0);
}

static void
indirect_of_half_a_descriptor(void)
{
	make_indirect(24);
}

static void
indirect_of_less_than_one(void)
{
	make_indirect(15);
}

static void
indirect_too_long(void)
{
	make_indirect((RING_ENTRIES_MAX + 1) * 16);
}

static void
indirect_as_long_as_can_be(void)
{
	make_indirect(UINT32_MAX);
}

static void
indirect_nowhere(void)
{
	make_indirect(32);
	first_descriptor()->addr = 0x7fffffff0000;
}

static void
indirect_over_the_end(void)
{
	make_indirect(32);
	first_descriptor()->addr = GUEST_BUFFERS_AT + GUEST_BUFFERS_BYTES - 16;
}

static void
indirect_in_indirect(void)
{
	struct vring_desc *table = make_indirect(32);

	table[0] = *first_descriptor();
}

static void
indirect_after_a_piece_of_indirect(void)
{
	struct vring_desc *table = make_indirect(32);

	table[1] = *first_descriptor();
}

static void
indirect_that_goes_on(void)
{
	make_indirect(32);
	first_descriptor()->flags |= VRING_DESC_F_NEXT;
	first_descriptor()->next = 2;
}

static void
indirect_next_out_of_its_table(void)
{
	make_indirect(32)[0].next = 2;
}

static void
indirect_in_a_circle(void)
{
	struct vring_desc *table = make_indirect(32);

	table[0].len = table[1].len = 1;
	table[1].flags |= VRING_DESC_F_NEXT;
	table[1].next = 0;
}

#define ATTACK(strike, fault) { #strike, strike, RING_FAULT_##fault, 0 }

static struct attack attacks[] = {
	ATTACK(available_index_too_far, AVAILABLE_INDEX),
	ATTACK(available_index_backwards, AVAILABLE_INDEX),
	ATTACK(available_index_half_around, AVAILABLE_INDEX),
	ATTACK(head_at_the_end, HEAD),
	ATTACK(head_far_out, HEAD),
	ATTACK(next_out_of_the_ring, NEXT),
	ATTACK(next_to_itself, CHAIN_LENGTH),
	ATTACK(next_in_a_circle, CHAIN_LENGTH),
	ATTACK(address_nowhere, ADDRESS),
	ATTACK(address_null, ADDRESS),
	ATTACK(address_before_its_memory, ADDRESS),
	ATTACK(address_over_two_regions, ADDRESS),
	ATTACK(address_over_the_end, ADDRESS),
	ATTACK(address_that_wraps, ADDRESS),
	ATTACK(length_that_wraps, ADDRESS),
	ATTACK(length_of_all, ADDRESS),
	ATTACK(length_of_nothing, EMPTY),
	ATTACK(second_address_nowhere, ADDRESS),
	ATTACK(second_length_of_nothing, EMPTY),
	ATTACK(direction_wrong, DIRECTION),
	ATTACK(second_direction_wrong, DIRECTION),
	{ "indirect_not_negotiated", indirect_not_negotiated, RING_FAULT_INDIRECT_REFUSED,
	  FEATURE(RING_F_INDIRECT_DESC) },
	ATTACK(indirect_of_no_length, INDIRECT_LENGTH),
	ATTACK(indirect_of_half_a_descriptor, INDIRECT_LENGTH),
	ATTACK(indirect_of_less_than_one, INDIRECT_LENGTH),
	ATTACK(indirect_too_long, INDIRECT_LENGTH),
	ATTACK(indirect_as_long_as_can_be, INDIRECT_LENGTH),
	ATTACK(indirect_nowhere, ADDRESS),
	ATTACK(indirect_over_the_end, ADDRESS),
	ATTACK(indirect_in_indirect, INDIRECT_NESTED),
	ATTACK(indirect_after_a_piece_of_indirect, INDIRECT_NESTED),
	ATTACK(indirect_that_goes_on, INDIRECT_NESTED),
	ATTACK(indirect_next_out_of_its_table, NEXT),
	ATTACK(indirect_in_a_circle, CHAIN_LENGTH),
};

static void
prepare_attack(const struct attack *row, const struct guest_buffer *buffer, uint64_t features)
{
	guest_rings_reset(&guest, 64, features & ~row->features_off, 65533);
	for (unsigned i = 0; i < 4; i++)
		guest_offer(&guest, buffer);
	row->strike();
}

/* The fault sticks, and the rings are left alone from then on: the last store to them would be an index. */
static void
check_detached(const struct attack *row, uint16_t used)
{
	static struct hand_frame made;
	struct rte_mbuf *frames[4] = { frame_make(&made, 60, 0, 1) };
	enum drop_reason rest;

	assert_int_equal(guest.vq.fault, row->fault);
	assert_true(strlen(ring_fault_text(row->fault)) > 0);
	assert_int_equal(guest.used->idx, used);
	guest_rings_reset(&guest, 64, MODERN, 65533);
	guest.vq.fault = row->fault;
	guest_offer(&guest, &(struct guest_buffer){ 2048, 1, W, 0, false, 0 });
	assert_int_equal(virtqueue_deliver(&guest.vq, frames, 1, &rest), 0);
	assert_int_equal(rest, DROP_GUEST_FAULT);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 4), 0);
	assert_int_equal(guest.used->idx, 65533);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_FRAMES);
}

static void
attack_delivery(void **state)
{
	static const struct guest_buffer into = { 1200, 2, W, 0, false, 0 };
	static struct hand_frame made[3];
	struct rte_mbuf *frames[3];
	enum drop_reason rest;

	prepare_attack(*state, &into, MERGEABLE);
	for (unsigned i = 0; i < 3; i++)
		frames[i] = frame_make(&made[i], 1000, i, 1);
	assert_int_equal(virtqueue_deliver(&guest.vq, frames, 3, &rest), 0);
	assert_int_equal(rest, DROP_GUEST_FAULT);
	check_detached(*state, 65533);
}

static uint16_t
let_pass(void *ctx, const struct split_delivery *delivery, uint16_t first, uint16_t n)
{
	(void)ctx;
	assert_true(first + n <= delivery->n);
	return n;
}

static void
attack_split_delivery(void **state)
{
	static const struct guest_buffer into = { 1200, 2, W, 0, false, 0 };
	static const uint16_t offsets[3] = { 14, 60, LOOKAHEAD_SLOT_BYTES };
	static struct hand_frame made[3];
	static struct guest device;
	uint8_t lookahead[3 * LOOKAHEAD_SLOT_BYTES];
	struct rte_mbuf *frames[3];
	struct split_delivery delivery = { frames, offsets, 3, lookahead, let_pass, NULL };
	uint64_t drops[DROP_REASON_COUNT] = { 0 };
	uint16_t got, waiting = 0;

	prepare_attack(*state, &into, MERGEABLE);
	for (unsigned i = 0; i < 3; i++)
		frames[i] = frame_make(&made[i], 1000, i, 1);
	device.rings[GUEST_RECEIVES] = guest.vq;
	got = guest_deliver_split(&device, &delivery, drops, &waiting);
	assert_int_equal(got + drops[DROP_GUEST_FAULT] + waiting, 3);
	guest.vq = device.rings[GUEST_RECEIVES];
	check_detached(*state, 65533);
}

static void
attack_collection(void **state)
{
	static const struct guest_buffer from = { 1200, 2, 0, 0, false, 0 };
	struct rte_mbuf *frames[4];

	prepare_attack(*state, &from, MODERN);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 4), 0);
	check_detached(*state, 65533);
}

/* The same with a reservation: nothing is taken. */
static void
attack_reservation(void **state)
{
	static const struct guest_buffer into = { 1200, 2, W, 0, false, 0 };
	static struct reservation reservation;

	prepare_attack(*state, &into, MERGEABLE);
	assert_int_equal(virtqueue_reserve(&guest.vq, 1000, &reservation), -EFAULT);
	assert_int_equal(guest.vq.available_next, 65533);
	check_detached(*state, 65533);
}

/* A fault in the middle of a burst: nothing of the burst is shown. */
static void
a_fault_after_good_frames(void **state)
{
	static const struct guest_buffer into = { 1200, 1, W, 0, false, 0 };
	static struct hand_frame made[4];
	struct rte_mbuf *frames[4];
	enum drop_reason rest;

	(void)state;
	guest_rings_reset(&guest, 64, MODERN, 0);
	for (unsigned i = 0; i < 4; i++) {
		guest_offer(&guest, &into);
		frames[i] = frame_make(&made[i], 60, i, 1);
	}
	guest.descriptors[2].addr = 0;
	assert_int_equal(virtqueue_deliver(&guest.vq, frames, 4, &rest), 0);
	assert_int_equal(rest, DROP_GUEST_FAULT);
	assert_int_equal(guest.used->idx, 0);
	assert_int_equal(guest.vq.fault, RING_FAULT_ADDRESS);
}

static void
a_long_chain_of_nothing_is_a_fault(void **state)
{
	static const struct guest_buffer from = { 2000, 1000, 0, 0, false, 0 };
	struct rte_mbuf *frames[1];

	(void)state;
	guest_rings_reset(&guest, 2048, MODERN, 0);
	guest_offer(&guest, &from);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 1), 0);
	assert_int_equal(guest.vq.fault, RING_FAULT_CHAIN_LENGTH);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_FRAMES);
}

/* A guest that rewrites its rings while they are read: bytes may be wrong, reads and writes stay in its memory. */
struct restless_guest {
	pthread_t thread;
	_Atomic bool stop;
	uint16_t direction;
};

static void *
rewrite_rings(void *argument)
{
	struct restless_guest *restless = argument;
	static const uint32_t lengths[] = { 2048, 0, 1, 12, 100, UINT32_MAX };
	static const uint64_t addresses[] = { GUEST_BUFFERS_AT, 0, GUEST_BUFFERS_AT + GUEST_BUFFERS_BYTES - 50,
					      UINT64_MAX };

	for (unsigned i = 0; !restless->stop; i++) {
		volatile struct vring_desc *descriptor = &guest.descriptors[i % 64];

		descriptor->len = lengths[i % 7 % RTE_DIM(lengths)];
		descriptor->addr = addresses[i % 11 % RTE_DIM(addresses)];
		descriptor->flags = (uint16_t)(restless->direction ^ (i % 13 == 0 ? 7 : i % 5 == 0));
		descriptor->next = (uint16_t)(i * 31 % 70);
		*(volatile uint16_t *)&guest.available->ring[i % 64] = (uint16_t)(i * 17 % 66);
	}
	return NULL;
}

static void
restless_begin(struct restless_guest *restless, uint16_t direction)
{
	guest_rings_reset(&guest, 64, MERGEABLE, 0);
	*restless = (struct restless_guest){ .direction = direction };
	assert_int_equal(pthread_create(&restless->thread, NULL, rewrite_rings, restless), 0);
}

static void
restless_end(struct restless_guest *restless)
{
	restless->stop = true;
	pthread_join(restless->thread, NULL);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_FRAMES);
}

enum { RESTLESS_BURSTS = 20000 };

static void
rings_change_while_delivering(void **state)
{
	static struct hand_frame made[4];
	struct restless_guest restless;
	struct rte_mbuf *frames[4];
	enum drop_reason rest;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		frames[i] = frame_make(&made[i], 60 + i * 900, i, 1);
	restless_begin(&restless, W);
	for (unsigned burst = 0; burst < RESTLESS_BURSTS; burst++) {
		guest.available->idx = (uint16_t)(guest.vq.available_next + 16);
		virtqueue_deliver(&guest.vq, frames, 4, &rest);
		guest.vq.fault = RING_FAULT_NONE;
	}
	restless_end(&restless);
}

static void
rings_change_while_collecting(void **state)
{
	struct restless_guest restless;
	struct rte_mbuf *frames[8];

	(void)state;
	restless_begin(&restless, 0);
	for (unsigned burst = 0; burst < RESTLESS_BURSTS; burst++) {
		guest.available->idx = (uint16_t)(guest.vq.available_next + 16);
		rte_pktmbuf_free_bulk(frames, virtqueue_collect(&guest.vq, pool, frames, 8));
		guest.vq.fault = RING_FAULT_NONE;
	}
	restless_end(&restless);
}

/* Rings as they may lie after a front-end lied. */
struct ring_case {
	const char *name;
	uint32_t entries;
	uint32_t descriptors, available, used; /* offsets from the ring memory */
	uint64_t features;
	int error;
};

#define END GUEST_RINGS_BYTES

static struct ring_case ring_cases[] = {
	{ "sound", 256, 0, 0x10000, 0x18000, 0, 0 },
	{ "one entry", 1, 0, 0x10000, 0x18000, 0, 0 },
	{ "no entries", 0, 0, 0x10000, 0x18000, 0, -EINVAL },
	{ "no power of two", 255, 0, 0x10000, 0x18000, 0, -EINVAL },
	{ "too many entries", 65536, 0, 0x10000, 0x18000, 0, -EINVAL },
	{ "descriptors misaligned", 256, 8, 0x10000, 0x18000, 0, -EINVAL },
	{ "available ring misaligned", 256, 0, 0x10001, 0x18000, 0, -EINVAL },
	{ "used ring misaligned", 256, 0, 0x10000, 0x18002, 0, -EINVAL },
	{ "descriptors to the last byte", 256, END - 4096, 0x10000, 0x18000, 0, 0 },
	{ "descriptors over the end", 256, END - 4080, 0x10000, 0x18000, 0, -EINVAL },
	{ "descriptors outside", 256, END + 4096, 0x10000, 0x18000, 0, -EINVAL },
	{ "available ring to the last byte", 256, 0, END - 516, 0x18000, 0, 0 },
	{ "available ring over the end", 256, 0, END - 514, 0x18000, 0, -EINVAL },
	{ "no room for the used event", 256, 0, END - 516, 0x18000, FEATURE(RING_F_EVENT_IDX), -EINVAL },
	{ "used ring to the last byte", 256, 0, 0x10000, END - 2052, 0, 0 },
	{ "used ring over the end", 256, 0, 0x10000, END - 2048, 0, -EINVAL },
	{ "no room for the available event", 256, 0, 0x10000, END - 2052, FEATURE(RING_F_EVENT_IDX), -EINVAL },
};

static void
open_ring(void **state)
{
	const struct ring_case *row = *state;
	struct virtqueue_layout layout = {
		.descriptors = (struct vring_desc *)(guest.rings + row->descriptors),
		.available = (struct vring_avail *)(guest.rings + row->available),
		.used = (struct vring_used *)(guest.rings + row->used),
		.entries = row->entries,
		.features = row->features,
		.call = -1,
	};
	struct virtqueue vq;

	assert_int_equal(virtqueue_open(&vq, &layout, &guest.memory), row->error);
	assert_int_equal(vq.open, !row->error);
	assert_int_equal(vq.fault, row->error ? RING_FAULT_LAYOUT : RING_FAULT_NONE);
}

static void
a_closed_ring_is_full(void **state)
{
	static struct hand_frame made;
	static struct reservation reservation;
	struct rte_mbuf *frames[1] = { frame_make(&made, 60, 0, 1) };
	enum drop_reason rest;

	(void)state;
	guest_rings_reset(&guest, 64, MODERN, 0);
	guest.vq.open = false;
	guest_offer(&guest, &(struct guest_buffer){ 2048, 1, W, 0, false, 0 });
	assert_int_equal(virtqueue_deliver(&guest.vq, frames, 1, &rest), 0);
	assert_int_equal(rest, DROP_RING_FULL);
	assert_int_equal(virtqueue_collect(&guest.vq, pool, frames, 1), 0);
	assert_int_equal(virtqueue_reserve(&guest.vq, 60, &reservation), -ENOBUFS);
	assert_int_equal(guest.used->idx, 0);
}

/*
 * Notifications. Bursts of four are delivered; how often is the guest called, asked after each, or after the first and
 * after all?
 */
struct call_case {
	const char *name;
	uint64_t features;
	uint16_t flags;      /* of the available ring */
	int event;           /* used event, relative to the start; -1: follows the used index, as drivers do */
	unsigned bursts;
	unsigned calls;
	unsigned calls_together;
};

static struct call_case call_cases[] = {
	{ "flags: wanted, once a burst", MODERN, 0, 0, 5, 5, 2 },
	{ "flags: not wanted", MODERN, VRING_AVAIL_F_NO_INTERRUPT, 0, 5, 0, 0 },
	{ "event index: next frame, each time", EVENT_IDX, 0, -1, 5, 5, 2 },
	{ "event index: the first flush calls in any case", EVENT_IDX, 0, 1000, 1, 1, 1 },
	{ "event index: passed in the third burst", EVENT_IDX, 0, 9, 5, 2, 2 },
	{ "event index: on the last frame of the second", EVENT_IDX, 0, 7, 2, 2, 2 },
	{ "event index: behind the last frame", EVENT_IDX, 0, 8, 2, 1, 1 },
	{ "event index: behind the last frame, and once around", EVENT_IDX, 0, 9, 16386, 2, 2 },
	{ "event index: flags do not count", EVENT_IDX, VRING_AVAIL_F_NO_INTERRUPT, -1, 5, 5, 2 },
};

static void
notify(void)
{
	rte_smp_mb();
	virtqueue_notify(&guest.vq);
}

static uint64_t
calls_since(void)
{
	uint64_t count;

	return read(guest.vq.call, &count, sizeof(count)) < 0 ? 0 : count;
}

static uint64_t
count_calls(const struct call_case *row, bool together)
{
	const uint16_t base = 65530;
	static struct hand_frame made;
	struct rte_mbuf *frames[4] = { 0 };
	enum drop_reason rest;
	uint64_t count;

	guest_rings_reset(&guest, 64, row->features, base);
	guest.vq.call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	guest.available->flags = row->flags;
	for (unsigned i = 0; i < 64; i++)
		guest_offer(&guest, &(struct guest_buffer){ 2048, 1, W, 0, false, 0 });
	guest.available->idx = base;
	for (unsigned burst = 0; burst < row->bursts; burst++) {
		guest.available->ring[64] = row->event < 0 ? guest.used->idx : (uint16_t)(base + row->event);
		for (unsigned i = 0; i < 4; i++)
			frames[i] = frame_make(&made, 60, 0, 1);
		guest.available->idx += 4;
		assert_int_equal(virtqueue_deliver(&guest.vq, frames, 4, &rest), 4);
		if (!together || !burst)
			notify();
	}
	notify();
	count = calls_since();
	close(guest.vq.call);
	return count;
}

static void
calls(void **state)
{
	const struct call_case *row = *state;

	assert_int_equal(count_calls(row, false), row->calls);
	assert_int_equal(count_calls(row, true), row->calls_together);
}

static void
nothing_delivered_is_no_call(void **state)
{
	static struct hand_frame made;
	struct rte_mbuf *frames[1] = { frame_make(&made, 60, 0, 1) };
	enum drop_reason rest;

	(void)state;
	guest_rings_reset(&guest, 64, MODERN, 0);
	guest.vq.call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(virtqueue_deliver(&guest.vq, frames, 1, &rest), 0);
	notify();
	assert_int_equal(calls_since(), 0);
	close(guest.vq.call);
}

static void
arm_with_flags(void **state)
{
	const struct guest_buffer buffer = { 2048, 1, W, 0, false, 0 };

	(void)state;
	guest_rings_reset(&guest, 64, MODERN, 0);
	virtqueue_disarm(&guest.vq);
	assert_int_equal(guest.used->flags, VRING_USED_F_NO_NOTIFY);
	assert_true(virtqueue_arm(&guest.vq));
	assert_int_equal(guest.used->flags, 0);
	guest_offer(&guest, &buffer);
	assert_false(virtqueue_arm(&guest.vq));
	assert_int_equal(guest.used->flags, VRING_USED_F_NO_NOTIFY);
}

static void
arm_with_event_index(void **state)
{
	const struct guest_buffer buffer = { 2048, 1, W, 0, false, 0 };
	uint16_t *event;

	(void)state;
	guest_rings_reset(&guest, 64, EVENT_IDX, 65530);
	event = (uint16_t *)&guest.used->ring[64];
	virtqueue_disarm(&guest.vq);
	assert_int_equal(*event, 0);
	assert_true(virtqueue_arm(&guest.vq));
	assert_int_equal(*event, 65530);
	assert_int_equal(guest.used->flags, 0);
	guest_offer(&guest, &buffer);
	assert_false(virtqueue_arm(&guest.vq));
}

/* While it migrates, the pages that a guest got, and those of the used ring. */
static void
dirty_pages_are_logged(void **state)
{
	static struct hand_frame made;
	static uint8_t bits[64];
	struct rte_mbuf *frames[1] = { frame_make(&made, 5000, 0, 1) };
	uint64_t page = GUEST_BUFFERS_AT >> DIRTY_PAGE_SHIFT;
	struct virtqueue_layout layout;
	enum drop_reason rest;

	(void)state;
	guest_rings_reset(&guest, 64, MODERN, 0);
	memset(bits, 0, sizeof(bits));
	layout = guest_rings_layout(&guest, 0);
	layout.log = (struct dirty_log){ bits, sizeof(bits) };
	layout.used_log_address = 0x3000;
	assert_int_equal(virtqueue_open(&guest.vq, &layout, &guest.memory), 0);
	guest_offer(&guest, &(struct guest_buffer){ 10240, 1, W, 0, false, 0 });
	assert_int_equal(virtqueue_deliver(&guest.vq, frames, 1, &rest), 1);
	for (uint64_t i = 0; i < 8 * sizeof(bits); i++)
		assert_int_equal(bits[i / 8] >> i % 8 & 1, i == 3 || i == page || i == page + 1);
}

static void
pages_beyond_the_log_are_left_alone(void **state)
{
	uint8_t bits[2] = { 0 };
	const struct dirty_log log = { bits, 1 };

	(void)state;
	dirty_log_add(&log, 0x7000, 0x3000);
	dirty_log_add(&log, UINT64_MAX - 5, 3);
	assert_int_equal(bits[0], 0x80);
	assert_int_equal(bits[1], 0);
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
	ROWS(&all, deliver_every_length, guest_layouts);
	ROWS(&all, steps_give_the_same_bytes, guest_layouts);
	ROWS(&all, collect_every_length, collection_layouts);
	TEST(&all, collect_behind_a_header_descriptor);
	TEST(&all, collect_less_than_a_header);
	TEST(&all, indices_wrap_around);
	TEST(&all, indices_wrap_around_when_collecting);
	TEST(&all, a_full_ring_takes_what_it_can);
	ROWS(&all, checked_frames_are_told, headers);
	TEST(&all, frames_that_are_too_big_come_last);
	TEST(&all, more_frames_than_a_pass_holds);
	TEST(&all, a_reservation_that_fails_takes_nothing);
	TEST(&all, an_empty_pool_leaves_frames_with_the_guest);
	ROWS(&all, attack_delivery, attacks);
	ROWS(&all, attack_split_delivery, attacks);
	ROWS(&all, attack_collection, attacks);
	ROWS(&all, attack_reservation, attacks);
	TEST(&all, a_fault_after_good_frames);
	TEST(&all, a_long_chain_of_nothing_is_a_fault);
	TEST(&all, rings_change_while_delivering);
	TEST(&all, rings_change_while_collecting);
	ROWS(&all, open_ring, ring_cases);
	TEST(&all, a_closed_ring_is_full);
	ROWS(&all, calls, call_cases);
	TEST(&all, nothing_delivered_is_no_call);
	TEST(&all, arm_with_flags);
	TEST(&all, arm_with_event_index);
	TEST(&all, dirty_pages_are_logged);
	TEST(&all, pages_beyond_the_log_are_left_alone);
	failed = row_tests_run("virtqueue", &all);
	guest_rings_destroy(&guest);
	rte_eal_cleanup();
	return failed;
}
