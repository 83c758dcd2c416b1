/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Status indications to those who follow, and the last of them for those who come later. Each event has a number and a
 * time; a client that reads too slowly loses events, is told how many once it reads again, and slows nobody.
 */
#include "control/internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EVENT_BACKLOG_BYTES = 256 * 1024, RECENT_EVENTS = 256, TIME_TEXT_SIZE = 32 };

static const char *const type_names[] = {
	[EVENT_QUEUE_STATE] = "queue-state",
	[EVENT_QUEUE_PARAMETERS] = "queue-parameters",
	[EVENT_CAPABILITIES] = "capabilities",
	[EVENT_VM_CONNECTED] = "vm-connected",
	[EVENT_VM_DISCONNECTED] = "vm-disconnected",
	[EVENT_LINK] = "link",
	[EVENT_QUEUE_MOVED] = "queue-moved",
};

static void
send_event(struct client *client, json_t *params)
{
	json_t *message = json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", "event", "params", params);
	char *text = json_dumps(message, JSON_COMPACT);

	if (!text)
		abort();
	client_write(client, text, strlen(text));
	client_write(client, "\n", 1);
	free(text);
	json_decref(message);
}

/* Source: RFC 3339, in UTC. */
static void
time_format(char text[TIME_TEXT_SIZE])
{
	struct timespec now;
	struct tm utc;
	size_t length;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	length = strftime(text, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + length, TIME_TEXT_SIZE - length, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

static json_t *
event_params(uint64_t sequence, const struct model_event *event)
{
	char time[TIME_TEXT_SIZE];
	json_t *params;

	time_format(time);
	params = json_pack("{s:s, s:I, s:s}", "time", time, "seq", (json_int_t)sequence, "type",
			   type_names[event->type]);

	if (event->adapter)
		json_object_set_new(params, "adapter", json_string(event->adapter->config.name));
	if (event->queue)
		json_object_set_new(params, "queue", json_integer(event->queue->id));
	if (event->type == EVENT_QUEUE_STATE) {
		json_object_set_new(params, "state", json_string(queue_state_name(event->queue->state)));
		json_object_set_new(params, "windows_state",
				    json_string(queue_state_windows_name(event->queue->state)));
	}
	if (event->type == EVENT_QUEUE_MOVED) {
		json_object_set_new(params, "from", json_integer(event->from_cpu));
		json_object_set_new(params, "cpu", json_integer(event->queue->cpu));
		json_object_set_new(params, "reason", json_string(event->reason));
	}
	if (event->vm)
		json_object_set_new(params, "vm", json_string(event->vm->name));
	if (event->type == EVENT_LINK)
		json_object_set_new(params, "link", json_string(event->adapter->link.up ? "up" : "down"));
	return params;
}

/* The news of what was missed takes the place of the first event after the gap. */
static void
tell_missed(struct client *client, uint64_t sequence)
{
	if (!client->missed)
		return;
	send_event(client, json_pack("{s:I, s:s, s:I}", "seq", (json_int_t)sequence, "type", "missed", "count",
				     (json_int_t)client->missed));
	client->missed = 0;
}

static void
remember(struct control *control, json_t *params)
{
	if (json_array_size(control->recent) == RECENT_EVENTS)
		json_array_remove(control->recent, 0);
	json_array_append(control->recent, params);
}

void
events_emit(void *ctx, const struct model_event *event)
{
	struct control *control = ctx;
	json_t *params = event_params(++control->sequence, event);
	struct client *client;

	remember(control, params);
	LIST_FOREACH(client, &control->clients, of_control) {
		if (!client->follows)
			continue;
		if (client->output_length > EVENT_BACKLOG_BYTES) {
			client->missed++;
			continue;
		}
		tell_missed(client, control->sequence);
		send_event(client, json_incref(params));
	}
	json_decref(params);
}

void
events_caught_up(struct client *client)
{
	if (client->follows && client->missed && client->output_length == 0)
		tell_missed(client, client->control->sequence);
}
