/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames that are left to vmqd to finish: work without end, lies, and what changes while it is done. */
#include "attack.h"
#include "cue.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum {
	IP_AT = 14,
	TCP_AT = IP_AT + 20,
	PAYLOAD_AT = TCP_AT + 20,
	FRAME_BYTES = 65000,
	SEGMENT_BYTES_MIN = 48, /* with less a frame is refused */
};

/* The one frame that all descriptors lead to, behind its header. */
static uint8_t *
long_frame(const struct guest *guest)
{
	return buffer_of(guest, &guest->rings[TRANSMIT], 0);
}

static void
put16(uint8_t *at, uint16_t value)
{
	const uint16_t stored = htons(value);

	memcpy(at, &stored, sizeof(stored));
}

static void
fill(struct guest *guest, uint16_t segment)
{
	struct virtio_net_hdr_v1 header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = PAYLOAD_AT,
		.gso_size = segment,
		.csum_start = TCP_AT,
		.csum_offset = 16,
	};
	uint8_t *frame = long_frame(guest) + HEADER_BYTES;

	memcpy(long_frame(guest), &header, sizeof(header));
	memset(frame, 0, FRAME_BYTES);
	memcpy(frame, wire_address, sizeof(wire_address));
	memcpy(frame + 6, own_address, sizeof(own_address));
	put16(frame + 12, 0x0800);
	frame[IP_AT] = 0x45;
	put16(frame + IP_AT + 2, FRAME_BYTES - IP_AT);
	frame[IP_AT + 9] = IPPROTO_TCP;
	frame[TCP_AT + 12] = 0x50;
}

static void
begin(struct guest *guest)
{
	guest->features |= FEATURE(NET_F_CSUM) | FEATURE(NET_F_HOST_TSO4) | FEATURE(NET_F_HOST_TSO6);
	guest_begin(guest);
}

static void
offer(struct guest *guest)
{
	struct ring *ring = &guest->rings[TRANSMIT];
	uint16_t used = __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);

	while ((uint16_t)(ring->available->idx - used) < ring->entries) {
		uint16_t head = (uint16_t)(ring->available->idx % ring->entries);

		ring->descriptors[head] = (struct vring_desc){ buffer_at(ring, 0), HEADER_BYTES + FRAME_BYTES, 0, 0 };
		ring_offer(ring, head);
	}
	ring_kick(ring);
}

/* One chain is more than a thousand frames. */
static void
small_segments(struct guest *guest)
{
	begin(guest);
	fill(guest, SEGMENT_BYTES_MIN);
	while (cue_go_on())
		offer(guest);
}

static void
segments_of_a_byte(struct guest *guest)
{
	begin(guest);
	fill(guest, 1);
	while (cue_go_on())
		offer(guest);
}

/* A number here and there, in what says what is left or in the headers that have to fit it. */
static void
spoil(struct guest *guest, unsigned *seed)
{
	const unsigned at = (unsigned)rand_r(seed) % (HEADER_BYTES + PAYLOAD_AT);

	fill(guest, (uint16_t)(rand_r(seed) % 4 ? 1448 : rand_r(seed)));
	long_frame(guest)[at] = (uint8_t)rand_r(seed);
	long_frame(guest)[(unsigned)rand_r(seed) % HEADER_BYTES] = (uint8_t)rand_r(seed);
}

static void
lies(struct guest *guest)
{
	unsigned seed = 1;

	begin(guest);
	while (cue_go_on()) {
		spoil(guest, &seed);
		offer(guest);
	}
}

static void *
spoil_always(void *context)
{
	for (unsigned seed = 1;;)
		spoil(context, &seed);
	return NULL;
}

static void
lies_while_finished(struct guest *guest)
{
	begin(guest);
	guest_runs(guest, spoil_always);
	while (cue_go_on())
		offer(guest);
}

const struct attack left_attacks[] = {
	{ "leaves-small-segments-without-end", HARMLESS, small_segments },
	{ "leaves-segments-of-a-byte-without-end", HARMLESS, segments_of_a_byte },
	{ "lies-about-what-is-left-without-end", HARMLESS, lies },
	{ "what-is-left-changes-while-finished", HARMLESS, lies_while_finished },
	{ 0 },
};
