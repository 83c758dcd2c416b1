/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user messages: what each row of the table takes, what it refuses, and with which words. */
#include "model/offload.h"
#include "vhost/message.h"

#include "rows.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MEMORY_BYTES = 0x10000, USER = 0x7f000000 };

enum file { NO_FILE, MEMORY, EVENT, SOCKET, UNCONNECTED, NAMED, PIPE, FOLDER, DEVICE };

static int
file_make(enum file file)
{
	struct sockaddr_un named = { .sun_family = AF_UNIX };
	socklen_t name_bytes = sizeof(named);
	int ends[2], handle;

	switch (file) {
	case MEMORY:
		handle = memfd_create("guest", MFD_CLOEXEC);
		assert_int_equal(ftruncate(handle, MEMORY_BYTES), 0);
		return handle;
	case EVENT:
		return eventfd(0, EFD_CLOEXEC);
	case SOCKET:
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		close(ends[0]);
		return ends[1];
	case UNCONNECTED:
		return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	case NAMED: /* a connection, as the guest's own is */
		ends[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(ends[0], (struct sockaddr *)&named, sizeof(named.sun_family)), 0);
		assert_int_equal(getsockname(ends[0], (struct sockaddr *)&named, &name_bytes), 0);
		assert_int_equal(listen(ends[0], 1), 0);
		handle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(handle, (struct sockaddr *)&named, name_bytes), 0);
		close(ends[0]);
		return handle;
	case PIPE:
		assert_int_equal(pipe(ends), 0);
		close(ends[0]);
		return ends[1];
	case FOLDER:
		return open("/", O_DIRECTORY | O_CLOEXEC);
	case DEVICE:
		return open("/dev/zero", O_RDWR | O_CLOEXEC);
	default:
		return -1;
	}
}

