/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive queues: allocation, parameters, allocation complete, and the first half of the free (model.c does the
 * rest at commits and polls). queue_step() is the only writer of a state.
 */
#include "model/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct queue_text
queue_text(const struct queue *queue)
{
	const char *adapter = queue->adapter->config.name;
	struct queue_text text;

	if (queue_is_reserved(queue))
		snprintf(text.text, sizeof(text.text), "the %s queue of adapter %s",
			 queue->id == QUEUE_DEFAULT ? "default" : "drop", adapter);
	else
		snprintf(text.text, sizeof(text.text), "queue %u of adapter %s", queue->id, adapter);
	return text;
}

bool
queue_is_reserved(const struct queue *queue)
{
	return queue->id == QUEUE_DEFAULT || queue->id == QUEUE_DROP;
}

int
queue_after(const struct queue *queue, enum queue_event event)
{
	return queue_is_reserved(queue) ? QUEUE_RUNNING : queue_state_after(queue->state, event);
}

void
queue_indicate(struct queue *queue)
{
	const struct model_event event = { .type = EVENT_QUEUE_STATE, .adapter = queue->adapter, .queue = queue };

	model_emit(queue->adapter->model, &event);
}

/* DMA stopped is true, and indicated, only after the grace period of the commit that follows the free. */
void
queue_step(struct queue *queue, enum queue_event event)
{
	const enum queue_state before = queue->state;
	const int state = queue_after(queue, event);

	assert(state >= 0);
	queue->state = (enum queue_state)state;
	if (queue->state != before && queue->state != QUEUE_DMA_STOPPED)
		queue_indicate(queue);
}

int
queue_check_reserved(const struct queue *queue, const char *act, struct refusal *why)
{
	if (queue_is_reserved(queue))
		return refuse(why, -EPERM, "%s is always there and cannot %s", queue_text(queue).text, act);
	return 0;
}

int
queue_check_event(const struct queue *queue, enum queue_event event, struct refusal *why)
{
	if (queue_after(queue, event) >= 0)
		return 0;
	if (event == QUEUE_EVENT_FREE && queue->filter_count > 0)
		return refuse(why, -EPERM, "%s is %s: clear its filters before it is freed", queue_text(queue).text,
			      queue_state_name(queue->state));
	return refuse(why, -EPERM, "%s is %s and cannot %s", queue_text(queue).text, queue_state_name(queue->state),
		      queue_event_phrase(event));
}

int
queue_check_owner(const struct queue *queue, const struct caller *caller, struct refusal *why)
{
	if (queue_is_reserved(queue))
		return 0;
	return owner_check(&queue->owner, caller, queue_text(queue).text, why);
}

static int
affinity_check(const struct adapter *adapter, const struct cpumask *affinity, struct refusal *why)
{
	const struct cpumask *cpus = &adapter->config.cpus;
	const unsigned outside = cpumask_first_outside(affinity, cpus);
	char text[CPUMASK_TEXT_SIZE];

	cpumask_format(cpus, text);
	if (cpumask_is_empty(affinity))
		return refuse(why, -EINVAL, "an affinity has at least one of adapter %s's processors (%s)",
			      adapter->config.name, text);
	if (outside < CPU_LIMIT)
		return refusal_of_machine(why, refuse(why, -EINVAL, "processor %u is not one of adapter %s's (%s)",
						      outside, adapter->config.name, text));
	return 0;
}

static int
lookahead_check(const struct adapter *adapter, uint32_t bytes, struct refusal *why)
{
	struct capabilities now;

	adapter_capabilities_current(adapter, &now);
	if (bytes == 0)
		return 0;
	if (adapter->config.ndis != NDIS_6_20)
		return refuse(why, -ENOTSUP, "adapter %s is NDIS 6.30, which does not split frames: lookahead is 0",
			      adapter->config.name);
	if (!now.lookahead_split)
		return refuse(why, -ENOTSUP, "adapter %s has no lookahead split, or it is off: lookahead is 0",
			      adapter->config.name);
	if (bytes < now.min_lookahead_split_size || bytes > now.max_lookahead_split_size)
		return refuse(why, -EINVAL, "lookahead on adapter %s is 0 or %u to %u bytes, not %u",
			      adapter->config.name, now.min_lookahead_split_size, now.max_lookahead_split_size, bytes);
	return 0;
}

