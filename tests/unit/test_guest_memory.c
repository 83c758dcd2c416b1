/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory: which addresses are a guest's, where they are here, and what happens when they vanish. */
#include "vhost/bus_error.h"
#include "vhost/memory.h"

#include "rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint8_t low[0x1000], middle[0x1000], high[0x1000];

/* middle follows low for the guest, not here; high ends with the address space. */
static void
three_regions(struct guest_memory *memory)
{
	memset(memory, 0, sizeof(*memory));
	assert_int_equal(guest_memory_add(memory, 0x10000, sizeof(low), low), 0);
	assert_int_equal(guest_memory_add(memory, 0x11000, sizeof(middle), middle), 0);
	assert_int_equal(guest_memory_add(memory, UINT64_MAX - 0xfff, sizeof(high), high), 0);
}

struct find_case {
	const char *name;
	uint64_t address;
	uint64_t bytes;
	const uint8_t *host;
};

static struct find_case finds[] = {
	{ "first byte", 0x10000, 1, low },
	{ "a whole region", 0x10000, 0x1000, low },
	{ "last byte", 0x10fff, 1, low + 0xfff },
	{ "inside", 0x10234, 0x100, low + 0x234 },
	{ "the next region", 0x11000, 0x1000, middle },
	{ "the last byte there is", UINT64_MAX, 1, high + 0xfff },
	{ "one before", 0xffff, 1, NULL },
	{ "starts before, ends inside", 0xffff, 2, NULL },
	{ "one behind", 0x12000, 1, NULL },
	{ "ends one behind", 0x11001, 0x1000, NULL },
	{ "over two regions", 0x10fff, 2, NULL },
	{ "both regions", 0x10000, 0x2000, NULL },
	{ "address 0", 0, 1, NULL },
	{ "length wraps around the address space", UINT64_MAX, 2, NULL },
	{ "length wraps to the same place", 0x10000, UINT64_MAX, NULL },
	{ "the longest descriptor", 0x10000, UINT32_MAX, NULL },
	{ "all of the address space", 0, UINT64_MAX, NULL },
	{ "end wraps to the start of a region", UINT64_MAX - 0xfff, 0x1001, NULL },
};

static void
find(void **state)
{
	const struct find_case *row = *state;
	struct guest_memory memory;

	three_regions(&memory);
	for (uint32_t guess = 0; guess < memory.count; guess++) {
		uint32_t recent = guess;

		assert_ptr_equal(guest_memory_find(&memory, &recent, row->address, row->bytes), row->host);
		assert_true(recent < memory.count);
	}
}

struct hold_case {
	const char *name;
	const void *host;
	uint64_t bytes;
	int holds;
};

static struct hold_case holds[] = {
	{ "a region", low, sizeof(low), 1 },
	{ "the end of a region", low + 0xff0, 16, 1 },
	{ "one byte too many", low + 0xff0, 17, 0 },
	{ "before a region", low - 1, 1, 0 },
	{ "nothing", NULL, 1, 0 },
	{ "more than there is", low, UINT64_MAX, 0 },
};

static void
hold(void **state)
{
	const struct hold_case *row = *state;
	struct guest_memory memory = { 0 };

	guest_memory_add(&memory, 0x10000, sizeof(low), low);
	assert_int_equal(guest_memory_holds(&memory, row->host, row->bytes), row->holds);
}

static void
no_memory_holds_nothing(void **state)
{
	struct guest_memory memory = { 0 };
	uint32_t recent = 0;

	(void)state;
	assert_null(guest_memory_find(&memory, &recent, 0, 1));
	assert_null(guest_memory_find(&memory, &recent, 0x10000, 1));
	assert_false(guest_memory_holds(&memory, low, 1));
}

static void
addresses_come_back(void **state)
{
	struct guest_memory memory;
	uint32_t recent = 0;

	(void)state;
	three_regions(&memory);
	for (uint64_t address = 0x10ff0; address < 0x11010; address++)
		assert_true(guest_memory_address(&memory, guest_memory_find(&memory, &recent, address, 1)) == address);
}

static void
too_many_regions(void **state)
{
	struct guest_memory memory = { 0 };

	(void)state;
	for (int i = 0; i < GUEST_REGIONS_MAX; i++)
		assert_int_equal(guest_memory_add(&memory, 0, 0, low), 0);
	assert_int_equal(guest_memory_add(&memory, 0, 0, low), -ENOSPC);
}

