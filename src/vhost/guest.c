/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/guest.h"

#include "vhost/bus_error.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <rte_arp.h>
#include <rte_mbuf.h>
#include <rte_vhost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Source: vhost-user, "Front-end message types" and "Message format". */
enum {
	MESSAGE_RESET_OWNER = 4,
	MESSAGE_SET_MEM_TABLE = 5,
	MESSAGE_SET_LOG_BASE = 6,
	MESSAGE_SET_VRING_NUM = 8,
	MESSAGE_SET_VRING_ADDR = 9,
	MESSAGE_SET_VRING_BASE = 10,
	MESSAGE_GET_VRING_BASE = 11,
	MESSAGE_SET_VRING_KICK = 12,
	MESSAGE_SET_VRING_CALL = 13,
	MESSAGE_SET_VRING_ERR = 14,
	MESSAGE_SET_VRING_ENABLE = 18,
	MESSAGE_SEND_RARP = 19,
	MESSAGE_SET_BACKEND_REQUEST = 21, /* the last of those in a row that we have a use for */
	MESSAGE_SET_STATUS = 39,
	MESSAGE_GET_STATUS = 40,
	MESSAGE_NEED_REPLY = 1 << 3,
	MESSAGE_RING_MASK = 0xff,
	MESSAGE_PAYLOAD_BYTES = 632,      /* the longest that librte_vhost of DPDK 22.11 has room for */
	MESSAGE_FILES_MAX = 8,
	MEMORY_OVERCOMMIT = 4,            /* times what the host has */
	LOG_BYTES_MAX = 1 << 30,          /* for 32 TiB of guest memory */
};

struct message_region {
	uint64_t guest;
	uint64_t bytes;
	uint64_t user;
	uint64_t offset;
} __attribute__((packed));

struct message {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
	union {
		uint8_t mac[RTE_ETHER_ADDR_LEN];
		uint64_t number;
		uint32_t ring;
		struct {
			uint32_t count;
			uint32_t padding;
			struct message_region regions[MESSAGE_FILES_MAX];
		} memory;
		uint8_t payload[MESSAGE_PAYLOAD_BYTES];
		struct {
			uint64_t bytes;
			uint64_t offset;
		} log;
	};
	int files[MESSAGE_FILES_MAX];
	int file_count;
} __attribute__((packed));

struct guest *
guest_create(int device, struct vhost_port *port)
{
	struct guest *guest = aligned_alloc(_Alignof(struct guest), sizeof(*guest));

	if (!guest)
		return NULL;
	memset(guest, 0, sizeof(*guest));
	guest->device = device;
	guest->port = port;
	bus_error_reset((unsigned)device);
	return guest;
}

void
guest_destroy(struct guest *guest)
{
	bus_error_reset((unsigned)guest->device);
	free(guest);
}

/*
 * A memory table that fails leaves librte_vhost with rings in memory that is gone; until one succeeds nothing of it
 * is believed. The same for the dirty log, whose address librte_vhost still tells when it has unmapped it.
 */
void
guest_message_begins(struct guest *guest, const void *content)
{
	const struct message *message = content;

	guest->in_message = true;
	bus_error_blame((unsigned)guest->device);
	if (message->request == MESSAGE_SET_MEM_TABLE || message->request == MESSAGE_RESET_OWNER) {
		guest->memory_known = false;
		guest->log_known &= message->request != MESSAGE_RESET_OWNER;
		bus_error_unwatch((unsigned)guest->device);
	} else if (message->request == MESSAGE_SET_LOG_BASE) {
		guest->log_known = false;
		bus_error_unwatch((unsigned)guest->device);
		guest->log_offset_asked = message->log.offset;
	} else if (message->request == MESSAGE_SEND_RARP) {
		memcpy(guest->announced.addr_bytes, message->mac, sizeof(message->mac));
		guest->announces = true;
	}
}

/* librte_vhost counts descriptors; that they are what they are for is not looked at. */
static bool
is_eventfd(int handle)
{
	char link[sizeof("/proc/self/fd/2147483647")], target[sizeof("anon_inode:[eventfd]")] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", handle);
	return readlink(link, target, sizeof(target) - 1) > 0 && !strcmp(target, "anon_inode:[eventfd]");
}

/*
 * Files that a mapping may be made of: memory, not a disk or a file system of somebody's own, on whose answer a
 * worker would wait at the first touch.
 */
static bool
is_memory(int handle, bool huge_too)
{
	struct statfs system;

	return !fstatfs(handle, &system) &&
	       ((uint32_t)system.f_type == TMPFS_MAGIC || (huge_too && (uint32_t)system.f_type == HUGETLBFS_MAGIC));
}

