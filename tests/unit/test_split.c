/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Delivery in two parts beside delivery of whole frames, into guests that are twins: whatever the length of a frame,
 * its pieces, the place of the split and the layout of the buffers, both guests hold the same bytes in the end.
 */
#include "guest_rings.h"
#include "vhost/guest.h"

#include "rows.h"

#include <rte_mbuf.h>
#include <stdlib.h>
#include <string.h>

enum {
	FRAME_MIN = 60,
	FRAME_MAX = 9018,
	PATTERN_SHIFTS = 4096,
	SEGMENTS_MAX = 3,
	BATCH = 63,           /* bursts of 1, 2, 4 and so on */
	ENTRIES = 2048,
	LOG_BYTES = 64,
	USED_LOG_AT = 0x3000,
	MIX_MAX = 32,
};

/* What a pass over all lengths varies from batch to batch. */
enum {
	IN_SEGMENTS = 1 << 0,
	LOGGED = 1 << 1,
	REFUSING = 1 << 2,
	VARIANTS = 1 << 3,
	PASSES = 3,
};

struct twin {
	struct guest_rings guest;
	uint8_t log[LOG_BYTES];
};

static struct twin whole, split;
static struct guest device; /* split's */
static uint8_t pattern[FRAME_MAX + PATTERN_SHIFTS];
static uint8_t lookahead[BATCH * LOOKAHEAD_SLOT_BYTES];

/* What the rings are filled with, in turn. */
struct mix {
	uint64_t features;
	const struct guest_buffer *buffers[MIX_MAX];
	unsigned count;
	uint32_t frame_max;   /* a longer one is too big */
};

struct frame {
	struct rte_mbuf segments[SEGMENTS_MAX];
	const uint8_t *bytes;
	uint16_t offset;      /* of the split */
	bool refused;
};

struct batch {
	struct frame frames[BATCH];
	uint16_t count;
};

/* In so many segments; the first holds the first part, and no more than it in every other frame. */
static void
frame_make(struct frame *frame, const uint8_t *bytes, uint32_t length, uint16_t offset, unsigned segments)
{
	uint32_t at = 0, first = offset + (length % 2 ? (length - offset) / segments : 0);

	memset(frame, 0, sizeof(*frame));
	frame->bytes = bytes;
	frame->offset = offset;
	frame->segments[0].pkt_len = length;
	frame->segments[0].nb_segs = (uint16_t)segments;
	frame->segments[0].ol_flags = length % 3 ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
	for (unsigned i = 0; i < segments; i++) {
		struct rte_mbuf *segment = &frame->segments[i];
		uint32_t rest = length - at, piece = i == segments - 1 ? rest : i ? rest / 2 : first;

		segment->buf_addr = (void *)(uintptr_t)(bytes + at);
		segment->data_len = (uint16_t)piece;
		segment->next = i == segments - 1 ? NULL : segment + 1;
		at += piece;
	}
}

/* In short frames also at the end and one byte before it. */
static uint16_t
offset_of(uint32_t length, unsigned pass)
{
	static const uint16_t offsets[] = { 14, 15, 42, 60, 64, 65, 128, 129, 255, 384, LOOKAHEAD_SLOT_BYTES };
	uint32_t offset = offsets[(length + pass * 5) % RTE_DIM(offsets)];

	if (length % 4 == pass && length <= LOOKAHEAD_SLOT_BYTES)
		return (uint16_t)(length - 1);
	return (uint16_t)RTE_MIN(offset, length);
}

/* Frames of successive lengths. */
static void
batch_make(struct batch *batch, uint32_t first, uint32_t last, unsigned pass, unsigned variant)
{
	batch->count = 0;
	for (uint32_t length = first; length <= last && batch->count < BATCH; length++) {
		unsigned segments = variant & IN_SEGMENTS ? 2 + length / 2 % 2 : 1;
		struct frame *frame = &batch->frames[batch->count++];

		frame_make(frame, pattern + length * 13 % PATTERN_SHIFTS, length, offset_of(length, pass), segments);
		frame->refused = variant & REFUSING && (length + length / 7) % 3 == 0;
	}
}

static bool
has_room(const struct guest_rings *guest, const struct guest_buffer *buffer)
{
	return guest->descriptors_taken + buffer->pieces + 1u <= guest->entries &&
	       guest->buffers_taken + buffer->bytes <= GUEST_BUFFERS_BYTES;
}

