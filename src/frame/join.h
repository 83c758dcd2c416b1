/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of one TCP connection that follow each other, as they came from a wire, joined into one GSO frame for a VM that
 * takes such (generic receive offload). Only within a burst, so nothing is held back; only with the frame before it for
 * the same queue, so nothing is reordered; and only if its checksums are right, since nobody checks them afterwards.
 */
#ifndef VMQ_FRAME_JOIN_H
#define VMQ_FRAME_JOIN_H

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

struct join_rules {
	/** Whether the VM of this queue takes GSO frames of this kind. */
	bool (*takes)(const void *ctx, uint16_t queue_id, unsigned kind);
	const void *ctx;
};

/** @param queue_ids  of each frame, in and out. @return how many frames there are now. */
uint16_t join_burst(const struct join_rules *rules, struct rte_mbuf **frames, uint16_t *queue_ids, uint16_t n);

#endif
