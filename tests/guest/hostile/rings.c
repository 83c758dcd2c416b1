/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands in a ring. A row is descriptors, what an indirect table holds, and how the available ring offers them;
 * it is tried in the receive ring and in the transmit ring. Only what a row says is wrong: a descriptor without
 * flags has the direction that its ring asks for, and with VRING_DESC_F_WRITE the other one.
 */
#include "attack.h"
#include "cue.h"

#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>

enum {
	BOTH = 1 << RECEIVE | 1 << TRANSMIT,
	NEXT = VRING_DESC_F_NEXT,
	WRONG = VRING_DESC_F_WRITE,
	INDIRECT = VRING_DESC_F_INDIRECT,
	PIECE = 1,                  /* bytes: short of a virtio-net header, so what follows is read */
	TABLE_ENTRY = sizeof(struct vring_desc),
	NAMES_MAX = 128,
};

#define NOWHERE (1ull << 46)

struct spoiled_ring {
	const char *name;
	enum outcome outcome;
	unsigned directions;                  /* 0: BOTH */
	uint64_t features_not_wanted;
	uint64_t features_wanted;
	uint16_t entries;                     /* 0: ENTRIES */
	uint16_t head;                        /* what it offers */
	uint16_t available;                   /* the index; 0: one buffer */
	struct vring_desc descriptors[3];
	struct vring_desc table[3];           /* at TABLES_AT */
	uint64_t descriptors_at;              /* where vmqd is told that they are; 0: where they are */
	uint64_t available_at;
	uint64_t used_at;
};

/* A buffer: any address of a buffer will do. */
#define AT(address, bytes) { .addr = (address), .len = (bytes) }
#define GOOD { .addr = BUFFERS_AT, .len = BUFFER_BYTES }
#define LINK(bytes, to) { .addr = BUFFERS_AT, .len = (bytes), .flags = NEXT, .next = (to) }
#define TABLE(bytes) { .addr = TABLES_AT, .len = (bytes), .flags = INDIRECT }
#define TABLE_AT(address, bytes) { .addr = (address), .len = (bytes), .flags = INDIRECT }

