/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A front-end made of noise: its messages are the fuzzer's bytes, with files of every kind. Whatever is let through can
 * be mapped and touched to its last byte, rings stay in memory, and no descriptor is lost or closed twice.
 */
#include "noise.h"
#include "vhost/call.h"
#include "model/offload.h"
#include "vhost/message.h"

#include <errno.h>
#include <fcntl.h>
#include <rte_common.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUESTS = 48 }; /* the last ones are nobody's */

static int
file_sized(int handle, uint64_t bytes)
{
	if (handle < 0)
		abort();
	if (ftruncate(handle, (off_t)bytes) && bytes <= 1 << 20)
		abort();
	return handle;
}

static int
file_memory(uint64_t bytes)
{
	return file_sized(memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING), bytes);
}

static int
file_sealed(uint64_t bytes)
{
	int handle = file_memory(bytes);

	if (fcntl(handle, F_ADD_SEALS, bytes & 1 ? F_SEAL_WRITE : F_SEAL_FUTURE_WRITE))
		abort();
	return handle;
}

static int
file_read_only(uint64_t bytes)
{
	int writable = file_memory(bytes), handle;
	char name[64];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", writable);
	handle = open(name, O_RDONLY | O_CLOEXEC);
	close(writable);
	return handle;
}

static int
file_shared(uint64_t bytes)
{
	return file_sized(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), bytes);
}

static int
file_program(uint64_t bytes)
{
	(void)bytes;
	return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
}

static int
file_event(uint64_t bytes)
{
	return eventfd((unsigned)bytes, EFD_CLOEXEC);
}

static int
file_null(uint64_t bytes)
{
	return open("/dev/null", bytes & 1 ? O_RDONLY : O_RDWR);
}

static int
file_folder(uint64_t bytes)
{
	(void)bytes;
	return open("/dev/shm", O_DIRECTORY | O_CLOEXEC);
}

static int
file_socket(uint64_t bytes)
{
	return socket(AF_UNIX, bytes & 1 ? SOCK_STREAM : SOCK_DGRAM, 0);
}

static int
file_closed(uint64_t bytes)
{
	(void)bytes;
	return -1;
}

struct file_kind {
	int (*make)(uint64_t bytes);
	bool is_memory; /* that can be written */
	bool is_signal;
};

static const struct file_kind file_kinds[] = {
	{ file_memory, true, false },   { file_shared, true, false }, { file_event, false, true },
	{ file_sealed, false, false },  { file_null, false, false },  { file_read_only, false, false },
	{ file_program, false, false }, { file_folder, false, false }, { file_socket, false, false },
	{ file_closed, false, false },
};

static const uint64_t file_sizes[] = { 0, 1, 0x1000, 0x10000, 0x10001, 0x100000, 1ull << 40, INT64_MAX };

/* What came with a message, as it was made. */
struct files {
	int handles[MESSAGE_FILES_MAX];
	const struct file_kind *kinds[MESSAGE_FILES_MAX];
	int count;
};

static void
message_make(struct noise *noise, struct message *message, struct files *files)
{
	uint8_t request = noise8(noise);

	memset(message, 0, sizeof(*message));
	message->request = request == UINT8_MAX ? UINT32_MAX : request % REQUESTS;
	message->flags = MESSAGE_VERSION | noise8(noise);
	files->count = message->file_count = noise8(noise) % (MESSAGE_FILES_MAX + 1);
	for (int i = 0; i < files->count; i++) {
		uint8_t what = noise8(noise);

		files->kinds[i] = &file_kinds[what / RTE_DIM(file_sizes) % RTE_DIM(file_kinds)];
		files->handles[i] = files->kinds[i]->make(file_sizes[what % RTE_DIM(file_sizes)]);
		message->files[i] = files->handles[i];
	}
	message->bytes = RTE_MIN(noise8(noise) * 4u, (uint32_t)MESSAGE_PAYLOAD_BYTES_MAX);
	noise_copy(noise, &message->number, message->bytes);
}

static bool
is_kept(const struct guest *guest, int handle)
{
	for (enum guest_ring ring = 0; ring < GUEST_RINGS_AND_CONTROL; ring++)
		if (guest->setups[ring].kick == handle || guest->setups[ring].call == handle)
			return true;
	return false;
}

/* What the guest keeps is open and can signal, but for the channel of which nothing is asked; nothing else is open. */
static void
files_check(const struct guest *guest, const struct files *files)
{
	for (int i = 0; i < files->count; i++) {
		bool signals = files->handles[i] >= 0 && is_kept(guest, files->handles[i]);
		bool kept = signals || (files->handles[i] >= 0 && guest->channel == files->handles[i]);

		if ((fcntl(files->handles[i], F_GETFD) >= 0) != kept || (signals && !files->kinds[i]->is_signal))
			abort();
	}
}

static void
touch(uint8_t *at, uint64_t bytes)
{
	__atomic_fetch_add(&at[0], 0, __ATOMIC_RELAXED);
	__atomic_fetch_add(&at[bytes - 1], 0, __ATOMIC_RELAXED);
}

/* What workers do while it is shown to them; the files are as long as they were. */
static void
guest_use(struct guest *guest)
{
	for (uint32_t i = 0; i < guest->memory.count; i++)
		touch(guest->memory.regions[i].host, guest->memory.regions[i].bytes);
	if (guest->log.bits)
		touch(guest->log.bits, guest->log.bytes);
	guest_open(guest);
	guest_arm(guest, true);
	guest_arm(guest, false);
	guest_notify(guest);
	guest_close(guest);
	if (bus_guard_lost(guest->guard))
		abort();
}

/* Only memory is mapped. */
static void
taken_check(const struct message *message, const struct files *files)
{
	if (message->request == SET_MEM_TABLE || message->request == SET_LOG_BASE)
		for (int i = 0; i < files->count; i++)
			if (!files->kinds[i]->is_memory)
				abort();
	if (message->request >= REQUEST_COUNT)
		abort();
}

/* @return whether the connection goes on. */
static bool
message_run(struct guest *guest, struct noise *noise)
{
	struct refusal why = { .text = "" };
	struct message message;
	struct files files;
	int handled = -EPROTO;

	message_make(noise, &message, &files);
	if (message_check_head(&message, &why))
		message_drop_files(&message);
	else
		handled = message_handle(guest, &message, &why);
	files_check(guest, &files);
	if ((handled < 0) != (why.text[0] != '\0'))
		abort();
	if (handled < 0)
		return false;
	taken_check(&message, &files);
	guest->complete |= guest_is_ready(guest);
	guest_use(guest);
	return true;
}

static int
lowest_free_handle(void)
{
	int handle = dup(STDERR_FILENO);

	close(handle);
	return handle;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct noise noise = { bytes, count };
	int before = lowest_free_handle();
	struct guest *guest = guest_create(VM_OFFLOADS_ALL);

	while (noise.left && message_run(guest, &noise))
		continue;
	guest_destroy(guest);
	if (lowest_free_handle() != before)
		abort();
	return 0;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int event = eventfd(0, EFD_CLOEXEC);

	(void)argc;
	(void)argv;
	if (bus_error_open())
		abort();
	call_signal(event); /* what it opens stays open */
	close(event);
	return 0;
}
