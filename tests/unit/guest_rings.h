/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest for tests: its memory, and a ring that it fills as a driver would, or as an attacker would. Its memory is
 * two heap blocks, so that a sanitizer sees whoever leaves them; for the guest they follow each other.
 */
#ifndef VMQ_TESTS_GUEST_RINGS_H
#define VMQ_TESTS_GUEST_RINGS_H

#include "vhost/virtqueue.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

enum {
	GUEST_RINGS_AT = 0x100000,                 /* the guest's address of its ring; also of indirect tables */
	GUEST_RINGS_BYTES = 0x40000,
	GUEST_BUFFERS_AT = GUEST_RINGS_AT + GUEST_RINGS_BYTES,
	GUEST_BUFFERS_BYTES = 0x80000,
	GUEST_CANARY = 0xa5,                       /* what buffers hold before anyone writes */
};

#define FEATURE(name) (UINT64_C(1) << VIRTIO_##name)

struct guest_rings {
	struct guest_memory memory;
	uint8_t *rings;
	uint8_t *buffers;
	struct vring_desc *descriptors;
	struct vring_avail *available;
	struct vring_used *used;
	uint16_t entries;
	uint64_t features;
	uint16_t descriptors_taken; /* by buffers that were offered */
	uint32_t tables_taken;      /* bytes of indirect tables */
	uint32_t buffers_taken;
	uint16_t used_seen;
	struct virtqueue vq;
};

/* A buffer to offer: so many bytes in so many pieces. */
struct guest_buffer {
	uint32_t bytes;
	uint16_t pieces;
	uint16_t flags;        /* VRING_DESC_F_WRITE or 0 */
	uint16_t direct;       /* pieces outside the indirect table, before it */
	bool indirect;
	uint32_t first;        /* bytes of the first piece; 0: like the others */
};

#define MODERN (FEATURE(F_VERSION_1) | FEATURE(RING_F_INDIRECT_DESC))
#define MERGEABLE (MODERN | FEATURE(NET_F_MRG_RXBUF))
#define EVENT_IDX (MODERN | FEATURE(RING_F_EVENT_IDX))

/* Buffers of one kind, as many as a driver would keep in its ring. */
struct guest_layout {
	const char *name;
	uint64_t features;
	struct guest_buffer buffer;
};

enum { GUEST_LAYOUTS = 30 };

/* Every way in which a driver may lay out buffers for what it receives. */
extern struct guest_layout guest_layouts[GUEST_LAYOUTS];

/** Bytes of the virtio-net header. */
uint32_t guest_header_bytes(uint64_t features);

/** How many buffers of this layout a frame takes; 0: the guest cannot take it. */
uint32_t guest_layout_buffers(const struct guest_layout *layout, uint32_t frame_bytes);

void guest_rings_create(struct guest_rings *guest);
void guest_rings_destroy(struct guest_rings *guest);

/** All as new; both indices start at `base`; opens the virtqueue. */
void guest_rings_reset(struct guest_rings *guest, uint16_t entries, uint64_t features, uint16_t base);

/** The same layout as the virtqueue was opened with. */
struct virtqueue_layout guest_rings_layout(struct guest_rings *guest, uint16_t base);

/** Put a buffer into the ring and show it. @return its head. */
uint16_t guest_offer(struct guest_rings *guest, const struct guest_buffer *buffer);

/** Show a head as it is. */
void guest_offer_head(struct guest_rings *guest, uint16_t head);

/** Copy bytes into (out of) the pieces of a buffer. @return bytes copied: as many as asked, or as the buffer has. */
uint32_t guest_buffer_fill(struct guest_rings *guest, uint16_t head, const uint8_t *bytes, uint32_t count);
uint32_t guest_buffer_read(struct guest_rings *guest, uint16_t head, uint8_t *bytes, uint32_t count);

/**
 * Take the next frame out of the used ring, with its virtio-net header.
 * @return its length; 0 if there is none.
 */
uint32_t guest_take(struct guest_rings *guest, uint8_t *bytes, uint32_t room);

/** The process's address of a guest's address; asserts that there is one. */
void *guest_at(struct guest_rings *guest, uint64_t address);

#endif
