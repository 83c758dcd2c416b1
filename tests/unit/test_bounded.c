/* SPDX-License-Identifier: BSD-3-Clause */
/* A call that returns in time is the caller's; one that does not is left to itself, and cleans up if it ever ends. */
#include "rows.h"
#include "util/bounded.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { LONG_MS = 60000, SHORT_MS = 20 };

struct visit {
	sem_t may_return;
	sem_t was_late;
	atomic_int ran;
};

static void
visit_run(void *ctx)
{
	struct visit *visit = ctx;

	sem_wait(&visit->may_return);
	visit->ran++;
}

static void
visit_late(void *ctx)
{
	struct visit *visit = ctx;

	assert_int_equal(visit->ran, 1);
	sem_post(&visit->was_late);
}

static const struct bounded_call call = { visit_run, visit_late };

static void
visit_begin(struct visit *visit, unsigned may_return)
{
	*visit = (struct visit){ .ran = 0 };
	sem_init(&visit->may_return, 0, may_return);
	sem_init(&visit->was_late, 0, 0);
}

static void
test_in_time(void **state)
{
	struct visit visit;

	(void)state;
	visit_begin(&visit, 1);
	assert_int_equal(bounded_run(&call, &visit, LONG_MS), 0);
	assert_int_equal(visit.ran, 1);
	assert_int_equal(sem_trywait(&visit.was_late), -1);
}

static void
test_never(void **state)
{
	struct visit stuck, other;

	(void)state;
	visit_begin(&stuck, 0);
	assert_int_equal(bounded_run(&call, &stuck, SHORT_MS), -ETIMEDOUT);
	assert_int_equal(stuck.ran, 0);
	/* Others are not kept by it. */
	visit_begin(&other, 1);
	assert_int_equal(bounded_run(&call, &other, LONG_MS), 0);
	assert_int_equal(stuck.ran, 0);
	sem_post(&stuck.may_return);
	sem_wait(&stuck.was_late);
	assert_int_equal(stuck.ran, 1);
}

static void
test_no_patience(void **state)
{
	struct visit visit;

	(void)state;
	visit_begin(&visit, 0);
	assert_int_equal(bounded_run(&call, &visit, 0), -ETIMEDOUT);
	sem_post(&visit.may_return);
	sem_wait(&visit.was_late);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_time),
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_no_patience),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
