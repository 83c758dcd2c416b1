/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other end of one connection of a vhost-user socket: a guest's memory and its two rings, as librte_vhost knows
 * them, opened for workers and closed again.
 *
 * While a guest is open workers use what is in here and librte_vhost must not change anything of it; while it is
 * closed librte_vhost may do anything and no worker comes near. vhost.c sees to that. All functions but those of
 * workers are called on librte_vhost's threads, or on the control thread while a socket is opened or closed, one after
 * the other for one guest.
 */
#ifndef VMQ_VHOST_GUEST_H
#define VMQ_VHOST_GUEST_H

#include "model/ops.h"
#include "vhost/virtqueue.h"

#include <rte_ether.h>
#include <sys/queue.h>

enum guest_ring {
	GUEST_RECEIVES,  /* virtio: the guest's receive queue is the first of a pair */
	GUEST_TRANSMITS,
	GUEST_RINGS,
};

struct vhost_port;

struct guest {
	struct virtqueue rings[GUEST_RINGS]; /* while open: one worker each */
	struct guest_memory memory;          /* while open: workers read */
	_Atomic(enum ring_fault) fault;      /* workers write, all read; never taken back */
	bool announces;                      /* it moved here and wants the network to learn that; workers clear it */
	struct rte_ether_addr announced;
	int device;                          /* of librte_vhost */
	bool running;                        /* librte_vhost has it complete, between new_device and destroy_device */
	bool memory_known;                   /* librte_vhost's memory table can be asked for */
	bool in_message;                     /* a message is being handled, or the last one failed */
	bool enabled[GUEST_RINGS];
	int kicks;                           /* while open: readable when the guest has sent; -1: none */
	bool log_known;                      /* librte_vhost has a dirty log of it, and has not let go of it */
	uint64_t log_offset;                 /* of the dirty log in its file */
	uint64_t log_offset_asked;           /* of the message that is being handled */
	struct vhost_port *port;
	TAILQ_ENTRY(guest) of_port;
};

/** @return NULL: no memory. */
struct guest *guest_create(int device, struct vhost_port *port);
void guest_destroy(struct guest *guest);

/** What a message will change is forgotten. `message` is librte_vhost's, in the form of the protocol. */
void guest_message_begins(struct guest *guest, const void *message);

/**
 * Whether librte_vhost may handle it: a message that we offered, about a ring that there is, with files of the kind
 * that it needs. librte_vhost grants and maps more than it offered, and then trusts it.
 */
bool guest_message_is_sound(const void *message);

/** Close what came with it; the connection ends with it, whatever it asked for. */
void guest_message_refuse(void *message);

/** The message succeeded. */
void guest_message_ends(struct guest *guest, const void *message);

/** Take over memory and rings from librte_vhost. What is wrong with them is a fault of the guest. */
void guest_open(struct guest *guest);

/** Tell librte_vhost how far the rings were used. */
void guest_close(struct guest *guest);

static inline bool
guest_has_fault(const struct guest *guest)
{
	return atomic_load_explicit(&guest->fault, memory_order_relaxed) != RING_FAULT_NONE;
}

/** Workers: virtqueue_deliver() with its receive ring. Look for a fault afterwards: guest_fault_now(). */
uint16_t guest_deliver(struct guest *guest, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest);

/** Workers: the same in two parts; see struct split_delivery. Look for a fault afterwards. */
uint16_t guest_deliver_split(struct guest *guest, const struct split_delivery *delivery, uint64_t *drops);

/** Workers: virtqueue_collect() with its transmit ring. Look for a fault afterwards. */
uint16_t guest_collect(struct guest *guest, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n);

/** Workers: virtqueue_notify() with both rings. A fault that it meets the next call of the others finds. */
void guest_notify(struct guest *guest);

/** Workers: ask for kicks when it sends, or for none. @return the eventfd that counts kicks; negative: none. */
int guest_arm(struct guest *guest, bool kicks);

/** Workers: the fault that the last call found, if any. */
enum ring_fault guest_fault_now(const struct guest *guest, enum guest_ring ring);

#endif
