/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packet memory of an adapter: a pool of receive buffers on each NUMA node that has a processor of it. Frames are in
 * a pool before anyone knows whose they are, so queues share the pools and each is promised a number of buffers.
 * Control thread; workers take buffers from a pool.
 */
#ifndef VMQ_PORT_POOL_H
#define VMQ_PORT_POOL_H

#include "model/model.h"

#include <rte_mbuf.h>

enum {
	POOL_NODES_MAX = 8, /* of NUMA; a processor on a node beyond takes from the first pool */
};

struct packet_memory {
	struct rte_mempool *pools[POOL_NODES_MAX]; /* by node; NULL: the adapter has no processor there */
	uint32_t free;                             /* buffers that are not promised to a queue */
	uint32_t promised[QUEUE_ID_LIMIT + 1];     /* by queue id */
};

/**
 * As many buffers as the queues want by default, or half of that, and half again, where memory is short.
 * @param bytes  of one buffer, without headroom.
 * @param reserve  buffers beyond those that are promised: in the port's rings and in workers' hands.
 * @return 0; -ENOMEM.
 */
int packet_memory_create(struct packet_memory *memory, const struct adapter_config *config, uint16_t bytes,
			 uint32_t reserve);
void packet_memory_destroy(struct packet_memory *memory);

/** The pool for a processor of this node; -1: of an unknown one. Never NULL. */
struct rte_mempool *packet_memory_pool(const struct packet_memory *memory, int node);

/** Promise a queue so many buffers, instead of what it had. @return how many it has now; 0: there are too few. */
uint32_t packet_memory_promise(struct packet_memory *memory, uint16_t queue, uint32_t buffers);

/** For nic_ops.memory_get() and memory_put(). */
int packet_memory_get(const struct packet_memory *packets, struct memory *memory);
void packet_memory_put(struct memory *memory);

/** For nic_ops.node_of_cpu(). */
int node_of_cpu(unsigned cpu);

#endif
