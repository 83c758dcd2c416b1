/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames that the kernel hands over with a virtio-net header: made complete, since a guest takes them only so. One
 * whose checksum is missing gets it; a long one, not yet cut by its sender, becomes several, as many at a time as the
 * caller takes. One worker at a time; `refused` also by control.
 */
#ifndef VMQ_PORT_VNET_H
#define VMQ_PORT_VNET_H

#include "frame/offload.h"

#include <rte_mbuf.h>
#include <stdatomic.h>

enum { VNET_SPARE = 32 };

struct vnet {
	struct rte_mempool *pool;
	struct rte_mbuf *spare[VNET_SPARE]; /* buffers taken from the pool and not used yet */
	uint16_t spare_count;
	struct cut cut;
	uint64_t cut_flags;       /* of the frame being cut: its tag stands beside each that comes of it */
	uint16_t cut_tci;
	uint8_t *long_frame;      /* OFFLOAD_FRAME_BYTES_MAX: what is being cut */
	_Atomic uint64_t refused; /* frames whose header does not fit them, or that no buffer holds */
};

/** @return 0; -ENOMEM. */
int vnet_init(struct vnet *vnet, struct rte_mempool *pool);
void vnet_release(struct vnet *vnet);

/** An empty buffer that stays with vnet until vnet_take(). NULL: there is none. */
struct rte_mbuf *vnet_buffer(struct vnet *vnet);

/** What vnet_buffer() gave is used. */
static inline void
vnet_take(struct vnet *vnet)
{
	vnet->spare_count--;
}

/** Count a frame that cannot be taken. */
void vnet_refuse(struct vnet *vnet);

/**
 * Cut what lies in long_frame.
 * @param flags  of packet buffers: whether a tag stands beside the frame. @param tci  that tag.
 */
void vnet_cut(struct vnet *vnet, const struct virtio_net_hdr *header, uint32_t length, uint64_t flags, uint16_t tci);

/** Frames of what is being cut. @return how many; fewer than n: nothing is being cut any more, or no buffer is left. */
uint16_t vnet_cut_frames(struct vnet *vnet, struct rte_mbuf **frames, uint16_t n);

#endif
