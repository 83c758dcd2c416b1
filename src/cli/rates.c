/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/rates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BITS_IN_BYTE = 8 };

static json_int_t
number(const json_t *queue, const char *name)
{
	return json_integer_value(json_object_get(queue, name));
}

static const char *
adapter_of(const json_t *queue)
{
	return json_string_value(json_object_get(queue, "adapter"));
}

/* By adapter, then id. */
static int
compare_names(const json_t *a, const json_t *b)
{
	const int names = strcmp(adapter_of(a), adapter_of(b));
	const json_int_t ids = number(a, "id") - number(b, "id");

	return names ? names : (ids > 0) - (ids < 0);
}

const json_t *
rates_find(const json_t *queues, const json_t *wanted)
{
	const json_t *queue;
	size_t i;

	json_array_foreach(queues, i, queue)
		if (!compare_names(queue, wanted))
			return queue;
	return NULL;
}

static json_int_t
difference(json_int_t before, json_int_t after)
{
	return after >= before ? after - before : after;
}

static json_t *
rate(const json_t *before, const json_t *after, const char *name, double seconds, unsigned factor)
{
	return json_integer(llround((double)difference(number(before, name), number(after, name)) * factor / seconds));
}

static json_t *
drop_rates(const json_t *before, const json_t *after, double seconds)
{
	const json_t *were = json_object_get(before, "drops");
	json_t *rates = json_object();
	const char *reason;
	json_t *count;

	json_object_foreach(json_object_get(after, "drops"), reason, count) {
		const json_int_t more = difference(number(were, reason), json_integer_value(count));

		if (more)
			json_object_set_new(rates, reason, json_integer((json_int_t)ceil((double)more / seconds)));
	}
	return rates;
}

static json_t *
row_build(const json_t *before, const json_t *after, double seconds)
{
	static const char *const members[] = { "adapter", "id",  "name",    "vm",
					       "state",   "cpu", "buffers", "buffers_in_use" };
	json_t *row = json_object();

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		json_object_set(row, members[i], json_object_get(after, members[i]));
	json_object_set_new(row, "rx_packets_per_s", rate(before, after, "rx_packets", seconds, 1));
	json_object_set_new(row, "rx_bits_per_s", rate(before, after, "rx_bytes", seconds, BITS_IN_BYTE));
	json_object_set_new(row, "tx_packets_per_s", rate(before, after, "tx_packets", seconds, 1));
	json_object_set_new(row, "tx_bits_per_s", rate(before, after, "tx_bytes", seconds, BITS_IN_BYTE));
	json_object_set_new(row, "drops_per_s", drop_rates(before, after, seconds));
	return row;
}

json_t *
rates_between(const json_t *before, const json_t *after, double seconds)
{
	json_t *rows = json_array();
	const json_t *queue;
	size_t i;

	json_array_foreach(after, i, queue)
		json_array_append_new(rows, row_build(rates_find(before, queue), queue, seconds));
	return rows;
}

json_int_t
rates_drops(const json_t *row)
{
	json_int_t sum = 0;
	const char *reason;
	json_t *count;

	json_object_foreach(json_object_get(row, "drops_per_s"), reason, count)
		sum += json_integer_value(count);
	return sum;
}

static json_int_t
received(const json_t *row)
{
	return number(row, "rx_packets_per_s");
}

static json_int_t
sent(const json_t *row)
{
	return number(row, "tx_packets_per_s");
}

static json_int_t
alike(const json_t *row)
{
	(void)row;
	return 0;
}

/* What a row is measured by. */
struct order {
	const char *word;
	json_int_t (*of)(const json_t *row);
};

/* The most first, then by adapter and id. */
static int
compare(const void *a, const void *b, void *order)
{
	const json_t *first = *(json_t *const *)a, *second = *(json_t *const *)b;
	json_int_t (*const of)(const json_t *) = ((const struct order *)order)->of;
	const json_int_t more = of(second) - of(first);

	return more ? (more > 0) - (more < 0) : compare_names(first, second);
}

void
rates_sort(json_t *rows, const char *by)
{
	static struct order orders[] = {
		{ "rx", received }, { "tx", sent }, { "drops", rates_drops }, { "id", alike }
	};
	const size_t count = json_array_size(rows);
	json_t **list = calloc(count + 1, sizeof(list[0]));

	if (!list)
		return;
	for (size_t i = 0; i < count; i++)
		list[i] = json_incref(json_array_get(rows, i));
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (!strcmp(orders[i].word, by))
			qsort_r(list, count, sizeof(list[0]), compare, &orders[i]);
	for (size_t i = 0; i < count; i++)
		json_array_set_new(rows, i, list[i]);
	free(list);
}
