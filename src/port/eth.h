/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One DPDK port: found by devargs or PCI address, opened, started, closed. Knows the drivers' habits and nothing
 * of queues or filters. Control thread, which waits for a driver for some seconds at most.
 */
#ifndef VMQ_PORT_ETH_H
#define VMQ_PORT_ETH_H

#include "model/ops.h"
#include "port/claim.h"
#include "util/refusal.h"

#include <rte_ethdev.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	PORT_RX_DESCRIPTORS = 1024,
	PORT_TX_DESCRIPTORS = 1024,
	PORT_FRAME_OVERHEAD = 14 + 2 * 4, /* Ethernet header and two tags, beside the MTU */
};

struct port_request {
	const char *adapter;             /* whose port it will be */
	const char *devargs;             /* of a virtual device, or a PCI address */
	uint16_t mtu;
	uint16_t rx, tx;                 /* queues; the port may have fewer */
	struct rte_mempool *pools[CPU_LIMIT]; /* by receive queue: buffers of at least port_buffer_bytes() */
};

struct port {
	uint16_t id;
	uint16_t mtu_max;
	uint16_t rx_queues, tx_queues;
	int wake_fds[WAKE_FDS_MAX];      /* readable when frames wait */
	int wake_fd_count;               /* 0: the port cannot wake anyone */
	struct rte_device *device;
	unsigned ifindex;                /* of the kernel's interface that it stands on; 0: none */
	struct claim claim;
};

/** Bytes of packet memory that one frame of this MTU needs from this kind of port, without headroom. */
uint32_t port_buffer_bytes(const char *devargs, uint16_t mtu);

/**
 * Open and start a port, promiscuous.
 *
 * @param port  stays where it is until it is closed.
 * @return 0; -ETIMEDOUT: the driver does not answer, and may use the pools for ever; else -errno, with the cause or
 *         what DPDK said first, and nothing is left open.
 */
int port_open(const struct port_request *request, struct port *port, struct refusal *why);

/** @return 0; else the driver may use the pools for ever. */
int port_close(struct port *port);

/** Whether a driver that did not answer in time is still at work. */
bool port_stuck(void);

#endif
