/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collecting what a guest sends: bytes leave its memory once, into buffers of ours, and are looked at only there.
 * Most frames are one plain buffer, virtio-net header and frame in a row, or a header in a descriptor of its own
 * before the frame; those are copied in passes. Any other is walked.
 */
#include "vhost/vring.h"

#include <rte_mbuf.h>

/* Where a frame is, without its header. */
struct source {
	uint8_t *at;        /* NULL: in pieces, has to be walked */
	uint32_t bytes;
	uint16_t head;
};

static uint16_t
load_heads(struct virtqueue *vq, struct source *sources, uint16_t n)
{
	n = RTE_MIN(n, ring_available(vq, n));
	for (uint16_t i = 0; i < n; i++) {
		sources[i].head = ring_head(vq, i);
		if (likely(sources[i].head <= vq->mask))
			rte_prefetch0(&vq->descriptors[sources[i].head]);
	}
	return n;
}

/* The frame behind a header in a descriptor of its own. */
static uint8_t *
frame_after_header(struct virtqueue *vq, const struct vring_desc *header, uint32_t *bytes)
{
	if (header->flags != VRING_DESC_F_NEXT || header->len != vq->header_bytes || header->next > vq->mask ||
	    !guest_memory_find(vq->memory, &vq->region, header->addr, header->len))
		return NULL;
	return plain_buffer(vq, header->next, 0, bytes);
}

static uint8_t *
frame_in_one_piece(struct virtqueue *vq, uint16_t head, uint32_t *bytes)
{
	struct vring_desc descriptor;
	uint8_t *at;

	if (unlikely(head > vq->mask))
		return NULL;
	descriptor = descriptor_load(vq->descriptors, head);
	if (descriptor.flags || descriptor.len <= vq->header_bytes)
		return frame_after_header(vq, &descriptor, bytes);
	at = guest_memory_find(vq->memory, &vq->region, descriptor.addr, descriptor.len);
	if (unlikely(!at))
		return NULL;
	*bytes = descriptor.len - vq->header_bytes;
	return at + vq->header_bytes;
}

static void
find_frames(struct virtqueue *vq, struct source *sources, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		sources[i].at = frame_in_one_piece(vq, sources[i].head, &sources[i].bytes);
		if (unlikely(!sources[i].at))
			continue;
		rte_prefetch0(sources[i].at);
		rte_prefetch0(sources[i].at + RTE_CACHE_LINE_SIZE);
	}
}

/* Add bytes to the end of a frame, with more buffers from its pool if it needs them. @return 0; -ENOBUFS. */
static int
frame_append(struct rte_mbuf *frame, struct rte_mbuf **last, const uint8_t *from, uint32_t bytes)
{
	while (bytes) {
		uint32_t piece = RTE_MIN(bytes, rte_pktmbuf_tailroom(*last));

		memcpy(rte_pktmbuf_mtod_offset(*last, uint8_t *, (*last)->data_len), from, piece);
		(*last)->data_len += (uint16_t)piece;
		frame->pkt_len += piece;
		from += piece;
		bytes -= piece;
		if (!bytes)
			break;
		(*last)->next = rte_pktmbuf_alloc(frame->pool);
		if (!(*last)->next)
			return -ENOBUFS;
		*last = (*last)->next;
		frame->nb_segs++;
	}
	return 0;
}

int
walk_header(struct virtqueue *vq, struct walk *walk, struct virtio_net_hdr_mrg_rxbuf *header, struct segment *segment)
{
	for (uint32_t at = 0; at < vq->header_bytes;) {
		int found = walk_next(vq, walk, 0, segment);
		uint32_t piece;

		if (found <= 0)
			return found;
		piece = RTE_MIN(vq->header_bytes - at, segment->bytes);
		memcpy((uint8_t *)header + at, segment->at, piece);
		segment->at += piece;
		segment->bytes -= piece;
		at += piece;
	}
	return 1;
}

int
walk_append(struct virtqueue *vq, struct walk *walk, struct segment *segment, struct rte_mbuf *frame,
	    uint32_t bytes_max)
{
	struct rte_mbuf *last = frame;
	int found = 1;

	while (found > 0) {
		if (frame_append(frame, &last, segment->at, RTE_MIN(segment->bytes, bytes_max - frame->pkt_len)))
			return -ENOBUFS;
		if (frame->pkt_len == bytes_max)
			return 0;
		found = walk_next(vq, walk, 0, segment);
	}
	return found;
}

static int
collect_walked(struct virtqueue *vq, uint16_t head, struct rte_mbuf *frame)
{
	struct walk walk = walk_start(vq, head);
	struct virtio_net_hdr_mrg_rxbuf header;
	struct segment segment;
	int found = walk_header(vq, &walk, &header, &segment);

	return found > 0 ? walk_append(vq, &walk, &segment, frame, COLLECT_FRAME_BYTES_MAX) : found;
}

static int
collect_frame(struct virtqueue *vq, const struct source *source, struct rte_mbuf *frame)
{
	struct rte_mbuf *last = frame;

	if (unlikely(!source->at))
		return collect_walked(vq, source->head, frame);
	if (unlikely(source->bytes > rte_pktmbuf_tailroom(frame)))
		return frame_append(frame, &last, source->at,
				    RTE_MIN(source->bytes, (uint32_t)COLLECT_FRAME_BYTES_MAX));
	frame_copy(rte_pktmbuf_mtod(frame, uint8_t *), source->at, source->bytes);
	frame->data_len = (uint16_t)source->bytes;
	frame->pkt_len = source->bytes;
	return 0;
}

/* @return how many frames were copied; fewer than n after a fault, or if the pool is empty. */
static uint16_t
collect_frames(struct virtqueue *vq, const struct source *sources, struct rte_mbuf **frames, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		if (unlikely(collect_frame(vq, &sources[i], frames[i])))
			return i;
		ring_put_used(vq, sources[i].head, 0);
	}
	return n;
}

static uint16_t
collect_finished(struct virtqueue *vq, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n)
{
	struct source sources[COLLECT_BURST_MAX];
	uint16_t done;

	n = load_heads(vq, sources, n);
	if (!n || rte_pktmbuf_alloc_bulk(pool, frames, n))
		return 0;
	ring_touch_used(vq, n);
	find_frames(vq, sources, n);
	done = collect_frames(vq, sources, frames, n);
	if (unlikely(done < n))
		rte_pktmbuf_free_bulk(frames + done, n - done);
	vq->available_next += done;
	return done;
}

uint16_t
virtqueue_collect(struct virtqueue *vq, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t used_before = vq->used_next, done;

	if (unlikely(!vq->open || vq->fault))
		return 0;
	n = RTE_MIN(n, COLLECT_BURST_MAX);
	done = vq->unfinished ? finish_collect(vq, pool, frames, n) : collect_finished(vq, pool, frames, n);
	if (likely(!vq->fault)) {
		ring_flush(vq, used_before);
		return done;
	}
	rte_pktmbuf_free_bulk(frames, done);
	return 0;
}
