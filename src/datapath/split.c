/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Delivery of frames in two parts, for queues with a lookahead (NDIS 6.20). The host looks only at the part that
 * lies in its own memory, so nothing that a guest does to its buffers meanwhile can change what was decided.
 * Source: vmq-spec §5.
 */
#include "frame/key.h"
#include "datapath/capture.h"

#include <assert.h>
#include <netinet/in.h>

enum { IPV6_HEADER_BYTES = 40, UDP_HEADER_BYTES = 8, TCP_HEADER_BYTES = 20 };

static uint32_t
transport_bytes(uint8_t protocol, const uint8_t *header, uint32_t length)
{
	if (protocol == IPPROTO_UDP)
		return UDP_HEADER_BYTES;
	if (protocol == IPPROTO_TCP && length >= TCP_HEADER_BYTES)
		return (uint32_t)(header[12] >> 4) * 4;
	return 0;
}

/* Where the headers that we know end: Ethernet, a tag, IP, UDP or TCP. */
static uint32_t
headers_end(const uint8_t *bytes, uint32_t length)
{
	uint32_t at = FRAME_HEADER_BYTES;
	uint16_t type = frame_load16(bytes + 12);
	uint8_t protocol;

	if (frame_is_tpid(type) && length >= FRAME_HEADER_BYTES + FRAME_TAG_BYTES) {
		type = frame_load16(bytes + 16);
		at += FRAME_TAG_BYTES;
	}
	if (type == 0x0800 && length >= at + 20) {
		protocol = bytes[at + 9];
		at += (bytes[at] & 0x0fu) * 4;
	} else if (type == 0x86dd && length >= at + IPV6_HEADER_BYTES) {
		protocol = bytes[at + 6];
		at += IPV6_HEADER_BYTES;
	} else {
		return at;
	}
	return length > at ? at + transport_bytes(protocol, bytes + at, length - at) : at;
}

/* At the lookahead size or at the header boundary beyond it; the whole frame if it ends before. */
static uint16_t
split_offset(const struct rte_mbuf *frame, uint32_t lookahead_bytes)
{
	uint32_t end, offset;

	if (frame->data_len <= lookahead_bytes)
		return frame->data_len;
	end = headers_end(rte_pktmbuf_mtod(frame, const uint8_t *), frame->data_len);
	offset = RTE_MIN(RTE_MAX(end, lookahead_bytes), (uint32_t)LOOKAHEAD_SLOT_BYTES);
	return (uint16_t)RTE_MIN(offset, frame->data_len);
}

struct inspection {
	const struct passage *passage;
	const struct view_queue *queue;
	const uint16_t *vlans;
};

static uint64_t
slot_key(const struct inspection *inspection, const struct split_delivery *delivery, uint16_t i)
{
	if (unlikely(delivery->offsets[i] < FRAME_HEADER_BYTES))
		return FRAME_KEY_MALFORMED;
	return frame_key_of(frame_load_mac(split_slot(delivery, i)), inspection->vlans[i]);
}

/* What the filters would not place here today: for all VMs of a VLAN, or for a filter that others now go before. */
static bool
may_pass(const struct inspection *inspection, uint64_t key)
{
	const struct passage *passage = inspection->passage;
	uint64_t mac = frame_key_mac(key);
	uint16_t vlan = frame_key_vlan(key);

	if (key == FRAME_KEY_MALFORMED)
		return false;
	if (mac_is_group(mac))
		return switch_policy_has_vlan(inspection->queue->policy, vlan);
	return passage->adapter->nic_ops->owns(passage->view->filters, inspection->queue->path->id, mac, vlan);
}

/*
 * A cache of keys that the filters place in this queue; valid as long as the view, which holds the filters. Stored as
 * complements, so that an empty entry matches no key.
 */
static inline uint64_t *
passed_place(const struct view_queue *queue, uint64_t key)
{
	return &queue->passed[(frame_key_mac(key) ^ key) % PASSED_KEYS];
}

/* @return the first of these that may not pass; n: all may. */
static uint16_t
ask_filters(const struct inspection *inspection, const uint64_t *keys, uint16_t n)
{
	const struct passage *passage = inspection->passage;
	const struct view_queue *queue = inspection->queue;
	uint16_t queue_ids[INSPECT_BURST_MAX];

	passage->adapter->nic_ops->find(passage->view->filters, keys, queue_ids, n);
	for (uint16_t i = 0; i < n; i++) {
		if (queue_ids[i] == queue->path->id)
			*passed_place(queue, keys[i]) = ~keys[i];
		else if (!may_pass(inspection, keys[i]))
			return i;
	}
	return n;
}

static uint16_t
inspect(void *ctx, const struct split_delivery *delivery, uint16_t first, uint16_t n)
{
	const struct inspection *inspection = ctx;
	uint64_t asked[INSPECT_BURST_MAX];
	uint16_t frames[INSPECT_BURST_MAX], count = 0, passed;

	assert(n > 0 && n <= INSPECT_BURST_MAX);
	for (uint16_t i = 0; i < n; i++) {
		uint64_t key = slot_key(inspection, delivery, first + i);

		if (likely(*passed_place(inspection->queue, key) == ~key))
			continue;
		asked[count] = key;
		frames[count++] = i;
	}
	passed = count ? ask_filters(inspection, asked, count) : 0;
	return passed < count ? frames[passed] : n;
}

/* The guest's side has counted them. Where it had several reasons at once, all are shown with the first. */
static void
show_dropped(const struct passage *passage, const struct lane *lane, const uint64_t *before, const struct offer *offer)
{
	const uint16_t kept = offer->taken + offer->waiting;
	struct sighting seen = { .place = CAPTURE_DROPPED, .queue = lane->queue->id };

	if (kept == offer->n)
		return;
	while (seen.reason < DROP_REASON_COUNT - 1 && before[seen.reason] == lane->counters.drops[seen.reason])
		seen.reason++;
	capture_copy(passage, &seen, offer->frames + kept, offer->n - kept);
}

void
split_offer(const struct passage *passage, const struct view_queue *queue, struct lane *lane, const uint16_t *vlans,
	    struct offer *offer)
{
	struct inspection inspection = { passage, queue, vlans };
	uint64_t before[DROP_REASON_COUNT];
	uint16_t offsets[LANE_FRAMES];
	struct split_delivery delivery = {
		.frames = offer->frames,
		.offsets = offsets,
		.n = offer->n,
		.lookahead = queue->lookahead,
		.inspect = inspect,
		.ctx = &inspection,
	};

	for (uint16_t i = 0; i < offer->n; i++)
		offsets[i] = split_offset(offer->frames[i], queue->lookahead_bytes);
	if (unlikely(passage->view->capture_count))
		memcpy(before, lane->counters.drops, sizeof(before));
	offer->taken = passage->worker->path->vm_ops->deliver_split(queue->port, &delivery, lane->counters.drops,
								    &offer->waiting);
	if (unlikely(passage->view->capture_count))
		show_dropped(passage, lane, before, offer);
}
