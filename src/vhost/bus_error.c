/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/bus_error.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLAME_NOBODY = 0, HUGE_PAGE_BYTES_MAX = 1 << 30 };

/* The handler reads these on any thread, without a lock: a range counts while its length is not 0. */
struct watched_range {
	_Atomic uintptr_t start;
	_Atomic size_t bytes;
};

static struct watched_guest {
	atomic_bool lost;
	struct watched_range ranges[BUS_ERROR_RANGES_MAX];
} watched[BUS_ERROR_GUESTS_MAX];

static struct sigaction previous;
static uintptr_t page_bytes;
static _Thread_local unsigned blamed = BLAME_NOBODY; /* a guest, counted from 1 */

static bool
replace_by_empty(uintptr_t start, size_t bytes)
{
	const int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	return mmap((void *)start, bytes, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED;
}

/* Huge pages can only be replaced as a whole mapping, so every mapping is. */
static bool
guest_lost_memory(struct watched_guest *guest, uintptr_t address)
{
	for (unsigned i = 0; i < BUS_ERROR_RANGES_MAX; i++) {
		uintptr_t start = atomic_load_explicit(&guest->ranges[i].start, memory_order_relaxed);
		size_t bytes = atomic_load_explicit(&guest->ranges[i].bytes, memory_order_acquire);

		if (address - start >= bytes)
			continue;
		atomic_store(&guest->lost, true);
		return replace_by_empty(start, bytes);
	}
	return false;
}

/* Part of a huge page cannot be replaced: the kernel refuses every size but the page's own, until it is met. */
static bool
unwatched_page_lost(uintptr_t address)
{
	if (blamed == BLAME_NOBODY)
		return false;
	atomic_store(&watched[blamed - 1].lost, true);
	for (size_t bytes = page_bytes; bytes <= HUGE_PAGE_BYTES_MAX; bytes <<= 1)
		if (replace_by_empty(address & ~(bytes - 1), bytes))
			return true;
	return false;
}

static void
on_bus_error(int signal, siginfo_t *cause, void *context)
{
	uintptr_t address = (uintptr_t)cause->si_addr;
	int error = errno;
	bool replaced = false;

	for (unsigned i = 0; i < BUS_ERROR_GUESTS_MAX && !replaced; i++)
		replaced = guest_lost_memory(&watched[i], address);
	if (!replaced)
		replaced = unwatched_page_lost(address);
	errno = error;
	if (replaced)
		return;
	if (previous.sa_flags & SA_SIGINFO)
		previous.sa_sigaction(signal, cause, context);
	else
		sigaction(signal, &previous, NULL);
}

int
bus_error_open(void)
{
	struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigaction current;

	page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
	if (sigaction(SIGBUS, NULL, &current))
		return -errno;
	if (current.sa_flags & SA_SIGINFO && current.sa_sigaction == on_bus_error)
		return 0;
	previous = current;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) ? -errno : 0;
}

void
bus_error_unwatch(unsigned guest)
{
	for (unsigned i = 0; i < BUS_ERROR_RANGES_MAX; i++)
		atomic_store_explicit(&watched[guest].ranges[i].bytes, 0, memory_order_release);
}

void
bus_error_reset(unsigned guest)
{
	bus_error_unwatch(guest);
	atomic_store(&watched[guest].lost, false);
}

int
bus_error_watch(unsigned guest, void *start, size_t bytes)
{
	for (unsigned i = 0; i < BUS_ERROR_RANGES_MAX; i++) {
		struct watched_range *range = &watched[guest].ranges[i];

		if (atomic_load_explicit(&range->bytes, memory_order_relaxed))
			continue;
		atomic_store_explicit(&range->start, (uintptr_t)start, memory_order_relaxed);
		atomic_store_explicit(&range->bytes, bytes, memory_order_release);
		return 0;
	}
	return -ENOSPC;
}

void
bus_error_blame(unsigned guest)
{
	blamed = guest + 1;
}

bool
bus_error_happened(unsigned guest)
{
	return atomic_load_explicit(&watched[guest].lost, memory_order_relaxed);
}
