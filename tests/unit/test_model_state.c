/* SPDX-License-Identifier: BSD-3-Clause */
/* Every cell of the published table: by the function, and by the requests that people make. */
#include "fake_ops.h"
#include "rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAC UINT64_C(0x525400000001)

struct cell {
	const char *name;
	enum queue_event event;
	enum queue_state state;
	int after; /* -1: refused */
};

static struct cell cells[QUEUE_EVENT_COUNT * QUEUE_STATE_COUNT];
static size_t cell_count;

struct fixture {
	struct fake fake;
	struct model *model;
	struct adapter *adapter;
	struct queue *queue; /* NULL: Undefined */
};

/* What an event is in terms of requests; NULL: nobody can request it. @return 0; the refusal. */
typedef int (*act_fn)(struct fixture *fixture);

static int
act_set_parameters(struct fixture *fixture)
{
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_NAME, .name = "blue" };

	return queue_set(fixture->queue, &parameters, &fake_alice, NULL);
}

static int
act_set_filter(struct fixture *fixture)
{
	struct filter *filter;

	return filter_set(fixture->queue, MAC + 2, 10, &fake_alice, &filter, NULL);
}

static int
act_clear_filter(struct fixture *fixture)
{
	struct filter *filter;
	int error = filter_find(fixture->adapter, 1, &filter, NULL);

	return error ? error : filter_clear(filter, &fake_alice, NULL);
}

static int
act_complete(struct fixture *fixture)
{
	return queue_complete(fixture->queue, &fake_alice, NULL);
}

static int
act_free(struct fixture *fixture)
{
	return queue_free(fixture->queue, &fake_alice, (struct completion){ 0 }, NULL);
}

static int
act_receive(struct fixture *fixture)
{
	static const uint8_t frame[60] = { 0x52, 0x54, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x81, 0, 0, 10, 8, 0 };
	struct trace trace;

	adapter_trace(fixture->adapter, frame, sizeof(frame), &trace);
	return trace.queue == fixture->queue->id ? 0 : -EPERM;
}

static const act_fn acts[QUEUE_EVENT_COUNT] = {
	[QUEUE_EVENT_SET_PARAMETERS] = act_set_parameters,
	[QUEUE_EVENT_SET_FILTER] = act_set_filter,
	[QUEUE_EVENT_CLEAR_LAST_FILTER] = act_clear_filter,
	[QUEUE_EVENT_CLEAR_FILTER_NOT_LAST] = act_clear_filter,
	[QUEUE_EVENT_ALLOCATION_COMPLETE] = act_complete,
	[QUEUE_EVENT_RECEIVE_PACKET] = act_receive,
	[QUEUE_EVENT_FREE] = act_free,
};

static int
state_by_name(const char *name)
{
	for (int state = 0; state < QUEUE_STATE_COUNT; state++) {
		if (strcmp(queue_state_name((enum queue_state)state), name) == 0)
			return state;
	}
	return -1;
}

static int
event_by_name(const char *name)
{
	for (int event = 0; event < QUEUE_EVENT_COUNT; event++) {
		if (strcmp(queue_event_name((enum queue_event)event), name) == 0)
			return event;
	}
	return -1;
}

static void
cells_read_line(char *line, const int *columns)
{
	int event = event_by_name(strsep(&line, ","));

	if (event < 0)
		fail_msg("the table has an event that the code has not");
	for (int column = 0; column < QUEUE_STATE_COUNT; column++) {
		const char *after = strsep(&line, ",");
		struct cell *cell = &cells[cell_count++];
		char name[80];

		cell->event = (enum queue_event)event;
		cell->state = (enum queue_state)columns[column];
		cell->after = *after ? state_by_name(after) : -1;
		snprintf(name, sizeof(name), "%s in %s", queue_event_name(cell->event), queue_state_name(cell->state));
		cell->name = strdup(name);
	}
}

