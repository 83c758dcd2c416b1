/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The match table: a hash table of cache-line buckets. The control thread changes it while nobody reads, workers
 * look up while nobody changes (classify.h sees to that).
 *
 * Theory: a filter has two buckets, first and second, both drawn from a keyed hash of its key. It takes the
 * first if there is room and the second otherwise; `strays` of the first counts those, so that a look-up reads
 * the second only where it has to. A look-up therefore reads two lines at most, whoever chose the addresses, and
 * nearly always one. A filter that finds both full moves one that stands in its way to that one's other bucket;
 * where none can move, the table is built anew with more buckets and another key.
 *
 * All memory is reserved at creation, for the largest table and for the one that it is built from, and the kernel
 * backs only what is touched. So a change that fits the capacity cannot fail, and a table of few filters is small.
 */
#include "filter/match.h"
#include "frame/key.h"

#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
	CACHE_LINE_BYTES = 64,
	BUCKET_SLOTS = 6,
	SLOT_BITS = 2,
	BUCKET_FILL = 3,            /* filters a bucket on average when the table grows; with 4, 5 % would be strays */
};

#define SLOT_EMPTY UINT64_C(0) /* no filter has this key: an all-zero MAC is refused */
#define QUEUE_NONE UINT32_C(0x10000) /* above every queue id, and 0 (the default queue) when cut to 16 bits */

struct bucket {
	alignas(CACHE_LINE_BYTES) uint64_t keys[BUCKET_SLOTS]; /* SLOT_EMPTY: free, its queue is 0 */
	uint16_t queues[BUCKET_SLOTS + 1];                     /* the last is always 0: no slot has the key */
	uint16_t strays; /* filters that have this bucket first and stand in their second */
};
static_assert(sizeof(struct bucket) == CACHE_LINE_BYTES, "a look-up reads one line");

struct match {
	struct bucket *buckets;
	uint32_t mask;                  /* number of buckets less one */
	uint32_t any_count;             /* filters with VLAN_ANY; if none or all are, one look-up is enough */
	uint64_t seed[2];
	uint32_t count;
	uint32_t capacity;
	uint32_t bucket_limit;
	struct bucket *spare;           /* bucket_limit more: where the next build goes */
	struct bucket *memory;          /* what both are parts of */
};

struct place {
	struct bucket *first;
	struct bucket *second;
};

static inline uint64_t
fold_multiply(uint64_t a, uint64_t b)
{
	const unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/*
 * Keyed, because guests and their owners choose addresses: a CRC would collide alike under every key. Twice,
 * because after one product consecutive addresses still pile up under one seed in a hundred.
 */
static inline uint64_t
match_hash(const struct match *match, uint64_t key)
{
	return fold_multiply(fold_multiply(key ^ match->seed[0], match->seed[1]), UINT64_C(0x9e3779b97f4a7c15));
}

static inline struct bucket *
bucket_first(const struct match *match, uint64_t hash)
{
	return &match->buckets[hash & match->mask];
}

/* Never the first, unless there is only one bucket. */
static inline struct bucket *
bucket_second(const struct match *match, uint64_t hash)
{
	return &match->buckets[(hash ^ (hash >> 32 | 1)) & match->mask];
}

static struct place
match_place(const struct match *match, uint64_t key)
{
	const uint64_t hash = match_hash(match, key);

	return (struct place){ bucket_first(match, hash), bucket_second(match, hash) };
}

/* The slots that hold the key, bit SLOT_BITS * i for slot i: as the bytes of a vector compare come out. */
#ifdef __SSE2__
static inline uint32_t
bucket_slots(const struct bucket *bucket, uint64_t key)
{
	const __m128i *keys = (const __m128i *)bucket->keys;
	const __m128i wanted = _mm_set1_epi64x((long long)key);
	const __m128i low = _mm_cmpeq_epi32(_mm_load_si128(keys), wanted);
	const __m128i middle = _mm_cmpeq_epi32(_mm_load_si128(keys + 1), wanted);
	const __m128i high = _mm_cmpeq_epi32(_mm_load_si128(keys + 2), wanted);
	const __m128i words = _mm_packs_epi32(high, _mm_setzero_si128());
	const uint32_t halves = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(low, middle), words));

	return halves & halves >> 1 & 0x555; /* equal where both halves of the key are */
}
#else
static inline uint32_t
bucket_slots(const struct bucket *bucket, uint64_t key)
{
	uint32_t slots = 0;

	for (unsigned i = 0; i < BUCKET_SLOTS; i++)
		slots |= (uint32_t)(bucket->keys[i] == key) << SLOT_BITS * i;
	return slots;
}
#endif

