/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other end of one connection of a vhost-user socket: what its front-end said of a guest's memory and rings, and
 * both as workers use them.
 *
 * While a guest is open workers use what is in here and control changes nothing of that; while it is closed no worker
 * comes near. server.c sees to that. All functions but those of workers are the control thread's.
 */
#ifndef VMQ_VHOST_GUEST_H
#define VMQ_VHOST_GUEST_H

#include "model/ops.h"
#include "vhost/virtqueue.h"

#include <linux/virtio_net.h>
#include <rte_ether.h>

enum guest_ring {
	GUEST_RECEIVES,  /* virtio: the guest's receive queue is the first of a pair */
	GUEST_TRANSMITS,
	GUEST_RINGS,
	GUEST_CONTROL = GUEST_RINGS, /* served by control; only of a guest that negotiated it */
	GUEST_RINGS_AND_CONTROL,
};

/* A ring as the front-end describes it; addresses are the front-end's. */
struct ring_setup {
	uint32_t entries;
	uint16_t available_next;             /* where to go on */
	uint16_t used_next;
	uint64_t descriptors;
	uint64_t available;
	uint64_t used;
	uint64_t used_log;                   /* of the used ring in the dirty log; 0: not logged */
	bool addressed;                      /* the addresses are known */
	bool started;                        /* by its kick; until it is asked where it stands */
	bool enabled;
	bool resumed;                        /* its used ring was asked where it stands */
	int kick;                            /* -1: the ring is to be looked at instead */
	int call;                            /* -1: the guest looks itself */
};

struct guest {
	struct virtqueue rings[GUEST_RINGS_AND_CONTROL]; /* while open: the first two one worker's each */
	struct guest_memory memory;          /* while open: workers read */
	struct bus_guard *guard;
	_Atomic(enum ring_fault) fault;      /* workers write, all read; never taken back */
	bool announces;                      /* it moved here and wants the network to learn that; workers clear it */
	struct rte_ether_addr announced;
	int kicks;                           /* while open, of the worker that serves it: KICKS_..., or a descriptor */
	/* What follows is the control thread's. */
	bool complete;                       /* it had all that a device needs, and has not stopped since */
	uint64_t offloads;                   /* of VM_OFFLOADS, that it is offered; for good */
	uint64_t offered;                    /* virtio features, when its front-end asked last; 0: it has not yet */
	bool owned;                          /* its front-end took it before it asked */
	struct virtio_net_config config;     /* what its driver may read of its device; as of the last message */
	uint64_t features;                   /* as negotiated */
	uint64_t protocol_features;
	uint8_t status;
	int channel;                         /* for requests of ours, of which there are none; -1: not given */
	struct ring_setup setups[GUEST_RINGS_AND_CONTROL];
	struct dirty_log log;                /* bits NULL: there is none */
	struct guest_mapping log_mapping;
};

/** @param offloads  of VM_OFFLOADS, that it is offered. @return NULL: no memory. */
struct guest *guest_create(uint64_t offloads);
void guest_destroy(struct guest *guest);

/** Forget memory, rings, log and features; what was signalled by descriptors too. */
void guest_reset(struct guest *guest);

/** How many rings it may set up. */
static inline unsigned
guest_ring_count(const struct guest *guest)
{
	return guest->features >> VIRTIO_NET_F_CTRL_VQ & 1 ? GUEST_RINGS_AND_CONTROL : GUEST_RINGS;
}

/** Whether all is there that a device needs to run. */
bool guest_is_ready(const struct guest *guest);

/** Make rings and memory ready for workers. What is wrong with them is a fault of the guest. */
void guest_open(struct guest *guest);

/** No worker uses it any more: note how far the rings were used. */
void guest_close(struct guest *guest);

static inline bool
guest_has_fault(const struct guest *guest)
{
	return atomic_load_explicit(&guest->fault, memory_order_relaxed) != RING_FAULT_NONE;
}

/** Workers: virtqueue_deliver() with its receive ring. Look for a fault afterwards: guest_fault_now(). */
uint16_t guest_deliver(struct guest *guest, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest);

/** Workers: the same in two parts; see struct split_delivery. Look for a fault afterwards. */
uint16_t guest_deliver_split(struct guest *guest, const struct split_delivery *delivery, uint64_t *drops,
			     uint16_t *waiting);

/** Workers, any: virtqueue_takes() of its receive ring. */
bool guest_takes(const struct guest *guest, unsigned kinds);

/** Workers: virtqueue_collect() with its transmit ring. Look for a fault afterwards. */
uint16_t guest_collect(struct guest *guest, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n);

/** Workers: virtqueue_notify() with both rings. A fault that it meets the next call of the others finds. */
void guest_notify(struct guest *guest);

/** Workers: ask for kicks when it sends, or for none. @return the descriptor of its kicks; KICKS_... */
int guest_arm(struct guest *guest, bool kicks);

/** Workers: the fault that the last call found, if any. */
enum ring_fault guest_fault_now(const struct guest *guest, enum guest_ring ring);

#endif
