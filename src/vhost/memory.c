/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/memory.h"

#include <errno.h>

int
guest_memory_add(struct guest_memory *memory, uint64_t guest, uint64_t bytes, void *host)
{
	if (memory->count == GUEST_REGIONS_MAX)
		return -ENOSPC;
	memory->regions[memory->count++] = (struct guest_region){ guest, bytes, host };
	return 0;
}

static const struct guest_region *
region_of_host(const struct guest_memory *memory, const void *host, uint64_t bytes)
{
	for (uint32_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];
		uint64_t offset = (uintptr_t)host - (uintptr_t)region->host;

		if (offset < region->bytes && bytes <= region->bytes - offset)
			return region;
	}
	return NULL;
}

bool
guest_memory_holds(const struct guest_memory *memory, const void *host, uint64_t bytes)
{
	return region_of_host(memory, host, bytes);
}

uint64_t
guest_memory_address(const struct guest_memory *memory, const void *host)
{
	const struct guest_region *region = region_of_host(memory, host, 1);

	return region->guest + ((uintptr_t)host - (uintptr_t)region->host);
}
