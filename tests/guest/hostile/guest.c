/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

#include "cue.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FRAME_BYTES = 64 };

const uint8_t own_address[6] = { 0x52, 0x54, 0, 0, 0, 0x03 };
const uint8_t wire_address[6] = { 0x02, 0, 0, 0, 0, 0x01 };

static struct region
region_create(uint64_t guest, uint64_t bytes)
{
	struct region region = { .guest = guest, .bytes = bytes, .file = memfd_create("guest", MFD_CLOEXEC) };

	if (region.file < 0 || ftruncate(region.file, (off_t)bytes))
		cannot("make memory");
	region.at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region.file, 0);
	if (region.at == MAP_FAILED)
		cannot("map memory");
	return region;
}

static void
ring_create(struct guest *guest, unsigned index, uint32_t entries)
{
	struct ring *ring = &guest->rings[index];
	uint64_t at = RINGS_AT + (uint64_t)index * RING_BYTES;

	*ring = (struct ring){
		.index = index,
		.entries = entries,
		.descriptors = memory_at(guest, at),
		.available = memory_at(guest, at + AVAILABLE_OFFSET),
		.used = memory_at(guest, at + USED_OFFSET),
		.descriptors_at = at,
		.available_at = at + AVAILABLE_OFFSET,
		.used_at = at + USED_OFFSET,
		.kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	if (ring->kick < 0 || ring->call < 0)
		cannot("make an eventfd");
}

void
guest_create_memory(struct guest *guest)
{
	guest->memory[0] = region_create(RINGS_AT, RINGS_BYTES);
	guest->memory[1] = region_create(BUFFERS_AT, BUFFERS_BYTES);
}

void
guest_create(struct guest *guest, const char *path, uint32_t entries)
{
	*guest = (struct guest){ .path = path,
				 .socket = -1,
				 .features = FEATURE(F_VERSION_1) | FEATURE(NET_F_MRG_RXBUF) |
					     FEATURE(RING_F_INDIRECT_DESC) | F_PROTOCOL_FEATURES };
	guest_create_memory(guest);
	for (unsigned i = 0; i < RINGS; i++)
		ring_create(guest, i, entries);
}

void
guest_destroy(struct guest *guest)
{
	close(guest->socket);
	for (unsigned i = 0; i < RINGS; i++) {
		close(guest->rings[i].kick);
		close(guest->rings[i].call);
		munmap(guest->memory[i].at, guest->memory[i].bytes);
		close(guest->memory[i].file);
	}
}

int
connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int handle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (handle >= 0 && !connect(handle, (struct sockaddr *)&address, sizeof(address)))
		return handle;
	close(handle);
	return -1;
}

void
guest_connect(struct guest *guest)
{
	guest->socket = connect_to(guest->path);
	if (guest->socket < 0)
		cannot("connect to %s", guest->path);
}

bool
say(const struct guest *guest, struct message *message, const int *files, unsigned count)
{
	char control[CMSG_SPACE(FILES_MAX * sizeof(int))] = { 0 };
	struct iovec content = { message, MESSAGE_HEAD_BYTES + message->bytes };
	struct msghdr header = { .msg_iov = &content, .msg_iovlen = 1 };

	message->flags |= VERSION;
	if (count) {
		struct cmsghdr *rights = (struct cmsghdr *)control;

		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(rights), files, count * sizeof(int));
	}
	return sendmsg(guest->socket, &header, MSG_NOSIGNAL) == (ssize_t)content.iov_len;
}

bool
hear(const struct guest *guest, struct message *answer)
{
	if (recv(guest->socket, answer, MESSAGE_HEAD_BYTES, MSG_WAITALL) != MESSAGE_HEAD_BYTES)
		return false;
	if (answer->bytes > sizeof(answer->payload))
		cannot("understand vmqd: %u bytes in an answer", answer->bytes);
	return !answer->bytes || recv(guest->socket, answer->payload, answer->bytes, MSG_WAITALL) == answer->bytes;
}

bool
say_number(const struct guest *guest, enum vhost_request request, uint64_t number)
{
	struct message message = { .request = request, .bytes = sizeof(number), .number = number };

	return say(guest, &message, NULL, 0);
}

bool
say_state(const struct guest *guest, enum vhost_request request, uint32_t ring, uint32_t number)
{
	struct message message = { .request = request, .bytes = sizeof(message.state), .state = { ring, number } };

	return say(guest, &message, NULL, 0);
}

bool
say_file(const struct guest *guest, enum vhost_request request, uint64_t number, int file)
{
	struct message message = { .request = request, .bytes = sizeof(number), .number = number };

	return say(guest, &message, &file, 1);
}

bool
say_ring_address(const struct guest *guest, const struct ring *ring)
{
	struct message message = {
		.request = SET_VRING_ADDR,
		.bytes = sizeof(message.address),
		.address = { .ring = ring->index,
			     .flags = ring->log_at ? ADDRESS_LOG : 0,
			     .descriptors = ring->descriptors_at + USER_OFFSET,
			     .used = ring->used_at + USER_OFFSET,
			     .available = ring->available_at + USER_OFFSET,
			     .log = ring->log_at },
	};

	return say(guest, &message, NULL, 0);
}

bool
guest_is_heard(const struct guest *guest)
{
	struct message answer = { 0 };

	if (!say(guest, &(struct message){ .request = GET_FEATURES }, NULL, 0))
		return false;
	do {
		if (!hear(guest, &answer))
			return false;
	} while (answer.request != GET_FEATURES);
	return true;
}

