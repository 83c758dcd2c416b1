/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Look-ups by (MAC, VLAN), burst by burst: the match table beside DPDK's rte_hash, in turn, on the same keys.
 * Prints nanoseconds a key, median (least to most) of the rounds. Run it on one processor:
 *   taskset -c 1 bench_match --no-huge --no-shconf --no-pci
 */
#include "frame/key.h"
#include "filter/match.h"

#include <rte_eal.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
	BURST = 32,
	WORK_KEYS = 65536,       /* drawn from the filters, looked up in this order */
	ROUND_KEYS = 1 << 21,    /* look-ups in a round of one side */
	ROUNDS = 11,
	FILTERS_MAX = 65536,
	QUEUES = 64,
};

struct contest {
	uint32_t filters;
	struct match *match;
	struct rte_hash *hash;
	uint64_t filter_keys[FILTERS_MAX];
	uint64_t work[WORK_KEYS];
};

struct result {
	double match_ns[ROUNDS];
	double hash_ns[ROUNDS];
	double ratio[ROUNDS];
};

static uint64_t random_state = 0x2545f4914f6cdd1d;

static uint64_t
random64(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* A VM's address: locally administered, the number in its low octets; untagged, or one of 64 VLANs. */
static uint64_t
filter_key(uint32_t number)
{
	const uint64_t mac = UINT64_C(0x525400000000) | number;

	return frame_key_of(mac, number & 1 ? 1 + number % 64 : VLAN_UNTAGGED);
}

static struct rte_hash *
hash_create(uint32_t filters)
{
	const struct rte_hash_parameters parameters = {
		.name = "bench",
		.entries = filters + filters / 4 + 8, /* rte_hash cannot be filled to the last entry */
		.key_len = sizeof(uint64_t),
		.hash_func = rte_hash_crc,
		.socket_id = SOCKET_ID_ANY,
	};

	return rte_hash_create(&parameters);
}

static void
contest_create(struct contest *contest, uint32_t filters)
{
	contest->filters = filters;
	contest->match = match_create(FILTERS_MAX);
	contest->hash = hash_create(filters);
	if (!contest->match || !contest->hash)
		rte_exit(1, "no memory for the tables\n");
	for (uint32_t i = 0; i < filters; i++) {
		const uint64_t key = contest->filter_keys[i] = filter_key(i);
		const uint16_t queue = 1 + i % QUEUES;

		if (match_set(contest->match, frame_key_mac(key), frame_key_vlan(key), queue) ||
		    rte_hash_add_key_data(contest->hash, &key, (void *)(uintptr_t)queue))
			rte_exit(1, "filter %u of %u refused\n", i, filters);
	}
	for (uint32_t i = 0; i < WORK_KEYS; i++)
		contest->work[i] = contest->filter_keys[random64() % filters];
}

static void
contest_destroy(struct contest *contest)
{
	match_destroy(contest->match);
	rte_hash_free(contest->hash);
}

static void
match_burst(const struct contest *contest, const uint64_t *keys, uint16_t *queues)
{
	match_find_burst(contest->match, keys, queues, BURST);
}

static void
hash_burst(const struct contest *contest, const uint64_t *keys, uint16_t *queues)
{
	const void *pointers[BURST];
	void *found[BURST];
	uint64_t hits = 0;

	for (unsigned i = 0; i < BURST; i++)
		pointers[i] = &keys[i];
	rte_hash_lookup_bulk_data(contest->hash, pointers, BURST, &hits, found);
	for (unsigned i = 0; i < BURST; i++)
		queues[i] = hits >> i & 1 ? (uint16_t)(uintptr_t)found[i] : 0;
}

/* One round of one side. The sum of the queues keeps the look-ups in, and is compared: both must agree. */
static double
round_ns(const struct contest *contest, void (*burst)(const struct contest *, const uint64_t *, uint16_t *),
	 uint64_t *sum)
{
	uint16_t queues[BURST];
	struct timespec from, to;

	*sum = 0;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (uint32_t i = 0; i < ROUND_KEYS; i += BURST) {
		burst(contest, &contest->work[i % WORK_KEYS], queues);
		for (unsigned j = 0; j < BURST; j++)
			*sum += queues[j];
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / ROUND_KEYS;
}

static void
contest_run(const struct contest *contest, struct result *result)
{
	uint64_t match_sum, hash_sum;

	round_ns(contest, match_burst, &match_sum);
	round_ns(contest, hash_burst, &hash_sum);
	for (unsigned i = 0; i < ROUNDS; i++) {
		result->match_ns[i] = round_ns(contest, match_burst, &match_sum);
		result->hash_ns[i] = round_ns(contest, hash_burst, &hash_sum);
		result->ratio[i] = result->hash_ns[i] / result->match_ns[i];
		if (match_sum != hash_sum)
			rte_exit(1, "the two tables disagree at %u filters\n", contest->filters);
	}
}

static int
by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
print_spread(double rounds[ROUNDS])
{
	qsort(rounds, ROUNDS, sizeof(rounds[0]), by_value);
	printf("  %6.2f (%5.2f..%6.2f)", rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
}

int
main(int argc, char **argv)
{
	static const uint32_t sizes[] = { 1, 64, 4096, 65536 };
	static struct contest contest;
	struct result result;

	if (rte_eal_init(argc, argv) < 0)
		rte_exit(1, "EAL does not start\n");
	printf("%-8s  %-22s  %-22s  %s\n", "filters", "match, ns a key", "rte_hash, ns a key", "rte_hash / match");
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		contest_create(&contest, sizes[i]);
		contest_run(&contest, &result);
		printf("%-8u", sizes[i]);
		print_spread(result.match_ns);
		print_spread(result.hash_ns);
		print_spread(result.ratio);
		printf("\n");
		contest_destroy(&contest);
	}
	rte_eal_cleanup();
	return 0;
}
