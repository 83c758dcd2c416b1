/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a VM may get and send in a second. A token bucket, kept as the one number when it would be full: each byte moves
 * that time on by what it takes at the limit, and a frame passes while the time is not too far ahead. So a frame longer
 * than what is left passes and is paid for afterwards, and the mean is exact whatever the lengths are. The bucket is the
 * home's alone, as the guest's ring is. What is counted may also be frames.
 */
#ifndef VMQ_DATAPATH_LIMIT_H
#define VMQ_DATAPATH_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

/**
 * @param due  of this bucket, in cycles.
 * @param byte_cycles  that a byte takes. @param burst  how far ahead it may be, in cycles.
 * @return whether the frame passes; then it is paid for.
 */
static inline bool
limit_pass(uint64_t *due, double byte_cycles, uint64_t burst, uint64_t now, uint32_t bytes)
{
	const uint64_t begin = *due > now ? *due : now;

	if (begin - now > burst)
		return false;
	*due = begin + (uint64_t)(bytes * byte_cycles);
	return true;
}

#endif