static struct message_case {
	const char *name;
	uint32_t request, bytes;
	union {
		uint64_t numbers[6];
		uint32_t words[12];
	};
	enum file files[MESSAGE_FILES_MAX];
	const char *why;     /* NULL: it is taken */
	bool replies;
	uint64_t reply;      /* its first number */
} messages[] = {
	{ .name = "features", .request = GET_FEATURES, .replies = true,
	  .reply = 7ull << 54 | 1ull << 0 | 1ull << 1 | 1ull << 2 | 1ull << 3 | 1ull << 7 | 1ull << 8 | 1ull << 9 | 1ull << 11 | 1ull << 12 | 1ull << 13 | 1ull << 15 | 1ull << 17 | 1ull << 18 |
		   1ull << 19 | 1ull << 21 | 1ull << 23 | 1ull << 26 | 1ull << 27 | 1ull << 28 | 1ull << 29 | 1ull << 30 |
		   1ull << 32 | 1ull << 35 },
	{ .name = "features, with a payload", .request = GET_FEATURES, .bytes = 8, .why = "GET_FEATURES has 8 bytes" },
	{ .name = "features, with a file", .request = GET_FEATURES, .files = { EVENT },
	  .why = "GET_FEATURES came with 1 files" },
	{ .name = "features taken", .request = SET_FEATURES, .bytes = 8, .numbers = { 1ull << VIRTIO_F_VERSION_1 } },
	{ .name = "features, none", .request = SET_FEATURES, .bytes = 8 },
	{ .name = "features, half a number", .request = SET_FEATURES, .bytes = 4, .why = "SET_FEATURES has 4 bytes" },
	{ .name = "packed rings", .request = SET_FEATURES, .bytes = 8, .numbers = { 1ull << VIRTIO_F_RING_PACKED },
	  .why = "not offered: 0x400000000" },
	{ .name = "all features", .request = SET_FEATURES, .bytes = 8, .numbers = { UINT64_MAX },
	  .why = "not offered" },
	{ .name = "several queue pairs", .request = SET_FEATURES, .bytes = 8, .numbers = { 1ull << 22 },
	  .why = "not offered: 0x400000" },
	{ .name = "owner", .request = SET_OWNER },
	{ .name = "owner, with a file", .request = SET_OWNER, .files = { EVENT },
	  .why = "SET_OWNER came with 1 files" },
	{ .name = "owner leaves", .request = RESET_OWNER },
	{ .name = "protocol features", .request = GET_PROTOCOL_FEATURES, .replies = true,
	  .reply = 1 | 2 | 4 | 8 | 16 | 32 | 1 << 16 },
	{ .name = "protocol features taken", .request = SET_PROTOCOL_FEATURES, .bytes = 8,
	  .numbers = { 1 << PROTOCOL_REPLY_ACK } },
	{ .name = "inflight buffers", .request = SET_PROTOCOL_FEATURES, .bytes = 8, .numbers = { 1 << 12 },
	  .why = "protocol features that were not offered: 0x1000" },
	{ .name = "queue pairs", .request = GET_QUEUE_NUM, .replies = true, .reply = 1 },
	{ .name = "memory", .request = SET_MEM_TABLE, .bytes = 40, .numbers = { 1, 0, MEMORY_BYTES, USER, 0 },
	  .files = { MEMORY } },
	{ .name = "memory, with room for more", .request = SET_MEM_TABLE, .bytes = 72,
	  .numbers = { 1, 0, MEMORY_BYTES, USER, 0 }, .files = { MEMORY } },
	{ .name = "memory, none", .request = SET_MEM_TABLE, .bytes = 8 },
	{ .name = "memory without its file", .request = SET_MEM_TABLE, .bytes = 40,
	  .numbers = { 1, 0, MEMORY_BYTES, USER, 0 }, .why = "1 regions has 0 files" },
	{ .name = "memory cut short", .request = SET_MEM_TABLE, .bytes = 32,
	  .numbers = { 1, 0, MEMORY_BYTES, USER, 0 }, .files = { MEMORY }, .why = "1 regions has 1 files and 32 bytes" },
	{ .name = "memory, too many regions", .request = SET_MEM_TABLE, .bytes = 8, .numbers = { 9 },
	  .why = "9 memory regions, and at most 8" },
	{ .name = "memory, regions without end", .request = SET_MEM_TABLE, .bytes = 8, .numbers = { UINT32_MAX },
	  .why = "4294967295 memory regions" },
	{ .name = "memory of a device", .request = SET_MEM_TABLE, .bytes = 40,
	  .numbers = { 1, 0, MEMORY_BYTES, USER, 0 }, .files = { DEVICE }, .why = "not in tmpfs" },
	{ .name = "memory of an eventfd", .request = SET_MEM_TABLE, .bytes = 40,
	  .numbers = { 1, 0, MEMORY_BYTES, USER, 0 }, .files = { EVENT }, .why = "not in tmpfs" },
	{ .name = "log", .request = SET_LOG_BASE, .bytes = 16, .numbers = { 0x1000, 0x1000 }, .files = { MEMORY },
	  .replies = true },
	{ .name = "log without its file", .request = SET_LOG_BASE, .bytes = 16, .numbers = { 0x1000, 0 },
	  .why = "dirty log has 0 files" },
	{ .name = "log, longer than its file", .request = SET_LOG_BASE, .bytes = 16,
	  .numbers = { MEMORY_BYTES, 1 }, .files = { MEMORY }, .why = "not in its file" },
	{ .name = "log, enormous", .request = SET_LOG_BASE, .bytes = 16, .numbers = { UINT64_MAX, 0 },
	  .files = { MEMORY }, .why = "dirty log has 1 files" },
	{ .name = "log, a descriptor to tell of it", .request = SET_LOG_FD, .files = { EVENT } },
	{ .name = "ring of 256", .request = SET_VRING_NUM, .bytes = 8, .words = { 1, 256 } },
	{ .name = "ring of 1", .request = SET_VRING_NUM, .bytes = 8, .words = { 1, 1 } },
	{ .name = "ring of 32768", .request = SET_VRING_NUM, .bytes = 8, .words = { 1, 32768 } },
	{ .name = "ring of 0", .request = SET_VRING_NUM, .bytes = 8, .words = { 1, 0 }, .why = "a ring of 0 entries" },
	{ .name = "ring of 255", .request = SET_VRING_NUM, .bytes = 8, .words = { 1, 255 },
	  .why = "a ring of 255 entries" },
	{ .name = "ring of 65536", .request = SET_VRING_NUM, .bytes = 8, .words = { 1, 65536 },
	  .why = "a ring of 65536 entries" },
	{ .name = "size of ring 2", .request = SET_VRING_NUM, .bytes = 8, .words = { 2, 256 },
	  .why = "SET_VRING_NUM is for ring 2" },
	{ .name = "size of ring -1", .request = SET_VRING_NUM, .bytes = 8, .words = { UINT32_MAX, 256 },
	  .why = "for ring 4294967295" },
	{ .name = "addresses", .request = SET_VRING_ADDR, .bytes = 40, .words = { 1 } },
	{ .name = "addresses cut short", .request = SET_VRING_ADDR, .bytes = 32, .words = { 1 },
	  .why = "SET_VRING_ADDR has 32 bytes" },
	{ .name = "addresses of ring 2", .request = SET_VRING_ADDR, .bytes = 40, .words = { 2 },
	  .why = "SET_VRING_ADDR is for ring 2" },
	{ .name = "base", .request = SET_VRING_BASE, .bytes = 8, .words = { 0, 77 } },
	{ .name = "base of ring 2", .request = SET_VRING_BASE, .bytes = 8, .words = { 2, 77 },
	  .why = "SET_VRING_BASE is for ring 2" },
	{ .name = "where it stands", .request = GET_VRING_BASE, .bytes = 8, .words = { 1, 99 }, .replies = true,
	  .reply = 1 },
	{ .name = "where ring 2 stands", .request = GET_VRING_BASE, .bytes = 8, .words = { 2 },
	  .why = "GET_VRING_BASE is for ring 2" },
	{ .name = "kick", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 1 }, .files = { EVENT } },
	{ .name = "kick by a socket", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 1 }, .files = { SOCKET } },
	{ .name = "kick by a pipe", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 1 }, .files = { PIPE } },
	{ .name = "no kick", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 1 | MESSAGE_RING_HAS_NO_FILE } },
	{ .name = "kick that is missing", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 1 },
	  .why = "0 descriptors came where there should be 1" },
	{ .name = "kick that is not", .request = SET_VRING_KICK, .bytes = 8,
	  .numbers = { 1 | MESSAGE_RING_HAS_NO_FILE }, .files = { EVENT }, .why = "1 descriptors came where there should be 0" },
	{ .name = "two kicks", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 1 }, .files = { EVENT, EVENT },
	  .why = "SET_VRING_KICK came with 2 files" },
	{ .name = "kick by memory", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 1 }, .files = { MEMORY },
	  .why = "no eventfd, pipe or one of a pair" },
	{ .name = "kick by a folder", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 1 }, .files = { FOLDER },
	  .why = "no eventfd, pipe or one of a pair" },
	{ .name = "kick by a socket that is not connected", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 1 },
	  .files = { UNCONNECTED }, .why = "one of a pair" },
	{ .name = "kick by a connection", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 1 }, .files = { NAMED },
	  .why = "one of a pair" },
	{ .name = "kick of ring 2", .request = SET_VRING_KICK, .bytes = 8, .numbers = { 2 }, .files = { EVENT },
	  .why = "SET_VRING_KICK is for ring 2" },
	{ .name = "call", .request = SET_VRING_CALL, .bytes = 8, .numbers = { 0 }, .files = { EVENT } },
	{ .name = "call by a socket", .request = SET_VRING_CALL, .bytes = 8, .numbers = { 0 }, .files = { SOCKET } },
	{ .name = "call by a device", .request = SET_VRING_CALL, .bytes = 8, .numbers = { 0 }, .files = { DEVICE },
	  .why = "no eventfd, pipe or one of a pair" },
	{ .name = "no call", .request = SET_VRING_CALL, .bytes = 8, .numbers = { MESSAGE_RING_HAS_NO_FILE } },
	{ .name = "call of ring 255", .request = SET_VRING_CALL, .bytes = 8, .numbers = { 255 },
	  .files = { EVENT }, .why = "for ring 255" },
	{ .name = "a channel for requests", .request = SET_BACKEND_REQUEST, .files = { SOCKET } },
	{ .name = "a channel for requests, without it", .request = SET_BACKEND_REQUEST,
	  .why = "its channel for requests comes without a descriptor" },
	{ .name = "errors", .request = SET_VRING_ERR, .bytes = 8, .numbers = { 0 }, .files = { EVENT } },
	{ .name = "enable", .request = SET_VRING_ENABLE, .bytes = 8, .words = { 0, 1 } },
	{ .name = "enable ring 2", .request = SET_VRING_ENABLE, .bytes = 8, .words = { 2, 1 },
	  .why = "SET_VRING_ENABLE is for ring 2" },
	{ .name = "announce", .request = SEND_RARP, .bytes = 8, .numbers = { 0x0605040302 } },
	{ .name = "announce nothing", .request = SEND_RARP, .why = "SEND_RARP has 0 bytes" },
	{ .name = "MTU", .request = NET_SET_MTU, .bytes = 8, .numbers = { 1500 } },
	{ .name = "MTU, too small", .request = NET_SET_MTU, .bytes = 8, .numbers = { 67 }, .why = "an MTU of 67" },
	{ .name = "MTU, too big", .request = NET_SET_MTU, .bytes = 8, .numbers = { 65536 }, .why = "an MTU of 65536" },
	{ .name = "status", .request = SET_STATUS, .bytes = 8, .numbers = { 15 } },
	{ .name = "status asked", .request = GET_STATUS, .replies = true, .reply = 0 },
	{ .name = "request 0", .request = 0, .why = "request 0, which was not offered" },
	{ .name = "configuration, not agreed to", .request = GET_CONFIG, .bytes = 12 + 6, .words = { 0, 6, 0 },
	  .why = "a configuration that it did not agree to have" },
	{ .name = "configuration, half a request", .request = GET_CONFIG, .bytes = 11, .why = "GET_CONFIG has 11 bytes" },
	{ .name = "configuration written", .request = 25, .why = "request 25, which was not offered" },
	{ .name = "inflight buffers asked", .request = 31, .why = "request 31, which was not offered" },
	{ .name = "the next after the last", .request = REQUEST_COUNT, .why = "which was not offered" },
	{ .name = "the last there could be", .request = UINT32_MAX, .why = "which was not offered" },
};

