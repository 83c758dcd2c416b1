/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared memory of queues: what may be asked for, where it lies, and how long it stays. */
#include "fake_ops.h"
#include "rows.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAC UINT64_C(0x525400000001)

enum {
	LOOKAHEAD = 128,
	FRAME_BYTES = 1500 + 14 + 2 * 4,
};

static struct fake fake;

struct bench {
	struct model *model;
	struct adapter *adapter;
	struct queue *queue;
};

/* A queue in Running: with a lookahead on 6.20, whole on 6.30. */
static struct bench
bench_create(enum ndis_version ndis, uint32_t buffers, unsigned cpu)
{
	const struct queue_parameters parameters = {
		.fields = QUEUE_FIELD_BUFFERS | QUEUE_FIELD_AFFINITY | (ndis == NDIS_6_20 ? QUEUE_FIELD_LOOKAHEAD : 0),
		.buffers = buffers, .lookahead_bytes = ndis == NDIS_6_20 ? LOOKAHEAD : 0, .affinity = { { 1u << cpu } },
	};
	struct bench bench = { .model = fake_core_create(&fake) };
	struct filter *filter;

	bench.adapter = fake_adapter_add(bench.model, "eth0", ndis, 4, 8);
	assert_int_equal(queue_allocate(bench.adapter, &parameters, &fake_alice, &bench.queue, NULL), 0);
	assert_int_equal(filter_set(bench.queue, MAC, 10, &fake_alice, &filter, NULL), 0);
	assert_int_equal(queue_complete(bench.queue, &fake_alice, NULL), 0);
	return bench;
}

static void
bench_destroy(struct bench *bench)
{
	fake_core_destroy(&fake, bench->model);
}

/* "receive host 779264/1, …": usage, space, bytes and node of all that a queue has. */
static const char *
memory_text(const struct queue *queue)
{
	static char text[512];
	const struct memory *memory;
	size_t length = 0;

	text[0] = '\0';
	TAILQ_FOREACH(memory, &queue->memory, of_queue)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s %s %zu/%d", length ? ", " : "",
					   memory_usage_word(memory->request.usage), memory_space_word(memory->space),
					   memory->request.bytes, memory->node);
	return text;
}

static void
whole_frames_lie_in_the_host(void **state)
{
	struct bench bench = bench_create(NDIS_6_30, 10, 3);
	char expected[64];

	(void)state;
	snprintf(expected, sizeof(expected), "receive host %d/1", 10 * FRAME_BYTES);
	assert_string_equal(memory_text(bench.queue), expected);
	bench_destroy(&bench);
}

static void
split_frames_lie_in_host_and_guest(void **state)
{
	struct bench bench = bench_create(NDIS_6_20, 10, 1);
	const struct memory *rest = TAILQ_FIRST(&bench.queue->memory), *lookahead = TAILQ_NEXT(rest, of_queue);
	char expected[128];

	(void)state;
	snprintf(expected, sizeof(expected), "receive-post-lookahead guest %d/0, receive-lookahead host %d/0",
		 10 * (FRAME_BYTES + LOOKAHEAD), 10 * LOOKAHEAD_SLOT_BYTES);
	assert_string_equal(memory_text(bench.queue), expected);
	assert_null(rest->address);
	assert_non_null(lookahead->address);
	assert_true(lookahead->request.contiguous);
	bench_destroy(&bench);
}

static const struct request_row {
	const char *name;
	enum ndis_version ndis;
	struct memory_request request;
	int error;
} request_rows[] = {
	{ "6.30 receive", NDIS_6_30, { MEMORY_RECEIVE, 100, -1, false }, 0 },
	{ "6.30 lookahead", NDIS_6_30, { MEMORY_LOOKAHEAD, 100, -1, true }, -ENOTSUP },
	{ "6.30 post-lookahead", NDIS_6_30, { MEMORY_POST_LOOKAHEAD, 100, -1, false }, -ENOTSUP },
	{ "6.30 transmit", NDIS_6_30, { MEMORY_TRANSMIT, 100, 0, true }, 0 },
	{ "6.30 other", NDIS_6_30, { MEMORY_OTHER, 1, 1, false }, 0 },
	{ "6.20 receive", NDIS_6_20, { MEMORY_RECEIVE, 100, 0, false }, 0 },
	{ "6.20 lookahead", NDIS_6_20, { MEMORY_LOOKAHEAD, 100, 0, true }, 0 },
	{ "6.20 post-lookahead", NDIS_6_20, { MEMORY_POST_LOOKAHEAD, 100, 0, false }, 0 },
	{ "no bytes", NDIS_6_30, { MEMORY_OTHER, 0, 0, true }, -EINVAL },
	{ "unknown usage", NDIS_6_30, { MEMORY_USAGE_COUNT, 100, 0, true }, -EINVAL },
	{ "usage below all", NDIS_6_30, { (enum memory_usage)-1, 100, 0, true }, -EINVAL },
};

