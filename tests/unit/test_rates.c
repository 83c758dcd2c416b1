/* SPDX-License-Identifier: BSD-3-Clause */
/* Rates between two answers: rounding, counters that went back, queues that came and went, and the order of rows. */
#include "cli/rates.h"
#include "rows.h"

#include <string.h>

static json_t *
queue(const char *adapter, int id, json_int_t packets, json_int_t bytes, json_int_t full)
{
	return json_pack("{s:s, s:i, s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:{s:I, s:i}}", "adapter",
			 adapter, "id", id, "name", "", "vm", "web", "state", "Running", "cpu", 1, "buffers", 512,
			 "buffers_in_use", 3, "rx_packets", packets, "rx_bytes", bytes, "tx_packets", 2 * packets,
			 "tx_bytes", 2 * bytes, "drops", "ring_full", full, "vm_down", 0);
}

static const struct rate_row {
	const char *name;
	json_int_t before, after;
	double seconds;
	json_int_t packets, bits, drops;
} rate_rows[] = {
	{ "nothing", 7, 7, 1, 0, 0, 0 },
	{ "in a second", 0, 100, 1, 100, 800, 100 },
	{ "in two seconds", 50, 151, 2, 51, 404, 51 },
	{ "drops are rounded up", 0, 1, 10, 0, 1, 1 },
	{ "counters were cleared", 1000, 30, 1, 30, 240, 30 },
	{ "more than 32 bits", 0, 1LL << 40, 1, 1LL << 40, 8LL << 40, 1LL << 40 },
	{ "in a moment", 0, 1, 0.001, 1000, 8000, 1000 },
};

static void
rate(void **state)
{
	const struct rate_row *row = *state;
	json_t *before = json_pack("[o]", queue("eth0", 1, row->before, row->before, row->before));
	json_t *after = json_pack("[o]", queue("eth0", 1, row->after, row->after, row->after));
	json_t *rows = rates_between(before, after, row->seconds);
	const json_t *one = json_array_get(rows, 0);

	assert_int_equal(json_array_size(rows), 1);
	assert_int_equal(json_integer_value(json_object_get(one, "rx_packets_per_s")), row->packets);
	assert_int_equal(json_integer_value(json_object_get(one, "rx_bits_per_s")), row->bits);
	assert_int_equal(rates_drops(one), row->drops);
	assert_int_equal(json_object_size(json_object_get(one, "drops_per_s")), row->drops ? 1 : 0);
	assert_int_equal(json_integer_value(json_object_get(one, "buffers_in_use")), 3);
	json_decref(rows);
	json_decref(before);
	json_decref(after);
}

static void
queues_come_and_go(void **state)
{
	json_t *before = json_pack("[o,o]", queue("eth0", 1, 5, 5, 0), queue("eth0", 2, 5, 5, 0));
	json_t *after = json_pack("[o,o]", queue("eth0", 2, 6, 6, 0), queue("eth1", 1, 9, 9, 0));
	json_t *rows = rates_between(before, after, 1);

	(void)state;
	assert_int_equal(json_array_size(rows), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "rx_packets_per_s")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 1), "rx_packets_per_s")), 9);
	json_decref(rows);
	json_decref(before);
	json_decref(after);
}

static const struct order_row {
	const char *name, *by, *order;
} order_rows[] = {
	{ "by received", "rx", "eth1/1 eth0/2 eth0/10 eth1/3 " },
	{ "by sent", "tx", "eth1/1 eth0/2 eth0/10 eth1/3 " },
	{ "by drops", "drops", "eth1/3 eth0/2 eth0/10 eth1/1 " },
	{ "by id", "id", "eth0/2 eth0/10 eth1/1 eth1/3 " },
	{ "by nothing known", "name", "eth1/3 eth0/10 eth1/1 eth0/2 " },
};

/* Those that have as much go by adapter and id. */
static void
order(void **state)
{
	const struct order_row *row = *state;
	json_t *none = json_array();
	json_t *after = json_pack("[o,o,o,o]", queue("eth1", 3, 0, 0, 9), queue("eth0", 10, 5, 5, 1),
				  queue("eth1", 1, 7, 7, 0), queue("eth0", 2, 5, 5, 1));
	json_t *rows = rates_between(none, after, 1);
	const json_t *one;
	char text[128] = "";
	size_t i;

	rates_sort(rows, row->by);
	json_array_foreach(rows, i, one)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s/%lld ",
			 json_string_value(json_object_get(one, "adapter")),
			 (long long)json_integer_value(json_object_get(one, "id")));
	assert_string_equal(text, row->order);
	json_decref(rows);
	json_decref(none);
	json_decref(after);
}

int
main(void)
{
	static struct row_tests tests;

	ROWS(&tests, rate, rate_rows);
	ROWS(&tests, order, order_rows);
	TEST(&tests, queues_come_and_go);
	return row_tests_run("rates", &tests);
}