/* Whether `bytes` from `offset` on are in the file, and it can be mapped to be written. */
static bool
file_holds(int handle, uint64_t offset, uint64_t bytes)
{
	const int frozen = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
	struct stat file;
	int seals = fcntl(handle, F_GET_SEALS);

	return !fstat(handle, &file) && S_ISREG(file.st_mode) && (fcntl(handle, F_GETFL) & O_ACCMODE) == O_RDWR &&
	       (seals < 0 || !(seals & frozen)) && bytes && bytes <= (uint64_t)file.st_size &&
	       offset <= (uint64_t)file.st_size - bytes;
}

/* A region that cannot be mapped costs librte_vhost a descriptor for good: it must not come to that. */
static bool
region_is_sound(const struct message_region *region, int handle)
{
	return is_memory(handle, true) && file_holds(handle, region->offset, region->bytes) &&
	       region->guest + region->bytes > region->guest;
}

/* Files may be sparse and the addresses of this process are everybody's: no guest's files are mapped in more. */
static uint64_t
memory_bytes_max(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) * MEMORY_OVERCOMMIT;
}

/* librte_vhost maps a file from its start on, whatever a region's offset. */
static bool
memory_is_sound(const struct message *message)
{
	uint64_t left = memory_bytes_max();

	if (message->memory.count > MESSAGE_FILES_MAX || (uint32_t)message->file_count != message->memory.count)
		return false;
	for (uint32_t i = 0; i < message->memory.count; i++) {
		struct message_region region = message->memory.regions[i];

		if (!region_is_sound(&region, message->files[i]) || region.offset + region.bytes > left)
			return false;
		left -= region.offset + region.bytes;
	}
	return true;
}

/* Huge pages would have to be replaced as a whole if they vanished: a log is a bit for each page and needs none. */
static bool
log_is_sound(const struct message *message)
{
	return message->file_count == 1 && message->log.bytes <= LOG_BYTES_MAX && is_memory(message->files[0], false) &&
	       file_holds(message->files[0], message->log.offset, message->log.bytes);
}

static bool
names_known_ring(const struct message *message)
{
	switch (message->request) {
	case MESSAGE_SET_VRING_KICK:
	case MESSAGE_SET_VRING_CALL:
	case MESSAGE_SET_VRING_ERR:
		return (message->number & MESSAGE_RING_MASK) < GUEST_RINGS;
	case MESSAGE_SET_VRING_NUM:
	case MESSAGE_SET_VRING_ADDR:
	case MESSAGE_SET_VRING_BASE:
	case MESSAGE_GET_VRING_BASE:
	case MESSAGE_SET_VRING_ENABLE:
		return message->ring < GUEST_RINGS;
	default:
		return true;
	}
}

bool
guest_message_is_sound(const void *content)
{
	const struct message *message = content;

	if (message->request > MESSAGE_SET_BACKEND_REQUEST && message->request != MESSAGE_SET_STATUS &&
	    message->request != MESSAGE_GET_STATUS)
		return false;
	if (message->request == MESSAGE_SET_MEM_TABLE)
		return memory_is_sound(message);
	if (message->request == MESSAGE_SET_LOG_BASE)
		return log_is_sound(message);
	if ((message->request == MESSAGE_SET_VRING_KICK || message->request == MESSAGE_SET_VRING_CALL) &&
	    message->file_count == 1 && !is_eventfd(message->files[0]))
		return false;
	return names_known_ring(message);
}

void
guest_message_refuse(void *content)
{
	struct message *message = content;

	for (int i = 0; i < message->file_count; i++)
		close(message->files[i]);
	message->file_count = 0;
	message->flags &= ~(uint32_t)MESSAGE_NEED_REPLY;
}

static void
watch_memory(const struct guest *guest)
{
	struct rte_vhost_memory *table;

	if (rte_vhost_get_mem_table(guest->device, &table))
		return;
	bus_error_unwatch((unsigned)guest->device);
	for (uint32_t i = 0; i < table->nregions; i++)
		bus_error_watch((unsigned)guest->device, table->regions[i].mmap_addr, table->regions[i].mmap_size);
	free(table);
}

void
guest_message_ends(struct guest *guest, const void *content)
{
	const struct message *message = content;

	guest->in_message = false;
	if (message->request == MESSAGE_SET_MEM_TABLE) {
		guest->memory_known = true;
		watch_memory(guest);
	} else if (message->request == MESSAGE_RESET_OWNER) {
		memset(guest->enabled, 0, sizeof(guest->enabled));
	} else if (message->request == MESSAGE_SET_LOG_BASE) {
		guest->log_offset = guest->log_offset_asked;
		guest->log_known = true;
	}
}

static int
open_memory(struct guest *guest)
{
	struct rte_vhost_memory *table;
	int error = rte_vhost_get_mem_table(guest->device, &table) ? -ENOMEM : 0;

	guest->memory.count = 0;
	if (error)
		return error;
	for (uint32_t i = 0; i < table->nregions && !error; i++)
		error = guest_memory_add(&guest->memory, table->regions[i].guest_phys_addr, table->regions[i].size,
					 (void *)(uintptr_t)table->regions[i].host_user_addr);
	free(table);
	return error;
}

