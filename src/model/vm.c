/* SPDX-License-Identifier: BSD-3-Clause */
/* VMs: who is attached to which queue, and the two composed requests, vm_add() and vm_del(). */
#include "model/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vm *
vm_by_name(const struct model *model, const char *name)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &model->vms, of_model) {
		if (strcmp(vm->name, name) == 0)
			return vm;
	}
	return NULL;
}

static struct vm *
vm_by_socket(const struct model *model, const char *socket)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &model->vms, of_model) {
		if (strcmp(vm->socket, socket) == 0)
			return vm;
	}
	return NULL;
}

static int
vm_check_owner(const struct vm *vm, const struct caller *caller, struct refusal *why)
{
	char text[NAME_SIZE + 4];

	snprintf(text, sizeof(text), "VM %s", vm->name);
	return owner_check(&vm->owner, caller, text, why);
}

static int
socket_check(const char *socket, struct refusal *why)
{
	if (socket[0] != '/')
		return refuse(why, -EINVAL, "the socket of a VM is an absolute path");
	return text_check("the socket of a VM", socket, SOCKET_PATH_SIZE, why);
}

/* @return 0 with *mode_bits, 0 without a text; -EINVAL. */
static int
mode_bits_parse(const char *text, uint16_t *mode_bits, struct refusal *why)
{
	char *end = "";
	unsigned long bits = text ? strtoul(text, &end, 8) : 0;

	if (text && (!*text || *end || bits == 0 || bits > 0777))
		return refuse(why, -EINVAL, "mode-bits are three octal digits such as 660, not %.32s", text);
	*mode_bits = (uint16_t)bits;
	return 0;
}

static int
access_check(const struct vm_parameters *parameters, struct refusal *why)
{
	uint16_t mode_bits;
	int error = parameters->user ? name_check("a user", parameters->user, USER_NAME_SIZE, why) : 0;

	if (!error && parameters->group)
		error = name_check("a group", parameters->group, USER_NAME_SIZE, why);
	if (!error)
		error = mode_bits_parse(parameters->mode_bits, &mode_bits, why);
	if (!error && parameters->mode == VM_MODE_CLIENT &&
	    (parameters->user || parameters->group || parameters->mode_bits))
		error = refuse(why, -EINVAL, "user, group and mode-bits are for a socket that vmqd makes: mode server");
	return error;
}

static int
offloads_of(const struct vm_parameters *parameters, uint64_t *offloads, struct refusal *why)
{
	*offloads = VM_OFFLOADS_ALL;
	return parameters->offload ? offloads_parse(parameters->offload, offloads, why) : 0;
}

static int
parameters_check(const struct vm_parameters *parameters, struct refusal *why)
{
	uint64_t offloads;
	int error = name_check("a VM", parameters->name, NAME_SIZE, why);

	if (!error)
		error = socket_check(parameters->socket, why);
	if (!error && parameters->mode != VM_MODE_SERVER && parameters->mode != VM_MODE_CLIENT)
		error = refuse(why, -EINVAL, "the mode of a VM is server or client");
	if (!error)
		error = offloads_of(parameters, &offloads, why);
	return error ? error : access_check(parameters, why);
}

static int
vm_check_unique(const struct model *model, const struct vm_parameters *parameters, struct refusal *why)
{
	const struct vm *vm = vm_by_name(model, parameters->name);

	if (vm && vm->queue)
		return refuse(why, -EEXIST, "VM %s is attached to %s already", vm->name, queue_text(vm->queue).text);
	if (vm)
		return refuse(why, -EEXIST, "VM %s exists, without a queue, on socket %s", vm->name, vm->socket);
	vm = vm_by_socket(model, parameters->socket);
	if (vm)
		return refuse(why, -EEXIST, "socket %s is VM %s's", vm->socket, vm->name);
	return 0;
}

/* Whether the request gives a VM that lost its queue a new one. */
static bool
vm_is_waiting(const struct vm *vm, const struct vm_parameters *parameters)
{
	return vm && !vm->queue && vm->mode == parameters->mode && strcmp(vm->socket, parameters->socket) == 0;
}

