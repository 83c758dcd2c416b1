/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/ctrl.h"

#include "util/mac.h"
#include "vhost/vring.h"

#include <linux/virtio_net.h>
#include <rte_atomic.h>
#include <stdio.h>

enum {
	COMMAND_BYTES_MAX = 8192, /* room for tables of more than a thousand addresses */
	MAC_BYTES = 6,
	VLAN_MAX = 4094,
};

struct command {
	uint8_t bytes[COMMAND_BYTES_MAX];
	uint32_t length;
	bool too_long;
	struct segment answer; /* where it goes; at NULL: nowhere */
};

/* Whatever may change behind our back is copied first. @return 0; -EFAULT. */
static int
command_read(struct virtqueue *vq, uint16_t head, struct command *command)
{
	struct walk walk = walk_start(vq, head);
	struct segment segment;
	bool writable;
	int found;

	command->length = 0;
	command->too_long = false;
	command->answer.at = NULL;
	while ((found = walk_next_either(vq, &walk, &segment, &writable)) > 0) {
		if (!writable && command->answer.at)
			return ring_fail(vq, RING_FAULT_DIRECTION);
		if (writable) {
			if (!command->answer.at)
				command->answer = segment;
		} else if (segment.bytes > sizeof(command->bytes) - command->length) {
			command->too_long = true;
		} else {
			memcpy(command->bytes + command->length, segment.at, segment.bytes);
			command->length += segment.bytes;
		}
	}
	if (!found && !command->answer.at)
		return ring_fail(vq, RING_FAULT_DIRECTION);
	return found;
}

static bool
refuse_mac(const struct ctrl_rules *rules, uint64_t mac)
{
	char text[MAC_TEXT_SIZE], clause[120];

	mac_format(mac, text);
	snprintf(clause, sizeof(clause), "it wants frames for %s, an address that no filter of its queue has", text);
	rules->refused(rules->ctx, clause);
	return false;
}

/* @return bytes of the table at this place; 0: it ends beyond what there is. */
static uint32_t
table_bytes(const uint8_t *payload, uint32_t length)
{
	uint32_t entries;

	if (length < sizeof(entries))
		return 0;
	memcpy(&entries, payload, sizeof(entries));
	if (entries > (length - sizeof(entries)) / MAC_BYTES)
		return 0;
	return (uint32_t)sizeof(entries) + entries * MAC_BYTES;
}

/* Addresses of its own, then groups. Groups come by VLAN, whichever it wants. */
static bool
set_table(const struct ctrl_rules *rules, const uint8_t *payload, uint32_t length)
{
	const uint32_t own = table_bytes(payload, length);
	const uint32_t groups = own ? table_bytes(payload + own, length - own) : 0;

	if (!groups || own + groups != length)
		return false;
	for (uint32_t at = sizeof(uint32_t); at < own; at += MAC_BYTES) {
		uint64_t mac = mac_load(payload + at);

		if (!rules->owns_mac(rules->ctx, mac))
			return refuse_mac(rules, mac);
	}
	return true;
}

static bool
set_address(const struct ctrl_rules *rules, const uint8_t *payload, uint32_t length)
{
	const uint64_t mac = mac_load(payload);

	(void)length;
	return rules->owns_mac(rules->ctx, mac) || refuse_mac(rules, mac);
}

static bool
add_vlan(const struct ctrl_rules *rules, const uint8_t *payload, uint32_t length)
{
	uint16_t vlan;
	char clause[120];

	(void)length;
	memcpy(&vlan, payload, sizeof(vlan));
	if (vlan <= VLAN_MAX && rules->owns_vlan(rules->ctx, vlan))
		return true;
	snprintf(clause, sizeof(clause), "it wants VLAN %u, which it is not a trunk of", vlan);
	rules->refused(rules->ctx, clause);
	return false;
}

/* What it did not agree to at first it cannot have now. */
static bool
set_offloads(const struct ctrl_rules *rules, const uint8_t *payload, uint32_t length)
{
	uint64_t features;

	(void)length;
	memcpy(&features, payload, sizeof(features));
	return virtqueue_set_takes(rules->receives, features);
}

#define ANY_LENGTH UINT32_MAX

/*
 * Filters and VLANs decide what a VM gets, whatever it wishes: what has no function is agreed to and changes nothing.
 * Who asks a guest to announce itself is its front-end, so its answer to that is nothing to us.
 */
static const struct {
	uint8_t class, command;
	uint32_t bytes; /* of the payload */
	bool (*handle)(const struct ctrl_rules *rules, const uint8_t *payload, uint32_t length);
} commands[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, NULL },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, 1, NULL },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, ANY_LENGTH, set_table },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, MAC_BYTES, set_address },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, sizeof(uint16_t), add_vlan },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, sizeof(uint16_t), NULL },
	{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, 0, NULL },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, sizeof(uint64_t), set_offloads },
};

static bool
command_handle(const struct command *command, const struct ctrl_rules *rules)
{
	struct virtio_net_ctrl_hdr header;
	uint32_t length;

	if (command->too_long || command->length < sizeof(header))
		return false;
	memcpy(&header, command->bytes, sizeof(header));
	length = command->length - (uint32_t)sizeof(header);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (commands[i].class != header.class || commands[i].command != header.cmd)
			continue;
		if (commands[i].bytes != ANY_LENGTH && commands[i].bytes != length)
			return false;
		return !commands[i].handle || commands[i].handle(rules, command->bytes + sizeof(header), length);
	}
	return false;
}

static void
command_answer(struct virtqueue *vq, uint16_t head, const struct command *command, bool done)
{
	*command->answer.at = done ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	if (vq->log.bits)
		dirty_log_add(&vq->log, guest_memory_address(vq->memory, command->answer.at), 1);
	ring_put_used(vq, head, 1);
}

unsigned
ctrl_serve(struct virtqueue *vq, const struct ctrl_rules *rules)
{
	const uint16_t used_before = vq->used_next;
	struct command command;
	unsigned count = 0;

	for (; count < CTRL_COMMANDS_MAX && vq->open && !vq->fault && ring_available(vq, 1); count++) {
		const uint16_t head = ring_head(vq, 0);

		if (command_read(vq, head, &command))
			break;
		vq->available_next++;
		command_answer(vq, head, &command, command_handle(&command, rules));
	}
	if (!vq->open || vq->fault)
		return 0;
	ring_flush(vq, used_before);
	rte_smp_mb();
	virtqueue_notify(vq);
	return virtqueue_arm(vq) ? count : RTE_MAX(count, 1u);
}
