/* SPDX-License-Identifier: BSD-3-Clause */
/* What a worker copies into a ring: which frames, how much of them, their tag, and what happens where there is no room. */
#include "datapath/capture.h"
#include "fake_path.h"
#include "frame/offload.h"
#include "packet_pool.h"
#include "rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	POOL_FRAMES = 63,
	POOL_ROOM = 256, /* a longer frame takes several buffers */
	FRAME_BYTES = 600,
	QUEUE = 3,
	SNAP = 9000,
};

static struct rte_mempool *pool;
static struct fake_path fake;
static struct model model;
static struct adapter adapter;
static struct capture capture;
static struct capture_area *area;
static uint8_t content[SNAP];
static int file;

static void
capture_open(const char *filter, uint32_t snap_bytes, struct queue *queue, unsigned places)
{
	const struct capture_wish wish = { .snap_bytes = snap_bytes, .filter = filter };
	struct refusal why;

	capture = (struct capture){ .model = &model, .target = { &adapter, queue, NULL, places } };
	assert_int_equal(path_capture_open(fake.path, &capture, &wish, &file, &why), 0);
	area = mmap(NULL, capture_area_bytes(FAKE_WORKERS), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	assert_ptr_not_equal(area, MAP_FAILED);
	assert_int_equal(area->version, CAPTURE_VERSION);
	assert_int_equal(area->ring_count, FAKE_WORKERS);
	TAILQ_INSERT_TAIL(&model.captures, &capture, of_model);
	fake.view->captures = view_captures(&adapter, &fake.view->capture_count);
	assert_int_equal(fake.view->capture_count, 1);
	assert_string_equal(area->adapters[0], "eth0");
	assert_string_equal(area->reasons[DROP_RING_FULL], drop_reason_word(DROP_RING_FULL));
}

static void
capture_close(void)
{
	TAILQ_REMOVE(&model.captures, &capture, of_model);
	path_capture_close(fake.path, &capture);
	assert_true(area->over);
	munmap(area, capture_area_bytes(FAKE_WORKERS));
	close(file);
	free(fake.view->captures);
	fake.view->captures = NULL;
	fake.view->capture_count = 0;
}

static void
see(enum capture_place place, bool inbound, uint16_t queue, struct rte_mbuf *frame)
{
	const struct passage passage = fake_passage(&fake, 1);

	capture_seen(&passage, place, inbound, queue, &frame, 1);
}

static struct rte_mbuf *
frame_of(uint32_t bytes)
{
	struct rte_mbuf *frame = packet_of(pool, content, bytes);

	assert_non_null(frame);
	return frame;
}

static const struct capture_record *
record_at(uint64_t position)
{
	return (const void *)((const uint8_t *)area + capture_data_offset(FAKE_WORKERS) + CAPTURE_RING_BYTES +
			      position % CAPTURE_RING_BYTES);
}

static uint64_t
head(void)
{
	assert_int_equal(area->rings[0].head, 0); /* another worker's */
	return area->rings[1].head;
}

static void
a_frame_is_copied_from_all_its_buffers(void **state)
{
	struct rte_mbuf *frame = frame_of(FRAME_BYTES);
	const struct capture_record *record;

	(void)state;
	capture_open(NULL, SNAP, NULL, 1 << CAPTURE_WIRE);
	assert_int_equal(frame->nb_segs, 3);
	see(CAPTURE_WIRE, true, QUEUE_DEFAULT, frame);
	record = record_at(0);
	assert_int_equal(head(), capture_record_bytes(FRAME_BYTES));
	assert_int_equal(record->kept_bytes, FRAME_BYTES);
	assert_int_equal(record->frame_bytes, FRAME_BYTES);
	assert_int_equal(record->place, CAPTURE_WIRE);
	assert_int_equal(record->flags, CAPTURE_INBOUND);
	assert_true(record->time_ns > UINT64_C(1000000000) << 30);
	assert_memory_equal(record + 1, content, FRAME_BYTES);
	rte_pktmbuf_free(frame);
	capture_close();
}

static const struct cut_row {
	const char *name;
	uint32_t snap, bytes;
	bool tag, vm;
	uint32_t kept, of;
} cut_rows[] = {
	{ "shorter than the cut", 96, 60, false, false, 60, 60 },
	{ "as long as the cut", 96, 96, false, false, 96, 96 },
	{ "cut in the first buffer", 96, FRAME_BYTES, false, false, 96, FRAME_BYTES },
	{ "cut in the second buffer", 300, FRAME_BYTES, false, false, 300, FRAME_BYTES },
	{ "one byte", 1, FRAME_BYTES, false, false, 1, FRAME_BYTES },
	{ "a tag beside it", SNAP, 60, true, false, 64, 64 },
	{ "a tag beside it, cut in it", 14, 60, true, false, 14, 64 },
	{ "a tag beside it, cut after it", 300, FRAME_BYTES, true, false, 300, FRAME_BYTES + 4 },
	{ "a tag that the VM does not see", SNAP, 60, true, true, 60, 60 },
	{ "too short for a tag", SNAP, 13, true, false, 13, 13 },
};

static void
a_frame_is_cut(void **state)
{
	const struct cut_row *row = *state;
	struct rte_mbuf *frame = frame_of(row->bytes);
	const bool shown = row->of > row->bytes;
	const struct capture_record *record;
	uint8_t expected[SNAP];

	if (row->tag) {
		frame->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		frame->vlan_tci = 0x600a;
	}
	memcpy(expected, content, 12);
	memcpy(expected + 12, "\x81\x00\x60\x0a", shown ? 4 : 0);
	memcpy(expected + 12 + (shown ? 4 : 0), content + 12, sizeof(expected) - 16);
	capture_open(NULL, row->snap, NULL, 1 << CAPTURE_WIRE | 1 << CAPTURE_QUEUE);
	see(row->vm ? CAPTURE_QUEUE : CAPTURE_WIRE, true, QUEUE, frame);
	record = record_at(0);
	assert_int_equal(record->kept_bytes, row->kept);
	assert_int_equal(record->frame_bytes, row->of);
	assert_memory_equal(record + 1, expected, row->kept);
	assert_int_equal(!!(record->flags & CAPTURE_HAS_VLAN), row->tag && !shown);
	if (row->tag)
		assert_int_equal(record->vlan, 10);
	rte_pktmbuf_free(frame);
	capture_close();
}

/* One record after another, over the end of the ring; none of them is in two pieces. */
static void
a_ring_goes_round(void **state)
{
	struct rte_mbuf *frame = frame_of(FRAME_BYTES);
	const uint32_t size = capture_record_bytes(FRAME_BYTES);
	uint64_t at = 0;

	(void)state;
	capture_open(NULL, SNAP, NULL, 1 << CAPTURE_WIRE);
	for (unsigned i = 0; i < 3 * CAPTURE_RING_BYTES / size; i++) {
		const uint32_t to_end = CAPTURE_RING_BYTES - at % CAPTURE_RING_BYTES;

		see(CAPTURE_WIRE, true, QUEUE_DEFAULT, frame);
		if (to_end < size) {
			assert_int_equal(record_at(at)->place, CAPTURE_PADDING);
			at += to_end;
		}
		assert_int_equal(head(), at + size);
		assert_int_equal(record_at(at)->kept_bytes, FRAME_BYTES);
		assert_memory_equal(record_at(at) + 1, content, FRAME_BYTES);
		at += size;
		area->rings[1].tail = at;
	}
	assert_true(at > 2 * (uint64_t)CAPTURE_RING_BYTES);
	assert_int_equal(area->rings[1].missed, 0);
	rte_pktmbuf_free(frame);
	capture_close();
}

static void
what_finds_no_room_is_counted(void **state)
{
	struct rte_mbuf *frame = frame_of(FRAME_BYTES);
	const unsigned fit = CAPTURE_RING_BYTES / capture_record_bytes(FRAME_BYTES);

	(void)state;
	capture_open(NULL, SNAP, NULL, 1 << CAPTURE_WIRE);
	for (unsigned i = 0; i < fit + 5; i++)
		see(CAPTURE_WIRE, true, QUEUE_DEFAULT, frame);
	assert_int_equal(area->rings[1].missed, 5);
	assert_int_equal(head(), fit * capture_record_bytes(FRAME_BYTES));
	area->rings[1].tail = head();
	see(CAPTURE_WIRE, true, QUEUE_DEFAULT, frame);
	assert_int_equal(area->rings[1].missed, 5);
	rte_pktmbuf_free(frame);
	capture_close();
}

static const struct lie_row {
	const char *name;
	uint64_t tail, head, missed;
} lie_rows[] = {
	{ "ahead of what was written", 1, 0, 0 },
	{ "far ahead", UINT64_C(1) << 63, 0, 0 },
	{ "behind the start", UINT64_MAX, 0, 0 },
	{ "a head of its own", 0, 12345, 99 },
};

/* Neighbours in memory are seen to by the sanitizer. */
static void
a_reader_that_lies(void **state)
{
	const struct lie_row *row = *state;
	struct rte_mbuf *frame = frame_of(FRAME_BYTES);

	capture_open(NULL, SNAP, NULL, 1 << CAPTURE_WIRE);
	for (unsigned i = 0; i < 3 * CAPTURE_RING_BYTES / capture_record_bytes(FRAME_BYTES); i++) {
		area->rings[1].tail = row->tail;
		area->rings[1].head = row->head;
		area->rings[1].missed = row->missed;
		area->ring_count = (uint32_t)row->tail;
		see(CAPTURE_WIRE, true, QUEUE_DEFAULT, frame);
	}
	assert_true(area->rings[1].missed > 0);
	rte_pktmbuf_free(frame);
	capture_close();
}

static const struct place_row {
	const char *name;
	enum capture_place place;
	uint16_t queue;
	bool seen;
} place_rows[] = {
	{ "its queue", CAPTURE_QUEUE, QUEUE, true },
	{ "dropped of its queue", CAPTURE_DROPPED, QUEUE, true },
	{ "another queue", CAPTURE_QUEUE, QUEUE + 1, false },
	{ "dropped of another queue", CAPTURE_DROPPED, QUEUE_DEFAULT, false },
	{ "the wire", CAPTURE_WIRE, QUEUE_DEFAULT, false },
};

static void
only_what_it_watches(void **state)
{
	const struct place_row *row = *state;
	struct queue queue = { .id = QUEUE };
	struct rte_mbuf *frame = frame_of(60);

	capture_open(NULL, SNAP, &queue, 1 << CAPTURE_QUEUE | 1 << CAPTURE_DROPPED);
	see(row->place, false, row->queue, frame);
	assert_int_equal(head() > 0, row->seen);
	if (row->seen)
		assert_int_equal(record_at(0)->queue, row->queue);
	rte_pktmbuf_free(frame);
	capture_close();
}

/* As tcpdump -ddd prints "vlan" and "ether proto 0x88b5", for Ethernet. */
#define IS_TAGGED "7,40 0 0 12,21 3 0 33024,21 2 0 34984,21 1 0 37120,6 0 0 0,6 0 0 262144,6 0 0 0"
#define IS_TEST "4,40 0 0 12,21 0 1 34997,6 0 0 262144,6 0 0 0"

static const struct filter_row {
	const char *name, *filter;
	bool tag, passes;
} filter_rows[] = {
	{ "its ethertype", IS_TEST, false, true },
	{ "its ethertype is behind a tag", IS_TEST, true, false },
	{ "a tag beside it", IS_TAGGED, true, true },
	{ "no tag", IS_TAGGED, false, false },
	{ "all", "1,6 0 0 262144", false, true },
	{ "none", "1,6 0 0 0", false, false },
	{ "commas at the end", "1,6 0 0 262144,", false, true },
};

static void
a_filter_decides(void **state)
{
	const struct filter_row *row = *state;
	struct rte_mbuf *frame = frame_of(60);

	if (row->tag) {
		frame->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		frame->vlan_tci = 10;
	}
	capture_open(row->filter, SNAP, NULL, 1 << CAPTURE_WIRE);
	see(CAPTURE_WIRE, true, QUEUE_DEFAULT, frame);
	assert_int_equal(head() > 0, row->passes);
	assert_int_equal(area->rings[1].missed, 0);
	rte_pktmbuf_free(frame);
	capture_close();
}

static const struct bad_row {
	const char *name, *filter;
} bad_rows[] = {
	{ "empty", "" },
	{ "no number", "x" },
	{ "no instruction", "1" },
	{ "none at all", "0," },
	{ "too few fields", "1,6 0 0" },
	{ "too many fields", "1,6 0 0 0 0" },
	{ "too few instructions", "2,6 0 0 0" },
	{ "too many instructions", "1,6 0 0 0,6 0 0 0" },
	{ "more than there may be", "4097,6 0 0 0" },
	{ "a jump out of it", "1,21 9 9 0" },
	{ "no return", "1,40 0 0 0" },
	{ "a code that is none", "1,65535 0 0 0" },
	{ "a jump that is too far for its field", "2,21 256 0 0,6 0 0 0" },
};

static void
a_program_that_is_none(void **state)
{
	const struct bad_row *row = *state;
	const struct capture_wish wish = { .snap_bytes = SNAP, .filter = row->filter };
	struct refusal why;
	int none = -1;

	assert_int_equal(path_capture_open(fake.path, &capture, &wish, &none, &why), -EINVAL);
	assert_non_null(strstr(why.text, "filter must be a program"));
}

static void
drops_are_counted_and_shown(void **state)
{
	const struct passage passage = fake_passage(&fake, 1);
	struct lane *lane = view_lane(fake.view, 1, passage.worker);
	struct rte_mbuf *frames[2] = { frame_of(60), frame_of(90) };
	const uint64_t before = lane->counters.drops[DROP_RING_FULL];

	(void)state;
	count_dropped(&passage, lane, DROP_RING_FULL, frames, 2);
	capture_open(NULL, SNAP, NULL, 1 << CAPTURE_DROPPED);
	count_dropped(&passage, lane, DROP_RING_FULL, frames, 2);
	assert_int_equal(lane->counters.drops[DROP_RING_FULL], before + 4);
	assert_int_equal(head(), capture_record_bytes(60) + capture_record_bytes(90));
	assert_int_equal(record_at(0)->reason, DROP_RING_FULL);
	assert_int_equal(record_at(0)->queue, 1);
	rte_pktmbuf_free_bulk(frames, 2);
	capture_close();
}

static void
the_area_cannot_shrink(void **state)
{
	(void)state;
	capture_open(NULL, SNAP, NULL, 1 << CAPTURE_WIRE);
	assert_int_equal(ftruncate(file, 0), -1);
	assert_int_equal(errno, EPERM);
	capture_close();
}

int
main(void)
{
	static const struct vm_ops vm_ops;
	static const struct nic_ops nic_ops;
	static struct row_tests tests;
	int failed;

	pool = packet_pool_start(POOL_FRAMES, POOL_ROOM);
	if (!pool)
		return 1;
	for (unsigned i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 7);
	memcpy(content + 12, "\x88\xb5", 2);
	TAILQ_INIT(&model.captures);
	adapter.model = &model;
	snprintf(adapter.config.name, sizeof(adapter.config.name), "eth0");
	fake_path_build(&fake, &vm_ops, &nic_ops, pool);
	TEST(&tests, a_frame_is_copied_from_all_its_buffers);
	ROWS(&tests, a_frame_is_cut, cut_rows);
	TEST(&tests, a_ring_goes_round);
	TEST(&tests, what_finds_no_room_is_counted);
	ROWS(&tests, a_reader_that_lies, lie_rows);
	ROWS(&tests, only_what_it_watches, place_rows);
	ROWS(&tests, a_filter_decides, filter_rows);
	ROWS(&tests, a_program_that_is_none, bad_rows);
	TEST(&tests, drops_are_counted_and_shown);
	TEST(&tests, the_area_cannot_shrink);
	failed = row_tests_run("capture", &tests);
	fake_path_free(&fake);
	rte_mempool_free(pool);
	rte_eal_cleanup();
	return failed;
}