/* More may be allocated until the queue is freed; its handle is its own. */
static void
more_is_allocated(void **state)
{
	const struct request_row *row = *state;
	struct bench bench = bench_create(row->ndis, 10, 1);
	struct memory *memory = NULL;
	const struct memory *other;
	struct refusal why = { 0 };

	assert_int_equal(memory_allocate(bench.queue, &row->request, &memory, &why), row->error);
	assert_int_equal(strlen(why.text) > 0, row->error != 0);
	assert_int_equal(memory != NULL, row->error == 0);
	if (memory) {
		assert_int_equal(memory->space, memory_space_of(bench.queue, row->request.usage));
		assert_int_equal(memory->address != NULL, memory->space == SPACE_HOST);
		assert_int_not_equal(memory->handle, 0);
		TAILQ_FOREACH(other, &bench.queue->memory, of_queue)
			assert_true(other == memory || other->handle != memory->handle);
	}
	bench_destroy(&bench);
}

static void
none_there_leaves_nothing(void **state)
{
	struct bench bench = bench_create(NDIS_6_30, 10, 1);
	const struct memory_request request = { MEMORY_OTHER, 100, -1, true };
	struct memory *memory = NULL;
	const unsigned memories = fake.memories;
	struct refusal why;

	(void)state;
	fake.fail_at[FAKE_MEMORY_GET] = 1;
	assert_int_equal(memory_allocate(bench.queue, &request, &memory, &why), -EIO);
	assert_non_null(strstr(why.text, "100 bytes of shared memory for queue 1 of adapter eth0"));
	assert_null(memory);
	assert_int_equal(fake.memories, memories);
	bench_destroy(&bench);
}

static int
set_buffers(struct queue *queue, uint32_t buffers)
{
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_BUFFERS, .buffers = buffers };

	return queue_set(queue, &parameters, &fake_alice, NULL);
}

/* What was allocated stays until the queue is freed, and counts for the next change. */
static void
buffers_change_while_it_runs(void **state)
{
	struct bench bench = bench_create(NDIS_6_20, 10, 1);
	const unsigned memories = fake.memories;
	char text[512];

	(void)state;
	snprintf(text, sizeof(text), "%s", memory_text(bench.queue));
	assert_int_equal(set_buffers(bench.queue, 8), 0);
	assert_int_equal(bench.queue->buffers, 8);
	assert_string_equal(memory_text(bench.queue), text);

	assert_int_equal(set_buffers(bench.queue, 30), 0);
	assert_int_equal(bench.queue->buffers, 30);
	snprintf(text + strlen(text), sizeof(text) - strlen(text),
		 ", receive-post-lookahead guest %d/0, receive-lookahead host %d/0", 20 * (FRAME_BYTES + LOOKAHEAD),
		 30 * LOOKAHEAD_SLOT_BYTES);
	assert_string_equal(memory_text(bench.queue), text);

	assert_int_equal(set_buffers(bench.queue, 12), 0);
	assert_int_equal(set_buffers(bench.queue, 30), 0);
	assert_string_equal(memory_text(bench.queue), text);
	assert_int_equal(fake.memories, memories + 1);
	bench_destroy(&bench);
	assert_int_equal(fake.memories, 0);
}

static void
buffers_are_adjusted_again(void **state)
{
	struct bench bench = bench_create(NDIS_6_30, 10, 1);

	(void)state;
	fake.buffers_max = 20;
	assert_int_equal(set_buffers(bench.queue, 100), 0);
	assert_int_equal(bench.queue->suggested_buffers, 100);
	assert_int_equal(bench.queue->buffers, 20);
	bench_destroy(&bench);
}

static const struct refusal_row {
	const char *name;
	enum fake_op op;
} refusal_rows[] = {
	{ "hardware has no more buffers", FAKE_QUEUE_START },
	{ "host has no more memory", FAKE_MEMORY_GET },
};

static void
refused_buffers_change_nothing(void **state)
{
	const struct refusal_row *row = *state;
	struct bench bench = bench_create(NDIS_6_20, 10, 1);
	struct queue before;
	const unsigned memories = fake.memories;
	char text[512];

	memcpy(&before, bench.queue, sizeof(before));
	snprintf(text, sizeof(text), "%s", memory_text(bench.queue));
	fake.fail_at[row->op] = 1;
	assert_int_equal(set_buffers(bench.queue, 100), -EIO);
	assert_string_equal(memory_text(bench.queue), text);
	assert_int_equal(fake.memories, memories);
	assert_int_equal(bench.queue->buffers, before.buffers);
	assert_int_equal(bench.queue->suggested_buffers, before.suggested_buffers);
	bench_destroy(&bench);
}

int
main(void)
{
	static struct row_tests tests;

	TEST(&tests, whole_frames_lie_in_the_host);
	TEST(&tests, split_frames_lie_in_host_and_guest);
	ROWS(&tests, more_is_allocated, request_rows);
	TEST(&tests, none_there_leaves_nothing);
	TEST(&tests, buffers_change_while_it_runs);
	TEST(&tests, buffers_are_adjusted_again);
	ROWS(&tests, refused_buffers_change_nothing, refusal_rows);
	return row_tests_run("model: memory", &tests);
}
