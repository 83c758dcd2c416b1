/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/nic.h"

#include "filter/classify.h"
#include "frame/mbuf.h"
#include "frame/offload.h"
#include "model/model.h"
#include "port/pool.h"
#include "port/port.h"

#include <errno.h>
#include <net/if.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_spinlock.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert((int)INSPECT_BURST_MAX <= (int)MATCH_BURST_MAX, "one look-up for all that is inspected together");

enum {
	/* Buffers that belong to no queue: in the port's rings and in a worker's hands. */
	BUFFERS_RESERVE = 4096,
};

struct nic {
	const struct port *_Atomic live; /* what workers use: `port` while it is open, else `no_port` */
	struct port port;
	bool open;
	bool stuck;             /* a driver that does not answer may use the memory for ever */
	uint16_t workers;
	struct adapter_config config;
	char ifname[IF_NAMESIZE]; /* of the interface that the port stands on, as it was last called */
	_Atomic uint32_t frame_max; /* bytes of an untagged frame that the interface takes, if less than the adapter does */
	struct packet_memory memory;
	int rx_nodes[CPU_LIMIT]; /* by receive queue: of its buffers */
	struct classify *classify;
	rte_spinlock_t tx_lock; /* with fewer transmit queues than workers all use the first */
	struct nic_capabilities capabilities;
};

/* In place of a port that is not there. */

static uint16_t
no_rx(const struct port *port, uint16_t queue, struct rte_mbuf **frames, uint16_t n)
{
	(void)port;
	(void)queue;
	(void)frames;
	(void)n;
	return 0;
}

static uint16_t
no_tx(const struct port *port, uint16_t queue, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	(void)port;
	(void)queue;
	(void)frames;
	(void)n;
	*rest = DROP_TX_FULL;
	return 0;
}

static const struct port_ops no_port_ops = { .rx = no_rx, .tx = no_tx };
static const struct port no_port = { .ops = &no_port_ops, .rx_queues = 1, .tx_queues = UINT16_MAX };

static inline const struct port *
live_port(const struct nic *nic)
{
	return atomic_load_explicit(&nic->live, memory_order_acquire);
}

/* Each processor of the adapter receives, into memory of its own node; every worker may send. */
static void
want_queues(struct nic *nic, struct port_request *request)
{
	const struct adapter_config *config = &nic->config;

	request->tx = nic->workers;
	for (unsigned cpu = cpumask_next(&config->cpus, 0); cpu < CPU_LIMIT && request->rx < config->queues;
	     cpu = cpumask_next(&config->cpus, cpu + 1)) {
		int node = node_of_cpu(cpu);

		nic->rx_nodes[request->rx] = node;
		request->pools[request->rx++] = packet_memory_pool(&nic->memory, node);
	}
}

static int
open_named(struct nic *nic, const char *name, struct refusal *why)
{
	struct port_request request = { .adapter = nic->config.name, .name = name, .mtu = nic->config.mtu };

	want_queues(nic, &request);
	return port_open(&request, &nic->port, why);
}

/* Where the name of a port says which interface it stands on: if=eth0; net_af_packet0,iface=eth0. */
static const char *
interface_in(const char *port)
{
	static const char *const words[] = { "if=", ",iface=" };

	for (size_t i = 0; i < RTE_DIM(words); i++) {
		const char *word = strstr(port, words[i]);

		if (word)
			return word + strlen(words[i]);
	}
	return NULL;
}

/* The port's name with what its interface was called last. @return false: that is what it says already. */
static bool
renamed(const struct nic *nic, char name[PORT_TEXT_SIZE])
{
	const char *port = nic->config.port, *ifname = interface_in(port);
	const size_t length = ifname ? strcspn(ifname, ",") : 0;

	if (!ifname || !nic->ifname[0] || (strlen(nic->ifname) == length && !strncmp(ifname, nic->ifname, length)))
		return false;
	return snprintf(name, PORT_TEXT_SIZE, "%.*s%s%s", (int)(ifname - port), port, nic->ifname, ifname + length) <
	       PORT_TEXT_SIZE;
}