static inline unsigned
slot_of(uint32_t slots)
{
	return (unsigned)__builtin_ctz(slots) / SLOT_BITS;
}

/* No branch: whether a frame has a filter is as unpredictable as the traffic. */
static inline uint32_t
bucket_queue(const struct bucket *bucket, uint32_t slots)
{
	return bucket->queues[slot_of(slots | 1u << SLOT_BITS * BUCKET_SLOTS)] | (slots ? 0 : QUEUE_NONE);
}

static inline uint32_t
match_find(const struct match *match, uint64_t hash, uint64_t key)
{
	const struct bucket *bucket = bucket_first(match, hash);
	uint32_t slots = bucket_slots(bucket, key);

	if (__builtin_expect(!slots & !!bucket->strays, 0)) {
		bucket = bucket_second(match, hash);
		slots = bucket_slots(bucket, key);
	}
	return bucket_queue(bucket, slots);
}

static inline void
match_find_keys(const struct match *match, const uint64_t *keys, uint32_t *found, uint16_t n)
{
	uint64_t hashes[MATCH_BURST_MAX];

	for (uint16_t i = 0; i < n; i++) {
		hashes[i] = match_hash(match, keys[i]);
		__builtin_prefetch(bucket_first(match, hashes[i]));
	}
	for (uint16_t i = 0; i < n; i++)
		found[i] = match_find(match, hashes[i], keys[i]);
}

static inline void
match_find_any(const struct match *match, const uint64_t *keys, uint32_t *found, uint16_t n)
{
	uint64_t any_keys[MATCH_BURST_MAX];

	for (uint16_t i = 0; i < n; i++)
		any_keys[i] = frame_key_of(frame_key_mac(keys[i]), VLAN_ANY);
	match_find_keys(match, any_keys, found, n);
}

static void
match_find_both(const struct match *match, const uint64_t *keys, uint32_t *found, uint16_t n)
{
	uint32_t any_found[MATCH_BURST_MAX];

	match_find_keys(match, keys, found, n);
	match_find_any(match, keys, any_found, n);
	for (uint16_t i = 0; i < n; i++)
		found[i] = any_found[i] < found[i] ? any_found[i] : found[i];
}

/* Most tables have filters of one kind, and need one look-up. */
void
match_find_burst(const struct match *match, const uint64_t *keys, uint16_t *queues, uint16_t n)
{
	uint32_t found[MATCH_BURST_MAX];

	assert(n <= MATCH_BURST_MAX);
	if (!n)
		return;
	if (!match->any_count)
		match_find_keys(match, keys, found, n);
	else if (match->any_count == match->count)
		match_find_any(match, keys, found, n);
	else
		match_find_both(match, keys, found, n);
	for (uint16_t i = 0; i < n; i++)
		queues[i] = (uint16_t)found[i];
}

static void
match_draw_seed(struct match *match)
{
	struct timespec now;

	/* Without entropy at boot a guessable key costs speed under attack, never a wrong answer. */
	if (getrandom(match->seed, sizeof(match->seed), GRND_NONBLOCK) != sizeof(match->seed)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		match->seed[0] += (uint64_t)now.tv_nsec * UINT64_C(0x9e3779b97f4a7c15);
		match->seed[1] += (uint64_t)now.tv_nsec * UINT64_C(0xd1342543de82ef95);
	}
	match->seed[1] |= 1;
}

/* Where a filter stands; NULL if it is not there. */
static struct bucket *
match_bucket_of(const struct match *match, uint64_t key, unsigned *slot)
{
	const struct place place = match_place(match, key);
	struct bucket *bucket = place.first;
	uint32_t slots = bucket_slots(bucket, key);

	if (!slots) {
		bucket = place.second;
		slots = bucket_slots(bucket, key);
	}
	if (!slots)
		return NULL;
	*slot = slot_of(slots);
	return bucket;
}

static bool
bucket_put(struct bucket *bucket, uint64_t key, uint16_t queue)
{
	const uint32_t slots = bucket_slots(bucket, SLOT_EMPTY);

	if (!slots)
		return false;
	bucket->keys[slot_of(slots)] = key;
	bucket->queues[slot_of(slots)] = queue;
	return true;
}

static void
match_take(struct match *match, struct bucket *bucket, unsigned slot)
{
	struct bucket *first = match_place(match, bucket->keys[slot]).first;

	if (first != bucket)
		first->strays--;
	bucket->keys[slot] = SLOT_EMPTY;
	bucket->queues[slot] = 0;
}

