/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which queue a frame belongs to, by the plainest reading of vmq-spec §3: parse the header, go through the
 * filters one by one. Shares no code with what it is compared with.
 */
#ifndef VMQ_TESTS_ORACLE_H
#define VMQ_TESTS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oracle_filter {
	uint16_t queue;
	bool running;  /* the queue is in state Running: else its filters do not match */
	uint64_t mac;
	uint16_t vlan; /* 1 to 4094, VLAN_UNTAGGED or VLAN_ANY */
};

/** The lowest running queue with a filter that the frame passes; 0, the default queue, if there is none. */
uint16_t oracle_queue(const struct oracle_filter *filters, size_t count, const uint8_t *frame, size_t length);

#endif
