/* SPDX-License-Identifier: BSD-3-Clause */
/* The match table: its functions, its refusals, hostile sets of addresses, and random traffic beside the oracle. */
#include "frame/key.h"
#include "filter/match.h"
#include "oracle.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#define MAC UINT64_C(0x525400000001)
#define DROP 0xffff
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t random_state;

static uint64_t
random64(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint32_t
random_below(uint32_t limit)
{
	return (uint32_t)(random64() % limit);
}

static uint16_t
find_one(const struct match *match, uint64_t mac, uint16_t vlan)
{
	const uint64_t key = frame_key_of(mac, vlan);
	uint16_t queue = 0xdead;

	match_find_burst(match, &key, &queue, 1);
	return queue;
}

static void
set_get_clear(void **state)
{
	struct match *match = match_create(16);
	uint16_t queue = 77;

	(void)state;
	assert_int_equal(match_get(match, MAC, 10, &queue), -ENOENT);
	assert_int_equal(queue, 77);
	assert_int_equal(match_set(match, MAC, 10, 3), 0);
	assert_int_equal(match_get(match, MAC, 10, &queue), 0);
	assert_int_equal(queue, 3);
	assert_int_equal(match_get(match, MAC, VLAN_ANY, &queue), -ENOENT);
	assert_int_equal(match_set(match, MAC, 10, 4), 0);
	assert_int_equal(match_get(match, MAC, 10, &queue), 0);
	assert_int_equal(queue, 4);
	assert_int_equal(match_clear(match, MAC, 10), 0);
	assert_int_equal(match_get(match, MAC, 10, &queue), -ENOENT);
	match_destroy(match);
}

static void
clear_of_nothing_is_refused(void **state)
{
	struct match *match = match_create(16);

	(void)state;
	assert_int_equal(match_clear(match, MAC, VLAN_UNTAGGED), -ENOENT);
	assert_int_equal(match_set(match, MAC, VLAN_UNTAGGED, 1), 0);
	assert_int_equal(match_clear(match, MAC, 1), -ENOENT);
	assert_int_equal(match_clear(match, MAC, VLAN_ANY), -ENOENT);
	assert_int_equal(match_clear(match, MAC + 1, VLAN_UNTAGGED), -ENOENT);
	assert_int_equal(match_clear(match, MAC, VLAN_UNTAGGED), 0);
	assert_int_equal(match_clear(match, MAC, VLAN_UNTAGGED), -ENOENT);
	match_destroy(match);
}

static void
set_beyond_capacity_is_refused(void **state)
{
	static const uint32_t capacities[] = { 0, 1, 2, 5, 6, 7, 8, 64, 100, 1000 };

	(void)state;
	for (size_t i = 0; i < COUNT(capacities); i++) {
		struct match *match = match_create(capacities[i]);

		for (uint32_t j = 0; j < capacities[i]; j++)
			assert_int_equal(match_set(match, MAC + j, 10, 1), 0);
		assert_int_equal(match_set(match, MAC, 11, 1), -ENOSPC);
		assert_int_equal(find_one(match, MAC, 11), 0);
		if (capacities[i]) {
			assert_int_equal(match_set(match, MAC, 10, 2), 0); /* a replacement needs no room */
			assert_int_equal(match_clear(match, MAC, 10), 0);
			assert_int_equal(match_set(match, MAC, 11, 1), 0);
		}
		match_destroy(match);
	}
}

static void
destroy_of_nothing(void **state)
{
	(void)state;
	match_destroy(NULL);
}

static void
burst_of_none(void **state)
{
	struct match *match = match_create(1);
	uint64_t key = frame_key_of(MAC, 1);
	uint16_t queue = 77;

	(void)state;
	assert_int_equal(match_set(match, MAC, VLAN_ANY, 1), 0);
	match_find_burst(match, &key, &queue, 0);
	assert_int_equal(queue, 77);
	match_destroy(match);
}

struct find_case {
	const char *name;
	struct oracle_filter filters[3]; /* mac 0: no more */
	uint64_t mac;
	uint16_t vlan;
	uint16_t queue;
};

static struct find_case find_cases[] = {
	{ "no filter at all", { { 0 } }, MAC, 10, 0 },
	{ "exact id", { { 3, true, MAC, 10 } }, MAC, 10, 3 },
	{ "exact id, other id", { { 3, true, MAC, 10 } }, MAC, 11, 0 },
	{ "exact id, untagged frame", { { 3, true, MAC, 10 } }, MAC, VLAN_UNTAGGED, 0 },
	{ "exact id, other address", { { 3, true, MAC, 10 } }, MAC + 1, 10, 0 },
	{ "untagged", { { 3, true, MAC, VLAN_UNTAGGED } }, MAC, VLAN_UNTAGGED, 3 },
	{ "untagged, tagged frame", { { 3, true, MAC, VLAN_UNTAGGED } }, MAC, 1, 0 },
	{ "any, tagged frame", { { 3, true, MAC, VLAN_ANY } }, MAC, 10, 3 },
	{ "any, untagged frame", { { 3, true, MAC, VLAN_ANY } }, MAC, VLAN_UNTAGGED, 3 },
	{ "any, id 4095", { { 3, true, MAC, VLAN_ANY } }, MAC, 4095, 3 },
	{ "any, other address", { { 3, true, MAC, VLAN_ANY } }, MAC + 1, 10, 0 },
	{ "id 4095 passes no exact filter", { { 3, true, MAC, 4094 }, { 4, true, MAC, 1 } }, MAC, 4095, 0 },
	{ "any on the lower queue", { { 1, true, MAC, VLAN_ANY }, { 2, true, MAC, 10 } }, MAC, 10, 1 },
	{ "exact on the lower queue", { { 2, true, MAC, VLAN_ANY }, { 1, true, MAC, 10 } }, MAC, 10, 1 },
	{ "both on one queue", { { 2, true, MAC, VLAN_ANY }, { 2, true, MAC, 10 } }, MAC, 10, 2 },
	{ "default queue before any", { { 0, true, MAC, 10 }, { 1, true, MAC, VLAN_ANY } }, MAC, 10, 0 },
	{ "default queue's any before exact", { { 1, true, MAC, 10 }, { 0, true, MAC, VLAN_ANY } }, MAC, 10, 0 },
	{ "drop queue", { { DROP, true, MAC, 10 } }, MAC, 10, DROP },
	{ "drop queue's any", { { DROP, true, MAC, VLAN_ANY } }, MAC, 10, DROP },
	{ "drop queue after any other", { { DROP, true, MAC, 10 }, { 1024, true, MAC, VLAN_ANY } }, MAC, 10, 1024 },
	{ "malformed", { { 1, true, MAC, 10 } }, 0, 0, 0 },
	{ "malformed, with any about", { { 1, true, MAC, VLAN_ANY }, { 2, true, MAC, VLAN_UNTAGGED } }, 0, 0, 0 },
	{ "broadcast", { { 1, true, MAC, VLAN_ANY } }, MAC_BROADCAST, VLAN_UNTAGGED, 0 },
};

static void
find_row(void **state)
{
	const struct find_case *row = *state;
	struct match *match = match_create(COUNT(row->filters));

	for (size_t i = 0; i < COUNT(row->filters) && row->filters[i].mac; i++) {
		const struct oracle_filter *filter = &row->filters[i];

		assert_int_equal(match_set(match, filter->mac, filter->vlan, filter->queue), 0);
	}
	assert_int_equal(find_one(match, row->mac, row->vlan), row->queue);
	match_destroy(match);
}

/* A malformed frame's key equals that of an empty slot: whatever stood in the slot must be gone. */
static void
malformed_after_clear(void **state)
{
	struct match *match = match_create(8);

	(void)state;
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(match_set(match, MAC + i, VLAN_ANY, 5), 0);
	for (uint64_t i = 0; i < 8; i++) {
		assert_int_equal(match_clear(match, MAC + i, VLAN_ANY), 0);
		assert_int_equal(find_one(match, 0, 0), 0);
	}
	match_destroy(match);
}

struct pattern {
	const char *name;
	uint64_t (*mac)(uint32_t number);
	uint16_t (*vlan)(uint32_t number);
};

static uint64_t
mac_same(uint32_t number)
{
	return MAC + (number / VLAN_LAST) * UINT64_C(0x10000000000);
}

static uint64_t
mac_low(uint32_t number)
{
	return MAC + number;
}

static uint64_t
mac_high(uint32_t number)
{
	return (uint64_t)number << 29 | 1;
}

static uint64_t
mac_strided(uint32_t number)
{
	return MAC + ((uint64_t)number << 16);
}

static uint16_t
vlan_each(uint32_t number)
{
	return (uint16_t)(VLAN_FIRST + number % VLAN_LAST);
}

static uint16_t
vlan_none(uint32_t number)
{
	(void)number;
	return VLAN_UNTAGGED;
}

static struct pattern patterns[] = {
	{ "few addresses, every VLAN, to capacity", mac_same, vlan_each },
	{ "consecutive addresses, to capacity", mac_low, vlan_none },
	{ "addresses that differ above bit 28, to capacity", mac_high, vlan_none },
	{ "addresses 65536 apart, to capacity", mac_strided, vlan_none },
	{ "consecutive addresses and VLANs, to capacity", mac_low, vlan_each },
};

/* Whoever chooses the addresses: every filter finds a place, is found, and leaves nothing behind. */
static void
fill_and_empty(void **state)
{
	enum { CAPACITY = 131072 };
	const struct pattern *row = *state;
	struct match *match = match_create(CAPACITY);

	for (uint32_t i = 0; i < CAPACITY; i++) {
		if (match_set(match, row->mac(i), row->vlan(i), (uint16_t)(1 + i % 1000)))
			fail_msg("filter %u found no place", i);
	}
	assert_int_equal(match_set(match, UINT64_C(0xaaaaaaaaaa), 7, 1), -ENOSPC);
	for (uint32_t i = 0; i < CAPACITY; i++) {
		if (find_one(match, row->mac(i), row->vlan(i)) != 1 + i % 1000)
			fail_msg("filter %u is not found", i);
	}
	for (uint32_t i = 0; i < CAPACITY; i++) {
		if (match_clear(match, row->mac(i), row->vlan(i)))
			fail_msg("filter %u cannot be cleared", i);
		if (find_one(match, row->mac(i), row->vlan(i)))
			fail_msg("filter %u is found after its clear", i);
	}
	match_destroy(match);
}

/* A world of random filters: `filters` as the oracle reads them, `match` as the table holds those that run. */
struct world {
	uint32_t macs;
	const uint16_t *vlans;
	uint32_t vlan_count;
	struct oracle_filter *filters;
	uint32_t count;
	uint32_t limit;
	struct match *match;
	bool running[8]; /* by place in queues[] */
};

static const uint16_t queues[8] = { 0, 1, 2, 3, 7, 64, 1024, DROP };
static const uint16_t few_vlans[] = { VLAN_UNTAGGED, 1, 2, 10, 4094, VLAN_ANY };
static const uint16_t exact_vlans[] = { VLAN_UNTAGGED, 1, 2, 10, 4094 };

static uint64_t
world_mac(uint32_t number)
{
	return MAC + number;
}

static void
world_show(const struct world *world, const struct oracle_filter *filter)
{
	int error = filter->running ? match_set(world->match, filter->mac, filter->vlan, filter->queue) :
				      match_clear(world->match, filter->mac, filter->vlan);

	assert_int_equal(error, 0);
}

static struct oracle_filter *
world_find(const struct world *world, uint64_t mac, uint16_t vlan)
{
	for (uint32_t i = 0; i < world->count; i++) {
		if (world->filters[i].mac == mac && world->filters[i].vlan == vlan)
			return &world->filters[i];
	}
	return NULL;
}

static void
world_clear(struct world *world, struct oracle_filter *filter)
{
	if (filter->running)
		assert_int_equal(match_clear(world->match, filter->mac, filter->vlan), 0);
	*filter = world->filters[--world->count];
}

/* Set a filter; one that is there moves to another queue. */
static void
world_set(struct world *world, uint64_t mac, uint16_t vlan, uint32_t queue)
{
	struct oracle_filter *filter = world_find(world, mac, vlan);

	if (filter && filter->running && !world->running[queue]) {
		world_clear(world, filter);
		filter = NULL;
	}
	if (!filter && world->count == world->limit)
		return;
	if (!filter)
		filter = &world->filters[world->count++];
	*filter = (struct oracle_filter){ queues[queue], world->running[queue], mac, vlan };
	if (filter->running)
		world_show(world, filter);
}

/* A queue starts or stops running: all its filters with it. The default and the drop queue always run. */
static void
world_toggle(struct world *world, uint32_t queue)
{
	if (queues[queue] == 0 || queues[queue] == DROP)
		return;
	world->running[queue] = !world->running[queue];
	for (uint32_t i = 0; i < world->count; i++) {
		if (world->filters[i].queue != queues[queue])
			continue;
		world->filters[i].running = world->running[queue];
		world_show(world, &world->filters[i]);
	}
}

static void
world_churn(struct world *world)
{
	const uint32_t dice = random_below(20);

	if (dice == 0)
		world_toggle(world, random_below(COUNT(queues)));
	else if (dice < 8 && world->count)
		world_clear(world, &world->filters[random_below(world->count)]);
	else
		world_set(world, world_mac(random_below(world->macs)), world->vlans[random_below(world->vlan_count)],
			  random_below(COUNT(queues)));
}

static void
world_create(struct world *world)
{
	world->filters = calloc(world->limit, sizeof(*world->filters));
	world->match = match_create(world->limit);
	assert_non_null(world->filters);
	assert_non_null(world->match);
	for (uint32_t i = 0; i < COUNT(queues); i++)
		world->running[i] = true;
}

static void
world_destroy(struct world *world)
{
	match_destroy(world->match);
	free(world->filters);
}

static uint64_t
frame_destination(const struct world *world)
{
	static const uint64_t others[] = { 0, MAC_BROADCAST, UINT64_C(0x01005e000001), UINT64_C(0x333300000001),
					   MAC | UINT64_C(0x010000000000), MAC | UINT64_C(0x800000000000) };

	if (random_below(8) == 0)
		return others[random_below(COUNT(others))];
	return world_mac(random_below(world->macs + 1));
}

/* A random frame at `bytes`; the length that it has been cut to. */
static uint32_t
frame_draw(const struct world *world, uint8_t bytes[64])
{
	static const uint16_t types[] = { 0x0800, 0x8100, 0x8100, 0x88a8, 0x8100, 0x9100, 0x86dd };
	static const uint16_t vids[] = { 0, 1, 2, 10, 11, 4094, 4095 };
	uint32_t at = 12;

	mac_store(frame_destination(world), bytes);
	mac_store(random64() >> 16, bytes + 6);
	for (uint32_t tags = 0; tags < 3; tags++, at += 4) {
		const uint16_t type = types[random_below(COUNT(types))];
		const uint16_t tag = (uint16_t)(random_below(16) << 12 | vids[random_below(COUNT(vids))]);

		bytes[at] = (uint8_t)(type >> 8);
		bytes[at + 1] = (uint8_t)type;
		bytes[at + 2] = (uint8_t)(tag >> 8);
		bytes[at + 3] = (uint8_t)tag;
	}
	return random_below(10) ? 64 : random_below(20);
}

static void
compare_burst(const struct world *world, uint64_t seed)
{
	enum { BURST = MATCH_BURST_MAX };
	uint8_t frames[BURST][64] = { 0 };
	uint32_t lengths[BURST];
	uint64_t keys[BURST];
	uint16_t found[BURST];
	const uint16_t n = (uint16_t)(random_below(4) ? BURST : 1 + random_below(BURST));

	for (uint16_t i = 0; i < n; i++) {
		lengths[i] = frame_draw(world, frames[i]);
		keys[i] = frame_key(frames[i], lengths[i]);
	}
	match_find_burst(world->match, keys, found, n);
	for (uint16_t i = 0; i < n; i++) {
		const uint16_t queue = oracle_queue(world->filters, world->count, frames[i], lengths[i]);

		if (found[i] != queue)
			fail_msg("seed %#lx: frame of key %#lx and length %u to queue %u, not %u", seed, keys[i],
				 lengths[i], found[i], queue);
	}
}

/* Two million frames and more in all, over sets of filters that change between bursts. */
static void
compare(struct world world, uint32_t bursts, uint32_t churn)
{
	const uint64_t seed = (uint64_t)time(NULL) << 20 ^ (uint64_t)clock();

	random_state = seed;
	world_create(&world);
	while (world.count < world.limit / 2)
		world_set(&world, world_mac(random_below(world.macs)), world.vlans[random_below(world.vlan_count)],
			  random_below(COUNT(queues)));
	for (uint32_t i = 0; i < bursts; i++) {
		for (uint32_t j = random_below(churn + 1); j > 0; j--)
			world_churn(&world);
		compare_burst(&world, seed);
	}
	world_destroy(&world);
}

static void
oracle_small_world(void **state)
{
	(void)state;
	compare((struct world){ .macs = 8, .vlans = few_vlans, .vlan_count = COUNT(few_vlans), .limit = 40 }, 20000, 3);
}

static void
oracle_exact_only(void **state)
{
	(void)state;
	compare((struct world){ .macs = 8, .vlans = exact_vlans, .vlan_count = COUNT(exact_vlans), .limit = 30 }, 10000,
		3);
}

static void
oracle_few_filters(void **state)
{
	(void)state;
	compare((struct world){ .macs = 2, .vlans = few_vlans, .vlan_count = COUNT(few_vlans), .limit = 7 }, 10000, 2);
}

static void
oracle_large_world(void **state)
{
	(void)state;
	compare((struct world){ .macs = 700, .vlans = few_vlans, .vlan_count = COUNT(few_vlans), .limit = 3000 }, 800,
		40);
}

static const struct CMUnitTest fixed[] = {
	cmocka_unit_test(set_get_clear),
	cmocka_unit_test(clear_of_nothing_is_refused),
	cmocka_unit_test(set_beyond_capacity_is_refused),
	cmocka_unit_test(destroy_of_nothing),
	cmocka_unit_test(burst_of_none),
	cmocka_unit_test(malformed_after_clear),
	cmocka_unit_test(oracle_small_world),
	cmocka_unit_test(oracle_exact_only),
	cmocka_unit_test(oracle_few_filters),
	cmocka_unit_test(oracle_large_world),
};

int
main(void)
{
	struct CMUnitTest tests[COUNT(fixed) + COUNT(find_cases) + COUNT(patterns)] = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < COUNT(fixed); i++)
		tests[n++] = fixed[i];
	for (size_t i = 0; i < COUNT(find_cases); i++)
		tests[n++] = (struct CMUnitTest){ .name = find_cases[i].name, .test_func = find_row,
						  .initial_state = &find_cases[i] };
	for (size_t i = 0; i < COUNT(patterns); i++)
		tests[n++] = (struct CMUnitTest){ .name = patterns[i].name, .test_func = fill_and_empty,
						  .initial_state = &patterns[i] };
	return cmocka_run_group_tests_name("match", tests, NULL, NULL);
}
