/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/message.h"

#include "model/offload.h"
#include "util/mac.h"
#include "vhost/call.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <rte_common.h>
#include <string.h>
#include <unistd.h>

enum {
	PAIRS = 1,                   /* of rings, that are served */
	LOG_BYTES_MAX = 1 << 30,     /* for 32 TiB of guest memory */
	MTU_MIN = 68,
	MTU_MAX = UINT16_MAX,
};

#define BIT(number) (UINT64_C(1) << (number))

#define OFFLOAD_ROW(word, bit, needs) { bit, #word },

/* What is offered is served. */
static const struct {
	unsigned bit;
	const char *name;
} features[] = {
	VM_OFFLOADS(OFFLOAD_ROW) /* unless the operator wants them not to be */
	{ VIRTIO_NET_F_MTU, "mtu" },
	{ VIRTIO_NET_F_MAC, "mac" },
	{ VIRTIO_NET_F_STATUS, "status" },
	{ VIRTIO_NET_F_SPEED_DUPLEX, "speed_duplex" },
	{ VIRTIO_NET_F_MRG_RXBUF, "mrg_rxbuf" },
	{ VIRTIO_NET_F_CTRL_VQ, "ctrl_vq" },
	{ VIRTIO_NET_F_CTRL_RX, "ctrl_rx" },
	{ VIRTIO_NET_F_CTRL_VLAN, "ctrl_vlan" },
	{ VIRTIO_NET_F_CTRL_MAC_ADDR, "ctrl_mac_addr" },
	{ VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, "ctrl_guest_offloads" },
	{ VIRTIO_NET_F_GUEST_ANNOUNCE, "guest_announce" },
	{ VHOST_F_LOG_ALL, "log_all" },
	{ VIRTIO_F_ANY_LAYOUT, "any_layout" },
	{ VIRTIO_RING_F_INDIRECT_DESC, "indirect_desc" },
	{ VIRTIO_RING_F_EVENT_IDX, "event_idx" },
	{ FEATURE_PROTOCOL, "protocol_features" },
	{ VIRTIO_F_VERSION_1, "version_1" },
	{ VIRTIO_F_IN_ORDER, "in_order" },
};

_Static_assert(RTE_DIM(features) <= VM_FEATURES_MAX, "a status has room for all names");

/*
 * There is nothing that we ask a front-end for; but user-mode Linux 6.1 sets up no interrupt for its rings unless it has
 * the channel for such requests. So the channel is taken, and kept.
 */
static const uint64_t protocol_features = BIT(PROTOCOL_MQ) | BIT(PROTOCOL_LOG_SHMFD) | BIT(PROTOCOL_RARP) |
					  BIT(PROTOCOL_REPLY_ACK) | BIT(PROTOCOL_NET_MTU) |
					  BIT(PROTOCOL_BACKEND_REQUEST) | BIT(PROTOCOL_STATUS);

/* Where a message names a ring. */
enum ring_field { NAMES_NO_RING, NAMES_RING, NAMES_RING_OF_FILE };

enum {
	REPLIES = 1 << 0,
	CHANGES_RINGS = 1 << 1,
};

struct kind {
	const char *name;
	uint16_t bytes_min, bytes_max; /* of the payload */
	uint8_t files_max;
	uint8_t flags;
	enum ring_field ring;
	int (*handle)(struct guest *guest, struct message *message, struct refusal *why);
};

uint64_t
message_features_offered(uint64_t offloads)
{
	uint64_t offered = 0;

	for (size_t i = 0; i < RTE_DIM(features); i++)
		offered |= BIT(features[i].bit);
	return offered & (offloads | ~VM_OFFLOADS_ALL);
}

void
message_feature_names(uint64_t bits, const char *names[VM_FEATURES_MAX + 1])
{
	for (size_t i = 0; i < RTE_DIM(features); i++)
		if (bits & BIT(features[i].bit))
			*names++ = features[i].name;
	*names = NULL;
}

static void
reply_number(struct message *message, uint64_t number)
{
	message->bytes = sizeof(message->number);
	message->number = number;
}

static int
nothing_to_do(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)guest;
	(void)message;
	(void)why;
	return 0;
}

