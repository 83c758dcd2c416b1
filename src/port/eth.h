/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port of DPDK's: found by devargs or PCI address. Knows the drivers' habits. Control thread, which waits for a
 * driver for some seconds at most.
 */
#ifndef VMQ_PORT_ETH_H
#define VMQ_PORT_ETH_H

#include "port/port.h"

extern const struct port_ops eth_port_ops;

/** Whether a driver that did not answer in time is still at work. */
bool port_stuck(void);

#endif
