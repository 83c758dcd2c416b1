/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guests that tests stand on. Each counts the frames that it took in a word of shared memory that the test made: the
 * file is what VMQ_PROGRESS names.
 *
 * sink      takes frames and posts their buffers again
 * rewriter  the same, while a second processor of the guest writes into all its receive buffers
 * watcher   watch.c
 */
#include "attack.h"
#include "cue.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ENTRIES_OF_RUNS = ENTRIES_MAX, REWRITTEN_BYTES = HEADER_BYTES + 64 };

volatile uint64_t *
progress_open(void)
{
	const char *path = getenv("VMQ_PROGRESS");
	int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = file < 0 ? MAP_FAILED : mmap(NULL, PROGRESS_WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	if (at == MAP_FAILED)
		cannot("open what VMQ_PROGRESS names");
	return at;
}

static void
restart_larger(struct guest *guest)
{
	const char *path = guest->path;

	guest_destroy(guest);
	guest_create(guest, path, ENTRIES_OF_RUNS);
	guest_connect(guest);
	guest_begin(guest);
}

static void
take_frames(struct guest *guest)
{
	volatile uint64_t *progress = progress_open();
	uint16_t head;

	while (cue_go_on()) {
		for (int i = 0; i < 100 && guest_take(guest, &head); i++) {
			ring_offer(&guest->rings[RECEIVE], head);
			++*progress;
		}
		sched_yield();
	}
}

static void
sink(struct guest *guest)
{
	restart_larger(guest);
	take_frames(guest);
}

/* Addresses, tags, types and what follows: never twice the same. */
static void *
rewrite_buffers(void *context)
{
	struct guest *guest = context;
	struct ring *ring = &guest->rings[RECEIVE];
	uint64_t random = 1;

	for (;;)
		for (uint32_t i = 0; i < ring->entries; i++) {
			volatile uint64_t *buffer = (volatile uint64_t *)buffer_of(guest, ring, i);

			for (unsigned word = 0; word < REWRITTEN_BYTES / 8; word++) {
				random = random * 6364136223846793005ull + 1442695040888963407ull;
				buffer[word] = random;
			}
		}
	return NULL;
}

static void
rewriter(struct guest *guest)
{
	restart_larger(guest);
	guest_runs(guest, rewrite_buffers);
	take_frames(guest);
}

static void
watcher(struct guest *guest)
{
	watch_memory(guest);
}

const struct attack runs[] = {
	{ "sink", HARMLESS, sink },
	{ "rewriter", HARMLESS, rewriter },
	{ "watcher", HARMLESS, watcher },
	{ 0 },
};
