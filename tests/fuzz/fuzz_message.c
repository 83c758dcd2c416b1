/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A front-end made of noise: its messages are the fuzzer's bytes, with files of every kind. librte_vhost is played by
 * what follows: it does what it is told if the message was called sound. Then whatever was let through can be mapped
 * and touched to its last byte, rings stay in memory, no descriptor is lost or closed twice, and nothing is believed of
 * memory that is gone.
 */
#include "vhost/call.h"
#include "vhost/guest.c" /* whole: the form of a message is its own */

#include <linux/vhost_types.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
	DEVICE = 0,
	REQUESTS = 48,               /* the last ones are nobody's */
	RING_HAS_NO_FILE = 1 << 8,
	LIBRARY_FAILS = 1 << 7,      /* flag of a message */
	MESSAGE_SET_FEATURES = 2,
	GUARD_BYTES = 0x10000,
};

/* What is left of the input. */
struct noise {
	const uint8_t *at;
	size_t left;
};

static void
noise_copy(struct noise *noise, void *to, size_t bytes)
{
	size_t some = RTE_MIN(noise->left, bytes);

	memset(to, 0, bytes);
	memcpy(to, noise->at, some);
	noise->at += some;
	noise->left -= some;
}

static uint8_t
noise8(struct noise *noise)
{
	uint8_t value;

	noise_copy(noise, &value, sizeof(value));
	return value;
}

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
	bool is_event;
};

static const struct file_kind file_kinds[] = {
	{ file_memory, true, false },   { file_shared, true, false }, { file_event, false, true },
	{ file_sealed, false, false },  { file_null, false, false },  { file_read_only, false, false },
	{ file_program, false, false }, { file_folder, false, false }, { file_socket, false, false },
	{ file_closed, false, false },
};

static const uint64_t file_sizes[] = { 0, 1, 0x1000, 0x10000, 0x10001, 0x100000, 1ull << 40, INT64_MAX };

/* librte_vhost, as far as a guest sees it. */
struct library {
	uint64_t features;
	bool has_memory;
	uint32_t regions_count;
	struct rte_vhost_mem_region regions[MESSAGE_FILES_MAX];
	struct rte_vhost_vring rings[GUEST_RINGS];
	uint16_t available_next[GUEST_RINGS], used_next[GUEST_RINGS];
	uint8_t *log;
	uint64_t log_bytes, log_offset;
};

static const struct library library_new = {
	.rings = { { .callfd = -1, .kickfd = -1 }, { .callfd = -1, .kickfd = -1 } },
};
static struct library library;

/* Linked with --wrap, as all that follow. */
int
__wrap_rte_vhost_get_mem_table(int device, struct rte_vhost_memory **memory)
{
	size_t bytes = library.regions_count * sizeof(library.regions[0]);

	if (device != DEVICE)
		abort();
	if (!library.has_memory)
		return -1;
	*memory = malloc(sizeof(**memory) + bytes);
	(*memory)->nregions = library.regions_count;
	memcpy((*memory)->regions, library.regions, bytes);
	return 0;
}

int
__wrap_rte_vhost_get_negotiated_features(int device, uint64_t *features)
{
	(void)device;
	*features = library.features;
	return 0;
}

int
__wrap_rte_vhost_get_vhost_vring(int device, uint16_t ring, struct rte_vhost_vring *vring)
{
	(void)device;
	*vring = library.rings[ring];
	return 0;
}

int
__wrap_rte_vhost_get_vring_base(int device, uint16_t ring, uint16_t *available_next, uint16_t *used_next)
{
	(void)device;
	*available_next = library.available_next[ring];
	*used_next = library.used_next[ring];
	return 0;
}

int
__wrap_rte_vhost_set_vring_base(int device, uint16_t ring, uint16_t available_next, uint16_t used_next)
{
	(void)device;
	library.available_next[ring] = available_next;
	library.used_next[ring] = used_next;
	return 0;
}

/* It counts the offset twice. */
int
__wrap_rte_vhost_get_log_base(int device, uint64_t *base, uint64_t *bytes)
{
	(void)device;
	*base = library.log ? (uintptr_t)library.log + library.log_offset : 0;
	*bytes = library.log_bytes;
	return 0;
}

/* With nothing behind it, and what was promised is tried. */
static uint8_t *
map_and_touch(int handle, uint64_t offset, uint64_t bytes)
{
	const int guard = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, file = MAP_SHARED | MAP_FIXED;
	uint8_t *at = mmap(NULL, bytes + GUARD_BYTES, PROT_NONE, guard, -1, 0);

	if (at == MAP_FAILED || mmap(at, bytes, PROT_READ | PROT_WRITE, file, handle, (off_t)offset) == MAP_FAILED)
		abort();
	__atomic_fetch_add(&at[0], 0, __ATOMIC_RELAXED);
	__atomic_fetch_add(&at[bytes - 1], 0, __ATOMIC_RELAXED);
	return at;
}

