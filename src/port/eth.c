/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/eth.h"

#include "frame/offload.h"
#include "port/log.h"
#include "port/pci.h"
#include "util/bounded.h"
#include "util/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RX_DESCRIPTORS = 1024,
	TX_DESCRIPTORS = 1024,
	FDS_MAX = 16384,
	/* Control waits so long for a driver. The slowest that answer load firmware, which takes them a few seconds. */
	DRIVER_LIMIT_MS = 10000,
	CARD_PERIOD_MS = 500,
};

/*
 * What drivers need to be told beyond what people type. The AF_PACKET driver has rings of fixed frames; its own
 * defaults hold 512 frames of 2 KiB, too few for a burst from a fast sender and too small for jumbo frames. A
 * block must be a whole number of pages and of frames, or the kernel refuses the ring.
 */
struct driver_habit {
	const char *prefix;
	uint16_t mtu_up_to;         /* the row holds up to this MTU */
	const char *extra;          /* devargs to add, unless `unless` is given */
	const char *unless;
	uint32_t buffer_bytes;      /* 0: what the MTU needs */
	bool interface_has_own_mtu; /* the driver does not tell its interface the MTU */
	bool is_tap;                /* the driver made the interface, so we tell it; it wants queues in pairs */
};

static const struct driver_habit driver_habits[] = {
	{ "net_af_packet", 1900, ",framesz=2048,blocksz=65536,framecnt=4096", "framesz=", 2048, true, false },
	{ "net_af_packet", 9000, ",framesz=9216,blocksz=36864,framecnt=1024", "framesz=", 9216, true, false },
	{ "net_tap", 1500, "", NULL, 0, true, true },
	{ "net_pcap", 9000, "", NULL, 0, true, false },
};

static const struct driver_habit *
driver_habit(const char *devargs, uint16_t mtu)
{
	static const struct driver_habit plain = { .extra = "" };

	for (size_t i = 0; i < RTE_DIM(driver_habits); i++)
		if (!strncmp(devargs, driver_habits[i].prefix, strlen(driver_habits[i].prefix)) &&
		    mtu <= driver_habits[i].mtu_up_to)
			return &driver_habits[i];
	return &plain;
}

static uint32_t
eth_buffer_bytes(const char *devargs, uint16_t mtu)
{
	const struct driver_habit *habit = driver_habit(devargs, mtu);
	uint32_t needed = (uint32_t)mtu + PORT_FRAME_OVERHEAD;

	return RTE_MAX(RTE_ALIGN_CEIL(needed, 64), habit->buffer_bytes ? habit->buffer_bytes : 2048U);
}

/* What a ring of AF_PACKET frames needs beside the frame itself: the kernel's headers before it. */
enum { RING_HEADER_BYTES = 96 };

/* A ring that people size themselves must hold whole frames: the kernel cuts longer ones without a word. */
static int
ring_check(const char *devargs, uint16_t mtu, const struct driver_habit *habit, struct refusal *why)
{
	const char *given = habit->unless ? strstr(devargs, habit->unless) : NULL;
	unsigned long needed = (unsigned long)mtu + PORT_FRAME_OVERHEAD + RING_HEADER_BYTES;
	unsigned long bytes = given ? strtoul(given + strlen(habit->unless), NULL, 10) : needed;

	if (bytes >= needed)
		return 0;
	return refuse(why, -EINVAL, "port %s: framesz of %lu cuts frames of MTU %u: leave it out, or give at least %lu",
		      devargs, bytes, mtu, needed);
}

/* DPDK's own words if it had any, else the errno's. */
static int
refuse_port(struct refusal *why, int error, const char *devargs, const char *step)
{
	const char *said = dpdk_log_first_error();

	return refuse(why, -EIO, "port %s %s: %s", devargs, step, *said ? said : strerror(-error));
}

