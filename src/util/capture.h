/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a capture looks like in memory: a file that vmqd makes and hands to who asked, with a ring of records for each
 * worker. A worker writes and never waits; the reader says how far it has come. Either may be wrong about the other:
 * vmqd believes nothing that it reads here but how much room there is, and stays inside the ring whatever it says.
 */
#ifndef VMQ_UTIL_CAPTURE_H
#define VMQ_UTIL_CAPTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CAPTURE_VERSION = 1,              /* of this layout */
	CAPTURE_RING_BYTES = 8 << 20,     /* a power of 2 */
	CAPTURE_ADAPTERS_MAX = 64,
	CAPTURE_ADAPTER_NAME_SIZE = 32,
	CAPTURE_REASONS_MAX = 64,
	CAPTURE_REASON_SIZE = 32,
	CAPTURE_SNAP_MAX = 256 << 10,     /* bytes kept of a frame */
	CAPTURE_FILTER_MAX = 4096,        /* instructions */
	CAPTURE_ALIGN = 8,
};

enum capture_place {
	CAPTURE_WIRE,
	CAPTURE_HOST,
	CAPTURE_QUEUE,    /* the VM of this queue */
	CAPTURE_DROPPED,  /* on behalf of this queue */
	CAPTURE_PLACES,
	CAPTURE_PADDING = CAPTURE_PLACES, /* no frame: the rest of the ring, up to its end */
};

enum capture_flags {
	CAPTURE_INBOUND = 1 << 0,     /* as seen at the place: from the wire, into the VM, to the host */
	CAPTURE_HAS_VLAN = 1 << 1,    /* beside the frame, not in it */
	CAPTURE_GSO = 1 << 2,         /* it is to be cut */
};

/* A frame follows. The whole is rounded up to CAPTURE_ALIGN. */
struct capture_record {
	uint64_t time_ns;         /* CLOCK_REALTIME */
	uint32_t kept_bytes;      /* that follow */
	uint32_t frame_bytes;
	uint16_t adapter;         /* index of capture_area.adapters */
	uint16_t queue;
	uint16_t vlan;            /* with CAPTURE_HAS_VLAN */
	uint8_t place;
	uint8_t flags;
	uint8_t reason;           /* index of capture_area.reasons, with CAPTURE_DROPPED */
	uint8_t reserved[7];
};
_Static_assert(sizeof(struct capture_record) % CAPTURE_ALIGN == 0, "records stay aligned");

/* Positions count bytes since the start and wrap at 2^64; modulo CAPTURE_RING_BYTES they are offsets. */
struct capture_ring {
	_Atomic uint64_t head;            /* vmqd writes: records end here */
	_Atomic uint64_t missed;          /* vmqd writes: frames that found no room */
	uint64_t pad[6];
	_Atomic uint64_t tail;            /* the reader writes: it has read so far */
	uint64_t pad_too[7];
};

struct capture_area {
	uint32_t version;
	uint32_t ring_count;
	_Atomic bool over;                /* what was captured is gone; nothing more will come */
	char adapters[CAPTURE_ADAPTERS_MAX][CAPTURE_ADAPTER_NAME_SIZE];
	char reasons[CAPTURE_REASONS_MAX][CAPTURE_REASON_SIZE];
	_Alignas(64) struct capture_ring rings[];
};

/* Where the records of the first ring are; those of the others follow. */
static inline size_t
capture_data_offset(uint32_t ring_count)
{
	return (sizeof(struct capture_area) + ring_count * sizeof(struct capture_ring) + 4095) & ~(size_t)4095;
}

static inline size_t
capture_area_bytes(uint32_t ring_count)
{
	return capture_data_offset(ring_count) + (size_t)ring_count * CAPTURE_RING_BYTES;
}

static inline uint32_t
capture_record_bytes(uint32_t kept_bytes)
{
	return ((uint32_t)sizeof(struct capture_record) + kept_bytes + CAPTURE_ALIGN - 1) &
	       ~(uint32_t)(CAPTURE_ALIGN - 1);
}

#endif
