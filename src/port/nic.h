/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The adapter's hardware half with its filters in software: any DPDK port, and a classifier behind it.
 * receive() is what a NIC with its own filters would do in silicon.
 */
#ifndef VMQ_PORT_NIC_H
#define VMQ_PORT_NIC_H

#include "model/ops.h"

struct nic_context {
	uint16_t workers; /* each has a transmit queue where the port has enough of them */
};

/** For model_config.nic; nic_ctx is a struct nic_context that outlives the model. */
extern const struct nic_ops nic_software_ops;

#endif