static int
nic_connect(void *handle, struct refusal *why)
{
	struct nic *nic = handle;
	struct refusal again;
	char name[PORT_TEXT_SIZE];
	int error = open_named(nic, nic->config.port, why);

	if (error == -ENODEV && renamed(nic, name) && !open_named(nic, name, &again))
		error = 0;
	nic->stuck |= error == -ETIMEDOUT;
	if (error)
		return error;
	nic->open = true;
	nic->capabilities.mtu_max = nic->port.mtu_max;
	if_indextoname(nic->port.ifindex, nic->ifname);
	atomic_store_explicit(&nic->live, &nic->port, memory_order_release);
	return 0;
}

static void
nic_disconnect(void *handle)
{
	struct nic *nic = handle;

	atomic_store_explicit(&nic->live, &no_port, memory_order_release);
}

static void
nic_release(void *handle)
{
	struct nic *nic = handle;

	if (nic->open)
		nic->stuck |= port_close(&nic->port) != 0;
	nic->open = false;
}

static void
nic_close(void *handle)
{
	struct nic *nic = handle;

	nic_release(nic);
	if (nic->stuck)
		return; /* the card may still write to its buffers: all of it stays */
	classify_destroy(nic->classify);
	packet_memory_destroy(&nic->memory);
	free(nic);
}

static int
nic_open(void *ctx, const struct adapter_config *config, void **handle, struct refusal *why)
{
	const struct nic_context *context = ctx;
	const uint32_t buffer = port_buffer_bytes(config->port, config->mtu);
	struct nic *nic = calloc(1, sizeof(*nic));

	if (!nic)
		return refuse(why, -ENOMEM, "no memory for adapter %s", config->name);
	nic->live = &no_port;
	nic->config = *config;
	nic->workers = context->workers;
	nic->frame_max = UINT32_MAX;
	nic->classify = classify_create(config->filters);
	if (packet_memory_create(&nic->memory, config, (uint16_t)buffer, BUFFERS_RESERVE) || !nic->classify) {
		classify_destroy(nic->classify);
		packet_memory_destroy(&nic->memory);
		free(nic);
		return refuse(why, -ENOMEM, "no memory for the frames of adapter %s: start vmqd with more --memory",
			      config->name);
	}
	rte_spinlock_init(&nic->tx_lock);
	nic->capabilities = (struct nic_capabilities){
		.queues = QUEUE_ID_LIMIT,
		.mac_filters = FILTER_ID_LIMIT,
		.vm_queues = true,
		.msix = true,
		.per_queue_indication = true,
		.lookahead_split = true,
		.lookahead_min_bytes = LOOKAHEAD_BYTES_MIN,
		.lookahead_max_bytes = LOOKAHEAD_BYTES_MAX,
		.mtu_max = MTU_MAX,
	};
	*handle = nic;
	return 0;
}

static void
nic_capabilities(void *handle, struct nic_capabilities *capabilities)
{
	const struct nic *nic = handle;

	*capabilities = nic->capabilities;
}

