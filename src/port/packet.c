/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/packet.h"

#include "port/ethtool.h"
#include "port/vnet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <rte_memcpy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	PAGE_BYTES = 4096,
	SLOT_OVERHEAD = 128,           /* the kernel's headers before a frame in a ring, at most */
	RX_RING_BYTES = 8 << 20,       /* 4096 frames of MTU 1500, a burst of a fast sender while a worker is away */
	TX_RING_BYTES = 2 << 20,       /* for each worker; sent before the worker goes on, as a rule */
	GSO_BYTES_MAX = 65536,         /* of a frame that an interface cuts; not quite so many */
	LONG_FRAMES_BYTES = 16 << 20,  /* of frames longer than a slot, which wait in the socket */
	DATA_IN_TX_SLOT = TPACKET2_HDRLEN - sizeof(struct sockaddr_ll),
};

/* A ring of fixed slots that kernel and worker pass to each other by a status in each slot's header. */
struct ring {
	uint8_t *slots;
	uint32_t slot_bytes, count; /* powers of two */
	uint32_t next;
};

struct packet_tx {
	int fd;
	int gso_fd;                    /* for frames that the interface cuts: no slot has room for them */
	struct ring ring;
} __rte_cache_aligned;

struct packet {
	int fd;
	struct ring ring;
	struct vnet vnet;
	_Atomic bool cuts; /* the interface does, if it is given GSO frames of TCP; control writes */
	uint64_t missed; /* control only */
	uint16_t tx_count;
	struct packet_tx tx[];
};

static uint32_t
packet_buffer_bytes(const char *name, uint16_t mtu)
{
	(void)name;
	return RTE_MAX((uint32_t)RTE_ALIGN_CEIL(mtu + PORT_FRAME_OVERHEAD, 64), 2048U);
}

static int
packet_describe(const char *name, struct claim *claim, struct refusal *why)
{
	const char *ifname = name + strlen(PACKET_PORT_PREFIX);

	if (!*ifname)
		return refuse(why, -EINVAL, "port %.128s needs an interface: if=NAME", name);
	claim->ifindex = strlen(ifname) < IF_NAMESIZE ? if_nametoindex(ifname) : 0;
	if (!claim->ifindex)
		return refuse(why, -ENODEV, "port %.128s: there is no interface %.64s", name, ifname);
	snprintf(claim->device, sizeof(claim->device), "%s", name);
	return 0;
}

static int
set_int(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) ? -errno : 0;
}

/* @param bytes  of the whole ring. @return 0; -errno. */
static int
ring_map(struct ring *ring, int fd, int option, uint16_t mtu, uint32_t bytes)
{
	struct tpacket_req request;
	void *map;

	ring->slot_bytes = rte_align32pow2(mtu + PORT_FRAME_OVERHEAD + SLOT_OVERHEAD);
	ring->count = bytes / ring->slot_bytes;
	request = (struct tpacket_req){
		.tp_block_size = RTE_MAX(ring->slot_bytes, (uint32_t)PAGE_BYTES * 16),
		.tp_frame_size = ring->slot_bytes,
		.tp_frame_nr = ring->count,
	};
	request.tp_block_nr = bytes / request.tp_block_size;
	if (set_int(fd, PACKET_VERSION, TPACKET_V2) || setsockopt(fd, SOL_PACKET, option, &request, sizeof(request)))
		return -errno;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	ring->slots = map;
	return 0;
}

static void
ring_unmap(struct ring *ring)
{
	if (ring->slots)
		munmap(ring->slots, (size_t)ring->slot_bytes * ring->count);
}

static inline struct tpacket2_hdr *
ring_slot(const struct ring *ring, uint32_t index)
{
	return (struct tpacket2_hdr *)(ring->slots + (size_t)(index & (ring->count - 1)) * ring->slot_bytes);
}

static inline uint32_t
slot_status(const struct tpacket2_hdr *slot)
{
	return __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
}

static inline void
slot_pass(struct tpacket2_hdr *slot, uint32_t status)
{
	__atomic_store_n(&slot->tp_status, status, __ATOMIC_RELEASE);
}

static int
attach(int fd, unsigned ifindex, uint16_t protocol)
{
	const struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = (int)ifindex,
	};

	return bind(fd, (const struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

static int
rx_attach(int fd, unsigned ifindex)
{
	const struct packet_mreq all = { .mr_ifindex = (int)ifindex, .mr_type = PACKET_MR_PROMISC };

	if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)))
		return -errno;
	return attach(fd, ifindex, ETH_P_ALL);
}

/* What a buffer of the socket should be; more than anyone may have without privilege. */
static void
set_buffer(int fd, int forced, int option, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes));
}