/* A mapping of a file that ends before it does. */
static uint8_t *
map_truncated(size_t bytes, size_t left)
{
	int handle = memfd_create("guest", MFD_CLOEXEC);
	uint8_t *at;

	assert_true(handle >= 0);
	assert_int_equal(ftruncate(handle, (off_t)bytes), 0);
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	at[0] = 1;
	assert_int_equal(ftruncate(handle, (off_t)left), 0);
	close(handle);
	return at;
}

static struct bus_guard *
guard_take(void)
{
	struct bus_guard *guard;

	assert_int_equal(bus_error_open(), 0);
	guard = bus_guard_take();
	assert_non_null(guard);
	assert_false(bus_guard_lost(guard));
	return guard;
}

static void
truncated_memory_costs_its_guest_only(void **state)
{
	enum { BYTES = 0x10000 };
	uint8_t *victim = map_truncated(BYTES, 0), *other = map_truncated(BYTES, BYTES);
	struct bus_guard *of_victim = guard_take(), *of_other = guard_take();

	(void)state;
	assert_int_equal(bus_guard_watch(of_other, other, BYTES), 0);
	assert_int_equal(bus_guard_watch(of_victim, victim, BYTES), 0);

	victim[BYTES - 1] = 3;
	assert_int_equal(((volatile uint8_t *)victim)[0], 0);
	assert_true(bus_guard_lost(of_victim));
	assert_false(bus_guard_lost(of_other));
	assert_int_equal(other[0], 1);

	bus_guard_unwatch(of_victim, victim);
	assert_true(bus_guard_lost(of_victim));
	bus_guard_release(of_victim);
	assert_ptr_equal(guard_take(), of_victim);
	bus_guard_release(of_victim);
	bus_guard_release(of_other);
	munmap(victim, BYTES);
	munmap(other, BYTES);
}

static void
a_guard_has_only_so_many_ranges(void **state)
{
	struct bus_guard *guard = guard_take();

	(void)state;
	for (int i = 0; i < BUS_GUARD_RANGES_MAX; i++)
		assert_int_equal(bus_guard_watch(guard, low + i, 1), 0);
	assert_int_equal(bus_guard_watch(guard, high, 1), -ENOSPC);
	bus_guard_unwatch(guard, low + 3);
	assert_int_equal(bus_guard_watch(guard, high, 1), 0);
	bus_guard_release(guard);
}

/* More than any table had room for. */
static void
there_are_as_many_guards_as_guests(void **state)
{
	enum { GUESTS = 3000 };
	static struct bus_guard *guards[GUESTS];
	uint8_t *at = map_truncated(0x1000, 0);

	(void)state;
	for (int i = 0; i < GUESTS; i++)
		guards[i] = guard_take();
	assert_int_equal(bus_guard_watch(guards[0], at, 0x1000), 0);
	assert_int_equal(((volatile uint8_t *)at)[0], 0);
	for (int i = 0; i < GUESTS; i++) {
		assert_int_equal(bus_guard_lost(guards[i]), i == 0);
		bus_guard_release(guards[i]);
	}
	munmap(at, 0x1000);
}

enum { PAGE = 0x1000, FILE_BYTES = 4 * PAGE };

static int
file_memory(void)
{
	int file = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(ftruncate(file, FILE_BYTES), 0);
	return file;
}

