/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/call.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { REQUESTS_MAX = 64 };

/* What the kernel puts at the address that io_setup() returns. Source: Linux, fs/aio.c, struct aio_ring. */
struct request_ring {
	unsigned id;
	unsigned entries;
	_Atomic unsigned head;
	_Atomic unsigned tail;
};

/* A read of nothing, done when it is asked for: all that is wanted of it is the signal at its end. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int nothing = -1, nothing_to_write = -1;
static _Thread_local aio_context_t context;

static void
open_nothing(void)
{
	nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	nothing_to_write = open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static int
context_open(void)
{
	pthread_once(&once, open_nothing);
	return nothing < 0 || syscall(SYS_io_setup, REQUESTS_MAX, &context) ? -1 : 0;
}

static void
forget_results(void)
{
	struct request_ring *ring = (struct request_ring *)(uintptr_t)context;

	atomic_store_explicit(&ring->head, atomic_load_explicit(&ring->tail, memory_order_acquire),
			      memory_order_release);
}

static bool
is_eventfd(int handle)
{
	char link[sizeof("/proc/self/fd/2147483647")], target[sizeof("anon_inode:[eventfd]")] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", handle);
	return readlink(link, target, sizeof(target) - 1) > 0 && !strcmp(target, "anon_inode:[eventfd]");
}

/*
 * Neither end has a name. A connection to somebody's socket may be the guest's own to us: as long as we hold it we would
 * not learn that the guest has gone.
 */
static bool
is_of_a_pair(int handle)
{
	struct sockaddr_un own = { 0 }, peer = { 0 };
	socklen_t own_bytes = sizeof(own), peer_bytes = sizeof(peer);

	return !getsockname(handle, (struct sockaddr *)&own, &own_bytes) && own.sun_family == AF_UNIX &&
	       own_bytes == sizeof(own.sun_family) && !getpeername(handle, (struct sockaddr *)&peer, &peer_bytes) &&
	       peer_bytes == sizeof(peer.sun_family);
}

bool
call_is_sound(int handle)
{
	struct stat file;

	if (fstat(handle, &file))
		return false;
	return S_ISSOCK(file.st_mode) ? is_of_a_pair(handle) : S_ISFIFO(file.st_mode) || is_eventfd(handle);
}

/* The kernel's own signal at the end of a request; it knows eventfds only. */
static bool
signal_eventfd(int handle)
{
	struct iocb request = { .aio_lio_opcode = IOCB_CMD_PREAD,
				.aio_flags = IOCB_FLAG_RESFD,
				.aio_resfd = (uint32_t)handle };
	struct iocb *requests = &request;

	if (!context && context_open())
		return false;
	request.aio_fildes = (uint32_t)nothing;
	if (syscall(SYS_io_submit, context, 1, &requests) != 1)
		return false;
	forget_results();
	return true;
}

void
call_signal(int handle)
{
	static const uint64_t one = 1;
	const struct iovec signal = { (void *)&one, sizeof(one) };

	if (signal_eventfd(handle))
		return;
	if (send(handle, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == ENOTSOCK)
		vmsplice(handle, &signal, 1, SPLICE_F_NONBLOCK);
}

/* Kernels before 6.5 read without waiting from an eventfd only. */
static ssize_t
take_signals(int handle)
{
	char signals[512];
	const struct iovec into = { signals, sizeof(signals) };
	ssize_t bytes = preadv2(handle, &into, 1, -1, RWF_NOWAIT);

	if (bytes < 0 && errno == EOPNOTSUPP)
		bytes = recv(handle, signals, sizeof(signals), MSG_DONTWAIT);
	if (bytes < 0 && errno == ENOTSOCK)
		bytes = splice(handle, NULL, nothing_to_write, NULL, sizeof(signals), SPLICE_F_NONBLOCK);
	return bytes;
}

bool
call_forget(int handle)
{
	ssize_t bytes;

	pthread_once(&once, open_nothing);
	bytes = take_signals(handle);
	return bytes > 0 || (bytes < 0 && (errno == EAGAIN || errno == EINTR));
}
