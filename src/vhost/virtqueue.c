/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings: taking one over, following a guest's descriptors, notifications. */
#include "vhost/call.h"
#include "vhost/vring.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <rte_atomic.h>
#include <stddef.h>

#define BIT(number) (UINT64_C(1) << (number))

/* What a guest may finish itself of frames that it gets. */
#define TAKES                                                                                      \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
	 BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6))

enum {
	GSO_ENTRIES_MIN = 64, /* in a smaller ring a frame of 64 KiB would wait for buffers of 1500 bytes for ever */
	DESCRIPTORS_ALIGN = 16,
	AVAILABLE_ALIGN = 2,
	USED_ALIGN = 4,
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	HEADER_BYTES_LEGACY = sizeof(struct virtio_net_hdr), /* without the number of buffers */
};

_Static_assert(sizeof(struct vring_desc) == DESCRIPTORS_ALIGN, "descriptor_load() counts on it");

const char *
ring_fault_text(enum ring_fault fault)
{
#define RING_FAULT_TEXT(name, text) [RING_FAULT_##name] = text,
	static const char *const texts[RING_FAULT_COUNT] = {
		[RING_FAULT_NONE] = "nothing",
		RING_FAULTS(RING_FAULT_TEXT)
	};
#undef RING_FAULT_TEXT

	return texts[fault];
}

static bool
part_is_sound(const struct guest_memory *memory, const void *part, uint64_t bytes, uintptr_t align)
{
	return (uintptr_t)part % align == 0 && guest_memory_holds(memory, part, bytes);
}

/* Both rings end in the index at which the other side wants to be notified, if that was negotiated. */
static bool
layout_is_sound(const struct virtqueue_layout *layout, const struct guest_memory *memory)
{
	uint64_t n = layout->entries, event = layout->features >> VIRTIO_RING_F_EVENT_IDX & 1 ? sizeof(uint16_t) : 0;

	return n && n <= RING_ENTRIES_MAX && (n & (n - 1)) == 0 &&
	       part_is_sound(memory, layout->descriptors, n * sizeof(struct vring_desc), DESCRIPTORS_ALIGN) &&
	       part_is_sound(memory, layout->available, offsetof(struct vring_avail, ring[n]) + event,
			     AVAILABLE_ALIGN) &&
	       part_is_sound(memory, layout->used, offsetof(struct vring_used, ring[n]) + event, USED_ALIGN);
}

static bool
has_feature(const struct virtqueue_layout *layout, unsigned feature)
{
	return layout->features >> feature & 1;
}

/* Each needs its own feature, and all that the guest fills in checksums. Source: VIRTIO 1.2, 5.1.3.1. */
static unsigned
kinds_of(uint64_t features)
{
	static const struct {
		unsigned feature, kind;
	} rows[] = {
		{ VIRTIO_NET_F_GUEST_TSO4, GSO_TCP4 }, { VIRTIO_NET_F_GUEST_TSO6, GSO_TCP6 },
		{ VIRTIO_NET_F_GUEST_ECN, GSO_ECN },   { VIRTIO_NET_F_GUEST_USO4, GSO_UDP4 },
		{ VIRTIO_NET_F_GUEST_USO6, GSO_UDP6 },
	};
	unsigned kinds = 0;

	for (size_t i = 0; i < RTE_DIM(rows) && features & BIT(VIRTIO_NET_F_GUEST_CSUM); i++)
		if (features & BIT(rows[i].feature))
			kinds |= rows[i].kind;
	return kinds;
}

bool
virtqueue_set_takes(struct virtqueue *vq, uint64_t features)
{
	const bool has_room = vq->mask + 1u >= GSO_ENTRIES_MIN;
	const bool listens = features & BIT(VIRTIO_NET_F_GUEST_CSUM);

	if (features & ~vq->may_take)
		return false;
	atomic_store_explicit(&vq->takes, has_room ? kinds_of(features) : 0, memory_order_relaxed);
	atomic_store_explicit(&vq->checked_flag, listens ? VIRTIO_NET_HDR_F_DATA_VALID : 0, memory_order_relaxed);
	return true;
}

