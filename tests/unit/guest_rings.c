/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest_rings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	AVAILABLE_OFFSET = 0x10000,
	USED_OFFSET = 0x18000,
	TABLES_OFFSET = 0x20000,
};

#define W VRING_DESC_F_WRITE

struct guest_layout guest_layouts[GUEST_LAYOUTS] = {
	{ "one descriptor, modern", MODERN, { 10240, 1, W, 0, false, 0 } },
	{ "one descriptor, event index", EVENT_IDX, { 10240, 1, W, 0, false, 0 } },
	{ "one descriptor, legacy header", 0, { 10240, 1, W, 0, false, 0 } },
	{ "one descriptor, mergeable", MERGEABLE, { 10240, 1, W, 0, false, 0 } },
	{ "the header in a descriptor of its own", MODERN, { 10240, 2, W, 0, false, 12 } },
	{ "the legacy header in a descriptor of its own", 0, { 10240, 2, W, 0, false, 10 } },
	{ "the header in a descriptor of its own, mergeable", MERGEABLE, { 2048, 2, W, 0, false, 12 } },
	{ "a first piece that ends in the Ethernet header", MODERN, { 10240, 2, W, 0, false, 12 + 7 } },
	{ "a first piece that ends with the Ethernet header", MODERN, { 10240, 3, W, 0, false, 12 + 14 } },
	{ "a first piece of 64 bytes behind a legacy header", 0, { 10240, 2, W, 0, false, 10 + 64 } },
	{ "buffers of 2 KiB, mergeable", MERGEABLE, { 2048, 1, W, 0, false, 0 } },
	{ "buffers of 1526 bytes, mergeable", MERGEABLE, { 1526, 1, W, 0, false, 0 } },
	{ "buffers of 256 bytes, mergeable", MERGEABLE, { 256, 1, W, 0, false, 0 } },
	{ "buffers of 72 bytes, mergeable", MERGEABLE, { 72, 1, W, 0, false, 0 } },
	{ "buffers hardly larger than the header, mergeable", MERGEABLE, { 13, 1, W, 0, false, 0 } },
	{ "mergeable buffers of two pieces", MERGEABLE, { 2000, 2, W, 0, false, 0 } },
	{ "mergeable buffers in indirect tables", MERGEABLE, { 1000, 3, W, 0, true, 0 } },
	{ "mergeable without version 1", FEATURE(NET_F_MRG_RXBUF), { 2048, 1, W, 0, false, 0 } },
	{ "two pieces", MODERN, { 10240, 2, W, 0, false, 0 } },
	{ "seventeen pieces", MODERN, { 10240, 17, W, 0, false, 0 } },
	{ "seventeen pieces, legacy header", 0, { 10240, 17, W, 0, false, 0 } },
	{ "pieces of 97 bytes", MODERN, { 9118, 94, W, 0, false, 0 } },
	{ "pieces of 100 bytes", MODERN, { 10000, 100, W, 0, false, 0 } },
	{ "pieces of one byte up to the header", MODERN, { 12, 12, W, 0, false, 0 } },
	{ "indirect, one piece", MODERN, { 10240, 1, W, 0, true, 0 } },
	{ "indirect, five pieces", MODERN, { 10240, 5, W, 0, true, 0 } },
	{ "indirect, the header in a descriptor of its own", MODERN, { 10240, 2, W, 0, true, 12 } },
	{ "direct pieces, then an indirect table", MODERN, { 10240, 7, W, 3, true, 0 } },
	{ "the header, then an indirect table", MODERN, { 10240, 4, W, 1, true, 12 } },
	{ "buffers too small for some frames", MODERN, { 1526, 1, W, 0, false, 0 } },
};

uint32_t
guest_header_bytes(uint64_t features)
{
	return features & (FEATURE(F_VERSION_1) | FEATURE(NET_F_MRG_RXBUF)) ? 12 : 10;
}