static void
twin_reset(struct twin *twin, const struct mix *mix, uint16_t base, bool logged)
{
	struct virtqueue_layout layout;

	guest_rings_reset(&twin->guest, ENTRIES, mix->features, base);
	memset(twin->log, 0, sizeof(twin->log));
	for (unsigned i = 0; has_room(&twin->guest, mix->buffers[i % mix->count]); i++)
		guest_offer(&twin->guest, mix->buffers[i % mix->count]);
	layout = guest_rings_layout(&twin->guest, base);
	if (logged) {
		layout.log = (struct dirty_log){ twin->log, sizeof(twin->log) };
		layout.used_log_address = USED_LOG_AT;
	}
	assert_int_equal(virtqueue_open(&twin->guest.vq, &layout, &twin->guest.memory), 0);
}

static void
twins_reset(const struct mix *mix, uint16_t base, bool logged)
{
	twin_reset(&whole, mix, base, logged);
	twin_reset(&split, mix, base, logged);
	device.rings[GUEST_RECEIVES] = split.guest.vq;
}

static void
same_bytes(const char *what, const uint8_t *a, const uint8_t *b, size_t bytes)
{
	if (!memcmp(a, b, bytes))
		return;
	for (size_t i = 0; i < bytes; i++)
		if (a[i] != b[i])
			fail_msg("%s: byte %zu is %02x after whole, %02x after split delivery", what, i, a[i], b[i]);
}

static void
twins_compare(void)
{
	const struct virtqueue *vq = &device.rings[GUEST_RECEIVES];

	same_bytes("rings", whole.guest.rings, split.guest.rings, GUEST_RINGS_BYTES);
	same_bytes("buffers", whole.guest.buffers, split.guest.buffers, GUEST_BUFFERS_BYTES);
	same_bytes("log", whole.log, split.log, LOG_BYTES);
	assert_int_equal(vq->available_next, whole.guest.vq.available_next);
	assert_int_equal(vq->used_next, whole.guest.vq.used_next);
	assert_int_equal(vq->fault, RING_FAULT_NONE);
	assert_int_equal(whole.guest.vq.fault, RING_FAULT_NONE);
}

/* Only the first part is looked at, and it is the frame's. */
static uint16_t
inspect(void *ctx, const struct split_delivery *delivery, uint16_t first, uint16_t n)
{
	const struct frame *frames = (const struct frame *)ctx + first;

	assert_in_range(n, 1, INSPECT_BURST_MAX);
	for (uint16_t i = 0; i < n; i++) {
		assert_int_equal(delivery->offsets[first + i], frames[i].offset);
		assert_memory_equal(split_slot(delivery, first + i), frames[i].bytes, frames[i].offset);
		if (frames[i].refused)
			return i;
	}
	return n;
}

static uint16_t
deliver_split(struct frame *frames, uint16_t n, struct rte_mbuf **pointers, uint64_t *drops, uint16_t *waiting)
{
	uint16_t offsets[BATCH];
	struct split_delivery delivery = { .frames = pointers, .offsets = offsets, .n = n, .lookahead = lookahead,
					   .inspect = inspect, .ctx = frames };

	for (uint16_t i = 0; i < n; i++) {
		pointers[i] = frames[i].segments;
		offsets[i] = frames[i].offset;
	}
	return guest_deliver_split(&device, &delivery, drops, waiting);
}

/* The frames that pass. @return how many the guest got. */
static uint16_t
deliver_whole(struct frame *frames, uint16_t n, uint16_t *passing, enum drop_reason *rest)
{
	struct rte_mbuf *pointers[BATCH];

	*passing = 0;
	for (uint16_t i = 0; i < n; i++)
		if (!frames[i].refused)
			pointers[(*passing)++] = frames[i].segments;
	return virtqueue_deliver(&whole.guest.vq, pointers, *passing, rest);
}

/* What the guest reads is what was sent. */
static void
frame_arrived(const struct frame *frame)
{
	static uint8_t got[FRAME_MAX + sizeof(struct virtio_net_hdr_v1)];
	uint32_t header = guest_header_bytes(split.guest.features), length = frame->segments[0].pkt_len;

	assert_int_equal(guest_take(&split.guest, got, sizeof(got)), header + length);
	assert_memory_equal(got + header, frame->bytes, length);
}

