/* The core itself: creation, commits, pending frees, answers, and the checks that every request shares. */
#include "core/internal.h"
#include "util/text.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct answer {
	struct completion completion;
	STAILQ_ENTRY(answer) of_core;
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
core_emit(struct core *core, const struct core_event *event)
{
	if (core->config.event)
		core->config.event(core->config.event_ctx, event);
}

void
core_answer(struct core *core, struct completion completion)
{
	struct answer *answer;

	if (!completion.done)
		return;
	answer = memory_zeroed(1, sizeof(*answer));
	answer->completion = completion;
	STAILQ_INSERT_TAIL(&core->answers, answer, of_core);
}

struct core *
core_create(const struct core_config *config)
{
	struct core *core = memory_zeroed(1, sizeof(*core));

	assert(!cpumask_is_empty(&config->cpus));
	core->config = *config;
	balance_init(&core->balance, &balance_policy_default, &config->cpus);
	TAILQ_INIT(&core->adapters);
	TAILQ_INIT(&core->vms);
	TAILQ_INIT(&core->freeing);
	TAILQ_INIT(&core->leaving_vms);
	TAILQ_INIT(&core->leaving_hosts);
	STAILQ_INIT(&core->answers);
	return core;
}

static void
vm_list_destroy(struct vm_list *vms)
{
	struct vm *vm;

	while ((vm = TAILQ_FIRST(vms))) {
		TAILQ_REMOVE(vms, vm, of_core);
		free(vm);
	}
}

void
core_destroy(struct core *core)
{
	struct adapter *adapter;
	struct host *host;
	struct answer *answer;

	vm_list_destroy(&core->vms);
	vm_list_destroy(&core->leaving_vms);
	while ((host = TAILQ_FIRST(&core->leaving_hosts))) {
		TAILQ_REMOVE(&core->leaving_hosts, host, of_core);
		free(host);
	}
	while ((adapter = TAILQ_FIRST(&core->adapters))) {
		TAILQ_REMOVE(&core->adapters, adapter, of_core);
		adapter_destroy(adapter);
	}
	while ((answer = STAILQ_FIRST(&core->answers))) {
		STAILQ_REMOVE_HEAD(&core->answers, of_core);
		free(answer);
	}
	free(core);
}

static bool
core_publish(struct core *core)
{
	const struct core_config *config = &core->config;
	struct adapter *adapter;
	bool changed = false;

	TAILQ_FOREACH(adapter, &core->adapters, of_core) {
		if (!adapter->dirty)
			continue;
		config->nic->publish(adapter->nic);
		config->path->publish(config->path_ctx, adapter);
		changed = true;
	}
	return changed;
}

static void
core_retire(struct core *core)
{
	const struct core_config *config = &core->config;
	struct adapter *adapter;

	TAILQ_FOREACH(adapter, &core->adapters, of_core) {
		if (!adapter->dirty)
			continue;
		config->nic->retire(adapter->nic);
		config->path->retire(config->path_ctx, adapter);
		adapter->dirty = false;
	}
}

static void
core_close_leaving(struct core *core)
{
	struct vm *vm;
	struct host *host;

	while ((vm = TAILQ_FIRST(&core->leaving_vms))) {
		TAILQ_REMOVE(&core->leaving_vms, vm, of_core);
		vm_end(core, vm);
	}
	while ((host = TAILQ_FIRST(&core->leaving_hosts))) {
		TAILQ_REMOVE(&core->leaving_hosts, host, of_core);
		host_close(core, host);
	}
}

/* No worker can place a frame into them any more: this is the moment that the book calls DMA stopped. */
static void
core_indicate_stopped(struct core *core)
{
	struct queue *queue;

	TAILQ_FOREACH(queue, &core->freeing, of_core) {
		if (queue->state != QUEUE_DMA_STOPPED)
			continue;
		queue_indicate(queue);
		queue_step(queue, QUEUE_EVENT_DMA_STOPPED_INDICATED);
	}
}

/* Workers see the model as it is, and nothing that has left it is in use any more. */
static void
core_take_effect(struct core *core)
{
	if (!core_publish(core))
		return;
	core->config.path->synchronize(core->config.path_ctx);
	core_retire(core);
	core_close_leaving(core);
}

void
core_see_off(struct core *core)
{
	if (!TAILQ_EMPTY(&core->leaving_vms) || !TAILQ_EMPTY(&core->leaving_hosts))
		core_take_effect(core);
}

void
core_commit(struct core *core)
{
	core_take_effect(core);
	core_indicate_stopped(core);
	core_poll(core);
}

static void
core_end_returned(struct core *core)
{
	const struct core_config *config = &core->config;
	struct queue *queue, *next;

	for (queue = TAILQ_FIRST(&core->freeing); queue; queue = next) {
		next = TAILQ_NEXT(queue, of_core);
		if (queue->state == QUEUE_FREEING && config->path->outstanding(config->path_ctx, queue) == 0)
			queue_end(queue);
	}
}

static void
core_close_drained(struct core *core)
{
	struct adapter *adapter, *next;

	for (adapter = TAILQ_FIRST(&core->adapters); adapter; adapter = next) {
		next = TAILQ_NEXT(adapter, of_core);
		if (adapter_is_drained(adapter))
			adapter_close(adapter);
	}
}

/* Each answer leaves the list before its call, which may itself make requests, commit and poll. */
static void
core_give_answers(struct core *core)
{
	struct answer *answer;

	while ((answer = STAILQ_FIRST(&core->answers))) {
		struct completion completion = answer->completion;

		STAILQ_REMOVE_HEAD(&core->answers, of_core);
		free(answer);
		completion.done(completion.ctx, 0);
	}
}

unsigned
core_poll(struct core *core)
{
	struct queue *queue;
	unsigned pending = 0;

	core_end_returned(core);
	core_close_drained(core);
	core_give_answers(core);
	TAILQ_FOREACH(queue, &core->freeing, of_core)
		pending++;
	return pending;
}
