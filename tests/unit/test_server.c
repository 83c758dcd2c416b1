/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user server on a loop that the test turns by hand: who owns a port, who is ended and why, and what makes
 * workers let go of a guest. Front-ends are sockets that the test writes to; time passes when the test says so.
 */
#include "vhost/message.h"
#include "vhost/port.h"

#include "rows.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	SOURCES_MAX = 256,
	MEMORY_BYTES = 0x10000,
	USER = 0x7f000000,
	SILENCE_MS = 30000,
	PATIENCE_MS = 200,
	CONNECTIONS_MAX = 32,
};

/* The loop */

struct loop_source {
	loop_call *call;     /* NULL: free */
	void *argument;
	int handle;          /* -1: a timer */
	unsigned due_ms;     /* 0: not armed */
};

static struct loop_source sources[SOURCES_MAX];

static struct loop_source *
source_add(void *ctx, int handle, loop_call *call, void *argument)
{
	(void)ctx;
	for (size_t i = 0; i < SOURCES_MAX; i++) {
		if (sources[i].call)
			continue;
		sources[i] = (struct loop_source){ call, argument, handle, 0 };
		return &sources[i];
	}
	return NULL;
}

static struct loop_source *
timer_add(void *ctx, loop_call *call, void *argument)
{
	return source_add(ctx, -1, call, argument);
}

static void
timer_arm(struct loop_source *timer, unsigned milliseconds)
{
	timer->due_ms = milliseconds;
}

static void
source_cancel(struct loop_source *source)
{
	if (source)
		source->call = NULL;
}

/* Until nothing is readable any more. */
static void
turn(void)
{
	for (bool any = true; any;) {
		any = false;
		for (size_t i = 0; i < SOURCES_MAX; i++) {
			struct pollfd wait = { .fd = sources[i].handle, .events = POLLIN };

			if (!sources[i].call || sources[i].handle < 0 || poll(&wait, 1, 0) <= 0)
				continue;
			sources[i].call(sources[i].argument);
			any = true;
		}
	}
}

static void
pass(unsigned milliseconds)
{
	turn();
	for (size_t i = 0; i < SOURCES_MAX; i++) {
		struct loop_source *timer = &sources[i];

		if (!timer->call || timer->handle >= 0 || !timer->due_ms)
			continue;
		timer->due_ms -= timer->due_ms < milliseconds ? timer->due_ms : milliseconds;
		if (!timer->due_ms)
			timer->call(timer->argument);
	}
	turn();
}

/* Workers: how often they were waited for, and what they would have found then. */

static struct {
	unsigned waits, wakes, changes;
} workers;

static void
count(void *ctx)
{
	++*(unsigned *)ctx;
}

static void
wait_for_workers(void *ctx)
{
	(void)ctx;
	workers.waits++;
}

static void
wake_workers(void *ctx)
{
	(void)ctx;
	workers.wakes++;
}

static struct vhost_context context = {
	.grace = { .wait = wait_for_workers, .wake = wake_workers },
	.loop = { source_add, timer_add, timer_arm, source_cancel, NULL },
	.changed = count,
	.changed_ctx = &workers.changes,
};

/* A port, and front-ends */

static char folder[] = "/tmp/test_server.XXXXXX";
static struct vhost_port *port;
static struct adapter adapter;
static struct vm vm; /* as long as the port is open */

static void
port_open(enum vm_mode mode)
{
	struct refusal why;

	vm = (struct vm){ .mode = mode, .name = "web", .adapter = &adapter, .offloads = VM_OFFLOADS_ALL };
	memset(&workers, 0, sizeof(workers));
	snprintf(vm.socket, sizeof(vm.socket), "%s/socket", folder);
	if (vhost_vm_ops.open(&context, &vm, (void **)&port, &why))
		fail_msg("%s", why.text);
}

static void
port_close(void)
{
	vhost_vm_ops.close(port);
	for (size_t i = 0; i < SOURCES_MAX; i++)
		assert_null(sources[i].call);
}

static struct sockaddr_un
address(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
	return address;
}

static int
front_end(void)
{
	const struct sockaddr_un to = address();
	int handle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(handle, (const struct sockaddr *)&to, sizeof(to)), 0);
	turn();
	return handle;
}

static bool
is_ended(int handle)
{
	char byte;

	turn();
	return recv(handle, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 || errno == ECONNRESET;
}

/* @param file  -1: none; else it is closed here. */
static void
say(int handle, uint32_t request, const void *payload, uint32_t bytes, int file)
{
	uint32_t head[3] = { request, MESSAGE_VERSION, bytes };
	struct iovec parts[] = { { head, sizeof(head) }, { (void *)payload, bytes } };
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct msghdr header = { .msg_iov = parts, .msg_iovlen = 2 };
	struct cmsghdr *rights = (struct cmsghdr *)control;

	if (file >= 0) {
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		*rights = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
					    .cmsg_type = SCM_RIGHTS,
					    .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(rights), &file, sizeof(file));
	}
	sendmsg(handle, &header, MSG_NOSIGNAL);
	if (file >= 0)
		close(file);
	turn();
}