/* @return how many of the frames are done with: all, unless the rings are full. */
static uint16_t
deliver_burst(struct frame *frames, uint16_t n)
{
	uint64_t drops[DROP_REASON_COUNT] = { 0 };
	struct rte_mbuf *pointers[BATCH];
	enum drop_reason rest;
	uint16_t passing, got = deliver_whole(frames, n, &passing, &rest), done = 0, waiting = 0;

	assert_int_equal(deliver_split(frames, n, pointers, drops, &waiting), got);
	assert_int_equal(split.guest.used->idx, whole.guest.used->idx);
	for (uint16_t i = 0; i < got; done++) {
		if (frames[done].refused)
			continue;
		assert_ptr_equal(pointers[i++], frames[done].segments);
		frame_arrived(&frames[done]);
	}
	assert_int_equal(got + drops[DROP_VLAN_MISMATCH] + waiting, n);
	if (got == passing) {
		assert_int_equal(waiting, 0);
		return n;
	}
	assert_int_equal(rest, DROP_NO_BUFFER);
	assert_true(waiting > 0);
	for (uint16_t i = 0; i < waiting; i++)
		assert_ptr_equal(pointers[got + i], frames[n - waiting + i].segments);
	return done;
}

/* @return how many of the frames are done with. */
static uint16_t
deliver_batch(const struct mix *mix, struct batch *batch, unsigned variant)
{
	uint16_t done = 0;

	twins_reset(mix, (uint16_t)(65500 + batch->frames[0].segments[0].pkt_len), variant & LOGGED);
	for (uint16_t burst = 1; done < batch->count; burst *= 2) {
		uint16_t n = RTE_MIN(burst, (uint16_t)(batch->count - done)),
			 some = deliver_burst(batch->frames + done, n);

		done += some;
		if (some < n)
			break;
	}
	twins_compare();
	return done;
}

static void
deliver_every_length(const struct mix *mix)
{
	static struct batch batch;

	for (unsigned pass = 0; pass < PASSES; pass++)
		for (uint32_t length = FRAME_MIN, turn = pass * 3; length <= mix->frame_max; turn++) {
			uint16_t done;

			batch_make(&batch, length, mix->frame_max, pass, turn % VARIANTS);
			done = deliver_batch(mix, &batch, turn % VARIANTS);
			assert_true(done > 0);
			length += done;
		}
}

static struct mix
mix_of(const struct guest_layout *layout)
{
	struct mix mix = { layout->features, { &layout->buffer }, 1, FRAME_MAX };

	while (mix.frame_max && !guest_layout_buffers(layout, mix.frame_max))
		mix.frame_max--;
	return mix;
}

static void
every_length(void **state)
{
	struct mix mix = mix_of(*state);

	deliver_every_length(&mix);
}

/* Refused in the same way, and nothing is placed. */
static void
too_big(void **state)
{
	struct mix mix = mix_of(*state);
	enum drop_reason rest;
	uint16_t passing, waiting = 0;

	twins_reset(&mix, 0, false);
	for (uint32_t length = RTE_MAX((uint32_t)FRAME_MIN, mix.frame_max + 1); length <= FRAME_MAX; length++) {
		uint64_t drops[DROP_REASON_COUNT] = { 0 };
		struct rte_mbuf *pointer;
		struct frame frame;

		frame_make(&frame, pattern, length, offset_of(length, 0), 1);
		assert_int_equal(deliver_whole(&frame, 1, &passing, &rest), 0);
		assert_int_equal(rest, DROP_TOO_BIG);
		assert_int_equal(deliver_split(&frame, 1, &pointer, drops, &waiting), 0);
		assert_int_equal(waiting, 0);
		assert_int_equal(drops[DROP_TOO_BIG], 1);
	}
	assert_int_equal(split.guest.used->idx, 0);
	twins_compare();
}

/* Frames that are too big among others: all others arrive. */
static void
too_big_among_others(void **state)
{
	struct mix mix = mix_of(*state);
	uint64_t drops[DROP_REASON_COUNT] = { 0 };
	struct rte_mbuf *pointers[12];
	static struct frame frames[12];
	enum drop_reason rest;
	uint16_t passing, waiting = 0, got;

	if (mix.frame_max < FRAME_MIN || mix.frame_max == FRAME_MAX)
		return;
	for (uint16_t i = 0; i < RTE_DIM(frames); i++)
		frame_make(&frames[i], pattern + i, i % 5 % 2 ? FRAME_MAX - i : FRAME_MIN + i, 14, 1);
	twins_reset(&mix, 0, false);
	got = deliver_whole(frames, RTE_DIM(frames), &passing, &rest);
	assert_int_equal(rest, DROP_TOO_BIG);
	assert_int_equal(deliver_split(frames, RTE_DIM(frames), pointers, drops, &waiting), got);
	assert_int_equal(got + drops[DROP_TOO_BIG], RTE_DIM(frames));
	assert_int_equal(waiting, 0);
	for (uint16_t i = 0; i < got; i++)
		assert_true(pointers[i]->pkt_len <= mix.frame_max);
	twins_compare();
}