static int
per_queue_check(const struct adapter *adapter, bool per_queue_indication, struct refusal *why)
{
	if (per_queue_indication && !adapter->hardware.per_queue_indication)
		return refuse(why, -ENOTSUP, "adapter %s has no per-queue indication", adapter->config.name);
	return 0;
}

static int
range_check(const char *what, int64_t value, int64_t least, int64_t most, struct refusal *why)
{
	if (value < least || value > most)
		return refuse(why, -EINVAL, "%s is %lld to %lld, not %lld", what, (long long)least, (long long)most,
			      (long long)value);
	return 0;
}

static int
coalesce_check(const struct queue_parameters *parameters, struct refusal *why)
{
	int error = 0;

	if (parameters->fields & QUEUE_FIELD_COALESCE_USECS && parameters->coalesce_usecs != COALESCE_AUTO)
		error = range_check("coalesce-usecs", parameters->coalesce_usecs, 0, COALESCE_USECS_MAX, why);
	if (!error && parameters->fields & QUEUE_FIELD_COALESCE_FRAMES && parameters->coalesce_frames != COALESCE_AUTO)
		error = range_check("coalesce-frames", parameters->coalesce_frames, 1, COALESCE_FRAMES_MAX, why);
	return error;
}

static int
rate_check(const struct queue_parameters *parameters, struct refusal *why)
{
	int error = 0;

	if (parameters->fields & QUEUE_FIELD_RATE_RX && parameters->rate_rx)
		error = range_check("rate-rx, if not 0,", parameters->rate_rx, RATE_MIN, RATE_MAX, why);
	if (!error && parameters->fields & QUEUE_FIELD_RATE_TX && parameters->rate_tx)
		error = range_check("rate-tx, if not 0,", parameters->rate_tx, RATE_MIN, RATE_MAX, why);
	if (!error && parameters->fields & QUEUE_FIELD_STORM)
		error = range_check("storm", parameters->storm, 0, STORM_MAX, why);
	return error;
}

static int
parameters_check(const struct adapter *adapter, const struct queue_parameters *parameters, struct refusal *why)
{
	const unsigned fields = parameters->fields;
	int error = 0;

	if (fields & QUEUE_FIELD_NAME)
		error = text_check("the name of a queue", parameters->name, NAME_SIZE, why);
	if (!error && fields & QUEUE_FIELD_VM)
		error = text_check("the name of a queue's VM", parameters->vm_name, NAME_SIZE, why);
	if (!error && fields & QUEUE_FIELD_AFFINITY && !parameters->affinity_auto)
		error = affinity_check(adapter, &parameters->affinity, why);
	if (!error && fields & QUEUE_FIELD_BUFFERS)
		error = range_check("the number of buffers", parameters->buffers, BUFFERS_MIN, BUFFERS_MAX, why);
	if (!error && fields & QUEUE_FIELD_LOOKAHEAD)
		error = lookahead_check(adapter, parameters->lookahead_bytes, why);
	if (!error && fields & QUEUE_FIELD_PER_QUEUE)
		error = per_queue_check(adapter, parameters->per_queue_indication, why);
	if (!error)
		error = coalesce_check(parameters, why);
	return error ? error : rate_check(parameters, why);
}

/* The id that a new queue gets. @return 0: none is free. */
static uint16_t
queue_free_id(const struct adapter *adapter, const struct queue_parameters *parameters)
{
	if (parameters->fields & QUEUE_FIELD_ID)
		return adapter->queues[parameters->id] ? 0 : (uint16_t)parameters->id;
	for (uint32_t id = 1; id <= adapter->config.queues; id++) {
		if (!adapter->queues[id])
			return (uint16_t)id;
	}
	return 0;
}

int
queue_check_new(const struct adapter *adapter, const struct queue_parameters *parameters, struct refusal *why)
{
	int error = adapter_check_open(adapter, why);

	if (!error)
		error = adapter_check_vmq(adapter, why);
	if (!error)
		error = parameters_check(adapter, parameters, why);
	if (!error && parameters->fields & QUEUE_FIELD_ID)
		error = range_check("the id of a queue", parameters->id, 1, adapter->config.queues, why);
	return error;
}

