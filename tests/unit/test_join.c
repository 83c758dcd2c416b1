/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of a connection joined into one, and every reason not to. Whatever is joined, what it is cut into again is what
 * came, in the order in which it came.
 */
#include "frame/join.h"
#include "frame/key.h"
#include "frame/offload.h"
#include "left_frames.h"
#include "packet_pool.h"
#include "rows.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum {
	MSS = 1000,
	PIECES = 10,
	CHANGED = 4, /* the piece that rows below change */
	BURST = 64,
	POOL_FRAMES = 511,
	POOL_ROOM = 2048,
	QUEUE = 3,
	URG = 0x20,
};

static struct rte_mempool *pool;
static bool taken; /* whether VMs take what is joined */
static unsigned asked;

static bool
takes(const void *ctx, uint16_t queue_id, unsigned kind)
{
	assert_null(ctx);
	assert_int_equal(queue_id, QUEUE);
	assert_true(kind == GSO_TCP4 || kind == GSO_TCP6);
	asked++;
	return taken;
}

static const struct join_rules rules = { takes, NULL };

struct burst {
	struct rte_mbuf *frames[BURST];
	uint16_t queue_ids[BURST];
	uint16_t n;
};

/* As a kernel sends them: no fragments, the last with PSH. */
static void
make(struct burst *burst, const struct shape *shape, uint32_t pieces)
{
	struct built *built = build(shape, pieces * MSS);
	struct virtio_net_hdr header = header_of(shape, built, MSS);
	struct rte_mbuf *whole;
	struct cut cut;

	if (!shape->ipv6)
		put16(built->bytes + built->ip + 6, 0x4000);
	if (shape->protocol == IPPROTO_TCP)
		built->bytes[built->transport + 13] = PSH | ACK;
	whole = packet_of(pool, built->bytes, built->length);
	assert_int_equal(gso_note(whole, &header), 0);
	cut_begin(&cut, whole);
	for (burst->n = 0; cut_pending(&cut); burst->n++) {
		burst->frames[burst->n] = rte_pktmbuf_alloc(pool);
		burst->queue_ids[burst->n] = QUEUE;
		cut_next(&cut, burst->frames[burst->n]);
		burst->frames[burst->n]->ol_flags &= ~RTE_MBUF_F_RX_L4_CKSUM_MASK; /* as from a wire */
	}
	rte_pktmbuf_free(whole);
	free(built);
}

/* All bytes of all frames, as they leave when long ones are cut; of IPv4 the identification counts for nothing. */
static uint32_t
flatten(const struct burst *burst, uint8_t *into)
{
	uint32_t at = 0;

	for (uint16_t i = 0; i < burst->n; i++) {
		const struct rte_mbuf *frame = burst->frames[i];
		struct rte_mbuf *piece;
		struct cut cut;

		if (!frame_is_gso(frame)) {
			memcpy(into + at, rte_pktmbuf_mtod(frame, void *), frame->data_len);
			at += frame->data_len;
			continue;
		}
		for (cut_begin(&cut, frame); cut_pending(&cut);) {
			piece = rte_pktmbuf_alloc(pool);
			cut_next(&cut, piece);
			memcpy(into + at, rte_pktmbuf_mtod(piece, void *), piece->data_len);
			at += piece->data_len;
			rte_pktmbuf_free(piece);
		}
	}
	return at;
}

