/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/tap.h"

#include "model/model.h"
#include "port/vnet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	HOST_POOL_FRAMES = 4096, /* of which those wait that VMs have no room for yet */
	HOST_FRAME_OVERHEAD = 14 + 2 * 4, /* Ethernet header and two tags, beside the MTU */
};

/* What a frame of the host may leave to us. Kernels before 6.2 do not know the last two. Source: Linux, if_tun.h. */
enum {
	HOST_MAY_LEAVE = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
	HOST_MAY_LEAVE_UDP = 0x20 | 0x40, /* TUN_F_USO4, TUN_F_USO6 */
};

struct host_tap {
	int handle;
	char ifname[IFNAMSIZ];
	uint16_t mtu;
	bool udp;                 /* the kernel knows GSO frames of UDP */
	struct rte_mempool *pool;
	struct vnet vnet;
};

static int
interface_set_mtu(const char *name, uint16_t mtu)
{
	struct ifreq request = { .ifr_mtu = mtu };
	int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error;

	if (handle < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%.15s", name);
	error = ioctl(handle, SIOCSIFMTU, &request) ? -errno : 0;
	close(handle);
	return error;
}

static uint64_t
hash(uint64_t sum, const char *text)
{
	for (; *text; text++)
		sum = (sum ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return sum;
}

/*
 * An interface that is made anew with each start has the same address each time, made of the machine and its name, so
 * that neighbours need not learn it again. The operator may set another one. Source: FNV-1a; machine-id(5).
 */
static void
interface_set_address(int handle, const char *name)
{
	struct ifreq request = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };
	FILE *stream = fopen("/etc/machine-id", "re");
	char machine[64] = "";
	uint64_t sum;

	if (!stream || !fgets(machine, sizeof(machine), stream))
		gethostname(machine, sizeof(machine) - 1);
	if (stream)
		fclose(stream);
	sum = hash(hash(UINT64_C(0xcbf29ce484222325), machine), name);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	memcpy(request.ifr_hwaddr.sa_data, &sum, 6);
	request.ifr_hwaddr.sa_data[0] = (char)((request.ifr_hwaddr.sa_data[0] & 0xfc) | 0x02); /* local, for one */
	if (ioctl(handle, SIOCSIFHWADDR, &request))
		fprintf(stderr, "vmqd: host interface %s has an address by chance: %s\n", name, strerror(errno));
}

static int
refuse_tap(const char *name, bool existed, struct refusal *why)
{
	if (existed && errno == EINVAL)
		return refuse(why, -EEXIST,
			      "host interface %s: somebody else's interface has this name, and it is no TAP "
			      "with one queue: choose another name",
			      name);
	if (errno == EBUSY)
		return refuse(why, -EBUSY, "host interface %s: another program has this TAP open", name);
	return refuse(why, -EIO, "host interface %s cannot be made: %s", name, strerror(errno));
}

/* Make the interface, or take one that waits for somebody: a persistent TAP keeps what the operator set on it. */
static int
tap_attach(struct host_tap *host, struct refusal *why)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	const bool existed = if_nametoindex(host->ifname) != 0;
	int error;

	memcpy(request.ifr_name, host->ifname, sizeof(request.ifr_name));
	if (ioctl(host->handle, TUNSETIFF, &request))
		return refuse_tap(host->ifname, existed, why);
	error = interface_set_mtu(host->ifname, host->mtu);
	if (error)
		return refuse(why, -EIO, "host interface %s takes no MTU of %u: %s", host->ifname, host->mtu,
			      strerror(-error));
	if (!existed)
		interface_set_address(host->handle, host->ifname);
	/* Without, the kernel completes the frames itself. */
	host->udp = !ioctl(host->handle, TUNSETOFFLOAD, HOST_MAY_LEAVE | HOST_MAY_LEAVE_UDP);
	if (!host->udp)
		ioctl(host->handle, TUNSETOFFLOAD, HOST_MAY_LEAVE);
	return 0;
}

static int
tap_open(struct host_tap *host, struct refusal *why)
{
	int error;

	host->handle = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (host->handle < 0)
		return refuse_tap(host->ifname, false, why);
	error = tap_attach(host, why);
	if (error)
		close(host->handle);
	return error;
}

