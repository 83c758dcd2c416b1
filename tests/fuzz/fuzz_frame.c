/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames and filters made of noise: a frame's key, its way through the match table and its split, against the oracle
 * and against what is promised of a split. No byte beyond a frame's end may be read, so each is a heap block.
 */
#include "noise.h"
#include "oracle.h"

#include "frame/key.h"
#include "filter/match.h"
#include "datapath/split.c" /* whole: what it decides with is its own */

#include <stdlib.h>
#include <string.h>

enum {
	FILTERS_MAX = 64,
	QUEUES = 8,          /* 0, the default queue, among them */
	MACS = 16,
	FRAMES_MAX = MATCH_BURST_MAX,
};

struct target {
	struct match *match;
	struct oracle_filter filters[FILTERS_MAX];
	size_t count;
};

static uint16_t
vlan_of(struct noise *noise)
{
	uint8_t kind = noise8(noise);

	if (kind < 0x20)
		return VLAN_UNTAGGED;
	if (kind < 0x40)
		return VLAN_ANY;
	return (uint16_t)(VLAN_FIRST + (kind << 8 | noise8(noise)) % VLAN_LAST);
}

static struct oracle_filter *
oracle_find(struct target *target, uint64_t mac, uint16_t vlan)
{
	for (size_t i = 0; i < target->count; i++)
		if (target->filters[i].mac == mac && target->filters[i].vlan == vlan)
			return &target->filters[i];
	return NULL;
}

static void
both_clear(struct target *target, uint64_t mac, uint16_t vlan)
{
	struct oracle_filter *filter = oracle_find(target, mac, vlan);

	if (match_clear(target->match, mac, vlan) != (filter ? 0 : -ENOENT))
		abort();
	if (filter)
		*filter = target->filters[--target->count];
}

static void
both_set(struct target *target, uint64_t mac, uint16_t vlan, uint16_t queue)
{
	struct oracle_filter *filter = oracle_find(target, mac, vlan);
	bool room = filter || target->count < FILTERS_MAX;

	if (match_set(target->match, mac, vlan, queue) != (room ? 0 : -ENOSPC))
		abort();
	if (!filter && room)
		filter = &target->filters[target->count++];
	if (filter)
		*filter = (struct oracle_filter){ queue, true, mac, vlan };
}

static void
filters_change(struct target *target, struct noise *noise)
{
	for (unsigned changes = noise8(noise); changes && noise->left; changes--) {
		uint8_t what = noise8(noise);
		uint64_t mac = 1 + what % MACS;
		uint16_t vlan = vlan_of(noise);

		if (what / MACS % 4)
			both_set(target, mac, vlan, noise8(noise) % QUEUES);
		else
			both_clear(target, mac, vlan);
	}
}

static void
filters_compare(const struct target *target)
{
	for (size_t i = 0; i < target->count; i++) {
		const struct oracle_filter *filter = &target->filters[i];
		uint16_t queue;

		if (match_get(target->match, filter->mac, filter->vlan, &queue) || queue != filter->queue)
			abort();
	}
}

/* At least the lookahead goes to the host, never more than a slot holds or the frame has. */
static void
split_check(uint8_t *bytes, uint16_t length, uint8_t noise)
{
	struct rte_mbuf frame = { .buf_addr = bytes, .nb_segs = 1, .data_len = length, .pkt_len = length };
	uint32_t lookahead = LOOKAHEAD_BYTES_MIN + noise % (LOOKAHEAD_BYTES_MAX - LOOKAHEAD_BYTES_MIN + 1u);
	uint16_t offset = split_offset(&frame, lookahead);

	if (offset < RTE_MIN(lookahead, length) || offset > RTE_MIN(length, (uint16_t)LOOKAHEAD_SLOT_BYTES))
		abort();
}

struct frame {
	uint8_t *bytes;
	size_t length;
};

static struct frame
frame_take(struct noise *noise)
{
	size_t length = noise8(noise);
	struct frame frame = { .length = length < noise->left ? length : noise->left };

	frame.bytes = malloc(frame.length);
	if (!frame.bytes && frame.length)
		abort();
	if (frame.length)
		memcpy(frame.bytes, noise->at, frame.length);
	noise->at += frame.length;
	noise->left -= frame.length;
	return frame;
}

static void
frames_compare(const struct target *target, struct noise *noise)
{
	struct frame frames[FRAMES_MAX];
	uint64_t keys[FRAMES_MAX];
	uint16_t queues[FRAMES_MAX], n = 0;

	for (; n < FRAMES_MAX && noise->left; n++) {
		frames[n] = frame_take(noise);
		keys[n] = frame_key(frames[n].bytes, (uint32_t)frames[n].length);
		if (keys[n] != FRAME_KEY_MALFORMED)
			split_check(frames[n].bytes, (uint16_t)frames[n].length, noise8(noise));
	}
	match_find_burst(target->match, keys, queues, n);
	for (uint16_t i = 0; i < n; i++) {
		if (queues[i] != oracle_queue(target->filters, target->count, frames[i].bytes, frames[i].length))
			abort();
		free(frames[i].bytes);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct noise noise = { bytes, count };
	struct target target = { .match = match_create(FILTERS_MAX) };

	while (noise.left) {
		filters_change(&target, &noise);
		filters_compare(&target);
		frames_compare(&target, &noise);
	}
	match_destroy(target.match);
	return 0;
}
