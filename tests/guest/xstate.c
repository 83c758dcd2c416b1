// SPDX-License-Identifier: BSD-3-Clause
/*
 * Lets user-mode Linux run on processors with AMX, loaded before it. Linux 6.1 as a guest keeps 2,696 bytes of a process'
 * extended state; the host's kernel takes the whole of it or nothing (11,008 bytes with AMX), and every guest would end
 * with "ptrace set fp regs failed, errno = 14". No guest uses what lies beyond, so that is written as zeros.
 */
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char whole[1 << 16];
static size_t whole_bytes; /* 0: not known yet */

static long
state_get(pid_t process, struct iovec *part)
{
	struct iovec state = { whole, sizeof(whole) };
	long result = syscall(SYS_ptrace, PTRACE_GETREGSET, process, NT_X86_XSTATE, &state);

	if (result)
		return result;
	whole_bytes = state.iov_len;
	if (part->iov_len > whole_bytes)
		part->iov_len = whole_bytes;
	memcpy(part->iov_base, whole, part->iov_len);
	return 0;
}

static long
state_set(pid_t process, const struct iovec *part)
{
	struct iovec state = { whole, sizeof(whole) };
	long result = whole_bytes ? 0 : syscall(SYS_ptrace, PTRACE_GETREGSET, process, NT_X86_XSTATE, &state);

	if (result)
		return result;
	if (!whole_bytes)
		whole_bytes = state.iov_len;
	state.iov_len = whole_bytes;
	memset(whole, 0, sizeof(whole));
	memcpy(whole, part->iov_base, part->iov_len < whole_bytes ? part->iov_len : whole_bytes);
	return syscall(SYS_ptrace, PTRACE_SETREGSET, process, NT_X86_XSTATE, &state);
}

static int
peeks(enum __ptrace_request request)
{
	return request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER;
}

/* In place of the C library's. */
long
ptrace(enum __ptrace_request request, ...)
{
	va_list words;
	pid_t process;
	void *address, *data;
	long result, peeked;

	va_start(words, request);
	process = va_arg(words, pid_t);
	address = va_arg(words, void *);
	data = va_arg(words, void *);
	va_end(words);
	if (request == PTRACE_GETREGSET && (long)address == NT_X86_XSTATE)
		return state_get(process, data);
	if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE)
		return state_set(process, data);
	result = syscall(SYS_ptrace, request, process, address, peeks(request) ? &peeked : data);
	return result >= 0 && peeks(request) ? peeked : result;
}
