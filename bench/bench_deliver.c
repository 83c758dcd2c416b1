/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Delivery into a guest: our virtqueues, whole frames and frames in two parts, beside librte_vhost's, in turn, with
 * the same frames. Both ends are in this process: each side has a socket of its own with a virtio-user port as its
 * guest, drained on the main lcore while the other one delivers. Prints medians of the rounds: frames that arrived, the
 * processor cycles that a frame costs the delivering side (of bursts that were taken whole: a wait for the guest is
 * nobody's merit), and for both of ours the rate over librte_vhost's.
 *   bench_deliver --no-huge --no-shconf --no-pci -m 512 -l 0,1
 */
#include "model/model.h"
#include "vhost/vhost.h"

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_vhost.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	BURST = 32,
	ROUNDS = 7,
	ROUND_MS = 150,
	WARM_UP_MS = 30,
	DEVICE_WAIT_MS = 5000,
	RING_ENTRIES = 1024,
	FRAME_BYTES_MAX = 9000,
	LOOKAHEAD = 128,
	SIDES = 3,
};

/* One way to deliver, with a guest of its own. */
struct side {
	const char *name;
	char socket[SOCKET_PATH_SIZE];
	uint16_t guest_port;
	uint16_t (*deliver)(struct side *side, struct rte_mbuf **frames, uint16_t n);
	struct vm vm;            /* ours */
	void *handle;            /* ours: of vhost_vm_ops */
	_Atomic int device;      /* librte_vhost's; -1: not there */
};

struct round {
	struct side *side;
	struct rte_mbuf **frames;
	_Atomic bool stop;
	uint64_t delivered;      /* what follows: written by the delivering lcore */
	uint64_t complete_frames;
	uint64_t complete_cycles;
	uint64_t cycles;
};

struct result {
	double mpps[ROUNDS];
	double cycles[ROUNDS];
	double ratio[ROUNDS];    /* of the rate to librte_vhost's in the same round */
};

static struct rte_mempool *guest_pool, *frame_pool;
static struct vm_ops const *ours = &vhost_vm_ops;

static uint16_t
deliver_whole(struct side *side, struct rte_mbuf **frames, uint16_t n)
{
	enum drop_reason rest;
	uint16_t got = ours->deliver(side->handle, frames, n, &rest);

	ours->notify(&side->handle, 1);
	return got;
}

static uint16_t
deliver_librte(struct side *side, struct rte_mbuf **frames, uint16_t n)
{
	return rte_vhost_enqueue_burst(side->device, 0, frames, n);
}

/* What a worker asks of the frames' first parts, less the look-up: see bench_match for that. */
static uint16_t
inspect(void *ctx, const struct split_delivery *delivery, uint16_t first, uint16_t n)
{
	const uint8_t *destination = ctx;

	for (uint16_t i = 0; i < n; i++)
		if (delivery->offsets[first + i] < RTE_ETHER_HDR_LEN ||
		    memcmp(split_slot(delivery, first + i), destination, RTE_ETHER_ADDR_LEN) != 0)
			return i;
	return n;
}

static uint16_t
deliver_split(struct side *side, struct rte_mbuf **frames, uint16_t n)
{
	static uint8_t slots[BURST * LOOKAHEAD_SLOT_BYTES] __rte_cache_aligned;
	static const uint8_t destination[RTE_ETHER_ADDR_LEN];
	uint64_t drops[DROP_REASON_COUNT] = { 0 };
	uint16_t offsets[BURST], waiting, got;
	const struct split_delivery delivery = {
		.frames = frames, .offsets = offsets, .n = n, .lookahead = slots, .inspect = inspect, .ctx = (void *)destination
	};

	for (uint16_t i = 0; i < n; i++)
		offsets[i] = RTE_MIN(frames[i]->data_len, (uint16_t)LOOKAHEAD);
	got = ours->deliver_split(side->handle, &delivery, drops, &waiting);
	ours->notify(&side->handle, 1);
	return got;
}

