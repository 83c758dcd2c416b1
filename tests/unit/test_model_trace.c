/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace: which queue and filter a frame meets, and why. */
#include "fake_ops.h"
#include "rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct fake fake;

/* A frame from words: destination's last octet, tags as (TPID, VID and priority), then IPv4; padded to length. */
struct frame {
	uint8_t destination;
	uint16_t tpid, tci;
	uint16_t inner_tpid, inner_tci;
	uint32_t length; /* 0: 64 */
};

/*
 * The adapter: queue 1 Running with filter 1 (01, VLAN 10) and filter 2 (01, untagged); queue 2 Set with filter 3
 * (02, VLAN 10); queue 3 Running with filter 4 (01, any) and filter 5 (03, any); default queue with filter 6
 * (04, any); drop queue with filter 7 (05, any) and filter 8 (02, any).
 */
static const struct trace_row {
	const char *name;
	struct frame frame;
	uint16_t queue;
	uint32_t filter;
	const char *reason;
	uint32_t tested;
} trace_rows[] = {
	{ "exact VLAN", { 1, 0x8100, 10, 0, 0, 0 }, 1, 1, "matched", 2 },
	{ "exact VLAN with priority", { 1, 0x8100, 0xe000 | 10, 0, 0, 0 }, 1, 1, "matched", 2 },
	{ "exact VLAN, 802.1ad", { 1, 0x88a8, 10, 0, 0, 0 }, 1, 1, "matched", 2 },
	{ "outermost tag counts", { 1, 0x88a8, 10, 0x8100, 20, 0 }, 1, 1, "matched", 2 },
	{ "inner tag does not", { 1, 0x8100, 20, 0x8100, 10, 0 }, 3, 4, "matched", 4 },
	{ "untagged", { 1, 0, 0, 0, 0, 0 }, 1, 2, "matched", 3 },
	{ "priority tag is untagged", { 1, 0x8100, 0xe000, 0, 0, 0 }, 1, 2, "matched", 3 },
	{ "other VLAN goes on to the next queue", { 1, 0x8100, 11, 0, 0, 0 }, 3, 4, "matched", 4 },
	{ "VLAN 4095 is only any", { 1, 0x8100, 4095, 0, 0, 0 }, 3, 4, "matched", 4 },
	{ "unknown TPID is no tag", { 1, 0x9100, 10, 0, 0, 0 }, 1, 2, "matched", 3 },
	{ "queue in Set is skipped", { 2, 0x8100, 10, 0, 0, 0 }, QUEUE_DROP, 8, "drop_queue", 7 },
	{ "any, untagged", { 3, 0, 0, 0, 0, 0 }, 3, 5, "matched", 5 },
	{ "filter of the default queue", { 4, 0, 0, 0, 0, 0 }, 0, 6, "matched", 1 },
	{ "filter of the drop queue", { 5, 0, 0, 0, 0, 0 }, QUEUE_DROP, 7, "drop_queue", 6 },
	{ "nobody's", { 9, 0, 0, 0, 0, 0 }, 0, FILTER_NONE, "no_match", 7 },
	{ "empty", { 1, 0, 0, 0, 0, UINT32_MAX }, 0, FILTER_NONE, "malformed", 0 },
	{ "13 bytes", { 1, 0, 0, 0, 0, 13 }, 0, FILTER_NONE, "malformed", 0 },
	{ "14 bytes", { 1, 0, 0, 0, 0, 14 }, 1, 2, "matched", 3 },
	{ "tag without its bytes", { 1, 0x8100, 10, 0, 0, 17 }, 0, FILTER_NONE, "malformed", 0 },
	{ "tag with its bytes", { 1, 0x8100, 10, 0, 0, 18 }, 1, 1, "matched", 2 },
	{ "longest untagged", { 1, 0, 0, 0, 0, 1514 }, 1, 2, "matched", 3 },
	{ "too long untagged", { 1, 0, 0, 0, 0, 1515 }, 1, 2, "too_big", 3 },
	{ "longest tagged", { 1, 0x8100, 10, 0, 0, 1518 }, 1, 1, "matched", 2 },
	{ "too long tagged", { 1, 0x8100, 10, 0, 0, 1519 }, 1, 1, "too_big", 2 },
	{ "too long for nobody", { 9, 0, 0, 0, 0, 1515 }, 0, FILTER_NONE, "too_big", 7 },
	{ "too long for the drop queue", { 5, 0, 0, 0, 0, 1515 }, QUEUE_DROP, 7, "too_big", 6 },
};

