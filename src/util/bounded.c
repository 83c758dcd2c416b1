/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/bounded.h"

#include "util/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

/* Whoever leaves last frees it: the waiter if the call returned in time, else the thread. */
struct task {
	const struct bounded_call *call;
	void *ctx;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done, abandoned; /* under the lock; whichever is set first decides who frees */
};

static struct task *
task_create(const struct bounded_call *call, void *ctx)
{
	struct task *task = calloc(1, sizeof(*task));

	if (!task)
		return NULL;
	task->call = call;
	task->ctx = ctx;
	pthread_mutex_init(&task->lock, NULL);
	clock_condition_init(&task->changed);
	return task;
}

static void
task_destroy(struct task *task)
{
	pthread_cond_destroy(&task->changed);
	pthread_mutex_destroy(&task->lock);
	free(task);
}

static void *
task_run(void *argument)
{
	struct task *task = argument;
	bool abandoned;

	task->call->run(task->ctx);
	pthread_mutex_lock(&task->lock);
	abandoned = task->abandoned;
	task->done = true;
	pthread_cond_signal(&task->changed);
	pthread_mutex_unlock(&task->lock);
	if (abandoned) {
		task->call->late(task->ctx);
		task_destroy(task);
	}
	return NULL;
}

/* @return whether it was done in time. */
static bool
task_wait(struct task *task, unsigned limit_ms)
{
	const uint64_t end_ms = clock_ms() + limit_ms;
	bool done;

	pthread_mutex_lock(&task->lock);
	while (!task->done && clock_ms() < end_ms)
		clock_wait(&task->changed, &task->lock, end_ms);
	done = task->done;
	task->abandoned = !done;
	pthread_mutex_unlock(&task->lock);
	return done;
}

int
bounded_run(const struct bounded_call *call, void *ctx, unsigned limit_ms)
{
	struct task *task = task_create(call, ctx);
	pthread_t thread;
	int error;

	if (!task)
		return -ENOMEM;
	error = pthread_create(&thread, NULL, task_run, task);
	if (error) {
		task_destroy(task);
		return -error;
	}
	if (!task_wait(task, limit_ms)) {
		pthread_detach(thread);
		return -ETIMEDOUT;
	}
	pthread_join(thread, NULL);
	task_destroy(task);
	return 0;
}
