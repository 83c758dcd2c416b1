/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a VM's driver may leave to vmqd of the frames that it sends (csum, host_…), and finish itself of those that it
 * gets (guest_…): features of virtio-net, each with those of which it needs one. Source: VIRTIO 1.2, 5.1.3.1.
 */
#ifndef VMQ_MODEL_OFFLOAD_H
#define VMQ_MODEL_OFFLOAD_H

#include "util/refusal.h"

#include <stdint.h>

#define VM_OFFLOAD(bit) (UINT64_C(1) << (bit))

/* word, number of the feature, what it needs one of */
#define VM_OFFLOADS(row)                                            \
	row(csum, 0, 0)                                             \
	row(host_tso4, 11, VM_OFFLOAD(0))                           \
	row(host_tso6, 12, VM_OFFLOAD(0))                           \
	row(host_ecn, 13, VM_OFFLOAD(11) | VM_OFFLOAD(12))          \
	row(host_uso, 56, VM_OFFLOAD(0))                            \
	row(guest_csum, 1, 0)                                       \
	row(guest_tso4, 7, VM_OFFLOAD(1))                           \
	row(guest_tso6, 8, VM_OFFLOAD(1))                           \
	row(guest_ecn, 9, VM_OFFLOAD(7) | VM_OFFLOAD(8))            \
	row(guest_uso4, 54, VM_OFFLOAD(1))                          \
	row(guest_uso6, 55, VM_OFFLOAD(1))

#define VM_OFFLOAD_BIT(word, bit, needs) VM_OFFLOAD(bit) |
#define VM_OFFLOADS_ALL (VM_OFFLOADS(VM_OFFLOAD_BIT) UINT64_C(0))

enum { OFFLOADS_TEXT_SIZE = 160 };

/**
 * @param text  `on` for all, `off` for none, or words with commas between.
 * @return 0 with *offloads; -EINVAL.
 */
int offloads_parse(const char *text, uint64_t *offloads, struct refusal *why);

/** As offloads_parse() reads it. */
void offloads_format(uint64_t offloads, char text[OFFLOADS_TEXT_SIZE]);

#endif
