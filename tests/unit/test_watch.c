/* SPDX-License-Identifier: BSD-3-Clause */
/* The last answer can be had at once, however long the next one takes. */
#include "rows.h"
#include "util/watch.h"

#include <semaphore.h>
#include <stdatomic.h>

enum { QUESTIONED = 7 };

static sem_t may_answer, was_asked;
static atomic_uint answers;

static void
ask(unsigned id, void *answer)
{
	unsigned *number = answer;

	assert_int_equal(id, QUESTIONED);
	assert_int_equal(*number, 0);
	sem_post(&was_asked);
	sem_wait(&may_answer);
	*number = ++answers;
}

static const struct watch_question question = { ask, sizeof(unsigned), 1 };

/* A watch with one answer, which waits for its second. */
static struct watch *
watch_begin(void)
{
	struct watch *watch;

	sem_init(&may_answer, 0, 1);
	sem_init(&was_asked, 0, 0);
	answers = 0;
	watch = watch_start(&question, QUESTIONED);
	assert_non_null(watch);
	sem_wait(&was_asked);
	sem_wait(&was_asked);
	return watch;
}

static void
watch_end(struct watch *watch)
{
	for (unsigned i = 0; i < 100000; i++)
		sem_post(&may_answer);
	watch_stop(watch);
}

static void
test_first_answer(void **state)
{
	struct watch *watch = watch_begin();
	unsigned answer = 0;

	(void)state;
	watch_read(watch, &answer);
	assert_int_equal(answer, 1);
	watch_end(watch);
}

static void
test_unanswered(void **state)
{
	struct watch *watch = watch_begin();
	unsigned answer = 0, waited = 0, before;

	(void)state;
	while (!waited)
		waited = watch_read(watch, &answer);
	before = waited;
	while (waited == before)
		waited = watch_read(watch, &answer);
	assert_true(waited > before);
	assert_int_equal(answer, 1);
	watch_end(watch);
}

static void
test_answered_at_last(void **state)
{
	struct watch *watch = watch_begin();
	unsigned answer = 0;

	(void)state;
	while (!watch_read(watch, &answer))
		;
	sem_post(&may_answer);
	while (answer != 2)
		watch_read(watch, &answer);
	sem_wait(&was_asked);
	assert_int_equal(answers, 2);
	watch_end(watch);
}

static void
test_ends_between_questions(void **state)
{
	static const struct watch_question rare = { ask, sizeof(unsigned), 1000000000 };
	struct watch *watch;
	unsigned answer = 0;

	(void)state;
	sem_init(&may_answer, 0, 1);
	answers = 0;
	watch = watch_start(&rare, QUESTIONED);
	assert_non_null(watch);
	assert_int_equal(watch_read(watch, &answer), 0);
	assert_int_equal(answer, 1);
	watch_stop(watch);
	assert_int_equal(answers, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_answer),
		cmocka_unit_test(test_unanswered),
		cmocka_unit_test(test_answered_at_last),
		cmocka_unit_test(test_ends_between_questions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
