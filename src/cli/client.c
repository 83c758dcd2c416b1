/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct client {
	int handle;
	int file; /* that was handed over; -1: none */
	FILE *in;
	char *line;
	size_t line_size;
	json_int_t id; /* of the last request */
};

static int
socket_connect(const char *path, struct refusal *why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;
	int error;

	if (strlen(path) >= sizeof(address.sun_path))
		return refuse(why, -ENAMETOOLONG, "%s: too long for a socket", path);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return refuse(why, -errno, "socket: %s", strerror(errno));
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	error = -errno;
	close(fd);
	if (error == -EACCES)
		return refuse(why, error, "no permission to use %s: be root, or a member of group vmq", path);
	return refuse(why, error, "no vmqd at %s: %s", path, strerror(-error));
}

static void
keep_file(struct client *client, struct msghdr *message)
{
	const struct cmsghdr *found = CMSG_FIRSTHDR(message);

	if (!found || found->cmsg_level != SOL_SOCKET || found->cmsg_type != SCM_RIGHTS)
		return;
	if (client->file >= 0)
		close(client->file);
	memcpy(&client->file, CMSG_DATA(found), sizeof(client->file));
}

static ssize_t
read_socket(void *ctx, char *buffer, size_t size)
{
	struct client *client = ctx;
	struct iovec text = { buffer, size };
	_Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof(int))];
	struct msghdr message = {
		.msg_iov = &text, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)
	};
	ssize_t length = recvmsg(client->handle, &message, MSG_CMSG_CLOEXEC);

	if (length > 0)
		keep_file(client, &message);
	return length;
}

int
client_open(const char *path, struct client **client, struct refusal *why)
{
	struct client *opened = calloc(1, sizeof(*opened));
	int error;

	if (!opened)
		return refuse(why, -ENOMEM, "out of memory");
	opened->file = -1;
	opened->handle = error = socket_connect(path, why);
	if (error < 0) {
		free(opened);
		return error;
	}
	opened->in = fopencookie(opened, "r", (cookie_io_functions_t){ .read = read_socket });
	if (!opened->in) {
		close(opened->handle);
		free(opened);
		return refuse(why, -ENOMEM, "out of memory");
	}
	*client = opened;
	return 0;
}

void
client_close(struct client *client)
{
	if (!client)
		return;
	fclose(client->in);
	close(client->handle);
	if (client->file >= 0)
		close(client->file);
	free(client->line);
	free(client);
}

static int
send_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		text += sent;
		length -= (size_t)sent;
	}
	return 0;
}

static int
client_send(struct client *client, const char *method, json_t *params, struct refusal *why)
{
	json_t *request = json_pack("{s:s, s:I, s:s, s:O*}", "jsonrpc", "2.0", "id", ++client->id, "method", method,
				    "params", params);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	int error = -ENOMEM;

	if (text) {
		size_t length = strlen(text);

		text[length] = '\n'; /* in place of the NUL: a request is one line */
		error = send_all(client->handle, text, length + 1);
	}
	free(text);
	json_decref(request);
	return error ? refuse(why, error, "cannot send to vmqd: %s", strerror(-error)) : 0;
}

int
client_receive(struct client *client, json_t **message, struct refusal *why)
{
	ssize_t length = getline(&client->line, &client->line_size, client->in);
	json_error_t position;

	if (length < 0)
		return refuse(why, -EPIPE, "vmqd closed the connection");
	*message = json_loadb(client->line, (size_t)length, 0, &position);
	if (!*message)
		return refuse(why, -EPROTO, "vmqd answered with what is not JSON: %s", position.text);
	return 0;
}

int
client_request(struct client *client, const char *method, json_t *params, json_t **response, struct refusal *why)
{
	int error = client_send(client, method, params, why);

	/* It may have said why before it closed the connection. */
	if (error == -EPIPE)
		error = 0;
	while (!error) {
		error = client_receive(client, response, why);
		if (error)
			break;
		if (json_is_null(json_object_get(*response, "id")) ||
		    json_integer_value(json_object_get(*response, "id")) == client->id)
			return 0;
		json_decref(*response);
	}
	return error;
}

int
client_take_file(struct client *client)
{
	int file = client->file;

	client->file = -1;
	return file;
}

int
client_handle(const struct client *client)
{
	return client->handle;
}