/* librte_vhost maps the log from its offset on and then counts that offset a second time. */
static void
open_log(const struct guest *guest, uint64_t features, struct dirty_log *log)
{
	uint64_t base, bytes;

	if (!RTE_VHOST_NEED_LOG(features) || !guest->log_known || rte_vhost_get_log_base(guest->device, &base, &bytes) || !base)
		return;
	log->bits = (uint8_t *)(uintptr_t)(base - guest->log_offset);
	log->bytes = bytes;
	bus_error_watch((unsigned)guest->device, log->bits, bytes);
}

/* A guest that does not read its interrupts must not make a worker wait for it. */
static void
make_nonblocking(int handle)
{
	int flags = handle < 0 ? -1 : fcntl(handle, F_GETFL);

	if (flags >= 0 && !(flags & O_NONBLOCK))
		fcntl(handle, F_SETFL, flags | O_NONBLOCK);
}

static void
open_ring(struct guest *guest, enum guest_ring ring, const struct virtqueue_layout *common)
{
	struct virtqueue *vq = &guest->rings[ring];
	struct virtqueue_layout layout = *common;
	struct rte_vhost_vring vring;

	vq->open = false;
	vq->fault = RING_FAULT_NONE;
	if (!guest->enabled[ring] || rte_vhost_get_vhost_vring(guest->device, ring, &vring) || !vring.desc ||
	    !vring.avail || !vring.used ||
	    rte_vhost_get_vring_base(guest->device, ring, &layout.available_next, &layout.used_next))
		return;
	layout.descriptors = vring.desc;
	layout.available = vring.avail;
	layout.used = vring.used;
	layout.entries = vring.size;
	layout.call = vring.callfd;
	layout.used_log_address = vring.log_guest_addr;
	make_nonblocking(vring.callfd);
	if (virtqueue_open(vq, &layout, &guest->memory))
		return;
	if (ring == GUEST_TRANSMITS)
		guest->kicks = vring.kickfd;
	virtqueue_disarm(vq);
	virtqueue_call(vq);
}

void
guest_open(struct guest *guest)
{
	struct virtqueue_layout common = { 0 };

	if (guest_has_fault(guest))
		return;
	guest->kicks = -1;
	for (enum guest_ring ring = 0; ring < GUEST_RINGS; ring++)
		guest->rings[ring].open = false;
	watch_memory(guest);
	if (rte_vhost_get_negotiated_features(guest->device, &common.features) || open_memory(guest))
		return;
	open_log(guest, common.features, &common.log);
	for (enum guest_ring ring = 0; ring < GUEST_RINGS; ring++)
		open_ring(guest, ring, &common);
}

void
guest_close(struct guest *guest)
{
	for (enum guest_ring ring = 0; ring < GUEST_RINGS; ring++) {
		struct virtqueue *vq = &guest->rings[ring];

		if (vq->open && !vq->fault)
			rte_vhost_set_vring_base(guest->device, ring, vq->available_next, vq->used_next);
		vq->open = false;
	}
}

uint16_t
guest_deliver(struct guest *guest, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	return virtqueue_deliver(&guest->rings[GUEST_RECEIVES], frames, n, rest);
}

/* A guest that cannot announce itself after a migration lets its front-end ask us to do it. */
static uint16_t
announce(struct guest *guest, struct rte_mempool *pool, struct rte_mbuf **frames)
{
	frames[0] = rte_net_make_rarp_packet(pool, &guest->announced);
	guest->announces = !frames[0];
	return frames[0] ? 1 : 0;
}

uint16_t
guest_collect(struct guest *guest, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t announced = 0;

	if (unlikely(guest->announces && n))
		announced = announce(guest, pool, frames);
	return announced + virtqueue_collect(&guest->rings[GUEST_TRANSMITS], pool, frames + announced, n - announced);
}

void
guest_notify(struct guest *guest)
{
	for (enum guest_ring ring = 0; ring < GUEST_RINGS; ring++)
		virtqueue_notify(&guest->rings[ring]);
}

/* Kicks count up in an eventfd that stays readable until it is read. If the guest read it first, do not wait. */
static void
forget_kicks(int handle)
{
	uint64_t count;
	struct iovec into = { &count, sizeof(count) };

	if (handle >= 0 && preadv2(handle, &into, 1, -1, RWF_NOWAIT) < 0)
		return;
}

int
guest_arm(struct guest *guest, bool kicks)
{
	struct virtqueue *vq = &guest->rings[GUEST_TRANSMITS];

	if (kicks) {
		virtqueue_arm(vq);
	} else {
		virtqueue_disarm(vq);
		forget_kicks(guest->kicks);
	}
	return guest->kicks;
}

enum ring_fault
guest_fault_now(const struct guest *guest, enum guest_ring ring)
{
	if (unlikely(bus_error_happened((unsigned)guest->device)))
		return RING_FAULT_MEMORY_LOST;
	return guest->rings[ring].fault;
}