static struct side sides[SIDES] = {
	{ .name = "whole", .deliver = deliver_whole, .device = -1 },
	{ .name = "split", .deliver = deliver_split, .device = -1 },
	{ .name = "librte_vhost", .deliver = deliver_librte, .device = -1 },
};
static struct side *const librte = &sides[SIDES - 1];

static int
device_came(int device)
{
	rte_vhost_enable_guest_notification(device, 1, 0);
	librte->device = device;
	return 0;
}

static void
device_went(int device)
{
	(void)device;
	librte->device = -1;
}

static const struct rte_vhost_device_ops librte_ops = { .new_device = device_came, .destroy_device = device_went };

/* Nobody delivers while a guest comes or goes. */
static void
no_wait(void *ctx)
{
	(void)ctx;
}

/* A loop for the server, on a thread of its own: the main lcore waits for it when a guest starts. */
enum { SOURCES_MAX = 64, LOOP_STEP_MS = 5 };

struct loop_source {
	loop_call *call;         /* NULL: free */
	void *argument;
	int handle;              /* -1: a timer */
	uint64_t due;            /* in cycles; 0: not armed */
};

static struct loop_source sources[SOURCES_MAX];
static pthread_mutex_t loop_lock = PTHREAD_MUTEX_INITIALIZER;

static struct loop_source *
loop_watch(void *ctx, int handle, loop_call *call, void *argument)
{
	(void)ctx;
	for (unsigned i = 0; i < SOURCES_MAX; i++) {
		if (sources[i].call)
			continue;
		sources[i] = (struct loop_source){ call, argument, handle, 0 };
		return &sources[i];
	}
	return NULL;
}

static struct loop_source *
loop_timer(void *ctx, loop_call *call, void *argument)
{
	return loop_watch(ctx, -1, call, argument);
}

static void
loop_arm(struct loop_source *timer, unsigned milliseconds)
{
	timer->due = milliseconds ? rte_rdtsc() + rte_get_tsc_hz() / 1000 * milliseconds : 0;
}

static void
loop_cancel(struct loop_source *source)
{
	if (source)
		source->call = NULL;
}

static bool
source_is_due(struct loop_source *source)
{
	struct pollfd wait = { .fd = source->handle, .events = POLLIN };

	if (source->handle >= 0)
		return poll(&wait, 1, 0) > 0;
	return source->due && source->due < rte_rdtsc();
}

static void *
loop_run(void *argument)
{
	const atomic_bool *stop = argument;

	for (; !atomic_load(stop); usleep(LOOP_STEP_MS * 1000)) {
		pthread_mutex_lock(&loop_lock);
		for (struct loop_source *source = sources; source < sources + SOURCES_MAX; source++) {
			if (!source->call || !source_is_due(source))
				continue;
			source->due = 0;
			source->call(source->argument);
		}
		pthread_mutex_unlock(&loop_lock);
	}
	return NULL;
}

static struct vhost_context context = { .grace = { .wait = no_wait, .wake = no_wait },
					.loop = { loop_watch, loop_timer, loop_arm, loop_cancel, NULL },
					.changed = no_wait };

static void
serve_ours(struct side *side)
{
	static struct adapter adapter;
	struct refusal why;

	side->vm = (struct vm){ .mode = VM_MODE_SERVER, .adapter = &adapter };
	snprintf(side->vm.name, sizeof(side->vm.name), "%s", side->name);
	snprintf(side->vm.socket, sizeof(side->vm.socket), "%s", side->socket);
	pthread_mutex_lock(&loop_lock);
	if (ours->open(&context, &side->vm, &side->handle, &why))
		rte_exit(1, "%s\n", why.text);
	pthread_mutex_unlock(&loop_lock);
}