/*
 * A driver reads its address, link and speed from its configuration, which QEMU has itself for network devices, and warns
 * of at each start if a back end offers it. QEMU asks what there is before it takes a device, others (user-mode Linux,
 * crosvm) after; so it is offered to those.
 */
static uint64_t
offered_to(const struct guest *guest)
{
	uint64_t offered = message_features_offered(guest->offloads);

	if (!guest->owned)
		offered &= ~(BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_SPEED_DUPLEX));
	if (!mac_load(guest->config.mac))
		offered &= ~BIT(VIRTIO_NET_F_MAC);
	return offered;
}

static int
set_owner(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)message;
	(void)why;
	guest->owned = !guest->offered;
	return 0;
}

static int
get_features(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)why;
	guest->offered = offered_to(guest);
	reply_number(message, guest->offered);
	return 0;
}

/*
 * While it runs a guest can only begin and end to have its writes logged: a ring's form depends on all others. What it was
 * offered it may take, whatever became of its filters meanwhile.
 */
static int
set_features(struct guest *guest, struct message *message, struct refusal *why)
{
	uint64_t unknown = message->number & ~(guest->offered ? guest->offered : offered_to(guest));

	if (unknown)
		return refuse(why, -ENOTSUP, "it took virtio features that were not offered: %#" PRIx64, unknown);
	if (guest->complete && (guest->features ^ message->number) & ~BIT(VHOST_F_LOG_ALL))
		return refuse(why, -EBUSY, "it changed its virtio features while its rings are in use");
	guest->features = message->number;
	return 0;
}

static uint64_t
protocol_offered_to(const struct guest *guest)
{
	return protocol_features | (guest->owned ? BIT(PROTOCOL_CONFIG) : 0);
}

static int
get_protocol_features(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)why;
	reply_number(message, protocol_offered_to(guest));
	return 0;
}

static int
set_protocol_features(struct guest *guest, struct message *message, struct refusal *why)
{
	uint64_t unknown = message->number & ~protocol_offered_to(guest);

	if (unknown)
		return refuse(why, -ENOTSUP, "it took protocol features that were not offered: %#" PRIx64, unknown);
	guest->protocol_features = message->number;
	return 0;
}

static int
get_queue_num(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)guest;
	(void)why;
	reply_number(message, PAIRS);
	return 0;
}

static int
reset(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)message;
	(void)why;
	guest_reset(guest);
	return 0;
}

static int
set_mem_table(struct guest *guest, struct message *message, struct refusal *why)
{
	uint32_t count = message->memory.count;

	if (count > MESSAGE_FILES_MAX)
		return refuse(why, -EINVAL, "it has %u memory regions, and at most %d are served", count,
			      MESSAGE_FILES_MAX);
	if ((uint32_t)message->file_count != count ||
	    message->bytes < offsetof(struct message, memory.regions[count]) - offsetof(struct message, memory))
		return refuse(why, -EINVAL, "its memory table of %u regions has %d files and %u bytes", count,
			      message->file_count, message->bytes);
	return guest_memory_map(&guest->memory, guest->guard, message->memory.regions, message->files, count, why);
}

/* Huge pages would have to be replaced as a whole if they vanished: a log is a bit for each page and needs none. */
static int
set_log_base(struct guest *guest, struct message *message, struct refusal *why)
{
	guest_file_unmap(&guest->log_mapping, guest->guard);
	guest->log.bits = NULL;
	if (message->file_count != 1 || message->log.bytes > LOG_BYTES_MAX)
		return refuse(why, -EINVAL, "its dirty log has %d files and %" PRIu64 " bytes", message->file_count,
			      message->log.bytes);
	guest->log.bytes = message->log.bytes;
	guest->log.bits = guest_file_map(&guest->log_mapping, guest->guard, message->files[0], message->log.offset,
					 message->log.bytes, false, why);
	message->bytes = 0;
	return guest->log.bits ? 0 : -EINVAL;
}