uint32_t
memory_table(const struct guest *guest, struct message *table, int *files)
{
	*table = (struct message){ .request = SET_MEM_TABLE, .memory.count = RINGS };
	for (unsigned i = 0; i < RINGS; i++) {
		const struct region *region = &guest->memory[i];

		table->memory.regions[i] = (struct message_region){ region->guest, region->bytes,
								    region->guest + USER_OFFSET, 0 };
		files[i] = region->file;
	}
	table->bytes = offsetof(struct message, memory.regions[RINGS]) - MESSAGE_HEAD_BYTES;
	return table->bytes;
}

void
guest_negotiate(struct guest *guest)
{
	struct message answer;

	if (!say(guest, &(struct message){ .request = GET_FEATURES }, NULL, 0) || !hear(guest, &answer))
		cannot("negotiate");
	guest->features &= answer.number;
	say(guest, &(struct message){ .request = SET_OWNER }, NULL, 0);
	say_number(guest, SET_PROTOCOL_FEATURES, 0);
	say_number(guest, SET_FEATURES, guest->features);
}

bool
guest_share_memory(const struct guest *guest)
{
	struct message table;
	int files[RINGS];

	memory_table(guest, &table, files);
	return say(guest, &table, files, RINGS);
}

bool
guest_start_ring(const struct guest *guest, const struct ring *ring)
{
	return say_state(guest, SET_VRING_NUM, ring->index, ring->entries) &&
	       say_state(guest, SET_VRING_BASE, ring->index, 0) && say_ring_address(guest, ring) &&
	       say_file(guest, SET_VRING_CALL, ring->index, ring->call) &&
	       say_file(guest, SET_VRING_KICK, ring->index, ring->kick);
}

bool
guest_enable(const struct guest *guest, bool on)
{
	return say_state(guest, SET_VRING_ENABLE, RECEIVE, on) && say_state(guest, SET_VRING_ENABLE, TRANSMIT, on);
}

void
guest_start(struct guest *guest)
{
	guest_negotiate(guest);
	guest_share_memory(guest);
	for (unsigned i = 0; i < RINGS; i++)
		guest_start_ring(guest, &guest->rings[i]);
	guest_enable(guest, true);
}

void
guest_begin(struct guest *guest)
{
	guest_post_all(guest);
	guest_start(guest);
	if (!guest_is_heard(guest))
		cannot("start");
}

void
guest_runs(struct guest *guest, void *(*work)(void *))
{
	pthread_t second;

	if (pthread_create(&second, NULL, work, guest))
		cannot("start a thread");
}

uint64_t
buffer_at(const struct ring *ring, uint32_t n)
{
	return BUFFERS_AT + ((uint64_t)ring->index * ENTRIES_MAX + n) * BUFFER_BYTES;
}

uint8_t *
buffer_of(const struct guest *guest, const struct ring *ring, uint32_t n)
{
	return memory_at(guest, buffer_at(ring, n));
}

void *
memory_at(const struct guest *guest, uint64_t address)
{
	const struct region *region = &guest->memory[address >= BUFFERS_AT];

	return region->at + (address - region->guest);
}

void
ring_offer(struct ring *ring, uint16_t head)
{
	uint16_t next = ring->available->idx;

	ring->available->ring[next % ring->entries] = head;
	__atomic_store_n(&ring->available->idx, (uint16_t)(next + 1), __ATOMIC_RELEASE);
}

void
ring_kick(const struct ring *ring)
{
	if (eventfd_write(ring->kick, 1) && errno != EAGAIN)
		cannot("kick");
}

void
guest_post_all(struct guest *guest)
{
	struct ring *ring = &guest->rings[RECEIVE];

	for (uint16_t i = 0; i < ring->entries; i++) {
		ring->descriptors[i] = (struct vring_desc){ buffer_at(ring, i), BUFFER_BYTES, VRING_DESC_F_WRITE, 0 };
		ring_offer(ring, i);
	}
}

uint32_t
guest_take(struct guest *guest, uint16_t *head)
{
	struct ring *ring = &guest->rings[RECEIVE];
	const struct vring_used_elem *element = &ring->used->ring[ring->used_seen % ring->entries];

	if (ring->used_seen == __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE))
		return 0;
	ring->used_seen++;
	*head = (uint16_t)element->id;
	return element->len;
}

void
guest_offer(struct guest *guest, const uint8_t source[6])
{
	struct ring *ring = &guest->rings[TRANSMIT];
	uint16_t used = __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);

	while ((uint16_t)(ring->available->idx - used) < ring->entries) {
		uint16_t head = (uint16_t)(ring->available->idx % ring->entries);
		uint8_t *frame = buffer_of(guest, ring, head) + HEADER_BYTES;

		memset(frame - HEADER_BYTES, 0, HEADER_BYTES + FRAME_BYTES);
		memcpy(frame, wire_address, sizeof(wire_address));
		memcpy(frame + 6, source, 6);
		memcpy(frame + 12, "\x88\xb5", 2);
		ring->descriptors[head] = (struct vring_desc){ buffer_at(ring, head), HEADER_BYTES + FRAME_BYTES, 0,
							       0 };
		ring_offer(ring, head);
	}
}

void
guest_send(struct guest *guest, const uint8_t source[6])
{
	guest_offer(guest, source);
	ring_kick(&guest->rings[TRANSMIT]);
}