int
virtqueue_open(struct virtqueue *vq, const struct virtqueue_layout *layout, const struct guest_memory *memory)
{
	*vq = (struct virtqueue){
		.descriptors = layout->descriptors,
		.available = layout->available,
		.used = layout->used,
		.memory = memory,
		.mask = (uint16_t)(layout->entries - 1),
		.available_seen = layout->available_next,
		.available_next = layout->available_next,
		.used_next = layout->used_next,
		.mergeable = has_feature(layout, VIRTIO_NET_F_MRG_RXBUF),
		.event_index = has_feature(layout, VIRTIO_RING_F_EVENT_IDX),
		.indirect = has_feature(layout, VIRTIO_RING_F_INDIRECT_DESC),
		.cuts_tcp4 = has_feature(layout, VIRTIO_NET_F_HOST_TSO4),
		.cuts_tcp6 = has_feature(layout, VIRTIO_NET_F_HOST_TSO6),
		.cuts_udp = has_feature(layout, VIRTIO_NET_F_HOST_USO),
		.call = layout->call,
		.log = layout->log,
		.used_log_address = layout->used_log_address,
		.unfinished = has_feature(layout, VIRTIO_NET_F_CSUM),
		.may_take = layout->features & TAKES,
	};
	virtqueue_set_takes(vq, vq->may_take);
	vq->header_bytes = HEADER_BYTES_LEGACY;
	if (vq->mergeable || has_feature(layout, VIRTIO_F_VERSION_1))
		vq->header_bytes = HEADER_BYTES;
	if (!layout_is_sound(layout, memory)) {
		vq->fault = RING_FAULT_LAYOUT;
		return -EINVAL;
	}
	vq->open = true;
	return 0;
}

static int
walk_enter_indirect(struct virtqueue *vq, struct walk *walk, const struct vring_desc *descriptor)
{
	uint32_t entries = descriptor->len / sizeof(struct vring_desc);

	if (!vq->indirect)
		return ring_fail(vq, RING_FAULT_INDIRECT_REFUSED);
	if (walk->indirect || descriptor->flags & VRING_DESC_F_NEXT)
		return ring_fail(vq, RING_FAULT_INDIRECT_NESTED);
	if (!entries || entries > RING_ENTRIES_MAX || descriptor->len % sizeof(struct vring_desc))
		return ring_fail(vq, RING_FAULT_INDIRECT_LENGTH);
	walk->table = guest_memory_find(vq->memory, &vq->region, descriptor->addr, descriptor->len);
	if (!walk->table)
		return ring_fail(vq, RING_FAULT_ADDRESS);
	walk->entries = entries;
	walk->next = 0;
	walk->left = RTE_MIN(entries, (uint32_t)CHAIN_DESCRIPTORS_MAX);
	walk->indirect = true;
	return 0;
}

static int
walk_load(struct virtqueue *vq, struct walk *walk, struct vring_desc *descriptor)
{
	if (walk->next >= walk->entries)
		return ring_fail(vq, walk->beyond);
	if (!walk->left--)
		return ring_fail(vq, RING_FAULT_CHAIN_LENGTH);
	walk->beyond = RING_FAULT_NEXT;
	*descriptor = descriptor_load(walk->table, walk->next);
	return 0;
}

static int
walk_descriptor(struct virtqueue *vq, struct walk *walk, struct vring_desc *descriptor)
{
	if (walk->ended)
		return 0;
	if (walk_load(vq, walk, descriptor))
		return -EFAULT;
	if (!(descriptor->flags & VRING_DESC_F_INDIRECT))
		return 1;
	if (walk_enter_indirect(vq, walk, descriptor) || walk_load(vq, walk, descriptor))
		return -EFAULT;
	return descriptor->flags & VRING_DESC_F_INDIRECT ? ring_fail(vq, RING_FAULT_INDIRECT_NESTED) : 1;
}

static int
walk_segment(struct virtqueue *vq, struct walk *walk, const struct vring_desc *descriptor, struct segment *segment)
{
	if (!descriptor->len)
		return ring_fail(vq, RING_FAULT_EMPTY);
	segment->at = guest_memory_find(vq->memory, &vq->region, descriptor->addr, descriptor->len);
	if (!segment->at)
		return ring_fail(vq, RING_FAULT_ADDRESS);
	segment->bytes = descriptor->len;
	walk->next = descriptor->next;
	walk->ended = !(descriptor->flags & VRING_DESC_F_NEXT);
	return 1;
}

