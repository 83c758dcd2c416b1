/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's memory as this process sees it: regions, each contiguous for the guest and here. Whatever a guest says
 * is an address is looked up here first. Built on a thread of librte_vhost, read by workers.
 */
#ifndef VMQ_VHOST_MEMORY_H
#define VMQ_VHOST_MEMORY_H

#include <rte_branch_prediction.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GUEST_REGIONS_MAX = 16 };

struct guest_region {
	uint64_t guest; /* its first address as the guest says it */
	uint64_t bytes;
	uint8_t *host;  /* the same byte here */
};

struct guest_memory {
	uint32_t count;
	struct guest_region regions[GUEST_REGIONS_MAX];
};

/** @return 0; -ENOSPC more regions than GUEST_REGIONS_MAX. */
int guest_memory_add(struct guest_memory *memory, uint64_t guest, uint64_t bytes, void *host);

/** Whether `bytes` from `host` on lie in one region. */
bool guest_memory_holds(const struct guest_memory *memory, const void *host, uint64_t bytes);

/** The guest's address of a byte that lies in a region. */
uint64_t guest_memory_address(const struct guest_memory *memory, const void *host);

/* Only differences are compared: neither the guest's address nor its length can overflow anything. */
static inline uint8_t *
guest_region_find(const struct guest_region *region, uint64_t address, uint64_t bytes)
{
	uint64_t offset = address - region->guest;

	if (likely(offset < region->bytes && bytes <= region->bytes - offset))
		return region->host + offset;
	return NULL;
}

/**
 * Where the guest's bytes are.
 *
 * @param recent  the region that was hit last; a guess, kept for the caller's next look-up.
 * @return NULL unless all `bytes` (at least 1) lie in one region.
 */
static inline uint8_t *
guest_memory_find(const struct guest_memory *memory, uint32_t *recent, uint64_t address, uint64_t bytes)
{
	uint8_t *host = guest_region_find(&memory->regions[*recent], address, bytes);

	if (likely(host))
		return host;
	for (uint32_t i = 0; i < memory->count; i++) {
		host = guest_region_find(&memory->regions[i], address, bytes);
		if (host) {
			*recent = i;
			return host;
		}
	}
	return NULL;
}

#endif
