/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON-RPC 2.0: a line becomes a request, a result or refusal becomes a line. Source: the JSON-RPC 2.0 document. */
#include "control/internal.h"
#include "util/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
};

/* Beside the commands that people type there is one that only programs make: its check is its handler's. */
static const struct command transaction = { .method = "transaction", .access = ACCESS_OWNER };

static const struct command *
method_find(const char *method)
{
	return strcmp(method, transaction.method) ? command_by_method(method) : &transaction;
}

static void
answer(struct client *client, bool changed, json_t *object)
{
	json_array_append_new(client->answers, json_pack("[b, o]", changed, object));
}

static void
write_object(struct client *client, const json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	if (text) {
		client_write(client, text, strlen(text));
		client_write(client, "\n", 1);
		free(text);
	}
}

void
rpc_release(struct client *client, bool saved)
{
	const json_t *item;
	size_t i;

	json_array_foreach(client->answers, i, item) {
		const json_t *object = json_array_get(item, 1);
		json_t *undone;

		if (saved || !json_is_true(json_array_get(item, 0))) {
			write_object(client, object);
			continue;
		}
		undone = json_pack("{s:s, s:O, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", json_object_get(object, "id"),
				   "error", "code", -EIO, "message", "undone: the state cannot be saved");
		write_object(client, undone);
		json_decref(undone);
	}
	json_array_clear(client->answers);
}

static void
answer_result(struct client *client, const json_t *id, bool changed, json_t *result)
{
	if (client && id)
		answer(client, changed,
		       json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "result",
				 result ? result : json_object()));
	else
		json_decref(result);
}

/* @param data  what a program can act on, or NULL */
static void
answer_error(struct client *client, const json_t *id, int code, const char *message, json_t *data)
{
	json_t *error = json_pack("{s:i, s:s}", "code", code, "message", message);

	if (!error)
		error = json_pack("{s:i, s:s}", "code", code, "message", "the reason is not valid UTF-8");
	if (data)
		json_object_set_new(error, "data", data);
	if (id)
		answer(client, false, json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "error", error));
	else
		answer(client, false, json_pack("{s:s, s:n, s:o}", "jsonrpc", "2.0", "id", "error", error));
}

void
rpc_error(struct client *client, int code, const char *message)
{
	answer_error(client, NULL, code, message, NULL);
}

void
rpc_answer_later(void *ctx, int status)
{
	struct pending *pending = ctx;

	if (pending->status)
		*pending->status = status;
	if (pending->client) {
		answer_result(pending->client, pending->id, true, pending->result);
		pending->client->pending--;
		client_release(pending->client);
	}
	json_decref(pending->id);
	free(pending);
}

/* Whether this client may run this command at all; whose queue it is, the model checks. */
static int
authorise(const struct request *request, const struct command *command, struct refusal *why)
{
	if (!request->client || request->client->may_change || command->access != ACCESS_CHANGE)
		return 0;
	return refuse(why, -EPERM, "user %u may show, and change only queues of its own: %s takes root or group vmq",
		      request->caller.uid, command->method);
}

int
rpc_run(struct request *request, const struct command *command, json_t **result, struct refusal *why)
{
	handler_fn handler = handler_find(command->method);
	int error = authorise(request, command, why);

	if (!error && command != &transaction)
		error = command_check(command, request->params, why);
	if (!error && !handler)
		error = refuse(why, -ENOTSUP, "%s is not served", command->method);
	if (!error)
		error = handler(request, result, why);
	if (command->access != ACCESS_SHOW && (!error || error == -EINPROGRESS))
		request->control->changed = true;
	return error;
}

static struct pending *
pending_create(struct client *client, json_t *id)
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!pending)
		abort();
	pending->client = client;
	pending->id = json_incref(id);
	return pending;
}

/* A batch has a status for each of its parts. */
static int
refused_in_part(const json_t *result, struct refusal *why)
{
	const json_t *one;
	size_t i;

	json_array_foreach(result, i, one)
		if (json_object_get(one, "message"))
			return refuse(why, (int)param_number(one, "code", -EINVAL), "%s", param_text(one, "message"));
	return 0;
}