/* Kernel interfaces under DPDK's packet sockets: the driver says little when there is none, or takes it twice. */
static int
interface_find(const char *devargs, unsigned *ifindex, struct refusal *why)
{
	static const char *const drivers[] = { "net_af_packet", "net_af_xdp" };
	const char *given = strstr(devargs, ",iface=");
	char ifname[PORT_TEXT_SIZE];
	bool needed = false;

	snprintf(ifname, sizeof(ifname), "%s", given ? given + strlen(",iface=") : "");
	ifname[strcspn(ifname, ",")] = '\0';
	*ifindex = *ifname ? if_nametoindex(ifname) : 0;
	for (size_t i = 0; i < RTE_DIM(drivers); i++)
		needed |= !strncmp(devargs, drivers[i], strlen(drivers[i]));
	if (!needed || *ifindex)
		return 0;
	if (!*ifname)
		return refuse(why, -EINVAL, "port %.128s needs an interface: iface=NAME after a comma", devargs);
	return refuse(why, -ENODEV, "port %.128s: there is no interface %.64s", devargs, ifname);
}

/* The cause where it is known, else DPDK's words. */
static int
refuse_probe(const struct port *port, int error, const char *devargs, struct refusal *why)
{
	char address[PCI_PRI_STR_SIZE];
	int known = pci_address(port->claim.device, address) ? pci_refuse(address, why) : 0;
	int packets;

	if (known)
		return known;
	packets = port->claim.ifindex ? socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) : -1;
	if (packets >= 0)
		close(packets);
	else if (port->claim.ifindex && errno == EPERM)
		return refuse(why, -EPERM, "port %.128s: vmqd may not open packet sockets: it needs CAP_NET_RAW",
			      devargs);
	return refuse_port(why, error, devargs, "does not open");
}

/* @return whether DPDK has the device; then port->id is the first Ethernet port of it. */
static bool
port_find(const char *devargs, struct port *port)
{
	struct rte_dev_iterator iterator;

	RTE_ETH_FOREACH_MATCHING_DEV(port->id, devargs, &iterator) {
		rte_eth_iterator_cleanup(&iterator);
		return true;
	}
	return false;
}

static int
port_probe(const char *devargs, const char *extra, struct port *port, struct refusal *why)
{
	struct rte_eth_dev_info info;
	char full[PORT_TEXT_SIZE + 88];
	int error = 0;

	snprintf(full, sizeof(full), "%s%s", devargs, extra);
	dpdk_log_forget();
	/* It is there already if an option after -- had DPDK take it at the start. */
	if (!port_find(full, port)) {
		pci_vfio_enable();
		dpdk_log_forget();
		error = rte_dev_probe(full);
	}
	if (error)
		return refuse_probe(port, error, devargs, why);
	if (!port_find(full, port))
		return refuse(why, -ENODEV, "port %s opens but is no Ethernet port", devargs);
	error = rte_eth_dev_info_get(port->id, &info);
	port->device = error ? NULL : info.device;
	port->ifindex = error ? 0 : info.if_index;
	return error ? refuse_port(why, error, devargs, "says nothing of itself") : 0;
}

/*
 * A card that cuts long frames gets them whole, and one that checks checksums is asked to say what it found. A short
 * frame has its checksum filled in already where it came in: that costs less than to carry along that it lacks it. What
 * virtual devices offer is done by their drivers, and worse: of the frames that DPDK's TAP cuts it loses some. virtio
 * says of a checksum that is still missing what others say of one that they did not look at.
 */
static void
use_offloads(struct port *port, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	const uint64_t cuts = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
			      RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO;
	const uint64_t checks = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM |
				RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
	char address[PCI_PRI_STR_SIZE];

	if (!pci_address(port->claim.device, address))
		return;
	if ((info->tx_offload_capa & cuts) == cuts) {
		port->cuts = GSO_TCP4 | GSO_TCP6;
		port->pieces_max = info->tx_desc_lim.nb_seg_max ? info->tx_desc_lim.nb_seg_max : UINT16_MAX;
		conf->txmode.offloads |= cuts;
	}
	if (strcmp(info->driver_name, "net_virtio"))
		conf->rxmode.offloads |= info->rx_offload_capa & checks;
}