static void
release(struct burst *burst)
{
	rte_pktmbuf_free_bulk(burst->frames, burst->n);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

/* @return how many GSO frames there are now; the bytes are what they were. */
static unsigned
join(struct burst *burst)
{
	static uint8_t before[BURST * 2000], after[BURST * 2000];
	const uint32_t bytes = flatten(burst, before);
	unsigned gso = 0;

	burst->n = join_burst(&rules, burst->frames, burst->queue_ids, burst->n);
	assert_int_equal(flatten(burst, after), bytes);
	assert_memory_equal(after, before, bytes);
	for (uint16_t i = 0; i < burst->n; i++)
		gso += frame_is_gso(burst->frames[i]);
	return gso;
}

static struct shape_case {
	const char *name;
	struct shape shape;
} shapes[] = {
	{ "TCP over IPv4", { IPPROTO_TCP, false, 0, 0, 0 } },
	{ "TCP over IPv4, options of TCP, a tag", { IPPROTO_TCP, false, 1, 0, 3 } },
	{ "TCP over IPv6", { IPPROTO_TCP, true, 0, 0, 3 } },
	{ "TCP over IPv6, a tag", { IPPROTO_TCP, true, 1, 0, 0 } },
};

static void
joined(void **state)
{
	const struct shape *shape = &((const struct shape_case *)*state)->shape;
	struct burst burst;

	taken = true;
	for (uint32_t pieces = 2; pieces <= 45; pieces++) {
		make(&burst, shape, pieces);
		assert_int_equal(join(&burst), 1);
		assert_int_equal(burst.n, 1);
		assert_int_equal(burst.frames[0]->nb_segs, pieces);
		assert_int_equal(burst.frames[0]->tso_segsz, MSS);
		assert_int_equal(gso_kinds(burst.frames[0]), shape->ipv6 ? GSO_TCP6 : GSO_TCP4);
		release(&burst);
	}
	make(&burst, shape, BURST);
	assert_int_equal(join(&burst), 2);
	assert_int_equal(burst.n, 2);
	release(&burst);
}

static struct other_case {
	const char *name;
	struct shape shape;
} others[] = {
	{ "datagrams", { IPPROTO_UDP, false, 0, 0, 0 } },
	{ "options of IPv4", { IPPROTO_TCP, false, 0, 1, 0 } },
	{ "extension headers of IPv6", { IPPROTO_TCP, true, 0, 1, 0 } },
	{ "two tags", { IPPROTO_TCP, false, 2, 0, 0 } },
};

static void
other(void **state)
{
	struct burst burst;

	taken = true;
	make(&burst, &((const struct other_case *)*state)->shape, PIECES);
	assert_int_equal(join(&burst), 0);
	assert_int_equal(burst.n, PIECES);
	release(&burst);
}

/* Something of one frame in the middle. */
static struct change_case {
	const char *name;
	uint16_t at;     /* the byte that changes, of TCP over IPv4 without options */
	uint8_t value;
	bool sums;       /* the checksums are right again afterwards */
	uint16_t frames; /* that there are then */
} changes[] = {
	{ "another source address of the link", 6, 2, true, 3 },
	{ "another kind of service", 15, 4, true, 3 },
	{ "another time to live", 22, 9, true, 3 },
	{ "a fragment", 20, 0x20, true, 3 },
	{ "may be a fragment", 20, 0, true, 3 },
	{ "another address", 29, 9, true, 3 },
	{ "another port", 35, 9, true, 3 },
	{ "a hole before it", 41, 1, true, 3 },
	{ "it acknowledges more", 45, 9, true, 3 },
	{ "another window", 49, 9, true, 3 },
	{ "PSH", 47, PSH | ACK, true, 2 },
	{ "FIN", 47, FIN | ACK, true, 3 },
	{ "SYN", 47, SYN | ACK, true, 3 },
	{ "URG", 47, URG | ACK, true, 3 },
	{ "CWR", 47, CWR | ACK, true, 3 },
	{ "no ACK", 47, 0, true, 3 },
	{ "an urgent pointer", 53, 9, true, 3 },
	{ "a wrong sum of TCP", 51, 9, false, 3 },
	{ "a wrong sum of IP", 25, 9, false, 3 },
	{ "a wrong byte of payload", 500, 9, false, 3 },
};

static void
write_sums(uint8_t *bytes, uint32_t length)
{
	put16(bytes + 24, 0);
	put16(bytes + 24, ~sum(bytes + 14, 20, 0));
	put16(bytes + 50, 0);
	put16(bytes + 50, ~sum(bytes + 34, length - 34, sum(bytes + 26, 8, IPPROTO_TCP + length - 34)));
}

static void
change(void **state)
{
	const struct change_case *row = *state;
	struct burst burst;
	uint8_t *bytes;

	taken = true;
	make(&burst, &shapes[0].shape, PIECES);
	bytes = rte_pktmbuf_mtod(burst.frames[CHANGED], uint8_t *);
	bytes[row->at] ^= row->value ? row->value : bytes[row->at];
	if (row->at == 47)
		bytes[row->at] = row->value;
	if (row->sums)
		write_sums(bytes, burst.frames[CHANGED]->pkt_len);
	join(&burst);
	assert_int_equal(burst.n, row->frames);
	release(&burst);
}

/* Where a card has looked, nobody looks again. */
static void
known_sums(void **state)
{
	struct burst burst;

	(void)state;
	taken = true;
	make(&burst, &shapes[0].shape, PIECES);
	for (uint16_t i = 0; i < burst.n; i++)
		burst.frames[i]->ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD |
					     (i == CHANGED ? RTE_MBUF_F_RX_L4_CKSUM_BAD : RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	rte_pktmbuf_mtod_offset(burst.frames[CHANGED], uint8_t *, 500)[0] ^= 1;
	join(&burst);
	assert_int_equal(burst.n, 3);
	release(&burst);
}

/* A shorter one is the last, a longer one the first of the next. */
static void
lengths(void **state)
{
	struct burst burst;
	uint8_t *bytes;

	(void)state;
	taken = true;
	make(&burst, &shapes[0].shape, PIECES);
	bytes = rte_pktmbuf_mtod(burst.frames[PIECES - 2], uint8_t *);
	rte_pktmbuf_trim(burst.frames[PIECES - 2], 100);
	put16(bytes + 16, burst.frames[PIECES - 2]->pkt_len - 14);
	write_sums(bytes, burst.frames[PIECES - 2]->pkt_len);
	assert_int_equal(join(&burst), 1);
	assert_int_equal(burst.n, 2);
	assert_int_equal(burst.frames[0]->nb_segs, PIECES - 1);
	release(&burst);
}

/* Bytes behind the datagram, which an Ethernet of old puts there. */
static void
padding(void **state)
{
	struct burst burst;

	(void)state;
	taken = true;
	make(&burst, &shapes[0].shape, PIECES);
	memset(rte_pktmbuf_append(burst.frames[CHANGED], 4), 0, 4);
	join(&burst);
	assert_int_equal(burst.n, 3);
	release(&burst);
}

static void
tags_beside(void **state)
{
	struct burst burst;

	(void)state;
	taken = true;
	make(&burst, &shapes[0].shape, PIECES);
	for (uint16_t i = 0; i < burst.n; i++) {
		burst.frames[i]->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		burst.frames[i]->vlan_tci = i == CHANGED ? 8 : 7;
	}
	assert_int_equal(join(&burst), 2);
	assert_int_equal(burst.n, 3);
	assert_int_equal(burst.frames[0]->vlan_tci, 7);
	release(&burst);
}

/* A frame for the same VM that is not of the connection stays where it is; one for another VM is in nobody's way. */
/* As if the frame at `hole` were not of the connection: those behind it follow the one before it. */
static void
close_hole(struct burst *burst, uint16_t hole)
{
	for (uint16_t i = hole + 1; i < burst->n; i++) {
		uint8_t *bytes = rte_pktmbuf_mtod(burst->frames[i], uint8_t *);
		const uint32_t sequence = get32(bytes + 38) - MSS;

		put16(bytes + 38, sequence >> 16);
		put16(bytes + 40, sequence & 0xffff);
		write_sums(bytes, burst->frames[i]->pkt_len);
	}
}

static void
between(void **state)
{
	struct burst burst;

	(void)state;
	for (int another = 0; another < 2; another++) {
		taken = true;
		make(&burst, &shapes[0].shape, PIECES);
		rte_pktmbuf_trim(burst.frames[CHANGED], 900);
		burst.queue_ids[CHANGED] = another ? QUEUE + 1 : QUEUE;
		close_hole(&burst, CHANGED);
		burst.n = join_burst(&rules, burst.frames, burst.queue_ids, burst.n);
		assert_int_equal(burst.n, another ? 2 : 3);
		release(&burst);
	}
}

static void
not_taken(void **state)
{
	struct burst burst;

	(void)state;
	taken = false;
	asked = 0;
	make(&burst, &shapes[0].shape, PIECES);
	assert_int_equal(join(&burst), 0);
	assert_int_equal(burst.n, PIECES);
	assert_int_equal(asked, PIECES - 1);
	release(&burst);
}

int
main(void)
{
	static struct row_tests all;
	int failed;

	pool = packet_pool_start(POOL_FRAMES, POOL_ROOM);
	if (!pool)
		return 1;
	ROWS(&all, joined, shapes);
	ROWS(&all, other, others);
	ROWS(&all, change, changes);
	TEST(&all, known_sums);
	TEST(&all, lengths);
	TEST(&all, padding);
	TEST(&all, tags_beside);
	TEST(&all, between);
	TEST(&all, not_taken);
	failed = row_tests_run("join: frames of a connection", &all);
	rte_eal_cleanup();
	return failed;
}
