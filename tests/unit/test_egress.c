/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ways out of a worker, with GSO frames: each takes them whole or gets what they become, in order, and every frame is
 * in one counter. Wire, host and guests are fakes that note what came.
 */
#include "fake_path.h"
#include "left_frames.h"
#include "packet_pool.h"
#include "rows.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum {
	MSS = 1000,
	PIECES = 20,
	SHORT_MSS = 100,
	SHORT_PIECES = 300, /* more than any list of a worker holds */
	POOL_FRAMES = 1023,
	POOL_ROOM = 2048,
	VLAN = 10,
	NEAR = 1, /* the queue that worker 0 serves, and the one that worker 1 does */
	FAR = 2,
};

#define FIRST_SEQUENCE 0xffffff00U

/* Whoever gets frames. */
struct sink {
	bool takes;         /* GSO frames, whole */
	bool full;
	uint32_t frames, gso;
	uint32_t payload;   /* bytes, of frames in order */
	uint32_t tagged;
};

static struct sink wire, host, near, far;
static struct rte_mempool *pool;
static struct fake_path fake;
static const struct shape tcp4 = { IPPROTO_TCP, false, 0, 0, 0 };

static void
note(struct sink *sink, const struct rte_mbuf *frame)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(frame, const uint8_t *);
	const uint32_t tag = get16(bytes + 12) == 0x8100 ? 4 : 0, headers = 54 + tag;

	assert_int_equal(get32(bytes + 34 + tag + 4), FIRST_SEQUENCE + sink->payload);
	sink->frames++;
	sink->gso += frame_is_gso(frame);
	sink->tagged += tag && get16(bytes + 14) == VLAN;
	sink->payload += frame->pkt_len - headers;
}

static bool
sink_takes(void *handle, const struct rte_mbuf *frame)
{
	const struct sink *sink = handle;

	assert_true(frame_is_gso(frame));
	return sink->takes;
}

static bool
guest_takes(void *handle, unsigned kinds)
{
	const struct sink *sink = handle;

	assert_int_equal(kinds, GSO_TCP4 | GSO_ECN);
	return sink->takes;
}

static uint16_t
sink_delivers(void *handle, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	struct sink *sink = handle;

	*rest = DROP_RING_FULL;
	if (sink->full)
		return 0;
	for (uint16_t i = 0; i < n; i++)
		note(sink, frames[i]);
	return n;
}

static uint16_t
sink_transmits(void *handle, uint16_t tx_queue, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	uint16_t sent = sink_delivers(handle, frames, n, rest);

	assert_int_equal(tx_queue, 0);
	rte_pktmbuf_free_bulk(frames, sent);
	return sent;
}

static void
nobody_is_told(void *const *ports, uint16_t n)
{
	(void)ports;
	(void)n;
}

static const struct vm_ops vm_ops = { .takes = guest_takes, .deliver = sink_delivers, .notify = nobody_is_told };
static const struct nic_ops nic_ops = { .takes = sink_takes, .transmit = sink_transmits };

static void
build_up(void)
{
	wire = host = near = far = (struct sink){ 0 };
	fake_path_build(&fake, &vm_ops, &nic_ops, pool);
	fake_attach(&fake, NEAR, &near);
	fake_attach(&fake, FAR, &far);
	fake.view->queues[FAR].home = 1;
	fake.view->nic = &wire;
	fake.view->host = &host;
}

static void
tear_down(void)
{
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	fake_path_free(&fake);
}

static struct rte_mbuf *
gso_frame(uint16_t mss, uint32_t payload)
{
	struct built *built = build(&tcp4, payload);
	struct virtio_net_hdr header = header_of(&tcp4, built, mss);
	struct rte_mbuf *frame = packet_of(pool, built->bytes, built->length);

	assert_int_equal(gso_note(frame, &header), 0);
	free(built);
	return frame;
}

enum way { TO_NEAR, TO_FAR, TO_WIRE, TO_HOST };

static struct sink *
sink_of(enum way way)
{
	struct sink *const sinks[] = { &near, &far, &wire, &host };

	return sinks[way];
}

static void
send_out(enum way way, struct rte_mbuf *frame)
{
	struct passage passage = fake_passage(&fake, 0), other = fake_passage(&fake, 1);

	switch (way) {
	case TO_NEAR:
	case TO_FAR:
		egress_to_queue(&passage, way == TO_NEAR ? NEAR : FAR, frame);
		break;
	case TO_WIRE:
		egress_to_wire(&passage, frame);
		break;
	case TO_HOST:
		egress_to_host(&passage, frame);
	}
	egress_flush(&passage);
	serve_due(&passage, true);
	handover_take(&other);
	serve_due(&other, true);
}