static int
cells_read(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[256], *rest = line;
	int columns[QUEUE_STATE_COUNT];

	if (!file || !fgets(line, sizeof(line), file)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -errno;
	}
	strsep(&rest, ",");
	for (int column = 0; column < QUEUE_STATE_COUNT; column++)
		columns[column] = state_by_name(strsep(&rest, ",\n"));
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\r\n")] = '\0';
		cells_read_line(line, columns);
	}
	fclose(file);
	return 0;
}

static void
table_has_every_cell(void **state)
{
	(void)state;
	assert_int_equal(cell_count, QUEUE_EVENT_COUNT * QUEUE_STATE_COUNT);
}

static void
cell_by_function(void **state)
{
	const struct cell *cell = *state;

	assert_int_equal(queue_state_after(cell->state, cell->event), cell->after);
}

static void
fixture_open(struct fixture *fixture, const struct cell *cell)
{
	struct filter *filter;

	fixture->model = fake_core_create(&fixture->fake);
	fixture->adapter = fake_adapter_add(fixture->model, "eth0", NDIS_6_30, 4, 8);
	fixture->queue = NULL;
	if (cell->state == QUEUE_UNDEFINED)
		return;
	fixture->queue = fake_queue_in(&fixture->fake, fixture->adapter, cell->state, MAC);
	if (cell->event == QUEUE_EVENT_CLEAR_FILTER_NOT_LAST && fixture->queue->filter_count > 0)
		assert_int_equal(filter_set(fixture->queue, MAC + 1, 10, &fake_alice, &filter, NULL), 0);
	fake_log_clear(&fixture->fake);
}

/* A request on this state: it does what the table says, or it changes not one byte and asks nothing of anyone. */
static void
cell_by_request(void **state)
{
	const struct cell *cell = *state;
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct adapter *adapter_before = malloc(sizeof(*adapter_before));
	struct queue queue_before;
	int error;

	fixture_open(fixture, cell);
	memcpy(adapter_before, fixture->adapter, sizeof(*adapter_before));
	memcpy(&queue_before, fixture->queue, sizeof(queue_before));
	error = acts[cell->event](fixture);
	if (cell->after < 0) {
		assert_true(error == -EPERM || error == -ENOENT);
		assert_memory_equal(fixture->queue, &queue_before, sizeof(queue_before));
		assert_memory_equal(fixture->adapter, adapter_before, sizeof(*adapter_before));
		assert_string_equal(fixture->fake.log, "");
	} else {
		bool indicated = cell->after != (int)cell->state && cell->after != QUEUE_DMA_STOPPED;

		assert_int_equal(error, 0);
		assert_int_equal(fixture->queue->state, cell->after);
		if (cell->event != QUEUE_EVENT_SET_PARAMETERS)
			assert_int_equal(fake_log_count(&fixture->fake, "event eth0 1 "), indicated);
	}
	fake_core_destroy(&fixture->fake, fixture->model);
	free(adapter_before);
	free(fixture);
}

/* Commit and poll are requests of nobody: they move a queue that is being freed, and no other. */
static void
cell_by_commit(void **state)
{
	const struct cell *cell = *state;
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct queue *found = NULL;

	fixture_open(fixture, cell);
	if (cell->event == QUEUE_EVENT_ALL_RETURNED) {
		fixture->fake.outstanding[1] = 0;
		model_poll(fixture->model);
	} else {
		fixture->fake.outstanding[1] = 1;
		model_commit(fixture->model);
	}
	queue_find(fixture->adapter, 1, &found, NULL);
	if (cell->after < 0)
		assert_int_equal(found->state, cell->state);
	else if (cell->after == QUEUE_UNDEFINED)
		assert_null(found);
	else
		assert_int_equal(found->state, cell->after);
	fake_core_destroy(&fixture->fake, fixture->model);
	free(fixture);
}

/* A queue is Undefined: allocate makes it; for every other event there is nothing to name. */
static void
undefined_by_request(void **state)
{
	const struct queue_parameters parameters = { 0 };
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct queue *queue = NULL;

	(void)state;
	fixture_open(fixture, &(struct cell){ .state = QUEUE_UNDEFINED });
	assert_int_equal(queue_find(fixture->adapter, 1, &queue, NULL), -ENOENT);
	assert_null(queue);
	assert_int_equal(queue_allocate(fixture->adapter, &parameters, &fake_alice, &queue, NULL), 0);
	assert_int_equal(queue->id, 1);
	assert_int_equal(queue->state, QUEUE_ALLOCATED);
	fake_core_destroy(&fixture->fake, fixture->model);
	free(fixture);
}