/* Pieces of equal length, but for the first if that has its own; the rest is in the last. */
static uint32_t
piece_bytes(const struct guest_buffer *buffer, uint16_t i)
{
	uint32_t first = buffer->first ? buffer->first : buffer->bytes / buffer->pieces;
	uint32_t each = buffer->first ? (buffer->bytes - first) / (buffer->pieces - 1u) : first;

	if (i == buffer->pieces - 1)
		return i ? buffer->bytes - first - each * (i - 1u) : buffer->bytes;
	return i ? each : first;
}

static uint32_t
pieces_needed(const struct guest_buffer *buffer, uint32_t bytes)
{
	uint16_t pieces = 0;

	for (uint32_t room = 0; room < bytes && pieces < buffer->pieces; pieces++)
		room += piece_bytes(buffer, pieces);
	return pieces;
}

uint32_t
guest_layout_buffers(const struct guest_layout *layout, uint32_t frame_bytes)
{
	const struct guest_buffer *buffer = &layout->buffer;
	uint32_t bytes = guest_header_bytes(layout->features) + frame_bytes;
	uint32_t buffers = (bytes + buffer->bytes - 1) / buffer->bytes, whole = buffers - 1;
	uint32_t in_last = pieces_needed(buffer, bytes - whole * buffer->bytes);

	if (buffers > 1 && !(layout->features & FEATURE(NET_F_MRG_RXBUF)))
		return 0;
	return whole * buffer->pieces + in_last > RESERVATION_SEGMENTS_MAX ? 0 : buffers;
}

void
guest_rings_create(struct guest_rings *guest)
{
	memset(guest, 0, sizeof(*guest));
	guest->rings = aligned_alloc(4096, GUEST_RINGS_BYTES);
	guest->buffers = aligned_alloc(4096, GUEST_BUFFERS_BYTES);
	assert(guest->rings && guest->buffers);
	guest_memory_add(&guest->memory, GUEST_RINGS_AT, GUEST_RINGS_BYTES, guest->rings);
	guest_memory_add(&guest->memory, GUEST_BUFFERS_AT, GUEST_BUFFERS_BYTES, guest->buffers);
}

void
guest_rings_destroy(struct guest_rings *guest)
{
	free(guest->rings);
	free(guest->buffers);
}

struct virtqueue_layout
guest_rings_layout(struct guest_rings *guest, uint16_t base)
{
	return (struct virtqueue_layout){ .descriptors = guest->descriptors,
					  .available = guest->available,
					  .used = guest->used,
					  .entries = guest->entries,
					  .features = guest->features,
					  .available_next = base,
					  .used_next = base,
					  .call = -1 };
}

void
guest_rings_reset(struct guest_rings *guest, uint16_t entries, uint64_t features, uint16_t base)
{
	struct virtqueue_layout layout;

	memset(guest->rings, 0, GUEST_RINGS_BYTES);
	memset(guest->buffers, GUEST_CANARY, GUEST_BUFFERS_BYTES);
	guest->descriptors = (struct vring_desc *)guest->rings;
	guest->available = (struct vring_avail *)(guest->rings + AVAILABLE_OFFSET);
	guest->used = (struct vring_used *)(guest->rings + USED_OFFSET);
	guest->entries = entries;
	guest->features = features;
	guest->descriptors_taken = 0;
	guest->tables_taken = 0;
	guest->buffers_taken = 0;
	guest->used_seen = base;
	guest->available->idx = base;
	guest->used->idx = base;
	layout = guest_rings_layout(guest, base);
	if (virtqueue_open(&guest->vq, &layout, &guest->memory))
		abort();
}

void *
guest_at(struct guest_rings *guest, uint64_t address)
{
	uint32_t recent = 0;
	void *at = guest_memory_find(&guest->memory, &recent, address, 1);

	assert(at);
	return at;
}

void
guest_offer_head(struct guest_rings *guest, uint16_t head)
{
	guest->available->ring[guest->available->idx & (guest->entries - 1)] = head;
	__atomic_store_n(&guest->available->idx, guest->available->idx + 1, __ATOMIC_RELEASE);
}