static int
attach_check(const struct model *model, const struct vm_parameters *parameters, const struct queue *queue,
	     const struct caller *caller, struct refusal *why)
{
	const struct vm *waiting = vm_by_name(model, parameters->name);
	int error = adapter_check_open(queue->adapter, why);

	if (!error)
		error = queue_check_reserved(queue, "have a VM", why);
	if (!error)
		error = queue_check_event(queue, QUEUE_EVENT_SET_PARAMETERS, why);
	if (!error)
		error = queue_check_owner(queue, caller, why);
	if (!error && vm_is_waiting(waiting, parameters))
		error = vm_check_owner(waiting, caller, why);
	if (!error)
		error = parameters_check(parameters, why);
	if (!error && queue->vm)
		error = refuse(why, -EEXIST, "%s has VM %s already: detach it first", queue_text(queue).text,
			       queue->vm->name);
	if (!error && !vm_is_waiting(waiting, parameters))
		error = vm_check_unique(model, parameters, why);
	return error;
}

/* A VM that was checked, its port open, not in the model yet. */
static int
vm_open(struct adapter *adapter, struct queue *queue, const struct vm_parameters *parameters,
	const struct caller *caller, struct vm **opened, struct refusal *why)
{
	const struct model_config *config = &adapter->model->config;
	struct vm *vm = memory_zeroed(1, sizeof(*vm));
	int error;

	snprintf(vm->name, sizeof(vm->name), "%s", parameters->name);
	snprintf(vm->socket, sizeof(vm->socket), "%s", parameters->socket);
	vm->owner = parameters->owner ? *parameters->owner : *caller;
	vm->mode = parameters->mode;
	vm->trunk = parameters->trunk;
	vm->spoof_check = parameters->spoof_check;
	vm->link_local = parameters->link_local;
	offloads_of(parameters, &vm->offloads, NULL);
	snprintf(vm->access.user, sizeof(vm->access.user), "%s", parameters->user ? parameters->user : "");
	snprintf(vm->access.group, sizeof(vm->access.group), "%s", parameters->group ? parameters->group : "");
	mode_bits_parse(parameters->mode_bits, &vm->access.mode_bits, NULL);
	vm->adapter = adapter;
	vm->queue = queue;
	model_see_off(adapter->model);
	error = config->vm->open(config->vm_ctx, vm, &vm->port, why);
	if (error) {
		free(vm);
		return error;
	}
	*opened = vm;
	return 0;
}

static void
vm_bind(struct vm *vm, struct queue *queue)
{
	vm->adapter = queue->adapter;
	vm->queue = queue;
	queue->vm = vm;
	if (queue->vm_name[0] == '\0')
		snprintf(queue->vm_name, sizeof(queue->vm_name), "%s", vm->name);
	queue->adapter->dirty = true;
}

int
vm_attach(struct model *model, const struct vm_parameters *parameters, struct queue *queue, const struct caller *caller,
	  struct vm **attached, struct refusal *why)
{
	struct vm *vm = vm_by_name(model, parameters->name);
	int error = attach_check(model, parameters, queue, caller, why);

	if (error)
		return error;
	if (vm) {
		vm->trunk = parameters->trunk;
		vm->spoof_check = parameters->spoof_check;
		vm->link_local = parameters->link_local;
		offloads_of(parameters, &vm->offloads, NULL);
	} else {
		error = vm_open(queue->adapter, queue, parameters, caller, &vm, why);
		if (error)
			return error;
		TAILQ_INSERT_TAIL(&model->vms, vm, of_model);
	}
	vm->composed = parameters->owns_queue;
	vm_bind(vm, queue);
	*attached = vm;
	return 0;
}

int
vm_wait(struct adapter *adapter, const struct vm_parameters *parameters, const struct caller *caller,
	struct vm **waiting, struct refusal *why)
{
	int error = adapter_check_open(adapter, why);

