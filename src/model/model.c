/* SPDX-License-Identifier: BSD-3-Clause */
/* The model itself: creation, commits, pending frees, answers, and the checks that every request shares. */
#include "model/internal.h"
#include "util/text.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct answer {
	struct completion completion;
	STAILQ_ENTRY(answer) of_model;
};

void *
memory_zeroed(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		abort();
	return memory;
}

static bool
is_name_byte(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("_.:@-", c));
}

int
name_check(const char *kind, const char *name, size_t size, struct refusal *why)
{
	size_t length = strnlen(name, size);

	if (length == 0 || length == size)
		return refuse(why, -EINVAL, "the name of %s has 1 to %zu characters", kind, size - 1);
	for (size_t i = 0; i < length; i++) {
		if (!is_name_byte(name[i]))
			return refuse(why, -EINVAL, "the name of %s has only letters, digits and _.:@-", kind);
	}
	return 0;
}

int
text_check(const char *kind, const char *text, size_t size, struct refusal *why)
{
	size_t length = strnlen(text, size);

	if (length == size)
		return refuse(why, -EINVAL, "%s has at most %zu bytes", kind, size - 1);
	if (text_has_control(text))
		return refuse(why, -EINVAL, "%s has no control characters", kind);
	return 0;
}

int
owner_check(const struct caller *owner, const struct caller *caller, const char *what, struct refusal *why)
{
	if (caller->uid == 0)
		return 0;
	if (caller->uid != owner->uid)
		return refuse(why, -EPERM, "%s belongs to user %u", what, (unsigned)owner->uid);
	if (strcmp(caller->name, owner->name))
		return refuse(why, -EPERM, "%s belongs to \"%s\" of user %u", what, owner->name, (unsigned)owner->uid);
	return 0;
}

void
model_emit(struct model *model, const struct model_event *event)
{
	if (model->config.event)
		model->config.event(model->config.event_ctx, event);
}

void
model_answer(struct model *model, struct completion completion)
{
	struct answer *answer;

	if (!completion.done)
		return;
	answer = memory_zeroed(1, sizeof(*answer));
	answer->completion = completion;
	STAILQ_INSERT_TAIL(&model->answers, answer, of_model);
}

struct model *
model_create(const struct model_config *config)
{
	struct model *model = memory_zeroed(1, sizeof(*model));

	assert(!cpumask_is_empty(&config->cpus));
	model->config = *config;
	model->balance.cpu_count = cpumask_count(&config->cpus);
	TAILQ_INIT(&model->adapters);
	TAILQ_INIT(&model->vms);
	TAILQ_INIT(&model->freeing);
	TAILQ_INIT(&model->leaving_vms);
	TAILQ_INIT(&model->leaving_hosts);
	TAILQ_INIT(&model->captures);
	TAILQ_INIT(&model->leaving_captures);
	STAILQ_INIT(&model->answers);
	return model;
}

static void
vm_list_destroy(struct vm_list *vms)
{
	struct vm *vm;

	while ((vm = TAILQ_FIRST(vms))) {
		TAILQ_REMOVE(vms, vm, of_model);
		free(vm);
	}
}

void
model_destroy(struct model *model)
{
	struct adapter *adapter;
	struct host *host;
	struct answer *answer;

	captures_close(model);
	vm_list_destroy(&model->vms);
	vm_list_destroy(&model->leaving_vms);
	while ((host = TAILQ_FIRST(&model->leaving_hosts))) {
		TAILQ_REMOVE(&model->leaving_hosts, host, of_model);
		free(host);
	}
	while ((adapter = TAILQ_FIRST(&model->adapters))) {
		TAILQ_REMOVE(&model->adapters, adapter, of_model);
		adapter_destroy(adapter);
	}
	while ((answer = STAILQ_FIRST(&model->answers))) {
		STAILQ_REMOVE_HEAD(&model->answers, of_model);
		free(answer);
	}
	free(model);
}

