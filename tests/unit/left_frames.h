/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames as a sender leaves them that has hardware finish them: the checksum's field holds the sum of the pseudo header,
 * and what a virtio-net header has to say of them. The sums are computed word by word here, not by what is tested.
 */
#ifndef VMQ_TESTS_LEFT_FRAMES_H
#define VMQ_TESTS_LEFT_FRAMES_H

#include "frame/offload.h"

enum {
	ROOM = 70000,
	IPV4_BYTES = 20,
	IPV6_BYTES = 40,
	ETHERNET_BYTES = 14,
	FIN = 0x01, SYN = 0x02, PSH = 0x08, ACK = 0x10, CWR = 0x80,
};

struct shape {
	uint8_t protocol;
	bool ipv6;
	uint8_t tags;       /* VLAN tags before the IP header */
	uint8_t extensions; /* of IPv6, of 8 bytes each; of IPv4, options of 8 bytes each */
	uint8_t options;    /* of TCP, in words of 4 bytes */
};

struct built {
	uint8_t bytes[ROOM];
	uint32_t ip, transport, payload, length;
};

void put16(uint8_t *at, uint32_t value);
uint32_t get16(const uint8_t *at);
uint32_t get32(const uint8_t *at);

/** RFC 1071, word by word. */
uint32_t sum(const uint8_t *bytes, uint32_t length, uint32_t start);

/** Where its field is, from the transport's header on. */
uint32_t checksum_at(const struct shape *shape);

/** A frame with so many bytes behind the transport's header; the caller frees it. */
struct built *build(const struct shape *shape, uint32_t payload);

/** @param segment  bytes of payload in each frame that it is to become; 0: it is to stay one. */
struct virtio_net_hdr header_of(const struct shape *shape, const struct built *built, uint16_t segment);

bool checksum_is_right(const struct shape *shape, const struct built *built);

#endif
