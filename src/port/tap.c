/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/tap.h"

#include "model/model.h"

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
	HOST_POOL_FRAMES = 1024,
	HOST_FRAME_OVERHEAD = 14 + 2 * 4, /* Ethernet header and two tags, beside the MTU */
	HOST_SEGMENTS_MAX = 16,
};

struct host_tap {
	int handle;
	char ifname[IFNAMSIZ];
	struct rte_mempool *pool;
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
tap_open(struct host_tap *host, uint16_t mtu, struct refusal *why)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	const bool existed = if_nametoindex(host->ifname) != 0;
	int error;

	memcpy(request.ifr_name, host->ifname, sizeof(request.ifr_name));
	host->handle = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (host->handle < 0)
		return refuse_tap(host->ifname, false, why);
	if (ioctl(host->handle, TUNSETIFF, &request)) {
		error = refuse_tap(host->ifname, existed, why);
		goto close;
	}
	error = interface_set_mtu(host->ifname, mtu);
	if (error) {
		refuse(why, -EIO, "host interface %s takes no MTU of %u: %s", host->ifname, mtu, strerror(-error));
		error = -EIO;
		goto close;
	}
	if (!existed)
		interface_set_address(host->handle, host->ifname);
	return 0;
close:
	close(host->handle);
	return error;
}

static int
host_open(void *ctx, const struct adapter_config *config, void **handle, struct refusal *why)
{
	uint16_t room = (uint16_t)(RTE_PKTMBUF_HEADROOM + RTE_ALIGN_CEIL(config->mtu + HOST_FRAME_OVERHEAD, 64));
	struct host_tap *host = calloc(1, sizeof(*host));
	char name[RTE_MEMPOOL_NAMESIZE];
	int error;

	(void)ctx;
	if (!host)
		return refuse(why, -ENOMEM, "no memory for host interface %s", config->name);
	snprintf(host->ifname, sizeof(host->ifname), "%.15s", config->name);
	error = tap_open(host, config->mtu, why);
	if (error) {
		free(host);
		return error;
	}
	snprintf(name, sizeof(name), "host-%p", (void *)host);
	host->pool = rte_pktmbuf_pool_create(name, HOST_POOL_FRAMES, 0, 0, room, SOCKET_ID_ANY);
	if (!host->pool) {
		close(host->handle);
		free(host);
		return refuse(why, -ENOMEM, "no packet memory for host interface %s: start vmqd with more --memory",
			      config->name);
	}
	*handle = host;
	return 0;
}

/* Asked each time: the operator may give the interface another address. */
static void
host_link(void *handle, struct nic_link *link)
{
	const struct host_tap *host = handle;
	struct ifreq request = { 0 };

	memcpy(request.ifr_name, host->ifname, sizeof(request.ifr_name));
	if (!ioctl(host->handle, SIOCGIFHWADDR, &request))
		link->mac = mac_load((const uint8_t *)request.ifr_hwaddr.sa_data);
	link->up = true;
}

static void
host_close(void *handle)
{
	struct host_tap *host = handle;

	close(host->handle);
	rte_mempool_free(host->pool);
	free(host);
}

static int
host_wake_fds(void *handle, int *fds, int size)
{
	const struct host_tap *host = handle;

	(void)size;
	fds[0] = host->handle;
	return 1;
}

/* @return NULL: nothing there, or no memory to take it. */
static struct rte_mbuf *
read_frame(const struct host_tap *host)
{
	struct rte_mbuf *frame = rte_pktmbuf_alloc(host->pool);
	ssize_t length;

	if (!frame)
		return NULL;
	length = read(host->handle, rte_pktmbuf_mtod(frame, void *), rte_pktmbuf_tailroom(frame));
	if (length <= 0) {
		rte_pktmbuf_free(frame);
		return NULL;
	}
	frame->data_len = (uint16_t)length;
	frame->pkt_len = (uint32_t)length;
	return frame;
}

static uint16_t
host_receive(void *handle, const void *filters, uint16_t rx_queue, struct rte_mbuf **frames, uint16_t *queue_ids,
	     uint16_t n)
{
	uint16_t count = 0;

	(void)filters;
	(void)rx_queue;
	(void)queue_ids;
	while (count < n && (frames[count] = read_frame(handle)))
		count++;
	return count;
}

static bool
write_frame(const struct host_tap *host, const struct rte_mbuf *frame)
{
	struct iovec pieces[HOST_SEGMENTS_MAX];
	int count = 0;

	for (const struct rte_mbuf *segment = frame; segment && count < HOST_SEGMENTS_MAX; segment = segment->next)
		pieces[count++] = (struct iovec){ rte_pktmbuf_mtod(segment, void *), segment->data_len };
	return writev(host->handle, pieces, count) == (ssize_t)frame->pkt_len;
}

static uint16_t
host_transmit(void *handle, uint16_t tx_queue, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t sent = 0;

	(void)tx_queue;
	while (sent < n && write_frame(handle, frames[sent]))
		rte_pktmbuf_free(frames[sent++]);
	return sent;
}

const struct nic_ops host_tap_ops = {
	.open = host_open,
	.close = host_close,
	.link = host_link,
	.wake_fds = host_wake_fds,
	.receive = host_receive,
	.transmit = host_transmit,
};
