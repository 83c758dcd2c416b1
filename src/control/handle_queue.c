/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests about queues. */
#include "control/handlers.h"

#include <errno.h>
#include <string.h>

/* What is too large for its field is as wrong as any other number that the model refuses. */
static int32_t
param_auto(const json_t *params, const char *word)
{
	int64_t number = param_number(params, word, COALESCE_AUTO);

	return number > INT32_MAX ? INT32_MAX : (int32_t)number;
}

int
queue_params(const json_t *params, struct queue_parameters *parameters, struct refusal *why)
{
	static const struct {
		const char *word;
		unsigned field;
	} fields[] = {
		{ "name", QUEUE_FIELD_NAME },
		{ "vm", QUEUE_FIELD_VM },
		{ "affinity", QUEUE_FIELD_AFFINITY },
		{ "buffers", QUEUE_FIELD_BUFFERS },
		{ "lookahead", QUEUE_FIELD_LOOKAHEAD },
		{ "per-queue-indication", QUEUE_FIELD_PER_QUEUE },
		{ "coalesce-usecs", QUEUE_FIELD_COALESCE_USECS },
		{ "coalesce-frames", QUEUE_FIELD_COALESCE_FRAMES },
		{ "rate-rx", QUEUE_FIELD_RATE_RX },
		{ "rate-tx", QUEUE_FIELD_RATE_TX },
		{ "storm", QUEUE_FIELD_STORM },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (param_given(params, fields[i].word))
			parameters->fields |= fields[i].field;
	parameters->name = param_text(params, "name");
	parameters->vm_name = param_text(params, "vm");
	parameters->buffers = param_uint32(params, "buffers");
	parameters->lookahead_bytes = param_uint32(params, "lookahead");
	parameters->per_queue_indication = param_switch(params, "per-queue-indication", false);
	parameters->id = param_uint32(params, "id");
	parameters->coalesce_usecs = param_auto(params, "coalesce-usecs");
	parameters->coalesce_frames = param_auto(params, "coalesce-frames");
	parameters->rate_rx = param_number(params, "rate-rx", 0);
	parameters->rate_tx = param_number(params, "rate-tx", 0);
	parameters->storm = param_number(params, "storm", 0);
	if (!param_given(params, "affinity"))
		return 0;
	return param_cpus(params, "affinity", &parameters->affinity, &parameters->affinity_auto, why);
}

int
on_queue_allocate(struct request *request, json_t **result, struct refusal *why)
{
	struct queue_parameters parameters = { 0 };
	struct adapter *adapter;
	struct caller owner;
	struct queue *queue;
	int error = find_adapter(request, "adapter", &adapter, why);

	if (!error)
		error = queue_params(request->params, &parameters, why);
	if (!error)
		error = take_owner(request, &owner, why);
	if (param_given(request->params, "id"))
		parameters.fields |= QUEUE_FIELD_ID;
	if (!error)
		error = queue_allocate(adapter, &parameters, &owner, &queue, why);
	if (!error)
		*result = json_pack("{s:i}", "id", queue->id);
	return error;
}

static json_t *
complete_one(struct request *request, struct adapter *adapter, int64_t id)
{
	struct refusal why = { 0 };
	struct queue *queue;
	int error = queue_find(adapter, id, &queue, &why);

	if (!error)
		error = queue_complete(queue, &request->caller, &why);
	if (!error)
		return json_pack("{s:I, s:s}", "id", (json_int_t)id, "status", "ok");
	return json_pack("{s:I, s:s, s:s, s:i}", "id", (json_int_t)id, "status", strerrorname_np(-error), "message",
			 why.text, "code", error);
}

static bool
completed(const json_t *status)
{
	return !json_object_get(status, "message");
}

/* A batch: a status per queue. A batch in which every queue fails is refused with the reason of the first. */
int
on_queue_complete(struct request *request, json_t **result, struct refusal *why)
{
	const json_t *ids = json_object_get(request->params, "ids"), *id;
	struct adapter *adapter;
	int error = find_adapter(request, "adapter", &adapter, why);
	bool any = false;
	size_t i;

	if (error)
		return error;
	*result = json_array();
	if (json_is_integer(ids))
		json_array_append_new(*result, complete_one(request, adapter, json_integer_value(ids)));
	json_array_foreach(ids, i, id)
		json_array_append_new(*result, complete_one(request, adapter, json_integer_value(id)));
	for (i = 0; i < json_array_size(*result); i++)
		any |= completed(json_array_get(*result, i));
	if (any || !json_array_size(*result))
		return 0;
	return refuse(why, (int)param_number(json_array_get(*result, 0), "code", -EINVAL), "%s",
		      param_text(json_array_get(*result, 0), "message"));
}

int
on_queue_free(struct request *request, json_t **result, struct refusal *why)
{
	struct queue *queue;
	int error = find_queue(request, "id", &queue, why);

	(void)result;
	return error ? error : started(queue_free(queue, &request->caller, answer_later(request, NULL), why));
}

int
on_queue_set(struct request *request, json_t **result, struct refusal *why)
{
	struct queue_parameters parameters = { 0 };
	struct queue *queue;
	int error = find_queue(request, "id", &queue, why);

	(void)result;
	if (!error)
		error = queue_params(request->params, &parameters, why);
	return error ? error : queue_set(queue, &parameters, &request->caller, why);
}

int
on_queue_show(struct request *request, json_t **result, struct refusal *why)
{
	struct adapter *adapter;
	struct queue *queue;
	int error;

	*result = json_array();
	if (param_given(request->params, "id")) {
		error = find_queue(request, "id", &queue, why);
		return error ? error : json_array_append_new(*result, show_queue(queue));
	}
	if (param_given(request->params, "adapter")) {
		error = find_adapter(request, "adapter", &adapter, why);
		if (error)
			return error;
		for (queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue))
			json_array_append_new(*result, show_queue(queue));
		return 0;
	}
	TAILQ_FOREACH(adapter, &request->control->model->adapters, of_model)
		for (queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue))
			json_array_append_new(*result, show_queue(queue));
	return 0;
}
