/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/listen.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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
int
listen_unix(const char *path, struct refusal *why)
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

static bool
is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
	return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static int
listen_on(const char *where, const struct addrinfo *to, struct refusal *why)
{
	const int on = 1;
	int handle, error;

	if (!is_loopback(to->ai_addr))
		return refuse(why, -EPERM, "%s: only an address of this host's loopback, such as 127.0.0.1:9720",
			      where);
	handle = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (handle < 0)
		return refuse(why, -errno, "%s: %s", where, strerror(errno));
	setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!bind(handle, to->ai_addr, to->ai_addrlen) && !listen(handle, SOMAXCONN))
		return handle;
	error = -errno;
	close(handle);
	return refuse(why, error, "%s: %s", where, strerror(-error));
}

int
listen_loopback(const char *where, struct refusal *why)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	const char *colon = strrchr(where, ':');
	const bool bracketed = colon && where[0] == '[' && colon > where + 1 && colon[-1] == ']';
	struct addrinfo *found = NULL;
	char *address;
	int handle;

	if (!colon)
		return refuse(why, -EINVAL, "%s: must be ADDRESS:PORT, such as 127.0.0.1:9720, or a path", where);
	address = strndup(where + bracketed, (size_t)(colon - where) - 2 * bracketed);
	if (!address || getaddrinfo(address, colon + 1, &hints, &found)) {
		free(address);
		return refuse(why, -EINVAL, "%s: is no numeric address and port, such as 127.0.0.1:9720", where);
	}
	handle = listen_on(where, found, why);
	freeaddrinfo(found);
	free(address);
	return handle;
}
