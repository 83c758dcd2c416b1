/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/capture.h"
#include "frame/key.h"
#include "frame/offload.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/bpf.h>
#include <rte_ether.h>
#include <rte_malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

_Static_assert((int)CAPTURE_ADAPTER_NAME_SIZE >= (int)ADAPTER_NAME_SIZE, "a name fits");
_Static_assert((int)CAPTURE_REASONS_MAX >= (int)DROP_REASON_COUNT, "all reasons fit");

enum {
	QUEUE_ALL = -1,
	HEAD_BYTES = 256, /* that the filter sees of a frame whose tag is beside it */
};

/* One worker's end of one capture: what the reader may not spoil. */
struct writer {
	uint64_t head, missed;
	uint64_t tail;           /* the reader's, as it was at the beginning of the burst */
} __rte_cache_aligned;

struct capture_path {
	struct capture_area *area;
	size_t area_bytes;
	uint8_t *rings;          /* in the area: the first worker's */
	uint32_t snap_bytes;
	struct bpf_insn *filter; /* NULL: all frames */
	uint16_t adapter_count;
	char adapters[CAPTURE_ADAPTERS_MAX][CAPTURE_ADAPTER_NAME_SIZE];
	struct writer writers[]; /* by worker */
};

/* One capture as workers see it. */
struct view_capture {
	struct capture_path *path;
	uint16_t adapter;        /* its index in the capture */
	int queue;               /* its id, or QUEUE_ALL */
	unsigned places;
};

/* Workers */

/* Room of so many bytes in one piece; the rest of the ring is padded if it is too short. NULL: there is none. */
static void *
ring_room(const struct capture_path *capture, uint16_t worker, struct writer *writer, uint32_t bytes)
{
	uint8_t *ring = capture->rings + (size_t)worker * CAPTURE_RING_BYTES;
	const uint64_t used = writer->head - writer->tail;
	const uint32_t offset = writer->head % CAPTURE_RING_BYTES, to_end = CAPTURE_RING_BYTES - offset;
	const uint32_t needed = bytes > to_end ? to_end + bytes : bytes;

	if (used > CAPTURE_RING_BYTES || needed > CAPTURE_RING_BYTES - used)
		return NULL;
	if (bytes <= to_end)
		return ring + offset;
	if (to_end >= sizeof(struct capture_record))
		((struct capture_record *)(ring + offset))->place = CAPTURE_PADDING;
	writer->head += to_end;
	return ring;
}

/* Where a tag that is beside the frame is shown in it: everywhere but at an access VM, which does not see it. */
static bool
shows_tag(const struct sighting *seen, const struct rte_mbuf *frame)
{
	return frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED && seen->place != CAPTURE_QUEUE &&
	       frame->data_len >= FRAME_HEADER_BYTES;
}

/* The first bytes as they are shown. @return how many. */
static uint32_t
copy_bytes(uint8_t *to, const struct rte_mbuf *frame, bool tag, uint32_t bytes)
{
	uint32_t done = 0, from = 0;

	if (tag) {
		const uint16_t words[2] = { rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN), rte_cpu_to_be_16(frame->vlan_tci) };
		uint8_t head[FRAME_HEADER_BYTES - 2 + FRAME_TAG_BYTES];

		memcpy(head, rte_pktmbuf_mtod(frame, const uint8_t *), FRAME_HEADER_BYTES - 2);
		memcpy(head + FRAME_HEADER_BYTES - 2, words, sizeof(words));
		done = RTE_MIN(bytes, (uint32_t)sizeof(head));
		memcpy(to, head, done);
		from = FRAME_HEADER_BYTES - 2;
	}
	for (const struct rte_mbuf *part = frame; part && done < bytes; part = part->next, from = 0) {
		const uint32_t some = RTE_MIN(part->data_len - from, bytes - done);

		memcpy(to + done, rte_pktmbuf_mtod_offset(part, const uint8_t *, from), some);
		done += some;
	}
	return done;
}