int
queue_check_room(const struct adapter *adapter, const struct queue_parameters *parameters, struct refusal *why)
{
	if (queue_free_id(adapter, parameters))
		return 0;
	if (parameters->fields & QUEUE_FIELD_ID)
		return refuse(why, -EEXIST, "%s is allocated already",
			      queue_text(adapter->queues[parameters->id]).text);
	return refuse(why, -ENOSPC, "all %u queues of adapter %s are allocated", adapter->config.queues,
		      adapter->config.name);
}

static uint32_t
queues_on_cpu(const struct adapter *adapter, unsigned cpu)
{
	uint32_t count = 0;

	for (uint32_t id = 1; id <= adapter->config.queues; id++) {
		const struct queue *queue = adapter->queues[id];

		if (queue && queue->cpu == cpu && queue_state_after(queue->state, QUEUE_EVENT_SET_PARAMETERS) >= 0)
			count++;
	}
	return count;
}

static uint16_t
cpu_rank(const struct cpumask *cpus, unsigned cpu)
{
	uint16_t rank = 0;

	for (unsigned c = cpumask_next(cpus, 0); c < cpu; c = cpumask_next(cpus, c + 1))
		rank++;
	return rank;
}

void
queue_serve_on(struct queue *queue, unsigned cpu)
{
	queue->cpu = (uint16_t)cpu;
	queue->msix = (uint16_t)(1 + cpu_rank(&queue->adapter->config.cpus, cpu));
}

/* The processor of the affinity that serves the fewest queues of the adapter; the lowest of those. */
static void
queue_choose_cpu(struct queue *queue)
{
	const struct adapter *adapter = queue->adapter;
	unsigned best = cpumask_next(&queue->affinity, 0);
	uint32_t fewest = UINT32_MAX;

	for (unsigned cpu = best; cpu < CPU_LIMIT; cpu = cpumask_next(&queue->affinity, cpu + 1)) {
		const uint32_t count = queues_on_cpu(adapter, cpu);

		if (count < fewest) {
			fewest = count;
			best = cpu;
		}
	}
	queue_serve_on(queue, best);
}

static void
queue_take_affinity(struct queue *queue, const struct queue_parameters *parameters)
{
	queue->affinity_auto = parameters->affinity_auto;
	queue->affinity = parameters->affinity_auto ? queue->adapter->config.cpus : parameters->affinity;
	if (!cpumask_has(&queue->affinity, queue->cpu))
		queue_choose_cpu(queue);
}

static void
queue_take_parameters(struct queue *queue, const struct queue_parameters *parameters)
{
	const unsigned fields = parameters->fields;

	if (fields & QUEUE_FIELD_NAME)
		snprintf(queue->name, sizeof(queue->name), "%s", parameters->name);
	if (fields & QUEUE_FIELD_VM)
		snprintf(queue->vm_name, sizeof(queue->vm_name), "%s", parameters->vm_name);
	if (fields & QUEUE_FIELD_AFFINITY)
		queue_take_affinity(queue, parameters);
	if (fields & QUEUE_FIELD_BUFFERS)
		queue->suggested_buffers = parameters->buffers;
	if (fields & QUEUE_FIELD_LOOKAHEAD)
		queue->lookahead_bytes = parameters->lookahead_bytes;
	if (fields & QUEUE_FIELD_PER_QUEUE)
		queue->per_queue_indication = parameters->per_queue_indication;
	if (fields & QUEUE_FIELD_COALESCE_USECS)
		queue->coalesce_usecs = parameters->coalesce_usecs;
	if (fields & QUEUE_FIELD_COALESCE_FRAMES)
		queue->coalesce_frames = parameters->coalesce_frames;
	if (fields & QUEUE_FIELD_RATE_RX)
		queue->rate_rx = (uint64_t)parameters->rate_rx;
	if (fields & QUEUE_FIELD_RATE_TX)
		queue->rate_tx = (uint64_t)parameters->rate_tx;
	if (fields & QUEUE_FIELD_STORM)
		queue->storm = (uint32_t)parameters->storm;
}

static struct queue *
queue_create(struct adapter *adapter, uint16_t id, const struct caller *owner)
{
	struct queue *queue = memory_zeroed(1, sizeof(*queue));

	queue->adapter = adapter;
	queue->id = id;
	queue->owner = *owner;
	queue->affinity = adapter->config.cpus;
	queue->affinity_auto = true;
	queue->suggested_buffers = BUFFERS_DEFAULT;
	queue->coalesce_usecs = COALESCE_AUTO;
	queue->coalesce_frames = COALESCE_AUTO;
	TAILQ_INIT(&queue->filters);
	TAILQ_INIT(&queue->memory);
	queue_choose_cpu(queue);
	return queue;
}