static void
serve_librte(struct side *side)
{
	const uint64_t features_off = 1ULL << VIRTIO_NET_F_CSUM | 1ULL << VIRTIO_NET_F_GUEST_CSUM |
				      1ULL << VIRTIO_NET_F_MQ | 1ULL << 34 /* VIRTIO_F_RING_PACKED */;

	if (rte_vhost_driver_register(side->socket, RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS) ||
	    rte_vhost_driver_disable_features(side->socket, features_off) ||
	    rte_vhost_driver_callback_register(side->socket, &librte_ops) || rte_vhost_driver_start(side->socket))
		rte_exit(1, "%s cannot be served\n", side->socket);
}

static void
guest_start(struct side *side, unsigned number)
{
	struct rte_eth_conf conf = { 0 };
	char name[32], options[SOCKET_PATH_SIZE + 64];

	snprintf(name, sizeof(name), "net_virtio_user%u", number);
	snprintf(options, sizeof(options), "path=%s,queues=1,queue_size=%u", side->socket, RING_ENTRIES);
	if (rte_eal_hotplug_add("vdev", name, options) || rte_eth_dev_get_port_by_name(name, &side->guest_port) ||
	    rte_eth_dev_configure(side->guest_port, 1, 1, &conf) ||
	    rte_eth_rx_queue_setup(side->guest_port, 0, RING_ENTRIES, SOCKET_ID_ANY, NULL, guest_pool) ||
	    rte_eth_tx_queue_setup(side->guest_port, 0, RING_ENTRIES, SOCKET_ID_ANY, NULL) ||
	    rte_eth_dev_start(side->guest_port))
		rte_exit(1, "guest of %s does not start\n", side->name);
}

static bool
side_is_ready(const struct side *side)
{
	return side->handle ? ours->connected(side->handle) : side->device >= 0;
}

static void
side_open(struct side *side, const char *folder, unsigned number)
{
	snprintf(side->socket, sizeof(side->socket), "%s/guest%u", folder, number);
	if (side == librte)
		serve_librte(side);
	else
		serve_ours(side);
	guest_start(side, number);
	for (unsigned ms = 0; !side_is_ready(side); ms++) {
		if (ms == DEVICE_WAIT_MS)
			rte_exit(1, "guest of %s does not come\n", side->name);
		rte_delay_ms(1);
	}
}

static void
side_close(struct side *side, unsigned number)
{
	char name[32];

	snprintf(name, sizeof(name), "net_virtio_user%u", number);
	rte_eth_dev_stop(side->guest_port);
	rte_eal_hotplug_remove("vdev", name);
	pthread_mutex_lock(&loop_lock);
	if (side->handle)
		ours->close(side->handle);
	pthread_mutex_unlock(&loop_lock);
	if (!side->handle)
		rte_vhost_driver_unregister(side->socket);
}

static int
deliver_until_told(void *argument)
{
	struct round *round = argument;
	uint64_t start = rte_rdtsc(), from = start, now;

	while (!atomic_load_explicit(&round->stop, memory_order_relaxed)) {
		uint16_t taken = round->side->deliver(round->side, round->frames, BURST);

		now = rte_rdtsc();
		if (taken == BURST) {
			round->complete_frames += BURST;
			round->complete_cycles += now - from;
		}
		round->delivered += taken;
		from = now;
	}
	round->cycles = from - start;
	return 0;
}

static uint64_t
drain(uint16_t port)
{
	struct rte_mbuf *frames[BURST];
	uint16_t n = rte_eth_rx_burst(port, 0, frames, BURST);

	rte_pktmbuf_free_bulk(frames, n);
	return n;
}

static void
run_round(struct round *round, unsigned lcore, unsigned ms)
{
	uint64_t end = rte_rdtsc() + rte_get_tsc_hz() / 1000 * ms;

	rte_eal_remote_launch(deliver_until_told, round, lcore);
	while (rte_rdtsc() < end)
		drain(round->side->guest_port);
	atomic_store(&round->stop, true);
	rte_eal_wait_lcore(lcore);
	while (drain(round->side->guest_port))
		continue;
}

