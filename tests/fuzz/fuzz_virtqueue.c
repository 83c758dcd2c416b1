/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest made of noise: its rings, descriptors and indirect tables are the fuzzer's bytes, and so is what the device
 * does with them. Nothing may be touched outside its memory, no frame buffer may be lost, no loop may be endless, no
 * byte of a frame that was refused may be in the guest's memory.
 */
#include "noise.h"
#include "vhost/ctrl.h"
#include "vhost/guest.h"
#include "vhost/vring.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <stdlib.h>
#include <string.h>

enum {
	RINGS_BYTES = 0x1000,        /* the guest's addresses start at 0: noise finds them */
	BUFFERS_BYTES = 0x4000,
	LOG_BYTES = 1,               /* more pages than that are written */
	AVAILABLE_OFFSET = 0x400,
	USED_OFFSET = 0x500,
	BURST = 32,
	SEGMENTS_MAX = 3,
	REFUSED = 0xee,              /* the bytes of frames that are; nothing else in the buffers is */
	POOL_FRAMES = 255,
	POOL_ROOM = 512,
	GSO_HEADER_BYTES = 54,
	STEPS_BYTES = 128,           /* of the input; what follows is the guest's ring memory */
};

#define TAKES_ALL (1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_ECN)
#define LEAVES_ALL (1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6)

static struct rte_mempool *pool;
static uint8_t frame_bytes[UINT16_MAX], refused_bytes[UINT16_MAX];
static uint8_t lookahead[BURST * LOOKAHEAD_SLOT_BYTES];

struct target {
	uint8_t *rings;
	uint8_t *buffers;
	uint8_t log[LOG_BYTES];
	struct guest guest;
	struct virtqueue *vq;
};

static void
target_create(struct target *target, struct noise *noise)
{
	uint16_t options = noise16(noise);
	struct virtqueue_layout layout = {
		.entries = 1u << options % 7,
		.available_next = noise16(noise),
		.call = -1,
		.features = (uint64_t)(options >> 3 & 1) << VIRTIO_F_VERSION_1 |
			    (uint64_t)(options >> 4 & 1) << VIRTIO_NET_F_MRG_RXBUF |
			    (uint64_t)(options >> 5 & 1) << VIRTIO_RING_F_INDIRECT_DESC |
			    (uint64_t)(options >> 6 & 1) << VIRTIO_RING_F_EVENT_IDX,
	};
	size_t steps = RTE_MIN(noise->left, (size_t)STEPS_BYTES);
	size_t bytes = RTE_MIN(noise->left - steps, (size_t)RINGS_BYTES);

	memset(target, 0, sizeof(*target));
	target->rings = aligned_alloc(16, RINGS_BYTES);
	target->buffers = aligned_alloc(16, BUFFERS_BYTES);
	memset(target->rings, 0, RINGS_BYTES);
	memset(target->buffers, 0, BUFFERS_BYTES);
	memcpy(target->rings, noise->at + steps, bytes);
	noise->left = steps;
	target->vq = &target->guest.rings[GUEST_RECEIVES];
	guest_memory_add(&target->guest.memory, 0, RINGS_BYTES, target->rings);
	guest_memory_add(&target->guest.memory, RINGS_BYTES, BUFFERS_BYTES, target->buffers);
	if (options >> 7 & 1) {
		layout.log = (struct dirty_log){ target->log, LOG_BYTES };
		layout.used_log_address = USED_OFFSET;
	}
	if (options >> 8 & 1)
		layout.features |= LEAVES_ALL;
	if (options >> 9 & 1)
		layout.features |= TAKES_ALL;
	layout.used_next = layout.available_next;
	layout.descriptors = (struct vring_desc *)target->rings;
	layout.available = (struct vring_avail *)(target->rings + AVAILABLE_OFFSET);
	layout.used = (struct vring_used *)(target->rings + USED_OFFSET);
	if (virtqueue_open(target->vq, &layout, &target->guest.memory))
		abort();
}