/* A second allocation takes another id and leaves the first queue alone, whatever its state. */
static void
allocate_leaves_others(void **state)
{
	const struct cell *cell = *state;
	const struct queue_parameters parameters = { 0 };
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct queue before, *queue;

	fixture_open(fixture, cell);
	before = *fixture->queue;
	assert_int_equal(queue_allocate(fixture->adapter, &parameters, &fake_alice, &queue, NULL), 0);
	assert_int_equal(queue->id, 2);
	assert_int_equal(fixture->queue->state, before.state);
	assert_int_equal(fixture->queue->id, 1);
	fake_core_destroy(&fixture->fake, fixture->model);
	free(fixture);
}

/* The indication of DMA stopped comes after the grace period, when it is true. */
static void
dma_stopped_is_indicated_after_grace(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	(void)state;
	fixture_open(fixture, &(struct cell){ .state = QUEUE_PAUSED });
	fixture->fake.outstanding[1] = 1;
	act_free(fixture);
	model_commit(fixture->model);
	assert_string_equal(fixture->fake.log, "nic queue_stop eth0 1\n"
					       "nic publish eth0\n"
					       "path publish eth0\n"
					       "path synchronize\n"
					       "nic retire eth0\n"
					       "path retire eth0\n"
					       "event eth0 1 DmaStopped\n"
					       "event eth0 1 Freeing\n");
	fake_log_clear(&fixture->fake);
	fixture->fake.outstanding[1] = 0;
	model_commit(fixture->model);
	assert_string_equal(fixture->fake.log, "event eth0 1 Undefined\n"
					       "path queue_close eth0 1\n");
	fake_core_destroy(&fixture->fake, fixture->model);
	free(fixture);
}

static void
names(void **state)
{
	(void)state;
	assert_string_equal(queue_state_name(QUEUE_DMA_STOPPED), "DmaStopped");
	assert_string_equal(queue_state_windows_name(QUEUE_SET), "Paused");
	assert_string_equal(queue_state_windows_name(QUEUE_FREEING), "DmaStopped");
	assert_string_equal(queue_event_name(QUEUE_EVENT_FREE), "free_queue");
	assert_string_equal(queue_event_phrase(QUEUE_EVENT_SET_FILTER), "take a filter");
	assert_string_equal(drop_reason_word(DROP_NO_BUFFER), "no_buffer");
	for (int reason = 0; reason < DROP_REASON_COUNT; reason++)
		assert_true(strlen(drop_reason_meaning((enum drop_reason)reason)) > 0);
}

int
main(void)
{
	static struct row_tests tests;
	const char *path = getenv("QUEUE_STATES_CSV");

	if (cells_read(path ? path : "queue-states.csv"))
		return 1;
	TEST(&tests, table_has_every_cell);
	TEST(&tests, names);
	TEST(&tests, undefined_by_request);
	TEST(&tests, dma_stopped_is_indicated_after_grace);
	row_tests_add(&tests, cell_by_function, cells, cell_count, sizeof(cells[0]));
	for (size_t i = 0; i < cell_count; i++) {
		const enum queue_event event = cells[i].event;

		if (cells[i].state == QUEUE_UNDEFINED)
			continue;
		if (acts[event])
			row_tests_add(&tests, cell_by_request, &cells[i], 1, sizeof(cells[i]));
		else if (event == QUEUE_EVENT_DMA_STOPPED_INDICATED || event == QUEUE_EVENT_ALL_RETURNED)
			row_tests_add(&tests, cell_by_commit, &cells[i], 1, sizeof(cells[i]));
		else if (event == QUEUE_EVENT_ALLOCATE)
			row_tests_add(&tests, allocate_leaves_others, &cells[i], 1, sizeof(cells[i]));
	}
	return row_tests_run("model: states", &tests);
}
