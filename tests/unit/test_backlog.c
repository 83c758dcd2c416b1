/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames that wait for a guest's descriptors: a fake guest with a number of descriptors, two workers whose turns are
 * taken by hand, and a clock that stands still. No frame is lost: what did not arrive is counted and back in the pool.
 */
#include "fake_path.h"
#include "frame/key.h"
#include "packet_pool.h"
#include "rows.h"

#include <rte_cycles.h>
#include <string.h>

enum {
	QUEUE = 1,
	POOL_FRAMES = 1023,
	FRAMES = 400,
	FRAME_BYTES = 60,
	SEQUENCE_AT = 20,
	VLAN = 10,
	WAITING_MAX = FAKE_WAITING_MAX,
	NOT_THERE = 0xffff,
};

#define MAC UINT64_C(0x525400000001)
#define GROUP UINT64_C(0x01005e000001)

/* A guest that takes so many frames and no more, none over a length; and what it got. */
struct fake_guest {
	uint32_t descriptors;
	uint32_t longest;
	enum drop_reason closed; /* it takes nothing at all, for this reason; DROP_REASON_COUNT: it does */
	uint32_t count;
	uint32_t got[FRAMES];
};

static struct fake_guest guest;
static struct rte_mempool *pool;
static struct fake_path fake;
static struct path *path;
static struct path_adapter *adapter;
static struct path_queue *half;
static struct view *view;
static struct switch_policy *policy;
static uint16_t placed; /* the queue that the filters choose for MAC */
static uint32_t sequence;

static uint16_t
guest_takes(void *port, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	uint16_t taken = 0;

	assert_ptr_equal(port, &guest);
	*rest = guest.closed;
	if (guest.closed != DROP_REASON_COUNT)
		return 0;
	for (; taken < n && guest.descriptors; taken++, guest.descriptors--) {
		*rest = DROP_TOO_BIG;
		if (frames[taken]->pkt_len > guest.longest)
			return taken;
		memcpy(&guest.got[guest.count++], rte_pktmbuf_mtod_offset(frames[taken], void *, SEQUENCE_AT), 4);
	}
	*rest = DROP_NO_BUFFER;
	return taken;
}

static void
filters_find(const void *filters, const uint64_t *keys, uint16_t *queue_ids, uint16_t n)
{
	(void)filters;
	for (uint16_t i = 0; i < n; i++)
		queue_ids[i] = frame_key_mac(keys[i]) == MAC ? placed : QUEUE_DEFAULT;
}

static const struct vm_ops fake_vm_ops = { .deliver = guest_takes };
static const struct nic_ops fake_nic_ops = { .find = filters_find };

static void
build_up(void)
{
	fake_path_build(&fake, &fake_vm_ops, &fake_nic_ops, pool);
	fake_attach(&fake, QUEUE, &guest);
	path = fake.path;
	adapter = fake.adapter;
	half = fake.halves[QUEUE];
	view = fake.view;
	policy = fake.policy;
	guest = (struct fake_guest){ .longest = FRAME_BYTES, .closed = DROP_REASON_COUNT };
	placed = QUEUE;
	sequence = 0;
}

static struct view_queue *
queue(void)
{
	return &view->queues[QUEUE];
}

static struct rte_mbuf *
make_frame(uint64_t mac, bool tagged)
{
	struct rte_mbuf *frame = rte_pktmbuf_alloc(pool);
	uint8_t *bytes = rte_pktmbuf_mtod(frame, uint8_t *);

	memset(bytes, 0, FRAME_BYTES + 4);
	for (int i = 0; i < 6; i++)
		bytes[i] = (uint8_t)(mac >> (40 - 8 * i));
	if (tagged)
		memcpy(bytes + 12, (uint8_t[]){ 0x81, 0, 0, VLAN }, 4);
	memcpy(bytes + SEQUENCE_AT + (tagged ? 4 : 0), &sequence, sizeof(sequence));
	sequence++;
	frame->data_len = FRAME_BYTES + (tagged ? 4 : 0);
	frame->pkt_len = frame->data_len;
	return frame;
}

static void
send_frames(uint16_t worker, uint32_t n, uint64_t mac, bool tagged)
{
	struct passage passage = fake_passage(&fake, worker);

	while (n--)
		serve_frame(&passage, &half->lanes[worker], make_frame(mac, tagged));
	serve_due(&passage, true);
}

static unsigned
look(uint16_t worker)
{
	struct passage passage = fake_passage(&fake, worker);

	return backlog_serve_all(&passage, true);
}

/* What control does: a new view, of which the workers hear in their next turn. */
static void
view_changes(void)
{
	view->epoch++;
}