static const struct spoiled_ring spoiled_rings[] = {
	{ "address-outside", FAULT, .descriptors = { AT(NOWHERE, BUFFER_BYTES) } },
	{ "address-zero", FAULT, .descriptors = { AT(0, BUFFER_BYTES) } },
	{ "address-before-memory", FAULT, .descriptors = { AT(RINGS_AT - 1, BUFFER_BYTES) } },
	{ "address-behind-memory", FAULT, .descriptors = { AT(MEMORY_END, BUFFER_BYTES) } },
	{ "address-runs-out-of-memory", FAULT, .descriptors = { AT(MEMORY_END - 16, BUFFER_BYTES) } },
	{ "address-crosses-regions", FAULT, .descriptors = { AT(BUFFERS_AT - 64, BUFFER_BYTES) } },
	{ "address-wraps", FAULT, .descriptors = { AT(UINT64_MAX - 100, BUFFER_BYTES) } },
	{ "address-wraps-into-memory", FAULT, .descriptors = { AT(UINT64_MAX - 0xfff, UINT32_MAX) } },
	{ "address-of-the-front-end", FAULT, .descriptors = { AT(USER_OFFSET + BUFFERS_AT, BUFFER_BYTES) } },
	{ "length-zero", FAULT, .descriptors = { AT(BUFFERS_AT, 0) } },
	{ "length-zero-in-a-chain", FAULT, .descriptors = { LINK(PIECE, 1), AT(BUFFERS_AT, 0) } },
	{ "length-enormous", FAULT, .descriptors = { AT(BUFFERS_AT, UINT32_MAX) } },
	{ "length-beyond-memory", FAULT, .descriptors = { AT(BUFFERS_AT, BUFFERS_BYTES + 1) } },
	{ "length-all-of-memory", HARMLESS, .descriptors = { AT(BUFFERS_AT, BUFFERS_BYTES) } },
	{ "length-below-the-header", HARMLESS, .descriptors = { AT(BUFFERS_AT, HEADER_BYTES - 1) } },
	{ "chain-of-one-loops", FAULT, .entries = 16, .descriptors = { LINK(PIECE, 0) } },
	{ "chain-of-two-loops", FAULT, .entries = 16, .descriptors = { LINK(PIECE, 1), LINK(PIECE, 0) } },
	{ "chain-of-whole-buffers-loops", FAULT, 1 << TRANSMIT, .entries = 2,
	  .descriptors = { LINK(64, 1), LINK(64, 0) } },
	{ "chain-leaves-the-ring", FAULT, .descriptors = { LINK(PIECE, ENTRIES) } },
	{ "chain-leaves-the-ring-far", FAULT, .descriptors = { LINK(PIECE, UINT16_MAX) } },
	{ "chain-ends-outside", FAULT, .descriptors = { LINK(PIECE, 1), AT(NOWHERE, BUFFER_BYTES) } },
	{ "chain-of-flags", FAULT, .descriptors = { { BUFFERS_AT, PIECE, 0xfff9, 0xffff } } },
	{ "head-outside", FAULT, .head = ENTRIES, .descriptors = { GOOD } },
	{ "head-outside-far", FAULT, .head = UINT16_MAX, .descriptors = { GOOD } },
	{ "available-ahead", FAULT, .available = ENTRIES + 1, .descriptors = { GOOD } },
	{ "available-ahead-far", FAULT, .available = 0x8000, .descriptors = { GOOD } },
	{ "available-backwards", FAULT, .available = UINT16_MAX, .descriptors = { GOOD } },
	{ "available-offers-one-buffer-often", HARMLESS, .available = ENTRIES, .descriptors = { GOOD } },
	{ "direction-wrong", FAULT, .descriptors = { { BUFFERS_AT, BUFFER_BYTES, WRONG, 0 } } },
	{ "direction-wrong-later", FAULT, .descriptors = { LINK(PIECE, 1), { BUFFERS_AT, BUFFER_BYTES, WRONG, 0 } } },
	{ "indirect-not-negotiated", FAULT, .features_not_wanted = FEATURE(RING_F_INDIRECT_DESC),
	  .descriptors = { TABLE(TABLE_ENTRY) }, .table = { GOOD } },
	{ "indirect-in-indirect", FAULT, .descriptors = { TABLE(TABLE_ENTRY) }, .table = { TABLE(TABLE_ENTRY) } },
	{ "indirect-in-indirect-later", FAULT, .descriptors = { TABLE(2 * TABLE_ENTRY) },
	  .table = { LINK(PIECE, 1), TABLE(TABLE_ENTRY) } },
	{ "indirect-goes-on-behind", FAULT,
	  .descriptors = { { TABLES_AT, TABLE_ENTRY, INDIRECT | NEXT, 1 }, GOOD }, .table = { AT(BUFFERS_AT, PIECE) } },
	{ "indirect-outside", FAULT, .descriptors = { TABLE_AT(NOWHERE, TABLE_ENTRY) } },
	{ "indirect-wraps", FAULT, .descriptors = { TABLE_AT(UINT64_MAX - 15, 2 * TABLE_ENTRY) } },
	{ "indirect-crosses-regions", FAULT, .descriptors = { TABLE_AT(BUFFERS_AT - TABLE_ENTRY, 2 * TABLE_ENTRY) } },
	{ "indirect-of-odd-length", FAULT, .descriptors = { TABLE(TABLE_ENTRY + 1) }, .table = { GOOD } },
	{ "indirect-shorter-than-an-entry", FAULT, .descriptors = { TABLE(TABLE_ENTRY - 1) }, .table = { GOOD } },
	{ "indirect-empty", FAULT, .descriptors = { TABLE(0) }, .table = { GOOD } },
	{ "indirect-enormous", FAULT, .descriptors = { TABLE(0xfffffff0) }, .table = { GOOD } },
	{ "indirect-loops", FAULT, .descriptors = { TABLE(2 * TABLE_ENTRY) },
	  .table = { LINK(PIECE, 1), LINK(PIECE, 0) } },
	{ "indirect-leaves-its-table", FAULT, .descriptors = { TABLE(TABLE_ENTRY) },
	  .table = { LINK(PIECE, 1), GOOD } },
	{ "indirect-address-outside", FAULT, .descriptors = { TABLE(TABLE_ENTRY) },
	  .table = { AT(NOWHERE, BUFFER_BYTES) } },
	{ "indirect-not-aligned", HARMLESS, .descriptors = { TABLE_AT(TABLES_AT + 1, 2 * TABLE_ENTRY) },
	  .table = { GOOD } },
	{ "rings-misaligned", FAULT, .descriptors_at = 1, .descriptors = { GOOD } },
	{ "rings-outside", HARMLESS, .descriptors_at = NOWHERE, .descriptors = { GOOD } },
	{ "available-ring-outside", HARMLESS, .available_at = NOWHERE, .descriptors = { GOOD } },
	{ "used-ring-outside", HARMLESS, .used_at = NOWHERE, .descriptors = { GOOD } },
	{ "used-ring-at-the-end-of-memory", HARMLESS, .used_at = MEMORY_END - 4, .descriptors = { GOOD } },
	{ "used-ring-wraps", HARMLESS, .used_at = UINT64_MAX - USER_OFFSET - 3, .descriptors = { GOOD } },
	{ "used-ring-crosses-regions", HARMLESS, .used_at = BUFFERS_AT - 8, .descriptors = { GOOD } },
	{ "used-ring-over-descriptors", HARMLESS, .used_at = RINGS_AT, .available = ENTRIES, .descriptors = { GOOD } },
	{ "used-ring-over-available-ring", HARMLESS, .used_at = RINGS_AT + AVAILABLE_OFFSET, .available = ENTRIES,
	  .descriptors = { GOOD } },
	{ "used-ring-over-the-other-ring", HARMLESS, .used_at = RINGS_AT + RING_BYTES, .available = ENTRIES,
	  .descriptors = { GOOD } },
	{ "buffers-over-rings", HARMLESS, .available = ENTRIES, .descriptors = { AT(RINGS_AT, BUFFER_BYTES) } },
	{ "event-index-behind-memory", FAULT, .features_wanted = FEATURE(RING_F_EVENT_IDX),
	  .used_at = BUFFERS_AT - 4 - 8 * ENTRIES, .descriptors = { GOOD } },
	{ "event-index-anywhere", HARMLESS, .features_wanted = FEATURE(RING_F_EVENT_IDX), .available = ENTRIES,
	  .descriptors = { GOOD } },
	{ "frames-of-64-KiB", HARMLESS, 1 << TRANSMIT, .available = ENTRIES, .descriptors = { AT(BUFFERS_AT, 65535) } },
};

