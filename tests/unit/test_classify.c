/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pair of tables: what readers see before publish, after it, and after retire; and readers in full flight
 * while filters come, go and move. The grace period is a counter a reader, raised between bursts.
 */
#include "filter/classify.h"
#include "frame/key.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#define MAC UINT64_C(0x525400000001)

static uint16_t
seen(const struct classify *classify, uint64_t mac, uint16_t vlan)
{
	const uint64_t key = frame_key_of(mac, vlan);
	uint16_t queue = 0xdead;

	match_find_burst(classify_table(classify), &key, &queue, 1);
	return queue;
}

static void
commit(struct classify *classify)
{
	classify_publish(classify);
	classify_retire(classify);
}

static void
change_is_seen_from_publish_on(void **state)
{
	struct classify *classify = classify_create(8);

	(void)state;
	assert_int_equal(classify_set(classify, MAC, 10, 3), 0);
	assert_int_equal(seen(classify, MAC, 10), 0);
	classify_publish(classify);
	assert_int_equal(seen(classify, MAC, 10), 3);
	classify_retire(classify);
	assert_int_equal(seen(classify, MAC, 10), 3);
	assert_int_equal(classify_set(classify, MAC, 10, 4), 0);
	assert_int_equal(seen(classify, MAC, 10), 3);
	commit(classify);
	assert_int_equal(seen(classify, MAC, 10), 4);
	assert_int_equal(classify_clear(classify, MAC, 10), 0);
	assert_int_equal(seen(classify, MAC, 10), 4);
	commit(classify);
	assert_int_equal(seen(classify, MAC, 10), 0);
	classify_destroy(classify);
}

static void
old_table_stands_until_retire(void **state)
{
	struct classify *classify = classify_create(8);
	const uint64_t key = frame_key_of(MAC, 10);
	const struct match *old;
	uint16_t queue;

	(void)state;
	assert_int_equal(classify_set(classify, MAC, 10, 3), 0);
	commit(classify);
	old = classify_table(classify);
	assert_int_equal(classify_clear(classify, MAC, 10), 0);
	classify_publish(classify);
	match_find_burst(old, &key, &queue, 1);
	assert_int_equal(queue, 3);
	assert_int_equal(seen(classify, MAC, 10), 0);
	classify_retire(classify);
	match_find_burst(old, &key, &queue, 1);
	assert_int_equal(queue, 0);
	classify_destroy(classify);
}

static void
both_tables_hold_the_changes(void **state)
{
	struct classify *classify = classify_create(8);

	(void)state;
	assert_int_equal(classify_set(classify, MAC, 10, 3), 0);
	assert_int_equal(classify_set(classify, MAC, VLAN_ANY, 5), 0);
	assert_int_equal(classify_set(classify, MAC + 1, 10, 4), 0);
	assert_int_equal(classify_clear(classify, MAC + 1, 10), 0);
	assert_int_equal(classify_set(classify, MAC, 10, 6), 0);
	for (int i = 0; i < 5; i++) {
		commit(classify);
		assert_int_equal(seen(classify, MAC, 10), 5);
		assert_int_equal(seen(classify, MAC, 11), 5);
		assert_int_equal(seen(classify, MAC + 1, 10), 0);
	}
	classify_destroy(classify);
}

static void
publish_without_changes(void **state)
{
	struct classify *classify = classify_create(0);

	(void)state;
	for (int i = 0; i < 3; i++)
		commit(classify);
	assert_int_equal(seen(classify, MAC, 10), 0);
	classify_destroy(classify);
}

static void
refused_changes_are_not_replayed(void **state)
{
	struct classify *classify = classify_create(2);

	(void)state;
	assert_int_equal(classify_clear(classify, MAC, 10), -ENOENT);
	assert_int_equal(classify_set(classify, MAC, 10, 1), 0);
	assert_int_equal(classify_set(classify, MAC, 11, 1), 0);
	assert_int_equal(classify_set(classify, MAC, 12, 1), -ENOSPC);
	assert_int_equal(classify_clear(classify, MAC, 13), -ENOENT);
	for (int i = 0; i < 3; i++) {
		commit(classify);
		assert_int_equal(seen(classify, MAC, 10), 1);
		assert_int_equal(seen(classify, MAC, 11), 1);
		assert_int_equal(seen(classify, MAC, 12), 0);
		assert_int_equal(classify_set(classify, MAC, 12, 1), -ENOSPC);
	}
	classify_destroy(classify);
}

