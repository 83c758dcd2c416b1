/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/watch.h"

#include "util/clock.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct watch {
	const struct watch_question *question;
	unsigned id;
	pthread_t thread;
	void *incoming; /* the thread's */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	void *answer;      /* from here on under the lock */
	uint64_t asked_ms; /* when the question was put that waits for its answer; 0: none does */
	bool ends;
};

static bool
pause_until_next(struct watch *watch)
{
	const uint64_t end_ms = clock_ms() + watch->question->period_ms;

	while (!watch->ends && clock_ms() < end_ms)
		clock_wait(&watch->ended, &watch->lock, end_ms);
	return !watch->ends;
}

static void *
watch_run(void *argument)
{
	struct watch *watch = argument;

	pthread_mutex_lock(&watch->lock);
	while (pause_until_next(watch)) {
		watch->asked_ms = clock_ms();
		pthread_mutex_unlock(&watch->lock);
		memset(watch->incoming, 0, watch->question->answer_bytes);
		watch->question->ask(watch->id, watch->incoming);
		pthread_mutex_lock(&watch->lock);
		memcpy(watch->answer, watch->incoming, watch->question->answer_bytes);
		watch->asked_ms = 0;
	}
	pthread_mutex_unlock(&watch->lock);
	return NULL;
}

static void
watch_destroy(struct watch *watch)
{
	pthread_cond_destroy(&watch->ended);
	pthread_mutex_destroy(&watch->lock);
	free(watch->incoming);
	free(watch->answer);
	free(watch);
}

struct watch *
watch_start(const struct watch_question *question, unsigned id)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->question = question;
	watch->id = id;
	pthread_mutex_init(&watch->lock, NULL);
	clock_condition_init(&watch->ended);
	watch->incoming = calloc(1, question->answer_bytes);
	watch->answer = calloc(1, question->answer_bytes);
	if (watch->incoming && watch->answer) {
		question->ask(id, watch->answer);
		if (!pthread_create(&watch->thread, NULL, watch_run, watch))
			return watch;
	}
	watch_destroy(watch);
	return NULL;
}

unsigned
watch_read(struct watch *watch, void *answer)
{
	unsigned waited_ms;

	pthread_mutex_lock(&watch->lock);
	memcpy(answer, watch->answer, watch->question->answer_bytes);
	waited_ms = watch->asked_ms ? (unsigned)(clock_ms() - watch->asked_ms) : 0;
	pthread_mutex_unlock(&watch->lock);
	return waited_ms;
}

void
watch_stop(struct watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	watch->ends = true;
	pthread_cond_signal(&watch->ended);
	pthread_mutex_unlock(&watch->lock);
	pthread_join(watch->thread, NULL);
	watch_destroy(watch);
}
