/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frame's way through a system, measured from both its ends by one thread with one clock. The ends are DPDK ports
 * of this process, a virtio-user guest above all, or the wire side of a veth pair as a packet socket. Prints one
 * line of JSON.
 *
 * bench_probe EAL OPTIONS -- rate SENDER RECEIVER FROM TO BYTES PPS SECONDS
 *     send PPS frames a second (0: as many as go), count those that arrive, and how long they took
 * bench_probe EAL OPTIONS -- steady SENDER RECEIVER FROM TO BYTES PPS SECONDS
 *     the same, but what the sender's ring has no room for waits and is not lost: a probe that was late catches up
 * bench_probe EAL OPTIONS -- idle INTERFACE RECEIVER FROM TO BYTES GAP_US COUNT
 *     after each GAP_US of silence send one frame and wait for it
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BURST = 32,
	DESCRIPTORS = 1024,
	BUFFERS = 16384,
	SAMPLES_MAX = 1 << 20,
	HEAD_BYTES = 60,        /* written anew into each frame; what follows is whatever the buffer holds */
	STAMP_AT = 44,
	PATH_UP_LIMIT_S = 30,
	LOST_AFTER_MS = 100,
	WARM_UP_MS = 500,
};

/* In each frame: when it was sent, and that it is one of ours. */
struct stamp {
	uint64_t cycles;
	uint64_t magic;
} __attribute__((packed));

#define STAMP_MAGIC UINT64_C(0x766d712d70726f62)

struct probe {
	uint16_t sender, receiver;    /* ports */
	int wire;                     /* packet socket in place of `sender`; -1: none */
	uint16_t frame_bytes;         /* without FCS */
	bool patient;                 /* frames that are refused wait */
	uint8_t head[HEAD_BYTES];
	struct rte_mempool *pool;
	struct rte_mbuf *unsent[BURST];
	uint16_t unsent_count;
	uint64_t sent, received;
	uint64_t refused;             /* frames that the sender's ring had no room for */
	uint32_t sample_every;
	uint32_t sample_count;
	uint32_t *samples;            /* cycles on the way */
};

static void
head_fill(struct probe *probe, const char *from, const char *to)
{
	struct rte_ether_hdr *ether = (void *)probe->head;
	struct rte_ipv4_hdr *ip = (void *)(ether + 1);
	struct rte_udp_hdr *udp = (void *)(ip + 1);
	const uint16_t ip_bytes = probe->frame_bytes - sizeof(*ether);

	if (rte_ether_unformat_addr(from, &ether->src_addr) || rte_ether_unformat_addr(to, &ether->dst_addr))
		rte_exit(1, "%s, %s: not two addresses\n", from, to);
	ether->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(ip_bytes),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = RTE_BE32(RTE_IPV4(198, 18, 0, 1)),
		.dst_addr = RTE_BE32(RTE_IPV4(198, 18, 0, 2)),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*udp = (struct rte_udp_hdr){ RTE_BE16(1000), RTE_BE16(2000), rte_cpu_to_be_16(ip_bytes - sizeof(*ip)), 0 };
}

static void
head_stamp(const struct probe *probe, uint8_t *bytes, uint64_t now)
{
	const struct stamp stamp = { now, STAMP_MAGIC };

	memcpy(bytes, probe->head, HEAD_BYTES);
	memcpy(bytes + STAMP_AT, &stamp, sizeof(stamp));
}

static uint16_t
port_start(const char *name, struct rte_mempool *pool)
{
	const struct rte_eth_conf conf = { 0 };
	uint16_t port;

	if (rte_eth_dev_get_port_by_name(name, &port))
		rte_exit(1, "there is no port %s\n", name);
	if (rte_eth_dev_configure(port, 1, 1, &conf) ||
	    rte_eth_rx_queue_setup(port, 0, DESCRIPTORS, SOCKET_ID_ANY, NULL, pool) ||
	    rte_eth_tx_queue_setup(port, 0, DESCRIPTORS, SOCKET_ID_ANY, NULL) || rte_eth_dev_start(port))
		rte_exit(1, "port %s does not start\n", name);
	return port;
}