static int
rx_open(struct packet *packet, unsigned ifindex, uint16_t mtu)
{
	int error;

	packet->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (packet->fd < 0)
		return -errno;
	set_buffer(packet->fd, SO_RCVBUFFORCE, SO_RCVBUF, LONG_FRAMES_BYTES);
	error = set_int(packet->fd, PACKET_VNET_HDR, 1);
	if (!error)
		error = set_int(packet->fd, PACKET_COPY_THRESH, 1); /* a frame longer than a slot waits in the socket */
	if (!error)
		error = set_int(packet->fd, PACKET_IGNORE_OUTGOING, 1);
	if (!error)
		error = ring_map(&packet->ring, packet->fd, PACKET_RX_RING, mtu, RX_RING_BYTES);
	return error ? error : rx_attach(packet->fd, ifindex);
}

static int
tx_open(struct packet_tx *tx, unsigned ifindex, uint16_t mtu)
{
	int error;

	tx->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (tx->fd < 0)
		return -errno;
	set_buffer(tx->fd, SO_SNDBUFFORCE, SO_SNDBUF, TX_RING_BYTES);
	error = set_int(tx->fd, PACKET_QDISC_BYPASS, 1);
	if (!error)
		error = ring_map(&tx->ring, tx->fd, PACKET_TX_RING, mtu, TX_RING_BYTES);
	return error ? error : attach(tx->fd, ifindex, 0);
}

static int
gso_open(struct packet_tx *tx, unsigned ifindex)
{
	int error;

	tx->gso_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (tx->gso_fd < 0)
		return -errno;
	set_buffer(tx->gso_fd, SO_SNDBUFFORCE, SO_SNDBUF, TX_RING_BYTES);
	error = set_int(tx->gso_fd, PACKET_QDISC_BYPASS, 1); /* in order with the ring's */
	if (!error)
		error = set_int(tx->gso_fd, PACKET_VNET_HDR, 1);
	return error ? error : attach(tx->gso_fd, ifindex, 0);
}

static void
packet_free(struct packet *packet)
{
	for (uint16_t i = 0; i < packet->tx_count; i++) {
		ring_unmap(&packet->tx[i].ring);
		if (packet->tx[i].fd >= 0)
			close(packet->tx[i].fd);
		if (packet->tx[i].gso_fd >= 0)
			close(packet->tx[i].gso_fd);
	}
	ring_unmap(&packet->ring);
	if (packet->fd >= 0)
		close(packet->fd);
	vnet_release(&packet->vnet);
	free(packet);
}

static struct packet *
packet_new(const struct port_request *request)
{
	const size_t size = sizeof(struct packet) + request->tx * sizeof(struct packet_tx);
	struct packet *packet = aligned_alloc(RTE_CACHE_LINE_SIZE, size);

	if (!packet)
		return NULL;
	memset(packet, 0, size);
	packet->fd = -1;
	packet->tx_count = request->tx;
	for (uint16_t i = 0; i < packet->tx_count; i++)
		packet->tx[i].fd = packet->tx[i].gso_fd = -1;
	vnet_init(&packet->vnet, request->pools[0]);
	return packet;
}

static int
refuse_packet(const struct port_request *request, int error, struct refusal *why)
{
	if (error == -EPERM)
		return refuse(why, error, "port %.128s: vmqd may not open packet sockets: it needs CAP_NET_RAW",
			      request->name);
	return refuse(why, error, "port %.128s does not open: %s", request->name, strerror(-error));
}

static int
packet_open(const struct port_request *request, struct port *port, struct refusal *why)
{
	const unsigned ifindex = port->claim.ifindex;
	struct packet *packet;
	int error;

	if (request->mtu > MTU_MAX)
		return refuse(why, -ERANGE, "port %.128s takes an MTU of at most %d, not %u", request->name, MTU_MAX,
			      request->mtu);
	packet = packet_new(request);
	if (!packet)
		return refuse(why, -ENOMEM, "no memory for port %.128s", request->name);
	error = rx_open(packet, ifindex, request->mtu);
	for (uint16_t i = 0; !error && i < packet->tx_count; i++) {
		error = tx_open(&packet->tx[i], ifindex, request->mtu);
		if (!error)
			error = gso_open(&packet->tx[i], ifindex);
	}
	if (error) {
		packet_free(packet);
		return refuse_packet(request, error, why);
	}
	port->packet = packet;
	port->ifindex = ifindex;
	port->mtu_max = MTU_MAX;
	port->rx_queues = 1;
	port->tx_queues = packet->tx_count;
	port->wake_fds[0] = packet->fd;
	port->wake_fd_count = 1;
	return 0;
}