static uint64_t
copies(void)
{
	return fake.adapter->lanes[0].counters.copies;
}

/* What went out, by the counters of whoever it went to. */
static uint64_t
counted(enum way way)
{
	const struct adapter_counters *adapter = &fake.adapter->lanes[0].counters;

	if (way == TO_WIRE)
		return adapter->wire_tx_packets;
	if (way == TO_HOST)
		return fake.halves[QUEUE_DEFAULT]->lanes[0].counters.rx_packets;
	return fake.halves[way == TO_NEAR ? NEAR : FAR]->lanes[way == TO_NEAR ? 0 : 1].counters.rx_packets;
}

static struct way_case {
	const char *name;
	enum way way;
} ways[] = {
	{ "to a VM that this worker serves", TO_NEAR },
	{ "to a VM that another worker serves", TO_FAR },
	{ "to the wire", TO_WIRE },
	{ "to the host", TO_HOST },
};

static void
whole(void **state)
{
	const enum way way = ((const struct way_case *)*state)->way;
	struct sink *sink = sink_of(way);

	build_up();
	sink->takes = true;
	send_out(way, gso_frame(MSS, PIECES * MSS));
	assert_int_equal(sink->frames, 1);
	assert_int_equal(sink->gso, 1);
	assert_int_equal(sink->payload, PIECES * MSS);
	assert_int_equal(counted(way), 1);
	assert_int_equal(copies(), 0);
	tear_down();
}

static void
cut(void **state)
{
	const enum way way = ((const struct way_case *)*state)->way;
	struct sink *sink = sink_of(way);

	build_up();
	send_out(way, gso_frame(MSS, PIECES * MSS));
	assert_int_equal(sink->frames, PIECES);
	assert_int_equal(sink->gso, 0);
	assert_int_equal(sink->payload, PIECES * MSS);
	assert_int_equal(counted(way), PIECES);
	assert_int_equal(copies(), PIECES - 1);
	tear_down();
}

/* Some of it is dropped where a queue has no buffers to wait in; that is counted, and the rest is in order. */
static void
cut_into_many(void **state)
{
	const enum way way = ((const struct way_case *)*state)->way;
	struct sink *sink = sink_of(way);
	uint64_t dropped;

	build_up();
	send_out(way, gso_frame(SHORT_MSS, SHORT_PIECES * SHORT_MSS));
	dropped = fake_drops(&fake, FAR, DROP_NO_BUFFER);
	assert_int_equal(sink->frames + dropped, SHORT_PIECES);
	assert_int_equal(dropped, way == TO_FAR ? SHORT_PIECES - FAKE_WAITING_MAX : 0);
	assert_int_equal(counted(way), sink->frames);
	assert_int_equal(copies(), SHORT_PIECES - 1);
	tear_down();
}

/* The memory ends in the middle: what there is none for is dropped on behalf of who sent it. */
static void
no_memory(void **state)
{
	const enum way way = ((const struct way_case *)*state)->way;
	struct sink *sink = sink_of(way);
	struct rte_mbuf *frame, *all[POOL_FRAMES];
	unsigned taken;

	build_up();
	frame = gso_frame(MSS, PIECES * MSS);
	taken = rte_mempool_avail_count(pool) - 7;
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, all, taken), 0);
	send_out(way, frame);
	assert_int_equal(sink->frames, 7);
	assert_int_equal(fake_drops(&fake, QUEUE_DEFAULT, DROP_NO_MEMORY), PIECES - 7);
	assert_int_equal(copies(), PIECES - 1);
	rte_pktmbuf_free_bulk(all, taken);
	tear_down();
}

static void
refused(void **state)
{
	const enum way way = ((const struct way_case *)*state)->way;
	uint64_t dropped = 0;

	build_up();
	sink_of(way)->full = true;
	send_out(way, gso_frame(MSS, PIECES * MSS));
	for (uint16_t queue = 0; queue < FAKE_QUEUES; queue++)
		dropped += fake_drops(&fake, queue, DROP_RING_FULL);
	assert_int_equal(sink_of(way)->frames, 0);
	assert_int_equal(dropped, PIECES);
	assert_int_equal(counted(way), 0);
	tear_down();
}