static void
measure(struct side *side, struct rte_mbuf **frames, unsigned lcore, double *mpps, double *cycles)
{
	struct round warm_up = { .side = side, .frames = frames }, round = { .side = side, .frames = frames };

	run_round(&warm_up, lcore, WARM_UP_MS);
	run_round(&round, lcore, ROUND_MS);
	*mpps = (double)round.delivered * (double)rte_get_tsc_hz() / (double)round.cycles / 1e6;
	*cycles = round.complete_frames ? (double)round.complete_cycles / (double)round.complete_frames : 0;
}

static int
by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(double rounds[ROUNDS])
{
	qsort(rounds, ROUNDS, sizeof(rounds[0]), by_value);
	return rounds[ROUNDS / 2];
}

static void
make_frames(struct rte_mbuf **frames, uint32_t bytes)
{
	if (rte_pktmbuf_alloc_bulk(frame_pool, frames, BURST))
		rte_exit(1, "no memory for frames\n");
	for (unsigned i = 0; i < BURST; i++)
		memset(rte_pktmbuf_append(frames[i], (uint16_t)bytes), 0, bytes);
}

/* The ratios are of rounds that followed each other: the machine's mood changes slower than that. */
static void
contest(uint32_t bytes, unsigned lcore)
{
	struct result results[SIDES];
	struct rte_mbuf *frames[BURST];

	make_frames(frames, bytes);
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned s = 0; s < SIDES; s++)
			measure(&sides[s], frames, lcore, &results[s].mpps[i], &results[s].cycles[i]);
		for (unsigned s = 0; s < SIDES; s++)
			results[s].ratio[i] = results[s].mpps[i] / results[SIDES - 1].mpps[i];
	}
	rte_pktmbuf_free_bulk(frames, BURST);
	for (unsigned s = 0; s < SIDES; s++)
		printf("%5u  %-12s  %6.2f  %7.1f  %5.2f\n", bytes, sides[s].name, median(results[s].mpps),
		       median(results[s].cycles), median(results[s].ratio));
}

static void
pools_create(void)
{
	guest_pool = rte_pktmbuf_pool_create("guest", 8191, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	frame_pool = rte_pktmbuf_pool_create("frames", 255, 0, 0, FRAME_BYTES_MAX + RTE_PKTMBUF_HEADROOM,
					     SOCKET_ID_ANY);
	if (!guest_pool || !frame_pool)
		rte_exit(1, "no memory for frames: give more with -m\n");
}

int
main(int argc, char **argv)
{
	static const uint32_t sizes[] = { 64, 512, 1518, FRAME_BYTES_MAX };
	char folder[] = "/tmp/bench_deliver.XXXXXX";
	static atomic_bool stop;
	pthread_t loop;
	unsigned lcore;

	if (rte_eal_init(argc, argv) < 0)
		rte_exit(1, "EAL does not start\n");
	lcore = rte_get_next_lcore(-1, 1, 0);
	if (lcore == RTE_MAX_LCORE || !mkdtemp(folder))
		rte_exit(1, "a second lcore and a folder in /tmp are needed\n");
	pools_create();
	if (pthread_create(&loop, NULL, loop_run, &stop))
		rte_exit(1, "no thread for the server\n");
	for (unsigned s = 0; s < SIDES; s++)
		side_open(&sides[s], folder, s);
	printf("%5s  %-12s  %6s  %7s  %5s\n", "bytes", "delivery", "Mpps", "cycles", "ratio");
	for (unsigned i = 0; i < RTE_DIM(sizes); i++)
		contest(sizes[i], lcore);
	for (unsigned s = 0; s < SIDES; s++)
		side_close(&sides[s], s);
	atomic_store(&stop, true);
	pthread_join(loop, NULL);
	rmdir(folder);
	rte_eal_cleanup();
	return 0;
}