static int
set_vring_num(struct guest *guest, struct message *message, struct refusal *why)
{
	uint32_t entries = message->state.number;

	if (!entries || entries > RING_ENTRIES_MAX || entries & (entries - 1))
		return refuse(why, -EINVAL, "a ring of %u entries: it has to be a power of two, at most %d", entries,
			      RING_ENTRIES_MAX);
	guest->setups[message->state.ring].entries = entries;
	return 0;
}

static int
set_vring_addr(struct guest *guest, struct message *message, struct refusal *why)
{
	struct ring_setup *setup = &guest->setups[message->address.ring];

	(void)why;
	setup->descriptors = message->address.descriptors;
	setup->available = message->address.available;
	setup->used = message->address.used;
	setup->used_log = message->address.flags & RING_LOGS_USED ? message->address.log : 0;
	setup->addressed = true;
	return 0;
}

static int
set_vring_base(struct guest *guest, struct message *message, struct refusal *why)
{
	struct ring_setup *setup = &guest->setups[message->state.ring];

	(void)why;
	setup->available_next = setup->used_next = (uint16_t)message->state.number;
	setup->resumed = false;
	return 0;
}

static void
keep_file(int *kept, struct message *message)
{
	if (*kept >= 0)
		close(*kept);
	*kept = message->file_count ? message->files[0] : -1;
	message->files[0] = -1;
}

/* It stops here: buffers that were taken were given back, so one number says all. */
static int
get_vring_base(struct guest *guest, struct message *message, struct refusal *why)
{
	struct ring_setup *setup = &guest->setups[message->state.ring];

	(void)why;
	message->file_count = 0;
	keep_file(&setup->kick, message);
	setup->started = false;
	setup->resumed = false;
	guest->complete = false;
	message->bytes = sizeof(message->state);
	message->state.number = setup->available_next;
	return 0;
}

/* Whether the descriptor of a ring is there if it is said to be, and something that can carry signals. */
static int
signal_check(const struct message *message, struct refusal *why)
{
	bool none = message->number & MESSAGE_RING_HAS_NO_FILE;

	if (message->file_count != !none)
		return refuse(why, -EINVAL, "%d descriptors came where there should be %d", message->file_count, !none);
	if (!none && !call_is_sound(message->files[0]))
		return refuse(why, -EINVAL,
			      "a descriptor to signal with is no eventfd, pipe or one of a pair of sockets");
	return 0;
}

/* Nobody reads or writes it in a way that could wait; this is for what a program of the guest's makes of it. */
static void
make_nonblocking(const struct message *message)
{
	int flags = message->file_count ? fcntl(message->files[0], F_GETFL) : -1;

	if (flags >= 0 && !(flags & O_NONBLOCK))
		fcntl(message->files[0], F_SETFL, flags | O_NONBLOCK);
}

static int
set_vring_kick(struct guest *guest, struct message *message, struct refusal *why)
{
	struct ring_setup *setup = &guest->setups[message->number & MESSAGE_RING_MASK];
	int error = signal_check(message, why);

	if (error)
		return error;
	make_nonblocking(message);
	keep_file(&setup->kick, message);
	setup->started = true;
	return 0;
}

static int
set_vring_call(struct guest *guest, struct message *message, struct refusal *why)
{
	int error = signal_check(message, why);

	if (error)
		return error;
	make_nonblocking(message);
	keep_file(&guest->setups[message->number & MESSAGE_RING_MASK].call, message);
	return 0;
}

static int
set_vring_enable(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)why;
	guest->setups[message->state.ring].enabled = message->state.number;
	return 0;
}

static int
send_rarp(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)why;
	memcpy(guest->announced.addr_bytes, message->mac, sizeof(message->mac));
	guest->announces = true;
	return 0;
}

static int
net_set_mtu(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)guest;
	if (message->number < MTU_MIN || message->number > MTU_MAX)
		return refuse(why, -EINVAL, "an MTU of %" PRIu64, message->number);
	return 0;
}

static int
set_backend_request(struct guest *guest, struct message *message, struct refusal *why)
{
	if (message->file_count != 1)
		return refuse(why, -EINVAL, "its channel for requests comes without a descriptor");
	keep_file(&guest->channel, message);
	return 0;
}

