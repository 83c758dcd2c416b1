/* SPDX-License-Identifier: BSD-3-Clause */
/* DPDK for a test that needs packet buffers and nothing else of it. */
#ifndef VMQ_TESTS_PACKET_POOL_H
#define VMQ_TESTS_PACKET_POOL_H

#include <rte_eal.h>
#include <rte_mbuf.h>

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

#endif
