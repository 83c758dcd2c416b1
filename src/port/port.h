/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One port: the way to a wire, opened, started, closed. What it is made of is told by its name: an interface of the
 * kernel's (packet.c), or whatever DPDK has a driver for (eth.c). Knows nothing of queues or filters.
 */
#ifndef VMQ_PORT_PORT_H
#define VMQ_PORT_PORT_H

#include "model/ops.h"
#include "port/claim.h"
#include "util/refusal.h"

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

enum { PORT_FRAME_OVERHEAD = 14 + 2 * 4 }; /* Ethernet header and two tags, beside the MTU */

struct packet;
struct rte_device;
struct watch;

struct port_request {
	const char *adapter;             /* whose port it will be */
	const char *name;                /* if=INTERFACE, a virtual device of DPDK's with arguments, or a PCI address */
	uint16_t mtu;
	uint16_t rx, tx;                 /* queues; the port may have fewer */
	struct rte_mempool *pools[CPU_LIMIT]; /* by receive queue: buffers of at least port_buffer_bytes() */
};

struct port {
	const struct port_ops *ops;
	union {
		struct packet *packet;   /* packet.c */
		struct rte_device *device; /* eth.c */
	};
	uint16_t id;                     /* of DPDK; eth.c */
	struct watch *watch;             /* asks a card; NULL: none is behind the port */
	uint16_t mtu_max;
	uint16_t rx_queues, tx_queues;
	int wake_fds[WAKE_FDS_MAX];      /* readable when frames wait */
	int wake_fd_count;               /* 0: the port cannot wake anyone */
	unsigned cuts;                   /* eth.c: kinds of GSO frames that the card cuts */
	uint16_t pieces_max;             /* of such a frame, that it takes */
	bool unfinished;                 /* it cannot tell what a kernel left to hardware */
	unsigned ifindex;                /* of the kernel's interface that it stands on; 0: none */
	struct claim claim;
};

/* A kind of port. Control thread, but for rx and tx. */
struct port_ops {
	/** Bytes of packet memory that one frame of this MTU needs, without headroom. */
	uint32_t (*buffer_bytes)(const char *name, uint16_t mtu);
	/** What the port will be made of, but for the adapter's name. @return 0; -errno with a sentence. */
	int (*describe)(const char *name, struct claim *claim, struct refusal *why);
	/** As port_open(); the claim is filled in. */
	int (*open)(const struct port_request *request, struct port *port, struct refusal *why);
	/** As port_close(). */
	int (*close)(struct port *port);
	void (*link)(const struct port *port, struct nic_link *link);
	void (*losses)(const struct port *port, struct nic_losses *losses);
	/** Workers: @return how many frames, complete, with a tag in them or beside them. */
	uint16_t (*rx)(const struct port *port, uint16_t queue, struct rte_mbuf **frames, uint16_t n);
	/** Workers: as nic_ops.takes; NULL: no such frame is taken. */
	bool (*takes)(const struct port *port, const struct rte_mbuf *frame);
	/** Workers: as nic_ops.transmit. */
	uint16_t (*tx)(const struct port *port, uint16_t queue, struct rte_mbuf **frames, uint16_t n,
		       enum drop_reason *rest);
};

/** As port_ops.buffer_bytes. */
uint32_t port_buffer_bytes(const char *name, uint16_t mtu);

/**
 * Open and start a port, promiscuous.
 *
 * @param port  stays where it is until it is closed.
 * @return 0; -ETIMEDOUT: the driver does not answer, and may use the pools for ever; else -errno with the cause, and
 *         nothing is left open.
 */
int port_open(const struct port_request *request, struct port *port, struct refusal *why);

/** @return 0; else the driver may use the pools for ever. */
int port_close(struct port *port);

#endif