static struct message
message_of(const struct message_case *row)
{
	struct message message = { .request = row->request, .flags = MESSAGE_VERSION, .bytes = row->bytes };

	memcpy(&message.number, row->numbers, sizeof(row->numbers));
	for (int i = 0; i < MESSAGE_FILES_MAX && row->files[i]; i++)
		message.files[message.file_count++] = file_make(row->files[i]);
	return message;
}

static int
lowest_free_handle(void)
{
	int handle = dup(STDERR_FILENO);

	close(handle);
	return handle;
}

static int
run(struct guest *guest, struct message *message, struct refusal *why)
{
	int error = message_check_head(message, why);

	if (!error)
		return message_handle(guest, message, why);
	message_drop_files(message);
	return error;
}

static void
message(void **state)
{
	const struct message_case *row = *state;
	struct guest *guest = guest_create(VM_OFFLOADS_ALL);
	int free_before = lowest_free_handle(), handled;
	struct message message = message_of(row);
	struct refusal why = { .text = "" };

	handled = run(guest, &message, &why);
	if (row->why) {
		assert_true(handled < 0);
		if (!strstr(why.text, row->why))
			fail_msg("\"%s\" is not in \"%s\"", row->why, why.text);
	} else {
		assert_int_equal(handled, row->replies);
		assert_string_equal(why.text, "");
	}
	if (row->replies && message.bytes)
		assert_true((row->bytes ? message.state.ring : message.number) == row->reply);
	assert_false(bus_guard_lost(guest->guard));
	guest_destroy(guest);
	assert_int_equal(lowest_free_handle(), free_before);
}

