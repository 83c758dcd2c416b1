/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several commands, all or none. What must be undone is found by comparing the model's lines before and after:
 * lines that came are taken back in reverse order, lines that went are run again.
 */
#include "control/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_KEY_SIZE = ADAPTER_NAME_SIZE + 16 };

/* The model's lines, for going through them and for looking one up. */
struct lines {
	json_t *list;
	json_t *set; /* an object with a member for each */
};

static struct lines
lines_of(const char *text)
{
	struct lines lines = { config_lines(text), json_object() };
	const json_t *line;
	size_t i;

	json_array_foreach(lines.list, i, line)
		json_object_set_new(lines.set, json_string_value(line), json_true());
	return lines;
}

static void
lines_free(struct lines *lines)
{
	json_decref(lines->list);
	json_decref(lines->set);
}

static bool
lines_have(const struct lines *lines, const char *line)
{
	return json_object_get(lines->set, line);
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

/* The queue that a line is about, as text. @return false: about none. */
static bool
queue_of(const char *line, char key[QUEUE_KEY_SIZE])
{
	char adapter[ADAPTER_NAME_SIZE + 1], socket[8];
	unsigned id;

	if (sscanf(line, "queue allocate %32s id %u", adapter, &id) != 2 &&
	    sscanf(line, "queue complete %32s %u", adapter, &id) != 2 &&
	    sscanf(line, "filter set %32s %u", adapter, &id) != 2 &&
	    sscanf(line, "vm attach %*s adapter %32s queue %u %7s", adapter, &id, socket) < 2)
		return false;
	snprintf(key, QUEUE_KEY_SIZE, "%s %u", adapter, id);
	return true;
}

static json_t *
parameters_of(const char *allocation)
{
	const struct command *command;
	struct refusal why;
	json_t *params = NULL;

	return command_parse_line(allocation, &command, &params, &why) ? NULL : params;
}

/*
 * Take out of an allocation what `queue set` may change, into the parameters of one. Both begin with the adapter and
 * the id; a name that is not there is an empty one, and a limit none.
 */
static json_t *
take_settable(json_t *allocation)
{
	const struct command *set = command_by_method("queue.set");
	json_t *settable = json_pack("{s:s, s:i, s:i, s:i}", "name", "", "rate-rx", 0, "rate-tx", 0, "storm", 0);

	for (size_t i = 0; i < set->argument_count; i++) {
		const char *name = set->arguments[i].name;
		json_t *value = json_object_get(allocation, name);

		if (!value)
			continue;
		json_object_set(settable, name, value);
		if (!(set->arguments[i].flags & ARGUMENT_REQUIRED))
			json_object_del(allocation, name);
	}
	json_object_del(allocation, "name");
	return settable;
}

/* @return what sets a queue back from the second allocation to the first; NULL: they differ in more than can be set. */
static json_t *
set_back(const char *before, const char *now)
{
	json_t *old = parameters_of(before), *new = parameters_of(now);
	json_t *settable = old && new ? take_settable(old) : NULL;

	if (settable)
		json_decref(take_settable(new));
	if (settable && !json_equal(old, new)) {
		json_decref(settable);
		settable = NULL;
	}
	json_decref(old);
	json_decref(new);
	return settable;
}

/* What is to be done to come back: by queue, those that are made anew, and the parameters of those that are set back. */
struct way_back {
	json_t *remade;
	json_t *set;
};

/* By queue: the line that allocates it. */
static json_t *
allocations_of(const struct lines *lines)
{
	json_t *allocations = json_object(), *line;
	char key[QUEUE_KEY_SIZE];
	size_t i;

	json_array_foreach(lines->list, i, line)
		if (starts_with(json_string_value(line), "queue allocate") && queue_of(json_string_value(line), key))
			json_object_set(allocations, key, line);
	return allocations;
}

/* A queue is made anew if its allocation was completed since, or if it is another queue now. */
static struct way_back
way_back_of(const struct lines *before, const struct lines *now)
{
	struct way_back way = { json_object(), json_object() };
	json_t *allocations = allocations_of(before), *line, *set;
	char key[QUEUE_KEY_SIZE];
	size_t i;

	json_array_foreach(now->list, i, line) {
		const char *text = json_string_value(line), *old;

		if (lines_have(before, text) || !queue_of(text, key))
			continue;
		old = json_string_value(json_object_get(allocations, key));
		set = old && starts_with(text, "queue allocate") ? set_back(old, text) : NULL;
		if (set)
			json_object_set_new(way.set, key, set);
		else if (starts_with(text, "queue complete") || starts_with(text, "queue allocate"))
			json_object_set_new(way.remade, key, json_true());
	}
	json_decref(allocations);
	return way;
}

static void
tell_if_refused(int error, const char *what, const struct refusal *why)
{
	if (error)
		fprintf(stderr, "vmqd: undoing a transaction: %s: %s\n", what, why->text);
}

static void
run_or_tell(struct control *control, const char *line)
{
	struct refusal why = { 0 };

	tell_if_refused(config_run(control, line, &why), line, &why);
}

static void
set_or_tell(struct control *control, const char *queue, const json_t *params)
{
	struct request request = { .control = control, .params = params };
	struct refusal why = { 0 };
	json_t *result = NULL;

	tell_if_refused(rpc_run_to_end(&request, command_by_method("queue.set"), &result, &why), queue, &why);
	json_decref(result);
}

/* Take one line back, if it or its queue is not as before. */
static void
take_back(struct control *control, const char *line, const struct lines *before, const struct way_back *way)
{
	char inverse[256], key[QUEUE_KEY_SIZE];
	bool about_queue = queue_of(line, key);
	const json_t *set = about_queue ? json_object_get(way->set, key) : NULL;
	bool remade = about_queue && json_object_get(way->remade, key);

	if (lines_have(before, line) && !remade)
		return;
	if (set && !remade && starts_with(line, "queue allocate")) {
		set_or_tell(control, key, set);
		return;
	}
	inverse_of(line, inverse, sizeof(inverse));
	if (inverse[0])
		run_or_tell(control, inverse);
}

static void
take_back_all(struct control *control, const struct lines *before, const struct lines *now)
{
	struct way_back way = way_back_of(before, now);

	for (size_t i = json_array_size(now->list); i-- > 0;)
		take_back(control, json_string_value(json_array_get(now->list, i)), before, &way);
	json_decref(way.remade);
	json_decref(way.set);
}

static void
run_missing(struct control *control, const struct lines *before)
{
	char *text = config_text(control->model);
	struct lines now = lines_of(text);
	const json_t *line;
	size_t i;

	free(text);
	json_array_foreach(before->list, i, line)
		if (!lines_have(&now, json_string_value(line)))
			run_or_tell(control, json_string_value(line));
	lines_free(&now);
}

void
transaction_undo(struct control *control, const char *text_before)
{
	char *text = config_text(control->model);

	if (strcmp(text, text_before)) {
		struct lines before = lines_of(text_before), now = lines_of(text);

		take_back_all(control, &before, &now);
		run_missing(control, &before);
		lines_free(&before);
		lines_free(&now);
	}
	free(text);
}

static int
run_one(struct request *request, const json_t *item, json_t **result, struct refusal *why)
{
	const char *method = param_text(item, "method");
	const struct command *command = method ? command_by_method(method) : NULL;
	struct request one = *request;

	one.params = json_object_get(item, "params");
	if (!command || !json_is_object(one.params) || !strcmp(method, "transaction"))
		return refuse(why, -EINVAL, "a transaction takes commands, each with its method and params");
	return rpc_run_to_end(&one, command, result, why);
}

int
transaction_run(struct request *request, json_t **result, struct refusal *why)
{
	const json_t *commands = json_object_get(request->params, "commands"), *item;
	json_t *results;
	char *before;
	size_t i;
	int error = 0;

	if (!json_is_array(commands) || json_object_size(request->params) != 1)
		return refuse(why, -EINVAL, "a transaction has one parameter, commands: an array");
	before = config_text(request->control->model);
	results = json_array();
	json_array_foreach(commands, i, item) {
		json_t *result = NULL;

		error = run_one(request, item, &result, why);
		json_array_append_new(results, result ? result : json_object());
		if (error)
			break;
	}
	if (error) {
		model_commit(request->control->model);
		transaction_undo(request->control, before);
		*result = json_pack("{s:i}", "index", (int)i);
		json_decref(results);
	} else {
		*result = results;
	}
	free(before);
	return error;
}