static void
forget_memory(void)
{
	for (uint32_t i = 0; i < library.regions_count; i++)
		munmap(library.regions[i].mmap_addr, library.regions[i].mmap_size + GUARD_BYTES);
	for (enum guest_ring ring = 0; ring < GUEST_RINGS; ring++) {
		library.rings[ring].desc = NULL;
		library.rings[ring].avail = NULL;
		library.rings[ring].used = NULL;
	}
	library.regions_count = 0;
	library.has_memory = false;
}

static void
forget_log(void)
{
	if (library.log)
		munmap(library.log, library.log_bytes + GUARD_BYTES);
	library.log = NULL;
}

static void
ring_file_put(int *kept, int handle)
{
	if (*kept >= 0)
		close(*kept);
	*kept = handle;
}

static void
library_end(void)
{
	forget_memory();
	forget_log();
	for (enum guest_ring ring = 0; ring < GUEST_RINGS; ring++) {
		ring_file_put(&library.rings[ring].callfd, -1);
		ring_file_put(&library.rings[ring].kickfd, -1);
	}
}

static bool
take_features(struct guest *guest, struct message *message)
{
	(void)guest;
	library.features = message->number & ~(UINT64_C(1) << 34); /* VIRTIO_F_RING_PACKED is not offered */
	return true;
}

static bool
take_reset(struct guest *guest, struct message *message)
{
	(void)guest;
	(void)message;
	forget_memory();
	forget_log();
	return true;
}

/* Files are mapped from their start on. */
static bool
take_memory(struct guest *guest, struct message *message)
{
	(void)guest;
	forget_memory();
	if (message->flags & LIBRARY_FAILS)
		return false;
	for (uint32_t i = 0; i < message->memory.count; i++) {
		struct message_region region = message->memory.regions[i];
		uint8_t *at = map_and_touch(message->files[i], 0, region.offset + region.bytes);

		library.regions[library.regions_count++] = (struct rte_vhost_mem_region){
			.guest_phys_addr = region.guest,
			.guest_user_addr = region.user,
			.host_user_addr = (uintptr_t)at + region.offset,
			.size = region.bytes,
			.mmap_addr = at,
			.mmap_size = region.offset + region.bytes,
		};
	}
	library.has_memory = true;
	return true;
}

/* The log is mapped from its offset on. */
static bool
take_log(struct guest *guest, struct message *message)
{
	(void)guest;
	forget_log();
	if (message->flags & LIBRARY_FAILS || message->log.offset % (uint64_t)sysconf(_SC_PAGESIZE))
		return false;
	library.log_offset = message->log.offset;
	library.log_bytes = message->log.bytes;
	library.log = map_and_touch(message->files[0], library.log_offset, library.log_bytes);
	return true;
}

/* A guest's ring need not fit in behind its address: librte_vhost's own checks are left to the guest here. */
static void *
host_of(uint64_t user)
{
	for (uint32_t i = 0; i < library.regions_count; i++) {
		uint64_t offset = user - library.regions[i].guest_user_addr;

		if (offset < library.regions[i].size)
			return (void *)(uintptr_t)(library.regions[i].host_user_addr + offset);
	}
	return NULL;
}

static bool
take_ring_addresses(struct guest *guest, struct message *message)
{
	struct rte_vhost_vring *vring = &library.rings[message->ring];
	struct vhost_vring_addr {
		uint32_t ring, flags;
		uint64_t descriptors, used, available, log;
	} addresses;

	(void)guest;
	memcpy(&addresses, message->payload, sizeof(addresses));
	vring->desc = host_of(addresses.descriptors);
	vring->used = host_of(addresses.used);
	vring->avail = host_of(addresses.available);
	vring->log_guest_addr = addresses.flags & 1 ? addresses.log : 0;
	return true;
}

static uint32_t
second_number(const struct message *message)
{
	uint32_t numbers[2];

	memcpy(numbers, message->payload, sizeof(numbers));
	return numbers[1];
}

static bool
take_ring_size(struct guest *guest, struct message *message)
{
	(void)guest;
	library.rings[message->ring].size = (uint16_t)second_number(message);
	return true;
}

static bool
take_ring_base(struct guest *guest, struct message *message)
{
	(void)guest;
	library.available_next[message->ring] = library.used_next[message->ring] = (uint16_t)second_number(message);
	return true;
}