static int
port_configure(struct port *port, const struct port_request *request, const struct driver_habit *habit)
{
	const uint16_t mtu = request->mtu;
	struct rte_eth_conf conf = { 0 };
	struct rte_eth_dev_info info;
	int error = rte_eth_dev_info_get(port->id, &info);

	if (error)
		return error;
	port->mtu_max = (uint16_t)RTE_MIN(info.max_rx_pktlen - PORT_FRAME_OVERHEAD,
					  (uint32_t)RTE_MIN(info.max_mtu, 9000));
	if (habit->interface_has_own_mtu)
		port->mtu_max = habit->mtu_up_to;
	if (mtu > port->mtu_max)
		return -ERANGE;
	conf.rxmode.mtu = habit->interface_has_own_mtu ? RTE_MIN(mtu, RTE_ETHER_MTU) : mtu;
	conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	use_offloads(port, &info, &conf);
	port->rx_queues = RTE_MIN(request->rx, info.max_rx_queues);
	port->tx_queues = habit->is_tap ? port->rx_queues : RTE_MIN(request->tx, info.max_tx_queues);
	if (port->rx_queues > 1 && info.flow_type_rss_offloads) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads;
	}
	return rte_eth_dev_configure(port->id, port->rx_queues, port->tx_queues, &conf);
}

/*
 * With several queues a full one must drop: by default some cards (igb, ixgbe, i40e, ice) keep its next frame and hold
 * up those of the other queues behind it. A driver that cannot say so to its card may refuse.
 */
static int
rx_queue_setup(const struct port *port, uint16_t queue, uint16_t descriptors, struct rte_mempool *pool)
{
	unsigned socket = (unsigned)rte_eth_dev_socket_id(port->id);
	struct rte_eth_dev_info info;
	int error = rte_eth_dev_info_get(port->id, &info);

	if (error)
		return error;
	info.default_rxconf.rx_drop_en |= port->rx_queues > 1;
	error = rte_eth_rx_queue_setup(port->id, queue, descriptors, socket, &info.default_rxconf, pool);
	return error ? rte_eth_rx_queue_setup(port->id, queue, descriptors, socket, NULL, pool) : 0;
}

static int
queues_setup(struct port *port, struct rte_mempool *const *pools)
{
	uint16_t rx = RX_DESCRIPTORS, tx = TX_DESCRIPTORS;
	int socket = rte_eth_dev_socket_id(port->id);
	int error = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx, &tx);

	for (uint16_t i = 0; !error && i < port->rx_queues; i++)
		error = rx_queue_setup(port, i, rx, pools[i]);
	for (uint16_t i = 0; !error && i < port->tx_queues; i++)
		error = rte_eth_tx_queue_setup(port->id, i, tx, (unsigned)socket, NULL);
	return error;
}

static int
interface_set_mtu(const struct port *port, uint16_t mtu)
{
	struct ifreq request = { .ifr_mtu = mtu };
	struct rte_eth_dev_info info;
	int error = rte_eth_dev_info_get(port->id, &info);
	int handle;

	if (error)
		return error;
	if (!if_indextoname(info.if_index, request.ifr_name))
		return -errno;
	handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (handle < 0)
		return -errno;
	error = ioctl(handle, SIOCSIFMTU, &request) ? -errno : 0;
	close(handle);
	return error;
}

/* Ports that filter in hardware need it; some virtual ports are promiscuous by nature and say they cannot. */
static int
port_promiscuous(const struct port *port)
{
	int error = rte_eth_promiscuous_enable(port->id);

	return error == -ENOTSUP ? 0 : error;
}

/*
 * Virtual ports have no receive interrupts in DPDK, but each has a descriptor of the kernel's that is readable when
 * frames wait. DPDK does not show it, so it is found as what a port's opening added to the process.
 */
