/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the filters would do with a frame: a linear scan written straight from vmq-spec §3, on purpose without
 * the classifier, so that each can be checked against the other.
 */
#include "model/model.h"

#include <string.h>

enum {
	HEADER_BYTES = 14,
	TAG_BYTES = 4,
	TPID_8021Q = 0x8100,
	TPID_8021AD = 0x88a8,
	VLAN_ID_MASK = 0x0fff,
};

/* What the filters see of a frame, and how much of it is header. */
struct header {
	uint64_t mac;
	uint16_t vlan;                /* outermost tag; VLAN_UNTAGGED: none, or id 0 */
	uint32_t bytes;               /* Ethernet header and outermost tag */
};

static uint16_t
load16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static bool
is_tpid(uint16_t ethertype)
{
	return ethertype == TPID_8021Q || ethertype == TPID_8021AD;
}

/* @return false: too short for the header that it claims. */
static bool
header_parse(const uint8_t *frame, uint32_t length, struct header *header)
{
	header->vlan = VLAN_UNTAGGED;
	header->bytes = HEADER_BYTES;
	if (length < HEADER_BYTES)
		return false;
	header->mac = mac_load(frame);
	if (!is_tpid(load16(frame + 12)))
		return true;
	if (length < HEADER_BYTES + TAG_BYTES)
		return false;
	header->vlan = load16(frame + 14) & VLAN_ID_MASK;
	header->bytes += TAG_BYTES;
	return true;
}

static bool
filter_matches(const struct filter *filter, const struct header *header)
{
	return filter->mac == header->mac && (filter->vlan == VLAN_ANY || filter->vlan == header->vlan);
}

static void
trace_note(struct trace *trace, const struct filter *filter, bool match)
{
	const struct trace_test test = { .queue = filter->queue->id, .filter = filter->id, .match = match };

	trace->tested_total++;
	if (trace->tested_count < TRACE_TESTED_MAX)
		trace->tested[trace->tested_count++] = test;
}

static const struct filter *
queue_match(const struct queue *queue, const struct header *header, struct trace *trace)
{
	const struct filter *filter;

	TAILQ_FOREACH(filter, &queue->filters, of_queue) {
		const bool match = filter_matches(filter, header);

		trace_note(trace, filter, match);
		if (match)
			return filter;
	}
	return NULL;
}

static const struct filter *
adapter_match(const struct adapter *adapter, const struct header *header, struct trace *trace)
{
	const struct filter *filter = NULL;

	for (struct queue *queue = queue_next(adapter, NULL); queue && !filter; queue = queue_next(adapter, queue)) {
		if (queue->state == QUEUE_RUNNING)
			filter = queue_match(queue, header, trace);
	}
	return filter;
}

void
adapter_trace(const struct adapter *adapter, const uint8_t *frame, uint32_t length, struct trace *trace)
{
	const struct filter *filter;
	struct header header;

	memset(trace, 0, sizeof(*trace));
	trace->queue = QUEUE_DEFAULT;
	trace->reason = drop_reason_word(DROP_MALFORMED);
	if (!header_parse(frame, length, &header))
		return;
	filter = adapter_match(adapter, &header, trace);
	trace->reason = filter ? "matched" : "no_match";
	if (filter) {
		trace->queue = filter->queue->id;
		trace->filter = filter->id;
	}
	if (length > header.bytes + adapter->config.mtu)
		trace->reason = drop_reason_word(DROP_TOO_BIG);
	else if (trace->queue == QUEUE_DROP)
		trace->reason = drop_reason_word(DROP_DROP_QUEUE);
}