/* A tag beside the frame stands in each that it becomes, or in it; an access VM sees none. */
static void
tagged(void **state)
{
	const enum way way = ((const struct way_case *)*state)->way;
	struct sink *sink = sink_of(way);
	const bool sees = way == TO_WIRE || way == TO_HOST;

	for (int takes = 0; takes < 2; takes++) {
		struct rte_mbuf *frame;

		build_up();
		sink->takes = takes;
		frame = gso_frame(MSS, PIECES * MSS);
		frame->vlan_tci = VLAN;
		frame->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		send_out(way, frame);
		assert_int_equal(sink->frames, takes ? 1 : PIECES);
		assert_int_equal(sink->tagged, sees ? sink->frames : 0);
		assert_int_equal(sink->payload, PIECES * MSS);
		tear_down();
	}
}

/* What goes the short way looks at flags too: short GSO frames are no longer than others. */
static void
a_burst_of_short_ones(void **state)
{
	struct rte_mbuf *frames[BURST];
	uint16_t queue_ids[BURST];

	(void)state;
	for (int takes = 0; takes < 2; takes++) {
		struct passage passage;

		build_up();
		passage = fake_passage(&fake, 0);
		near.takes = takes;
		for (uint32_t i = 0; i < 20; i++) {
			frames[i] = gso_frame(SHORT_MSS, 3 * SHORT_MSS);
			put16(rte_pktmbuf_mtod_offset(frames[i], uint8_t *, 38), (FIRST_SEQUENCE + i * 300) >> 16);
			put16(rte_pktmbuf_mtod_offset(frames[i], uint8_t *, 40), FIRST_SEQUENCE + i * 300);
			queue_ids[i] = NEAR;
		}
		fake.halves[NEAR]->lanes[0].straight = fake.view->epoch;
		forward_burst(&passage, frames, queue_ids, 20);
		serve_due(&passage, true);
		assert_int_equal(near.frames, takes ? 20 : 60);
		assert_int_equal(near.gso, takes ? 20 : 0);
		tear_down();
	}
}

/* Segments longer than the MTU no one here may send, however long the frame is. */
static void
segments_too_big(void **state)
{
	struct passage passage;
	struct rte_mbuf *frame;
	uint16_t queue_id = NEAR;

	(void)state;
	for (uint16_t mss = 1460; mss <= 1461; mss++) {
		build_up();
		passage = fake_passage(&fake, 0);
		near.takes = true;
		frame = gso_frame(mss, 10 * MSS);
		forward_burst(&passage, &frame, &queue_id, 1);
		serve_due(&passage, true);
		assert_int_equal(near.frames, mss == 1460);
		assert_int_equal(fake_drops(&fake, NEAR, DROP_TOO_BIG), mss != 1460);
		tear_down();
	}
}

/* A queue whose frames come in two parts, and one that nobody is attached to. */
static void
other_queues(void **state)
{
	struct passage passage;
	uint8_t lookahead;

	(void)state;
	build_up();
	passage = fake_passage(&fake, 0);
	fake.view->queues[FAR].lookahead = &lookahead;
	far.takes = true;
	egress_to_queue(&passage, FAR, gso_frame(MSS, PIECES * MSS));
	assert_int_equal(copies(), PIECES - 1);
	fake.view->queues[FAR].lookahead = NULL; /* it is as any other from here */
	fake.view->queues[NEAR].port = NULL;
	send_out(TO_NEAR, gso_frame(MSS, PIECES * MSS));
	assert_int_equal(far.frames, PIECES);
	assert_int_equal(fake_drops(&fake, NEAR, DROP_VM_DOWN), 1);
	assert_int_equal(copies(), PIECES - 1);
	tear_down();
}

int
main(void)
{
	static struct row_tests all;
	int failed;

	pool = packet_pool_start(POOL_FRAMES, POOL_ROOM);
	if (!pool || backlog_init())
		return 1;
	ROWS(&all, whole, ways);
	ROWS(&all, cut, ways);
	ROWS(&all, cut_into_many, ways);
	ROWS(&all, no_memory, ways);
	ROWS(&all, refused, ways);
	ROWS(&all, tagged, ways);
	TEST(&all, a_burst_of_short_ones);
	TEST(&all, segments_too_big);
	TEST(&all, other_queues);
	failed = row_tests_run("egress: GSO frames on every way out", &all);
	rte_mempool_free(pool);
	rte_eal_cleanup();
	return failed;
}
