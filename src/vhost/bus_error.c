/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/bus_error.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

/* The handler walks this list at any moment, so nothing ever leaves it. */
static struct bus_guard *_Atomic guards;
static struct sigaction previous;

/* Huge pages can only be replaced as a whole mapping, so every mapping is. */
static bool
replace_by_empty(uintptr_t start, size_t bytes)
{
	const int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	return mmap((void *)start, bytes, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED;
}

static bool
guard_lost_memory(struct bus_guard *guard, uintptr_t address)
{
	for (unsigned i = 0; i < BUS_GUARD_RANGES_MAX; i++) {
		uintptr_t start = atomic_load_explicit(&guard->ranges[i].start, memory_order_relaxed);
		size_t bytes = atomic_load_explicit(&guard->ranges[i].bytes, memory_order_acquire);

		if (address - start >= bytes)
			continue;
		atomic_store(&guard->lost, true);
		return replace_by_empty(start, bytes);
	}
	return false;
}

static void
on_bus_error(int signal, siginfo_t *cause, void *context)
{
	struct bus_guard *guard = atomic_load_explicit(&guards, memory_order_acquire);
	uintptr_t address = (uintptr_t)cause->si_addr;
	int error = errno;

	while (guard && !guard_lost_memory(guard, address))
		guard = guard->next;
	errno = error;
	if (guard)
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

	if (sigaction(SIGBUS, NULL, &current))
		return -errno;
	if (current.sa_flags & SA_SIGINFO && current.sa_sigaction == on_bus_error)
		return 0;
	previous = current;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) ? -errno : 0;
}

struct bus_guard *
bus_guard_take(void)
{
	struct bus_guard *guard = atomic_load_explicit(&guards, memory_order_relaxed);

	while (guard && guard->taken)
		guard = guard->next;
	if (!guard) {
		guard = calloc(1, sizeof(*guard));
		if (!guard)
			return NULL;
		guard->next = atomic_load_explicit(&guards, memory_order_relaxed);
		atomic_store_explicit(&guards, guard, memory_order_release);
	}
	guard->taken = true;
	atomic_store(&guard->lost, false);
	return guard;
}

void
bus_guard_release(struct bus_guard *guard)
{
	for (unsigned i = 0; i < BUS_GUARD_RANGES_MAX; i++)
		atomic_store_explicit(&guard->ranges[i].bytes, 0, memory_order_release);
	guard->taken = false;
}

int
bus_guard_watch(struct bus_guard *guard, void *start, size_t bytes)
{
	for (unsigned i = 0; i < BUS_GUARD_RANGES_MAX; i++) {
		struct guarded_range *range = &guard->ranges[i];

		if (atomic_load_explicit(&range->bytes, memory_order_relaxed))
			continue;
		atomic_store_explicit(&range->start, (uintptr_t)start, memory_order_relaxed);
		atomic_store_explicit(&range->bytes, bytes, memory_order_release);
		return 0;
	}
	return -ENOSPC;
}

void
bus_guard_unwatch(struct bus_guard *guard, const void *start)
{
	for (unsigned i = 0; i < BUS_GUARD_RANGES_MAX; i++)
		if (atomic_load_explicit(&guard->ranges[i].start, memory_order_relaxed) == (uintptr_t)start)
			atomic_store_explicit(&guard->ranges[i].bytes, 0, memory_order_release);
}
