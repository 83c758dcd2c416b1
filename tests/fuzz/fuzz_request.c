/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that writes noise: each line of the input is a request to a control plane on fakes. Every answer is a line
 * of JSON-RPC; a refused request leaves the model as it was; the model, written as commands, makes the same model
 * again. The first byte says who the client is.
 */
#include "fake_ops.h"

#include "control/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACED_MAX = 200 }; /* the fakes have room for a few more filters in hardware */

/* A control plane without sockets. */
struct target {
	struct fake fake;
	struct control control;
	struct nic_ops nic;
	struct path_ops path;
};

static struct target served, copy;
static const struct nic_ops *fake_nic;
static unsigned questions; /* whether frames are back */

/* Linked with --wrap: config.save does not reach the disk. */
int
__wrap_state_write(const char *file, const char *head, const char *text, const char *end)
{
	return *file && head && text && end ? 0 : -ENOENT;
}

static void
no_losses(void *nic, struct nic_losses *losses)
{
	(void)nic;
	*losses = (struct nic_losses){ 0 };
}

static int
filter_add(void *nic, uint16_t queue, uint64_t mac, uint16_t vlan)
{
	bool room = served.fake.placed < PLACED_MAX && copy.fake.placed < PLACED_MAX;

	return room ? fake_nic->filter_add(nic, queue, mac, vlan) : -ENOSPC;
}

/* One frame is out until it was asked for four times. */
static uint32_t
outstanding(void *ctx, const struct queue *queue)
{
	(void)ctx;
	(void)queue;
	return ++questions % 4 != 0;
}

static void
queue_counters(void *ctx, const struct queue *queue, struct queue_counters *counters)
{
	(void)ctx;
	counters->rx_packets = queue->id;
}

static void
adapter_counters(void *ctx, const struct adapter *adapter, struct adapter_counters *counters)
{
	(void)ctx;
	counters->wire_rx_packets = adapter->filter_count;
}

static void
counters_clear(void *ctx, struct adapter *adapter)
{
	(void)ctx;
	(void)adapter;
}

static void
target_create(struct target *target)
{
	struct model *model = fake_core_create(&target->fake);

	target->fake.log_off = true;
	fake_nic = model->config.nic;
	target->nic = *fake_nic;
	target->nic.losses = no_losses;
	target->nic.filter_add = filter_add;
	target->path = *model->config.path;
	target->path.outstanding = outstanding;
	target->path.queue_counters = queue_counters;
	target->path.adapter_counters = adapter_counters;
	target->path.counters_clear = counters_clear;
	target->control = (struct control){ .model = model };
	model->config.nic = &target->nic;
	model->config.path = &target->path;
	model->config.event = events_emit;
	model->config.event_ctx = &target->control;
}

static void
settle(struct model *model)
{
	model_commit(model);
	while (model_poll(model))
		continue;
}

static void
target_destroy(struct target *target)
{
	struct model *model = target->control.model;
	struct adapter *adapter;

	TAILQ_FOREACH(adapter, &model->adapters, of_model)
		adapter_del(adapter, &fake_root, (struct completion){ 0 }, NULL);
	settle(model);
	fake_core_destroy(&target->fake, model);
}

/* @return whether it is an error. */
static bool
answer_check(const char *line, size_t length)
{
	json_t *answer = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	const json_t *error = json_object_get(answer, "error");
	const char *version = json_string_value(json_object_get(answer, "jsonrpc"));
	const char *message = json_string_value(json_object_get(error, "message"));
	bool is_event = json_object_get(answer, "method"), is_error = error;

	if (!version || strcmp(version, "2.0"))
		abort();
	if (!is_event && !json_object_get(answer, "id"))
		abort();
	if (is_error && (!message || !*message || !json_is_integer(json_object_get(error, "code"))))
		abort();
	json_decref(answer);
	return is_error;
}

/* @return whether one of the answers is an error. */
static bool
answers_check(struct client *client)
{
	bool refused = false;

	for (size_t at = 0; at < client->output_length;) {
		const char *line = client->output + at;
		const char *newline = memchr(line, '\n', client->output_length - at);

		if (!newline)
			abort();
		refused |= answer_check(line, (size_t)(newline - line));
		at += (size_t)(newline - line) + 1;
	}
	client->output_length = 0;
	return refused;
}

static bool
lines_have(const json_t *lines, const json_t *wanted)
{
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line)
		if (json_equal(line, wanted))
			return true;
	return false;
}

/* Whether two models are the same; a transaction that was undone may have set filters in another order. */
static bool
same_model(const char *a, const char *b)
{
	json_t *lines = config_lines(a), *others = config_lines(b);
	bool same = json_array_size(lines) == json_array_size(others);
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line)
		same = same && lines_have(others, line);
	json_decref(lines);
	json_decref(others);
	return same;
}

static void
models_compare(const char *what, const char *a, const char *b)
{
	if (same_model(a, b))
		return;
	fprintf(stderr, "%s\n--- one\n%s--- other\n%s", what, a, b);
	abort();
}

static void
request_run(struct client *client, const char *line, size_t length)
{
	char *before = config_text(served.control.model), *after;

	rpc_line(client, line, length);
	settle(served.control.model);
	after = config_text(served.control.model);
	if (answers_check(client))
		models_compare("a refused request changed the model", before, after);
	free(before);
	free(after);
}

static void
requests_run(struct client *client, const char *text, size_t length)
{
	const char *end = text + length;

	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line = (size_t)((newline ? newline : end) - text);

		request_run(client, text, line);
		text += line + 1;
	}
}

/* What the state file is for. */
static void
model_survives(void)
{
	char *text = config_text(served.control.model), *again;
	json_t *lines = config_lines(text);
	const json_t *line;
	size_t i;

	target_create(&copy);
	json_array_foreach(lines, i, line) {
		struct refusal why = { 0 };

		if (!config_run(&copy.control, json_string_value(line), &why))
			continue;
		fprintf(stderr, "the state does not load: %s: %s\n%s", json_string_value(line), why.text, text);
		abort();
	}
	again = config_text(copy.control.model);
	models_compare("the state loads as another model", text, again);
	json_decref(lines);
	free(again);
	free(text);
	target_destroy(&copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	uint8_t who = count ? bytes[0] : 0;
	struct client client = {
		.control = &served.control,
		.caller = { .uid = who & 1 ? 1000 : 0 },
		.may_change = !(who & 2),
	};

	if (!count)
		return 0;
	questions = 0;
	copy.fake.placed = 0;
	target_create(&served);
	LIST_INSERT_HEAD(&served.control.clients, &client, of_control);
	requests_run(&client, (const char *)bytes + 1, count - 1);
	model_survives();
	if (client.pending)
		abort();
	LIST_REMOVE(&client, of_control);
	target_destroy(&served);
	free(client.output);
	return 0;
}
