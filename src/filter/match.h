/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The match table: (MAC, VLAN) -> queue. One writer builds it, readers see it only once it is published
 * (classify.h) and from then on it does not change under them.
 */
#ifndef VMQ_FILTER_MATCH_H
#define VMQ_FILTER_MATCH_H

#include <stdint.h>

struct match;

enum { MATCH_BURST_MAX = 64 };

/** A table for up to `capacity` filters. @return NULL out of memory. */
struct match *match_create(uint32_t capacity);
void match_destroy(struct match *match);

/**
 * Let frames for (mac, vlan) go to `queue`; replaces the queue of a filter that is there.
 *
 * @param vlan  1 to 4094, VLAN_UNTAGGED or VLAN_ANY.
 * @return 0; -ENOSPC `capacity` filters are there already.
 */
int match_set(struct match *match, uint64_t mac, uint16_t vlan, uint16_t queue);

/** @return 0; -ENOENT no such filter. */
int match_clear(struct match *match, uint64_t mac, uint16_t vlan);

/** The queue of exactly this filter, no order rule. @return 0 and *queue; -ENOENT. */
int match_get(const struct match *match, uint64_t mac, uint16_t vlan, uint16_t *queue);

/**
 * The queue of each frame: of the filters that it passes, the one with the lowest queue id; 0 (the default
 * queue) if it passes none. Touches every bucket before it reads one.
 *
 * @param keys  from frame_key(); @param n  at most MATCH_BURST_MAX.
 * Source: vmq-spec §3 (order of queues, VLAN kinds).
 */
void match_find_burst(const struct match *match, const uint64_t *keys, uint16_t *queues, uint16_t n);

#endif
