/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory: which addresses are a guest's, where they are here, and what happens when they vanish. */
#include "vhost/bus_error.h"
#include "vhost/memory.h"

#include "rows.h"

#include <errno.h>
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

static void
truncated_memory_costs_its_guest_only(void **state)
{
	enum { BYTES = 0x10000, VICTIM = 7, OTHER = 8 };
	uint8_t *victim = map_truncated(BYTES, 0), *other = map_truncated(BYTES, BYTES);

	(void)state;
	assert_int_equal(bus_error_open(), 0);
	bus_error_reset(VICTIM);
	bus_error_reset(OTHER);
	assert_int_equal(bus_error_watch(OTHER, other, BYTES), 0);
	assert_int_equal(bus_error_watch(VICTIM, victim, BYTES), 0);
	assert_false(bus_error_happened(VICTIM));

	victim[BYTES - 1] = 3;
	assert_int_equal(((volatile uint8_t *)victim)[0], 0);
	assert_true(bus_error_happened(VICTIM));
	assert_false(bus_error_happened(OTHER));
	assert_int_equal(other[0], 1);

	bus_error_unwatch(VICTIM);
	assert_true(bus_error_happened(VICTIM));
	bus_error_reset(VICTIM);
	assert_false(bus_error_happened(VICTIM));
	bus_error_reset(OTHER);
	munmap(victim, BYTES);
	munmap(other, BYTES);
}

static void
memory_that_vanishes_in_a_message(void **state)
{
	enum { BYTES = 0x4000, GUEST = 9 };
	uint8_t *at = map_truncated(BYTES, 0x1000);

	(void)state;
	assert_int_equal(bus_error_open(), 0);
	bus_error_reset(GUEST);
	bus_error_blame(GUEST);
	assert_int_equal(((volatile uint8_t *)at)[0x1000], 0);
	assert_true(bus_error_happened(GUEST));
	assert_int_equal(at[0], 1);
	bus_error_reset(GUEST);
	munmap(at, BYTES);
}

static void
a_guest_has_only_so_many_ranges(void **state)
{
	enum { GUEST = 10 };

	(void)state;
	bus_error_reset(GUEST);
	for (int i = 0; i < BUS_ERROR_RANGES_MAX; i++)
		assert_int_equal(bus_error_watch(GUEST, low, 1), 0);
	assert_int_equal(bus_error_watch(GUEST, low, 1), -ENOSPC);
	bus_error_unwatch(GUEST);
	assert_int_equal(bus_error_watch(GUEST, low, 1), 0);
	bus_error_reset(GUEST);
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
	TEST(&all, memory_that_vanishes_in_a_message);
	TEST(&all, a_guest_has_only_so_many_ranges);
	return row_tests_run("guest_memory", &all);
}