static int
packet_close(struct port *port)
{
	packet_free(port->packet);
	return 0;
}

static void
packet_link(const struct port *port, struct nic_link *link)
{
	struct ethtool_cmd speed = { .cmd = ETHTOOL_GSET };
	struct ifreq request = { 0 };

	if (!if_indextoname(port->ifindex, request.ifr_name))
		return;
	port->packet->cuts = ethtool_cuts_tcp(port->packet->fd, request.ifr_name);
	if (!ioctl(port->packet->fd, SIOCGIFHWADDR, &request))
		link->mac = mac_load((const uint8_t *)request.ifr_hwaddr.sa_data);
	request.ifr_data = (void *)&speed;
	if (!ioctl(port->packet->fd, SIOCETHTOOL, &request) && ethtool_cmd_speed(&speed) != (uint32_t)SPEED_UNKNOWN)
		link->speed_mbps = ethtool_cmd_speed(&speed);
}

/* The kernel's count starts anew each time that it is asked. */
static void
packet_losses(const struct port *port, struct nic_losses *losses)
{
	struct packet *packet = port->packet;
	struct tpacket_stats stats = { 0 };
	socklen_t size = sizeof(stats);

	getsockopt(packet->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size);
	packet->missed += stats.tp_drops;
	losses->rx_missed = packet->missed;
	losses->rx_errors = atomic_load_explicit(&packet->vnet.refused, memory_order_relaxed);
}

/* A frame longer than its slot waits whole in the socket, in the order of the slots. @return NULL: it is not to be had. */
static struct rte_mbuf *
read_long(struct packet *packet, struct virtio_net_hdr *header)
{
	struct iovec places[1 + VNET_PIECES] = { { header, sizeof(*header) } };
	struct msghdr message = { .msg_iov = places, .msg_iovlen = RTE_DIM(places) };
	ssize_t length;

	if (!vnet_room(&packet->vnet, places + 1))
		return NULL;
	length = recvmsg(packet->fd, &message, MSG_DONTWAIT);
	/* An interface that went down is told once, in place of a frame. */
	if (length < 0 && errno != EAGAIN)
		length = recvmsg(packet->fd, &message, MSG_DONTWAIT);
	if (length <= (ssize_t)sizeof(*header) || message.msg_flags & MSG_TRUNC)
		return NULL;
	return vnet_frame(&packet->vnet, (uint32_t)length - (uint32_t)sizeof(*header));
}

/* @return NULL: no buffer is left, or none holds the frame. */
static inline struct rte_mbuf *
read_slot(struct packet *packet, const struct tpacket2_hdr *slot, const uint8_t *bytes)
{
	struct rte_mbuf *frame = rte_pktmbuf_alloc(packet->vnet.pool);
	const uint32_t length = slot->tp_snaplen;

	if (unlikely(!frame))
		return NULL;
	if (unlikely(length < slot->tp_len || length > rte_pktmbuf_tailroom(frame))) {
		rte_pktmbuf_free(frame);
		return NULL;
	}
	rte_memcpy(rte_pktmbuf_mtod(frame, uint8_t *), bytes, length);
	frame->data_len = (uint16_t)length;
	frame->pkt_len = length;
	return frame;
}

/* @return the frame, finished as far as it has to be here; NULL: it is none, and counted as lost. */
static inline struct rte_mbuf *
take_frame(struct packet *packet, const struct tpacket2_hdr *slot)
{
	const uint8_t *bytes = (const uint8_t *)slot + slot->tp_mac;
	const struct virtio_net_hdr *header = (const void *)(bytes - sizeof(*header));
	struct virtio_net_hdr header_of_long;
	struct rte_mbuf *frame;

	if (unlikely(slot->tp_status & TP_STATUS_COPY)) {
		header = &header_of_long;
		frame = read_long(packet, &header_of_long);
	} else {
		frame = read_slot(packet, slot, bytes);
	}
	if (unlikely(!frame)) {
		vnet_refuse(&packet->vnet);
		return NULL;
	}
	if (slot->tp_status & TP_STATUS_VLAN_VALID) {
		frame->ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		frame->vlan_tci = slot->tp_vlan_tci;
	}
	if (unlikely(header->flags || offload_wants_cut(header) || frame->nb_segs > 1))
		return vnet_finish(&packet->vnet, header, frame) ? frame : NULL;
	return frame;
}

