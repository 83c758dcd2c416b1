/* SPDX-License-Identifier: BSD-3-Clause */
/* capture: workers copy frames into memory that the client gets a handle of; it lasts as long as the connection. */
#include "control/handlers.h"
#include "util/capture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { EVERYWHERE = (1 << CAPTURE_PLACES) - 1 };

static unsigned
places_of(const struct capture_target *target, const json_t *params)
{
	static const struct {
		const char *word;
		unsigned places;
	} words[] = {
		{ "wire", 1 << CAPTURE_WIRE },
		{ "host", 1 << CAPTURE_HOST },
		{ "dropped", 1 << CAPTURE_DROPPED },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (param_is(params, "at", words[i].word))
			return words[i].places;
	if (!target->queue)
		return EVERYWHERE;
	/* The default queue is the host's. */
	return 1 << CAPTURE_QUEUE | 1 << CAPTURE_DROPPED | (target->queue->id == QUEUE_DEFAULT ? 1 << CAPTURE_HOST : 0);
}

static int
find_vm(struct request *request, struct capture_target *target, struct refusal *why)
{
	struct vm *vm;
	int error = vm_find(request->control->model, param_text(request->params, "vm"), &vm, why);

	if (error)
		return error;
	if (target->adapter && vm->adapter != target->adapter)
		return refuse(why, -EINVAL, "VM %s is of adapter %s", vm->name, vm->adapter->config.name);
	if (!vm->queue)
		return refuse(why, -EINVAL, "VM %s has no queue: vmqctl vm attach gives it one", vm->name);
	target->adapter = vm->adapter;
	target->vm = vm;
	target->queue = vm->queue;
	return 0;
}

static int
target_find(struct request *request, struct capture_target *target, struct refusal *why)
{
	const json_t *params = request->params;
	int error = 0;

	if (param_given(params, "queue") + param_given(params, "vm") + param_given(params, "at") > 1)
		return refuse(why, -EINVAL, "a capture watches one of queue ID, vm NAME, wire, host and dropped");
	if (param_given(params, "queue") && !param_given(params, "adapter"))
		return refuse(why, -EINVAL, "queue ID needs the adapter before it");
	if (param_given(params, "adapter"))
		error = find_adapter(request, "adapter", &target->adapter, why);
	if (!error && param_given(params, "queue"))
		error = queue_find(target->adapter, param_queue(params, "queue"), &target->queue, why);
	if (!error && param_given(params, "vm"))
		error = find_vm(request, target, why);
	target->places = places_of(target, params);
	return error;
}

/* Only a connection can be handed memory, and one that is answered at once knows what it is. */
static int
reader_check(const struct request *request, struct refusal *why)
{
	if (!request->client || !request->pending->client)
		return refuse(why, -EINVAL, "capture is no command of a configuration or a transaction");
	if (request->client->capture)
		return refuse(why, -EBUSY, "this connection has a capture already: open another");
	return 0;
}

int
on_capture(struct request *request, json_t **result, struct refusal *why)
{
	struct capture_target target = { 0 };
	struct capture_wish wish = { .filter = param_text(request->params, "filter") };
	int64_t snap;
	int file, error = reader_check(request, why);

	if (!error)
		error = number_in(request->params, "snap", 1, CAPTURE_SNAP_MAX, CAPTURE_SNAP_MAX, &snap, why);
	if (!error)
		error = target_find(request, &target, why);
	if (error)
		return error;
	wish.snap_bytes = (uint32_t)snap;
	error = capture_start(request->control->model, &target, &wish, &request->client->capture, &file, why);
	if (error)
		return error;
	client_pass(request->client, file);
	fprintf(stderr, "vmqd: user %u captures frames of %s\n", request->caller.uid,
		target.adapter ? target.adapter->config.name : "all adapters");
	*result = json_pack("{s:i}", "layout", CAPTURE_VERSION);
	return 0;
}
