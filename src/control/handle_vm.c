/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests about VMs. */
#include "control/handlers.h"

#include <errno.h>
#include <stdlib.h>

static struct vm_parameters
vm_params(const json_t *params)
{
	return (struct vm_parameters){
		.name = param_text(params, "name"),
		.socket = param_text(params, "socket"),
		.mode = param_is(params, "mode", "client") ? VM_MODE_CLIENT : VM_MODE_SERVER,
		.trunk = param_switch(params, "trunk", false),
		.spoof_check = param_switch(params, "spoof-check", true),
		.owns_queue = param_switch(params, "owns-queue", false),
		.link_local = param_is(params, "link-local", "forward"),
		.user = param_text(params, "user"),
		.group = param_text(params, "group"),
		.mode_bits = param_text(params, "mode-bits"),
		.offload = param_text(params, "offload"),
	};
}

int
on_vm_attach(struct request *request, json_t **result, struct refusal *why)
{
	struct vm_parameters parameters = vm_params(request->params);
	struct adapter *adapter;
	struct caller owner;
	struct queue *queue;
	struct vm *vm;
	int error = find_adapter(request, "adapter", &adapter, why);

	(void)result;
	if (!error)
		error = take_owner(request, &owner, why);
	parameters.owner = &owner;
	if (!error && !param_given(request->params, "queue"))
		return vm_wait(adapter, &parameters, &request->caller, &vm, why);
	if (!error)
		error = find_queue(request, "queue", &queue, why);
	return error ? error : vm_attach(request->control->model, &parameters, queue, &request->caller, &vm, why);
}

int
on_vm_detach(struct request *request, json_t **result, struct refusal *why)
{
	struct vm *vm;
	int error = vm_find(request->control->model, param_text(request->params, "name"), &vm, why);

	(void)result;
	return error ? error : vm_detach(vm, &request->caller, why);
}

static json_t *
vm_added(const struct vm *vm)
{
	const struct filter *filter;
	json_t *filters = json_array();

	TAILQ_FOREACH(filter, &vm->queue->filters, of_queue)
		json_array_append_new(filters, json_integer(filter->id));
	return json_pack("{s:i, s:o}", "queue", vm->queue->id, "filters", filters);
}

static int
macs_parse(const json_t *value, uint64_t *macs, uint32_t *count, struct refusal *why)
{
	int error = 0;

	if (json_is_string(value)) {
		*count = 1;
		return param_mac(value, macs, why);
	}
	for (*count = 0; !error && *count < json_array_size(value); (*count)++)
		error = param_mac(json_array_get(value, *count), &macs[*count], why);
	return error;
}

int
on_vm_add(struct request *request, json_t **result, struct refusal *why)
{
	const json_t *mac = json_object_get(request->params, "mac");
	struct vm_parameters parameters = vm_params(request->params);
	struct queue_parameters queue_parameters = { 0 };
	uint64_t *macs = calloc(json_array_size(mac) + 1, sizeof(*macs));
	uint32_t mac_count = 0;
	struct adapter *adapter;
	struct vm *vm;
	int error = find_adapter(request, "adapter", &adapter, why);

	if (!error)
		error = queue_params(request->params, &queue_parameters, why);
	queue_parameters.fields &= ~(unsigned)QUEUE_FIELD_NAME; /* `name` is the VM's */
	if (!error)
		error = macs_parse(mac, macs, &mac_count, why);
	if (!error)
		error = vm_add(adapter, &parameters, &queue_parameters, macs, mac_count,
			       param_vlan(request->params, VLAN_ANY), &request->caller, &vm, why);
	free(macs);
	if (!error)
		*result = vm_added(vm);
	return error;
}

/* A VM's limits are its queue's. */
int
on_vm_set(struct request *request, json_t **result, struct refusal *why)
{
	struct queue_parameters parameters = { 0 };
	struct vm *vm;
	int error = queue_params(request->params, &parameters, why);

	(void)result;
	parameters.fields &= QUEUE_FIELD_RATE_RX | QUEUE_FIELD_RATE_TX | QUEUE_FIELD_STORM;
	if (!error)
		error = vm_find(request->control->model, param_text(request->params, "name"), &vm, why);
	if (!error && !vm->queue)
		error = refuse(why, -EINVAL, "VM %s has no queue: vmqctl vm attach gives it one", vm->name);
	return error ? error : queue_set(vm->queue, &parameters, &request->caller, why);
}

int
on_vm_del(struct request *request, json_t **result, struct refusal *why)
{
	struct vm *vm;
	int error = vm_find(request->control->model, param_text(request->params, "name"), &vm, why);

	(void)result;
	return error ? error : started(vm_del(vm, &request->caller, answer_later(request, NULL), why));
}

int
on_vm_show(struct request *request, json_t **result, struct refusal *why)
{
	struct vm *vm;
	int error;

	*result = json_array();
	if (param_given(request->params, "name")) {
		error = vm_find(request->control->model, param_text(request->params, "name"), &vm, why);
		return error ? error : json_array_append_new(*result, show_vm(vm));
	}
	TAILQ_FOREACH(vm, &request->control->model->vms, of_model)
		json_array_append_new(*result, show_vm(vm));
	return 0;
}
