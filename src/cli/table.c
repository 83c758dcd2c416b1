/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/table.h"
#include "util/cpumask.h"

#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct column {
	const char *header;
	const char *name; /* of the member in the row's object */
	void (*print)(FILE *out, const json_t *row, const char *name);
	int flags;        /* of libsmartcols */
};

struct table {
	const char *method;
	const struct column *columns;
	size_t column_count;
};

static void
list_print(FILE *out, const json_t *list)
{
	const json_t *element;
	size_t index;

	if (!json_array_size(list))
		fputc('-', out);
	json_array_foreach(list, index, element) {
		if (index)
			fputc(',', out);
		value_print(out, element);
	}
}

static void
text_print(FILE *out, const json_t *value)
{
	const char *text = json_string_value(value);

	fputs(text && *text ? text : "-", out);
}

static void
number_print(FILE *out, const json_t *value)
{
	fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
}

static void
switch_print(FILE *out, const json_t *value)
{
	fputs(json_is_true(value) ? "on" : "off", out);
}

static void
compact_print(FILE *out, const json_t *value)
{
	json_dumpf(value, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

static void
nothing_print(FILE *out, const json_t *value)
{
	(void)value;
	fputc('-', out);
}

static void (*const value_printers[])(FILE *out, const json_t *value) = {
	[JSON_OBJECT] = compact_print,
	[JSON_ARRAY] = list_print,
	[JSON_STRING] = text_print,
	[JSON_INTEGER] = number_print,
	[JSON_REAL] = compact_print,
	[JSON_TRUE] = switch_print,
	[JSON_FALSE] = switch_print,
	[JSON_NULL] = nothing_print,
};

void
value_print(FILE *out, const json_t *value)
{
	if (value)
		value_printers[json_typeof(value)](out, value);
	else
		nothing_print(out, value);
}

static void
column_value(FILE *out, const json_t *row, const char *name)
{
	value_print(out, json_object_get(row, name));
}

static void
column_sentence(FILE *out, const json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	fputs(text && *text ? text : "-", out);
}

static void
column_yes(FILE *out, const json_t *row, const char *name)
{
	fputs(json_is_true(json_object_get(row, name)) ? "yes" : "no", out);
}

static void
column_queue(FILE *out, const json_t *row, const char *name)
{
	const json_t *id = json_object_get(row, name);

	if (json_integer_value(id) == TABLE_QUEUE_DROP)
		fputs("drop", out);
	else
		value_print(out, id);
}

/* queues, with queues_used beside it: 2/64. */
static void
column_used(FILE *out, const json_t *row, const char *name)
{
	char used[32];

	snprintf(used, sizeof(used), "%s_used", name);
	value_print(out, json_object_get(row, used));
	fputc('/', out);
	value_print(out, json_object_get(row, name));
}

static void
column_cpus(FILE *out, const json_t *row, const char *name)
{
	struct cpumask mask = { { 0 } };
	char text[CPUMASK_TEXT_SIZE];
	const json_t *cpu;
	size_t index;

	json_array_foreach(json_object_get(row, name), index, cpu)
		if (json_integer_value(cpu) >= 0 && json_integer_value(cpu) < CPU_LIMIT)
			cpumask_add(&mask, (unsigned)json_integer_value(cpu));
	cpumask_format(&mask, text);
	fputs(*text ? text : "-", out);
}

/* The first filter and how many more: 52:54:00:00:00:01/10 +2. */
static void
column_filters(FILE *out, const json_t *row, const char *name)
{
	const json_t *filters = json_object_get(row, name);
	const json_t *first = json_array_get(filters, 0);

	if (!first) {
		fputc('-', out);
		return;
	}
	value_print(out, json_object_get(first, "mac"));
	fputc('/', out);
	value_print(out, json_object_get(first, "vlan"));
	if (json_array_size(filters) > 1)
		fprintf(out, " +%zu", json_array_size(filters) - 1);
}

/* All together, and the reason of the most: 12 (no_buffer). */
static void
column_drops(FILE *out, const json_t *row, const char *name)
{
	json_int_t total = 0;
	json_int_t most = 0;
	const char *reason;
	const char *largest = NULL;
	json_t *count;

	json_object_foreach(json_object_get(row, name), reason, count) {
		total += json_integer_value(count);
		if (json_integer_value(count) > most) {
			most = json_integer_value(count);
			largest = reason;
		}
	}
	fprintf(out, "%" JSON_INTEGER_FORMAT, total);
	if (largest)
		fprintf(out, " (%s)", largest);
}

/* buffers, with those in use beside it: 3/512. */
static void
column_in_use(FILE *out, const json_t *row, const char *name)
{
	value_print(out, json_object_get(row, "buffers_in_use"));
	fputc('/', out);
	value_print(out, json_object_get(row, name));
}

void
rate_format(json_int_t number, char text[RATE_TEXT_SIZE])
{
	static const char units[] = " kMGTPE";
	double value = (double)number;
	size_t unit = 0;

	for (; value >= 999.5; value /= 1000)
		unit++;
	snprintf(text, RATE_TEXT_SIZE, "%.3g%.*s", value, unit > 0, &units[unit]);
}

static void
column_rate(FILE *out, const json_t *row, const char *name)
{
	char text[RATE_TEXT_SIZE];

	rate_format(json_integer_value(json_object_get(row, name)), text);
	fprintf(out, "%5s", text); /* columns stay where they are from sample to sample */
}

#define RIGHT SCOLS_FL_RIGHT

static const struct column adapter_columns[] = {
	{ "NAME", "name", column_value, 0 },
	{ "PORT", "port", column_value, SCOLS_FL_TRUNC },
	{ "NDIS", "ndis", column_value, 0 },
	{ "LINK", "link", column_value, 0 },
	{ "MTU", "mtu", column_value, RIGHT },
	{ "QUEUES", "queues", column_used, RIGHT },
	{ "FILTERS", "filters", column_used, RIGHT },
	{ "CPUS", "cpus", column_cpus, 0 },
	{ "HOST", "host", column_value, 0 },
	{ "RX", "rx_packets", column_value, RIGHT },
	{ "TX", "tx_packets", column_value, RIGHT },
	{ "MISSED", "missed", column_value, RIGHT },
	{ "WHY", "why", column_sentence, 0 },
};

static const struct column queue_columns[] = {
	{ "ADAPTER", "adapter", column_value, 0 },
	{ "ID", "id", column_queue, RIGHT },
	{ "NAME", "name", column_value, 0 },
	{ "VM", "vm", column_value, 0 },
	{ "STATE", "state", column_value, 0 },
	{ "CPU", "cpu", column_value, RIGHT },
	{ "BUFFERS", "buffers", column_value, RIGHT },
	{ "FILTERS", "filters", column_filters, SCOLS_FL_TRUNC },
	{ "RX", "rx_packets", column_value, RIGHT },
	{ "TX", "tx_packets", column_value, RIGHT },
	{ "DROPS", "drops", column_drops, 0 },
};

static const struct column filter_columns[] = {
	{ "ADAPTER", "adapter", column_value, 0 },
	{ "ID", "id", column_value, RIGHT },
	{ "QUEUE", "queue", column_queue, RIGHT },
	{ "VM", "vm", column_value, 0 },
	{ "MAC", "mac", column_value, 0 },
	{ "VLAN", "vlan", column_value, 0 },
};

static const struct column vm_columns[] = {
	{ "NAME", "name", column_value, 0 },
	{ "ADAPTER", "adapter", column_value, 0 },
	{ "QUEUE", "queue", column_queue, RIGHT },
	{ "SOCKET", "socket", column_value, SCOLS_FL_TRUNC },
	{ "MODE", "mode", column_value, 0 },
	{ "TRUNK", "trunk", column_value, 0 },
	{ "SPOOF-CHECK", "spoof_check", column_value, 0 },
	{ "CONNECTED", "connected", column_yes, 0 },
	{ "WHY", "why", column_sentence, 0 },
};

static const struct column trace_columns[] = {
	{ "QUEUE", "queue", column_queue, RIGHT },
	{ "FILTER", "filter", column_value, RIGHT },
	{ "MATCH", "match", column_yes, 0 },
};

static const struct column stats_columns[] = {
	{ "QUEUE", "id", column_queue, RIGHT },
	{ "NAME", "name", column_value, 0 },
	{ "RX", "rx_packets", column_value, RIGHT },
	{ "RX-BYTES", "rx_bytes", column_value, RIGHT },
	{ "TX", "tx_packets", column_value, RIGHT },
	{ "TX-BYTES", "tx_bytes", column_value, RIGHT },
	{ "DROPS", "drops", column_drops, 0 },
};

static const struct column top_columns[] = {
	{ "ADAPTER", "adapter", column_value, 0 },
	{ "ID", "id", column_queue, RIGHT },
	{ "VM", "vm", column_value, 0 },
	{ "CPU", "cpu", column_value, RIGHT },
	{ "BUFFERS", "buffers", column_in_use, RIGHT },
	{ "RX/S", "rx_packets_per_s", column_rate, RIGHT },
	{ "RX-BITS/S", "rx_bits_per_s", column_rate, RIGHT },
	{ "TX/S", "tx_packets_per_s", column_rate, RIGHT },
	{ "TX-BITS/S", "tx_bits_per_s", column_rate, RIGHT },
	{ "DROPS/S", "drops_per_s", column_drops, 0 },
};

#define COLUMNS(rows) rows, sizeof(rows) / sizeof(rows[0])

static const struct table tables[] = {
	{ "adapter.show", COLUMNS(adapter_columns) }, { "queue.show", COLUMNS(queue_columns) },
	{ "filter.show", COLUMNS(filter_columns) },   { "vm.show", COLUMNS(vm_columns) },
	{ "trace", COLUMNS(trace_columns) },          { "stats.show", COLUMNS(stats_columns) },
	{ "top", COLUMNS(top_columns) },
};

const struct table *
table_by_method(const char *method)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (!strcmp(tables[i].method, method))
			return &tables[i];
	return NULL;
}

static int
cell_set(struct libscols_line *line, size_t index, const struct column *column, const json_t *row)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return -ENOMEM;
	column->print(out, row, column->name);
	if (fclose(out)) {
		free(text);
		return -ENOMEM;
	}
	return scols_line_refer_data(line, index, text);
}