/* `first` is the index of the first descriptor in its table. */
static uint32_t
make_pieces(struct guest_rings *guest, struct vring_desc *table, uint16_t first, const struct guest_buffer *buffer,
	    uint16_t from, uint16_t to)
{
	for (uint16_t i = from; i < to; i++) {
		uint32_t bytes = piece_bytes(buffer, i);

		table[first + i - from] = (struct vring_desc){ .addr = GUEST_BUFFERS_AT + guest->buffers_taken,
							       .len = bytes,
							       .flags = buffer->flags | VRING_DESC_F_NEXT,
							       .next = (uint16_t)(first + i - from + 1) };
		guest->buffers_taken += bytes;
	}
	assert(guest->buffers_taken <= GUEST_BUFFERS_BYTES);
	return to - from;
}

uint16_t
guest_offer(struct guest_rings *guest, const struct guest_buffer *buffer)
{
	uint16_t head = guest->descriptors_taken, direct = buffer->indirect ? buffer->direct : buffer->pieces;
	struct vring_desc *last = &guest->descriptors[head + direct - 1];

	assert(head + direct + buffer->indirect <= guest->entries);
	guest->descriptors_taken += make_pieces(guest, guest->descriptors, head, buffer, 0, direct);
	if (buffer->indirect) {
		uint32_t pieces = buffer->pieces - direct, at = GUEST_RINGS_AT + TABLES_OFFSET + guest->tables_taken;
		struct vring_desc *table = guest_at(guest, at);

		guest->descriptors[guest->descriptors_taken++] =
			(struct vring_desc){ .addr = at, .len = pieces * 16, .flags = VRING_DESC_F_INDIRECT };
		make_pieces(guest, table, 0, buffer, direct, buffer->pieces);
		guest->tables_taken += pieces * 16;
		last = &table[pieces - 1];
	}
	last->flags &= (uint16_t)~VRING_DESC_F_NEXT;
	guest_offer_head(guest, head);
	return head;
}

static uint32_t
move_bytes(struct guest_rings *guest, uint16_t head, uint8_t *bytes, uint32_t count, bool into_guest)
{
	const struct vring_desc *table = guest->descriptors, *descriptor = &table[head];
	uint32_t moved = 0;

	for (;; descriptor = &table[descriptor->next]) {
		uint32_t piece;

		if (descriptor->flags & VRING_DESC_F_INDIRECT)
			descriptor = table = guest_at(guest, descriptor->addr);
		piece = RTE_MIN(descriptor->len, count - moved);
		if (piece && into_guest)
			memcpy(guest_at(guest, descriptor->addr), bytes + moved, piece);
		else if (piece)
			memcpy(bytes + moved, guest_at(guest, descriptor->addr), piece);
		moved += piece;
		if (moved == count || !(descriptor->flags & VRING_DESC_F_NEXT))
			return moved;
	}
}

uint32_t
guest_buffer_fill(struct guest_rings *guest, uint16_t head, const uint8_t *bytes, uint32_t count)
{
	return move_bytes(guest, head, (uint8_t *)bytes, count, true);
}

uint32_t
guest_buffer_read(struct guest_rings *guest, uint16_t head, uint8_t *bytes, uint32_t count)
{
	return move_bytes(guest, head, bytes, count, false);
}

uint32_t
guest_take(struct guest_rings *guest, uint8_t *bytes, uint32_t room)
{
	uint16_t buffers = 1;
	uint32_t total = 0;

	for (uint16_t i = 0; i < buffers; i++) {
		const struct vring_used_elem *element;

		if (guest->used_seen == guest->used->idx)
			return 0;
		element = &guest->used->ring[guest->used_seen++ & (guest->entries - 1)];
		assert(element->len <= room - total);
		if (guest_buffer_read(guest, (uint16_t)element->id, bytes + total, element->len) != element->len)
			return 0;
		total += element->len;
		if (i == 0 && guest->vq.mergeable)
			memcpy(&buffers, bytes + offsetof(struct virtio_net_hdr_v1, num_buffers), sizeof(buffers));
	}
	return total;
}