/* Rings stay as they are: a front-end that stops resets the status first, and asks where they stand then. */
static int
set_status(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)why;
	guest->status = (uint8_t)message->number;
	if (!(guest->status & STATUS_DRIVER_OK))
		guest->complete = false;
	return 0;
}

static int
get_status(struct guest *guest, struct message *message, struct refusal *why)
{
	(void)why;
	reply_number(message, guest->status);
	return 0;
}

enum {
	NUMBER = sizeof(((struct message *)0)->number),
	STATE = sizeof(((struct message *)0)->state),
	ADDRESS = sizeof(((struct message *)0)->address),
	TABLE_MIN = offsetof(struct message, memory.regions) - offsetof(struct message, memory),
	TABLE_MAX = sizeof(((struct message *)0)->memory),
	LOG = sizeof(((struct message *)0)->log),
	CONFIG_MIN = offsetof(struct message, config.region) - offsetof(struct message, config),
	CONFIG_MAX = sizeof(((struct message *)0)->config),
};

/* All of it is only to be read. Source: VIRTIO 1.2, 5.1.4. What is asked for behind it is zeroes. */
static int
get_config(struct guest *guest, struct message *message, struct refusal *why)
{
	const uint32_t offset = message->config.offset, bytes = message->config.bytes;
	uint8_t all[2 * sizeof(message->config.region)] = { 0 };

	if (!(guest->protocol_features & BIT(PROTOCOL_CONFIG)))
		return refuse(why, -EPROTO, "it asked for a configuration that it did not agree to have");
	if (bytes > sizeof(message->config.region) || offset > sizeof(message->config.region) ||
	    message->bytes != CONFIG_MIN + bytes)
		return refuse(why, -EPROTO, "it asked for %u bytes at %u of its configuration", bytes, offset);
	memcpy(all, &guest->config, sizeof(guest->config));
	memcpy(message->config.region, all + offset, bytes);
	return 0;
}

#define RINGS CHANGES_RINGS