static int
file_sealed(void)
{
	int file = file_memory();

	assert_int_equal(fcntl(file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	return file;
}

static int
file_read_only(void)
{
	int writable = file_memory(), file;
	char name[64];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", writable);
	file = open(name, O_RDONLY | O_CLOEXEC);
	close(writable);
	return file;
}

static int
file_of_a_pipe(void)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	return ends[1];
}

static int
file_of_the_kernel(void)
{
	return open("/proc/self/comm", O_RDWR | O_CLOEXEC);
}

static struct map_case {
	const char *name;
	int (*file)(void);
	struct message_region region; /* guest, bytes, user, offset */
	const char *why;              /* NULL: it is mapped */
} maps[] = {
	{ "a whole file", file_memory, { 0, FILE_BYTES, 0, 0 }, NULL },
	{ "its last byte", file_memory, { 0, 1, 0, FILE_BYTES - 1 }, NULL },
	{ "from the middle of a page on", file_memory, { 0, PAGE, 0, PAGE / 2 }, NULL },
	{ "the last addresses", file_memory, { UINT64_MAX - PAGE, PAGE, UINT64_MAX - PAGE, 0 }, NULL },
	{ "nothing", file_memory, { 0, 0, 0, 0 }, "empty" },
	{ "one byte too many", file_memory, { 0, FILE_BYTES + 1, 0, 0 }, "not in its file" },
	{ "behind the file", file_memory, { 0, 1, 0, FILE_BYTES }, "not in its file" },
	{ "offset wraps", file_memory, { 0, PAGE, 0, UINT64_MAX - PAGE + 1 }, "not in its file" },
	{ "addresses wrap", file_memory, { UINT64_MAX, PAGE, 0, 0 }, "beyond the last address" },
	{ "the front-end's addresses wrap", file_memory, { 0, PAGE, UINT64_MAX, 0 }, "beyond the last address" },
	{ "more than the host has", file_memory, { 0, UINT64_MAX / 2, 0, 0 }, "times what the host has" },
	{ "sealed", file_sealed, { 0, PAGE, 0, 0 }, "cannot be written" },
	{ "read only", file_read_only, { 0, PAGE, 0, 0 }, "cannot be written" },
	{ "a pipe", file_of_a_pipe, { 0, PAGE, 0, 0 }, "not in tmpfs" },
	{ "of another file system", file_of_the_kernel, { 0, PAGE, 0, 0 }, "not in tmpfs" },
};

static void
map(void **state)
{
	const struct map_case *row = *state;
	struct bus_guard *guard = guard_take();
	struct guest_memory memory = { 0 };
	struct refusal why = { .text = "" };
	int file = row->file(), error = guest_memory_map(&memory, guard, &row->region, &file, 1, &why);
	uint32_t recent = 0;
	uint8_t *at;

	assert_int_equal(error != 0, row->why != NULL);
	if (row->why) {
		assert_non_null(strstr(why.text, row->why));
		assert_int_equal(memory.count, 0);
	} else {
		at = guest_memory_find(&memory, &recent, row->region.guest, row->region.bytes);
		assert_non_null(at);
		at[0] = at[row->region.bytes - 1] = 7;
		assert_int_equal(pread(file, &recent, 1, (off_t)row->region.offset), 1);
		assert_int_equal((uint8_t)recent, 7);
		assert_ptr_equal(guest_memory_of_user(&memory, row->region.user), at);
		assert_null(guest_memory_of_user(&memory, row->region.user + row->region.bytes));
		assert_null(guest_memory_of_user(&memory, row->region.user - 1));
	}
	guest_memory_unmap(&memory, guard);
	bus_guard_release(guard);
	close(file);
}

static void
a_table_replaces_the_one_before(void **state)
{
	const struct message_region two[] = { { 0, PAGE, 0x10000, 0 }, { PAGE, PAGE, 0x20000, PAGE } };
	struct bus_guard *guard = guard_take();
	struct guest_memory memory = { 0 };
	int file = file_memory(), files[] = { file, file };

	(void)state;
	for (int i = 0; i < 3 * BUS_GUARD_RANGES_MAX; i++)
		assert_int_equal(guest_memory_map(&memory, guard, two, files, 2, NULL), 0);
	assert_int_equal(memory.count, 2);
	assert_int_equal(ftruncate(file, PAGE), 0);
	assert_int_equal(*(volatile uint8_t *)guest_memory_of_user(&memory, 0x10000), 0);
	assert_false(bus_guard_lost(guard));
	assert_int_equal(*(volatile uint8_t *)guest_memory_of_user(&memory, 0x20000), 0);
	assert_true(bus_guard_lost(guard));
	guest_memory_unmap(&memory, guard);
	assert_null(guest_memory_of_user(&memory, 0x10000));
	bus_guard_release(guard);
	close(file);
}

int
main(void)
{
	static struct row_tests all;

	ROWS(&all, find, finds);
	ROWS(&all, hold, holds);
	TEST(&all, no_memory_holds_nothing);
	TEST(&all, addresses_come_back);
	TEST(&all, too_many_regions);
	TEST(&all, truncated_memory_costs_its_guest_only);
	TEST(&all, a_guard_has_only_so_many_ranges);
	TEST(&all, there_are_as_many_guards_as_guests);
	ROWS(&all, map, maps);
	TEST(&all, a_table_replaces_the_one_before);
	return row_tests_run("guest_memory", &all);
}