static void
target_destroy(struct target *target)
{
	if (memchr(target->buffers, REFUSED, BUFFERS_BYTES))
		abort();
	free(target->rings);
	free(target->buffers);
	if (rte_mempool_avail_count(pool) != POOL_FRAMES)
		abort();
}

/* What a step is made of. */
struct step {
	uint16_t shape; /* of frames, and which of them are refused */
	uint16_t word;
};

/* Offer some more, most often a number that is allowed. */
static void
step_offer(struct target *target, struct step step)
{
	struct vring_avail *available = (struct vring_avail *)(target->rings + AVAILABLE_OFFSET);
	uint32_t more = step.word & 0x8000 ? step.word : step.word % (target->vq->mask + 2u);

	available->idx = (uint16_t)(target->vq->available_next + more);
}

/* Frames as a port may receive them, and how each is split. */
struct burst {
	struct rte_mbuf segments[BURST][SEGMENTS_MAX];
	struct rte_mbuf *frames[BURST];
	uint16_t offsets[BURST];
	uint32_t refused; /* a bit a frame */
	uint16_t n;
};

/* As noted of a frame of TCP over IPv4. */
static void
gso_make(struct rte_mbuf *frame)
{
	frame->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4;
	frame->l2_len = 14;
	frame->l3_len = 20;
	frame->l4_len = 20;
	frame->tso_segsz = 500;
}

static void
frame_make(struct rte_mbuf *segments, uint8_t *bytes, uint32_t length, uint16_t shape)
{
	uint32_t left = length, first = length * (shape % 16u) / 15;
	unsigned last = shape / 16 % SEGMENTS_MAX;

	memset(segments, 0, (last + 1) * sizeof(*segments));
	for (unsigned i = 0; i <= last; i++) {
		segments[i].buf_addr = bytes;
		segments[i].data_len = (uint16_t)(i == last ? left : i ? left / 2 : first);
		segments[i].next = i == last ? NULL : &segments[i + 1];
		left -= segments[i].data_len;
	}
	segments->pkt_len = length;
	segments->nb_segs = (uint16_t)(last + 1);
	if (shape & 0x8000 && segments->data_len >= GSO_HEADER_BYTES)
		gso_make(segments);
}

static void
burst_make(struct burst *burst, struct step step, uint32_t refused)
{
	burst->n = 1 + step.word % BURST;
	burst->refused = refused;
	for (uint16_t i = 0; i < burst->n; i++) {
		struct rte_mbuf *frame = burst->frames[i] = burst->segments[i];

		frame_make(frame, refused >> i & 1 ? refused_bytes : frame_bytes, (step.word >> 5) * (i + 1u),
			   step.shape);
		burst->offsets[i] = RTE_MIN(step.shape * (i + 1u) % (LOOKAHEAD_SLOT_BYTES + 1), frame->data_len);
	}
}

static void
step_deliver(struct target *target, struct step step)
{
	enum drop_reason rest = DROP_REASON_COUNT;
	struct burst burst;

	burst_make(&burst, step, 0);
	if (virtqueue_deliver(target->vq, burst.frames, burst.n, &rest) > burst.n || rest == DROP_REASON_COUNT)
		abort();
}

static uint16_t
inspect(void *ctx, const struct split_delivery *delivery, uint16_t first, uint16_t n)
{
	const struct burst *burst = ctx;

	if (!n || n > INSPECT_BURST_MAX || first + n > burst->n)
		abort();
	for (uint16_t i = 0; i < n; i++) {
		if (memcmp(split_slot(delivery, first + i), rte_pktmbuf_mtod(delivery->frames[first + i], void *),
			   delivery->offsets[first + i]) != 0)
			abort();
		if (burst->refused >> (first + i) & 1)
			return i;
	}
	return n;
}

static void
step_deliver_split(struct target *target, struct step step)
{
	uint64_t drops[DROP_REASON_COUNT] = { 0 }, counted;
	uint16_t waiting = 0;
	struct burst burst;
	struct split_delivery delivery = { burst.frames, burst.offsets, 1 + step.word % BURST,
					   lookahead,    inspect,       &burst };

	burst_make(&burst, step, step.shape % 2 ? step.shape * 0x9e3779b9u >> step.shape % 8 : 0);
	counted = guest_deliver_split(&target->guest, &delivery, drops, &waiting) + waiting;
	for (unsigned i = 0; i < DROP_REASON_COUNT; i++)
		counted += drops[i];
	if (counted != burst.n)
		abort();
}

