/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pages that were written while a guest is on its way to another host: one bit a page of 4 KiB, in memory that
 * the migration reads. Source: vhost-user, "Migration", VHOST_USER_SET_LOG_BASE.
 */
#ifndef VMQ_VHOST_DIRTY_LOG_H
#define VMQ_VHOST_DIRTY_LOG_H

#include <stdatomic.h>
#include <stdint.h>

enum { DIRTY_PAGE_SHIFT = 12 };

struct dirty_log {
	uint8_t *bits;  /* NULL: nobody asks */
	uint64_t bytes;
};

/** After the write: `bytes` (at least 1) from guest address `address` on. Pages beyond the log are nobody's. */
static inline void
dirty_log_add(const struct dirty_log *log, uint64_t address, uint64_t bytes)
{
	uint64_t page = address >> DIRTY_PAGE_SHIFT, last = (address + bytes - 1) >> DIRTY_PAGE_SHIFT;

	atomic_thread_fence(memory_order_release);
	for (; page <= last && page / 8 < log->bytes; page++)
		__atomic_fetch_or(&log->bits[page / 8], (uint8_t)(1u << page % 8), __ATOMIC_RELAXED);
}

#endif
