/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/show.h"
#include "cli/table.h"

#include <stdio.h>
#include <string.h>

/* An id, or the word for a queue that has no number. */
static void
queue_print(const json_t *queue)
{
	if (json_is_string(queue))
		printf("%s queue", json_string_value(queue));
	else if (json_integer_value(queue) == TABLE_QUEUE_DEFAULT)
		fputs("default queue", stdout);
	else if (json_integer_value(queue) == TABLE_QUEUE_DROP)
		fputs("drop queue", stdout);
	else
		printf("queue %" JSON_INTEGER_FORMAT, json_integer_value(queue));
}

static int
show_queue_id(const json_t *result)
{
	printf("queue %" JSON_INTEGER_FORMAT "\n", json_integer_value(json_object_get(result, "id")));
	return 0;
}

static int
show_filter_id(const json_t *result)
{
	printf("filter %" JSON_INTEGER_FORMAT "\n", json_integer_value(json_object_get(result, "id")));
	return 0;
}

static int
show_members(const json_t *result)
{
	const char *name;
	const json_t *value;

	json_object_foreach((json_t *)result, name, value) {
		printf("%-32s ", name);
		value_print(stdout, value);
		putchar('\n');
	}
	return 0;
}

static int
show_config(const json_t *result)
{
	const json_t *command;
	size_t index;

	json_array_foreach(json_object_get(result, "commands"), index, command) {
		value_print(stdout, command);
		putchar('\n');
	}
	return 0;
}

static const struct {
	const char *reason;
	const char *sentence;
	bool after_filter; /* the sentence follows the filter's id */
} trace_reasons[] = {
	{ "matched", "matches", true },
	{ "drop_queue", "matches, and the frame is discarded", true },
	{ "no_match", "no filter matches", false },
	{ "malformed", "the frame is too short for the header that it claims", false },
	{ "too_big", "the frame is longer than the MTU allows", false },
};

static void
trace_reason_print(const char *reason, json_int_t filter)
{
	for (size_t i = 0; i < sizeof(trace_reasons) / sizeof(trace_reasons[0]); i++) {
		if (strcmp(trace_reasons[i].reason, reason))
			continue;
		if (trace_reasons[i].after_filter)
			printf("filter %" JSON_INTEGER_FORMAT " ", filter);
		puts(trace_reasons[i].sentence);
		return;
	}
	puts(reason);
}

static int
show_trace(const json_t *result)
{
	const char *reason = json_string_value(json_object_get(result, "reason"));
	const json_t *tested = json_object_get(result, "tested");
	json_int_t total = json_integer_value(json_object_get(result, "tested_total"));
	json_int_t untold = total - (json_int_t)json_array_size(tested);
	int error;

	queue_print(json_object_get(result, "queue"));
	fputs(": ", stdout);
	trace_reason_print(reason ? reason : "-", json_integer_value(json_object_get(result, "filter")));
	error = table_print(table_by_method("trace"), tested);
	if (untold > 0)
		printf("and %" JSON_INTEGER_FORMAT " filters more\n", untold);
	return error;
}

/* `  entered  wire 10  host 2`; with nonzero_only, `-` if all are zero. */
static void
counts_print(const char *title, const json_t *counts, bool nonzero_only)
{
	const char *name;
	const json_t *count;
	bool any = false;

	printf("  %-8s", title);
	json_object_foreach((json_t *)counts, name, count) {
		if (nonzero_only && !json_integer_value(count))
			continue;
		printf("  %s ", name);
		value_print(stdout, count);
		any = true;
	}
	puts(any ? "" : "  -");
}

static int
adapter_stats_print(const json_t *adapter)
{
	fputs("adapter ", stdout);
	value_print(stdout, json_object_get(adapter, "adapter"));
	putchar('\n');
	counts_print("entered", json_object_get(adapter, "entered"), false);
	counts_print("left", json_object_get(adapter, "left"), false);
	counts_print("drops", json_object_get(adapter, "drops"), true);
	fputs("  missed    ", stdout);
	value_print(stdout, json_object_get(adapter, "missed"));
	putchar('\n');
	return table_print(table_by_method("stats.show"), json_object_get(adapter, "queues"));
}

static int
show_stats(const json_t *result)
{
	const json_t *adapter;
	size_t index;
	int error = 0;

	json_array_foreach(json_object_get(result, "adapters"), index, adapter) {
		if (index)
			putchar('\n');
		if (!error)
			error = adapter_stats_print(adapter);
	}
	return error;
}

static int
show_events(const json_t *result)
{
	const json_t *event;
	size_t index;

	json_array_foreach(json_object_get(result, "events"), index, event)
		show_event(event);
	return 0;
}

static const struct {
	const char *method;
	int (*show)(const json_t *result);
} answers[] = {
	{ "adapter.capabilities", show_members },
	{ "adapter.parameters", show_members },
	{ "queue.allocate", show_queue_id },
	{ "filter.set", show_filter_id },
	{ "trace", show_trace },
	{ "stats.show", show_stats },
	{ "events", show_events },
	{ "config.show", show_config },
};

int
show_answer(const char *method, const json_t *result)
{
	const struct table *table;

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (!strcmp(answers[i].method, method))
			return answers[i].show(result);
	table = table_by_method(method);
	return table ? table_print(table, result) : 0;
}

/* These say what they are without their name. */
static bool
member_is_plain(const char *name)
{
	return !strcmp(name, "time") || !strcmp(name, "type") || !strcmp(name, "adapter") || !strcmp(name, "state");
}

void
show_event(const json_t *params)
{
	const char *name;
	const json_t *value;
	const char *separator = "";

	json_object_foreach((json_t *)params, name, value) {
		printf("%s%s%s", separator, member_is_plain(name) ? "" : name, member_is_plain(name) ? "" : " ");
		value_print(stdout, value);
		separator = " ";
	}
	putchar('\n');
}

void
show_json(const json_t *value, bool one_line)
{
	json_dumpf(value, stdout, JSON_ENCODE_ANY | (one_line ? JSON_COMPACT : JSON_INDENT(2)));
	putchar('\n');
}