static int
wire_open(const char *interface)
{
	const struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface) };
	int wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (wire < 0 || bind(wire, (const struct sockaddr *)&address, sizeof(address)))
		rte_exit(1, "%s: %s\n", interface, strerror(errno));
	return wire;
}

static void
sample(struct probe *probe, const struct rte_mbuf *frame, uint64_t now)
{
	struct stamp stamp;

	memcpy(&stamp, rte_pktmbuf_mtod_offset(frame, const uint8_t *, STAMP_AT), sizeof(stamp));
	if (frame->data_len != probe->frame_bytes || stamp.magic != STAMP_MAGIC)
		return;
	if (probe->received++ % probe->sample_every == 0 && probe->sample_count < SAMPLES_MAX)
		probe->samples[probe->sample_count++] = (uint32_t)RTE_MIN(now - stamp.cycles, UINT32_MAX);
}

static void
receive(struct probe *probe)
{
	struct rte_mbuf *frames[BURST];
	uint16_t n = rte_eth_rx_burst(probe->receiver, 0, frames, BURST);
	uint64_t now = rte_rdtsc();

	for (uint16_t i = 0; i < n; i++)
		sample(probe, frames[i], now);
	rte_pktmbuf_free_bulk(frames, n);
}

static void
unsent_drop(struct probe *probe)
{
	rte_pktmbuf_free_bulk(probe->unsent, probe->unsent_count);
	probe->unsent_count = 0;
}

/* What was not taken last time goes first, and alone. @return how many are dealt with: taken, or refused and lost. */
static uint16_t
send_burst(struct probe *probe, uint16_t n)
{
	const uint64_t now = rte_rdtsc();
	uint16_t taken;

	if (!probe->unsent_count && !rte_pktmbuf_alloc_bulk(probe->pool, probe->unsent, n))
		probe->unsent_count = n;
	for (uint16_t i = 0; i < probe->unsent_count; i++) {
		head_stamp(probe, rte_pktmbuf_mtod(probe->unsent[i], uint8_t *), now);
		probe->unsent[i]->data_len = probe->frame_bytes;
		probe->unsent[i]->pkt_len = probe->frame_bytes;
	}
	taken = rte_eth_tx_burst(probe->sender, 0, probe->unsent, probe->unsent_count);
	probe->sent += taken;
	probe->unsent_count -= taken;
	probe->refused += probe->unsent_count;
	memmove(probe->unsent, probe->unsent + taken, probe->unsent_count * sizeof(probe->unsent[0]));
	if (probe->patient)
		return taken;
	unsent_drop(probe);
	return n;
}

static void
send_one(struct probe *probe)
{
	uint8_t bytes[RTE_ETHER_MAX_LEN] = { 0 };

	if (probe->wire < 0) {
		send_burst(probe, 1);
		return;
	}
	head_stamp(probe, bytes, rte_rdtsc());
	if (send(probe->wire, bytes, probe->frame_bytes, 0) == probe->frame_bytes)
		probe->sent++;
	else
		probe->refused++;
}

/* Until `until`, or one more has arrived. */
static bool
await_one(struct probe *probe, uint64_t until)
{
	const uint64_t before = probe->received;

	while (probe->received == before && rte_rdtsc() < until)
		receive(probe);
	return probe->received != before;
}

static void
drain(struct probe *probe, unsigned ms)
{
	const uint64_t until = rte_rdtsc() + ms * rte_get_tsc_hz() / 1000;

	while (rte_rdtsc() < until)
		receive(probe);
}

static void
counts_clear(struct probe *probe)
{
	probe->sent = probe->received = probe->refused = 0;
	probe->sample_count = 0;
}

/* Ports connect when they will; the first frame that arrives says that the whole way is there. */
static void
path_await(struct probe *probe)
{
	const uint64_t hz = rte_get_tsc_hz(), until = rte_rdtsc() + PATH_UP_LIMIT_S * hz;

	do {
		send_one(probe);
		if (rte_rdtsc() > until)
			rte_exit(1, "no frame arrives\n");
	} while (!await_one(probe, rte_rdtsc() + hz / 100));
	drain(probe, LOST_AFTER_MS);
}

