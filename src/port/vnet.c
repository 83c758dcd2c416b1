/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/vnet.h"

#include <errno.h>
#include <stdlib.h>

int
vnet_init(struct vnet *vnet, struct rte_mempool *pool)
{
	*vnet = (struct vnet){ .pool = pool, .long_frame = malloc(OFFLOAD_FRAME_BYTES_MAX) };
	return vnet->long_frame ? 0 : -ENOMEM;
}

void
vnet_release(struct vnet *vnet)
{
	rte_pktmbuf_free_bulk(vnet->spare, vnet->spare_count);
	free(vnet->long_frame);
}

struct rte_mbuf *
vnet_buffer(struct vnet *vnet)
{
	if (!vnet->spare_count && !rte_pktmbuf_alloc_bulk(vnet->pool, vnet->spare, VNET_SPARE))
		vnet->spare_count = VNET_SPARE;
	return vnet->spare_count ? vnet->spare[vnet->spare_count - 1] : NULL;
}

/* Nobody else writes it, so it needs no locked instruction. */
void
vnet_refuse(struct vnet *vnet)
{
	atomic_store_explicit(&vnet->refused, atomic_load_explicit(&vnet->refused, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

void
vnet_cut(struct vnet *vnet, const struct virtio_net_hdr *header, uint32_t length, uint64_t flags, uint16_t tci)
{
	vnet->cut_flags = flags;
	vnet->cut_tci = tci;
	if (cut_begin(&vnet->cut, header, vnet->long_frame, length))
		vnet_refuse(vnet);
}

uint16_t
vnet_cut_frames(struct vnet *vnet, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t count = 0;

	while (count < n && cut_pending(&vnet->cut)) {
		struct rte_mbuf *frame = vnet_buffer(vnet);
		const uint32_t bytes = cut_next_bytes(&vnet->cut);

		if (!frame)
			break;
		if (bytes > rte_pktmbuf_tailroom(frame)) {
			vnet_refuse(vnet);
			cut_give_up(&vnet->cut);
			break;
		}
		vnet_take(vnet);
		cut_next(&vnet->cut, rte_pktmbuf_mtod(frame, uint8_t *));
		frame->data_len = (uint16_t)bytes;
		frame->pkt_len = bytes;
		frame->ol_flags = vnet->cut_flags;
		frame->vlan_tci = vnet->cut_tci;
		frames[count++] = frame;
	}
	return count;
}
