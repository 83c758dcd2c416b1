/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of one TCP connection, each changed here and there: however they are joined, no byte beyond a frame's end is
 * read, and what is cut again is as many bytes of payload as came. Each frame is a heap block.
 */
#include "noise.h"
#include "frame/join.h"
#include "frame/offload.h"

#include <stdlib.h>
#include <string.h>

enum {
	FRAMES = 6,
	PAYLOAD = 600,
	HEADERS = 54,
	FRAME_BYTES = HEADERS + PAYLOAD,
	BUFFER_BYTES = RTE_PKTMBUF_HEADROOM + FRAME_BYTES,
	CHANGES_MAX = 8,
};

static bool
takes(const void *ctx, uint16_t queue_id, unsigned kind)
{
	(void)ctx;
	(void)kind;
	return queue_id != 2;
}

static void
put(uint8_t *at, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static void
fill(uint8_t *frame, unsigned index)
{
	memset(frame, 7, FRAME_BYTES);
	put(frame + 12, 0x0800, 2);
	put(frame + 14, 0x4500, 2);
	put(frame + 16, FRAME_BYTES - 14, 2);
	put(frame + 20, 0x40004006, 4);
	put(frame + 38, index * PAYLOAD, 4);
	put(frame + 46, 0x5010, 2);
}

/* Shorter by up to 255 bytes, changed at some places, its checksums known to a card or not. */
static struct rte_mbuf *
make(struct noise *noise, unsigned index)
{
	struct rte_mbuf *frame = calloc(1, sizeof(*frame));
	const uint16_t length = FRAME_BYTES - noise8(noise);
	uint8_t *buffer = malloc(RTE_PKTMBUF_HEADROOM + length), whole[FRAME_BYTES];

	fill(whole, index);
	for (unsigned changes = noise8(noise) % CHANGES_MAX; changes; changes--)
		whole[noise8(noise) % 80] = noise8(noise);
	memcpy(buffer + RTE_PKTMBUF_HEADROOM, whole, length);
	*frame = (struct rte_mbuf){ .buf_addr = buffer,
				    .data_off = RTE_PKTMBUF_HEADROOM,
				    .buf_len = (uint16_t)(RTE_PKTMBUF_HEADROOM + length),
				    .nb_segs = 1,
				    .data_len = length,
				    .pkt_len = length };
	if (noise8(noise) % 4)
		frame->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return frame;
}

static void
check_cut(const struct rte_mbuf *frame)
{
	uint8_t buffer[BUFFER_BYTES + UINT8_MAX];
	uint32_t left = frame->pkt_len - gso_header_bytes(frame);
	struct cut cut;

	for (cut_begin(&cut, frame); cut_pending(&cut);) {
		struct rte_mbuf piece = { .buf_addr = buffer, .data_off = RTE_PKTMBUF_HEADROOM };

		cut_next(&cut, &piece);
		if (piece.pkt_len > frame_wire_bytes(frame))
			abort();
		left -= piece.pkt_len - gso_header_bytes(frame);
	}
	if (left)
		abort();
}

static void
release(struct rte_mbuf *frame)
{
	while (frame) {
		struct rte_mbuf *next = frame->next;

		free(frame->buf_addr);
		free(frame);
		frame = next;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct join_rules rules = { takes, NULL };
	struct noise noise = { data, size };
	struct rte_mbuf *frames[FRAMES];
	uint16_t queue_ids[FRAMES], n;
	unsigned pieces = 0;

	for (unsigned i = 0; i < FRAMES; i++) {
		frames[i] = make(&noise, i);
		queue_ids[i] = noise8(&noise) % 4;
	}
	n = join_burst(&rules, frames, queue_ids, FRAMES);
	for (uint16_t i = 0; i < n; i++) {
		pieces += frames[i]->nb_segs;
		if (frames[i]->nb_segs > 1 && (!frame_is_gso(frames[i]) || queue_ids[i] == 2))
			abort();
		if (frame_is_gso(frames[i]))
			check_cut(frames[i]);
		release(frames[i]);
	}
	if (pieces != FRAMES)
		abort();
	return 0;
}
