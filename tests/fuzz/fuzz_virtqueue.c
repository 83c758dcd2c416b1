/*
 * A guest made of noise: its rings, descriptors and indirect tables are the fuzzer's bytes, and so is what the device
 * does with them. Nothing may be touched outside its memory, no frame buffer may be lost, no loop may be endless.
 */
#include "vm/vring.h"

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
	POOL_FRAMES = 255,
	STEPS_BYTES = 128,           /* of the input; what follows is the guest's ring memory */
};

static struct rte_mempool *pool;
static uint8_t frame_bytes[UINT16_MAX];

/* What is left of the input. */
struct noise {
	const uint8_t *at;
	size_t left;
};

static uint16_t
noise16(struct noise *noise)
{
	uint16_t value = 0;
	size_t bytes = RTE_MIN(noise->left, sizeof(value));

	memcpy(&value, noise->at, bytes);
	noise->at += bytes;
	noise->left -= bytes;
	return value;
}

struct target {
	uint8_t *rings;
	uint8_t *buffers;
	uint8_t log[LOG_BYTES];
	struct guest_memory memory;
	struct virtqueue vq;
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
	guest_memory_add(&target->memory, 0, RINGS_BYTES, target->rings);
	guest_memory_add(&target->memory, RINGS_BYTES, BUFFERS_BYTES, target->buffers);
	if (options >> 7 & 1) {
		layout.log = (struct dirty_log){ target->log, LOG_BYTES };
		layout.used_log_address = USED_OFFSET;
	}
	layout.used_next = layout.available_next;
	layout.descriptors = (struct vring_desc *)target->rings;
	layout.available = (struct vring_avail *)(target->rings + AVAILABLE_OFFSET);
	layout.used = (struct vring_used *)(target->rings + USED_OFFSET);
	if (virtqueue_open(&target->vq, &layout, &target->memory))
		abort();
}

static void
target_destroy(struct target *target)
{
	free(target->rings);
	free(target->buffers);
	if (rte_mempool_avail_count(pool) != POOL_FRAMES)
		abort();
}

/* Offer some more, most often a number that is allowed. */
static void
step_offer(struct target *target, uint16_t word)
{
	struct vring_avail *available = (struct vring_avail *)(target->rings + AVAILABLE_OFFSET);

	available->idx = (uint16_t)(target->vq.available_next + (word & 0x8000 ? word : word % (target->vq.mask + 2u)));
}

static void
step_deliver(struct target *target, uint16_t word)
{
	struct rte_mbuf frames[BURST], *pointers[BURST];
	enum drop_reason rest = DROP_REASON_COUNT;
	uint16_t n = 1 + word % BURST;

	memset(frames, 0, sizeof(frames));
	for (uint16_t i = 0; i < n; i++) {
		frames[i].buf_addr = frame_bytes;
		frames[i].nb_segs = 1;
		frames[i].data_len = (uint16_t)((word >> 5) * (i + 1u));
		frames[i].pkt_len = frames[i].data_len;
		pointers[i] = &frames[i];
	}
	if (virtqueue_deliver(&target->vq, pointers, n, &rest) > n || rest == DROP_REASON_COUNT)
		abort();
}

static void
step_collect(struct target *target, uint16_t word)
{
	struct rte_mbuf *frames[BURST];
	uint16_t n = virtqueue_collect(&target->vq, pool, frames, 1 + word % BURST);

	for (uint16_t i = 0; i < n; i++)
		if (frames[i]->pkt_len > COLLECT_FRAME_BYTES_MAX)
			abort();
	rte_pktmbuf_free_bulk(frames, n);
}

static void
step_reserve(struct target *target, uint16_t word)
{
	static struct reservation reservation;
	uint16_t used_before = target->vq.used_next;

	if (virtqueue_reserve(&target->vq, word, &reservation))
		return;
	virtqueue_write(&target->vq, &reservation, word / 2, frame_bytes, word - word / 2);
	virtqueue_write(&target->vq, &reservation, 0, frame_bytes, word / 2);
	virtqueue_complete(&target->vq, &reservation);
	ring_flush(&target->vq, used_before);
}

static void
step_change(struct target *target, uint16_t word)
{
	target->rings[word % RINGS_BYTES] ^= (uint8_t)(1u << word / RINGS_BYTES % 8);
}

static void
step_arm(struct target *target, uint16_t word)
{
	(void)word;
	virtqueue_arm(&target->vq);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	static void (*const steps[])(struct target *, uint16_t) = {
		step_offer, step_deliver, step_collect, step_reserve, step_change, step_offer, step_arm, step_deliver
	};
	struct noise noise = { bytes, count };
	struct target target;

	target_create(&target, &noise);
	while (noise.left) {
		uint16_t word = noise16(&noise);

		steps[word % RTE_DIM(steps)](&target, noise16(&noise));
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
	if (rte_eal_init(RTE_DIM(arguments), arguments) < 0)
		abort();
	pool = rte_pktmbuf_pool_create("frames", POOL_FRAMES, 0, 0, 512 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	if (!pool)
		abort();
	return 0;
}