static bool
model_publish(struct model *model)
{
	const struct model_config *config = &model->config;
	struct adapter *adapter;
	bool changed = false;

	TAILQ_FOREACH(adapter, &model->adapters, of_model) {
		if (!adapter->dirty)
			continue;
		config->nic->publish(adapter->nic);
		config->path->publish(config->path_ctx, adapter);
		changed = true;
	}
	return changed;
}

static void
model_retire(struct model *model)
{
	const struct model_config *config = &model->config;
	struct adapter *adapter;

	TAILQ_FOREACH(adapter, &model->adapters, of_model) {
		if (!adapter->dirty)
			continue;
		config->nic->retire(adapter->nic);
		config->path->retire(config->path_ctx, adapter);
		adapter->dirty = false;
	}
}

static void
model_close_leaving(struct model *model)
{
	struct vm *vm;
	struct host *host;

	while ((vm = TAILQ_FIRST(&model->leaving_vms))) {
		TAILQ_REMOVE(&model->leaving_vms, vm, of_model);
		vm_end(model, vm);
	}
	while ((host = TAILQ_FIRST(&model->leaving_hosts))) {
		TAILQ_REMOVE(&model->leaving_hosts, host, of_model);
		host_close(model, host);
	}
	captures_close(model);
}

/* No worker can place a frame into them any more: this is the moment that the book calls DMA stopped. */
static void
model_indicate_stopped(struct model *model)
{
	struct queue *queue;

	TAILQ_FOREACH(queue, &model->freeing, of_model) {
		if (queue->state != QUEUE_DMA_STOPPED)
			continue;
		queue_indicate(queue);
		queue_step(queue, QUEUE_EVENT_DMA_STOPPED_INDICATED);
	}
}

/* Workers see the model as it is, and nothing that has left it is in use any more. */
static void
model_take_effect(struct model *model)
{
	if (!model_publish(model) && TAILQ_EMPTY(&model->leaving_captures))
		return;
	model->config.path->synchronize(model->config.path_ctx);
	model_retire(model);
	model_close_leaving(model);
}

void
model_see_off(struct model *model)
{
	if (!TAILQ_EMPTY(&model->leaving_vms) || !TAILQ_EMPTY(&model->leaving_hosts))
		model_take_effect(model);
}

void
model_commit(struct model *model)
{
	model_take_effect(model);
	model_indicate_stopped(model);
	model_poll(model);
}

static void
model_end_returned(struct model *model)
{
	const struct model_config *config = &model->config;
	struct queue *queue, *next;

	for (queue = TAILQ_FIRST(&model->freeing); queue; queue = next) {
		next = TAILQ_NEXT(queue, of_model);
		if (queue->state == QUEUE_FREEING && config->path->outstanding(config->path_ctx, queue) == 0)
			queue_end(queue);
	}
}

static void
model_close_drained(struct model *model)
{
	struct adapter *adapter, *next;

	for (adapter = TAILQ_FIRST(&model->adapters); adapter; adapter = next) {
		next = TAILQ_NEXT(adapter, of_model);
		if (adapter_is_drained(adapter))
			adapter_close(adapter);
	}
}

/* Each answer leaves the list before its call, which may itself make requests, commit and poll. */
static void
model_give_answers(struct model *model)
{
	struct answer *answer;

	while ((answer = STAILQ_FIRST(&model->answers))) {
		struct completion completion = answer->completion;

		STAILQ_REMOVE_HEAD(&model->answers, of_model);
		free(answer);
		completion.done(completion.ctx, 0);
	}
}

unsigned
model_poll(struct model *model)
{
	struct queue *queue;
	unsigned pending = 0;

	model_end_returned(model);
	model_close_drained(model);
	model_give_answers(model);
	TAILQ_FOREACH(queue, &model->freeing, of_model)
		pending++;
	return pending;
}
