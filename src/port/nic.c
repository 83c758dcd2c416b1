/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/nic.h"

#include "filter/classify.h"
#include "frame/mbuf.h"
#include "model/model.h"
#include "port/pool.h"
#include "port/port.h"

#include <errno.h>
#include <net/if.h>
#include <rte_mbuf.h>
#include <rte_spinlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert((int)INSPECT_BURST_MAX <= (int)MATCH_BURST_MAX, "one look-up for all that is inspected together");

enum {
	/* Buffers that belong to no queue: in the port's rings and in a worker's hands. */
	BUFFERS_RESERVE = 4096,
};

struct nic {
	struct port port;
	struct packet_memory memory;
	int rx_nodes[CPU_LIMIT]; /* by receive queue: of its buffers */
	struct classify *classify;
	bool tx_shared; /* fewer transmit queues than workers: all use the first, locked */
	rte_spinlock_t tx_lock;
	struct nic_capabilities capabilities;
};

static void
nic_close(void *handle)
{
	struct nic *nic = handle;

	if (port_close(&nic->port))
		return; /* the card may still write to its buffers: all of it stays */
	classify_destroy(nic->classify);
	packet_memory_destroy(&nic->memory);
	free(nic);
}

/* Each processor of the adapter receives, into memory of its own node; every worker may send. */
static void
want_queues(struct nic *nic, const struct adapter_config *config, uint16_t workers, struct port_request *request)
{
	request->tx = workers;
	for (unsigned cpu = cpumask_next(&config->cpus, 0); cpu < CPU_LIMIT && request->rx < config->queues;
	     cpu = cpumask_next(&config->cpus, cpu + 1)) {
		int node = node_of_cpu(cpu);

		nic->rx_nodes[request->rx] = node;
		request->pools[request->rx++] = packet_memory_pool(&nic->memory, node);
	}
}

static int
nic_open(void *ctx, const struct adapter_config *config, void **handle, struct refusal *why)
{
	const struct nic_context *context = ctx;
	const uint32_t buffer = port_buffer_bytes(config->port, config->mtu);
	struct nic *nic = calloc(1, sizeof(*nic));
	struct port_request request = { .adapter = config->name, .name = config->port, .mtu = config->mtu };
	int error;

	if (!nic)
		return refuse(why, -ENOMEM, "no memory for adapter %s", config->name);
	nic->classify = classify_create(config->filters);
	if (packet_memory_create(&nic->memory, config, (uint16_t)buffer, BUFFERS_RESERVE) || !nic->classify) {
		error = refuse(why, -ENOMEM, "no memory for the frames of adapter %s: start vmqd with more --memory",
			       config->name);
		goto free;
	}
	want_queues(nic, config, context->workers, &request);
	error = port_open(&request, &nic->port, why);
	if (error == -ETIMEDOUT)
		return error; /* as in nic_close() */
	if (error)
		goto free;
	nic->tx_shared = nic->port.tx_queues < context->workers;
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
		.mtu_max = nic->port.mtu_max,
	};
	*handle = nic;
	return 0;
free:
	classify_destroy(nic->classify);
	packet_memory_destroy(&nic->memory);
	free(nic);
	return error;
}

static void
nic_capabilities(void *handle, struct nic_capabilities *capabilities)
{
	const struct nic *nic = handle;

	*capabilities = nic->capabilities;
}

/* What the kernel says of an interface; DPDK's drivers for such do not look again. False also if it was deleted. */
static bool
interface_is_up(unsigned ifindex)
{
	struct ifreq request = { 0 };
	int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool up = handle >= 0 && if_indextoname(ifindex, request.ifr_name) && !ioctl(handle, SIOCGIFFLAGS, &request) &&
		  (request.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);

	if (handle >= 0)
		close(handle);
	return up;
}

static void
nic_link(void *handle, struct nic_link *link)
{
	const struct nic *nic = handle;

	nic->port.ops->link(&nic->port, link);
	if (nic->port.ifindex)
		link->up = interface_is_up(nic->port.ifindex);
}

static void
nic_losses(void *handle, struct nic_losses *losses)
{
	const struct nic *nic = handle;

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

	return nic->port.rx_queues;
}

static int
nic_wake_fds(void *handle, int *fds, int size)
{
	const struct nic *nic = handle;

	if (!nic->port.wake_fd_count)
		return -ENOTSUP;
	for (int i = 0; i < nic->port.wake_fd_count && i < size; i++)
		fds[i] = nic->port.wake_fds[i];
	return RTE_MIN(nic->port.wake_fd_count, size);
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
	uint16_t count = nic->port.ops->rx(&nic->port, rx_queue, frames, RTE_MIN(n, (uint16_t)MATCH_BURST_MAX));

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

static uint16_t
nic_transmit(void *handle, uint16_t tx_queue, struct rte_mbuf **frames, uint16_t n)
{
	struct nic *nic = handle;
	uint16_t sent;

	if (!nic->tx_shared)
		return nic->port.ops->tx(&nic->port, tx_queue, frames, n);
	rte_spinlock_lock(&nic->tx_lock);
	sent = nic->port.ops->tx(&nic->port, 0, frames, n);
	rte_spinlock_unlock(&nic->tx_lock);
	return sent;
}

const struct nic_ops nic_software_ops = {
	.open = nic_open,
	.close = nic_close,
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
	.transmit = nic_transmit,
};
