/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket and the event loop: connections, commits, timers, start and end. */
#include "control/internal.h"
#include "control/listen.h"
#include "control/metrics.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum {
	BALANCE_USEC = 1000000,
	SOCKET_LOOK_USEC = 1000000,
};

static void
flush_all(struct control *control, bool saved)
{
	struct client *client, *next;

	for (client = LIST_FIRST(&control->clients); client; client = next) {
		next = LIST_NEXT(client, of_control);
		rpc_release(client, saved);
		if (client->output_length)
			client_flush(client);
	}
}

void
control_flush(struct control *control)
{
	flush_all(control, true);
}

static int
on_free_poll(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct control *control = ctx;

	(void)usec;
	if (model_poll(control->model)) {
		sd_event_source_set_time_relative(source, FREE_POLL_USEC);
		sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	flush_all(control, true);
	return 0;
}

/* What cannot be kept does not stand either: back to what the state file says. */
static void
forget_changes(struct control *control)
{
	transaction_undo(control, control->state_text ? control->state_text : "");
	model_commit(control->model);
	control->changed = false;
}

void
control_commit(struct control *control)
{
	struct refusal why;
	bool saved = true;

	if (control->changed) {
		control->changed = false;
		model_commit(control->model);
		saved = !state_save(control, &why);
		if (!saved) {
			fprintf(stderr, "vmqd: %s\n", why.text);
			forget_changes(control);
		}
		if (model_poll(control->model)) {
			sd_event_source_set_time_relative(control->poll_timer, FREE_POLL_USEC);
			sd_event_source_set_enabled(control->poll_timer, SD_EVENT_ONESHOT);
		}
	}
	flush_all(control, saved);
	/* A client that went away meanwhile may have left something to change. */
	if (control->changed)
		control_commit(control);
}

/* It is told why, if its socket takes one line at once, as a new one does. */
static void
turn_away(int handle)
{
	char line[160];
	int length = snprintf(line, sizeof(line),
			      "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":%d,\"message\":"
			      "\"vmqd serves %d clients at once, and has them: end one\"}}\n",
			      -EBUSY, CLIENTS_MAX);

	send(handle, line, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(handle);
}

static int
on_listener(sd_event_source *source, int listener, uint32_t events, void *ctx)
{
	struct control *control = ctx;
	int handle = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source;
	(void)events;
	if (handle < 0)
		return 0;
	if (control->client_count >= CLIENTS_MAX)
		turn_away(handle);
	else if (client_create(control, handle))
		close(handle);
	return 0;
}

/* Guests that come and go */

static int
on_wake(sd_event_source *source, int handle, uint32_t events, void *ctx)
{
	struct control *control = ctx;
	eventfd_t count;
	struct vm *vm;

	(void)source;
	(void)events;
	eventfd_read(handle, &count);
	TAILQ_FOREACH(vm, &control->model->vms, of_model)
		vm_connection_changed(vm, control->model->config.vm->connected(vm->port));
	flush_all(control, true);
	return 0;
}

void
control_vm_changed(void *ctx)
{
	struct control *control = ctx;

	eventfd_write(control->wake, 1);
}

static int
on_balance(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct control *control = ctx;

	(void)usec;
	if (model_balance(control->model)) {
		control->changed = true;
		control_commit(control);
	}
	sd_event_source_set_time_relative(source, BALANCE_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Start and end */

static int
accept_clients(struct control *control)
{
	int error = socket_name_take(control->socket, &control->name);

	if (error)
		return error;
	return sd_event_add_io(control->event, &control->accepts, control->listener, EPOLLIN, on_listener, control);
}

static bool
socket_is_there(const struct control *control)
{
	return control->listener >= 0 && socket_has_name(control->socket, &control->name);
}

static void
stop_listening(struct control *control)
{
	control->accepts = sd_event_source_disable_unref(control->accepts);
	if (socket_is_there(control))
		unlink(control->socket);
	if (control->listener >= 0)
		close(control->listener);
	control->listener = -1;
}

/* Somebody removed the socket, as cleaners of folders do: without it vmqd could not be told anything any more. */
static int
on_socket_look(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct control *control = ctx;
	struct refusal why;

	(void)usec;
	if (!socket_is_there(control)) {
		stop_listening(control);
		control->listener = listen_unix(control->socket, &why);
		if (control->listener >= 0 && accept_clients(control) < 0) {
			stop_listening(control);
			refuse(&why, -ENOMEM, "socket %s: no memory", control->socket);
		}
		if (control->listener >= 0)
			fprintf(stderr, "vmqd: socket %s was removed or replaced: it is made again\n", control->socket);
		else if (!control->socket_missed)
			fprintf(stderr,
				"vmqd: the control socket was removed or replaced, and cannot be made again yet: %s\n",
				why.text);
		control->socket_missed = control->listener < 0;
	}
	sd_event_source_set_time_relative(source, SOCKET_LOOK_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int
event_sources(struct control *control)
{
	int error = accept_clients(control);

	if (error >= 0)
		error = sd_event_add_time_relative(control->event, NULL, CLOCK_MONOTONIC, SOCKET_LOOK_USEC, 0,
						   on_socket_look, control);
	if (error >= 0)
		error = sd_event_add_io(control->event, NULL, control->wake, EPOLLIN, on_wake, control);
	if (error >= 0)
		error = sd_event_add_signal(control->event, NULL, SIGTERM, NULL, NULL);
	if (error >= 0)
		error = sd_event_add_signal(control->event, NULL, SIGINT, NULL, NULL);
	if (error >= 0)
		error = sd_event_add_time_relative(control->event, &control->poll_timer, CLOCK_MONOTONIC, 0, 0,
						   on_free_poll, control);
	if (error >= 0)
		error = sd_event_source_set_enabled(control->poll_timer, SD_EVENT_OFF);
	if (error >= 0)
		error = ports_start(control);
	/* With one processor there is nothing to choose. */
	if (error >= 0 && cpumask_count(&control->model->config.cpus) > 1)
		error = sd_event_add_time_relative(control->event, NULL, CLOCK_MONOTONIC, BALANCE_USEC, 0, on_balance,
						   control);
	return error < 0 ? error : 0;
}

int
control_create(struct model *model, const char *socket, struct control **result, struct refusal *why)
{
	struct control *control = calloc(1, sizeof(*control));
	int error;

	if (!control)
		return refuse(why, -ENOMEM, "no memory");
	control->model = model;
	control->recent = json_array();
	snprintf(control->socket, sizeof(control->socket), "%s", socket);
	control->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	control->listener = listen_unix(socket, why);
	if (control->listener < 0) {
		error = control->listener;
		goto free;
	}
	error = sd_event_default(&control->event);
	if (error >= 0)
		error = event_sources(control);
	if (error < 0) {
		refuse(why, error, "event loop: %s", strerror(-error));
		goto close;
	}
	*result = control;
	return 0;
close:
	stop_listening(control);
free:
	sd_event_unref(control->event);
	close(control->wake);
	free(control);
	return error;
}

static int
restore_config(struct control *control, const char *config, struct refusal *why)
{
	return config ? config_load(control, config, why) : 0;
}

/*
 * The file may be right and the machine not ready for it: a processor or an interface is missing, a socket taken,
 * memory short.
 */
static bool
is_of_the_machine(int error, const struct refusal *why)
{
	return why->of_machine || error == -EIO || error == -EADDRINUSE || error == -ENOMEM || error == -ENODEV;
}

/* @return 0 also if it was damaged: then it is put aside, and nothing of it stands. */
static int
restore_state(struct control *control, const char *state, const char *config, struct refusal *why)
{
	char aside[4096];
	int error = state_load(control, state, why);

	if (!error || is_of_the_machine(error, why))
		return error;
	control_close(control);
	error = state_put_aside(state, aside, sizeof(aside));
	if (error)
		return refuse(why, error, "%s: damaged, and cannot be put aside: %s", state, strerror(-error));
	fprintf(stderr, "vmqd: %s; kept as %s\n", why->text, aside);
	return restore_config(control, config, why);
}

int
control_restore(struct control *control, const char *config, const char *state, struct refusal *why)
{
	int error = access(state, F_OK) ? restore_config(control, config, why) :
					  restore_state(control, state, config, why);

	if (error)
		return error;
	control->state = state;
	model_commit(control->model);
	return state_save(control, why);
}

void
control_event(void *control, const struct model_event *event)
{
	events_emit(control, event);
}

void
control_destroy(struct control *control)
{
	while (!LIST_EMPTY(&control->clients))
		client_close(LIST_FIRST(&control->clients));
	sd_event_source_disable_unref(control->poll_timer);
	sd_event_source_disable_unref(control->retry_timer);
	stop_listening(control);
	metrics_close(control);
	sd_event_unref(control->event);
	close(control->wake);
	free(control->state_text);
	json_decref(control->recent);
	free(control);
}

/* By the book: an adapter that closes frees all its queues first. One may be closing already. */
void
control_close(struct control *control)
{
	const struct caller root = { .uid = 0 };
	struct adapter *adapter;

	control->state = NULL;
	TAILQ_FOREACH(adapter, &control->model->adapters, of_model)
		adapter_del(adapter, &root, (struct completion){ 0 }, NULL);
	model_commit(control->model);
	for (; !TAILQ_EMPTY(&control->model->adapters); model_poll(control->model))
		usleep(FREE_POLL_USEC);
}

int
control_run(struct control *control)
{
	int error;

	sd_notify(0, "READY=1");
	error = sd_event_loop(control->event);
	sd_notify(0, "STOPPING=1");
	control_close(control);
	flush_all(control, true);
	return error < 0 ? error : 0;
}