static void
say_number(int handle, uint32_t request, uint64_t number, int file)
{
	say(handle, request, &number, sizeof(number), file);
}

static void
say_state(int handle, uint32_t request, uint32_t ring, uint32_t number)
{
	const uint32_t state[] = { ring, number };

	say(handle, request, state, sizeof(state), -1);
}

static void
set_up_ring(int handle, uint32_t ring)
{
	const uint64_t at = USER + ring * 0x4000, addresses[] = { ring, at, at + 0x2000, at + 0x1000, 0 };

	say_state(handle, SET_VRING_NUM, ring, 256);
	say_state(handle, SET_VRING_BASE, ring, 0);
	say(handle, SET_VRING_ADDR, addresses, sizeof(addresses), -1);
	say_number(handle, SET_VRING_CALL, ring, eventfd(0, 0));
	say_number(handle, SET_VRING_KICK, ring, eventfd(0, 0));
}

static void
share_memory(int handle)
{
	const uint64_t table[] = { 1, 0, MEMORY_BYTES, USER, 0 };
	int file = memfd_create("guest", 0);

	assert_int_equal(ftruncate(file, MEMORY_BYTES), 0);
	say(handle, SET_MEM_TABLE, table, sizeof(table), file);
}

static void
complete(int handle)
{
	share_memory(handle);
	set_up_ring(handle, 0);
	set_up_ring(handle, 1);
}

static struct vm_status
status(void)
{
	struct vm_status status;

	vhost_vm_ops.status(port, &status);
	return status;
}

static void
assert_why(const char *words)
{
	if (!strstr(status().why, words))
		fail_msg("\"%s\" is not in \"%s\"", words, status().why);
}

/* Tests */

static void
one_guest_owns_the_port_and_the_next_waits(void **state)
{
	int first, second, third;

	(void)state;
	port_open(VM_MODE_SERVER);
	first = front_end();
	second = front_end();
	third = front_end();
	assert_false(status().connected);
	complete(second);
	assert_true(status().connected);
	assert_int_equal(workers.wakes, 1);
	complete(third);
	complete(first);
	assert_int_equal(workers.wakes, 1);
	assert_int_equal(workers.waits, 0);
	close(second);
	turn();
	assert_true(status().connected);
	assert_int_equal(workers.waits, 1);
	assert_int_equal(workers.wakes, 2);
	close(third);
	turn();
	assert_int_equal(workers.waits, 1);
	close(first);
	turn();
	assert_false(status().connected);
	assert_null(port->live);
	port_close();
}

static void
what_was_offered_and_taken_is_shown(void **state)
{
	int handle;

	(void)state;
	port_open(VM_MODE_SERVER);
	assert_string_equal(status().offered[0], "csum");
	assert_null(status().taken[0]);
	handle = front_end();
	say_number(handle, SET_FEATURES, 1ull << 32 | 1ull << 15, -1);
	complete(handle);
	assert_string_equal(status().taken[0], "mrg_rxbuf");
	assert_string_equal(status().taken[1], "version_1");
	assert_null(status().taken[2]);
	close(handle);
	port_close();
}

/* Whether a message of the guest that is shown has to wait for workers. */
static struct wait_case {
	const char *name;
	uint32_t request;
	uint32_t bytes;
	uint64_t number;
	unsigned waits;
} wait_cases[] = {
	{ "features asked", GET_FEATURES, 0, 0, 0 },
	{ "protocol features asked", GET_PROTOCOL_FEATURES, 0, 0, 0 },
	{ "queue pairs asked", GET_QUEUE_NUM, 0, 0, 0 },
	{ "owner", SET_OWNER, 0, 0, 0 },
	{ "MTU", NET_SET_MTU, 8, 1500, 0 },
	{ "status asked", GET_STATUS, 0, 0, 0 },
	{ "the same features", SET_FEATURES, 8, 0, 1 },
	{ "base", SET_VRING_BASE, 8, 0, 1 },
	{ "no call any more", SET_VRING_CALL, 8, MESSAGE_RING_HAS_NO_FILE, 1 },
	{ "no kick any more", SET_VRING_KICK, 8, MESSAGE_RING_HAS_NO_FILE, 1 },
	{ "a ring is enabled", SET_VRING_ENABLE, 8, 1ull << 32, 1 },
	{ "announce", SEND_RARP, 8, 0, 1 },
};

