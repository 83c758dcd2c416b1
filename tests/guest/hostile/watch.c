/* SPDX-License-Identifier: BSD-3-Clause */
#include "watch.h"

#include "cue.h"

#include <stdio.h>
#include <string.h>

enum { PATTERN = 0xa5 };

static const uint8_t mark[] = { 0xde, 0xad, 0xbe, 0xef };

static bool
is_pattern(const uint8_t *at, size_t bytes)
{
	return !bytes || (*at == PATTERN && !memcmp(at, at + 1, bytes - 1));
}

static bool
is_marked(const struct guest *guest)
{
	for (unsigned i = 0; i < RINGS; i++)
		if (memmem(guest->memory[i].at, guest->memory[i].bytes, mark, sizeof(mark)))
			return true;
	return false;
}

/* What lies between its frames, in buffers that were used up in the order in which they were offered. */
static bool
has_alien_bytes(const struct guest *guest, const uint32_t *lengths, uint16_t used)
{
	const struct ring *ring = &guest->rings[RECEIVE];
	uint8_t *rest = buffer_of(guest, ring, used);
	bool alien = !is_pattern(rest, (size_t)(guest->memory[1].at + guest->memory[1].bytes - rest));

	for (uint16_t i = 0; i < used; i++)
		if (!is_pattern(buffer_of(guest, ring, i) + lengths[i], BUFFER_BYTES - lengths[i]))
			alien = true;
	return alien;
}

static void
start(struct guest *guest)
{
	const char *path = guest->path;

	guest_destroy(guest);
	guest_create(guest, path, ENTRIES_MAX);
	guest_connect(guest);
	for (unsigned i = 0; i < RINGS; i++)
		memset(guest->memory[i].at, PATTERN, guest->memory[i].bytes);
	for (unsigned i = 0; i < RINGS; i++)
		memset(memory_at(guest, RINGS_AT + i * RING_BYTES), 0, RING_BYTES);
	guest_begin(guest);
}

void
watch_memory(struct guest *guest)
{
	volatile uint64_t *progress = progress_open();
	static uint32_t lengths[ENTRIES_MAX];
	uint16_t used = 0, head;

	start(guest);
	while (cue_go_on()) {
		for (uint32_t bytes; used < ENTRIES_MAX && (bytes = guest_take(guest, &head)) > 0; used++)
			lengths[used] = bytes;
		progress[PROGRESS_MARKED] += is_marked(guest);
		progress[PROGRESS_SCANS]++;
		progress[PROGRESS_FRAMES] = used;
	}
	progress[PROGRESS_ALIEN] += has_alien_bytes(guest, lengths, used);
	progress[PROGRESS_MARKED] += is_marked(guest);
	progress[PROGRESS_SCANS]++;
}
