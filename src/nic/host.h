/*
 * The host's own end of an adapter: a TAP interface. DPDK's TAP port is not used: it takes no frame longer than an
 * Ethernet MTU of 1500 allows, whatever the MTU of its interface (docs/design.md).
 */
#ifndef VMQ_NIC_HOST_H
#define VMQ_NIC_HOST_H

#include "core/ops.h"

/** For core_config.host; without context. Only what core and workers ask of a host: see ops.h. */
extern const struct nic_ops host_tap_ops;

#endif
