/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's memory as this process sees it: regions, each contiguous for the guest and here. Whatever a guest says
 * is an address is looked up here first. Changed on the control thread while no worker uses it, read by workers.
 */
#ifndef VMQ_VHOST_MEMORY_H
#define VMQ_VHOST_MEMORY_H

#include "util/refusal.h"
#include "vhost/bus_error.h"
#include "vhost/protocol.h"

#include <rte_branch_prediction.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GUEST_REGIONS_MAX = MESSAGE_FILES_MAX };

struct guest_region {
	uint64_t guest; /* its first address as the guest says it */
	uint64_t bytes;
	uint8_t *host;  /* the same byte here */
};

/* A file mapped from a page boundary on. */
struct guest_mapping {
	uint8_t *start;         /* NULL: nothing is mapped */
	size_t bytes;
};

struct guest_memory {
	uint32_t count;
	struct guest_region regions[GUEST_REGIONS_MAX];
	/* Of the same regions, for the control thread. */
	uint64_t users[GUEST_REGIONS_MAX]; /* the first address as the front-end's process has it */
	struct guest_mapping mappings[GUEST_REGIONS_MAX];
};

/**
 * Map `bytes` from `offset` on of a guest's file, to be written, and watch them. The file has to be memory: a worker
 * would wait for anything else.
 *
 * @param huge_too  whether huge pages will do.
 * @return where they are; NULL, with a sentence.
 */
uint8_t *guest_file_map(struct guest_mapping *mapping, struct bus_guard *guard, int file, uint64_t offset,
			uint64_t bytes, bool huge_too, struct refusal *why);
void guest_file_unmap(struct guest_mapping *mapping, struct bus_guard *guard);

/** Map a whole memory table in place of the one before. @return 0; -errno, with a sentence, and nothing is mapped. */
int guest_memory_map(struct guest_memory *memory, struct bus_guard *guard, const struct message_region *regions,
		     const int *files, uint32_t count, struct refusal *why);
void guest_memory_unmap(struct guest_memory *memory, struct bus_guard *guard);

/** Where a byte is of which the front-end knows the address in its process; NULL: not in a region. */
void *guest_memory_of_user(const struct guest_memory *memory, uint64_t user);

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
