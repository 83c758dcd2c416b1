/*
 * Several commands, all or none. What must be undone is found by comparing the model's lines before and after:
 * lines that came are taken back in reverse order, lines that went are run again.
 */
#include "ctl/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
lines_have(const json_t *lines, const char *text)
{
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line)
		if (!strcmp(json_string_value(line), text))
			return true;
	return false;
}

static bool
starts_with(const char *line, const char *prefix)
{
	return !strncmp(line, prefix, strlen(prefix));
}

/* What takes a line back. A completed allocation cannot be taken back alone: its queue is made anew. */
static void
inverse_of(const char *line, char *inverse, size_t size)
{
	char adapter[ADAPTER_NAME_SIZE + 1] = "", rest[NAME_SIZE + 1] = "";
	unsigned id = 0;

	inverse[0] = '\0';
	if (sscanf(line, "adapter add %32s", adapter) == 1)
		snprintf(inverse, size, "adapter del %s", adapter);
	else if (sscanf(line, "host add %32s", adapter) == 1)
		snprintf(inverse, size, "host del %s", adapter);
	else if (sscanf(line, "queue allocate %32s id %u", adapter, &id) == 2)
		snprintf(inverse, size, "queue free %s %u", adapter, id);
	else if (sscanf(line, "filter set %32s %*u mac %*s vlan %*s id %u", adapter, &id) == 2)
		snprintf(inverse, size, "filter clear %s %u", adapter, id);
	else if (sscanf(line, "vm attach %64s", rest) == 1)
		snprintf(inverse, size, "vm detach %s", rest);
}

/* The queue that a line is about. @return false: about none. */
static bool
queue_of(const char *line, char *adapter, unsigned *id)
{
	char socket[8];

	return sscanf(line, "queue allocate %32s id %u", adapter, id) == 2 ||
	       sscanf(line, "queue complete %32s %u", adapter, id) == 2 ||
	       sscanf(line, "filter set %32s %u", adapter, id) == 2 ||
	       sscanf(line, "vm attach %*s adapter %32s queue %u %7s", adapter, id, socket) >= 2;
}

static bool
same_queue(const char *a, const char *b)
{
	char adapter_a[ADAPTER_NAME_SIZE + 1], adapter_b[ADAPTER_NAME_SIZE + 1];
	unsigned id_a, id_b;

	return queue_of(a, adapter_a, &id_a) && queue_of(b, adapter_b, &id_b) && id_a == id_b &&
	       !strcmp(adapter_a, adapter_b);
}

/* Whether a queue must be made anew: its allocation was completed since, or its parameters are others now. */
static bool
is_remade(const char *line, const json_t *before, const json_t *now)
{
	const json_t *other;
	size_t i;

	json_array_foreach(now, i, other) {
		const char *text = json_string_value(other);

		if ((starts_with(text, "queue complete") || starts_with(text, "queue allocate")) &&
		    !lines_have(before, text) && same_queue(text, line))
			return true;
	}
	return false;
}

static bool
is_stale(const char *line, const json_t *before, const json_t *now)
{
	return !lines_have(before, line) || is_remade(line, before, now);
}

static void
run_or_tell(struct ctl *ctl, const char *line)
{
	struct refusal why = { "" };

	if (config_run(ctl, line, &why))
		fprintf(stderr, "vmqd: undoing a transaction: %s: %s\n", line, why.text);
}

void
transaction_undo(struct ctl *ctl, const json_t *before)
{
	char *text = config_text(ctl->core);
	json_t *now = config_lines(text), *line;
	char inverse[256];
	size_t i;

	free(text);
	for (i = json_array_size(now); i-- > 0;) {
		const char *stale = json_string_value(json_array_get(now, i));

		if (!is_stale(stale, before, now))
			continue;
		inverse_of(stale, inverse, sizeof(inverse));
		if (inverse[0])
			run_or_tell(ctl, inverse);
	}
	json_decref(now);
	text = config_text(ctl->core);
	now = config_lines(text);
	free(text);
	json_array_foreach(before, i, line)
		if (!lines_have(now, json_string_value(line)))
			run_or_tell(ctl, json_string_value(line));
	json_decref(now);
}

static int
run_one(struct request *request, const json_t *item, json_t **result, struct refusal *why)
{
	const char *method = param_text(item, "method");
	const struct command *command = method ? command_by_method(method) : NULL;
	const json_t *params = json_object_get(item, "params");
	struct request one = *request;
	int status = -EINPROGRESS, error;

	if (!command || !json_is_object(params) || !strcmp(method, "transaction"))
		return refuse(why, -EINVAL, "a transaction takes commands, each with its method and params");
	one.params = params;
	one.pending = calloc(1, sizeof(*one.pending));
	if (!one.pending)
		abort();
	one.pending->status = &status;
	error = rpc_run(&one, command, result, why);
	if (error == -EINPROGRESS) {
		core_commit(request->ctl->core);
		while (status == -EINPROGRESS)
			core_poll(request->ctl->core);
		error = 0;
	} else {
		free(one.pending);
	}
	return error;
}

int
transaction_run(struct request *request, json_t **result, struct refusal *why)
{
	const json_t *commands = json_object_get(request->params, "commands"), *item;
	json_t *results, *before;
	char *text;
	size_t i;
	int error = 0;

	if (!json_is_array(commands) || json_object_size(request->params) != 1)
		return refuse(why, -EINVAL, "a transaction has one parameter, commands: an array");
	text = config_text(request->ctl->core);
	before = config_lines(text);
	results = json_array();
	free(text);
	json_array_foreach(commands, i, item) {
		json_t *result = NULL;

		error = run_one(request, item, &result, why);
		json_array_append_new(results, result ? result : json_object());
		if (error)
			break;
	}
	if (error) {
		core_commit(request->ctl->core);
		transaction_undo(request->ctl, before);
		*result = json_pack("{s:i}", "index", (int)i);
		json_decref(results);
	} else {
		*result = results;
	}
	json_decref(before);
	return error;
}