/* Who comes when the rings are full finds them full, even if a shorter frame would still fit. */
static void
full_rings(void **state)
{
	const struct mix mix = mix_of(*state);
	static struct frame frames[12];

	if (mix.frame_max < FRAME_MIN)
		return;
	for (uint16_t i = 0; i < RTE_DIM(frames); i++) {
		frame_make(&frames[i], pattern + i, i % 2 ? (uint32_t)FRAME_MIN : mix.frame_max - i, 14, 1 + i % 3u);
		frames[i].refused = i % 5 == 3;
	}
	twins_reset(&mix, 0, false);
	while (deliver_burst(frames, RTE_DIM(frames)) == RTE_DIM(frames))
		continue;
	twins_compare();
}

/* Each frame is of one byte that nothing else has. */
static uint16_t
inspect_before_the_guest_has_it(void *ctx, const struct split_delivery *delivery, uint16_t first, uint16_t n)
{
	for (uint16_t i = first; i < first + n; i++)
		assert_null(memchr(split.guest.buffers, split_slot(delivery, i)[0], GUEST_BUFFERS_BYTES));
	return inspect(ctx, delivery, first, n);
}

static void
nothing_before_inspection(void **state)
{
	enum { FRAMES = 24, LENGTH = 300, MARK = 0x40 };
	const struct mix mix = mix_of(*state);
	static uint8_t bytes[FRAMES][LENGTH];
	static struct frame frames[FRAMES];
	struct rte_mbuf *pointers[FRAMES];
	uint16_t offsets[FRAMES], waiting = 0;
	uint64_t drops[DROP_REASON_COUNT] = { 0 };
	struct split_delivery delivery = { .frames = pointers, .offsets = offsets, .n = FRAMES, .lookahead = lookahead,
					   .inspect = inspect_before_the_guest_has_it, .ctx = frames };

	for (uint16_t i = 0; i < FRAMES; i++) {
		memset(bytes[i], MARK + i, LENGTH);
		offsets[i] = offset_of(LENGTH, i);
		frame_make(&frames[i], bytes[i], LENGTH, offsets[i], 1 + i / 8u);
		frames[i].refused = i % 3 == 1 || i == 3;
		pointers[i] = frames[i].segments;
	}
	twins_reset(&mix, 0, false);
	guest_deliver_split(&device, &delivery, drops, &waiting);
	for (uint16_t i = 0; i < FRAMES; i++) {
		bool expected = !frames[i].refused && mix.frame_max >= LENGTH;

		assert_int_equal(memchr(split.guest.buffers, MARK + i, GUEST_BUFFERS_BYTES) != NULL, expected);
	}
}

/* Buffers of every layout that goes with these features, one after the other. */
struct mix_case {
	const char *name;
	uint64_t features;
};

static struct mix_case mix_cases[] = {
	{ "mix, modern", MODERN },
	{ "mix, modern, told of checksums", MODERN | FEATURE(NET_F_GUEST_CSUM) },
	{ "mix, legacy header", 0 },
	{ "mix, mergeable", MERGEABLE },
	{ "mix, mergeable, told of checksums", MERGEABLE | FEATURE(NET_F_GUEST_CSUM) },
};

static void
mixed_layouts(void **state)
{
	const struct mix_case *row = *state;
	struct mix mix = { .features = row->features, .frame_max = FRAME_MAX };

	for (unsigned i = 0; i < GUEST_LAYOUTS; i++) {
		const struct guest_layout *layout = &guest_layouts[i];
		bool large = layout->buffer.bytes > FRAME_MAX || row->features & FEATURE(NET_F_MRG_RXBUF);

		if (layout->features == (row->features & ~FEATURE(NET_F_GUEST_CSUM)) && large)
			mix.buffers[mix.count++] = &layout->buffer;
	}
	assert_true(mix.count > 3);
	deliver_every_length(&mix);
}

static void
pattern_make(void)
{
	uint32_t state = 1;

	for (unsigned i = 0; i < sizeof(pattern); i++) {
		state = state * 1664525 + 1013904223;
		pattern[i] = (uint8_t)(state >> 24);
	}
}

int
main(void)
{
	static struct row_tests all;
	int failed;

	pattern_make();
	guest_rings_create(&whole.guest);
	guest_rings_create(&split.guest);
	ROWS(&all, every_length, guest_layouts);
	ROWS(&all, mixed_layouts, mix_cases);
	ROWS(&all, too_big, guest_layouts);
	ROWS(&all, too_big_among_others, guest_layouts);
	ROWS(&all, full_rings, guest_layouts);
	ROWS(&all, nothing_before_inspection, guest_layouts);
	failed = row_tests_run("split", &all);
	guest_rings_destroy(&whole.guest);
	guest_rings_destroy(&split.guest);
	return failed;
}
