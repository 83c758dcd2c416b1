/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames that the kernel hands over with a virtio-net header: one whose checksum is missing gets it; one that its sender
 * has not cut becomes a GSO frame. One worker at a time; `refused` also by control.
 */
#ifndef VMQ_PORT_VNET_H
#define VMQ_PORT_VNET_H

#include "frame/offload.h"

#include <rte_mbuf.h>
#include <stdatomic.h>
#include <sys/uio.h>

enum {
	VNET_PIECES = 33,              /* buffers of VNET_PIECE_BYTES_MIN that hold the longest frame */
	VNET_PIECE_BYTES_MIN = 2048,
	VNET_IOVECS = 1 + 2 * VNET_PIECES, /* of a frame with tags put before and headers apart */
};

_Static_assert(VNET_PIECES *VNET_PIECE_BYTES_MIN >= OFFLOAD_FRAME_BYTES_MAX, "a frame of any length");

struct vnet {
	struct rte_mempool *pool;
	struct rte_mbuf *pieces[VNET_PIECES]; /* for the next frame; the first `missing` have to be taken from the pool */
	uint16_t missing;
	_Atomic uint64_t refused; /* frames whose header does not fit them, or that no buffer holds */
};

/** @param pool  of buffers of at least VNET_PIECE_BYTES_MIN. */
void vnet_init(struct vnet *vnet, struct rte_mempool *pool);
void vnet_release(struct vnet *vnet);

/** Where a frame of any length may be read into: VNET_PIECES places. @return false: there is no packet memory. */
bool vnet_room(struct vnet *vnet, struct iovec *places);

/** The frame that was read into them. */
struct rte_mbuf *vnet_frame(struct vnet *vnet, uint32_t length);

/**
 * Finish a frame as its header says.
 * @return false: it does not fit the header, or is long and not to be cut; it is freed and counted.
 */
bool vnet_finish(struct vnet *vnet, const struct virtio_net_hdr *header, struct rte_mbuf *frame);

/**
 * What to write to the kernel for a frame: its header, then its bytes.
 * @param places  room for VNET_IOVECS. @return how many; a frame in more pieces is not whole in them.
 */
int vnet_gather(const struct rte_mbuf *frame, struct virtio_net_hdr *header, struct iovec *places);

/** Count a frame that cannot be taken. */
void vnet_refuse(struct vnet *vnet);

#endif