static uint64_t
drops(enum drop_reason reason)
{
	return fake_drops(&fake, QUEUE, reason);
}

static uint64_t
all_drops(void)
{
	uint64_t sum = 0;

	for (int reason = 0; reason < DROP_REASON_COUNT; reason++)
		sum += drops(reason);
	return sum;
}

static void
tear_down(void)
{
	const uint64_t delivered = half->lanes[0].counters.rx_packets + half->lanes[1].counters.rx_packets;

	assert_int_equal(delivered, guest.count);
	assert_int_equal(guest.count + all_drops() + half->backlog.buffers, sequence);
	assert_int_equal(rte_mempool_in_use_count(pool), half->backlog.buffers);
	queue()->port = NULL;
	look(queue()->home);
	assert_int_equal(half->backlog.buffers, 0);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	assert_int_equal(adapter->lanes[0].backlog_count + adapter->lanes[1].backlog_count, 0);
	fake_path_free(&fake);
}

static void
assert_in_order(uint32_t n)
{
	assert_int_equal(guest.count, n);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(guest.got[i], i);
}

static void
wait_in_order(void **state)
{
	(void)state;
	build_up();
	guest.descriptors = 10;
	send_frames(0, 50, MAC, false);
	assert_int_equal(half->backlog.buffers, 40);
	assert_int_equal(look(0), 0);
	guest.descriptors = 3;
	assert_int_equal(look(0), 3);
	send_frames(0, 50, MAC, true);
	assert_int_equal(half->backlog.buffers, 87);
	guest.descriptors = 200;
	assert_int_equal(look(0), 87);
	send_frames(0, 5, MAC, false);
	assert_in_order(105);
	assert_int_equal(all_drops(), 0);
	tear_down();
}

/* A frame that takes several buffers counts as so many, and the last may be too many. */
static void
long_frames(void **state)
{
	struct passage passage;

	(void)state;
	build_up();
	passage = fake_passage(&fake, 0);
	for (int i = 0; i < 90; i++) {
		struct rte_mbuf *frame = make_frame(MAC, false), *more = make_frame(MAC, false);

		sequence--;
		more->next = make_frame(MAC, false);
		sequence--;
		more->nb_segs = 2;
		rte_pktmbuf_chain(frame, more);
		frame->pkt_len = FRAME_BYTES;
		serve_frame(&passage, &half->lanes[0], frame);
	}
	assert_int_equal(half->backlog.buffers, 86 * 3);
	assert_int_equal(drops(DROP_NO_BUFFER), 4);
	guest.descriptors = 4;
	assert_int_equal(look(0), 4);
	assert_int_equal(half->backlog.buffers, 82 * 3);
	view_changes();
	guest.descriptors = 100;
	assert_int_equal(look(0), 82);
	assert_int_equal(half->backlog.buffers, 0);
	tear_down();
}

static void
what_comes_goes_behind(void **state)
{
	(void)state;
	build_up();
	send_frames(0, 20, MAC, false);
	guest.descriptors = 100;
	send_frames(0, 20, MAC, false);
	assert_in_order(40);
	tear_down();
}

static void
no_more_than_buffers(void **state)
{
	(void)state;
	build_up();
	send_frames(0, FRAMES, MAC, false);
	assert_int_equal(half->backlog.buffers, WAITING_MAX);
	assert_int_equal(drops(DROP_NO_BUFFER), FRAMES - WAITING_MAX);
	guest.descriptors = FRAMES;
	look(0);
	assert_in_order(WAITING_MAX);
	tear_down();
}

static void
frames_on_the_way_count_too(void **state)
{
	(void)state;
	build_up();
	half->lanes[1].handed = WAITING_MAX - 10;
	send_frames(0, 30, MAC, false);
	assert_int_equal(half->backlog.buffers, 10);
	assert_int_equal(drops(DROP_NO_BUFFER), 20);
	tear_down();
}

static void
not_for_ever(void **state)
{
	(void)state;
	build_up();
	send_frames(0, 20, MAC, false);
	path->workers[0].now_cycles += rte_get_tsc_hz() / 2;
	send_frames(0, 20, MAC, false);
	path->workers[0].now_cycles += rte_get_tsc_hz() / 2;
	look(0);
	assert_int_equal(half->backlog.buffers, 40);
	path->workers[0].now_cycles += 1;
	look(0);
	assert_int_equal(half->backlog.buffers, 20);
	assert_int_equal(drops(DROP_RING_FULL), 20);
	tear_down();
}