static void
many_changes_in_one_publish(void **state)
{
	enum { FILTERS = 5000 };
	struct classify *classify = classify_create(FILTERS);

	(void)state;
	for (uint64_t i = 0; i < FILTERS; i++)
		assert_int_equal(classify_set(classify, MAC + i, 10, (uint16_t)(1 + i % 9)), 0);
	for (uint64_t i = 0; i < FILTERS; i += 2)
		assert_int_equal(classify_clear(classify, MAC + i, 10), 0);
	for (int round = 0; round < 2; round++) {
		commit(classify);
		for (uint64_t i = 0; i < FILTERS; i++)
			assert_int_equal(seen(classify, MAC + i, 10), i % 2 ? 1 + i % 9 : 0);
	}
	classify_destroy(classify);
}

static void
destroy_of_nothing(void **state)
{
	(void)state;
	classify_destroy(NULL);
}

static void
destroy_between_publish_and_retire(void **state)
{
	struct classify *classify = classify_create(8);

	(void)state;
	assert_int_equal(classify_set(classify, MAC, 10, 1), 0);
	classify_publish(classify);
	classify_destroy(classify);
}

/*
 * The storm. What a reader may see of an address is in one word that the writer changes around a publish:
 * version * VERSION | SETTLED | queue. If the word is the same before and after a burst and settled, the burst
 * must have seen that queue. An address below MOVERS has a filter throughout: never the default queue.
 */
enum {
	READERS = 2,
	ADDRESSES = 48,
	MOVERS = 24,
	ROUNDS = 20000,
	BURST = 32,
	SETTLED = 1 << 16,
	VERSION = 1 << 17,
};

struct storm {
	struct classify *classify;
	_Atomic uint64_t truth[ADDRESSES]; /* writer writes, readers read */
	_Atomic bool over;
};

struct reader {
	struct storm *storm;
	pthread_t thread;
	_Atomic uint64_t quiescent;        /* raised between bursts, when the reader holds no table */
	uint64_t random;
	uint64_t wrong;                    /* settled, and another queue was seen */
	uint64_t lost;                     /* a mover was seen on the default queue */
	uint64_t settled;                  /* look-ups that were held against the truth */
};

static uint32_t
random_below(uint64_t *random, uint32_t limit)
{
	*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*random >> 33) % limit);
}

/* Every third address has its filter on any VLAN, the rest on one. */
static uint16_t
filter_vlan(uint32_t address)
{
	return address % 3 ? 10 : VLAN_ANY;
}

static void
reader_judge(struct reader *reader, uint32_t address, uint64_t before, uint64_t after, uint16_t queue)
{
	if (address < MOVERS && queue == 0)
		reader->lost++;
	if (before != after || !(before & SETTLED))
		return;
	reader->settled++;
	reader->wrong += queue != (uint16_t)before;
}

static void
reader_burst(struct reader *reader)
{
	struct storm *storm = reader->storm;
	const struct match *match;
	uint32_t addresses[BURST];
	uint64_t before[BURST], keys[BURST];
	uint16_t queues[BURST];

	for (unsigned i = 0; i < BURST; i++) {
		addresses[i] = random_below(&reader->random, ADDRESSES);
		before[i] = atomic_load(&storm->truth[addresses[i]]);
		keys[i] = frame_key_of(MAC + addresses[i], 10);
	}
	match = classify_table(storm->classify);
	match_find_burst(match, keys, queues, BURST);
	for (unsigned i = 0; i < BURST; i++)
		reader_judge(reader, addresses[i], before[i], atomic_load(&storm->truth[addresses[i]]), queues[i]);
}

