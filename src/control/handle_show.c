/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests that look at the whole: trace, counters, events, configuration. */
#include "control/handlers.h"

#include "frame/key.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TRACE_FRAME_MAX = 9216 };

static int
frame_from_hex(const char *hex, uint8_t *frame, uint32_t *length, struct refusal *why)
{
	for (*length = 0; *hex; hex += 2) {
		char pair[3] = { hex[0], hex[1], '\0' };

		if (!isxdigit((unsigned char)pair[0]) || !isxdigit((unsigned char)pair[1]))
			return refuse(why, -EINVAL, "hex must be pairs of hexadecimal digits");
		if (*length == TRACE_FRAME_MAX)
			return refuse(why, -EINVAL, "hex is longer than %d bytes", TRACE_FRAME_MAX);
		frame[(*length)++] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return 0;
}

static void
put16(uint8_t *frame, uint32_t *length, uint16_t value)
{
	frame[(*length)++] = (uint8_t)(value >> 8);
	frame[(*length)++] = (uint8_t)value;
}

/* The shortest whole frame with these fields: 60 bytes, without its checksum. */
static int
frame_from_fields(const json_t *params, uint8_t *frame, uint32_t *length, struct refusal *why)
{
	uint64_t dst, src = UINT64_C(0x020000000001);
	int64_t vlan, ethertype;
	int error = param_mac(json_object_get(params, "dst"), &dst, why);

	if (!error && param_given(params, "src"))
		error = param_mac(json_object_get(params, "src"), &src, why);
	if (!error)
		error = number_in(params, "vlan", 0, 4095, 0, &vlan, why);
	if (!error)
		error = number_in(params, "ethertype", 0, UINT16_MAX, 0x0800, &ethertype, why);
	if (error)
		return error;
	mac_store(dst, frame);
	mac_store(src, frame + 6);
	*length = 12;
	if (param_given(params, "vlan")) {
		put16(frame, length, FRAME_TPID_8021Q);
		put16(frame, length, (uint16_t)vlan);
	}
	put16(frame, length, (uint16_t)ethertype);
	*length = 60;
	return 0;
}

int
on_trace(struct request *request, json_t **result, struct refusal *why)
{
	const char *hex = param_text(request->params, "hex");
	uint8_t frame[TRACE_FRAME_MAX] = { 0 };
	struct adapter *adapter;
	struct trace trace;
	uint32_t length;
	int error = find_adapter(request, "adapter", &adapter, why);

	if (!error)
		error = hex ? frame_from_hex(hex, frame, &length, why) :
			      frame_from_fields(request->params, frame, &length, why);
	if (error)
		return error;
	adapter_trace(adapter, frame, length, &trace);
	*result = show_trace(&trace);
	return 0;
}

int
on_stats_show(struct request *request, json_t **result, struct refusal *why)
{
	json_t *adapters = json_array();
	struct adapter *adapter;
	struct queue *queue = NULL;
	int error = 0;

	*result = json_pack("{s:o}", "adapters", adapters);
	if (param_given(request->params, "adapter")) {
		error = find_adapter(request, "adapter", &adapter, why);
		if (!error && param_given(request->params, "id"))
			error = find_queue(request, "id", &queue, why);
		return error ? error : json_array_append_new(adapters, show_stats(adapter, queue));
	}
	TAILQ_FOREACH(adapter, &request->control->model->adapters, of_model)
		json_array_append_new(adapters, show_stats(adapter, NULL));
	return 0;
}

int
on_stats_clear(struct request *request, json_t **result, struct refusal *why)
{
	const struct model_config *config = &request->control->model->config;
	struct adapter *adapter;

	(void)result;
	(void)why;
	TAILQ_FOREACH(adapter, &request->control->model->adapters, of_model)
		config->path->counters_clear(config->path_ctx, adapter);
	return 0;
}

int
on_config_show(struct request *request, json_t **result, struct refusal *why)
{
	char *text = config_text(request->control->model);

	(void)why;
	*result = json_pack("{s:o}", "commands", config_lines(text));
	free(text);
	return 0;
}

/* The state file is always up to date; a file that is named gets the same commands. */
int
on_config_save(struct request *request, json_t **result, struct refusal *why)
{
	const char *file = param_text(request->params, "file");
	char *text;
	int error;

	(void)result;
	if (!file)
		return 0;
	if (request->caller.uid != 0)
		return refuse(why, -EPERM, "only root says which file vmqd writes");
	text = config_text(request->control->model);
	error = state_write(file, "", text, "");
	free(text);
	return error ? refuse(why, error, "%s: %s", file, strerror(-error)) : 0;
}

int
on_events(struct request *request, json_t **result, struct refusal *why)
{
	const bool follows = param_given(request->params, "mode");

	(void)why;
	if (request->client && follows)
		request->client->follows = true;
	*result = json_pack("{s:I}", "seq", (json_int_t)request->control->sequence);
	if (!follows)
		json_object_set_new(*result, "events", json_deep_copy(request->control->recent));
	return 0;
}
