/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The model and classifier together, with readers in the place of workers: whatever is requested between two commits,
 * a reader's burst finds for every address the queue of before or the queue of after, and after the commit only
 * the latter; a moved filter is never gone; a queue is not freed while a reader holds one of its frames.
 */
#include "filter/classify.h"
#include "frame/key.h"
#include "model/model.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum {
	READERS = 2,
	ROUNDS = 20000,
	BURST = 16,
	HELD_MAX = 24,            /* frames that a reader keeps for a while */
	ADDRESSES = 192,
	MOVERS = 32,              /* addresses that always have a filter on one of the queues that stay */
	STAYING = 4,              /* queues 1 to 4 are always Running */
	QUEUES = 24,
	REQUESTS_MAX = 12,        /* between two commits */
	SETTLED = 1 << 16,        /* in a truth: the change before it has been answered */
	VERSION = 1 << 17,
};

#define MAC UINT64_C(0x525400000000)

/* The data path's half of a queue. Freed with it: a reader that still uses it is an error that sanitizers see. */
struct half {
	_Atomic uint32_t held;
	_Atomic uint64_t received;
};

struct view {
	const struct match *filters;     /* of the same moment */
	struct half *halves[QUEUES + 1]; /* NULL: there is no such queue */
};

struct reader {
	struct plane *plane;
	pthread_t thread;
	uint64_t random;
	_Atomic uint64_t quiescent;
	struct half *held[HELD_MAX];
	unsigned held_count;
	uint64_t wrong, lost, unknown, settled;
};

/* Hardware and data path in one. */
struct plane {
	struct classify *classify;
	_Atomic(struct view *) view;      /* control writes, readers read */
	struct view *replaced;
	_Atomic uint64_t truth[ADDRESSES]; /* version, SETTLED, and the queue where the address belongs */
	_Atomic bool over;
	struct reader readers[READERS];
	unsigned halves;                  /* that exist */
};

static uint32_t
random_below(uint64_t *state, uint32_t limit)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*state >> 33) % limit);
}

/* Until every reader has been between bursts once. The additions of 0 order the publish before what they read. */
static void
plane_synchronize(void *ctx)
{
	struct plane *plane = ctx;
	uint64_t start[READERS];

	for (unsigned i = 0; i < READERS; i++)
		start[i] = atomic_fetch_add(&plane->readers[i].quiescent, 0);
	for (unsigned i = 0; i < READERS; i++) {
		while (atomic_load(&plane->readers[i].quiescent) == start[i])
			sched_yield();
	}
}

/* What the model asks of hardware */

static int
nic_open(void *ctx, const struct adapter_config *config, void **nic, struct refusal *why)
{
	struct plane *plane = ctx;

	(void)why;
	plane->classify = classify_create(config->filters);
	assert_non_null(plane->classify);
	*nic = plane;
	return 0;
}

static void
nic_close(void *nic)
{
	struct plane *plane = nic;

	classify_destroy(plane->classify);
}

static void
nic_capabilities(void *nic, struct nic_capabilities *capabilities)
{
	(void)nic;
	*capabilities = (struct nic_capabilities){ .queues = QUEUES, .mac_filters = ADDRESSES, .mtu_max = MTU_MAX };
}

static void
nic_link(void *nic, struct nic_link *link)
{
	(void)nic;
	*link = (struct nic_link){ .up = true };
}

static int
nic_memory_get(void *nic, struct memory *memory)
{
	(void)nic;
	(void)memory;
	return 0;
}

static void
nic_memory_put(void *nic, struct memory *memory)
{
	(void)nic;
	(void)memory;
}

static int
nic_node_of_cpu(unsigned cpu)
{
	(void)cpu;
	return -1;
}

static int
nic_queue_start(void *nic, uint16_t queue, uint32_t *buffers, struct refusal *why)
{
	(void)nic;
	(void)queue;
	(void)buffers;
	(void)why;
	return 0;
}

static void
nic_queue_stop(void *nic, uint16_t queue)
{
	(void)nic;
	(void)queue;
}

static int
nic_filter_add(void *nic, uint16_t queue, uint64_t mac, uint16_t vlan)
{
	struct plane *plane = nic;

	return classify_set(plane->classify, mac, vlan, queue);
}