/* A reply that was asked for comes, and says that all is well. */
static void
acknowledged(void **state)
{
	struct guest *guest = guest_create(VM_OFFLOADS_ALL);
	struct message message = { .request = SET_OWNER, .flags = MESSAGE_VERSION | MESSAGE_NEED_REPLY };

	(void)state;
	assert_int_equal(run(guest, &message, NULL), 1);
	assert_int_equal(message.flags, MESSAGE_VERSION | MESSAGE_REPLY);
	assert_int_equal(message.bytes, sizeof(message.number));
	assert_int_equal(message.number, 0);
	guest_destroy(guest);
}

static struct version_case {
	const char *name;
	uint32_t flags;
	bool known;
} versions[] = {
	{ "version 0", 0, false },
	{ "version 1", 1, true },
	{ "version 2", 2, false },
	{ "version 3", 3, false },
	{ "version 1 and flags of tomorrow", 0xfffffff1, true },
};

static void
version(void **state)
{
	const struct version_case *row = *state;
	const struct message message = { .request = SET_OWNER, .flags = row->flags };

	assert_int_equal(message_check_head(&message, NULL) == 0, row->known);
}

static void
tell(struct guest *guest, uint32_t request, uint64_t a, uint64_t b, enum file file)
{
	struct message_case row = { .request = request, .bytes = 8, .numbers = { a | b << 32 }, .files = { file } };
	struct message message = message_of(&row);

	assert_true(run(guest, &message, NULL) >= 0);
}

