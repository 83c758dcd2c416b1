/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 4096 };

static bool
somebody_listens(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int handle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool listens;

	if (handle < 0)
		return true;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	listens = !connect(handle, (struct sockaddr *)&address, sizeof(address)) || errno != ECONNREFUSED;
	close(handle);
	return listens;
}

static bool
has_path(const struct sockaddr_un *address, socklen_t size, const char *path)
{
	return size > offsetof(struct sockaddr_un, sun_path) && address->sun_family == AF_UNIX &&
	       !strncmp(address->sun_path, path, sizeof(address->sun_path));
}

/* Server: the connection has the listener's own address. Client: the address is the peer's. */
static bool
is_connection(int handle, const char *path)
{
	struct sockaddr_un own = { 0 }, peer = { 0 };
	socklen_t own_size = sizeof(own), peer_size = sizeof(peer);

	if (getpeername(handle, (struct sockaddr *)&peer, &peer_size))
		return false;
	if (has_path(&peer, peer_size, path))
		return true;
	return !getsockname(handle, (struct sockaddr *)&own, &own_size) && has_path(&own, own_size, path);
}

void
socket_set_patience(const char *path, unsigned milliseconds)
{
	const struct timeval time = { .tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000 };

	for (int handle = 0; handle < DESCRIPTORS_MAX; handle++) {
		if (!is_connection(handle, path))
			continue;
		setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
		setsockopt(handle, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
	}
}

int
socket_make_way(const char *path, struct refusal *why)
{
	struct stat status;

	if (lstat(path, &status)) {
		char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
		char *slash;

		snprintf(folder, sizeof(folder), "%s", path);
		slash = strrchr(folder, '/');
		if (slash && slash != folder)
			*slash = '\0';
		if (slash && access(folder, W_OK))
			return refuse(why, -EIO, "socket %s: folder %s: %s", path, folder, strerror(errno));
		return 0;
	}
	if (!S_ISSOCK(status.st_mode))
		return refuse(why, -EEXIST, "socket %s: a file that is no socket has this name", path);
	if (somebody_listens(path))
		return refuse(why, -EADDRINUSE, "socket %s is taken: somebody listens there", path);
	if (unlink(path))
		return refuse(why, -errno, "socket %s: %s", path, strerror(errno));
	return 0;
}