struct queue *
queue_create_reserved(struct adapter *adapter, uint16_t id, const char *name)
{
	const struct caller nobody = { .uid = OWNER_NOBODY };
	struct queue *queue = queue_create(adapter, id, &nobody);

	snprintf(queue->name, sizeof(queue->name), "%s", name);
	queue->state = QUEUE_RUNNING;
	return queue;
}

int
queue_open(struct adapter *adapter, const struct queue_parameters *parameters, const struct caller *caller,
	   struct queue **opened, struct refusal *why)
{
	const struct model_config *config = &adapter->model->config;
	struct queue *queue = queue_create(adapter, queue_free_id(adapter, parameters), caller);
	int error;

	queue_take_parameters(queue, parameters);
	error = config->path->queue_open(config->path_ctx, queue, why);
	if (error) {
		queue_destroy(queue);
		return error;
	}
	*opened = queue;
	return 0;
}

void
queue_discard(struct queue *queue)
{
	const struct model_config *config = &queue->adapter->model->config;

	config->path->queue_close(config->path_ctx, queue);
	queue_destroy(queue);
}

void
queue_enter(struct queue *queue)
{
	queue->adapter->queues[queue->id] = queue;
	queue->adapter->dirty = true;
	queue_step(queue, QUEUE_EVENT_ALLOCATE);
}

int
queue_allocate(struct adapter *adapter, const struct queue_parameters *parameters, const struct caller *caller,
	       struct queue **allocated, struct refusal *why)
{
	struct queue *queue;
	int error = queue_check_new(adapter, parameters, why);

	if (!error)
		error = queue_check_room(adapter, parameters, why);
	if (!error)
		error = queue_open(adapter, parameters, caller, &queue, why);
	if (error)
		return error;
	queue_enter(queue);
	*allocated = queue;
	return 0;
}

static int
filters_place_all(const struct queue *queue, struct refusal *why)
{
	const struct adapter *adapter = queue->adapter;
	struct filter *filter;

	TAILQ_FOREACH(filter, &queue->filters, of_queue) {
		int error = filter_place(queue, filter->mac, filter->vlan, why);

		if (!error)
			continue;
		while ((filter = TAILQ_PREV(filter, filter_list, of_queue)))
			adapter->model->config.nic->filter_remove(adapter->nic, filter->mac, filter->vlan);
		return error;
	}
	return 0;
}

/* What every change of an allocated queue must pass first, in the order of the answers. */
static int
queue_check_change(const struct queue *queue, enum queue_event event, const struct caller *caller, struct refusal *why)
{
	int error = adapter_check_open(queue->adapter, why);

	if (!error)
		error = queue_check_reserved(queue, queue_event_phrase(event), why);
	if (!error)
		error = queue_check_event(queue, event, why);
	return error ? error : queue_check_owner(queue, caller, why);
}

int
queue_complete(struct queue *queue, const struct caller *caller, struct refusal *why)
{
	struct adapter *adapter = queue->adapter;
	const struct nic_ops *nic = adapter->model->config.nic;
	uint32_t buffers = queue->suggested_buffers;
	int error = queue_check_change(queue, QUEUE_EVENT_ALLOCATION_COMPLETE, caller, why);

	if (!error)
		error = nic->queue_start(adapter->nic, queue->id, &buffers, why);
	if (error)
		return error;
	error = memory_provide(queue, buffers, why);
	if (error)
		goto stop;
	error = filters_place_all(queue, why);
	if (error)
		goto free;
	queue->buffers = buffers;
	adapter->dirty = true;
	queue_step(queue, QUEUE_EVENT_ALLOCATION_COMPLETE);
	return 0;
free:
	memory_free_all(queue);
stop:
	nic->queue_stop(adapter->nic, queue->id);
	return error;
}

static int
fixed_fields_check(const struct queue *queue, unsigned fields, struct refusal *why)
{
	if (fields & QUEUE_FIELD_VM)
		return refuse(why, -EINVAL, "the VM name of %s cannot change after allocation", queue_text(queue).text);
	if (fields & QUEUE_FIELD_LOOKAHEAD)
		return refuse(why, -EINVAL, "the lookahead of %s cannot change after allocation",
			      queue_text(queue).text);
	if (fields & QUEUE_FIELD_ID)
		return refuse(why, -EINVAL, "the id of %s cannot change", queue_text(queue).text);
	return 0;
}