int
rpc_run_to_end(struct request *request, const struct command *command, json_t **result, struct refusal *why)
{
	struct model *model = request->control->model;
	int status = -EINPROGRESS, error;

	request->pending = calloc(1, sizeof(*request->pending));
	if (!request->pending)
		abort();
	request->pending->status = &status;
	error = rpc_run(request, command, result, why);
	if (error != -EINPROGRESS) {
		free(request->pending);
		return error ? error : refused_in_part(*result, why);
	}
	model_commit(model);
	model_poll(model);
	while (status == -EINPROGRESS) {
		usleep(FREE_POLL_USEC);
		model_poll(model);
	}
	return 0;
}

/* The errno by name, and whatever the handler has to say about where it failed. */
static json_t *
error_data(int error, json_t *result)
{
	json_t *data = json_pack("{s:s}", "errno", strerrorname_np(-error));

	if (json_is_object(result))
		json_object_update(data, result);
	json_decref(result);
	return data;
}

static void
run_request(struct client *client, const struct command *command, const json_t *params, json_t *id, const char *name)
{
	struct request request = {
		.control = client->control,
		.client = client,
		.caller = client->caller,
		.params = params,
		.pending = pending_create(client, id),
	};
	struct pending *pending = request.pending;
	struct refusal why = { .text = "refused" };
	json_t *result = NULL;
	int error;

	snprintf(request.caller.name, sizeof(request.caller.name), "%s", name);
	error = rpc_run(&request, command, &result, &why);

	if (error == -EINPROGRESS) {
		client->pending++;
		return;
	}
	if (!error)
		answer_result(client, id, command->access != ACCESS_SHOW, result);
	else if (id)
		answer_error(client, id, error, why.text, error_data(error, result));
	else
		json_decref(result);
	json_decref(pending->id);
	free(pending);
}

static bool
valid_id(const json_t *id)
{
	return !id || json_is_string(id) || json_is_number(id) || json_is_null(id);
}

static bool
valid_name(const json_t *name)
{
	const char *text = json_string_value(name);

	if (!name)
		return true;
	return text && strlen(text) < NAME_SIZE && strlen(text) == json_string_length(name) && !text_has_control(text);
}

static void
run_object(struct client *client, const json_t *object)
{
	json_t *id = json_object_get(object, "id");
	const char *version = json_string_value(json_object_get(object, "jsonrpc"));
	const char *method = json_string_value(json_object_get(object, "method"));
	const json_t *params = json_object_get(object, "params");
	const struct command *command = method ? method_find(method) : NULL;
	const char *name = json_string_value(json_object_get(object, "as"));
	json_t *none = json_object();
	char message[128];

	if (!version || strcmp(version, "2.0") || !method || !valid_id(id)) {
		answer_error(client, valid_id(id) ? id : NULL, RPC_INVALID_REQUEST,
			     "not a JSON-RPC 2.0 request: jsonrpc \"2.0\", a method and an id are needed", NULL);
	} else if (!command) {
		snprintf(message, sizeof(message), "there is no method %.60s", method);
		answer_error(client, id, RPC_METHOD_NOT_FOUND, message, NULL);
	} else if (params && !json_is_object(params)) {
		answer_error(client, id, RPC_INVALID_PARAMS, "params must be an object", NULL);
	} else if (!valid_name(json_object_get(object, "as"))) {
		answer_error(client, id, RPC_INVALID_REQUEST,
			     "\"as\" must be a name of at most 63 bytes without control characters", NULL);
	} else {
		run_request(client, command, params ? params : none, id, name ? name : "");
	}
	json_decref(none);
}

void
rpc_line(struct client *client, const char *line, size_t length)
{
	json_error_t error;
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
	char message[JSON_ERROR_TEXT_LENGTH + 64];

	if (!object) {
		snprintf(message, sizeof(message), "not JSON: %s at byte %d", error.text, error.position);
		answer_error(client, NULL, RPC_PARSE_ERROR, message, NULL);
		return;
	}
	if (json_is_object(object))
		run_object(client, object);
	else
		answer_error(client, NULL, RPC_INVALID_REQUEST, "a request is one object; batches are not served",
			     NULL);
	json_decref(object);
}
