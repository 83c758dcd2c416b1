/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where addresses that no filter names were last seen: on the wire or at the host. One table per adapter, written
 * and read by all its workers: address and side are one word, stored and loaded whole. Direct mapped: a newer
 * address takes the place of an older one, which costs a flooded frame, never a wrong one.
 */
#ifndef VMQ_SWITCH_LEARN_H
#define VMQ_SWITCH_LEARN_H

#include <stdint.h>

enum switch_side {
	SIDE_UNKNOWN,
	SIDE_WIRE,
	SIDE_HOST,
};

enum {
	LEARN_ENTRIES = 1024,
	LEARN_AGE_SECONDS = 300, /* the default of IEEE 802.1Q bridges */
};

struct learn_entry {
	uint64_t word;         /* MAC (48 bits), VLAN (12), side (4); 0 empty */
	uint32_t seen_seconds;
};

struct learn_table {
	struct learn_entry entries[LEARN_ENTRIES];
};

/**
 * Note where an address was seen. Group addresses are not learned.
 *
 * @param key  frame_key_of(MAC, VLAN).
 * @param now_seconds  of any clock that does not go back.
 */
void learn_address(struct learn_table *table, uint64_t key, enum switch_side side, uint32_t now_seconds);

/** @return SIDE_UNKNOWN if never seen, displaced or older than LEARN_AGE_SECONDS. */
enum switch_side learn_find(const struct learn_table *table, uint64_t key, uint32_t now_seconds);

#endif