/* A queue that has its buffers gets others; memory that it does not need any more stays its own until it is freed. */
static int
buffers_adjust(struct queue *queue, uint32_t suggested, struct refusal *why)
{
	const struct nic_ops *nic = queue->adapter->model->config.nic;
	uint32_t buffers = suggested;
	int error = nic->queue_start(queue->adapter->nic, queue->id, &buffers, why);

	if (error)
		return error;
	error = memory_provide(queue, buffers, why);
	if (error)
		nic->queue_start(queue->adapter->nic, queue->id, &queue->buffers, why);
	else
		queue->buffers = buffers;
	return error;
}

int
queue_set(struct queue *queue, const struct queue_parameters *parameters, const struct caller *caller,
	  struct refusal *why)
{
	const struct model_event event = { .type = EVENT_QUEUE_PARAMETERS, .adapter = queue->adapter, .queue = queue };
	int error = queue_check_change(queue, QUEUE_EVENT_SET_PARAMETERS, caller, why);

	if (!error)
		error = fixed_fields_check(queue, parameters->fields, why);
	if (!error)
		error = parameters_check(queue->adapter, parameters, why);
	if (!error && parameters->fields & QUEUE_FIELD_BUFFERS && queue->buffers)
		error = buffers_adjust(queue, parameters->buffers, why);
	if (error || parameters->fields == 0)
		return error;
	queue_take_parameters(queue, parameters);
	queue->adapter->dirty = true;
	model_emit(queue->adapter->model, &event);
	return 0;
}

/* The VM keeps its socket, but what vm_add() composed is no longer whole. */
static void
queue_lose_vm(struct queue *queue)
{
	if (!queue->vm)
		return;
	captures_end_of(queue->adapter->model, queue->vm);
	queue->vm->queue = NULL;
	queue->vm->composed = false;
	queue->vm = NULL;
}

void
queue_release(struct queue *queue, struct completion freed)
{
	struct adapter *adapter = queue->adapter;
	const bool started = queue->state == QUEUE_PAUSED;

	queue_step(queue, QUEUE_EVENT_FREE);
	if (started)
		adapter->model->config.nic->queue_stop(adapter->nic, queue->id);
	queue_lose_vm(queue);
	captures_end_of(adapter->model, queue);
	queue->freed = freed;
	TAILQ_INSERT_TAIL(&adapter->model->freeing, queue, of_model);
	adapter->dirty = true;
}

int
queue_free(struct queue *queue, const struct caller *caller, struct completion freed, struct refusal *why)
{
	int error = queue_check_change(queue, QUEUE_EVENT_FREE, caller, why);

	if (error)
		return error;
	queue_release(queue, freed);
	return 0;
}

void
queue_end(struct queue *queue)
{
	struct model *model = queue->adapter->model;

	TAILQ_REMOVE(&model->freeing, queue, of_model);
	queue->adapter->queues[queue->id] = NULL;
	queue_step(queue, QUEUE_EVENT_ALL_RETURNED);
	model_answer(model, queue->freed);
	memory_free_all(queue);
	queue_discard(queue);
}

void
queue_destroy(struct queue *queue)
{
	free(queue);
}

int
queue_find(struct adapter *adapter, int64_t id, struct queue **queue, struct refusal *why)
{
	struct queue *found = NULL;

	if (id == QUEUE_DROP)
		found = adapter->drop_queue;
	else if (id >= 0 && id <= adapter->config.queues)
		found = adapter->queues[id];
	if (!found)
		return refuse(why, -ENOENT, "there is no queue %lld on adapter %s, whose queues are 1 to %u",
			      (long long)id, adapter->config.name, adapter->config.queues);
	*queue = found;
	return 0;
}

struct queue *
queue_next(const struct adapter *adapter, const struct queue *after)
{
	if (after == adapter->drop_queue)
		return NULL;
	for (uint32_t id = after ? after->id + 1u : 0; id <= adapter->config.queues; id++) {
		if (adapter->queues[id])
			return adapter->queues[id];
	}
	return adapter->drop_queue;
}
