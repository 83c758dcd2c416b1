/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual machine as its vhost-user socket shows it: two regions of memory, two rings, an eventfd or two. It can
 * behave; everything that an attack wants to spoil is in the open.
 *
 * Its memory, by the guest's address: rings and indirect tables from RINGS_AT on, buffers from BUFFERS_AT on without
 * a gap between them. The front-end's own addresses are USER_OFFSET beyond, so that one cannot pass for the other.
 */
#ifndef HOSTILE_GUEST_H
#define HOSTILE_GUEST_H

#include "protocol.h"

#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>

enum {
	RECEIVE,
	TRANSMIT,
	RINGS,
};

enum {
	RINGS_AT = 0x100000,
	RINGS_BYTES = 0x80000,
	BUFFERS_AT = RINGS_AT + RINGS_BYTES,
	BUFFERS_BYTES = 0x400000,
	MEMORY_END = BUFFERS_AT + BUFFERS_BYTES,
	RING_BYTES = 0x20000,          /* from one ring's descriptors to the other's */
	AVAILABLE_OFFSET = 0x8000,
	USED_OFFSET = 0x10000,
	TABLES_AT = RINGS_AT + 0x40000,
	BUFFER_BYTES = 2048,
	ENTRIES = 256,
	ENTRIES_MAX = BUFFERS_BYTES / BUFFER_BYTES / RINGS,
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
};

#define USER_OFFSET 0x7f0000000000ull

extern const uint8_t own_address[6];  /* that its VM's filters have */
extern const uint8_t wire_address[6]; /* of whoever is beyond the wire */

#define FEATURE(name) (1ull << VIRTIO_##name)

struct region {
	uint64_t guest;
	uint64_t bytes;
	uint8_t *at;
	int file;
};

struct ring {
	unsigned index;
	uint32_t entries;
	struct vring_desc *descriptors;
	struct vring_avail *available;
	struct vring_used *used;
	uint64_t descriptors_at;   /* these three: what vmqd is told, the guest's addresses */
	uint64_t available_at;
	uint64_t used_at;
	uint64_t log_at;           /* 0: its changes are not logged */
	uint16_t used_seen;
	int kick;
	int call;
};

struct guest {
	const char *path;
	int socket;
	uint64_t features;         /* wanted, then as negotiated */
	struct region memory[2];   /* rings, buffers */
	struct ring rings[RINGS];
};

/** Memory with empty rings of so many entries each. */
void guest_create(struct guest *guest, const char *path, uint32_t entries);

/** New memory for the same guest, with empty rings. */
void guest_create_memory(struct guest *guest);

/** Forget connection and memory. */
void guest_destroy(struct guest *guest);

void guest_connect(struct guest *guest);

/** A connection more to the same socket. @return negative: refused. */
int connect_to(const char *path);

/**
 * Say something. A message has a version already; what vmqd answers stays unread.
 * @return whether it could be sent: vmqd may have closed the connection.
 */
bool say(const struct guest *guest, struct message *message, const int *files, unsigned count);

/** @return whether there is an answer: not if vmqd closed the connection. */
bool hear(const struct guest *guest, struct message *answer);

bool say_number(const struct guest *guest, enum vhost_request request, uint64_t number);
bool say_state(const struct guest *guest, enum vhost_request request, uint32_t ring, uint32_t number);
bool say_file(const struct guest *guest, enum vhost_request request, uint64_t number, int file);
bool say_ring_address(const struct guest *guest, const struct ring *ring);

/** All that was said has been handled. @return false: vmqd closed the connection. */
bool guest_is_heard(const struct guest *guest);

/** The table of its memory, complete, with its files in the same order. @return bytes of the payload. */
uint32_t memory_table(const struct guest *guest, struct message *table, int *files);

/* The beginning of a connection, in this order; a guest that behaves uses guest_start(), which does all. */
void guest_negotiate(struct guest *guest);
bool guest_share_memory(const struct guest *guest);
bool guest_start_ring(const struct guest *guest, const struct ring *ring);
bool guest_enable(const struct guest *guest, bool on);
void guest_start(struct guest *guest);

/** The whole of it with buffers to receive into; exit 1 if vmqd does not take it. */
void guest_begin(struct guest *guest);

/** Something of the guest's that goes on beside all else, to the end of the program. */
void guest_runs(struct guest *guest, void *(*work)(void *));

/** The guest's address of the n-th buffer of a ring, and where it is here. */
uint64_t buffer_at(const struct ring *ring, uint32_t n);
uint8_t *buffer_of(const struct guest *guest, const struct ring *ring, uint32_t n);

/** Where a guest's address is here. */
void *memory_at(const struct guest *guest, uint64_t address);

/** Offer a buffer; the ring's available index as it is. */
void ring_offer(struct ring *ring, uint16_t head);
void ring_kick(const struct ring *ring);

/** All entries of the receive ring hold empty buffers. */
void guest_post_all(struct guest *guest);

/**
 * The next received frame.
 * @param head  out: the descriptor that holds it, to be offered again.
 * @return its length with the virtio-net header; 0: there is none.
 */
uint32_t guest_take(struct guest *guest, uint16_t *head);

/** Offer frames of 64 bytes to be sent from this address, as many as fit. */
void guest_offer(struct guest *guest, const uint8_t source[6]);

/** The same, and tell vmqd. */
void guest_send(struct guest *guest, const uint8_t source[6]);

#endif
