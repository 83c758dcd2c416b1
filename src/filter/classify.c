/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pair of match tables and the change from one to the other (classify.h). Control changes and publishes;
 * workers only load the pointer to the table of the hour.
 */
#include "filter/classify.h"

#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum {
	CACHE_LINE_BYTES = 64,
	LOG_FIRST_SIZE = 64,
};

/* A change that the shadow has and the published table has not. */
struct change {
	uint64_t mac;
	uint16_t vlan;
	uint16_t queue; /* of a set */
	bool is_set;    /* else a clear */
};

struct classify {
	_Atomic(struct match *) published; /* control writes, workers read */
	alignas(CACHE_LINE_BYTES) struct match *shadow; /* from here on: control only */
	struct change *log;
	size_t log_count;
	size_t log_size;
	bool retiring; /* published and not yet retired: readers may still be in the shadow */
};

struct classify *
classify_create(uint32_t filters)
{
	struct classify *classify = aligned_alloc(CACHE_LINE_BYTES, sizeof(*classify));
	struct match *published = match_create(filters);

	if (!classify || !published)
		goto fail;
	*classify = (struct classify){ .shadow = match_create(filters) };
	if (!classify->shadow)
		goto fail;
	atomic_init(&classify->published, published);
	return classify;
fail:
	match_destroy(published);
	free(classify);
	return NULL;
}

void
classify_destroy(struct classify *classify)
{
	if (!classify)
		return;
	match_destroy(atomic_load_explicit(&classify->published, memory_order_relaxed));
	match_destroy(classify->shadow);
	free(classify->log);
	free(classify);
}

/* Room for one more change, so that a change which the shadow has taken can always be logged. */
static int
log_reserve(struct classify *classify)
{
	const size_t size = classify->log_size ? 2 * classify->log_size : LOG_FIRST_SIZE;
	struct change *log;

	assert(!classify->retiring);
	if (classify->log_count < classify->log_size)
		return 0;
	log = realloc(classify->log, size * sizeof(*log));
	if (!log)
		return -ENOMEM;
	classify->log = log;
	classify->log_size = size;
	return 0;
}

static int
change_apply(const struct change *change, struct match *match)
{
	if (change->is_set)
		return match_set(match, change->mac, change->vlan, change->queue);
	return match_clear(match, change->mac, change->vlan);
}

static int
classify_change(struct classify *classify, const struct change *change)
{
	int error = log_reserve(classify);

	if (!error)
		error = change_apply(change, classify->shadow);
	if (!error)
		classify->log[classify->log_count++] = *change;
	return error;
}

int
classify_set(struct classify *classify, uint64_t mac, uint16_t vlan, uint16_t queue)
{
	return classify_change(classify, &(struct change){ .mac = mac, .vlan = vlan, .queue = queue, .is_set = true });
}

int
classify_clear(struct classify *classify, uint64_t mac, uint16_t vlan)
{
	return classify_change(classify, &(struct change){ .mac = mac, .vlan = vlan });
}

void
classify_publish(struct classify *classify)
{
	struct match *old = atomic_load_explicit(&classify->published, memory_order_relaxed);

	assert(!classify->retiring);
	atomic_store_explicit(&classify->published, classify->shadow, memory_order_release);
	classify->shadow = old;
	classify->retiring = true;
}

void
classify_retire(struct classify *classify)
{
	assert(classify->retiring);
	for (size_t i = 0; i < classify->log_count; i++) {
		int error = change_apply(&classify->log[i], classify->shadow);

		assert(!error); /* the other table took the same change in the same state */
		(void)error;
	}
	classify->log_count = 0;
	classify->retiring = false;
}

const struct match *
classify_table(const struct classify *classify)
{
	return atomic_load_explicit(&classify->published, memory_order_acquire);
}