static void *
reader_main(void *argument)
{
	struct reader *reader = argument;

	while (!atomic_load(&reader->storm->over)) {
		reader_burst(reader);
		atomic_fetch_add(&reader->quiescent, 1);
		sched_yield();
	}
	return NULL;
}

/* Until every reader has been between bursts once. The additions of 0 order the publish before what they read. */
static void
grace_period(struct reader readers[READERS])
{
	uint64_t start[READERS];

	for (unsigned i = 0; i < READERS; i++)
		start[i] = atomic_fetch_add(&readers[i].quiescent, 0);
	for (unsigned i = 0; i < READERS; i++) {
		while (atomic_load(&readers[i].quiescent) == start[i])
			sched_yield();
	}
}

/* The next queue of an address: movers go between 1 and 9, the others are set and cleared in turn. */
static uint16_t
next_queue(const struct storm *storm, uint32_t address, uint64_t *random)
{
	if (address >= MOVERS && (uint16_t)storm->truth[address])
		return 0;
	return (uint16_t)(1 + random_below(random, 9));
}

static void
storm_change(struct storm *storm, uint32_t address, uint16_t queue)
{
	const uint64_t truth = storm->truth[address];
	int error;

	atomic_store(&storm->truth[address], (truth / VERSION + 1) * VERSION | queue);
	if (queue)
		error = classify_set(storm->classify, MAC + address, filter_vlan(address), queue);
	else
		error = classify_clear(storm->classify, MAC + address, filter_vlan(address));
	assert_int_equal(error, 0);
}

static void
storm_round(struct storm *storm, struct reader readers[READERS], uint64_t *random)
{
	uint32_t changed[4];
	const uint32_t count = random_below(random, 5);

	for (uint32_t i = 0; i < count; i++) {
		changed[i] = random_below(random, ADDRESSES / 4) * 4 + i;
		storm_change(storm, changed[i], next_queue(storm, changed[i], random));
	}
	classify_publish(storm->classify);
	grace_period(readers);
	for (uint32_t i = 0; i < count; i++)
		atomic_fetch_or(&storm->truth[changed[i]], SETTLED);
	classify_retire(storm->classify);
}

static void
storm_start(struct storm *storm, struct reader readers[READERS], uint64_t seed)
{
	for (uint32_t address = 0; address < MOVERS; address++)
		storm_change(storm, address, 1);
	commit(storm->classify);
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .storm = storm, .random = seed + i };
		assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]), 0);
	}
}

static void
readers_in_the_storm(void **state)
{
	static struct storm storm;
	static struct reader readers[READERS];
	const uint64_t seed = (uint64_t)time(NULL) << 20 ^ (uint64_t)clock();
	uint64_t random = seed;

	(void)state;
	storm.classify = classify_create(ADDRESSES);
	assert_non_null(storm.classify);
	storm_start(&storm, readers, seed);
	for (unsigned i = 0; i < ROUNDS; i++)
		storm_round(&storm, readers, &random);
	atomic_store(&storm.over, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(readers[i].thread, NULL);
	classify_destroy(storm.classify);
	for (unsigned i = 0; i < READERS; i++) {
		if (readers[i].wrong || readers[i].lost || !readers[i].settled)
			fail_msg("seed %#lx, reader %u: %lu of %lu look-ups wrong, %lu of movers by default", seed, i,
				 readers[i].wrong, readers[i].settled, readers[i].lost);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(change_is_seen_from_publish_on),
		cmocka_unit_test(old_table_stands_until_retire),
		cmocka_unit_test(both_tables_hold_the_changes),
		cmocka_unit_test(publish_without_changes),
		cmocka_unit_test(refused_changes_are_not_replayed),
		cmocka_unit_test(many_changes_in_one_publish),
		cmocka_unit_test(destroy_of_nothing),
		cmocka_unit_test(destroy_between_publish_and_retire),
		cmocka_unit_test(readers_in_the_storm),
	};

	return cmocka_run_group_tests_name("classify", tests, NULL, NULL);
}