static int
host_open(void *ctx, const struct adapter_config *config, void **handle, struct refusal *why)
{
	const uint32_t bytes = RTE_MAX((uint32_t)RTE_ALIGN_CEIL(config->mtu + HOST_FRAME_OVERHEAD, 64),
				       (uint32_t)VNET_PIECE_BYTES_MIN);
	struct host_tap *host = calloc(1, sizeof(*host));
	char name[RTE_MEMPOOL_NAMESIZE];
	int error;

	(void)ctx;
	if (!host)
		return refuse(why, -ENOMEM, "no memory for host interface %s", config->name);
	snprintf(host->ifname, sizeof(host->ifname), "%.15s", config->name);
	host->mtu = config->mtu;
	error = tap_open(host, why);
	if (error) {
		free(host);
		return error;
	}
	snprintf(name, sizeof(name), "host-%p", (void *)host);
	host->pool = rte_pktmbuf_pool_create(name, HOST_POOL_FRAMES, 0, 0, (uint16_t)(RTE_PKTMBUF_HEADROOM + bytes),
					     SOCKET_ID_ANY);
	if (!host->pool) {
		close(host->handle);
		free(host);
		return refuse(why, -ENOMEM, "no packet memory for host interface %s: start vmqd with more --memory",
			      config->name);
	}
	vnet_init(&host->vnet, host->pool);
	*handle = host;
	return 0;
}

/* Asked each time: the operator may give the interface another address or name, or delete it. */
static void
host_link(void *handle, struct nic_link *link)
{
	const struct host_tap *host = handle;
	struct ifreq request = { 0 };

	link->gone = ioctl(host->handle, TUNGETIFF, &request) != 0;
	if (link->gone)
		return;
	link->up = true;
	memcpy(link->ifname, request.ifr_name, sizeof(link->ifname));
	if (!ioctl(host->handle, SIOCGIFHWADDR, &request))
		link->mac = mac_load((const uint8_t *)request.ifr_hwaddr.sa_data);
}

/* An interface that was deleted is made once more behind the same descriptor, which workers go on reading. */
static int
host_reconnect(void *handle, struct refusal *why)
{
	return tap_attach(handle, why);
}

static void
host_close(void *handle)
{
	struct host_tap *host = handle;

	close(host->handle);
	vnet_release(&host->vnet);
	rte_mempool_free(host->pool);
	free(host);
}

static void
host_losses(void *handle, struct nic_losses *losses)
{
	struct host_tap *host = handle;

	losses->rx_errors = atomic_load_explicit(&host->vnet.refused, memory_order_relaxed);
}

static int
host_wake_fds(void *handle, int *fds, int size)
{
	const struct host_tap *host = handle;

	(void)size;
	fds[0] = host->handle;
	return 1;
}

/* @return NULL: there is none, or no memory to take it. */
static struct rte_mbuf *
read_frame(struct host_tap *host, struct virtio_net_hdr *header)
{
	struct iovec places[1 + VNET_PIECES] = { { header, sizeof(*header) } };
	ssize_t length = vnet_room(&host->vnet, places + 1) ? readv(host->handle, places, RTE_DIM(places)) : 0;

	return length > (ssize_t)sizeof(*header) ? vnet_frame(&host->vnet, (uint32_t)length - sizeof(*header)) : NULL;
}

static uint16_t
host_receive(void *handle, const void *filters, uint16_t rx_queue, struct rte_mbuf **frames, uint16_t *queue_ids,
	     uint16_t n)
{
	struct host_tap *host = handle;
	struct virtio_net_hdr header;
	uint32_t pieces = 0;
	uint16_t count = 0;

	(void)filters;
	(void)rx_queue;
	(void)queue_ids;
	while (count < n && pieces < BURST_PIECES_MAX && (frames[count] = read_frame(host, &header)))
		if (vnet_finish(&host->vnet, &header, frames[count]))
			pieces += frame_pieces(frames[count++]);
	return count;
}

/* A GSO frame as it is: the kernel is served best by long ones. */
static bool
write_frame(const struct host_tap *host, const struct rte_mbuf *frame)
{
	struct virtio_net_hdr header;
	struct iovec places[VNET_IOVECS];

	return writev(host->handle, places, vnet_gather(frame, &header, places)) ==
	       (ssize_t)(sizeof(header) + frame->pkt_len);
}

static uint16_t
host_transmit(void *handle, uint16_t tx_queue, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	uint16_t sent = 0;

	(void)tx_queue;
	*rest = DROP_TX_FULL;
	while (sent < n && write_frame(handle, frames[sent]))
		rte_pktmbuf_free(frames[sent++]);
	return sent;
}

static bool
host_takes(void *handle, const struct rte_mbuf *frame)
{
	const struct host_tap *host = handle;

	return host->udp || frame->ol_flags & RTE_MBUF_F_TX_TCP_SEG;
}

const struct nic_ops host_tap_ops = {
	.open = host_open,
	.close = host_close,
	.connect = host_reconnect,
	.link = host_link,
	.losses = host_losses,
	.wake_fds = host_wake_fds,
	.receive = host_receive,
	.takes = host_takes,
	.transmit = host_transmit,
};
