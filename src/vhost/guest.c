/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/guest.h"

#include "vhost/call.h"
#include "vhost/vring.h"

#include <linux/vhost_types.h>
#include <rte_arp.h>
#include <rte_mbuf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool
guest_has_feature(const struct guest *guest, unsigned feature)
{
	return guest->features >> feature & 1;
}

struct guest *
guest_create(uint64_t offloads)
{
	struct guest *guest = aligned_alloc(_Alignof(struct guest), sizeof(*guest));

	if (!guest)
		return NULL;
	memset(guest, 0, sizeof(*guest));
	for (enum guest_ring ring = 0; ring < GUEST_RINGS_AND_CONTROL; ring++)
		guest->setups[ring].kick = guest->setups[ring].call = -1;
	guest->channel = -1;
	guest->offloads = offloads;
	guest->guard = bus_guard_take();
	if (guest->guard)
		return guest;
	free(guest);
	return NULL;
}

void
guest_destroy(struct guest *guest)
{
	guest_reset(guest);
	if (guest->channel >= 0)
		close(guest->channel);
	bus_guard_release(guest->guard);
	free(guest);
}

static void
ring_reset(struct ring_setup *setup)
{
	if (setup->kick >= 0)
		close(setup->kick);
	if (setup->call >= 0)
		close(setup->call);
	*setup = (struct ring_setup){ .kick = -1, .call = -1 };
}

void
guest_reset(struct guest *guest)
{
	for (enum guest_ring ring = 0; ring < GUEST_RINGS_AND_CONTROL; ring++)
		ring_reset(&guest->setups[ring]);
	guest_memory_unmap(&guest->memory, guest->guard);
	guest_file_unmap(&guest->log_mapping, guest->guard);
	guest->log.bits = NULL;
	guest->features = 0;
	guest->status = 0;
	guest->offered = 0;
	guest->owned = false;
	guest->complete = false;
}

/* A front-end that knows nothing of protocol features does not enable rings either: starting them does. */
static bool
ring_is_enabled(const struct guest *guest, const struct ring_setup *setup)
{
	return setup->enabled || !guest_has_feature(guest, FEATURE_PROTOCOL);
}

static bool
ring_is_ready(const struct guest *guest, const struct ring_setup *setup)
{
	return setup->entries && setup->addressed && setup->started && ring_is_enabled(guest, setup);
}

bool
guest_is_ready(const struct guest *guest)
{
	bool driver = !(guest->protocol_features >> PROTOCOL_STATUS & 1) || guest->status & STATUS_DRIVER_OK;

	return driver && guest->memory.count && ring_is_ready(guest, &guest->setups[GUEST_RECEIVES]) &&
	       ring_is_ready(guest, &guest->setups[GUEST_TRANSMITS]);
}

/*
 * The back end before us may have died without saying how far it came; what it showed the guest as used stands
 * in the ring, and everything else is served again.
 */
static void
ring_resume(struct ring_setup *setup, const struct guest_memory *memory, const struct vring_used *used)
{
	if (setup->resumed || !guest_memory_holds(memory, used, sizeof(*used)) || (uintptr_t)used % sizeof(uint32_t))
		return;
	setup->resumed = true;
	setup->available_next = setup->used_next = ring_load16(&used->idx);
}

static void
ring_open(struct guest *guest, enum guest_ring ring)
{
	struct ring_setup *setup = &guest->setups[ring];
	struct virtqueue *vq = &guest->rings[ring];
	struct virtqueue_layout layout = {
		.descriptors = guest_memory_of_user(&guest->memory, setup->descriptors),
		.available = guest_memory_of_user(&guest->memory, setup->available),
		.used = guest_memory_of_user(&guest->memory, setup->used),
		.entries = setup->entries,
		.features = guest->features,
		.call = setup->call,
		.used_log_address = setup->used_log,
	};

	vq->open = false;
	vq->fault = RING_FAULT_NONE;
	if (!ring_is_ready(guest, setup))
		return;
	ring_resume(setup, &guest->memory, layout.used);
	layout.available_next = setup->available_next;
	layout.used_next = setup->used_next;
	if (guest_has_feature(guest, VHOST_F_LOG_ALL))
		layout.log = guest->log;
	if (virtqueue_open(vq, &layout, &guest->memory))
		return;
	if (ring == GUEST_CONTROL)
		virtqueue_arm(vq);
	else
		virtqueue_disarm(vq);
	virtqueue_call(vq);
}

void
guest_open(struct guest *guest)
{
	const struct ring_setup *sends = &guest->setups[GUEST_TRANSMITS];

	if (guest_has_fault(guest))
		return;
	guest->kicks = !ring_is_ready(guest, sends) ? KICKS_NONE : sends->kick < 0 ? KICKS_POLLED : sends->kick;
	for (enum guest_ring ring = 0; ring < GUEST_RINGS_AND_CONTROL; ring++)
		ring_open(guest, ring);
}

void
guest_close(struct guest *guest)
{
	for (enum guest_ring ring = 0; ring < GUEST_RINGS_AND_CONTROL; ring++) {
		struct virtqueue *vq = &guest->rings[ring];

		if (vq->open && !vq->fault) {
			guest->setups[ring].available_next = vq->available_next;
			guest->setups[ring].used_next = vq->used_next;
		}
		vq->open = false;
	}
}

uint16_t
guest_deliver(struct guest *guest, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	return virtqueue_deliver(&guest->rings[GUEST_RECEIVES], frames, n, rest);
}

bool
guest_takes(const struct guest *guest, unsigned kinds)
{
	return virtqueue_takes(&guest->rings[GUEST_RECEIVES], kinds);
}

/* A guest that cannot announce itself after a migration lets its front-end ask us to do it. */
static uint16_t
announce(struct guest *guest, struct rte_mempool *pool, struct rte_mbuf **frames)
{
	frames[0] = rte_net_make_rarp_packet(pool, &guest->announced);
	guest->announces = !frames[0];
	return frames[0] ? 1 : 0;
}

uint16_t
guest_collect(struct guest *guest, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t announced = 0;

	if (unlikely(guest->announces && n))
		announced = announce(guest, pool, frames);
	return announced + virtqueue_collect(&guest->rings[GUEST_TRANSMITS], pool, frames + announced, n - announced);
}

void
guest_notify(struct guest *guest)
{
	for (enum guest_ring ring = 0; ring < GUEST_RINGS; ring++)
		virtqueue_notify(&guest->rings[ring]);
}

/* A descriptor that stays readable would keep the worker awake for good: then the ring is looked at instead. */
int
guest_arm(struct guest *guest, bool kicks)
{
	struct virtqueue *vq = &guest->rings[GUEST_TRANSMITS];

	if (kicks) {
		virtqueue_arm(vq);
	} else {
		virtqueue_disarm(vq);
		if (guest->kicks >= 0 && !call_forget(guest->kicks))
			guest->kicks = KICKS_POLLED;
	}
	return guest->kicks;
}

enum ring_fault
guest_fault_now(const struct guest *guest, enum guest_ring ring)
{
	if (unlikely(bus_guard_lost(guest->guard)))
		return RING_FAULT_MEMORY_LOST;
	return guest->rings[ring].fault;
}