int
walk_next(struct virtqueue *vq, struct walk *walk, uint16_t direction, struct segment *segment)
{
	struct vring_desc descriptor;
	int found = walk_descriptor(vq, walk, &descriptor);

	if (found <= 0)
		return found;
	if ((descriptor.flags & VRING_DESC_F_WRITE) != direction)
		return ring_fail(vq, RING_FAULT_DIRECTION);
	return walk_segment(vq, walk, &descriptor, segment);
}

int
walk_next_either(struct virtqueue *vq, struct walk *walk, struct segment *segment, bool *writable)
{
	struct vring_desc descriptor;
	int found = walk_descriptor(vq, walk, &descriptor);

	if (found <= 0)
		return found;
	*writable = descriptor.flags & VRING_DESC_F_WRITE;
	return walk_segment(vq, walk, &descriptor, segment);
}

void
virtqueue_call(struct virtqueue *vq)
{
	if (vq->call >= 0)
		call_signal(vq->call);
}

static bool
guest_wants_call(struct virtqueue *vq)
{
	uint16_t before = vq->used_signalled;

	if (!vq->event_index)
		return !(ring_load16(&vq->available->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	vq->used_signalled = vq->used_next;
	if (!vq->signalled_known) {
		vq->signalled_known = true;
		return true;
	}
	return vring_need_event(ring_load16(&vq->available->ring[vq->mask + 1]), vq->used_next, before);
}

void
virtqueue_notify(struct virtqueue *vq)
{
	if (!vq->notify_due)
		return;
	vq->notify_due = false;
	if (guest_wants_call(vq))
		virtqueue_call(vq);
}

/* The log knows the used ring by an address of its own; an index of it by where it lies in the ring. */
static void
log_used(const struct virtqueue *vq, const void *from, uint64_t bytes)
{
	if (vq->log.bits && vq->used_log_address)
		dirty_log_add(&vq->log, vq->used_log_address + (uintptr_t)from - (uintptr_t)vq->used, bytes);
}

static void
log_used_elements(const struct virtqueue *vq, uint16_t used_before)
{
	for (uint16_t i = used_before; i != vq->used_next; i++)
		log_used(vq, &vq->used->ring[i & vq->mask], sizeof(struct vring_used_elem));
	log_used(vq, &vq->used->idx, sizeof(uint16_t));
}

void
ring_flush(struct virtqueue *vq, uint16_t used_before)
{
	if (vq->used_next == used_before)
		return;
	__atomic_store_n(&vq->used->idx, vq->used_next, __ATOMIC_RELEASE);
	if (unlikely(vq->log.bits))
		log_used_elements(vq, used_before);
	/* Where the guest has been shown so many, the index that it waits for can no longer be told from a later one. */
	if (unlikely((uint16_t)(vq->used_next - vq->used_signalled) > INT16_MAX))
		vq->signalled_known = false;
	vq->notify_due = true;
}

/* Where the index for which the guest notifies stands: after the used ring. Source: VIRTIO 1.2, 2.7.8. */
static void
ask_for_notification(struct virtqueue *vq, bool wanted)
{
	uint16_t *event = (uint16_t *)&vq->used->ring[vq->mask + 1];

	if (!vq->event_index) {
		ring_store16(&vq->used->flags, wanted ? 0 : VRING_USED_F_NO_NOTIFY);
		log_used(vq, &vq->used->flags, sizeof(uint16_t));
	} else if (wanted) {
		ring_store16(event, vq->available_next);
		log_used(vq, event, sizeof(uint16_t));
	}
}

bool
virtqueue_arm(struct virtqueue *vq)
{
	if (!vq->open)
		return true;
	ask_for_notification(vq, true);
	rte_smp_mb();
	if (!ring_available(vq, 1) && !vq->fault)
		return true;
	virtqueue_disarm(vq);
	return false;
}

void
virtqueue_disarm(struct virtqueue *vq)
{
	if (vq->open && !vq->fault)
		ask_for_notification(vq, false);
}
