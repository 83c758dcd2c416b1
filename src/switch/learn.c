/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/learn.h"

#include "util/mac.h"

enum { SLOT_SHIFT = 54 };

_Static_assert(LEARN_ENTRIES == 1 << (64 - SLOT_SHIFT), "learn_slot() takes that many top bits");

static uint32_t
learn_slot(uint64_t key)
{
	return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> SLOT_SHIFT);
}

/* A VLAN that a frame can have needs 12 of the 16 bits that a key has for it. */
static uint64_t
learn_word(uint64_t key, enum switch_side side)
{
	return (key >> 16) << 16 | (key & 0x0fff) << 4 | side;
}

void
learn_address(struct learn_table *table, uint64_t key, enum switch_side side, uint32_t now_seconds)
{
	struct learn_entry *entry = &table->entries[learn_slot(key)];
	const uint64_t word = learn_word(key, side);

	if (mac_is_group(key >> 16))
		return;
	if (__atomic_load_n(&entry->word, __ATOMIC_RELAXED) != word)
		__atomic_store_n(&entry->word, word, __ATOMIC_RELAXED);
	if (__atomic_load_n(&entry->seen_seconds, __ATOMIC_RELAXED) != now_seconds)
		__atomic_store_n(&entry->seen_seconds, now_seconds, __ATOMIC_RELAXED);
}

enum switch_side
learn_find(const struct learn_table *table, uint64_t key, uint32_t now_seconds)
{
	const struct learn_entry *entry = &table->entries[learn_slot(key)];
	const uint64_t word = __atomic_load_n(&entry->word, __ATOMIC_RELAXED);
	const enum switch_side side = word & 0xf;

	if (word != learn_word(key, side) ||
	    now_seconds - __atomic_load_n(&entry->seen_seconds, __ATOMIC_RELAXED) > LEARN_AGE_SECONDS)
		return SIDE_UNKNOWN;
	return side;
}
