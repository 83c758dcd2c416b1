/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the filters see of a frame: its destination and the VLAN of its outermost tag, as one 64-bit key.
 * Reads bytes, knows no packet library. Called by every worker for every frame, so all of it is inline.
 */
#ifndef VMQ_FRAME_KEY_H
#define VMQ_FRAME_KEY_H

#include "util/mac.h"
#include "util/vlan.h"

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
	FRAME_HEADER_BYTES = 14,
	FRAME_TAG_BYTES = 4,
	FRAME_TPID_8021Q = 0x8100,
	FRAME_TPID_8021AD = 0x88a8,
};

/* A key that neither a filter nor a whole frame can have (VLAN_ANY is no tag's): frames too short for their header. */
#define FRAME_KEY_MALFORMED ((uint64_t)VLAN_ANY)

/** The key of destination and VLAN: an id from 1 to 4095, VLAN_UNTAGGED, or (filters only) VLAN_ANY. */
static inline uint64_t
frame_key_of(uint64_t mac, uint16_t vlan)
{
	return mac << 16 | vlan;
}

static inline uint16_t
frame_load16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/** Whether an EtherType opens a VLAN tag. Source: vmq-spec F3 (802.1Q and 802.1ad, outermost only). */
static inline bool
frame_is_tpid(uint16_t ethertype)
{
	return ethertype == FRAME_TPID_8021Q || ethertype == FRAME_TPID_8021AD;
}

/* The address there, of which two bytes more may be read, as one load: a mac_load() byte by byte is six. */
static inline uint64_t
frame_load_mac(const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return be64toh(word) >> 16;
}

/**
 * The key under which a frame is looked up.
 *
 * @param bytes   the frame from its destination address on; `length` of them may be read.
 * @return FRAME_KEY_MALFORMED if the frame is too short for its header, or for the tag that it claims.
 */
static inline uint64_t
frame_key(const uint8_t *bytes, uint32_t length)
{
	if (length < FRAME_HEADER_BYTES)
		return FRAME_KEY_MALFORMED;
	const uint64_t mac = frame_load_mac(bytes);

	if (!frame_is_tpid(frame_load16(bytes + 12)))
		return frame_key_of(mac, VLAN_UNTAGGED);
	if (length < FRAME_HEADER_BYTES + FRAME_TAG_BYTES)
		return FRAME_KEY_MALFORMED;
	return frame_key_of(mac, frame_load16(bytes + 14) & 0x0fff);
}

static inline uint64_t
frame_key_mac(uint64_t key)
{
	return key >> 16;
}

static inline uint16_t
frame_key_vlan(uint64_t key)
{
	return key & 0xffff;
}

#endif