static const struct kind kinds[REQUEST_COUNT] = {
	[GET_FEATURES] = { "GET_FEATURES", 0, 0, 0, REPLIES, NAMES_NO_RING, get_features },
	[SET_FEATURES] = { "SET_FEATURES", NUMBER, NUMBER, 0, RINGS, NAMES_NO_RING, set_features },
	[SET_OWNER] = { "SET_OWNER", 0, 0, 0, 0, NAMES_NO_RING, set_owner },
	[RESET_OWNER] = { "RESET_OWNER", 0, 0, 0, RINGS, NAMES_NO_RING, reset },
	[SET_MEM_TABLE] = { "SET_MEM_TABLE", TABLE_MIN, TABLE_MAX, MESSAGE_FILES_MAX, RINGS, NAMES_NO_RING, set_mem_table },
	[SET_LOG_BASE] = { "SET_LOG_BASE", LOG, LOG, 1, RINGS | REPLIES, NAMES_NO_RING, set_log_base },
	[SET_LOG_FD] = { "SET_LOG_FD", 0, NUMBER, 1, 0, NAMES_NO_RING, nothing_to_do },
	[SET_VRING_NUM] = { "SET_VRING_NUM", STATE, STATE, 0, RINGS, NAMES_RING, set_vring_num },
	[SET_VRING_ADDR] = { "SET_VRING_ADDR", ADDRESS, ADDRESS, 0, RINGS, NAMES_RING, set_vring_addr },
	[SET_VRING_BASE] = { "SET_VRING_BASE", STATE, STATE, 0, RINGS, NAMES_RING, set_vring_base },
	[GET_VRING_BASE] = { "GET_VRING_BASE", STATE, STATE, 0, RINGS | REPLIES, NAMES_RING, get_vring_base },
	[SET_VRING_KICK] = { "SET_VRING_KICK", NUMBER, NUMBER, 1, RINGS, NAMES_RING_OF_FILE, set_vring_kick },
	[SET_VRING_CALL] = { "SET_VRING_CALL", NUMBER, NUMBER, 1, RINGS, NAMES_RING_OF_FILE, set_vring_call },
	[SET_VRING_ERR] = { "SET_VRING_ERR", NUMBER, NUMBER, 1, 0, NAMES_RING_OF_FILE, nothing_to_do },
	[GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", 0, 0, 0, REPLIES, NAMES_NO_RING, get_protocol_features },
	[SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", NUMBER, NUMBER, 0, 0, NAMES_NO_RING, set_protocol_features },
	[GET_QUEUE_NUM] = { "GET_QUEUE_NUM", 0, 0, 0, REPLIES, NAMES_NO_RING, get_queue_num },
	[SET_VRING_ENABLE] = { "SET_VRING_ENABLE", STATE, STATE, 0, RINGS, NAMES_RING, set_vring_enable },
	[SEND_RARP] = { "SEND_RARP", NUMBER, NUMBER, 0, RINGS, NAMES_NO_RING, send_rarp },
	[NET_SET_MTU] = { "NET_SET_MTU", NUMBER, NUMBER, 0, 0, NAMES_NO_RING, net_set_mtu },
	[SET_BACKEND_REQUEST] = { "SET_BACKEND_REQUEST", 0, NUMBER, 1, 0, NAMES_NO_RING, set_backend_request },
	[GET_CONFIG] = { "GET_CONFIG", CONFIG_MIN, CONFIG_MAX, 0, REPLIES, NAMES_NO_RING, get_config },
	[SET_STATUS] = { "SET_STATUS", NUMBER, NUMBER, 0, RINGS, NAMES_NO_RING, set_status },
	[GET_STATUS] = { "GET_STATUS", 0, 0, 0, REPLIES, NAMES_NO_RING, get_status },
};

#undef RINGS

void
message_clear(struct message *message)
{
	message->received = 0;
	message->file_count = 0;
}

void
message_drop_files(struct message *message)
{
	for (int i = 0; i < message->file_count; i++)
		if (message->files[i] >= 0)
			close(message->files[i]);
	message->file_count = 0;
}

static const struct kind *
kind_of(const struct message *message)
{
	return message->request < REQUEST_COUNT && kinds[message->request].handle ? &kinds[message->request] : NULL;
}

int
message_check_head(const struct message *message, struct refusal *why)
{
	const struct kind *kind = kind_of(message);

	if ((message->flags & MESSAGE_VERSION_MASK) != MESSAGE_VERSION)
		return refuse(why, -EPROTO, "what it says is not vhost-user, or of another version");
	if (!kind)
		return refuse(why, -EPROTO, "it sent request %u, which was not offered", message->request);
	if (message->bytes < kind->bytes_min || message->bytes > kind->bytes_max)
		return refuse(why, -EPROTO, "its %s has %u bytes", kind->name, message->bytes);
	return 0;
}

bool
message_changes_rings(const struct message *message)
{
	return kind_of(message)->flags & CHANGES_RINGS;
}

static int
message_check(const struct guest *guest, const struct kind *kind, const struct message *message, struct refusal *why)
{
	uint64_t ring = 0;

	if (kind->ring == NAMES_RING)
		ring = message->state.ring;
	else if (kind->ring == NAMES_RING_OF_FILE)
		ring = message->number & MESSAGE_RING_MASK;
	if (message->file_count > kind->files_max)
		return refuse(why, -EPROTO, "its %s came with %d files", kind->name, message->file_count);
	if (ring >= guest_ring_count(guest))
		return refuse(why, -EPROTO, "its %s is for ring %" PRIu64 ": %d queue pair of 2 rings is served%s",
			      kind->name, ring, PAIRS,
			      guest_ring_count(guest) == GUEST_RINGS ? "" : ", and its control queue");
	return 0;
}

int
message_handle(struct guest *guest, struct message *message, struct refusal *why)
{
	const struct kind *kind = kind_of(message);
	bool wants_reply = message->flags & MESSAGE_NEED_REPLY, replies = kind->flags & REPLIES;
	int error = message_check(guest, kind, message, why);

	if (!error)
		error = kind->handle(guest, message, why);
	message_drop_files(message);
	if (error)
		return error;
	if (!replies && wants_reply)
		reply_number(message, 0);
	message->flags = MESSAGE_VERSION | MESSAGE_REPLY;
	return replies || wants_reply;
}