static void
nic_filter_remove(void *nic, uint64_t mac, uint16_t vlan)
{
	struct plane *plane = nic;

	assert_int_equal(classify_clear(plane->classify, mac, vlan), 0);
}

static void
nic_filter_move(void *nic, uint16_t queue, uint64_t mac, uint16_t vlan)
{
	struct plane *plane = nic;

	assert_int_equal(classify_set(plane->classify, mac, vlan, queue), 0);
}

static void
nic_publish(void *nic)
{
	struct plane *plane = nic;

	classify_publish(plane->classify);
}

static void
nic_retire(void *nic)
{
	struct plane *plane = nic;

	classify_retire(plane->classify);
}

static int
nic_connect(void *handle, struct refusal *why)
{
	(void)handle;
	(void)why;
	return 0;
}

static const struct nic_ops nic_ops = {
	.open = nic_open,
	.connect = nic_connect,
	.close = nic_close,
	.capabilities = nic_capabilities,
	.link = nic_link,
	.memory_get = nic_memory_get,
	.memory_put = nic_memory_put,
	.node_of_cpu = nic_node_of_cpu,
	.queue_start = nic_queue_start,
	.queue_stop = nic_queue_stop,
	.filter_add = nic_filter_add,
	.filter_remove = nic_filter_remove,
	.filter_move = nic_filter_move,
	.publish = nic_publish,
	.retire = nic_retire,
};

/* What the model asks of the data path */

static int
path_adapter_open(void *ctx, struct adapter *adapter, struct refusal *why)
{
	(void)why;
	adapter->path = ctx;
	return 0;
}

static void
path_adapter_close(void *ctx, struct adapter *adapter)
{
	struct plane *plane = ctx;

	free(atomic_exchange(&plane->view, NULL));
	adapter->path = NULL;
}

static int
path_queue_open(void *ctx, struct queue *queue, struct refusal *why)
{
	struct plane *plane = ctx;

	(void)why;
	queue->path = calloc(1, sizeof(struct half));
	assert_non_null(queue->path);
	plane->halves++;
	return 0;
}

static void
path_queue_close(void *ctx, struct queue *queue)
{
	struct plane *plane = ctx;
	struct half *half = queue->path;

	assert_int_equal(atomic_load(&half->held), 0);
	free(half);
	plane->halves--;
}

static void
path_publish(void *ctx, struct adapter *adapter)
{
	struct plane *plane = ctx;
	struct view *view = calloc(1, sizeof(*view));

	assert_non_null(view);
	view->filters = classify_table(plane->classify);
	for (unsigned id = 0; id <= QUEUES; id++) {
		const struct queue *queue = adapter->queues[id];

		if (queue && queue->state != QUEUE_DMA_STOPPED && queue->state != QUEUE_FREEING)
			view->halves[id] = queue->path;
	}
	plane->replaced = atomic_load_explicit(&plane->view, memory_order_relaxed);
	atomic_store_explicit(&plane->view, view, memory_order_release);
}

static void
path_retire(void *ctx, struct adapter *adapter)
{
	struct plane *plane = ctx;

	(void)adapter;
	free(plane->replaced);
	plane->replaced = NULL;
}

static uint32_t
path_outstanding(void *ctx, const struct queue *queue)
{
	struct half *half = queue->path;

	(void)ctx;
	return atomic_load(&half->held);
}

static const struct path_ops path_ops = {
	.adapter_open = path_adapter_open,
	.adapter_close = path_adapter_close,
	.queue_open = path_queue_open,
	.queue_close = path_queue_close,
	.publish = path_publish,
	.synchronize = plane_synchronize,
	.retire = path_retire,
	.outstanding = path_outstanding,
};

/* Readers */

static void
reader_judge(struct reader *reader, uint32_t address, uint64_t before, uint16_t queue)
{
	const uint64_t after = atomic_load(&reader->plane->truth[address]);

	if (address < MOVERS && queue == QUEUE_DEFAULT)
		reader->lost++;
	if (before != after || !(before & SETTLED))
		return;
	reader->settled++;
	if ((uint16_t)before != queue)
		reader->wrong++;
}

static void
reader_return_one(struct reader *reader)
{
	const uint32_t i = random_below(&reader->random, reader->held_count);

	atomic_fetch_sub(&reader->held[i]->held, 1);
	reader->held[i] = reader->held[--reader->held_count];
}

