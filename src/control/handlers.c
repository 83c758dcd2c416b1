/* SPDX-License-Identifier: BSD-3-Clause */
/* One function per method: params in, a call of model, a result out. */
#include "control/handlers.h"

#include <errno.h>
#include <string.h>

/* The adapter that params name, under whichever word the method uses. */
int
find_adapter(struct request *request, const char *word, struct adapter **adapter, struct refusal *why)
{
	return adapter_find(request->control->model, param_text(request->params, word), adapter, why);
}

int
find_queue(struct request *request, const char *word, struct queue **queue, struct refusal *why)
{
	struct adapter *adapter;
	int error = find_adapter(request, "adapter", &adapter, why);

	return error ? error : queue_find(adapter, param_queue(request->params, word), queue, why);
}

int
find_filter(struct request *request, struct filter **filter, struct refusal *why)
{
	struct adapter *adapter;
	int error = find_adapter(request, "adapter", &adapter, why);

	return error ? error : filter_find(adapter, param_number(request->params, "filter", -1), filter, why);
}

/* A completion that answers this request later, and takes its `pending` for that. */
struct completion
answer_later(struct request *request, json_t *result)
{
	struct completion completion = { .done = rpc_answer_later, .ctx = request->pending };

	request->pending->result = result;
	return completion;
}

/* A request that starts something which ends later: refused now, or answered then. */
int
started(int error)
{
	return error ? error : -EINPROGRESS;
}

int
take_owner(const struct request *request, struct caller *owner, struct refusal *why)
{
	const char *name = param_text(request->params, "owner-name");
	int64_t uid;
	int error;

	*owner = request->caller;
	if (!param_given(request->params, "owner"))
		return 0;
	if (request->caller.uid != 0)
		return refuse(why, -EPERM, "only root makes things for another owner");
	if (name && strlen(name) >= NAME_SIZE)
		return refuse(why, -EINVAL, "owner-name is longer than %d bytes", NAME_SIZE - 1);
	error = number_in(request->params, "owner", 0, OWNER_NOBODY - 1, 0, &uid, why);
	if (error)
		return error;
	owner->uid = (uid_t)uid;
	snprintf(owner->name, sizeof(owner->name), "%s", name ? name : "");
	return 0;
}

int
number_in(const json_t *params, const char *word, int64_t low, int64_t high, int64_t otherwise, int64_t *number,
	  struct refusal *why)
{
	*number = param_number(params, word, otherwise);
	if (*number < low || *number > high)
		return refuse(why, -EINVAL, "%s must be from %lld to %lld, not %lld", word, (long long)low,
			      (long long)high, (long long)*number);
	return 0;
}

/* Numbers that are too large for their field are as wrong as any other that the model refuses. */
uint32_t
param_uint32(const json_t *params, const char *word)
{
	int64_t number = param_number(params, word, 0);

	return number < 0 || number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

static const struct {
	const char *method;
	handler_fn function;
} handlers[] = {
	{ "adapter.add", on_adapter_add },
	{ "adapter.del", on_adapter_del },
	{ "adapter.show", on_adapter_show },
	{ "adapter.capabilities", on_adapter_capabilities },
	{ "adapter.parameters", on_adapter_parameters },
	{ "queue.allocate", on_queue_allocate },
	{ "queue.complete", on_queue_complete },
	{ "queue.free", on_queue_free },
	{ "queue.set", on_queue_set },
	{ "queue.show", on_queue_show },
	{ "filter.set", on_filter_set },
	{ "filter.clear", on_filter_clear },
	{ "filter.move", on_filter_move },
	{ "filter.show", on_filter_show },
	{ "vm.attach", on_vm_attach },
	{ "vm.detach", on_vm_detach },
	{ "vm.add", on_vm_add },
	{ "vm.set", on_vm_set },
	{ "vm.del", on_vm_del },
	{ "vm.show", on_vm_show },
	{ "host.add", on_host_add },
	{ "host.del", on_host_del },
	{ "trace", on_trace },
	{ "capture", on_capture },
	{ "stats.show", on_stats_show },
	{ "stats.clear", on_stats_clear },
	{ "config.show", on_config_show },
	{ "config.save", on_config_save },
	{ "events", on_events },
	{ "transaction", transaction_run },
};

handler_fn
handler_find(const char *method)
{
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (!strcmp(handlers[i].method, method))
			return handlers[i].function;
	return NULL;
}