enum { SPOILED_RINGS = sizeof(spoiled_rings) / sizeof(spoiled_rings[0]) };

static const char *const directions[] = { [RECEIVE] = "receive", [TRANSMIT] = "transmit" };

static bool
goes(const struct spoiled_ring *row, unsigned direction)
{
	return (row->directions ? row->directions : BOTH) & 1u << direction;
}

const struct attack *
ring_attacks(void)
{
	static struct attack attacks[RINGS * SPOILED_RINGS + 1];
	static char names[RINGS * SPOILED_RINGS][NAMES_MAX];
	size_t count = 0;

	for (unsigned direction = 0; direction < RINGS; direction++)
		for (size_t i = 0; i < SPOILED_RINGS; i++) {
			if (!goes(&spoiled_rings[i], direction))
				continue;
			snprintf(names[count], NAMES_MAX, "%s-%s", directions[direction], spoiled_rings[i].name);
			attacks[count] = (struct attack){ names[count], spoiled_rings[i].outcome, NULL };
			count++;
		}
	return attacks;
}

static const struct spoiled_ring *
row_of(const char *name, unsigned *direction)
{
	for (*direction = 0; *direction < RINGS; ++*direction) {
		size_t length = strlen(directions[*direction]);

		if (strncmp(name, directions[*direction], length))
			continue;
		for (size_t i = 0; i < SPOILED_RINGS; i++)
			if (!strcmp(spoiled_rings[i].name, name + length + 1))
				return &spoiled_rings[i];
	}
	return NULL;
}

static void
put_descriptors(struct vring_desc *table, const struct vring_desc *rows, size_t count, unsigned direction)
{
	for (size_t i = 0; i < count; i++) {
		table[i] = rows[i];
		if (direction == RECEIVE && !(rows[i].flags & INDIRECT))
			table[i].flags ^= VRING_DESC_F_WRITE;
	}
}

static void
spoil(struct guest *guest, struct ring *ring, const struct spoiled_ring *row)
{
	uint8_t *table = memory_at(guest, TABLES_AT + (row->descriptors[0].addr == TABLES_AT + 1));
	struct vring_desc entries[3];

	put_descriptors(ring->descriptors, row->descriptors, 3, ring->index);
	put_descriptors(entries, row->table, 3, ring->index);
	memcpy(table, entries, sizeof(entries));
	for (uint32_t i = 0; i < ring->entries; i++)
		ring->available->ring[i] = row->head;
	ring->available->idx = row->available ? row->available : 1;
	ring->descriptors_at += row->descriptors_at;
	ring->available_at = row->available_at ? row->available_at : ring->available_at;
	ring->used_at = row->used_at ? row->used_at : ring->used_at;
}

void
ring_attack_run(struct guest *guest, const char *name)
{
	unsigned direction;
	const struct spoiled_ring *row = row_of(name, &direction);
	struct ring *ring = &guest->rings[direction];

	guest->features = (guest->features & ~row->features_not_wanted) | row->features_wanted;
	ring->entries = row->entries ? row->entries : ENTRIES;
	guest_post_all(guest);
	spoil(guest, ring, row);
	guest_start(guest);
	guest_is_heard(guest);
	ring_kick(&guest->rings[TRANSMIT]);
	cue_wait();
}
