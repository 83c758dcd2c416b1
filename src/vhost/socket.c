/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/socket.h"

#include "vhost/message.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un
address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

/* @return a descriptor that does not block; -errno. */
static int
connect_plainly(const char *path)
{
	const struct sockaddr_un address = address_of(path);
	int handle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

	if (handle < 0)
		return -errno;
	if (!connect(handle, (const struct sockaddr *)&address, sizeof(address)))
		return handle;
	error = -errno;
	close(handle);
	return error;
}

/*
 * Root without CAP_DAC_OVERRIDE is to a socket of another user's like anybody else. It may give files away, so it takes
 * this one for the moment of connecting, and gives it back. All by a descriptor: whoever owns the folder can put
 * something else there meanwhile, and that is left alone.
 */
static int
connect_as_owner(const char *path)
{
	char itself[32];
	struct stat status;
	int file = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), handle;

	if (file < 0)
		return -errno;
	snprintf(itself, sizeof(itself), "/proc/self/fd/%d", file);
	handle = -EACCES;
	if (!fstat(file, &status) && S_ISSOCK(status.st_mode) &&
	    !fchownat(file, "", geteuid(), (gid_t)-1, AT_EMPTY_PATH)) {
		handle = connect_plainly(itself);
		if (fchownat(file, "", status.st_uid, (gid_t)-1, AT_EMPTY_PATH))
			fprintf(stderr, "vmqd: socket %s is root's now: %s\n", path, strerror(errno));
	}
	close(file);
	return handle;
}

int
socket_connect(const char *path)
{
	int handle = connect_plainly(path);

	return handle == -EACCES ? connect_as_owner(path) : handle;
}

static bool
somebody_listens(const char *path)
{
	int handle = socket_connect(path);

	if (handle >= 0)
		close(handle);
	return handle != -ECONNREFUSED;
}

/* Remove a socket that nobody listens on any more. */
static int
make_way(const char *path, struct refusal *why)
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

/* The mode first: what is somebody else's cannot be changed any more. */
static int
set_access(const char *path, const struct socket_access *access, struct refusal *why)
{
	const struct passwd *user = access->user[0] ? getpwnam(access->user) : NULL;
	const struct group *group = access->group[0] ? getgrnam(access->group) : NULL;
	gid_t gid = group ? group->gr_gid : user ? user->pw_gid : (gid_t)-1;

	if (access->user[0] && !user)
		return refuse(why, -EINVAL, "socket %s: there is no user %s", path, access->user);
	if (access->group[0] && !group)
		return refuse(why, -EINVAL, "socket %s: there is no group %s", path, access->group);
	if (access->mode_bits && chmod(path, access->mode_bits))
		return refuse(why, -EIO, "socket %s: mode %o: %s", path, access->mode_bits, strerror(errno));
	if ((user || group) && chown(path, user ? user->pw_uid : (uid_t)-1, gid))
		return refuse(why, -EIO, "socket %s: cannot be given to %s%s%s: %s", path, access->user,
			      access->user[0] && access->group[0] ? ":" : "", access->group, strerror(errno));
	return 0;
}

int
socket_listen(const char *path, const struct socket_access *access, struct socket_name *name, struct refusal *why)
{
	const struct sockaddr_un address = address_of(path);
	int error = make_way(path, why), handle;

	if (error)
		return error;
	handle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (handle < 0)
		return refuse(why, -EIO, "socket %s: %s", path, strerror(errno));
	if (bind(handle, (const struct sockaddr *)&address, sizeof(address))) {
		error = refuse(why, -EIO, "socket %s: %s", path, strerror(errno));
		goto close;
	}
	error = set_access(path, access, why);
	if (!error && (listen(handle, SOMAXCONN) || socket_name_take(path, name)))
		error = refuse(why, -EIO, "socket %s: %s", path, strerror(errno));
	if (!error)
		return handle;
	unlink(path);
close:
	close(handle);
	return error;
}

/* What came with a message, up to as many files as any has. @return 0; -EMFILE some were lost. */
static int
take_files(struct message *message, struct msghdr *header)
{
	int error = header->msg_flags & MSG_CTRUNC ? -EMFILE : 0;

	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int file;

			memcpy(&file, CMSG_DATA(part) + i * sizeof(file), sizeof(file));
			if (message->file_count < MESSAGE_FILES_MAX) {
				message->files[message->file_count++] = file;
			} else {
				close(file);
				error = -EMFILE;
			}
		}
	}
	return error;
}

/* @return bytes; 0 the other end has gone; -EAGAIN; -errno. */
static ssize_t
receive_part(int handle, struct message *message, void *to, size_t bytes)
{
	char control[CMSG_SPACE(MESSAGE_FILES_MAX * sizeof(int))] __attribute__((aligned(8)));
	struct iovec content = { to, bytes };
	struct msghdr header = {
		.msg_iov = &content, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t got = recvmsg(handle, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int error;

	if (got < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	error = take_files(message, &header);
	return error ? error : got;
}

int
socket_receive(int handle, struct message *message, struct refusal *why)
{
	while (message->received < MESSAGE_HEAD_BYTES || message->received < MESSAGE_HEAD_BYTES + message->bytes) {
		bool head = message->received < MESSAGE_HEAD_BYTES;
		size_t whole = MESSAGE_HEAD_BYTES + (head ? 0 : message->bytes);
		uint8_t *to = head ? (uint8_t *)message : (uint8_t *)&message->number - MESSAGE_HEAD_BYTES;
		ssize_t got = receive_part(handle, message, to + message->received, whole - message->received);

		if (got == -EMFILE)
			return refuse(why, -EMFILE,
				      "more files came with a message than it has, or than vmqd may open");
		if (got <= 0)
			return got ? (int)got : -ECONNRESET;
		message->received += (uint32_t)got;
		if (head && message->received == MESSAGE_HEAD_BYTES && message_check_head(message, why))
			return -EPROTO;
	}
	return 0;
}

int
socket_send(int handle, const struct message *message)
{
	struct iovec parts[] = { { (void *)message, MESSAGE_HEAD_BYTES },
				 { (void *)&message->number, message->bytes } };
	const struct msghdr header = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t sent = sendmsg(handle, &header, MSG_DONTWAIT | MSG_NOSIGNAL);

	return sent == (ssize_t)(MESSAGE_HEAD_BYTES + message->bytes) ? 0 : sent < 0 ? -errno : -EAGAIN;
}
