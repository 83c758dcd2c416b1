/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection: who it is, lines in, answers out. */
#include "control/internal.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_CHUNK = 65536 };

/* Answers: kept until the commit, then written as far as the socket takes them. */

void
client_write(struct client *client, const char *text, size_t length)
{
	if (client->handle < 0)
		return;
	if (client->output_length + length > client->output_size) {
		client->output_size = 2 * (client->output_length + length);
		client->output = realloc(client->output, client->output_size);
		if (!client->output)
			abort();
	}
	memcpy(client->output + client->output_length, text, length);
	client->output_length += length;
}

void
client_release(struct client *client)
{
	if (client->handle >= 0 || client->pending)
		return;
	json_decref(client->answers);
	free(client->input);
	free(client->output);
	free(client);
}

void
client_pass(struct client *client, int file)
{
	if (client->passed >= 0)
		close(client->passed);
	client->passed = file;
}

static void
end_capture(struct client *client)
{
	if (!client->capture)
		return;
	fprintf(stderr, "vmqd: user %u ends a capture\n", client->caller.uid);
	capture_end(client->capture);
	client->capture = NULL;
	client->control->changed = true;
}

void
client_close(struct client *client)
{
	client_pass(client, -1);
	end_capture(client);
	sd_event_source_disable_unref(client->io);
	close(client->handle);
	client->handle = -1;
	client->control->client_count--;
	LIST_REMOVE(client, of_control);
	client_release(client);
}

/* As much as the socket takes, with the file that is to be handed over. @return as sendmsg(). */
static ssize_t
send_output(const struct client *client)
{
	struct iovec text = { client->output, client->output_length };
	_Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof(int))] = "";
	struct msghdr message = { .msg_iov = &text, .msg_iovlen = 1 };

	if (client->passed >= 0) {
		message.msg_control = space;
		message.msg_controllen = sizeof(space);
		*CMSG_FIRSTHDR(&message) = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &client->passed, sizeof(int));
	}
	return sendmsg(client->handle, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool
client_flush(struct client *client)
{
	ssize_t sent = 0;
	bool stuck;

	if (client->output_length)
		sent = send_output(client);
	if (sent > 0) {
		client_pass(client, -1);
		client->output_length -= (size_t)sent;
		memmove(client->output, client->output + sent, client->output_length);
	}
	stuck = sent < 0 && errno != EAGAIN && errno != EINTR;
	if (stuck || client->output_length > OUTPUT_BYTES_MAX) {
		client_close(client);
		return false;
	}
	events_caught_up(client);
	sd_event_source_set_io_events(client->io, client->output_length ? EPOLLIN | EPOLLOUT : EPOLLIN);
	return true;
}

/* Lines in */

static void
take_line(struct client *client, const char *line, size_t length)
{
	if (client->overlong)
		client->overlong = false;
	else if (length)
		rpc_line(client, line, length);
}

static void
take_lines(struct client *client)
{
	char *line = client->input;
	char *end = client->input + client->input_length;
	char *newline;

	while ((newline = memchr(line, '\n', (size_t)(end - line)))) {
		take_line(client, line, (size_t)(newline - line));
		line = newline + 1;
	}
	client->input_length = (size_t)(end - line);
	memmove(client->input, line, client->input_length);
	if (client->input_length > REQUEST_BYTES_MAX) {
		if (!client->overlong)
			rpc_error(client, -32600, "the request is longer than 1 MiB");
		client->overlong = true;
		client->input_length = 0;
	}
}

/* @return false: the client is gone. */
static bool
client_read(struct client *client)
{
	ssize_t length;

	if (client->input_size - client->input_length < READ_CHUNK) {
		client->input_size = client->input_length + 2 * READ_CHUNK;
		client->input = realloc(client->input, client->input_size);
		if (!client->input)
			abort();
	}
	length = recv(client->handle, client->input + client->input_length, READ_CHUNK, MSG_DONTWAIT);
	if (length > 0) {
		client->input_length += (size_t)length;
		return true;
	}
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	client_close(client);
	return false;
}

static int
on_client(sd_event_source *source, int handle, uint32_t events, void *ctx)
{
	struct client *client = ctx;
	struct control *control = client->control;

	(void)source;
	(void)handle;
	if (events & EPOLLOUT && !client_flush(client))
		return 0;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && client_read(client))
		take_lines(client);
	control_commit(control);
	return 0;
}

/* Who connects */

static bool
is_member(int handle, gid_t group)
{
	gid_t groups[256];
	socklen_t size = sizeof(groups);

	if (getsockopt(handle, SOL_SOCKET, SO_PEERGROUPS, groups, &size))
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}

static int
client_identify(struct client *client)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	const struct group *group = getgrnam("vmq");

	if (getsockopt(client->handle, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return -errno;
	client->caller.uid = peer.uid;
	client->may_change = peer.uid == 0 || peer.uid == geteuid() ||
			     (group && (peer.gid == group->gr_gid || is_member(client->handle, group->gr_gid)));
	return 0;
}

int
client_create(struct control *control, int handle)
{
	struct client *client = calloc(1, sizeof(*client));
	int error;

	if (!client)
		return -ENOMEM;
	client->control = control;
	client->handle = handle;
	client->passed = -1;
	client->answers = json_array();
	error = client_identify(client);
	if (!error)
		error = sd_event_add_io(control->event, &client->io, handle, EPOLLIN, on_client, client);
	if (error < 0) {
		json_decref(client->answers);
		free(client);
		return error;
	}
	LIST_INSERT_HEAD(&control->clients, client, of_control);
	control->client_count++;
	return 0;
}
