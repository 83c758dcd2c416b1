/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside the virtqueue: how rings are read and written. Everything read from a guest is loaded once, here. */
#ifndef VMQ_VHOST_VRING_H
#define VMQ_VHOST_VRING_H

#include "vhost/virtqueue.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <rte_branch_prediction.h>
#include <rte_prefetch.h>
#include <stdatomic.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are read as they are");

/* The guest writes behind our back and indirect tables lie anywhere: each access is one load of memory. */
typedef uint64_t __attribute__((aligned(1), may_alias)) loose_u64;

static inline uint16_t
ring_load16(const void *at)
{
	return __atomic_load_n((const uint16_t *)at, __ATOMIC_RELAXED);
}

static inline void
ring_store16(void *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, value, __ATOMIC_RELAXED);
}

static inline struct vring_desc
descriptor_load(const void *table, uint32_t index)
{
	const volatile loose_u64 *at = (const volatile loose_u64 *)((const uint8_t *)table + index * 16ull);
	uint64_t address = at[0], rest = at[1];

	return (struct vring_desc){ .addr = address,
				    .len = (uint32_t)rest,
				    .flags = (uint16_t)(rest >> 32),
				    .next = (uint16_t)(rest >> 48) };
}

/* Keep the first fault; later ones follow from it. */
static inline int
ring_fail(struct virtqueue *vq, enum ring_fault fault)
{
	if (!vq->fault)
		vq->fault = fault;
	return -EFAULT;
}

/* How many buffers the guest offers, at least as many as are wanted if it has them. */
static inline uint16_t
ring_available(struct virtqueue *vq, uint16_t wanted)
{
	uint16_t ahead = (uint16_t)(vq->available_seen - vq->available_next);

	if (ahead >= wanted)
		return ahead;
	vq->available_seen = __atomic_load_n(&vq->available->idx, __ATOMIC_ACQUIRE);
	ahead = (uint16_t)(vq->available_seen - vq->available_next);
	if (likely(ahead <= vq->mask + 1u))
		return ahead;
	vq->available_seen = vq->available_next;
	ring_fail(vq, RING_FAULT_AVAILABLE_INDEX);
	return 0;
}

/* The head of the i-th buffer from the next on; not checked yet. */
static inline uint16_t
ring_head(const struct virtqueue *vq, uint16_t i)
{
	return ring_load16(&vq->available->ring[(uint16_t)(vq->available_next + i) & vq->mask]);
}

/* The i-th used buffer from the next on. */
static inline void
ring_set_used(const struct virtqueue *vq, uint16_t i, uint32_t head, uint32_t bytes)
{
	vq->used->ring[(uint16_t)(vq->used_next + i) & vq->mask] = (struct vring_used_elem){ .id = head, .len = bytes };
}

static inline void
ring_put_used(struct virtqueue *vq, uint32_t head, uint32_t bytes)
{
	ring_set_used(vq, 0, head, bytes);
	vq->used_next++;
}

/* The guest has read the lines of its used ring that come next; eight elements each. */
static inline void
ring_touch_used(const struct virtqueue *vq, uint16_t n)
{
	for (uint16_t i = 0; i < n; i += RTE_CACHE_LINE_SIZE / sizeof(vq->used->ring[0]))
		rte_prefetch0_write(&vq->used->ring[(uint16_t)(vq->used_next + i) & vq->mask]);
}

/* A buffer on its way from descriptor to descriptor. */
struct walk {
	const void *table;
	uint32_t entries;   /* of table */
	uint32_t next;
	uint32_t left;      /* descriptors that may still follow */
	enum ring_fault beyond; /* what it is if `next` is not in the table */
	bool indirect;
	bool ended;
};

static inline struct walk
walk_start(const struct virtqueue *vq, uint16_t head)
{
	return (struct walk){ .table = vq->descriptors,
			      .entries = vq->mask + 1u,
			      .next = head,
			      .left = RTE_MIN(vq->mask + 1u, (uint32_t)CHAIN_DESCRIPTORS_MAX),
			      .beyond = RING_FAULT_HEAD };
}

/**
 * virtqueue.c: the next piece of a buffer.
 *
 * @param direction  VRING_DESC_F_WRITE or 0: what every descriptor must say.
 * @return 1; 0 the buffer ends here; -EFAULT.
 */
int walk_next(struct virtqueue *vq, struct walk *walk, uint16_t direction, struct segment *segment);

/** virtqueue.c: the same for a buffer of pieces to read and pieces to write; says which this is. */
int walk_next_either(struct virtqueue *vq, struct walk *walk, struct segment *segment, bool *writable);

/**
 * collect.c: read the virtio-net header of a buffer; its number of buffers is not always there, and nothing to us.
 * @param segment  out: what follows it in the same piece, perhaps nothing.
 * @return 1; 0 the buffer ends before the header does; -EFAULT.
 */
int walk_header(struct virtqueue *vq, struct walk *walk, struct virtio_net_hdr_mrg_rxbuf *header,
		struct segment *segment);