static int
row_add(struct libscols_table *print, const struct table *table, const json_t *row)
{
	struct libscols_line *line = scols_table_new_line(print, NULL);
	int error = line ? 0 : -ENOMEM;

	for (size_t i = 0; !error && i < table->column_count; i++)
		error = cell_set(line, i, &table->columns[i], row);
	return error;
}

/* @return NULL: no memory. */
static struct libscols_table *
table_build(const struct table *table, const json_t *rows)
{
	struct libscols_table *print = scols_new_table();
	const json_t *row;
	size_t index;
	int error = print ? 0 : -ENOMEM;

	for (size_t i = 0; !error && i < table->column_count; i++)
		if (!scols_table_new_column(print, table->columns[i].header, 0, table->columns[i].flags))
			error = -ENOMEM;
	json_array_foreach(rows, index, row)
		if (!error)
			error = row_add(print, table, row);
	if (!error)
		return print;
	scols_unref_table(print);
	return NULL;
}

int
table_print(const struct table *table, const json_t *rows)
{
	struct libscols_table *print = table_build(table, rows);
	int error = print ? 0 : -ENOMEM;

	if (!error && !isatty(STDOUT_FILENO))
		scols_table_set_termforce(print, SCOLS_TERMFORCE_NEVER);
	if (!error && json_array_size(rows))
		error = scols_print_table(print);
	scols_unref_table(print);
	return error;
}

char *
table_text(const struct table *table, const json_t *rows, int columns)
{
	struct libscols_table *print = table_build(table, rows);
	char *text = NULL;

	if (!print)
		return NULL;
	scols_table_set_termforce(print, SCOLS_TERMFORCE_ALWAYS);
	scols_table_set_termwidth(print, columns > 0 ? (size_t)columns : 1);
	scols_print_table_to_string(print, &text);
	scols_unref_table(print);
	return text;
}
