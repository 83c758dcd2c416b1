/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user as a front-end speaks it. Source: vhost-user, "Message format", "Front-end message types". */
#ifndef HOSTILE_PROTOCOL_H
#define HOSTILE_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

enum vhost_request {
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
	SET_BACKEND_REQ_FD = 21,
	IOTLB_MSG = 22,
	GET_CONFIG = 24,
	POSTCOPY_ADVISE = 28,
	POSTCOPY_LISTEN = 29,
	GET_INFLIGHT_FD = 31,
	SET_INFLIGHT_FD = 32,
	SET_STATUS = 39,
	LAST_REQUEST = 45,
};

enum {
	VERSION = 1,
	REPLY = 1 << 2,
	NEED_REPLY = 1 << 3,
	NO_FILE = 1 << 8,      /* with the number of a ring: there is no descriptor with this message */
	ADDRESS_LOG = 1 << 0,
	FILES_MAX = 64,        /* in one message; a sound one has 8 at most */
};

#define F_LOG_ALL (1ull << 26)
#define F_PROTOCOL_FEATURES (1ull << 30)

struct message_region {
	uint64_t guest;
	uint64_t bytes;
	uint64_t user;
	uint64_t file_offset;
};

struct message {
	uint32_t request;
	uint32_t flags;
	uint32_t bytes;
	union {
		uint64_t number;
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
			struct message_region regions[8];
		} memory;
		struct {
			uint64_t bytes;
			uint64_t file_offset;
		} log;
		struct {
			uint64_t bytes;
			uint64_t file_offset;
			uint16_t rings;
			uint16_t entries;
			uint32_t padding;
		} inflight;
		uint8_t payload[512];
	};
} __attribute__((packed));

enum { MESSAGE_HEAD_BYTES = offsetof(struct message, payload) };

#endif
