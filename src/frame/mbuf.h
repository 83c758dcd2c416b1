/* SPDX-License-Identifier: BSD-3-Clause */
/* What the filters see of a frame in a packet buffer, whose tag may stand in it or beside it. */
#ifndef VMQ_FRAME_MBUF_H
#define VMQ_FRAME_MBUF_H

#include "frame/key.h"
#include "frame/offload.h"

#include <rte_mbuf.h>

/** frame_key() of a frame. A tag beside it, put there by the switch or a port that takes it out, counts as in it. */
static inline uint64_t
frame_mbuf_key(const struct rte_mbuf *frame)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(frame, const uint8_t *);

	if (frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED && frame->data_len >= FRAME_HEADER_BYTES)
		return frame_key_of(mac_load(bytes), frame->vlan_tci & 0x0fff);
	return frame_key(bytes, frame->data_len);
}

/** Take the tag out of a frame that has one in it. @return it, with its priority. */
static inline uint16_t
frame_mbuf_take_tag(struct rte_mbuf *frame)
{
	uint8_t *bytes = rte_pktmbuf_mtod(frame, uint8_t *);
	const uint16_t tci = frame_load16(bytes + 14);

	memmove(bytes + FRAME_TAG_BYTES, bytes, 12);
	rte_pktmbuf_adj(frame, FRAME_TAG_BYTES);
	if (frame_is_gso(frame)) /* as rte_vlan_insert() does */
		frame->l2_len -= FRAME_TAG_BYTES;
	return tci;
}

#endif