/**
 * collect.c: add the rest of a buffer to an empty frame, so many bytes at most. What follows these is not even looked at.
 * @return 0; -ENOBUFS; -EFAULT.
 */
int walk_append(struct virtqueue *vq, struct walk *walk, struct segment *segment, struct rte_mbuf *frame,
		uint32_t bytes_max);

/** finish.c: virtqueue_collect() of a guest that leaves frames unfinished. Nothing is flushed yet. */
uint16_t finish_collect(struct virtqueue *vq, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n);

/** reserve.c: put this frame, whose bytes are written, among the used buffers; a flush shows it. */
void virtqueue_complete(struct virtqueue *vq, const struct reservation *reservation, const struct rte_mbuf *frame);

/** virtqueue.c: show the guest everything that was put since the last flush; it is owed a look: virtqueue_notify(). */
void ring_flush(struct virtqueue *vq, uint16_t used_before);

/*
 * The whole of a buffer that is one plain descriptor, which is what nearly all are.
 * @return NULL for anything else, good or bad: a walk will tell.
 */
static inline uint8_t *
plain_buffer(struct virtqueue *vq, uint16_t head, uint16_t direction, uint32_t *bytes)
{
	struct vring_desc descriptor = descriptor_load(vq->descriptors, head);

	if (unlikely(descriptor.flags != direction || !descriptor.len))
		return NULL;
	*bytes = descriptor.len;
	return guest_memory_find(vq->memory, &vq->region, descriptor.addr, descriptor.len);
}

/* After a frame that is not plain the next is likely not plain either: then few are prepared at a time. */
enum { DELIVER_WINDOW_MIXED = 2 };

/* Frames that fit into one plain buffer each, and where. */
struct landing {
	uint16_t heads[DELIVER_BURST_MAX];
	uint8_t *at[DELIVER_BURST_MAX];
};

/**
 * deliver.c: find the next buffers and touch them. Nothing is taken yet.
 * @return how many of the leading frames, at most DELIVER_BURST_MAX, have a plain one each; a reservation will tell
 *         what is with the others. 0 while writes are logged.
 */
uint16_t landing_find(struct virtqueue *vq, struct rte_mbuf *const *frames, struct landing *landing, uint16_t n);

/** What to say in the virtio-net header's flags of a frame that is complete. */
static inline uint8_t
header_flags(const struct virtqueue *vq, const struct rte_mbuf *frame)
{
	return frame_is_checked(frame) ? atomic_load_explicit(&vq->checked_flag, memory_order_relaxed) : 0;
}

/*
 * The frame is complete and lies in one buffer: but for the flags the header is zeroes and a one. In a buffer that is
 * used again it mostly stands there already; not to write it leaves its line with both processors.
 */
static inline void
put_header(const struct virtqueue *vq, uint8_t *at, const struct rte_mbuf *frame)
{
	const uint8_t header[12] = { [0] = header_flags(vq, frame), [10] = 1 };

	if (unlikely(vq->header_bytes != sizeof(header)))
		memcpy(at, header, 10);
	else if (memcmp(at, header, sizeof(header)))
		memcpy(at, header, sizeof(header));
}

enum { TOUCHED_BYTES = 2 * RTE_CACHE_LINE_SIZE };

/* The header is read, the frame written, TOUCHED_BYTES of it; where they share a line it is the frame's. */
static inline void
touch_buffer(const struct virtqueue *vq, const uint8_t *at, uint32_t frame_bytes)
{
	const uint8_t *frame = at + vq->header_bytes;

	if (((uintptr_t)at ^ (uintptr_t)frame) & ~(uintptr_t)RTE_CACHE_LINE_MASK)
		rte_prefetch0(at);
	rte_prefetch0_write(frame);
	if (frame_bytes > RTE_CACHE_LINE_SIZE)
		rte_prefetch0_write(frame + RTE_CACHE_LINE_SIZE);
}

/** The bytes of a frame are in buffer i. */
static inline void
landing_complete(const struct virtqueue *vq, const struct landing *landing, uint16_t i, const struct rte_mbuf *frame)
{
	put_header(vq, landing->at[i], frame);
	ring_set_used(vq, i, landing->heads[i], vq->header_bytes + frame->pkt_len);
}

/** Take the first n, which are complete; a flush shows them. */
static inline void
landing_take(struct virtqueue *vq, uint16_t n)
{
	vq->available_next += n;
	vq->used_next += n;
}

/* 17–64 byte copies dominate; each is four moves and no call. */
static inline void
frame_copy(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
	typedef uint8_t piece __attribute__((vector_size(16), aligned(1), may_alias));

	if (unlikely(bytes - 32 > 32)) {
		memcpy(to, from, bytes);
		return;
	}
	piece a = *(const piece *)from, b = *(const piece *)(from + 16);
	piece c = *(const piece *)(from + bytes - 32), d = *(const piece *)(from + bytes - 16);

	*(piece *)to = a;
	*(piece *)(to + 16) = b;
	*(piece *)(to + bytes - 32) = c;
	*(piece *)(to + bytes - 16) = d;
}

#endif