static void
store16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static uint8_t *
frame_bytes(const struct frame *frame, uint8_t bytes[2048])
{
	uint8_t *at = bytes + 12;

	memset(bytes, 0, 2048);
	mac_store(UINT64_C(0x525400000000) | frame->destination, bytes);
	mac_store(UINT64_C(0x020000000099), bytes + 6);
	if (frame->tpid) {
		store16(at, frame->tpid);
		store16(at + 2, frame->tci);
		at += 4;
	}
	if (frame->inner_tpid) {
		store16(at, frame->inner_tpid);
		store16(at + 2, frame->inner_tci);
		at += 4;
	}
	store16(at, 0x0800);
	return bytes;
}

static void
set(struct queue *queue, uint8_t destination, uint16_t vlan)
{
	const uint64_t mac = UINT64_C(0x525400000000) | destination;
	struct filter *filter;

	assert_int_equal(filter_set(queue, mac, vlan, &fake_alice, &filter, NULL), 0);
}

static struct adapter *
traced_adapter(struct model *model)
{
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 128);
	struct queue *queues[3];

	for (unsigned i = 0; i < 3; i++)
		queues[i] = fake_queue_in(&fake, adapter, i == 1 ? QUEUE_ALLOCATED : QUEUE_PAUSED, 0);
	set(queues[0], 1, 10);
	set(queues[0], 1, VLAN_UNTAGGED);
	set(queues[1], 2, 10);
	set(queues[2], 1, VLAN_ANY);
	set(queues[2], 3, VLAN_ANY);
	set(adapter->queues[0], 4, VLAN_ANY);
	set(adapter->drop_queue, 5, VLAN_ANY);
	set(adapter->drop_queue, 2, VLAN_ANY);
	return adapter;
}

static void
trace_frame(void **state)
{
	const struct trace_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = traced_adapter(model);
	uint32_t length = row->frame.length == UINT32_MAX ? 0 : row->frame.length ? row->frame.length : 64;
	uint8_t bytes[2048], *frame = malloc(length ? length : 1);
	struct trace trace;

	memcpy(frame, frame_bytes(&row->frame, bytes), length);
	fake_log_clear(&fake);
	adapter_trace(adapter, frame, length, &trace);
	assert_int_equal(trace.queue, row->queue);
	assert_int_equal(trace.filter, row->filter);
	assert_string_equal(trace.reason, row->reason);
	assert_int_equal(trace.tested_total, row->tested);
	assert_int_equal(trace.tested_count, row->tested);
	for (uint32_t i = 0; i < trace.tested_count; i++) {
		assert_int_equal(trace.tested[i].match, trace.tested[i].filter == row->filter);
		assert_true(i == 0 || trace.tested[i].queue >= trace.tested[i - 1].queue);
	}
	assert_string_equal(fake.log, "");
	free(frame);
	fake_core_destroy(&fake, model);
}

static void
long_list_keeps_the_first(void **state)
{
	const struct frame nobodys = { .destination = 9 };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = traced_adapter(model);
	uint8_t bytes[2048];
	struct trace trace;

	(void)state;
	for (uint16_t vlan = 1; vlan <= 100; vlan++)
		set(adapter->queues[0], 8, vlan);
	adapter_trace(adapter, frame_bytes(&nobodys, bytes), 64, &trace);
	assert_int_equal(trace.tested_total, 107);
	assert_int_equal(trace.tested_count, TRACE_TESTED_MAX);
	assert_string_equal(trace.reason, "no_match");
	fake_core_destroy(&fake, model);
}

int
main(void)
{
	static struct row_tests tests;

	ROWS(&tests, trace_frame, trace_rows);
	TEST(&tests, long_list_keeps_the_first);
	return row_tests_run("model: trace", &tests);
}