static void
wait_case(void **state)
{
	const struct wait_case *row = *state;
	int handle;

	port_open(VM_MODE_SERVER);
	handle = front_end();
	complete(handle);
	assert_non_null(port->live);
	say(handle, row->request, &row->number, row->bytes, -1);
	assert_int_equal(workers.waits, row->waits);
	assert_non_null(port->live);
	assert_true(status().connected);
	close(handle);
	port_close();
}

static void
a_guest_that_stops_leaves_the_port(void **state)
{
	int first, second;

	(void)state;
	port_open(VM_MODE_SERVER);
	first = front_end();
	second = front_end();
	complete(first);
	complete(second);
	assert_ptr_equal(port->owner, TAILQ_FIRST(&port->connections));
	say_state(first, GET_VRING_BASE, 0, 0);
	assert_ptr_equal(port->owner, TAILQ_LAST(&port->connections, connections));
	set_up_ring(first, 0);
	assert_ptr_equal(port->owner, TAILQ_LAST(&port->connections, connections));
	say_state(second, GET_VRING_BASE, 1, 0);
	assert_ptr_equal(port->owner, TAILQ_FIRST(&port->connections));
	close(first);
	close(second);
	port_close();
}

static void
a_message_may_come_byte_by_byte(void **state)
{
	const uint32_t words[] = { SET_VRING_NUM, MESSAGE_VERSION, 8, 1, 512 };
	int handle;

	(void)state;
	port_open(VM_MODE_SERVER);
	handle = front_end();
	complete(handle);
	for (size_t i = 0; i < sizeof(words); i++) {
		assert_int_equal(send(handle, (const char *)words + i, 1, 0), 1);
		pass(1);
	}
	assert_int_equal(port->live->setups[1].entries, 512);
	pass(SILENCE_MS);
	assert_true(status().connected);
	close(handle);
	port_close();
}

static struct unfinished_case {
	const char *name;
	size_t bytes;   /* of a message of 20 */
	unsigned ms;    /* after which it is ended, and not before */
	const char *why;
} unfinished[] = {
	{ "not a word", 0, SILENCE_MS, "says nothing" },
	{ "a byte", 1, PATIENCE_MS, "in the middle of a message" },
	{ "a head", 12, PATIENCE_MS, "in the middle of a message" },
	{ "all but a byte", 19, PATIENCE_MS, "in the middle of a message" },
};

static void
unfinished_case(void **state)
{
	const struct unfinished_case *row = *state;
	const uint32_t words[] = { SET_VRING_NUM, MESSAGE_VERSION, 8, 1, 512 };
	int handle;

	port_open(VM_MODE_SERVER);
	handle = front_end();
	send(handle, words, row->bytes, 0);
	turn();
	pass(row->ms - 1);
	assert_false(is_ended(handle));
	pass(1);
	assert_true(is_ended(handle));
	assert_why(row->why);
	close(handle);
	port_close();
}

/* At its boot menu, say. */
static void
a_front_end_that_spoke_may_be_silent_for_long(void **state)
{
	int handle;

	(void)state;
	port_open(VM_MODE_SERVER);
	handle = front_end();
	say(handle, GET_FEATURES, NULL, 0, -1);
	pass(100 * SILENCE_MS);
	complete(handle);
	assert_true(status().connected);
	close(handle);
	port_close();
}

static void
silent_ones_make_way(void **state)
{
	int owner, early, silent[2 * CONNECTIONS_MAX], late;

	(void)state;
	port_open(VM_MODE_SERVER);
	owner = front_end();
	complete(owner);
	early = front_end();
	say(early, GET_FEATURES, NULL, 0, -1);
	for (int i = 0; i < 2 * CONNECTIONS_MAX; i++)
		silent[i] = front_end();
	assert_int_equal(port->connection_count, CONNECTIONS_MAX);
	late = front_end();
	complete(late);
	assert_true(status().connected);
	assert_false(is_ended(owner));
	assert_true(is_ended(silent[0]));
	assert_why("the idlest");
	close(owner);
	turn();
	assert_true(status().connected);
	close(late);
	complete(early);
	assert_true(status().connected);
	for (int i = 0; i < 2 * CONNECTIONS_MAX; i++)
		close(silent[i]);
	close(early);
	port_close();
}

static struct refused_case {
	const char *name;
	uint32_t request, bytes;
	const char *why;
} refused[] = {
	{ "a request that was not offered", 31, 0, "request 31, which was not offered" },
	{ "a payload without end", SET_OWNER, UINT32_MAX, "SET_OWNER has 4294967295 bytes" },
	{ "a ring that is not served", SET_VRING_ENABLE, 8, "for ring 7" },
};