	if (!error)
		error = parameters_check(parameters, why);
	if (!error)
		error = vm_check_unique(adapter->model, parameters, why);
	if (!error)
		error = vm_open(adapter, NULL, parameters, caller, waiting, why);
	if (!error)
		TAILQ_INSERT_TAIL(&adapter->model->vms, *waiting, of_model);
	return error;
}

void
vm_leave(struct vm *vm, struct completion gone)
{
	struct model *model = vm->adapter->model;

	if (vm->queue)
		vm->queue->vm = NULL;
	vm->queue = NULL;
	captures_end_of(model, vm);
	vm->gone = gone;
	vm->adapter->dirty = true;
	TAILQ_REMOVE(&model->vms, vm, of_model);
	TAILQ_INSERT_TAIL(&model->leaving_vms, vm, of_model);
}

void
vm_end(struct model *model, struct vm *vm)
{
	model->config.vm->close(vm->port);
	model_answer(model, vm->gone);
	free(vm);
}

static int
leave_check(const struct vm *vm, const struct caller *caller, struct refusal *why)
{
	int error = adapter_check_open(vm->adapter, why);

	return error ? error : vm_check_owner(vm, caller, why);
}

int
vm_detach(struct vm *vm, const struct caller *caller, struct refusal *why)
{
	const struct completion nobody = { 0 };
	int error = leave_check(vm, caller, why);

	if (error)
		return error;
	vm_leave(vm, nobody);
	return 0;
}

int
vm_del(struct vm *vm, const struct caller *caller, struct completion gone, struct refusal *why)
{
	const struct completion nobody = { 0 };
	struct queue *queue = vm->composed ? vm->queue : NULL;
	int error = leave_check(vm, caller, why);

	if (error)
		return error;
	vm_leave(vm, queue ? nobody : gone);
	if (queue) {
		filter_erase_all(queue);
		queue_release(queue, gone);
	}
	return 0;
}

static int
mac_compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Sorted, so that a request with very many addresses costs little more than reading it. */
static int
macs_check_distinct(const uint64_t *macs, uint32_t count, struct refusal *why)
{
	uint64_t *sorted = memory_zeroed(count, sizeof(*sorted));
	char text[MAC_TEXT_SIZE];
	int error = 0;

	memcpy(sorted, macs, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), mac_compare);
	for (uint32_t i = 1; i < count && !error; i++) {
		if (sorted[i] != sorted[i - 1])
			continue;
		mac_format(sorted[i], text);
		error = refuse(why, -EEXIST, "%s is given twice", text);
	}
	free(sorted);
	return error;
}

/* Everything that vm_add() asks of the outside, none of it in the model yet. */
struct composition {
	struct queue *queue;
	struct vm *vm;
	uint32_t buffers;
	const uint64_t *macs;
	uint32_t mac_count;
	uint16_t vlan;
};

static int
macs_check_values(const struct adapter *adapter, const uint64_t *macs, uint32_t count, uint32_t vlan,
		  struct refusal *why)
{
	int error = count > 0 ? 0 : refuse(why, -EINVAL, "a VM needs at least one MAC address");

	for (uint32_t i = 0; i < count && !error; i++)
		error = filter_check_tests(adapter, macs[i], vlan, why);
	return error;
}

static int
macs_check_unique(const struct adapter *adapter, const struct composition *parts, struct refusal *why)
{
	int error = macs_check_distinct(parts->macs, parts->mac_count, why);

	for (uint32_t i = 0; i < parts->mac_count && !error; i++)
		error = filter_check_unique(adapter, parts->macs[i], parts->vlan, why);
	return error;
}

/* What others have already, then how much room is left. */
static int
composition_check_room(const struct composition *parts, const struct adapter *adapter, const struct vm_parameters *vm,
		       const struct queue_parameters *queue, struct refusal *why)
{
	int error = vm_check_unique(adapter->model, vm, why);

	if (!error)
		error = macs_check_unique(adapter, parts, why);
	if (!error)
		error = queue_check_room(adapter, queue, why);
	return error ? error : filter_check_room(adapter, parts->mac_count, why);
}