/* Memory of one region, and both rings in it: descriptors, available ring and used ring of ring i from i * 0x4000 on. */
static struct guest *
guest_with_rings(void)
{
	struct message_case table = { .request = SET_MEM_TABLE, .bytes = 40, .numbers = { 1, 0, MEMORY_BYTES, USER, 0 },
				      .files = { MEMORY } };
	struct message message = message_of(&table);
	struct guest *guest = guest_create(VM_OFFLOADS_ALL);

	assert_int_equal(bus_error_open(), 0);
	assert_int_equal(run(guest, &message, NULL), 0);
	for (uint32_t ring = 0; ring < GUEST_RINGS; ring++) {
		uint64_t at = USER + ring * 0x4000;
		struct message_case addresses = { .request = SET_VRING_ADDR, .bytes = 40,
						  .numbers = { ring, at, at + 0x2000, at + 0x1000, 0 } };

		message = message_of(&addresses);
		assert_int_equal(run(guest, &message, NULL), 0);
		tell(guest, SET_VRING_NUM, ring, 256, NO_FILE);
		tell(guest, SET_VRING_BASE, ring, 7, NO_FILE);
		tell(guest, SET_VRING_KICK, ring, 0, EVENT);
	}
	return guest;
}

static void
a_ring_starts_without_being_enabled_only_if_that_was_not_agreed(void **state)
{
	struct guest *guest = guest_with_rings();

	(void)state;
	assert_true(guest_is_ready(guest));
	tell(guest, SET_FEATURES, 1u << FEATURE_PROTOCOL, 0, NO_FILE);
	assert_false(guest_is_ready(guest));
	tell(guest, SET_VRING_ENABLE, GUEST_RECEIVES, 1, NO_FILE);
	assert_false(guest_is_ready(guest));
	tell(guest, SET_VRING_ENABLE, GUEST_TRANSMITS, 1, NO_FILE);
	assert_true(guest_is_ready(guest));
	tell(guest, SET_PROTOCOL_FEATURES, 1u << PROTOCOL_STATUS, 0, NO_FILE);
	assert_false(guest_is_ready(guest));
	tell(guest, SET_STATUS, 3, 0, NO_FILE);
	assert_false(guest_is_ready(guest));
	tell(guest, SET_STATUS, 7, 0, NO_FILE);
	assert_true(guest_is_ready(guest));
	guest_destroy(guest);
}

