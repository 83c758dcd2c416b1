/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts what each thread of a program allocates and locks. Preloaded; the file that VMQ_COUNTS names holds the
 * counts, as words of 64 bits: how many threads there are, then of each its id, allocations (and frees), and locks.
 *
 * cc -shared -fPIC -o count_malloc.so count_malloc.c
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS_MAX = 1023 };

struct counts {
	_Atomic uint64_t thread;
	_Atomic uint64_t allocations;
	_Atomic uint64_t locks;
};

struct file {
	_Atomic uint64_t threads;
	struct counts counts[THREADS_MAX + 1];
};

static struct file before_the_file;
static struct file *file = &before_the_file;
static __thread struct counts *mine __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void
open_file(void)
{
	const char *path = getenv("VMQ_COUNTS");
	int handle = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = handle < 0 ? MAP_FAILED : mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);

	if (at == MAP_FAILED)
		return;
	close(handle);
	file = at;
	mine = NULL;
}

static struct counts *
counts_of_this_thread(void)
{
	uint64_t place;

	if (mine)
		return mine;
	place = atomic_fetch_add(&file->threads, 1);
	mine = &file->counts[place < THREADS_MAX ? place : THREADS_MAX];
	mine->thread = (uint64_t)syscall(SYS_gettid);
	return mine;
}

static void
count_allocation(void)
{
	atomic_fetch_add(&counts_of_this_thread()->allocations, 1);
}

static void
count_lock(void)
{
	atomic_fetch_add(&counts_of_this_thread()->locks, 1);
}

/* dlsym() allocates, so the C library's own names for these do instead. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *at);

void *
malloc(size_t size)
{
	count_allocation();
	return __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	count_allocation();
	return __libc_calloc(count, size);
}

void *
realloc(void *at, size_t size)
{
	count_allocation();
	return __libc_realloc(at, size);
}

void *
memalign(size_t alignment, size_t size)
{
	count_allocation();
	return __libc_memalign(alignment, size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int
posix_memalign(void **at, size_t alignment, size_t size)
{
	*at = memalign(alignment, size);
	return *at ? 0 : ENOMEM;
}

void
free(void *at)
{
	count_allocation();
	__libc_free(at);
}

/* What follows is counted where the program calls it; what a library calls in itself may stay unseen. */
#define COUNTED(kind, result, name, parameters, arguments)                                     \
	result name parameters;                                                                \
	result name parameters                                                                 \
	{                                                                                      \
		static result(*next) parameters;                                               \
                                                                                               \
		if (!next)                                                                     \
			next = (result(*) parameters)dlsym(RTLD_NEXT, #name);                  \
		count_##kind();                                                                \
		return next arguments;                                                         \
	}

COUNTED(lock, int, pthread_mutex_lock, (pthread_mutex_t * mutex), (mutex))
COUNTED(lock, int, pthread_mutex_trylock, (pthread_mutex_t * mutex), (mutex))
COUNTED(lock, int, pthread_rwlock_rdlock, (pthread_rwlock_t * lock), (lock))
COUNTED(lock, int, pthread_rwlock_wrlock, (pthread_rwlock_t * lock), (lock))
COUNTED(lock, int, pthread_spin_lock, (pthread_spinlock_t * lock), (lock))
COUNTED(allocation, void *, rte_malloc, (const char *type, size_t size, unsigned align), (type, size, align))
COUNTED(allocation, void *, rte_zmalloc, (const char *type, size_t size, unsigned align), (type, size, align))
COUNTED(allocation, void *, rte_malloc_socket, (const char *type, size_t size, unsigned align, int socket),
	(type, size, align, socket))
COUNTED(allocation, void *, rte_zmalloc_socket, (const char *type, size_t size, unsigned align, int socket),
	(type, size, align, socket))