struct fds_before {
	uint64_t open[FDS_MAX / 64];
};

static void
fds_note(struct fds_before *before)
{
	memset(before, 0, sizeof(*before));
	for (int fd = 0; fd < FDS_MAX; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			before->open[fd / 64] |= UINT64_C(1) << fd % 64;
}

static bool
fd_wakes(int fd)
{
	char path[32], target[64];
	socklen_t size = sizeof(int);
	ssize_t length;
	int domain;

	if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size))
		return domain == AF_PACKET || domain == AF_XDP;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target) - 1);
	target[length > 0 ? length : 0] = '\0';
	return !strcmp(target, "/dev/net/tun");
}

static void
fds_find(struct port *port, const struct fds_before *before)
{
	int count = 0;

	for (int fd = 0; fd < FDS_MAX; fd++) {
		if (before->open[fd / 64] >> fd % 64 & 1 || fcntl(fd, F_GETFD) < 0 || !fd_wakes(fd))
			continue;
		if (count < WAKE_FDS_MAX)
			port->wake_fds[count] = fd;
		count++;
	}
	port->wake_fd_count = count > WAKE_FDS_MAX ? 0 : count; /* to watch some would be to sleep over the others */
}

struct card_answer {
	struct nic_link link;
	struct nic_losses losses;
};