static uint32_t
base_of(struct guest *guest, uint32_t ring)
{
	struct message_case ask = { .request = GET_VRING_BASE, .bytes = 8, .words = { ring } };
	struct message message = message_of(&ask);

	assert_int_equal(run(guest, &message, NULL), 1);
	return message.state.number;
}

static void
a_ring_that_stops_says_where(void **state)
{
	struct guest *guest = guest_with_rings();
	struct vring_used *used = guest_memory_of_user(&guest->memory, USER + 0x2000);

	(void)state;
	used->idx = 7;
	guest_open(guest);
	assert_true(guest->rings[GUEST_RECEIVES].open);
	guest->rings[GUEST_RECEIVES].available_next = guest->rings[GUEST_RECEIVES].used_next = 12;
	guest_close(guest);
	assert_int_equal(base_of(guest, GUEST_RECEIVES), 12);
	assert_false(guest_is_ready(guest));
	guest_destroy(guest);
}

/* The one that served it before died: what the guest was shown as used counts, not what the front-end remembers. */
static void
a_ring_goes_on_behind_what_was_used(void **state)
{
	struct guest *guest = guest_with_rings();
	struct vring_used *used = guest_memory_of_user(&guest->memory, USER + 0x2000);

	(void)state;
	used->idx = 5;
	guest_open(guest);
	assert_int_equal(guest->rings[GUEST_RECEIVES].available_next, 5);
	assert_int_equal(guest->rings[GUEST_RECEIVES].used_next, 5);
	guest_close(guest);
	used->idx = 6;
	guest_open(guest);
	assert_int_equal(guest->rings[GUEST_RECEIVES].used_next, 5);
	guest_close(guest);
	guest_destroy(guest);
}

static struct kick_case {
	const char *name;
	uint64_t flags;
	enum file file;
	int kicks;      /* what a worker gets that asks for kicks; 0: a descriptor */
	int afterwards; /* the same after it was woken */
} kicks[] = {
	{ "an eventfd", 0, EVENT, 0, 0 },
	{ "a socket whose other end has gone", 0, SOCKET, 0, KICKS_POLLED },
	{ "a pipe from which nothing can be read", 0, PIPE, 0, KICKS_POLLED },
	{ "none", MESSAGE_RING_HAS_NO_FILE, NO_FILE, KICKS_POLLED, KICKS_POLLED },
};

static void
kick(void **state)
{
	const struct kick_case *row = *state;
	struct guest *guest = guest_with_rings();

	tell(guest, SET_VRING_KICK, GUEST_TRANSMITS | row->flags, 0, row->file);
	guest_open(guest);
	assert_int_equal(row->kicks ? guest_arm(guest, true) : guest_arm(guest, true) < 0, row->kicks);
	guest_arm(guest, false);
	assert_int_equal(row->afterwards ? guest_arm(guest, true) : guest_arm(guest, true) < 0, row->afterwards);
	guest_close(guest);
	guest_destroy(guest);
}

static struct change_case {
	const char *name;
	uint64_t features;
	const char *why;
} changes[] = {
	{ "the same", 1ull << VIRTIO_F_VERSION_1, NULL },
	{ "a log begins", 1ull << VIRTIO_F_VERSION_1 | 1ull << VHOST_F_LOG_ALL, NULL },
	{ "another form of ring", 0, "while its rings are in use" },
};

