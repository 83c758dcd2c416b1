#include "guest_rings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	AVAILABLE_OFFSET = 0x10000,
	USED_OFFSET = 0x18000,
	TABLES_OFFSET = 0x20000,
};

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

/* Pieces of equal length, the rest in the last; `first` is the index of the first descriptor in its table. */
static uint32_t
make_pieces(struct guest_rings *guest, struct vring_desc *table, uint16_t first, const struct guest_buffer *buffer,
	    uint16_t from, uint16_t to)
{
	uint32_t each = buffer->bytes / buffer->pieces, made = 0;

	for (uint16_t i = from; i < to; i++) {
		uint32_t bytes = i == buffer->pieces - 1 ? buffer->bytes - each * i : each;

		table[first + i - from] = (struct vring_desc){ .addr = GUEST_BUFFERS_AT + guest->buffers_taken,
							       .len = bytes,
							       .flags = buffer->flags | VRING_DESC_F_NEXT,
							       .next = (uint16_t)(first + i - from + 1) };
		guest->buffers_taken += bytes;
		made++;
	}
	assert(guest->buffers_taken <= GUEST_BUFFERS_BYTES);
	return made;
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