static void
refused_case(void **state)
{
	const struct refused_case *row = *state;
	const uint32_t words[] = { row->request, MESSAGE_VERSION, row->bytes, 7, 7 };
	int handle, next;

	port_open(VM_MODE_SERVER);
	handle = front_end();
	complete(handle);
	send(handle, words, row->bytes == 8 ? 20 : 12, 0);
	assert_true(is_ended(handle));
	assert_why(row->why);
	assert_null(port->live);
	next = front_end();
	pass(1000);
	complete(next);
	assert_true(status().connected);
	assert_string_equal(status().why, "");
	close(handle);
	close(next);
	port_close();
}

static void
who_does_not_read_is_ended(void **state)
{
	int handle;

	(void)state;
	port_open(VM_MODE_SERVER);
	handle = front_end();
	for (int i = 0; i < 100000 && port->connection_count; i++)
		say(handle, GET_FEATURES, NULL, 0, -1);
	assert_int_equal(port->connection_count, 0);
	assert_why("does not read");
	close(handle);
	port_close();
}

static unsigned
rest_ms(void)
{
	return port->timer->due_ms;
}

/* QEMU with more queues than are served connects again at once. */
static void
who_comes_to_nothing_again_and_again_is_not_hurried_after(void **state)
{
	unsigned before = 0;
	int handle;

	(void)state;
	port_open(VM_MODE_SERVER);
	for (int i = 0; i < 10; i++) {
		handle = front_end();
		pass(1000);
		say(handle, GET_FEATURES, NULL, 0, -1);
		close(handle);
		turn();
		assert_true(rest_ms() >= before && rest_ms() > 0 && rest_ms() <= 100);
		before = rest_ms();
	}
	handle = front_end();
	pass(1000);
	complete(handle);
	assert_true(status().connected);
	close(handle);
	turn();
	assert_int_equal(rest_ms(), 0);
	port_close();
}

static int
listener(void)
{
	const struct sockaddr_un at = address();
	int handle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(handle, (const struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(handle, 8), 0);
	return handle;
}

static void
a_client_tries_again_less_and_less_often(void **state)
{
	int listens, handle;

	(void)state;
	port_open(VM_MODE_CLIENT);
	assert_why("No such file");
	assert_int_equal(rest_ms(), 10);
	for (int i = 0; i < 10; i++)
		pass(rest_ms());
	assert_int_equal(rest_ms(), 1000);
	listens = listener();
	pass(1000);
	handle = accept(listens, NULL, NULL);
	assert_true(handle >= 0);
	complete(handle);
	assert_true(status().connected);
	assert_string_equal(status().why, "");
	close(handle);
	turn();
	assert_int_equal(rest_ms(), 10);
	for (int i = 0; i < 20; i++) {
		pass(rest_ms());
		close(accept(listens, NULL, NULL));
		turn();
	}
	assert_int_equal(rest_ms(), 1000);
	close(listens);
	port_close();
	unlink(address().sun_path);
}

static void
a_socket_of_another_is_left_alone(void **state)
{
	struct vm vm = { .mode = VM_MODE_SERVER, .name = "web", .adapter = &adapter, .offloads = VM_OFFLOADS_ALL };
	struct refusal why;
	void *opened;
	int listens = listener();

	(void)state;
	snprintf(vm.socket, sizeof(vm.socket), "%s/socket", folder);
	assert_int_equal(vhost_vm_ops.open(&context, &vm, &opened, &why), -EADDRINUSE);
	close(listens);
	port_open(VM_MODE_SERVER);
	port_close();
	assert_int_equal(access(vm.socket, F_OK), -1);
}

int
main(void)
{
	static struct row_tests all;
	int failed;

	if (!mkdtemp(folder))
		return 1;
	ROWS(&all, wait_case, wait_cases);
	ROWS(&all, unfinished_case, unfinished);
	ROWS(&all, refused_case, refused);
	TEST(&all, one_guest_owns_the_port_and_the_next_waits);
	TEST(&all, what_was_offered_and_taken_is_shown);
	TEST(&all, a_guest_that_stops_leaves_the_port);
	TEST(&all, a_message_may_come_byte_by_byte);
	TEST(&all, a_front_end_that_spoke_may_be_silent_for_long);
	TEST(&all, silent_ones_make_way);
	TEST(&all, who_does_not_read_is_ended);
	TEST(&all, who_comes_to_nothing_again_and_again_is_not_hurried_after);
	TEST(&all, a_client_tries_again_less_and_less_often);
	TEST(&all, a_socket_of_another_is_left_alone);
	failed = row_tests_run("server", &all);
	rmdir(folder);
	return failed;
}