static uint16_t
packet_rx(const struct port *port, uint16_t queue, struct rte_mbuf **frames, uint16_t n)
{
	struct packet *packet = port->packet;
	struct ring *ring = &packet->ring;
	uint32_t pieces = 0;
	uint16_t count = 0;

	(void)queue;
	while (count < n && pieces < BURST_PIECES_MAX) {
		struct tpacket2_hdr *slot = ring_slot(ring, ring->next);

		if (!(slot_status(slot) & TP_STATUS_USER))
			break;
		rte_prefetch0(ring_slot(ring, ring->next + 2));
		frames[count] = take_frame(packet, slot);
		if (likely(frames[count]))
			pieces += frame_pieces(frames[count++]);
		slot_pass(slot, TP_STATUS_KERNEL);
		ring->next++;
	}
	return count;
}

static void
put_into_slot(struct tpacket2_hdr *slot, const struct rte_mbuf *frame)
{
	uint8_t *into = (uint8_t *)slot + DATA_IN_TX_SLOT;

	slot->tp_len = frame->pkt_len;
	for (; frame; frame = frame->next) {
		rte_memcpy(into, rte_pktmbuf_mtod(frame, const void *), frame->data_len);
		into += frame->data_len;
	}
	slot_pass(slot, TP_STATUS_SEND_REQUEST);
}

/* @return how many of the n slots from next on now hold frames. */
static uint16_t
fill_slots(struct ring *ring, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t count = 0;

	while (count < n && !frame_is_gso(frames[count]) &&
	       frames[count]->pkt_len <= ring->slot_bytes - DATA_IN_TX_SLOT) {
		struct tpacket2_hdr *slot = ring_slot(ring, ring->next + count);

		if (slot_status(slot) & (TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING))
			break;
		put_into_slot(slot, frames[count++]);
	}
	return count;
}

/*
 * The kernel takes slots in order and stops at one that it cannot send, as if the interface is down or the frame is too
 * long for it. That one and those behind it are taken back, and the next frame goes where the kernel stopped.
 * @return how many it took.
 */
static uint16_t
settle_slots(struct ring *ring, uint16_t n, enum drop_reason *rest)
{
	uint32_t status;
	uint16_t taken = n;

	for (; taken; taken--) {
		status = slot_status(ring_slot(ring, ring->next + taken - 1));
		if (!(status & (TP_STATUS_SEND_REQUEST | TP_STATUS_WRONG_FORMAT)))
			break;
		*rest = status & TP_STATUS_WRONG_FORMAT ? DROP_TOO_BIG : DROP_TX_FULL;
		slot_pass(ring_slot(ring, ring->next + taken - 1), TP_STATUS_AVAILABLE);
	}
	ring->next += taken;
	return taken;
}

static uint16_t
send_slots(struct packet_tx *tx, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	uint16_t sent = fill_slots(&tx->ring, frames, n);

	if (!sent)
		return 0;
	if (send(tx->fd, NULL, 0, MSG_DONTWAIT) < 0 && errno == EINTR)
		send(tx->fd, NULL, 0, MSG_DONTWAIT);
	return settle_slots(&tx->ring, sent, rest);
}

static bool
send_gso(const struct packet_tx *tx, const struct rte_mbuf *frame)
{
	struct iovec pieces[VNET_IOVECS];
	struct virtio_net_hdr header;
	struct msghdr message = { .msg_iov = pieces, .msg_iovlen = vnet_gather(frame, &header, pieces) };

	return sendmsg(tx->gso_fd, &message, MSG_DONTWAIT) > 0;
}

/* The kernel takes less than it could have made itself. Source: Linux, net/core/dev.c, gso_features_check(). */
static bool
packet_takes(const struct port *port, const struct rte_mbuf *frame)
{
	return port->packet->cuts && frame->ol_flags & RTE_MBUF_F_TX_TCP_SEG && frame->pkt_len < GSO_BYTES_MAX;
}

static uint16_t
packet_tx(const struct port *port, uint16_t queue, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	struct packet_tx *tx = &port->packet->tx[queue];
	uint16_t sent = 0, some;

	*rest = DROP_TX_FULL;
	do {
		some = frame_is_gso(frames[sent]) ? send_gso(tx, frames[sent]) :
						    send_slots(tx, frames + sent, n - sent, rest);
		sent += some;
	} while (some && sent < n && (frame_is_gso(frames[sent - 1]) || frame_is_gso(frames[sent])));
	rte_pktmbuf_free_bulk(frames, sent);
	return sent;
}

const struct port_ops packet_port_ops = {
	.buffer_bytes = packet_buffer_bytes,
	.describe = packet_describe,
	.open = packet_open,
	.close = packet_close,
	.link = packet_link,
	.losses = packet_losses,
	.rx = packet_rx,
	.takes = packet_takes,
	.tx = packet_tx,
};