static bool
filter_passes(const struct bpf_insn *filter, const struct rte_mbuf *frame, bool tag, uint32_t frame_bytes)
{
	uint8_t head[HEAD_BYTES];

	if (!filter)
		return true;
	if (!tag)
		return bpf_filter(filter, rte_pktmbuf_mtod(frame, const uint8_t *), frame_bytes, frame->data_len);
	return bpf_filter(filter, head, frame_bytes, copy_bytes(head, frame, true, RTE_MIN(frame_bytes, sizeof(head))));
}

static void
copy_frame(struct capture_path *capture, const struct capture_record *common, const struct sighting *seen,
	   uint16_t worker, const struct rte_mbuf *frame)
{
	const bool tag = shows_tag(seen, frame);
	const uint32_t frame_bytes = frame->pkt_len + (tag ? FRAME_TAG_BYTES : 0);
	const uint32_t kept_bytes = RTE_MIN(frame_bytes, capture->snap_bytes);
	struct writer *writer = &capture->writers[worker];
	struct capture_record *record;

	if (!filter_passes(capture->filter, frame, tag, frame_bytes))
		return;
	record = ring_room(capture, worker, writer, capture_record_bytes(kept_bytes));
	if (!record) {
		writer->missed++;
		return;
	}
	*record = *common;
	record->frame_bytes = frame_bytes;
	record->kept_bytes = copy_bytes((uint8_t *)(record + 1), frame, tag, kept_bytes);
	record->vlan = frame->vlan_tci & 0x0fff;
	record->flags |= !tag && frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED ? CAPTURE_HAS_VLAN : 0;
	record->flags |= frame_is_gso(frame) ? CAPTURE_GSO : 0;
	writer->head += capture_record_bytes(kept_bytes);
}

static uint64_t
time_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool
wants(const struct view_capture *capture, const struct sighting *seen)
{
	return capture->places >> seen->place & 1 && (capture->queue == QUEUE_ALL || capture->queue == seen->queue);
}

void
capture_copy(const struct passage *passage, const struct sighting *seen, struct rte_mbuf *const *frames, uint16_t n)
{
	const uint16_t worker = passage->worker->index;
	struct capture_record common = {
		.queue = seen->queue,
		.place = (uint8_t)seen->place,
		.flags = seen->inbound ? CAPTURE_INBOUND : 0,
		.reason = (uint8_t)seen->reason,
	};

	for (uint16_t c = 0; c < passage->view->capture_count; c++) {
		const struct view_capture *capture = &passage->view->captures[c];
		struct capture_ring *ring = &capture->path->area->rings[worker];
		struct writer *writer = &capture->path->writers[worker];

		if (!wants(capture, seen))
			continue;
		if (!common.time_ns) /* one for the burst */
			common.time_ns = time_ns();
		common.adapter = capture->adapter;
		writer->tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
		for (uint16_t i = 0; i < n; i++)
			copy_frame(capture->path, &common, seen, worker, frames[i]);
		atomic_store_explicit(&ring->head, writer->head, memory_order_release);
		atomic_store_explicit(&ring->missed, writer->missed, memory_order_relaxed);
	}
}

/* Control */

/* One instruction of "code jt jf k". @return what follows it; NULL: it is none. */
static const char *
instruction_read(const char *text, struct bpf_insn *instruction)
{
	unsigned code, jt, jf, k;
	int length = 0;

	if (sscanf(text, "%u %u %u %u%n", &code, &jt, &jf, &k, &length) != 4 || code > UINT16_MAX || jt > UINT8_MAX ||
	    jf > UINT8_MAX)
		return NULL;
	*instruction = (struct bpf_insn){ (u_short)code, (u_char)jt, (u_char)jf, k };
	return text + length;
}

/* "N,code jt jf k,…" @return 0; -EINVAL; -ENOMEM. */
static int
filter_read(const char *text, struct bpf_insn **filter)
{
	int length = 0, count;

	if (sscanf(text, "%d%n", &count, &length) != 1 || count < 1 || count > CAPTURE_FILTER_MAX)
		return -EINVAL;
	text += length;
	*filter = calloc((size_t)count, sizeof(**filter));
	if (!*filter)
		return -ENOMEM;
	for (int i = 0; text && i < count; i++)
		text = *text == ',' ? instruction_read(text + 1, &(*filter)[i]) : NULL;
	if (text && !strcmp(text + strspn(text, ","), "") && bpf_validate(*filter, count))
		return 0;
	free(*filter);
	*filter = NULL;
	return -EINVAL;
}