static bool
take_ring_enable(struct guest *guest, struct message *message)
{
	guest->enabled[message->ring] = second_number(message);
	return true;
}

static bool
take_ring_file(struct guest *guest, struct message *message)
{
	struct rte_vhost_vring *vring = &library.rings[message->number & MESSAGE_RING_MASK];
	bool has_file = !(message->number & RING_HAS_NO_FILE);

	(void)guest;
	if (message->file_count != has_file)
		return false;
	ring_file_put(message->request == MESSAGE_SET_VRING_CALL ? &vring->callfd : &vring->kickfd,
		      has_file ? message->files[0] : -1);
	message->file_count = 0;
	return true;
}

static bool (*const takers[REQUESTS])(struct guest *, struct message *) = {
	[MESSAGE_SET_FEATURES] = take_features,     [MESSAGE_RESET_OWNER] = take_reset,
	[MESSAGE_SET_MEM_TABLE] = take_memory,      [MESSAGE_SET_LOG_BASE] = take_log,
	[MESSAGE_SET_VRING_NUM] = take_ring_size,   [MESSAGE_SET_VRING_ADDR] = take_ring_addresses,
	[MESSAGE_SET_VRING_BASE] = take_ring_base,  [MESSAGE_SET_VRING_KICK] = take_ring_file,
	[MESSAGE_SET_VRING_CALL] = take_ring_file,  [MESSAGE_SET_VRING_ENABLE] = take_ring_enable,
};

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
	message->flags = noise8(noise);
	files->count = message->file_count = noise8(noise) % (MESSAGE_FILES_MAX + 1);
	for (int i = 0; i < files->count; i++) {
		uint8_t what = noise8(noise);

		files->kinds[i] = &file_kinds[what / RTE_DIM(file_sizes) % RTE_DIM(file_kinds)];
		files->handles[i] = files->kinds[i]->make(file_sizes[what % RTE_DIM(file_sizes)]);
		message->files[i] = files->handles[i];
	}
	message->size = RTE_MIN(noise8(noise) * 4u, (uint32_t)MESSAGE_PAYLOAD_BYTES);
	noise_copy(noise, message->payload, message->size);
}

static void
files_check(const struct files *files, bool are_open)
{
	for (int i = 0; i < files->count; i++)
		if (files->kinds[i]->make != file_closed && (fcntl(files->handles[i], F_GETFD) >= 0) != are_open)
			abort();
}

/* Whether files are of the right kind; that they can be mapped will be seen. */
static void
sound_check(const struct message *message, const struct files *files)
{
	bool maps = message->request == MESSAGE_SET_MEM_TABLE || message->request == MESSAGE_SET_LOG_BASE;
	bool signals = message->request == MESSAGE_SET_VRING_KICK || message->request == MESSAGE_SET_VRING_CALL;

	for (int i = 0; i < files->count; i++)
		if ((maps && !files->kinds[i]->is_memory) || (signals && files->count == 1 && !files->kinds[i]->is_event))
			abort();
	if (message->request >= REQUESTS)
		abort();
}

static void
message_refuse(struct message *message, const struct files *files)
{
	guest_message_refuse(message);
	if (message->file_count || message->flags & MESSAGE_NEED_REPLY)
		abort();
	files_check(files, false);
}

/* While it is shown to workers. */
static void
guest_use(struct guest *guest)
{
	guest_open(guest);
	guest_arm(guest, true);
	guest_arm(guest, false);
	guest_close(guest);
}

/* @return whether the connection goes on. */
static bool
message_take(struct guest *guest, struct message *message)
{
	bool taken = !takers[message->request] || takers[message->request](guest, message);

	for (int i = 0; i < message->file_count; i++)
		close(message->files[i]);
	if (!taken)
		return message->flags & MESSAGE_NEED_REPLY;
	guest_message_ends(guest, message);
	if (guest->memory_known)
		guest_use(guest);
	return true;
}

static bool
message_run(struct guest *guest, struct noise *noise)
{
	struct message message;
	struct files files;
	bool goes_on = false;

	message_make(noise, &message, &files);
	guest_message_begins(guest, &message);
	if (guest_message_is_sound(&message)) {
		files_check(&files, true);
		sound_check(&message, &files);
		goes_on = message_take(guest, &message);
	} else {
		message_refuse(&message, &files);
	}
	if ((guest->memory_known && !library.has_memory) || (guest->log_known && !library.log))
		abort();
	return goes_on;
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
	struct guest *guest = guest_create(DEVICE, NULL);

	library = library_new;
	while (noise.left && message_run(guest, &noise))
		continue;
	guest_destroy(guest);
	library_end();
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
	call_signal(event); /* what it opens stays open */
	close(event);
	return 0;
}