/* What the kernel says of the interface; DPDK's drivers for such do not look again. */
static void
interface_link(struct nic *nic, struct nic_link *link)
{
	struct ifreq request = { 0 };
	int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	link->gone = !if_indextoname(nic->port.ifindex, request.ifr_name);
	link->up = !link->gone && handle >= 0 && !ioctl(handle, SIOCGIFFLAGS, &request) &&
		   (request.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
	if (!link->gone) {
		snprintf(nic->ifname, sizeof(nic->ifname), "%s", request.ifr_name);
		if (handle >= 0 && !ioctl(handle, SIOCGIFMTU, &request) && request.ifr_mtu < nic->config.mtu)
			link->mtu = (uint16_t)request.ifr_mtu;
	}
	snprintf(link->ifname, sizeof(link->ifname), "%s", nic->ifname);
	nic->frame_max = link->mtu ? (uint32_t)link->mtu + RTE_ETHER_HDR_LEN : UINT32_MAX;
	if (handle >= 0)
		close(handle);
}

static void
nic_link(void *handle, struct nic_link *link)
{
	struct nic *nic = handle;

	if (!nic->open)
		return;
	nic->port.ops->link(&nic->port, link);
	link->unfinished = nic->port.unfinished;
	if (nic->port.ifindex)
		interface_link(nic, link);
}

static void
nic_losses(void *handle, struct nic_losses *losses)
{
	const struct nic *nic = handle;

	if (nic->open)
		nic->port.ops->losses(&nic->port, losses);
}

static int
nic_memory_get(void *handle, struct memory *memory)
{
	const struct nic *nic = handle;

	return packet_memory_get(&nic->memory, memory);
}

static void
nic_memory_put(void *handle, struct memory *memory)
{
	(void)handle;
	packet_memory_put(memory);
}

static int
nic_queue_start(void *handle, uint16_t queue, uint32_t *buffers, struct refusal *why)
{
	struct nic *nic = handle;
	uint32_t granted = packet_memory_promise(&nic->memory, queue, *buffers);

	if (!granted)
		return refuse(
			why, -ENOMEM,
			"the packet memory of the adapter is used up: free a queue, or start vmqd with more --memory");
	*buffers = granted;
	return 0;
}

static void
nic_queue_stop(void *handle, uint16_t queue)
{
	struct nic *nic = handle;

	packet_memory_promise(&nic->memory, queue, 0);
}

static int
nic_filter_add(void *handle, uint16_t queue, uint64_t mac, uint16_t vlan)
{
	struct nic *nic = handle;

	return classify_set(nic->classify, mac, vlan, queue);
}

static void
nic_filter_remove(void *handle, uint64_t mac, uint16_t vlan)
{
	struct nic *nic = handle;

	classify_clear(nic->classify, mac, vlan);
}

static void
nic_filter_move(void *handle, uint16_t queue, uint64_t mac, uint16_t vlan)
{
	struct nic *nic = handle;

	classify_set(nic->classify, mac, vlan, queue);
}

static void
nic_publish(void *handle)
{
	struct nic *nic = handle;

	classify_publish(nic->classify);
}

static const void *
nic_filters(void *handle)
{
	const struct nic *nic = handle;

	return classify_table(nic->classify);
}

static void
nic_retire(void *handle)
{
	struct nic *nic = handle;

	classify_retire(nic->classify);
}

static uint16_t
nic_rx_queues(void *handle)
{
	const struct nic *nic = handle;

	return live_port(nic)->rx_queues;
}

static int
nic_wake_fds(void *handle, int *fds, int size)
{
	const struct nic *nic = handle;

	const struct port *port = live_port(nic);

	if (port != &no_port && !port->wake_fd_count)
		return -ENOTSUP;
	for (int i = 0; i < port->wake_fd_count && i < size; i++)
		fds[i] = port->wake_fds[i];
	return RTE_MIN(port->wake_fd_count, size);
}

static int
nic_rx_node(void *handle, uint16_t rx_queue)
{
	const struct nic *nic = handle;

	return nic->rx_nodes[rx_queue];
}

static struct rte_mempool *
nic_pool(void *handle, int node)
{
	const struct nic *nic = handle;

	return packet_memory_pool(&nic->memory, node);
}

static void
nic_place(const void *filters, struct rte_mbuf **frames, uint16_t *queue_ids, uint16_t n)
{
	uint64_t keys[MATCH_BURST_MAX];

	for (uint16_t i = 0; i < n; i++)
		rte_prefetch0(rte_pktmbuf_mtod(frames[i], void *));
	for (uint16_t i = 0; i < n; i++)
		keys[i] = frame_mbuf_key(frames[i]);
	match_find_burst(filters, keys, queue_ids, n);
}

static uint16_t
nic_receive(void *handle, const void *filters, uint16_t rx_queue, struct rte_mbuf **frames, uint16_t *queue_ids,
	    uint16_t n)
{
	const struct nic *nic = handle;
	const struct port *port = live_port(nic);
	uint16_t count = port->ops->rx(port, rx_queue, frames, RTE_MIN(n, (uint16_t)MATCH_BURST_MAX));

	if (count)
		nic_place(filters, frames, queue_ids, count);
	return count;
}

static void
nic_find(const void *filters, const uint64_t *keys, uint16_t *queue_ids, uint16_t n)
{
	match_find_burst(filters, keys, queue_ids, n);
}

static bool
nic_owns(const void *filters, uint16_t queue, uint64_t mac, uint16_t vlan)
{
	uint16_t owner;

	return !match_get(filters, mac, vlan, &owner) && owner == queue;
}

/* An interface whose MTU was lowered: drivers let the kernel drop what is too long for it, and count it as sent. */
static uint16_t
count_fitting(struct rte_mbuf **frames, uint16_t n, uint32_t frame_max)
{
	uint16_t fitting = 0;

	for (; fitting < n; fitting++) {
		const uint8_t *bytes = rte_pktmbuf_mtod(frames[fitting], const uint8_t *);
		/* Source: Linux, net/packet/af_packet.c: only this kind of tag comes on top. */
		const uint32_t tag = frame_load16(bytes + 12) == FRAME_TPID_8021Q ? FRAME_TAG_BYTES : 0;

		if (frame_wire_bytes(frames[fitting]) > frame_max + tag)
			break;
	}
	return fitting;
}

static bool
nic_takes(void *handle, const struct rte_mbuf *frame)
{
	const struct port *port = live_port(handle);

	return port->ops->takes && port->ops->takes(port, frame);
}

static uint16_t
nic_transmit(void *handle, uint16_t tx_queue, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	struct nic *nic = handle;
	const struct port *port = live_port(nic);
	const uint32_t frame_max = atomic_load_explicit(&nic->frame_max, memory_order_relaxed);
	const uint16_t fitting = unlikely(frame_max != UINT32_MAX) ? count_fitting(frames, n, frame_max) : n;
	uint16_t sent;

	if (port->tx_queues >= nic->workers) {
		sent = port->ops->tx(port, tx_queue, frames, fitting, rest);
	} else {
		rte_spinlock_lock(&nic->tx_lock);
		sent = port->ops->tx(port, 0, frames, fitting, rest);
		rte_spinlock_unlock(&nic->tx_lock);
	}
	if (unlikely(sent == fitting && fitting < n))
		*rest = DROP_TOO_BIG;
	return sent;
}

const struct nic_ops nic_software_ops = {
	.open = nic_open,
	.close = nic_close,
	.connect = nic_connect,
	.disconnect = nic_disconnect,
	.release = nic_release,
	.capabilities = nic_capabilities,
	.link = nic_link,
	.losses = nic_losses,
	.memory_get = nic_memory_get,
	.memory_put = nic_memory_put,
	.node_of_cpu = node_of_cpu,
	.queue_start = nic_queue_start,
	.queue_stop = nic_queue_stop,
	.filter_add = nic_filter_add,
	.filter_remove = nic_filter_remove,
	.filter_move = nic_filter_move,
	.publish = nic_publish,
	.filters = nic_filters,
	.retire = nic_retire,
	.rx_queues = nic_rx_queues,
	.rx_node = nic_rx_node,
	.wake_fds = nic_wake_fds,
	.pool = nic_pool,
	.receive = nic_receive,
	.place = nic_place,
	.find = nic_find,
	.owns = nic_owns,
	.takes = nic_takes,
	.transmit = nic_transmit,
};