/* All of it is there from the start: no worker waits for a page. It cannot shrink under a worker either. */
static int
area_create(struct capture_path *capture, uint32_t rings)
{
	const int file = memfd_create("vmq-capture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error;

	capture->area_bytes = capture_area_bytes(rings);
	if (file < 0)
		return -errno;
	if (ftruncate(file, (off_t)capture->area_bytes) || fallocate(file, 0, 0, (off_t)capture->area_bytes) ||
	    fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		goto fail;
	capture->area = mmap(NULL, capture->area_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
	if (capture->area == MAP_FAILED)
		goto fail;
	capture->rings = (uint8_t *)capture->area + capture_data_offset(rings);
	capture->area->version = CAPTURE_VERSION;
	capture->area->ring_count = rings;
	for (enum drop_reason reason = 0; reason < DROP_REASON_COUNT; reason++)
		snprintf(capture->area->reasons[reason], CAPTURE_REASON_SIZE, "%s", drop_reason_word(reason));
	return file;
fail:
	error = -errno;
	close(file);
	return error;
}

int
path_capture_open(void *ctx, struct capture *capture, const struct capture_wish *wish, int *file, struct refusal *why)
{
	const struct path *path = ctx;
	struct capture_path *half;
	int error;

	half = rte_zmalloc("capture", sizeof(*half) + path->worker_count * sizeof(half->writers[0]),
			   RTE_CACHE_LINE_SIZE);
	if (!half)
		return refuse(why, -ENOMEM, "no memory for a capture: start vmqd with more --memory");
	half->snap_bytes = wish->snap_bytes;
	error = wish->filter ? filter_read(wish->filter, &half->filter) : 0;
	if (error == -EINVAL)
		refuse(why, error, "filter must be a program as `tcpdump -ddd` prints it, with commas for line ends");
	*file = error ? error : area_create(half, path->worker_count);
	if (*file >= 0) {
		capture->path = half;
		return 0;
	}
	if (!error)
		refuse(why, *file, "no memory for what is captured: %s", strerror(-*file));
	free(half->filter);
	rte_free(half);
	return *file;
}

void
path_capture_close(void *ctx, struct capture *capture)
{
	struct capture_path *half = capture->path;

	(void)ctx;
	atomic_store(&half->area->over, true);
	munmap(half->area, half->area_bytes);
	free(half->filter);
	rte_free(half);
}

/* The index of an adapter in a capture, by its name: one that comes back has the same. @return less than 0: no room. */
static int
adapter_index(struct capture_path *capture, const char *name)
{
	uint16_t i = 0;

	while (i < capture->adapter_count && strcmp(capture->adapters[i], name))
		i++;
	if (i == CAPTURE_ADAPTERS_MAX)
		return -ENOSPC;
	if (i == capture->adapter_count) {
		snprintf(capture->adapters[i], sizeof(capture->adapters[i]), "%s", name);
		memcpy(capture->area->adapters[i], capture->adapters[i], sizeof(capture->adapters[i]));
		capture->adapter_count++;
	}
	return i;
}

struct view_capture *
view_captures(const struct adapter *adapter, uint16_t *count)
{
	struct view_capture *captures = NULL;
	struct capture *capture;

	*count = 0;
	TAILQ_FOREACH(capture, &adapter->model->captures, of_model) {
		const int index = capture_watches(capture, adapter) ?
					  adapter_index(capture->path, adapter->config.name) :
					  -ENOENT;

		if (index < 0)
			continue;
		captures = realloc(captures, (*count + 1u) * sizeof(captures[0]));
		if (!captures)
			abort();
		captures[(*count)++] = (struct view_capture){
			.path = capture->path,
			.adapter = (uint16_t)index,
			.queue = capture->target.queue ? capture->target.queue->id : QUEUE_ALL,
			.places = capture->target.places,
		};
	}
	return captures;
}
