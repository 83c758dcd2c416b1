/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A split virtqueue seen from the device: frames go into the buffers that the guest offers, or come out of them.
 *
 * The guest owns the rings and changes them when it likes. Nothing is read from them twice for one decision: an
 * index or a descriptor is copied, the copy is checked, the copy is used. What the guest got wrong becomes a fault,
 * which sticks: after it the rings are not touched any more.
 *
 * A virtqueue belongs to the one worker that serves it; it takes no lock and knows nothing of vhost-user.
 * Source: VIRTIO 1.2, section 2.7 (split virtqueues), 5.1.6 (network device operation).
 */
#ifndef VMQ_VHOST_VIRTQUEUE_H
#define VMQ_VHOST_VIRTQUEUE_H

#include "frame/drop.h"
#include "frame/offload.h"
#include "vhost/dirty_log.h"
#include "vhost/memory.h"

#include <linux/virtio_ring.h>
#include <rte_common.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

#define RING_FAULTS(row)                                                                        \
	row(LAYOUT, "its rings lie outside its memory, are misaligned, or have no valid size")  \
	row(AVAILABLE_INDEX, "its available index ran ahead of the ring")                       \
	row(HEAD, "it offered a descriptor that the ring does not have")                        \
	row(NEXT, "a chain leads to a descriptor that its table does not have")                 \
	row(CHAIN_LENGTH, "a chain is longer than its table, or than any frame needs")          \
	row(ADDRESS, "a descriptor leads out of its memory")                                    \
	row(EMPTY, "a descriptor has no bytes")                                                 \
	row(DIRECTION, "a descriptor to read is writable, or one to write is not")              \
	row(INDIRECT_REFUSED, "it used an indirect table without having negotiated it")         \
	row(INDIRECT_NESTED, "an indirect table lies in another, or goes on after itself")      \
	row(INDIRECT_LENGTH, "an indirect table has an impossible length")                      \
	row(MEMORY_LOST, "it took its memory away")

#define RING_FAULT_ENUM(name, text) RING_FAULT_##name,
enum ring_fault {
	RING_FAULT_NONE,
	RING_FAULTS(RING_FAULT_ENUM)
	RING_FAULT_COUNT
};
#undef RING_FAULT_ENUM

/* Numbers that headers of kernels before 6.2 lack. Source: VIRTIO 1.3, 5.1.3. */
#ifndef VIRTIO_NET_F_HOST_USO
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#endif

enum {
	RING_ENTRIES_MAX = 32768,
	DELIVER_BURST_MAX = 64,
	COLLECT_BURST_MAX = 64,
	CHAIN_DESCRIPTORS_MAX = 256,   /* in one buffer that is read to its end; Linux makes 19 */
	RESERVATION_SEGMENTS_MAX = 128,
	COLLECT_FRAME_BYTES_MAX = 9216, /* the rest of a longer frame is cut off: still too big for any MTU, unless GSO */
};

/* What a ring is made of; the pointers are this process's, not the guest's. */
struct virtqueue_layout {
	struct vring_desc *descriptors;
	struct vring_avail *available;
	struct vring_used *used;
	uint32_t entries;
	uint64_t features;            /* as negotiated */
	uint16_t available_next;      /* where to go on */
	uint16_t used_next;
	int call;                     /* eventfd that interrupts the guest; negative: none */
	struct dirty_log log;
	uint64_t used_log_address;    /* of the used ring in the log; 0: not logged */
};

struct virtqueue {
	const struct vring_desc *descriptors;
	const struct vring_avail *available;
	struct vring_used *used;
	const struct guest_memory *memory;
	uint32_t region;              /* of memory: hit last */
	uint16_t mask;                /* entries - 1 */
	uint16_t available_seen;      /* the guest's index when it was last looked at */
	uint16_t available_next;      /* the next buffer to take */
	uint16_t used_next;           /* the next to give back; the guest sees it at a flush */
	uint16_t used_signalled;      /* used_next when the guest was last notified */
	uint8_t header_bytes;         /* 10 or 12: virtio-net header before each frame */
	bool open;                    /* false: the guest has not set it up, or has disabled it */
	bool mergeable;               /* a frame may take several buffers */
	bool event_index;
	bool indirect;
	bool cuts_tcp4, cuts_tcp6, cuts_udp; /* the guest may leave TCP over IPv4, IPv6, and datagrams to be cut */
	bool signalled_known;         /* used_signalled means something */
	bool notify_due;              /* the guest was shown buffers, and not asked yet whether it wants to hear of them */
	enum ring_fault fault;
	bool unfinished;              /* frames that the guest sends may lack their checksum */
	uint64_t may_take;            /* virtio features: what the guest may finish itself of frames that it gets */
	_Atomic unsigned takes;       /* kinds of GSO frames that it wants now; control may change it */
	_Atomic uint8_t checked_flag; /* of the virtio-net header: what it wants to be told of checksums that were found right */
	int call;
	struct dirty_log log;
	uint64_t used_log_address;
} __rte_cache_aligned;

