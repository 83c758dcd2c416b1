/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { MEMORY_OVERCOMMIT = 4 }; /* times what the host has */

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

/* Memory, not a disk or a file system of somebody's own, on whose answer a worker would wait at the first touch. */
static bool
is_memory(int file, bool huge_too)
{
	struct statfs system;

	return !fstatfs(file, &system) &&
	       ((uint32_t)system.f_type == TMPFS_MAGIC || (huge_too && (uint32_t)system.f_type == HUGETLBFS_MAGIC));
}

static bool
is_frozen(int file)
{
	int seals = fcntl(file, F_GET_SEALS);

	return seals >= 0 && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);
}

static int
file_check(int file, struct stat *status, uint64_t offset, uint64_t bytes, bool huge_too, struct refusal *why)
{
	if (fstat(file, status) || !S_ISREG(status->st_mode) || !is_memory(file, huge_too))
		return refuse(why, -EINVAL,
			      "its memory is a file that is not in %s: share=on of memfd, /dev/shm%s will do",
			      huge_too ? "tmpfs or hugetlbfs" : "tmpfs", huge_too ? " or huge pages" : "");
	if ((fcntl(file, F_GETFL) & O_ACCMODE) != O_RDWR || is_frozen(file))
		return refuse(why, -EACCES, "its memory is a file that cannot be written");
	if (!bytes || bytes > (uint64_t)status->st_size || offset > (uint64_t)status->st_size - bytes)
		return refuse(why, -EINVAL, "%" PRIu64 " bytes from %" PRIu64 " on are not in its file of %" PRIu64,
			      bytes, offset, (uint64_t)status->st_size);
	return 0;
}

uint8_t *
guest_file_map(struct guest_mapping *mapping, struct bus_guard *guard, int file, uint64_t offset, uint64_t bytes,
	       bool huge_too, struct refusal *why)
{
	struct stat status;
	uint64_t page, skip;
	void *start;

	*mapping = (struct guest_mapping){ 0 };
	if (file_check(file, &status, offset, bytes, huge_too, why))
		return NULL;
	page = (uint64_t)status.st_blksize;
	skip = offset % page;
	mapping->bytes = (skip + bytes + page - 1) / page * page;
	start = mmap(NULL, mapping->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file,
		     (off_t)(offset - skip));
	if (start == MAP_FAILED) {
		refuse(why, -errno, "%" PRIu64 " bytes of its memory cannot be mapped: %s", bytes, strerror(errno));
		return NULL;
	}
	mapping->start = start;
	if (!bus_guard_watch(guard, start, mapping->bytes))
		return mapping->start + skip;
	refuse(why, -ENOSPC, "it has more memory regions than can be watched");
	guest_file_unmap(mapping, guard);
	return NULL;
}

void
guest_file_unmap(struct guest_mapping *mapping, struct bus_guard *guard)
{
	if (!mapping->start)
		return;
	bus_guard_unwatch(guard, mapping->start);
	munmap(mapping->start, mapping->bytes);
	mapping->start = NULL;
}

/* Files may be sparse and the addresses of this process are everybody's: no guest's files are mapped in more. */
static uint64_t
memory_bytes_max(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) * MEMORY_OVERCOMMIT;
}

static int
regions_check(const struct message_region *regions, uint32_t count, struct refusal *why)
{
	uint64_t left = memory_bytes_max();

	for (uint32_t i = 0; i < count; i++) {
		struct message_region region = regions[i];

		if (region.guest + region.bytes <= region.guest || region.user + region.bytes <= region.user)
			return refuse(why, -EINVAL, "memory region %u is empty, or goes beyond the last address", i);
		if (region.bytes > left)
			return refuse(why, -EINVAL, "its memory is more than %d times what the host has",
				      MEMORY_OVERCOMMIT);
		left -= region.bytes;
	}
	return 0;
}

int
guest_memory_map(struct guest_memory *memory, struct bus_guard *guard, const struct message_region *regions,
		 const int *files, uint32_t count, struct refusal *why)
{
	int error = regions_check(regions, count, why);

	guest_memory_unmap(memory, guard);
	for (uint32_t i = 0; i < count && !error; i++) {
		struct message_region region = regions[i];
		uint8_t *host = guest_file_map(&memory->mappings[i], guard, files[i], region.offset, region.bytes, true,
					       why);

		memory->users[i] = region.user;
		error = host ? guest_memory_add(memory, region.guest, region.bytes, host) : -EINVAL;
	}
	if (error)
		guest_memory_unmap(memory, guard);
	return error;
}

void
guest_memory_unmap(struct guest_memory *memory, struct bus_guard *guard)
{
	for (uint32_t i = 0; i < GUEST_REGIONS_MAX; i++)
		guest_file_unmap(&memory->mappings[i], guard);
	memory->count = 0;
}

void *
guest_memory_of_user(const struct guest_memory *memory, uint64_t user)
{
	for (uint32_t i = 0; i < memory->count; i++)
		if (user - memory->users[i] < memory->regions[i].bytes)
			return memory->regions[i].host + (user - memory->users[i]);
	return NULL;
}
