/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user on the wire. Source: vhost-user, "Message format" and "Front-end message types". */
#ifndef VMQ_VHOST_PROTOCOL_H
#define VMQ_VHOST_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

enum {
	MESSAGE_VERSION = 1,
	MESSAGE_VERSION_MASK = 3,
	MESSAGE_REPLY = 1 << 2,
	MESSAGE_NEED_REPLY = 1 << 3,
	MESSAGE_FILES_MAX = 8,
	MESSAGE_RING_MASK = 0xff,
	MESSAGE_RING_HAS_NO_FILE = 1 << 8,
	RING_LOGS_USED = 1 << 0,           /* flag of ring addresses */
	STATUS_DRIVER_OK = 4,              /* Source: VIRTIO 1.2, 2.1 */
	FEATURE_PROTOCOL = 30,             /* virtio features: the front-end knows those of the protocol */
};

/* Features of the protocol, by bit. */
enum {
	PROTOCOL_MQ = 0,
	PROTOCOL_LOG_SHMFD = 1,
	PROTOCOL_RARP = 2,
	PROTOCOL_REPLY_ACK = 3,
	PROTOCOL_NET_MTU = 4,
	PROTOCOL_BACKEND_REQUEST = 5,
	PROTOCOL_CONFIG = 9,
	PROTOCOL_STATUS = 16,
};

enum message_request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	RESET_OWNER = 4,
	SET_MEM_TABLE = 5,
	SET_LOG_BASE = 6,
	SET_LOG_FD = 7,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	SEND_RARP = 19,
	NET_SET_MTU = 20,
	SET_BACKEND_REQUEST = 21,
	GET_CONFIG = 24,
	SET_STATUS = 39,
	GET_STATUS = 40,
	REQUEST_COUNT,
};

struct message_region {
	uint64_t guest;
	uint64_t bytes;
	uint64_t user;                     /* the same address in the front-end's process */
	uint64_t offset;                   /* in the file */
};

struct message {
	uint32_t request;                  /* this and the next two are the head on the wire */
	uint32_t flags;
	uint32_t bytes;                    /* of the payload */
	uint32_t received;                 /* bytes that have come so far */
	union {
		uint64_t number;
		uint8_t mac[6];
		struct {
			uint32_t ring;
			uint32_t number;
		} state;
		struct {
			uint32_t ring;
			uint32_t flags;
			uint64_t descriptors;
			uint64_t used;
			uint64_t available;
			uint64_t log;
		} address;
		struct {
			uint32_t count;
			uint32_t padding;
			struct message_region regions[MESSAGE_FILES_MAX];
		} memory;
		struct {
			uint64_t bytes;
			uint64_t offset;
		} log;
		struct {
			uint32_t offset;
			uint32_t bytes;
			uint32_t flags;
			uint8_t region[252];
		} config;
	};
	int file_count;
	int files[MESSAGE_FILES_MAX];      /* came with it; -1: a handler keeps it */
};

enum {
	MESSAGE_HEAD_BYTES = offsetof(struct message, received),
	MESSAGE_PAYLOAD_BYTES_MAX = sizeof(((struct message *)0)->memory),
};

#endif
