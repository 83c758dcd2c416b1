/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's own end of an adapter: a TAP interface. DPDK's TAP port is not used: it takes no frame longer than an
 * Ethernet MTU of 1500 allows, whatever the MTU of its interface (docs/design.md).
 */
#ifndef VMQ_PORT_TAP_H
#define VMQ_PORT_TAP_H

#include "model/ops.h"

/** For model_config.host; without context. Only what control and workers ask of a host: see ops.h. */
extern const struct nic_ops host_tap_ops;

#endif
