/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Table-driven tests: every row of a table is a test of its own, so that a row that fails is named and the rest
 * go on. The first field of a row is its name, a const char *.
 */
#ifndef VMQ_TESTS_ROWS_H
#define VMQ_TESTS_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { ROW_TESTS_MAX = 512 };

struct row_tests {
	struct CMUnitTest tests[ROW_TESTS_MAX];
	size_t count;
};

static inline void
row_test_add(struct row_tests *all, struct CMUnitTest test)
{
	if (all->count == ROW_TESTS_MAX) {
		fprintf(stderr, "no room for %s: ROW_TESTS_MAX is too small\n", test.name);
		abort();
	}
	all->tests[all->count++] = test;
}

static inline void
row_tests_add(struct row_tests *all, CMUnitTestFunction function, const void *rows, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++) {
		char *row = (char *)rows + i * size;

		row_test_add(all, (struct CMUnitTest){
			.name = *(const char **)row, .test_func = function, .initial_state = row });
	}
}

#define ROWS(all, function, rows) \
	row_tests_add(all, function, rows, sizeof(rows) / sizeof((rows)[0]), sizeof((rows)[0]))

static inline void
row_tests_add_one(struct row_tests *all, const char *name, CMUnitTestFunction function)
{
	row_test_add(all, (struct CMUnitTest){ .name = name, .test_func = function });
}

#define TEST(all, function) row_tests_add_one(all, #function, function)

static inline int
row_tests_run(const char *name, const struct row_tests *all)
{
	return _cmocka_run_group_tests(name, all->tests, all->count, NULL, NULL);
}

#endif