static void
composition_unplace(const struct composition *parts, uint32_t placed)
{
	const struct adapter *adapter = parts->queue->adapter;

	while (placed-- > 0)
		adapter->model->config.nic->filter_remove(adapter->nic, parts->macs[placed], parts->vlan);
}

static int
composition_place(const struct composition *parts, struct refusal *why)
{
	for (uint32_t i = 0; i < parts->mac_count; i++) {
		int error = filter_place(parts->queue, parts->macs[i], parts->vlan, why);

		if (error) {
			composition_unplace(parts, i);
			return error;
		}
	}
	return 0;
}

static int
composition_start(struct composition *parts, const struct vm_parameters *parameters, const struct caller *caller,
		  struct refusal *why)
{
	const struct adapter *adapter = parts->queue->adapter;
	const struct nic_ops *nic = adapter->model->config.nic;
	int error = nic->queue_start(adapter->nic, parts->queue->id, &parts->buffers, why);

	if (error)
		return error;
	error = memory_provide(parts->queue, parts->buffers, why);
	if (error)
		goto stop;
	error = composition_place(parts, why);
	if (error)
		goto free;
	error = vm_open(parts->queue->adapter, parts->queue, parameters, caller, &parts->vm, why);
	if (error)
		goto unplace;
	return 0;
unplace:
	composition_unplace(parts, parts->mac_count);
free:
	memory_free_all(parts->queue);
stop:
	nic->queue_stop(adapter->nic, parts->queue->id);
	return error;
}

/* Nothing can fail any more: the queue goes through its states as if each request had been made. */
static void
composition_enter(const struct composition *parts)
{
	queue_enter(parts->queue);
	for (uint32_t i = 0; i < parts->mac_count; i++)
		filter_enter(parts->queue, FILTER_NONE, parts->macs[i], parts->vlan);
	parts->queue->buffers = parts->buffers;
	queue_step(parts->queue, QUEUE_EVENT_ALLOCATION_COMPLETE);
	parts->vm->composed = true;
	TAILQ_INSERT_TAIL(&parts->queue->adapter->model->vms, parts->vm, of_model);
	vm_bind(parts->vm, parts->queue);
}

int
vm_add(struct adapter *adapter, const struct vm_parameters *vm_parameters,
       const struct queue_parameters *queue_parameters, const uint64_t *macs, uint32_t mac_count, uint32_t vlan,
       const struct caller *caller, struct vm **vm, struct refusal *why)
{
	struct composition parts = { .macs = macs, .mac_count = mac_count, .vlan = (uint16_t)vlan };
	struct queue_parameters parameters = *queue_parameters;
	int error;

	parameters.fields |= QUEUE_FIELD_VM;
	parameters.vm_name = vm_parameters->name;
	error = queue_check_new(adapter, &parameters, why);
	if (!error)
		error = parameters_check(vm_parameters, why);
	if (!error)
		error = macs_check_values(adapter, macs, mac_count, vlan, why);
	if (!error)
		error = composition_check_room(&parts, adapter, vm_parameters, &parameters, why);
	if (!error)
		error = queue_open(adapter, &parameters, caller, &parts.queue, why);
	if (error)
		return error;
	parts.buffers = parts.queue->suggested_buffers;
	error = composition_start(&parts, vm_parameters, caller, why);
	if (error) {
		queue_discard(parts.queue);
		return error;
	}
	composition_enter(&parts);
	*vm = parts.vm;
	return 0;
}

int
vm_find(struct model *model, const char *name, struct vm **vm, struct refusal *why)
{
	struct vm *found = vm_by_name(model, name);

	if (!found)
		return refuse(why, -ENOENT, "there is no VM %s", name);
	*vm = found;
	return 0;
}

void
vm_connection_changed(struct vm *vm, bool connected)
{
	const struct model_event event = { .type = connected ? EVENT_VM_CONNECTED : EVENT_VM_DISCONNECTED,
					  .adapter = vm->adapter,
					  .queue = vm->queue,
					  .vm = vm };

	if (vm->connected == connected)
		return;
	vm->connected = connected;
	model_emit(vm->adapter->model, &event);
}