static void
features_change(void **state)
{
	const struct change_case *row = *state;
	struct guest *guest = guest_create(VM_OFFLOADS_ALL);
	struct message_case change = { .request = SET_FEATURES, .bytes = 8, .numbers = { row->features } };
	struct message message = message_of(&change);
	struct refusal why = { .text = "" };

	guest->features = 1ull << VIRTIO_F_VERSION_1;
	guest->complete = true;
	assert_int_equal(run(guest, &message, &why) < 0, row->why != NULL);
	assert_non_null(strstr(why.text, row->why ? row->why : ""));
	guest_destroy(guest);
}

/* Who takes the device first is offered what its driver may read; who asks first, as QEMU does, has it himself. */
static void
configuration_is_for_owners(void **state)
{
	const uint64_t readable = 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_STATUS |
				  1ull << VIRTIO_NET_F_SPEED_DUPLEX;
	const struct message owner = { .request = SET_OWNER, .flags = MESSAGE_VERSION };

	(void)state;
	for (int owner_first = 0; owner_first < 2; owner_first++) {
		struct guest *guest = guest_create(VM_OFFLOADS_ALL);
		struct message message;

		guest->config.mac[5] = 1;
		message = owner;
		if (owner_first)
			assert_int_equal(run(guest, &message, NULL), 0);
		message = (struct message){ .request = GET_FEATURES, .flags = MESSAGE_VERSION };
		assert_int_equal(run(guest, &message, NULL), 1);
		assert_true((message.number & readable) == (owner_first ? readable : 0));
		message = owner;
		if (!owner_first)
			assert_int_equal(run(guest, &message, NULL), 0);
		message = (struct message){ .request = GET_PROTOCOL_FEATURES, .flags = MESSAGE_VERSION };
		assert_int_equal(run(guest, &message, NULL), 1);
		assert_int_equal(message.number >> PROTOCOL_CONFIG & 1, owner_first);
		guest_destroy(guest);
	}
}

/* Its filters may change between the two: it is not refused for that. */
static void
what_was_offered_may_be_taken(void **state)
{
	struct guest *guest = guest_create(VM_OFFLOADS_ALL);
	struct message message = { .request = SET_OWNER, .flags = MESSAGE_VERSION };

	(void)state;
	guest->config.mac[5] = 1;
	assert_int_equal(run(guest, &message, NULL), 0);
	message = (struct message){ .request = GET_FEATURES, .flags = MESSAGE_VERSION };
	assert_int_equal(run(guest, &message, NULL), 1);
	guest->config.mac[5] = 0;
	tell(guest, SET_FEATURES, 1u << VIRTIO_NET_F_MAC, 0, NO_FILE);
	assert_int_equal(guest->features, 1u << VIRTIO_NET_F_MAC);
	guest_destroy(guest);
}

static struct config_case {
	const char *name;
	uint32_t offset, bytes, payload; /* 0: as many as are asked for */
	const char *why;
} configs[] = {
	{ "the address", 0, 6, 0, NULL },
	{ "link and speed", 6, 14, 0, NULL },
	{ "all", 0, sizeof(struct virtio_net_config), 0, NULL },
	{ "more than there is", 4, 252, 0, NULL },
	{ "what is behind it", 252, 252, 0, NULL },
	{ "nothing", 0, 0, 0, NULL },
	{ "too much", 0, 253, 18, "it asked for 253 bytes at 0" },
	{ "far behind it", UINT32_MAX, 6, 0, "it asked for 6 bytes at 4294967295" },
	{ "more than it has room for", 0, 100, 18, "it asked for 100 bytes at 0" },
};