/* Frames owed by now are sent in bursts. */
static double
rate_phase(struct probe *probe, uint64_t pps, double seconds)
{
	const uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc(), until = start + (uint64_t)(seconds * (double)hz);
	uint64_t now = start, sent = 0;

	for (; now < until; now = rte_rdtsc()) {
		const uint64_t owed = (uint64_t)((double)(now - start) * (double)pps / (double)hz) - sent;
		const uint16_t n = pps ? (uint16_t)RTE_MIN(owed, (uint64_t)BURST) : BURST;

		if (n)
			sent += send_burst(probe, n);
		receive(probe);
	}
	unsent_drop(probe);
	return (double)(now - start) / (double)hz;
}

static int
by_value(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double
latency_us(const struct probe *probe, double share)
{
	const uint32_t at = (uint32_t)(share * (double)(probe->sample_count - 1));

	return probe->sample_count ? (double)probe->samples[at] * 1e6 / (double)rte_get_tsc_hz() : 0;
}

static void
print_result(struct probe *probe, double seconds)
{
	qsort(probe->samples, probe->sample_count, sizeof(probe->samples[0]), by_value);
	printf("{\"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"seconds\": %.6f, "
	       "\"samples\": %u, \"min_us\": %.3f, \"median_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f}\n",
	       probe->sent, probe->received, probe->refused, seconds, probe->sample_count, latency_us(probe, 0),
	       latency_us(probe, 0.5), latency_us(probe, 0.99), latency_us(probe, 1));
}

static void
run_rate(struct probe *probe, uint64_t pps, double seconds)
{
	path_await(probe);
	probe->patient |= !pps;
	probe->sample_every = 1 + (uint32_t)((double)(pps ? pps : 20000000) * seconds / SAMPLES_MAX);
	rate_phase(probe, pps, WARM_UP_MS / 1e3);
	drain(probe, LOST_AFTER_MS);
	counts_clear(probe);
	seconds = rate_phase(probe, pps, seconds);
	drain(probe, LOST_AFTER_MS);
	print_result(probe, seconds);
}

static void
run_idle(struct probe *probe, unsigned gap_us, unsigned count)
{
	const uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc();

	path_await(probe);
	counts_clear(probe);
	for (unsigned i = 0; i < count; i++) {
		usleep(gap_us);
		send_one(probe);
		await_one(probe, rte_rdtsc() + LOST_AFTER_MS * hz / 1000);
	}
	print_result(probe, (double)(rte_rdtsc() - start) / (double)hz);
}

static bool
probe_create(struct probe *probe, char **words)
{
	const bool idle = !strcmp(words[0], "idle"), steady = !strcmp(words[0], "steady");

	*probe = (struct probe){ .wire = -1, .sample_every = 1, .patient = steady,
				 .frame_bytes = (uint16_t)atoi(words[5]) };
	if ((!idle && !steady && strcmp(words[0], "rate")) || probe->frame_bytes < HEAD_BYTES ||
	    probe->frame_bytes > RTE_ETHER_MAX_LEN)
		return false;
	probe->samples = malloc(SAMPLES_MAX * sizeof(probe->samples[0]));
	probe->pool = rte_pktmbuf_pool_create("frames", BUFFERS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!probe->samples || !probe->pool)
		rte_exit(1, "no memory\n");
	probe->receiver = port_start(words[2], probe->pool);
	if (idle)
		probe->wire = wire_open(words[1]);
	else
		probe->sender = port_start(words[1], probe->pool);
	head_fill(probe, words[3], words[4]);
	return true;
}

int
main(int argc, char **argv)
{
	int used = rte_eal_init(argc, argv);
	struct probe probe;

	if (used < 0)
		rte_exit(1, "EAL does not start\n");
	argv += used + 1;
	if (argc - used != 9 || !probe_create(&probe, argv))
		rte_exit(1, "rate|steady SENDER RECEIVER FROM TO BYTES PPS SECONDS\n"
			    "idle INTERFACE RECEIVER FROM TO BYTES GAP_US COUNT\n");
	if (probe.wire < 0)
		run_rate(&probe, strtoull(argv[6], NULL, 10), strtod(argv[7], NULL));
	else
		run_idle(&probe, (unsigned)atoi(argv[6]), (unsigned)atoi(argv[7]));
	fflush(stdout);
	rte_eal_cleanup();
	return 0;
}
