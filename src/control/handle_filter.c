/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests about filters. */
#include "control/handlers.h"

#include <errno.h>

int
on_filter_set(struct request *request, json_t **result, struct refusal *why)
{
	struct filter *filter;
	struct queue *queue;
	uint64_t mac;
	int error = find_queue(request, "queue", &queue, why);

	if (!error)
		error = param_mac(json_object_get(request->params, "mac"), &mac, why);
	if (!error && param_given(request->params, "id") && !param_uint32(request->params, "id"))
		error = refuse(why, -EINVAL, "the id of a filter is 1 or more");
	if (!error)
		error = filter_set_as(queue, param_uint32(request->params, "id"), mac,
				      param_vlan(request->params, VLAN_ANY), &request->caller, &filter, why);
	if (!error)
		*result = json_pack("{s:i}", "id", (int)filter->id);
	return error;
}

int
on_filter_clear(struct request *request, json_t **result, struct refusal *why)
{
	struct filter *filter;
	int error = find_filter(request, &filter, why);

	(void)result;
	return error ? error : filter_clear(filter, &request->caller, why);
}

int
on_filter_move(struct request *request, json_t **result, struct refusal *why)
{
	struct filter *filter;
	struct queue *to;
	int error = find_filter(request, &filter, why);

	(void)result;
	if (!error)
		error = find_queue(request, "queue", &to, why);
	return error ? error : filter_move(filter, to, &request->caller, why);
}

static void
show_filters_of(const struct adapter *adapter, const struct queue *only, json_t *result)
{
	for (uint32_t id = 1; id <= adapter->config.filters; id++)
		if (adapter->filters[id] && (!only || adapter->filters[id]->queue == only))
			json_array_append_new(result, show_filter(adapter->filters[id]));
}

/* Of a queue, or one filter by its id: an id that both have means the queue. */
static int
show_filters_by_id(struct adapter *adapter, int64_t id, json_t *result, struct refusal *why)
{
	struct filter *filter;
	struct queue *queue;

	if (!queue_find(adapter, id, &queue, why)) {
		show_filters_of(adapter, queue, result);
		return 0;
	}
	if (filter_find(adapter, id, &filter, NULL))
		return refuse(why, -ENOENT, "adapter %s has neither a queue nor a filter %lld", adapter->config.name,
			      (long long)id);
	return json_array_append_new(result, show_filter(filter));
}

int
on_filter_show(struct request *request, json_t **result, struct refusal *why)
{
	struct adapter *adapter;
	int error;

	*result = json_array();
	if (param_given(request->params, "adapter")) {
		error = find_adapter(request, "adapter", &adapter, why);
		if (!error && param_given(request->params, "queue"))
			return show_filters_by_id(adapter, param_queue(request->params, "queue"), *result, why);
		if (!error)
			show_filters_of(adapter, NULL, *result);
		return error;
	}
	TAILQ_FOREACH(adapter, &request->control->model->adapters, of_model)
		show_filters_of(adapter, NULL, *result);
	return 0;
}
