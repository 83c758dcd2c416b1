/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/vnet.h"

#include <errno.h>
#include <string.h>

void
vnet_init(struct vnet *vnet, struct rte_mempool *pool)
{
	*vnet = (struct vnet){ .pool = pool, .missing = VNET_PIECES };
}

void
vnet_release(struct vnet *vnet)
{
	rte_pktmbuf_free_bulk(vnet->pieces + vnet->missing, VNET_PIECES - vnet->missing);
}

/* The last one first, so that what was freed last, and is nearest, is used first. */
static bool
refill(struct vnet *vnet)
{
	for (; vnet->missing; vnet->missing--) {
		struct rte_mbuf *piece = rte_pktmbuf_alloc(vnet->pool);

		if (!piece)
			return false;
		vnet->pieces[vnet->missing - 1] = piece;
	}
	return true;
}

bool
vnet_room(struct vnet *vnet, struct iovec *places)
{
	if (!refill(vnet))
		return false;
	for (uint16_t i = 0; i < VNET_PIECES; i++)
		places[i] = (struct iovec){ rte_pktmbuf_mtod(vnet->pieces[i], void *),
					    rte_pktmbuf_tailroom(vnet->pieces[i]) };
	return true;
}

struct rte_mbuf *
vnet_frame(struct vnet *vnet, uint32_t length)
{
	struct rte_mbuf *frame = vnet->pieces[0], *last = NULL;

	frame->pkt_len = length;
	for (vnet->missing = 0; length; vnet->missing++) {
		struct rte_mbuf *piece = vnet->pieces[vnet->missing];

		piece->data_len = (uint16_t)RTE_MIN(length, rte_pktmbuf_tailroom(piece));
		length -= piece->data_len;
		if (last)
			last->next = piece;
		last = piece;
	}
	frame->nb_segs = vnet->missing;
	return frame;
}

bool
vnet_finish(struct vnet *vnet, const struct virtio_net_hdr *header, struct rte_mbuf *frame)
{
	int error = -EMSGSIZE;

	if (offload_wants_cut(header)) {
		error = gso_note(frame, header);
	} else if (frame->nb_segs == 1) {
		error = offload_checksum(header, rte_pktmbuf_mtod(frame, uint8_t *), frame->data_len);
		if (header->flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID))
			frame->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	}
	if (!error)
		return true;
	rte_pktmbuf_free(frame);
	vnet_refuse(vnet);
	return false;
}

int
vnet_gather(const struct rte_mbuf *frame, struct virtio_net_hdr *header, struct iovec *places)
{
	int count = 0;

	memset(header, 0, sizeof(*header));
	if (frame_is_gso(frame))
		gso_header(frame, header);
	places[count++] = (struct iovec){ header, sizeof(*header) };
	for (; frame && count < VNET_IOVECS; frame = frame->next)
		places[count++] = (struct iovec){ rte_pktmbuf_mtod(frame, void *), frame->data_len };
	return count;
}

/* Nobody else writes it, so it needs no locked instruction. */
void
vnet_refuse(struct vnet *vnet)
{
	atomic_store_explicit(&vnet->refused, atomic_load_explicit(&vnet->refused, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}
