/* The control socket and the event loop: connections, commits, timers, start and end. */
#include "ctl/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum {
	LINK_POLL_USEC = 1000000,
	BALANCE_USEC = 1000000,
};

static void
flush_all(struct ctl *ctl, bool saved)
{
	struct client *client, *next;

	for (client = LIST_FIRST(&ctl->clients); client; client = next) {
		next = LIST_NEXT(client, of_ctl);
		rpc_release(client, saved);
		if (client->output_length)
			client_flush(client);
	}
}

static int
on_free_poll(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct ctl *ctl = ctx;

	(void)usec;
	if (core_poll(ctl->core)) {
		sd_event_source_set_time_relative(source, FREE_POLL_USEC);
		sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	flush_all(ctl, true);
	return 0;
}

/* What cannot be kept does not stand either: back to what the state file says. */
static void
forget_changes(struct ctl *ctl)
{
	transaction_undo(ctl, ctl->state_text ? ctl->state_text : "");
	core_commit(ctl->core);
	ctl->changed = false;
}

void
ctl_commit(struct ctl *ctl)
{
	struct refusal why;
	bool saved = true;

	if (ctl->changed) {
		ctl->changed = false;
		core_commit(ctl->core);
		saved = !state_save(ctl, &why);
		if (!saved) {
			fprintf(stderr, "vmqd: %s\n", why.text);
			forget_changes(ctl);
		}
		if (core_poll(ctl->core)) {
			sd_event_source_set_time_relative(ctl->poll_timer, FREE_POLL_USEC);
			sd_event_source_set_enabled(ctl->poll_timer, SD_EVENT_ONESHOT);
		}
	}
	flush_all(ctl, saved);
}

static int
on_listener(sd_event_source *source, int listener, uint32_t events, void *ctx)
{
	struct ctl *ctl = ctx;
	int handle = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source;
	(void)events;
	if (handle < 0)
		return 0;
	if (ctl->client_count >= CLIENTS_MAX || client_create(ctl, handle))
		close(handle);
	return 0;
}

/* Guests that come and go, and the link */

static int
on_wake(sd_event_source *source, int handle, uint32_t events, void *ctx)
{
	struct ctl *ctl = ctx;
	eventfd_t count;
	struct vm *vm;

	(void)source;
	(void)events;
	eventfd_read(handle, &count);
	TAILQ_FOREACH(vm, &ctl->core->vms, of_core) {
		bool connected = ctl->core->config.vm->connected(vm->port);

		if (connected == vm->connected)
			continue;
		vm_connection_changed(vm, connected);
		ctl->changed = true;
	}
	ctl_commit(ctl);
	return 0;
}

void
ctl_vm_changed(void *ctx)
{
	struct ctl *ctl = ctx;

	eventfd_write(ctl->wake, 1);
}

static int
on_balance(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct ctl *ctl = ctx;

	(void)usec;
	if (core_balance(ctl->core)) {
		ctl->changed = true;
		ctl_commit(ctl);
	}
	sd_event_source_set_time_relative(source, BALANCE_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int
on_link_poll(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct ctl *ctl = ctx;
	struct adapter *adapter;

	(void)usec;
	TAILQ_FOREACH(adapter, &ctl->core->adapters, of_core) {
		struct nic_link link = { 0 };

		ctl->core->config.nic->link(adapter->nic, &link);
		if (link.up != adapter->link.up || link.speed_mbps != adapter->link.speed_mbps)
			adapter_link_changed(adapter, &link);
	}
	flush_all(ctl, true);
	sd_event_source_set_time_relative(source, LINK_POLL_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Start and end */

static int
listen_at(const char *path, struct refusal *why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat status;
	int handle;

	if (strlen(path) >= sizeof(address.sun_path))
		return refuse(why, -ENAMETOOLONG, "socket %s: a socket's path has at most %zu bytes", path,
			      sizeof(address.sun_path) - 1);
	if (!lstat(path, &status) && !S_ISSOCK(status.st_mode))
		return refuse(why, -EEXIST, "socket %s: a file that is no socket has this name", path);
	handle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (handle < 0)
		return refuse(why, -errno, "socket: %s", strerror(errno));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (!connect(handle, (struct sockaddr *)&address, sizeof(address))) {
		close(handle);
		return refuse(why, -EADDRINUSE, "socket %s is taken: another vmqd serves there", path);
	}
	if (errno == ECONNREFUSED)
		unlink(path);
	if (bind(handle, (struct sockaddr *)&address, sizeof(address)) || listen(handle, SOMAXCONN)) {
		int error = -errno;

		close(handle);
		return refuse(why, error, "socket %s: %s", path, strerror(-error));
	}
	return handle;
}

/* The mode is set before anyone can connect: listen_at() runs under this umask. */
static int
listener_create(const char *path, struct refusal *why)
{
	const struct group *group = getgrnam("vmq");
	mode_t mask = umask(0117);
	int handle = listen_at(path, why);

	umask(mask);
	if (handle >= 0 && group && chown(path, (uid_t)-1, group->gr_gid)) {
		refuse(why, -errno, "socket %s: group vmq: %s", path, strerror(errno));
		close(handle);
		unlink(path);
		return -EPERM;
	}
	return handle;
}

static int
event_sources(struct ctl *ctl)
{
	int error = sd_event_add_io(ctl->event, NULL, ctl->listener, EPOLLIN, on_listener, ctl);

	if (error >= 0)
		error = sd_event_add_io(ctl->event, NULL, ctl->wake, EPOLLIN, on_wake, ctl);
	if (error >= 0)
		error = sd_event_add_signal(ctl->event, NULL, SIGTERM, NULL, NULL);
	if (error >= 0)
		error = sd_event_add_signal(ctl->event, NULL, SIGINT, NULL, NULL);
	if (error >= 0)
		error = sd_event_add_time_relative(ctl->event, &ctl->poll_timer, CLOCK_MONOTONIC, 0, 0, on_free_poll,
						   ctl);
	if (error >= 0)
		error = sd_event_source_set_enabled(ctl->poll_timer, SD_EVENT_OFF);
	if (error >= 0)
		error = sd_event_add_time_relative(ctl->event, NULL, CLOCK_MONOTONIC, LINK_POLL_USEC, 0, on_link_poll,
						   ctl);
	/* With one processor there is nothing to choose. */
	if (error >= 0 && cpumask_count(&ctl->core->config.cpus) > 1)
		error = sd_event_add_time_relative(ctl->event, NULL, CLOCK_MONOTONIC, BALANCE_USEC, 0, on_balance, ctl);
	return error < 0 ? error : 0;
}

int
ctl_create(struct core *core, const char *socket, struct ctl **result, struct refusal *why)
{
	struct ctl *ctl = calloc(1, sizeof(*ctl));
	int error;

	if (!ctl)
		return refuse(why, -ENOMEM, "no memory");
	ctl->core = core;
	snprintf(ctl->socket, sizeof(ctl->socket), "%s", socket);
	ctl->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ctl->listener = listener_create(socket, why);
	if (ctl->listener < 0) {
		error = ctl->listener;
		goto free;
	}
	error = sd_event_default(&ctl->event);
	if (error >= 0)
		error = event_sources(ctl);
	if (error < 0) {
		refuse(why, error, "event loop: %s", strerror(-error));
		goto close;
	}
	*result = ctl;
	return 0;
close:
	close(ctl->listener);
	unlink(socket);
free:
	sd_event_unref(ctl->event);
	close(ctl->wake);
	free(ctl);
	return error;
}

static int
restore_config(struct ctl *ctl, const char *config, struct refusal *why)
{
	return config ? config_load(ctl, config, why) : 0;
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
restore_state(struct ctl *ctl, const char *state, const char *config, struct refusal *why)
{
	char aside[4096];
	int error = state_load(ctl, state, why);

	if (!error || is_of_the_machine(error, why))
		return error;
	ctl_close(ctl);
	error = state_put_aside(state, aside, sizeof(aside));
	if (error)
		return refuse(why, error, "%s: damaged, and cannot be put aside: %s", state, strerror(-error));
	fprintf(stderr, "vmqd: %s; kept as %s\n", why->text, aside);
	return restore_config(ctl, config, why);
}

int
ctl_restore(struct ctl *ctl, const char *config, const char *state, struct refusal *why)
{
	int error = access(state, F_OK) ? restore_config(ctl, config, why) : restore_state(ctl, state, config, why);

	if (error)
		return error;
	ctl->state = state;
	core_commit(ctl->core);
	return state_save(ctl, why);
}

void
ctl_event(void *ctl, const struct core_event *event)
{
	events_emit(ctl, event);
}

void
ctl_destroy(struct ctl *ctl)
{
	while (!LIST_EMPTY(&ctl->clients))
		client_close(LIST_FIRST(&ctl->clients));
	sd_event_source_disable_unref(ctl->poll_timer);
	sd_event_unref(ctl->event);
	close(ctl->listener);
	close(ctl->wake);
	unlink(ctl->socket);
	free(ctl->state_text);
	free(ctl);
}

/* By the book: an adapter that closes frees all its queues first. One may be closing already. */
void
ctl_close(struct ctl *ctl)
{
	const struct caller root = { .uid = 0 };
	struct adapter *adapter;

	ctl->state = NULL;
	TAILQ_FOREACH(adapter, &ctl->core->adapters, of_core)
		adapter_del(adapter, &root, (struct completion){ 0 }, NULL);
	core_commit(ctl->core);
	for (; !TAILQ_EMPTY(&ctl->core->adapters); core_poll(ctl->core))
		usleep(FREE_POLL_USEC);
}

int
ctl_run(struct ctl *ctl)
{
	int error;

	sd_notify(0, "READY=1");
	error = sd_event_loop(ctl->event);
	sd_notify(0, "STOPPING=1");
	ctl_close(ctl);
	flush_all(ctl, true);
	return error < 0 ? error : 0;
}