static void
too_big_ones_hold_up_nobody(void **state)
{
	(void)state;
	build_up();
	send_frames(0, 40, MAC, false);
	guest.longest = FRAME_BYTES - 1;
	guest.descriptors = 1;
	look(0);
	assert_int_equal(drops(DROP_TOO_BIG), 40);
	tear_down();
}

/* What happens to a queue while frames of it wait, and what becomes of them. */
static struct event_case {
	const char *name;
	enum drop_reason expected; /* DROP_REASON_COUNT: they wait on */
	bool vm_gone, stopped, freed, closed;
	uint16_t placed;
	uint64_t mac;
} events[] = {
	{ "nothing", DROP_REASON_COUNT, false, false, false, false, QUEUE, MAC },
	{ "the VM was detached", DROP_VM_DOWN, true, false, false, false, QUEUE, MAC },
	{ "the VM disconnected", DROP_VM_DOWN, false, false, false, true, QUEUE, MAC },
	{ "the queue lost its last filter", DROP_FILTER_CLEARED, false, true, false, false, QUEUE, MAC },
	{ "the queue was freed", DROP_QUEUE_FREED, false, false, true, false, QUEUE, MAC },
	{ "the filter went to another queue", DROP_FILTER_CLEARED, false, false, false, false, 2, MAC },
	{ "a group of a VLAN that it is on", DROP_REASON_COUNT, false, false, false, false, QUEUE, GROUP },
	{ "a group of a VLAN that it left", DROP_FILTER_CLEARED, false, false, false, false, NOT_THERE, GROUP },
};

static void
event(void **state)
{
	const struct event_case *row = *state;

	build_up();
	policy->members[0] = UINT64_C(1) << VLAN;
	send_frames(0, 20, row->mac, true);
	assert_int_equal(half->backlog.buffers, 20);
	placed = row->placed;
	if (row->placed == NOT_THERE)
		policy->members[0] = 0;
	if (row->vm_gone)
		queue()->port = NULL;
	if (row->closed)
		guest.closed = DROP_VM_DOWN;
	if (row->freed)
		queue()->path = NULL;
	queue()->running = !row->stopped;
	view->vm_count = !row->vm_gone && !row->freed && !row->stopped;
	view_changes();
	guest.descriptors = row->expected == DROP_REASON_COUNT ? 7 : FRAMES;
	look(0);
	if (row->expected == DROP_REASON_COUNT) {
		assert_in_order(7);
		assert_int_equal(half->backlog.buffers, 13);
	} else {
		assert_int_equal(guest.count, 0);
		assert_int_equal(drops(row->expected), 20);
		assert_int_equal(adapter->lanes[0].backlog_count, 0);
	}
	queue()->path = half;
	tear_down();
}

/* They come to the new home with the queue, and not before the old one has let go of it. */
static void
moved(void **state)
{
	(void)state;
	build_up();
	send_frames(0, 20, MAC, false);
	view_changes();
	queue()->home = 1;
	queue()->previous = 0;
	queue()->moved = view->epoch;
	look(1);
	assert_int_equal(half->backlog.buffers, 20);
	assert_int_equal(adapter->lanes[1].backlog_count, 0);
	look(0);
	assert_int_equal(adapter->lanes[0].backlog_count, 0);
	send_frames(0, 5, MAC, false); /* what others gave to the old home before they knew */
	assert_int_equal(half->backlog.buffers, 25);
	assert_int_equal(adapter->lanes[0].backlog_count, 0);
	look(1);
	assert_int_equal(adapter->lanes[1].backlog_count, 0);
	atomic_store(&path->workers[0].drained, view->epoch);
	guest.descriptors = 22;
	assert_int_equal(look(1), 22);
	assert_int_equal(adapter->lanes[1].backlog_count, 1);
	send_frames(1, 5, MAC, false);
	guest.descriptors = FRAMES;
	look(1);
	assert_in_order(30);
	tear_down();
}

int
main(void)
{
	static struct row_tests all;
	int failed;

	pool = packet_pool_start(POOL_FRAMES, 256);
	if (!pool || backlog_init())
		return 1;
	TEST(&all, wait_in_order);
	TEST(&all, long_frames);
	TEST(&all, what_comes_goes_behind);
	TEST(&all, no_more_than_buffers);
	TEST(&all, frames_on_the_way_count_too);
	TEST(&all, not_for_ever);
	TEST(&all, too_big_ones_hold_up_nobody);
	TEST(&all, moved);
	ROWS(&all, event, events);
	failed = row_tests_run("backlog: frames that wait for descriptors", &all);
	rte_mempool_free(pool);
	rte_eal_cleanup();
	return failed;
}
