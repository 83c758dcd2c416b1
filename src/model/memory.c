/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/internal.h"

#include <errno.h>
#include <stdlib.h>

static const char *const usage_words[] = {
#define USAGE_WORD(name, word) [MEMORY_##name] = word,
	MEMORY_USAGES(USAGE_WORD)
#undef USAGE_WORD
};

const char *
memory_usage_word(enum memory_usage usage)
{
	return usage_words[usage];
}

const char *
memory_space_word(enum memory_space space)
{
	return space == SPACE_GUEST ? "guest" : "host";
}

/* A guest must not see a byte that is not for its MAC and VLAN: its memory only where every filter tests both. */
static bool
filters_test_mac_and_vlan(const struct queue *queue)
{
	const struct filter *filter;

	TAILQ_FOREACH(filter, &queue->filters, of_queue)
		if (filter->vlan == VLAN_ANY)
			return false;
	return true;
}

enum memory_space
memory_space_of(const struct queue *queue, enum memory_usage usage)
{
	bool split = usage == MEMORY_POST_LOOKAHEAD && queue->lookahead_bytes;

	return split && filters_test_mac_and_vlan(queue) ? SPACE_GUEST : SPACE_HOST;
}

static int
request_check(const struct queue *queue, const struct memory_request *request, struct refusal *why)
{
	if ((unsigned)request->usage >= MEMORY_USAGE_COUNT)
		return refuse(why, -EINVAL, "shared memory for an unknown usage");
	if (!request->bytes)
		return refuse(why, -EINVAL, "shared memory of no bytes");
	if ((request->usage == MEMORY_LOOKAHEAD || request->usage == MEMORY_POST_LOOKAHEAD) && !queue->lookahead_bytes)
		return refuse(why, -ENOTSUP, "%s does not split frames", queue_text(queue).text);
	return 0;
}

/* The lowest handle that no memory of the queue has. */
static uint32_t
handle_free(const struct queue *queue)
{
	const struct memory *memory;
	uint32_t handle = 1;

	TAILQ_FOREACH(memory, &queue->memory, of_queue)
		if (memory->handle >= handle)
			handle = memory->handle + 1;
	return handle;
}

int
memory_allocate(struct queue *queue, const struct memory_request *request, struct memory **allocated,
		struct refusal *why)
{
	const struct nic_ops *nic = queue->adapter->model->config.nic;
	struct memory *memory;
	int error = request_check(queue, request, why);

	if (error)
		return error;
	memory = memory_zeroed(1, sizeof(*memory));
	memory->queue = queue;
	memory->request = *request;
	memory->space = memory_space_of(queue, request->usage);
	memory->handle = handle_free(queue);
	memory->node = request->node;
	if (memory->space == SPACE_HOST)
		error = nic->memory_get(queue->adapter->nic, memory);
	if (error) {
		free(memory);
		return refuse(why, error, "no %zu bytes of shared memory for %s: start vmqd with more --memory",
			      request->bytes, queue_text(queue).text);
	}
	TAILQ_INSERT_TAIL(&queue->memory, memory, of_queue);
	*allocated = memory;
	return 0;
}

void
memory_free(struct memory *memory)
{
	struct adapter *adapter = memory->queue->adapter;

	TAILQ_REMOVE(&memory->queue->memory, memory, of_queue);
	if (memory->space == SPACE_HOST)
		adapter->model->config.nic->memory_put(adapter->nic, memory);
	free(memory);
}

void
memory_free_all(struct queue *queue)
{
	while (!TAILQ_EMPTY(&queue->memory))
		memory_free(TAILQ_FIRST(&queue->memory));
}

/* One receive buffer holds a frame with two tags; where frames are split, a backfill as long as the lookahead. */
static size_t
buffer_bytes(const struct queue *queue)
{
	return queue->adapter->config.mtu + 14u + 2 * 4u + queue->lookahead_bytes;
}

/* What the queue has of it; of the lookahead, which lies in one piece, the largest. */
static size_t
bytes_of(const struct queue *queue, enum memory_usage usage)
{
	const struct memory *memory;
	size_t sum = 0, largest = 0;

	TAILQ_FOREACH(memory, &queue->memory, of_queue) {
		if (memory->request.usage != usage)
			continue;
		sum += memory->request.bytes;
		largest = memory->request.bytes > largest ? memory->request.bytes : largest;
	}
	return usage == MEMORY_LOOKAHEAD ? largest : sum;
}

/* @param added  out: NULL if it had enough. */
static int
provide(struct queue *queue, enum memory_usage usage, size_t bytes, struct memory **added, struct refusal *why)
{
	const bool contiguous = usage == MEMORY_LOOKAHEAD;
	const size_t there = bytes_of(queue, usage);
	const struct memory_request request = { usage, contiguous ? bytes : bytes - there,
						queue->adapter->model->config.nic->node_of_cpu(queue->cpu), contiguous };

	*added = NULL;
	return there >= bytes ? 0 : memory_allocate(queue, &request, added, why);
}

int
memory_provide(struct queue *queue, uint32_t buffers, struct refusal *why)
{
	const bool split = queue->lookahead_bytes;
	struct memory *frames, *lookahead;
	int error = provide(queue, split ? MEMORY_POST_LOOKAHEAD : MEMORY_RECEIVE, buffers * buffer_bytes(queue),
			    &frames, why);

	if (!error && split)
		error = provide(queue, MEMORY_LOOKAHEAD, (size_t)buffers * LOOKAHEAD_SLOT_BYTES, &lookahead, why);
	if (error && frames)
		memory_free(frames);
	return error;
}