/* A frame is indicated on the queue, and some are kept beyond the burst. */
static void
reader_take(struct reader *reader, const struct view *view, uint16_t queue)
{
	struct half *half = view->halves[queue];

	if (!half) {
		reader->unknown++;
		return;
	}
	atomic_fetch_add_explicit(&half->received, 1, memory_order_relaxed);
	if (reader->held_count == HELD_MAX || random_below(&reader->random, 8))
		return;
	atomic_fetch_add(&half->held, 1);
	reader->held[reader->held_count++] = half;
}

static void
reader_burst(struct reader *reader)
{
	struct plane *plane = reader->plane;
	uint32_t addresses[BURST];
	uint64_t before[BURST], keys[BURST];
	uint16_t queues[BURST];
	const struct view *view;

	for (unsigned i = 0; i < BURST; i++) {
		addresses[i] = random_below(&reader->random, ADDRESSES);
		before[i] = atomic_load(&plane->truth[addresses[i]]);
		keys[i] = frame_key_of(MAC + addresses[i], 10);
	}
	view = atomic_load_explicit(&plane->view, memory_order_acquire);
	match_find_burst(view->filters, keys, queues, BURST);
	for (unsigned i = 0; i < BURST; i++) {
		reader_judge(reader, addresses[i], before[i], queues[i]);
		reader_take(reader, view, queues[i]);
	}
}

static void *
reader_main(void *argument)
{
	struct reader *reader = argument;

	while (!atomic_load(&reader->plane->over)) {
		reader_burst(reader);
		atomic_fetch_add(&reader->quiescent, 1);
		for (unsigned i = 0; i < 2 && reader->held_count; i++)
			reader_return_one(reader);
		sched_yield();
	}
	while (reader->held_count)
		reader_return_one(reader);
	return NULL;
}

/* Control: random requests, most of them good */

struct storm {
	struct plane *plane;
	struct model *model;
	struct adapter *adapter;
	uint64_t random;
	struct filter *filters[ADDRESSES];
	unsigned frees, freed;
};

static const struct caller root = { .uid = 0 };

static struct queue *
any_queue(struct storm *storm)
{
	return storm->adapter->queues[random_below(&storm->random, QUEUES + 1)];
}

static void
count_freed(void *ctx, int status)
{
	struct storm *storm = ctx;

	assert_int_equal(status, 0);
	storm->freed++;
}

static void
request_queue(struct storm *storm)
{
	const struct queue_parameters parameters = { 0 };
	const struct completion freed = { count_freed, storm };
	struct queue *queue = any_queue(storm);

	if (!queue)
		assert_int_equal(queue_allocate(storm->adapter, &parameters, &root, &queue, NULL), 0);
	else if (queue->state == QUEUE_ALLOCATED || queue->state == QUEUE_SET)
		assert_int_equal(queue_complete(queue, &root, NULL), 0);
	else if (queue->id > STAYING && !queue_free(queue, &root, freed, NULL))
		storm->frees++;
}

static void
request_filter(struct storm *storm)
{
	const uint32_t address = MOVERS + random_below(&storm->random, ADDRESSES - MOVERS);
	struct filter *filter = storm->filters[address];
	struct queue *queue = any_queue(storm);

	if (!filter && queue && !filter_set(queue, MAC + address, 10, &root, &filter, NULL))
		storm->filters[address] = filter;
	else if (filter && random_below(&storm->random, 3) && !filter_clear(filter, &root, NULL))
		storm->filters[address] = NULL;
	else if (filter && queue)
		filter_move(filter, queue, &root, NULL);
}

static void
request_move(struct storm *storm)
{
	struct filter *filter = storm->filters[random_below(&storm->random, MOVERS)];
	struct queue *to = storm->adapter->queues[1 + random_below(&storm->random, STAYING)];

	if (filter->queue != to)
		assert_int_equal(filter_move(filter, to, &root, NULL), 0);
}

static uint16_t
belongs(const struct filter *filter)
{
	return filter && filter->queue->state == QUEUE_RUNNING ? filter->queue->id : QUEUE_DEFAULT;
}