static bool
match_put(struct match *match, uint64_t key, uint16_t queue)
{
	const struct place place = match_place(match, key);

	if (bucket_put(place.first, key, queue))
		return true;
	if (!bucket_put(place.second, key, queue))
		return false;
	place.first->strays++;
	return true;
}

/* Free a slot of a full bucket by moving one of its filters to that one's other bucket. */
static bool
match_make_room(struct match *match, struct bucket *bucket)
{
	for (unsigned slot = 0; slot < BUCKET_SLOTS; slot++) {
		const struct place place = match_place(match, bucket->keys[slot]);
		struct bucket *other = place.first == bucket ? place.second : place.first;

		if (!bucket_put(other, bucket->keys[slot], bucket->queues[slot]))
			continue;
		if (other != place.first)
			place.first->strays++;
		match_take(match, bucket, slot);
		return true;
	}
	return false;
}

static bool
match_insert(struct match *match, uint64_t key, uint16_t queue)
{
	const struct place place = match_place(match, key);

	if (match_put(match, key, queue))
		return true;
	if (!match_make_room(match, place.first) && !match_make_room(match, place.second))
		return false;
	return match_put(match, key, queue);
}

static bool
match_fill(struct match *match, const struct bucket *from, uint32_t from_count)
{
	memset(match->buckets, 0, (match->mask + 1) * sizeof(*match->buckets));
	for (uint32_t i = 0; i < from_count; i++) {
		for (unsigned slot = 0; slot < BUCKET_SLOTS; slot++) {
			if (from[i].keys[slot] == SLOT_EMPTY)
				continue;
			if (!match_insert(match, from[i].keys[slot], from[i].queues[slot]))
				return false;
		}
	}
	return true;
}

/* Twice the buckets, up to the limit, under a new key; again until every filter has a place. */
static void
match_rebuild(struct match *match)
{
	struct bucket *from = match->buckets;
	const uint32_t from_count = match->mask + 1;
	uint32_t count = from_count;

	match->buckets = match->spare;
	match->spare = from;
	do {
		if (count < match->bucket_limit)
			count *= 2;
		match->mask = count - 1;
		match_draw_seed(match);
	} while (!match_fill(match, from, from_count));
}

static uint32_t
bucket_limit_for(uint32_t capacity)
{
	uint32_t limit = 1;

	while (limit < (capacity + BUCKET_FILL - 1) / BUCKET_FILL)
		limit *= 2;
	return limit;
}

struct match *
match_create(uint32_t capacity)
{
	struct match *match = calloc(1, sizeof(*match));

	if (!match)
		return NULL;
	match->capacity = capacity;
	match->bucket_limit = bucket_limit_for(capacity);
	match->memory = aligned_alloc(CACHE_LINE_BYTES, 2 * match->bucket_limit * sizeof(struct bucket));
	if (!match->memory) {
		free(match);
		return NULL;
	}
	match->buckets = match->memory;
	match->spare = match->memory + match->bucket_limit;
	memset(match->buckets, 0, sizeof(*match->buckets));
	match_draw_seed(match);
	return match;
}

void
match_destroy(struct match *match)
{
	if (!match)
		return;
	free(match->memory);
	free(match);
}

int
match_set(struct match *match, uint64_t mac, uint16_t vlan, uint16_t queue)
{
	const uint64_t key = frame_key_of(mac, vlan);
	unsigned slot;
	struct bucket *bucket = match_bucket_of(match, key, &slot);

	assert(mac && (vlan <= VLAN_LAST || vlan == VLAN_ANY));
	if (bucket) {
		bucket->queues[slot] = queue;
		return 0;
	}
	if (match->count == match->capacity)
		return -ENOSPC;
	if (match->count >= (match->mask + 1) * BUCKET_FILL)
		match_rebuild(match);
	while (!match_insert(match, key, queue))
		match_rebuild(match);
	match->count++;
	match->any_count += vlan == VLAN_ANY;
	return 0;
}

int
match_clear(struct match *match, uint64_t mac, uint16_t vlan)
{
	unsigned slot;
	struct bucket *bucket = match_bucket_of(match, frame_key_of(mac, vlan), &slot);

	if (!bucket)
		return -ENOENT;
	match_take(match, bucket, slot);
	match->count--;
	match->any_count -= vlan == VLAN_ANY;
	return 0;
}

int
match_get(const struct match *match, uint64_t mac, uint16_t vlan, uint16_t *queue)
{
	unsigned slot;
	const struct bucket *bucket = match_bucket_of(match, frame_key_of(mac, vlan), &slot);

	if (!bucket)
		return -ENOENT;
	*queue = bucket->queues[slot];
	return 0;
}