static void
card_ask(unsigned id, void *answer)
{
	const uint16_t port = (uint16_t)id;
	struct card_answer *card = answer;
	struct rte_eth_link link = { 0 };
	struct rte_ether_addr mac = { 0 };
	struct rte_eth_stats stats = { 0 };

	rte_eth_macaddr_get(port, &mac);
	/* A port that cannot tell is down. */
	card->link.up = rte_eth_link_get_nowait(port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
	card->link.speed_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	card->link.mac = mac_load(mac.addr_bytes);
	rte_eth_stats_get(port, &stats);
	card->losses.rx_missed = stats.imissed;
	card->losses.rx_errors = stats.ierrors;
	card->losses.rx_no_mbuf = stats.rx_nombuf;
}

/* A card may stop to answer, so that control does not ask it itself. */
static int
card_watch(struct port *port)
{
	static const struct watch_question question = { card_ask, sizeof(struct card_answer), CARD_PERIOD_MS };
	char address[PCI_PRI_STR_SIZE];

	if (!pci_address(port->claim.device, address))
		return 0;
	port->watch = watch_start(&question, port->id);
	return port->watch ? 0 : -ENOMEM;
}

static void
device_close(struct port *port, bool remove)
{
	if (port->watch)
		watch_stop(port->watch);
	rte_eth_dev_stop(port->id);
	rte_eth_dev_close(port->id);
	if (remove)
		rte_dev_remove(port->device);
}

/*
 * DPDK's packet sockets cannot tell what a kernel left to hardware. Behind a card nothing is left; behind an interface
 * without one it is another kernel, or this one, that sends. Source: sysfs(5); Linux, Documentation/networking/af_xdp.
 */
static bool
frames_may_be_unfinished(unsigned ifindex)
{
	char ifname[IF_NAMESIZE], device[sizeof("/sys/class/net//device") + IF_NAMESIZE];

	if (!ifindex || !if_indextoname(ifindex, ifname))
		return false;
	snprintf(device, sizeof(device), "/sys/class/net/%s/device", ifname);
	return access(device, F_OK);
}

static int
device_open(const struct port_request *request, struct port *port, struct refusal *why)
{
	const char *devargs = request->name;
	const uint16_t mtu = request->mtu;
	const struct driver_habit *habit = driver_habit(devargs, mtu);
	bool told = habit->unless && strstr(devargs, habit->unless);
	struct fds_before before;
	int error;

	error = ring_check(devargs, mtu, habit, why);
	if (error)
		return error;
	fds_note(&before);
	error = port_probe(devargs, told ? "" : habit->extra, port, why);
	if (error)
		return error;
	dpdk_log_forget();
	error = port_configure(port, request, habit);
	if (error == -ERANGE) {
		refuse(why, error, "port %s takes an MTU of at most %u, not %u", devargs, port->mtu_max, mtu);
		goto close;
	}
	if (!error)
		error = queues_setup(port, request->pools);
	if (!error)
		error = rte_eth_dev_start(port->id);
	if (!error)
		error = port_promiscuous(port);
	if (!error && habit->is_tap)
		error = interface_set_mtu(port, mtu);
	if (!error)
		error = card_watch(port);
	if (!error) {
		fds_find(port, &before);
		port->unfinished = frames_may_be_unfinished(port->claim.ifindex);
		return 0;
	}
	error = refuse_port(why, error, devargs, "does not start");
close:
	device_close(port, true);
	return error;
}

/*
 * Drivers wait for their cards, some without end, so they are called on a thread that control waits for no longer than
 * DRIVER_LIMIT_MS. If that is not enough the thread goes on with a job of its own, nothing that it may use is given
 * back, and until it ends DPDK is asked neither for devices nor to let go of any: it is not made for two at a time.
 */
struct job {
	struct port_request request; /* to open: a copy, whose devargs are those below */
	char devargs[PORT_TEXT_SIZE];
	struct port port;
	bool remove;                 /* to close: let go of the device too */
	int error;
	struct refusal why;
};

static atomic_int jobs_late;           /* control counts up, the thread down; -1 for a moment if it was the faster */
static char late_port[PORT_TEXT_SIZE]; /* control only */

bool
port_stuck(void)
{
	return atomic_load(&jobs_late) > 0;
}

static void
job_ended(struct job *job)
{
	atomic_fetch_sub(&jobs_late, 1);
	free(job);
}

/* @param name  of the port, in the caller's memory: a job that is late may be gone at once. */
static int
job_run(const struct bounded_call *call, struct job *job, const char *name)
{
	int error = bounded_run(call, job, DRIVER_LIMIT_MS);

	if (error != -ETIMEDOUT)
		return error;
	snprintf(late_port, sizeof(late_port), "%s", name);
	atomic_fetch_add(&jobs_late, 1);
	return error;
}

static void
open_run(void *ctx)
{
	struct job *job = ctx;

	job->error = device_open(&job->request, &job->port, &job->why);
}

static void
open_late(void *ctx)
{
	struct job *job = ctx;

	if (!job->error)
		device_close(&job->port, true);
	job_ended(job);
}

static int
eth_open(const struct port_request *request, struct port *port, struct refusal *why)
{
	static const struct bounded_call call = { open_run, open_late };
	struct job *job = calloc(1, sizeof(*job));
	int error;

	if (!job)
		return refuse(why, -ENOMEM, "no memory for port %.128s", request->name);
	job->request = *request;
	snprintf(job->devargs, sizeof(job->devargs), "%s", request->name);
	job->request.name = job->devargs;
	job->port = *port;
	error = job_run(&call, job, request->name);
	if (error == -ETIMEDOUT)
		return refuse(why, error, "port %.128s: its driver has not answered for %d s", request->name,
			      DRIVER_LIMIT_MS / 1000);
	if (error)
		refuse(why, error, "port %.128s: no thread to open it: %s", request->name, strerror(-error));
	else if (job->error)
		refuse(why, error = job->error, "%s", job->why.text);
	else
		*port = job->port;
	free(job);
	return error;
}

static void
close_run(void *ctx)
{
	struct job *job = ctx;

	device_close(&job->port, job->remove);
}

static void
close_late(void *ctx)
{
	job_ended(ctx);
}

static int
eth_close(struct port *port)
{
	static const struct bounded_call call = { close_run, close_late };
	struct job *job = calloc(1, sizeof(*job));
	int error;

	if (!job)
		return -ENOMEM;
	job->port = *port;
	job->remove = !port_stuck();
	error = job_run(&call, job, port->claim.device);
	if (error == -ETIMEDOUT)
		return error;
	if (error)
		close_run(job); /* there is no thread to wait for */
	free(job);
	return 0;
}

static int
eth_describe(const char *devargs, struct claim *claim, struct refusal *why)
{
	const size_t length = strcspn(devargs, ",");
	char address[PCI_PRI_STR_SIZE];

	if (port_stuck())
		return refuse(why, -EBUSY, "port %.128s: DPDK still waits for the driver of %.128s: start vmqd again",
			      devargs, late_port);
	if (length >= sizeof(claim->device))
		return refuse(why, -EINVAL, "port %.128s: no device has so long a name", devargs);
	snprintf(claim->device, sizeof(claim->device), "%.*s", (int)length, devargs);
	if (pci_address(claim->device, address))
		snprintf(claim->device, sizeof(claim->device), "%s", address);
	else if (if_nametoindex(claim->device))
		return refuse(why, -EINVAL, "port %.128s: an interface is taken with if=%s", devargs, claim->device);
	return interface_find(devargs, &claim->ifindex, why);
}

/* Where no card is behind the port nothing can hang. @return ms since a question that is not answered yet; 0: none. */
static unsigned
card_read(const struct port *port, struct card_answer *card)
{
	*card = (struct card_answer){ 0 };
	if (port->watch)
		return watch_read(port->watch, card);
	card_ask(port->id, card);
	return 0;
}

static void
eth_link(const struct port *port, struct nic_link *link)
{
	struct card_answer card;
	const unsigned waited_ms = card_read(port, &card);

	*link = card.link;
	link->silent = waited_ms >= DRIVER_LIMIT_MS;
}

static void
eth_losses(const struct port *port, struct nic_losses *losses)
{
	struct card_answer card;

	card_read(port, &card);
	*losses = card.losses;
}

static uint16_t
eth_rx(const struct port *port, uint16_t queue, struct rte_mbuf **frames, uint16_t n)
{
	return rte_eth_rx_burst(port->id, queue, frames, n);
}

/* Cards begin anew with the flags of TCP in each frame, so CWR would be in all. Extension headers not all can step over. */
static bool
eth_takes(const struct port *port, const struct rte_mbuf *frame)
{
	return !(gso_kinds(frame) & ~port->cuts) && frame->nb_segs < port->pieces_max &&
	       (gso_kinds(frame) != GSO_TCP6 || frame->l3_len == sizeof(struct rte_ipv6_hdr));
}

static void
tell_card(struct rte_mbuf *frame)
{
	frame->ol_flags |= gso_kinds(frame) == GSO_TCP6 ? RTE_MBUF_F_TX_IPV6 :
							  RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	frame->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
}

/* @return how many of the leading frames the card can send; plain frames it always can. */
static uint16_t
prepare(const struct port *port, uint16_t queue, struct rte_mbuf **frames, uint16_t n)
{
	bool any = false;

	for (uint16_t i = 0; i < n; i++) {
		if (likely(!frame_is_gso(frames[i])))
			continue;
		any = true;
		tell_card(frames[i]);
	}
	return any ? rte_eth_tx_prepare(port->id, queue, frames, n) : n;
}

static uint16_t
eth_tx(const struct port *port, uint16_t queue, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	const uint16_t ready = port->cuts ? prepare(port, queue, frames, n) : n;
	const uint16_t sent = rte_eth_tx_burst(port->id, queue, frames, ready);

	*rest = sent == ready ? DROP_TOO_BIG : DROP_TX_FULL;
	return sent;
}

const struct port_ops eth_port_ops = {
	.buffer_bytes = eth_buffer_bytes,
	.describe = eth_describe,
	.open = eth_open,
	.close = eth_close,
	.link = eth_link,
	.losses = eth_losses,
	.rx = eth_rx,
	.tx = eth_tx,
	.takes = eth_takes,
};