/* Before the commit an address that is about to change is told to readers as unsettled; after it, all are settled. */
static void
storm_commit(struct storm *storm)
{
	_Atomic uint64_t *truth = storm->plane->truth;

	for (unsigned i = 0; i < ADDRESSES; i++) {
		const uint64_t old = atomic_load(&truth[i]);

		if ((uint16_t)old != belongs(storm->filters[i]))
			atomic_store(&truth[i], (old / VERSION + 1) * VERSION | belongs(storm->filters[i]));
	}
	model_commit(storm->model);
	for (unsigned i = 0; i < ADDRESSES; i++)
		atomic_fetch_or(&truth[i], SETTLED);
}

static void
storm_round(struct storm *storm)
{
	static void (*const requests[])(struct storm * storm) = { request_queue, request_filter, request_filter,
								  request_move };

	for (uint32_t i = random_below(&storm->random, REQUESTS_MAX); i > 0; i--)
		requests[random_below(&storm->random, 4)](storm);
	storm_commit(storm);
}

static void
storm_start(struct storm *storm)
{
	struct model_config config = {
		.nic = &nic_ops, .nic_ctx = storm->plane, .path = &path_ops, .path_ctx = storm->plane
	};
	const struct queue_parameters parameters = { 0 };
	struct adapter_config adapter;
	struct queue *queue;

	cpumask_add(&config.cpus, 0);
	storm->model = model_create(&config);
	adapter_config_default(&adapter);
	strcpy(adapter.name, "eth0");
	strcpy(adapter.port, "none");
	adapter.queues = QUEUES;
	adapter.filters = ADDRESSES;
	assert_int_equal(adapter_add(storm->model, &adapter, &root, false, &storm->adapter, NULL), 0);
	for (unsigned id = 1; id <= STAYING; id++) {
		assert_int_equal(queue_allocate(storm->adapter, &parameters, &root, &queue, NULL), 0);
		assert_int_equal(queue_complete(queue, &root, NULL), 0);
	}
	for (unsigned i = 0; i < MOVERS; i++) {
		queue = storm->adapter->queues[1 + i % STAYING];
		assert_int_equal(filter_set(queue, MAC + i, 10, &root, &storm->filters[i], NULL), 0);
	}
}

static void
readers_start(struct plane *plane, uint64_t seed)
{
	for (unsigned i = 0; i < READERS; i++) {
		plane->readers[i] = (struct reader){ .plane = plane, .random = seed + i };
		assert_int_equal(pthread_create(&plane->readers[i].thread, NULL, reader_main, &plane->readers[i]), 0);
	}
}

static void
readers_end(struct plane *plane)
{
	atomic_store(&plane->over, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(plane->readers[i].thread, NULL);
}

static void
count_closed(void *ctx, int status)
{
	(void)status;
	*(bool *)ctx = true;
}

/* The last commits have no reader left to wait for. */
static void
plane_alone(void *ctx)
{
	(void)ctx;
}

static void
storm_end(struct storm *storm)
{
	struct path_ops alone = path_ops;
	bool closed = false;

	alone.synchronize = plane_alone;
	storm->model->config.path = &alone;
	while (model_poll(storm->model))
		;
	assert_int_equal(storm->freed, storm->frees);
	assert_int_equal(adapter_del(storm->adapter, &root, (struct completion){ count_closed, &closed }, NULL), 0);
	model_commit(storm->model);
	while (!closed)
		model_poll(storm->model);
	model_destroy(storm->model);
	assert_int_equal(storm->plane->halves, 0);
}

static void
requests_in_the_storm(void **state)
{
	static struct plane plane;
	static struct storm storm;
	const uint64_t seed = (uint64_t)time(NULL) << 20 ^ (uint64_t)clock();

	(void)state;
	storm.plane = &plane;
	storm.random = seed;
	storm_start(&storm);
	nic_publish(&plane);
	nic_retire(&plane);
	path_publish(&plane, storm.adapter);
	readers_start(&plane, seed);
	for (unsigned i = 0; i < ROUNDS; i++)
		storm_round(&storm);
	readers_end(&plane);
	storm_end(&storm);
	assert_true(storm.freed > 0);
	for (unsigned i = 0; i < READERS; i++) {
		const struct reader *reader = &plane.readers[i];

		if (reader->wrong || reader->lost || reader->unknown || !reader->settled)
			fail_msg("seed %#lx, reader %u: %lu of %lu wrong, %lu of movers by default, %lu on no queue",
				 seed, i, reader->wrong, reader->settled, reader->lost, reader->unknown);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_in_the_storm),
	};

	return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}
