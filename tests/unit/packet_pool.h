/* SPDX-License-Identifier: BSD-3-Clause */
/* DPDK for a test that needs packet buffers and nothing else of it. */
#ifndef VMQ_TESTS_PACKET_POOL_H
#define VMQ_TESTS_PACKET_POOL_H

#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_memcpy.h>

/** Start DPDK with a pool of so many buffers, each with room for so many bytes. @return NULL: it does not start. */
static inline struct rte_mempool *
packet_pool_start(unsigned frames, uint16_t room)
{
	char *words[] = { "test", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "64",
			  "--log-level=error" };

	if (rte_eal_init(RTE_DIM(words), words) < 0)
		return NULL;
	return rte_pktmbuf_pool_create("frames", frames, 0, 0, (uint16_t)(RTE_PKTMBUF_HEADROOM + room), SOCKET_ID_ANY);
}

/** A frame in as many buffers as it takes. @return NULL: the pool is empty. */
static inline struct rte_mbuf *
packet_of(struct rte_mempool *pool, const void *bytes, uint32_t length)
{
	struct rte_mbuf *frame = rte_pktmbuf_alloc(pool), *last = frame;

	for (uint32_t at = 0; last; last = last->next) {
		last->data_len = (uint16_t)RTE_MIN(length - at, rte_pktmbuf_tailroom(last));
		rte_memcpy(rte_pktmbuf_mtod(last, void *), (const uint8_t *)bytes + at, last->data_len);
		at += last->data_len;
		if (at == length)
			break;
		last->next = rte_pktmbuf_alloc(pool);
		frame->nb_segs++;
	}
	frame->pkt_len = length;
	return frame;
}

#endif