static void
config(void **state)
{
	const struct config_case *row = *state;
	struct guest *guest = guest_create(VM_OFFLOADS_ALL);
	uint8_t all[1024] = { 0 };
	struct message message = { .request = GET_CONFIG, .flags = MESSAGE_VERSION,
				   .bytes = row->payload ? row->payload : 12 + row->bytes,
				   .config = { row->offset, row->bytes, 0, { 0 } } };
	struct refusal why = { .text = "" };
	int handled;

	memset(&guest->config, 0x5a, sizeof(guest->config));
	memcpy(all, &guest->config, sizeof(guest->config));
	guest->protocol_features = 1ull << PROTOCOL_CONFIG;
	handled = run(guest, &message, &why);
	if (row->why) {
		assert_true(handled < 0);
		assert_non_null(strstr(why.text, row->why));
	} else {
		assert_int_equal(handled, 1);
		assert_int_equal(message.bytes, 12 + row->bytes);
		assert_memory_equal(message.config.region, all + row->offset, row->bytes);
	}
	guest_destroy(guest);
}

static void
all_is_forgotten_by_a_reset(void **state)
{
	struct guest *guest = guest_with_rings();
	struct message_case log = {
		.request = SET_LOG_BASE, .bytes = 16, .numbers = { 0x1000, 0 }, .files = { MEMORY }
	};
	struct message_case owner = { .request = RESET_OWNER };
	struct message message = message_of(&log);

	(void)state;
	assert_int_equal(run(guest, &message, NULL), 1);
	assert_non_null(guest->log.bits);
	message = message_of(&owner);
	assert_int_equal(run(guest, &message, NULL), 0);
	assert_null(guest->log.bits);
	assert_int_equal(guest->memory.count, 0);
	assert_false(guest_is_ready(guest));
	guest_open(guest);
	assert_false(guest->rings[GUEST_RECEIVES].open);
	guest_destroy(guest);
}

static void
feature_names(void **state)
{
	const char *names[VM_FEATURES_MAX + 1];

	(void)state;
	message_feature_names(1ull << VIRTIO_F_VERSION_1 | 1ull << VHOST_F_LOG_ALL, names);
	assert_string_equal(names[0], "log_all");
	assert_string_equal(names[1], "version_1");
	assert_null(names[2]);
}

/* A third ring is there for who has a control queue, and for nobody else. */
static void
control_queue(void **state)
{
	struct guest *guest = guest_create(VM_OFFLOADS_ALL);
	struct message size = { .request = SET_VRING_NUM, .flags = MESSAGE_VERSION, .bytes = 8,
				.state = { GUEST_CONTROL, 64 } };
	struct refusal why = { .text = "" };

	(void)state;
	assert_int_equal(run(guest, &size, &why), -EPROTO);
	guest->features = 1ull << VIRTIO_NET_F_CTRL_VQ;
	assert_int_equal(run(guest, &size, &why), 0);
	assert_int_equal(guest->setups[GUEST_CONTROL].entries, 64);
	size.state.ring = GUEST_CONTROL + 1;
	assert_int_equal(run(guest, &size, &why), -EPROTO);
	assert_non_null(strstr(why.text, "is for ring 3: 1 queue pair of 2 rings is served, and its control queue"));
	guest_destroy(guest);
}

int
main(void)
{
	static struct row_tests all;

	TEST(&all, control_queue);
	ROWS(&all, message, messages);
	ROWS(&all, config, configs);
	TEST(&all, configuration_is_for_owners);
	TEST(&all, what_was_offered_may_be_taken);
	ROWS(&all, version, versions);
	ROWS(&all, kick, kicks);
	ROWS(&all, features_change, changes);
	TEST(&all, acknowledged);
	TEST(&all, a_ring_starts_without_being_enabled_only_if_that_was_not_agreed);
	TEST(&all, a_ring_that_stops_says_where);
	TEST(&all, a_ring_goes_on_behind_what_was_used);
	TEST(&all, all_is_forgotten_by_a_reset);
	TEST(&all, feature_names);
	return row_tests_run("message", &all);
}