/* A piece of guest memory that may be written. */
struct segment {
	uint8_t *at;
	uint32_t bytes;
};

/* Buffers taken for one frame: virtio-net header and frame, in this order, one after the other in `segments`. */
struct reservation {
	uint16_t segment_count;
	uint16_t buffer_count;
	uint32_t frame_bytes;
	struct vring_used_elem buffers[RESERVATION_SEGMENTS_MAX];
	struct segment segments[RESERVATION_SEGMENTS_MAX];
};

/** What the guest did, as a clause for a log line. */
const char *ring_fault_text(enum ring_fault fault);

/** Take over a ring. @return 0; -EINVAL: the layout is impossible, `fault` says so and the ring stays closed. */
int virtqueue_open(struct virtqueue *vq, const struct virtqueue_layout *layout, const struct guest_memory *memory);

/**
 * Copy frames into the guest's buffers and show them to the guest. virtqueue_notify() is due then.
 *
 * @param frames  stay the caller's; may be put in another order: first those that the guest got, in the order given.
 * @param rest    out, if not all were taken: why the others were not.
 * @return how many the guest got; 0 with DROP_GUEST_FAULT after a fault.
 */
uint16_t virtqueue_deliver(struct virtqueue *vq, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest);

/** Whether the guest takes GSO frames of all these kinds whole. Any worker. */
static inline bool
virtqueue_takes(const struct virtqueue *vq, unsigned kinds)
{
	return !(kinds & ~atomic_load_explicit(&vq->takes, memory_order_relaxed));
}

/**
 * Change what the guest finishes itself of frames that it gets: virtio features, of those that it agreed to. Any thread.
 * @return false: others are among them, and nothing is changed.
 */
bool virtqueue_set_takes(struct virtqueue *vq, uint64_t features);

/**
 * Copy up to n (at most 64) frames that the guest sent into buffers of `pool`. What is too short for a header comes
 * as an empty frame, and so does one whose header does not fit it; what is longer than COLLECT_FRAME_BYTES_MAX loses the
 * rest: whoever checks lengths sees them. Frames come with their checksum, or as GSO frames. virtqueue_notify() is due
 * then.
 *
 * @return how many; fewer than the guest offers if the pool is empty, the guest's frames wait then.
 */
uint16_t virtqueue_collect(struct virtqueue *vq, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n);

/*
 * The same in steps, for what is not plain and for frames in two parts: reserve, write, complete (vhost/vring.h). What is
 * complete the guest sees at the next flush. A reservation is made for a frame that is sure to come, and completed
 * before the next one is made: buffers are given back in the order in which they were taken.
 */

/**
 * Take buffers for a frame of this length.
 * @return 0; -ENOBUFS the guest offers none, or not enough; -EMSGSIZE the guest's buffers are too small for it;
 *         -EFAULT. On an error nothing is taken.
 */
int virtqueue_reserve(struct virtqueue *vq, uint32_t frame_bytes, struct reservation *reservation);

/** Write bytes of the frame; offset + bytes is at most the length that was reserved. */
void virtqueue_write(struct virtqueue *vq, const struct reservation *reservation, uint32_t offset, const void *source,
		     uint32_t bytes);

/**
 * Ask the guest for a notification with its next buffer.
 * @return true: it will come; false: a buffer is there already, and none was asked for.
 */
bool virtqueue_arm(struct virtqueue *vq);

/** Ask for none, as while polling. With an event index a stale one may still come, once in 65536 buffers. */
void virtqueue_disarm(struct virtqueue *vq);

/**
 * Interrupt the guest if it asked for that and was shown buffers since this was called last. Between the two a full
 * memory barrier has to stand, one for any number of rings: a guest asks for an interrupt first and looks at the index
 * then. Source: VIRTIO 1.2, 2.7.8 and 2.7.10.
 */
void virtqueue_notify(struct virtqueue *vq);

/** Interrupt the guest, whether it asked or not. */
void virtqueue_call(struct virtqueue *vq);

#endif
