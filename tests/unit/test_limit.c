/* SPDX-License-Identifier: BSD-3-Clause */
/* How much passes a limit, by a clock that the test turns. */
#include "datapath/limit.h"
#include "rows.h"

enum { HERTZ = 1000000000, BURST = HERTZ / 100 };

static struct rate_case {
	const char *name;
	double rate;        /* bits per second */
	uint32_t bytes;     /* of each frame */
	uint64_t every;     /* cycles from frame to frame */
} rates[] = {
	{ "small frames, a gigabit", 1e9, 60, 100 },
	{ "frames of an MTU, ten megabits", 1e7, 1514, 10000 },
	{ "frames of all at once, a hundred megabits", 1e8, 1514, 0 },
	{ "long frames, ten megabits", 1e7, 65000, 100000 },
	{ "long frames, a gigabit", 1e9, 65000, 10000 },
};

/* @return the bytes that pass from one time to another; at least a frame is tried at each. */
static uint64_t
pass_between(const struct rate_case *row, uint64_t *due, uint64_t from, uint64_t to)
{
	const double byte_cycles = 8.0 * HERTZ / row->rate;
	uint64_t bytes = 0;

	for (uint64_t now = from; now < to; now += row->every ? row->every : HERTZ / 1000)
		for (int i = 0; i < (row->every ? 1 : 1000); i++)
			if (limit_pass(due, byte_cycles, BURST, now, row->bytes))
				bytes += row->bytes;
	return bytes;
}

/* After the first second, in which the burst comes on top, each has what it may have, but for the last frame. */
static void
mean_is_exact(void **state)
{
	const struct rate_case *row = *state;
	uint64_t due = 0, second = HERTZ;
	const uint64_t first = pass_between(row, &due, second, 2 * second);
	const uint64_t rest = pass_between(row, &due, 2 * second, 7 * second);

	assert_true((double)first <= row->rate / 8 * 1.01 + row->bytes);
	assert_true((double)rest <= 5 * row->rate / 8 + row->bytes);
	assert_true((double)rest >= 5 * row->rate / 8 - 2.0 * row->bytes);
}

static void
what_is_not_used_is_not_saved_up(void **state)
{
	const struct rate_case *row = &rates[1];
	uint64_t due = 0, second = HERTZ;

	(void)state;
	pass_between(row, &due, second, 2 * second);
	assert_true((double)pass_between(row, &due, 100 * second, 101 * second) <= row->rate / 8 * 1.01 + row->bytes);
}

/* One that is longer than all that may be ahead passes when nothing is owed, and is paid for afterwards. */
static void
a_long_frame_is_paid_for(void **state)
{
	const double byte_cycles = 8.0 * HERTZ / 1e6;
	uint64_t due = 0;

	(void)state;
	assert_true(limit_pass(&due, byte_cycles, BURST, HERTZ, 65000));
	assert_false(limit_pass(&due, byte_cycles, BURST, HERTZ, 60));
	assert_false(limit_pass(&due, byte_cycles, BURST, HERTZ + HERTZ / 2, 60));
	assert_true(limit_pass(&due, byte_cycles, BURST, HERTZ + (uint64_t)(65000 * byte_cycles), 60));
}

/* Frames may be counted, too: each for what it becomes. */
static void
frames_instead_of_bytes(void **state)
{
	const double frame_cycles = HERTZ / 100.0;
	uint64_t due = 0, passed = 0;

	(void)state;
	for (uint64_t now = HERTZ; now < 11 * (uint64_t)HERTZ; now += HERTZ / 1000)
		passed += limit_pass(&due, frame_cycles, HERTZ / 10, now, 1);
	assert_in_range(passed, 1000, 1011);
	assert_true(limit_pass(&due, frame_cycles, HERTZ / 10, 12 * (uint64_t)HERTZ, 44));
	assert_false(limit_pass(&due, frame_cycles, HERTZ / 10, 12 * (uint64_t)HERTZ, 1));
	assert_true(limit_pass(&due, frame_cycles, HERTZ / 10, 13 * (uint64_t)HERTZ, 1));
}

int
main(void)
{
	static struct row_tests all;

	ROWS(&all, mean_is_exact, rates);
	TEST(&all, what_is_not_used_is_not_saved_up);
	TEST(&all, a_long_frame_is_paid_for);
	TEST(&all, frames_instead_of_bytes);
	return row_tests_run("limit", &all);
}
