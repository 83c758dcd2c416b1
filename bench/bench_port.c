/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port alone: the time that it takes for a frame that it receives, or sends, bursts that found nothing not counted.
 *   taskset -c 1 bench_port --no-huge --no-shconf --no-pci -- PORT rx|tx SECONDS
 * Prints nanoseconds a frame and frames per second. To receive, somebody has to send.
 */
#include "port/port.h"

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ether.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BURST = 64,
	BUFFERS = 16384,
	FRAME_BYTES = 60,
	MTU = 1500,
};

struct work {
	uint64_t frames;
	uint64_t cycles;
};

static void
receive(const struct port *port, struct work *work)
{
	struct rte_mbuf *frames[BURST];
	const uint64_t start = rte_rdtsc();
	const uint16_t n = port->ops->rx(port, 0, frames, BURST);

	if (!n)
		return;
	rte_pktmbuf_free_bulk(frames, n);
	work->cycles += rte_rdtsc() - start;
	work->frames += n;
}

static void
make_frame(struct rte_mbuf *frame)
{
	uint8_t *bytes = rte_pktmbuf_mtod(frame, uint8_t *);

	frame->data_len = FRAME_BYTES;
	frame->pkt_len = FRAME_BYTES;
	memset(bytes, 0, FRAME_BYTES);
	memcpy(bytes, "\x52\x54\x00\x00\x00\x01\x02\x00\x00\x00\x00\x01\x88\xb5", 14);
}

static void
transmit(const struct port *port, struct rte_mempool *pool, struct work *work)
{
	struct rte_mbuf *frames[BURST];
	enum drop_reason rest;
	uint64_t start;
	uint16_t sent;

	if (rte_pktmbuf_alloc_bulk(pool, frames, BURST))
		return;
	for (uint16_t i = 0; i < BURST; i++)
		make_frame(frames[i]);
	start = rte_rdtsc();
	sent = port->ops->tx(port, 0, frames, BURST, &rest);
	work->cycles += rte_rdtsc() - start;
	work->frames += sent;
	rte_pktmbuf_free_bulk(frames + sent, BURST - sent);
}

int
main(int argc, char **argv)
{
	struct port_request request = { .adapter = "bench", .mtu = MTU, .rx = 1, .tx = 1 };
	int eal = rte_eal_init(argc, argv);
	struct work work = { 0 };
	struct refusal why = { 0 };
	struct port port;
	uint64_t end;
	double seconds;

	if (eal < 0 || argc - eal != 4)
		rte_exit(1, "usage: bench_port EAL-OPTIONS -- PORT rx|tx SECONDS\n");
	argv += eal;
	request.name = argv[1];
	request.pools[0] = rte_pktmbuf_pool_create("bench", BUFFERS, 256, 0,
						   (uint16_t)(RTE_PKTMBUF_HEADROOM + port_buffer_bytes(argv[1], MTU)),
						   SOCKET_ID_ANY);
	if (!request.pools[0] || port_open(&request, &port, &why))
		rte_exit(1, "%s\n", request.pools[0] ? why.text : "no packet memory");
	seconds = atof(argv[3]);
	end = rte_rdtsc() + (uint64_t)(seconds * (double)rte_get_tsc_hz());
	while (rte_rdtsc() < end)
		if (!strcmp(argv[2], "tx"))
			transmit(&port, request.pools[0], &work);
		else
			receive(&port, &work);
	printf("%.1f ns a frame, %.0f frames per second\n",
	       work.frames ? (double)work.cycles * 1e9 / (double)rte_get_tsc_hz() / (double)work.frames : 0,
	       (double)work.frames / seconds);
	port_close(&port);
	return rte_eal_cleanup() ? 1 : 0;
}
