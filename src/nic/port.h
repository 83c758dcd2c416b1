/*
 * One DPDK port: found by devargs or PCI address, opened, started, closed. Knows the drivers' habits and nothing
 * of queues or filters. Control thread.
 */
#ifndef VMQ_NIC_PORT_H
#define VMQ_NIC_PORT_H

#include "core/ops.h"
#include "util/refusal.h"

#include <rte_ethdev.h>
#include <stdint.h>

enum {
	PORT_RX_DESCRIPTORS = 1024,
	PORT_TX_DESCRIPTORS = 1024,
	PORT_FRAME_OVERHEAD = 14 + 2 * 4, /* Ethernet header and two tags, beside the MTU */
};

struct port_queues {
	uint16_t rx;
	uint16_t tx;
};

struct port {
	uint16_t id;
	uint16_t mtu_max;
	struct port_queues queues;
	int wake_fds[WAKE_FDS_MAX];      /* readable when frames wait */
	int wake_fd_count;               /* 0: the port cannot wake anyone */
	struct rte_device *device;
};

/** Bytes of packet memory that one frame of this MTU needs from this kind of port, without headroom. */
uint32_t port_buffer_bytes(const char *devargs, uint16_t mtu);

/**
 * Open and start a port, promiscuous, with so many receive and transmit queues, or as many as it has.
 *
 * @param devargs  of a virtual device, or a PCI address.
 * @param pool  buffers of at least port_buffer_bytes().
 * @return 0; -errno with what DPDK said of it; nothing is left open then.
 */
int port_open(const char *devargs, uint16_t mtu, struct port_queues queues, struct rte_mempool *pool,
	      struct port *port, struct refusal *why);
void port_close(struct port *port);

#endif