static bool
owns_mac(void *ctx, uint64_t mac)
{
	(void)ctx;
	return mac % 3;
}

static bool
owns_vlan(void *ctx, uint16_t vlan)
{
	(void)ctx;
	return vlan % 3;
}

static void
ignore(void *ctx, const char *what)
{
	(void)ctx;
	(void)what;
}

static void
step_control(struct target *target, struct step step)
{
	const struct ctrl_rules rules = { owns_mac, owns_vlan, target->vq, ignore, NULL };

	(void)step;
	if (ctrl_serve(target->vq, &rules) > CTRL_COMMANDS_MAX)
		abort();
}

/* What a guest made us believe has to hold when it is acted upon; segments that no buffer holds are too big elsewhere. */
static void
cut_all(const struct rte_mbuf *frame)
{
	uint32_t pieces = 0;
	struct cut cut;

	if (frame_wire_bytes(frame) > POOL_ROOM)
		return;
	for (cut_begin(&cut, frame); cut_pending(&cut); pieces++) {
		struct rte_mbuf *piece = rte_pktmbuf_alloc(pool);

		if (!piece)
			return;
		cut_next(&cut, piece);
		if (piece->pkt_len > frame_wire_bytes(frame))
			abort();
		rte_pktmbuf_free(piece);
	}
	if (pieces != gso_pieces(frame))
		abort();
}

static void
step_collect(struct target *target, struct step step)
{
	struct rte_mbuf *frames[BURST];
	uint16_t n = virtqueue_collect(target->vq, pool, frames, 1 + step.word % BURST);

	for (uint16_t i = 0; i < n; i++) {
		if (frame_is_gso(frames[i]))
			cut_all(frames[i]);
		else if (frames[i]->pkt_len > COLLECT_FRAME_BYTES_MAX)
			abort();
	}
	rte_pktmbuf_free_bulk(frames, n);
}

static void
step_reserve(struct target *target, struct step step)
{
	static struct reservation reservation;
	static const struct rte_mbuf plain;
	uint16_t used_before = target->vq->used_next;

	if (virtqueue_reserve(target->vq, step.word, &reservation))
		return;
	virtqueue_write(target->vq, &reservation, step.word / 2, frame_bytes, step.word - step.word / 2);
	virtqueue_write(target->vq, &reservation, 0, frame_bytes, step.word / 2);
	virtqueue_complete(target->vq, &reservation, &plain);
	ring_flush(target->vq, used_before);
}

static void
step_change(struct target *target, struct step step)
{
	target->rings[step.word % RINGS_BYTES] ^= (uint8_t)(1u << step.word / RINGS_BYTES % 8);
}

static void
step_arm(struct target *target, struct step step)
{
	(void)step;
	virtqueue_notify(target->vq);
	virtqueue_arm(target->vq);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	static void (*const steps[])(struct target *, struct step) = {
		step_offer, step_deliver, step_collect, step_reserve, step_change, step_offer, step_arm, step_deliver_split,
		step_control,
	};
	struct noise noise = { bytes, count };
	struct target target;

	target_create(&target, &noise);
	while (noise.left) {
		uint16_t kind = noise16(&noise);

		steps[kind % RTE_DIM(steps)](&target, (struct step){ kind / RTE_DIM(steps), noise16(&noise) });
	}
	target_destroy(&target);
	return 0;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char *arguments[] = { (*argv)[0], "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "64",
			      "--log-level=error" };

	(void)argc;
	memset(refused_bytes, REFUSED, sizeof(refused_bytes));
	if (rte_eal_init(RTE_DIM(arguments), arguments) < 0)
		abort();
	pool = rte_pktmbuf_pool_create("frames", POOL_FRAMES, 0, 0, POOL_ROOM + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	if (!pool)
		abort();
	return 0;
}
