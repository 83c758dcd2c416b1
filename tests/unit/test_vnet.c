/* SPDX-License-Identifier: BSD-3-Clause */
/* What a kernel says of a frame in its virtio-net header: what was missing is there, and who gets it is told the truth. */
#include "left_frames.h"
#include "packet_pool.h"
#include "port/vnet.h"
#include "rows.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum {
	POOL_FRAMES = 255,
	POOL_ROOM = 2048,
	MSS = 1448,
};

static struct rte_mempool *pool;
static struct vnet vnet;

static const struct shape tcp4 = { IPPROTO_TCP, false, 0, 0, 3 }, udp6 = { IPPROTO_UDP, true, 0, 0, 0 };

static struct frame_case {
	const char *name;
	const struct shape *shape;
	uint32_t payload;
	uint8_t flags;
	bool checked, gso;
} frames[] = {
	{ "nothing is said", &tcp4, 300, 0, false, false },
	{ "its checksum is missing", &tcp4, 300, VIRTIO_NET_HDR_F_NEEDS_CSUM, true, false },
	{ "its checksum was found right", &tcp4, 300, VIRTIO_NET_HDR_F_DATA_VALID, true, false },
	{ "a datagram whose checksum is missing", &udp6, 300, VIRTIO_NET_HDR_F_NEEDS_CSUM, true, false },
	{ "not cut", &tcp4, 20 * MSS, VIRTIO_NET_HDR_F_NEEDS_CSUM, false, true },
};

static void
finished(void **state)
{
	const struct frame_case *row = *state;
	struct built *built = build(row->shape, row->payload);
	struct virtio_net_hdr header = header_of(row->shape, built, row->gso ? MSS : 0);
	struct rte_mbuf *frame = packet_of(pool, built->bytes, built->length);

	header.flags = row->flags;
	assert_true(vnet_finish(&vnet, &header, frame));
	assert_int_equal(frame_is_checked(frame), row->checked);
	assert_int_equal(frame_is_gso(frame), row->gso);
	if (row->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !row->gso) {
		memcpy(built->bytes, rte_pktmbuf_mtod(frame, void *), built->length);
		assert_true(checksum_is_right(row->shape, built));
	}
	rte_pktmbuf_free(frame);
	free(built);
}

/* One that does not fit its header is freed and counted, whatever else the header says. */
static void
refused(void **state)
{
	struct built *built = build(&tcp4, 300);
	struct virtio_net_hdr header = header_of(&tcp4, built, 0);

	(void)state;
	header.flags |= VIRTIO_NET_HDR_F_DATA_VALID;
	header.csum_offset = (uint16_t)built->length;
	assert_false(vnet_finish(&vnet, &header, packet_of(pool, built->bytes, built->length)));
	assert_int_equal(atomic_load(&vnet.refused), 1);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	free(built);
}

int
main(void)
{
	static struct row_tests all;

	pool = packet_pool_start(POOL_FRAMES, POOL_ROOM);
	if (!pool)
		return 1;
	vnet_init(&vnet, pool);
	ROWS(&all, finished, frames);
	TEST(&all, refused);
	return row_tests_run("vnet", &all);
}
