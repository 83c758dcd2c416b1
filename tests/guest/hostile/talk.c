/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said on the socket: too much, too little, too often, in the wrong order. */
#include "attack.h"
#include "cue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	CONNECTIONS = 1000,
	RING_NUMBERS = 256,  /* that a message can name */
	STOPPED_CONNECTIONS = 20,
	HOARDERS = 3,        /* connections: more than 1024 descriptors */
	MESSAGES = 3000,
};

static void
run_until_told(struct guest *guest)
{
	guest_is_heard(guest);
	cue_wait();
}

/* Started, so that there is something to lose. */
static void
say_bytes(const struct guest *guest, const void *bytes, size_t count)
{
	if (send(guest->socket, bytes, count, MSG_NOSIGNAL) != (ssize_t)count)
		cannot("say %zu bytes", count);
}

/* What was not read lies in the way of what is said next: read it all. */
static void
forget_answers(const struct guest *guest)
{
	char answers[4096];

	while (recv(guest->socket, answers, sizeof(answers), MSG_DONTWAIT) > 0)
		;
}

static void
stops_in_a_header(struct guest *guest)
{
	const struct message message = { .request = SET_VRING_NUM, .flags = VERSION, .bytes = 8 };

	guest_begin(guest);
	say_bytes(guest, &message, 5);
	cue_wait();
}

static void
stops_before_a_payload(struct guest *guest)
{
	const struct message message = { .request = SET_VRING_NUM, .flags = VERSION, .bytes = 8 };

	guest_begin(guest);
	say_bytes(guest, &message, MESSAGE_HEAD_BYTES);
	cue_wait();
}

static void
stops_in_a_payload(struct guest *guest)
{
	const struct message message = { .request = SET_VRING_NUM, .flags = VERSION, .bytes = 8 };

	guest_begin(guest);
	say_bytes(guest, &message, MESSAGE_HEAD_BYTES + 3);
	cue_wait();
}

/* As many such connections as vmqd lets it have, each replaced when vmqd loses its patience. */
static void
stops_without_end(struct guest *guest)
{
	const struct message message = { .request = SET_VRING_NUM, .flags = VERSION, .bytes = 8 };
	struct pollfd unfinished[STOPPED_CONNECTIONS];

	for (int i = 0; i < STOPPED_CONNECTIONS; i++)
		unfinished[i] = (struct pollfd){ .fd = -1, .revents = POLLHUP };
	guest_begin(guest);
	while (cue_go_on()) {
		for (int i = 0; i < STOPPED_CONNECTIONS; i++) {
			if (!(unfinished[i].revents & POLLHUP))
				continue;
			close(unfinished[i].fd);
			unfinished[i] = (struct pollfd){ .fd = connect_to(guest->path) };
			send(unfinished[i].fd, &message, MESSAGE_HEAD_BYTES, MSG_NOSIGNAL);
		}
		poll(unfinished, STOPPED_CONNECTIONS, 1);
	}
}

static void
says_nothing(struct guest *guest)
{
	(void)guest;
	cue_wait();
}

static void
asks_without_end(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on())
		for (int i = 0; i < 100; i++)
			guest_is_heard(guest);
}

/* Until vmqd cannot answer any more, because nobody reads. */
static void
asks_and_never_listens(struct guest *guest)
{
	struct message message = { .request = GET_FEATURES, .flags = VERSION };

	guest_begin(guest);
	while (send(guest->socket, &message, MESSAGE_HEAD_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT) == MESSAGE_HEAD_BYTES)
		;
	cue_wait();
}

static void
enables_and_disables(struct guest *guest)
{
	guest_begin(guest);
	for (bool on = false; cue_go_on(); on = !on) {
		guest_enable(guest, on);
		guest_is_heard(guest);
	}
}

static void
starts_and_stops(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on()) {
		say_state(guest, GET_VRING_BASE, RECEIVE, 0);
		say_state(guest, GET_VRING_BASE, TRANSMIT, 0);
		guest_start_ring(guest, &guest->rings[RECEIVE]);
		guest_start_ring(guest, &guest->rings[TRANSMIT]);
		guest_is_heard(guest);
	}
}

static void
resets_without_end(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on()) {
		say(guest, &(struct message){ .request = RESET_OWNER }, NULL, 0);
		guest_start(guest);
		guest_is_heard(guest);
	}
}

static void
announces_without_end(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on()) {
		for (int i = 0; i < 100; i++)
			say_number(guest, SEND_RARP, 0x0000efbeadde02ull);
		guest_is_heard(guest);
	}
}

/* A reply was asked for, so a message that fails does not end the connection. */
static void
fails_without_end(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on()) {
		for (uint32_t request = LAST_REQUEST; request < LAST_REQUEST + 100; request++)
			say(guest, &(struct message){ .request = request, .flags = NEED_REPLY }, NULL, 0);
		guest_is_heard(guest);
	}
}

static void
kick_loop(struct guest *guest, unsigned ring)
{
	while (cue_go_on())
		for (int i = 0; i < 1000; i++)
			ring_kick(&guest->rings[ring]);
}

static void
kicks_without_end(struct guest *guest)
{
	guest_begin(guest);
	kick_loop(guest, TRANSMIT);
}

static void
kicks_the_receive_ring_without_end(struct guest *guest)
{
	guest_begin(guest);
	kick_loop(guest, RECEIVE);
}

static void
kicks_disabled_rings(struct guest *guest)
{
	guest_begin(guest);
	guest_enable(guest, false);
	guest_is_heard(guest);
	guest_send(guest, own_address);
	kick_loop(guest, TRANSMIT);
}

static void
sends_without_end(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on())
		guest_send(guest, (const uint8_t *)"\x52\x54\x00\x00\x00\x09");
}

/* vmqd asks for a kick before it sleeps. It could not sleep if there were always something new. */
static void
never_kicks(struct guest *guest)
{
	const struct timespec pause = { .tv_nsec = 10000000 };

	guest_begin(guest);
	while (cue_go_on()) {
		guest_offer(guest, own_address);
		nanosleep(&pause, NULL);
	}
}

/* The eventfd holds all that it can, and whoever adds to it has to wait for a reader. */
static void
never_reads_its_calls(struct guest *guest)
{
	for (unsigned i = 0; i < RINGS; i++)
		if (eventfd_write(guest->rings[i].call, UINT64_MAX - 1))
			cannot("fill an eventfd");
	guest_begin(guest);
	while (cue_go_on())
		guest_send(guest, own_address);
}

/* The flag belongs to the file, which both sides share: what vmqd set the guest takes back. */
static void
makes_calls_wait(struct guest *guest)
{
	guest_begin(guest);
	for (unsigned i = 0; i < RINGS; i++) {
		int call = guest->rings[i].call;
		eventfd_t calls;

		fcntl(call, F_SETFL, O_NONBLOCK);
		eventfd_read(call, &calls);
		if (eventfd_write(call, UINT64_MAX - 1) || fcntl(call, F_SETFL, 0))
			cannot("fill an eventfd");
	}
	while (cue_go_on())
		guest_send(guest, own_address);
}

static void
with_calls_to(struct guest *guest, int file)
{
	guest->rings[RECEIVE].call = file;
	guest->rings[TRANSMIT].call = file;
	guest_post_all(guest);
	guest_start(guest);
	guest_is_heard(guest);
	while (cue_go_on())
		guest_send(guest, own_address);
}

static void
calls_go_to_a_broken_pipe(struct guest *guest)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		cannot("make a pipe");
	close(ends[0]);
	with_calls_to(guest, ends[1]);
}

static void
calls_go_to_a_full_pipe(struct guest *guest)
{
	char page[4096] = { 0 };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		cannot("make a pipe");
	while (write(ends[1], page, sizeof(page)) > 0)
		;
	with_calls_to(guest, ends[1]);
}

static void
calls_go_to_a_file(struct guest *guest)
{
	with_calls_to(guest, guest->memory[1].file);
}

static void
with_kicks_from(struct guest *guest, int file)
{
	guest->rings[RECEIVE].kick = file;
	guest->rings[TRANSMIT].kick = file;
	guest_post_all(guest);
	guest_start(guest);
	run_until_told(guest);
}

static void
kicks_come_from_a_file(struct guest *guest)
{
	with_kicks_from(guest, guest->memory[1].file);
}

static void
kicks_come_from_a_broken_pipe(struct guest *guest)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		cannot("make a pipe");
	close(ends[1]);
	with_kicks_from(guest, ends[0]);
}

static void
kicks_come_from_its_own_socket(struct guest *guest)
{
	with_kicks_from(guest, guest->socket);
}

/* @return how many descriptors vmqd took; fewer than the limit: it took no more, and closed the connection. */
static uint32_t
hand_over(struct guest *guest, uint32_t limit)
{
	guest_connect(guest);
	for (uint32_t i = 0; i < limit; i++) {
		unsigned request = i % 2 ? SET_VRING_CALL : SET_VRING_KICK;

		say_file(guest, request, i / 2, i % 2 ? guest->rings[RECEIVE].call : guest->rings[RECEIVE].kick);
		if (!guest_is_heard(guest))
			return i;
	}
	return limit;
}

/* All descriptors that vmqd may have but one or two: where it took no more, try again and stop just before. */
static void
hands_over_descriptors(struct guest *guest)
{
	guest_begin(guest);
	for (int i = 0; i < HOARDERS; i++) {
		uint32_t taken = hand_over(guest, 2 * RING_NUMBERS);

		if (taken == 2 * RING_NUMBERS)
			continue;
		hand_over(guest, taken - 1);
		break;
	}
	cue_wait();
}

/* By messages that fail and do not end the connection: vmqd has to close what came with them. */
static void
leaks_descriptors(struct guest *guest)
{
	int files[8];

	for (int i = 0; i < 8; i++)
		files[i] = guest->memory[0].file;
	guest_begin(guest);
	for (int i = 0; i < MESSAGES / 30; i++) {
		say(guest, &(struct message){ .request = LAST_REQUEST, .flags = NEED_REPLY }, files, 8);
		say(guest, &(struct message){ .request = IOTLB_MSG, .flags = NEED_REPLY }, files, 8);
		say(guest, &(struct message){ .request = SET_LOG_FD, .flags = NEED_REPLY }, files, 1);
		say(guest, &(struct message){ .request = SET_INFLIGHT_FD, .flags = NEED_REPLY, .bytes = 8 }, files, 1);
		forget_answers(guest);
	}
	run_until_told(guest);
}

static void
connects_by_the_thousand(struct guest *guest)
{
	int refused = 0;

	guest_begin(guest);
	for (int i = 0; i < CONNECTIONS; i++)
		refused += connect_to(guest->path) < 0;
	if (refused == CONNECTIONS)
		cannot("connect");
	cue_wait();
}

static void
connects_and_leaves_without_end(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on())
		for (int i = 0; i < 100; i++)
			close(connect_to(guest->path));
}

static void
connects_twice(struct guest *guest)
{
	struct guest second;

	guest_begin(guest);
	guest_create(&second, guest->path, ENTRIES);
	guest_connect(&second);
	guest_begin(&second);
	cue_wait();
	guest_destroy(&second);
}

static void
connects_again_and_again(struct guest *guest)
{
	while (cue_go_on()) {
		guest_begin(guest);
		guest_send(guest, own_address);
		guest_destroy(guest);
		guest_create(guest, guest->path, ENTRIES);
		guest_connect(guest);
	}
}

static void
says_a_ring_of(struct guest *guest, uint32_t entries)
{
	guest->rings[RECEIVE].entries = entries;
	guest_start(guest);
	run_until_told(guest);
}

#define RING_OF(entries_)                          \
	static void ring_of_##entries_(struct guest *guest) \
	{                                          \
		says_a_ring_of(guest, entries_);   \
	}

RING_OF(0)
RING_OF(3)
RING_OF(255)
RING_OF(32768)
RING_OF(65536)
RING_OF(65537)
RING_OF(4294967295)

static void
ring_grows_after_start(struct guest *guest)
{
	guest_begin(guest);
	say_state(guest, SET_VRING_NUM, TRANSMIT, 32768);
	run_until_told(guest);
}

static void
ring_grows_over_the_other(struct guest *guest)
{
	guest_begin(guest);
	say_state(guest, SET_VRING_NUM, RECEIVE, 32768);
	run_until_told(guest);
}

static void
ring_shrinks_after_start(struct guest *guest)
{
	guest_begin(guest);
	say_state(guest, SET_VRING_NUM, RECEIVE, 2);
	run_until_told(guest);
}

static void
ring_vanishes_after_start(struct guest *guest)
{
	guest_begin(guest);
	say_state(guest, SET_VRING_NUM, RECEIVE, 0);
	run_until_told(guest);
}

static void
base_anywhere(struct guest *guest)
{
	guest_begin(guest);
	for (uint32_t base = 1; cue_go_on(); base = base * 5 + 1) {
		say_state(guest, SET_VRING_BASE, RECEIVE, base);
		say_state(guest, SET_VRING_BASE, TRANSMIT, base);
		guest_is_heard(guest);
	}
}

static void
rings_move_without_end(struct guest *guest)
{
	struct ring moved = guest->rings[RECEIVE];

	guest_begin(guest);
	for (uint32_t i = 0; cue_go_on(); i++) {
		moved.descriptors_at = RINGS_AT + (i * 0x110) % RINGS_BYTES;
		moved.available_at = RINGS_AT + (i * 0x3302) % RINGS_BYTES;
		moved.used_at = RINGS_AT + (i * 0x7104) % RINGS_BYTES;
		say_ring_address(guest, &moved);
		guest_is_heard(guest);
	}
}

static void
ring_number_unknown(struct guest *guest)
{
	guest_begin(guest);
	say_state(guest, SET_VRING_NUM, RING_NUMBERS, 256);
	run_until_told(guest);
}

static void
ring_number_negative(struct guest *guest)
{
	guest_begin(guest);
	say_state(guest, SET_VRING_ENABLE, UINT32_MAX, 1);
	run_until_told(guest);
}

static void
says_size(struct guest *guest, uint32_t bytes)
{
	struct message message = { .request = SET_VRING_NUM, .flags = VERSION, .bytes = bytes };

	guest_begin(guest);
	say_bytes(guest, &message, MESSAGE_HEAD_BYTES + 8);
	run_until_told(guest);
}

static void
size_enormous(struct guest *guest)
{
	says_size(guest, UINT32_MAX);
}

static void
size_beyond_any_message(struct guest *guest)
{
	says_size(guest, 4096);
}

static void
sizes_all_wrong(struct guest *guest)
{
	static const uint8_t zeroes[512];

	for (uint32_t request = 1; request < LAST_REQUEST; request++) {
		struct message message = { .request = request, .flags = VERSION, .bytes = request % 7 };

		if (request == GET_INFLIGHT_FD)
			continue;
		guest_post_all(guest);
		guest_start(guest);
		send(guest->socket, &message, MESSAGE_HEAD_BYTES, MSG_NOSIGNAL);
		send(guest->socket, zeroes, message.bytes, MSG_NOSIGNAL);
		guest_is_heard(guest);
		guest_destroy(guest);
		guest_create(guest, guest->path, ENTRIES);
		guest_connect(guest);
	}
	cue_wait();
}

static void
version_unknown(struct guest *guest)
{
	guest_begin(guest);
	say(guest, &(struct message){ .request = SET_OWNER, .flags = 3 | REPLY }, NULL, 0);
	run_until_told(guest);
}

static void
files_missing(struct guest *guest)
{
	guest_begin(guest);
	say_number(guest, SET_VRING_KICK, RECEIVE);
	run_until_told(guest);
}

static void
files_missing_from_the_memory_table(struct guest *guest)
{
	struct message table;
	int files[RINGS];

	guest_begin(guest);
	memory_table(guest, &table, files);
	say(guest, &table, files, 1);
	run_until_told(guest);
}

static void
says_with_files(struct guest *guest, struct message *message, unsigned count)
{
	int files[FILES_MAX];

	for (unsigned i = 0; i < FILES_MAX; i++)
		files[i] = guest->memory[0].file;
	guest_begin(guest);
	say(guest, message, files, count);
	run_until_told(guest);
}

static void
files_too_many(struct guest *guest)
{
	says_with_files(guest, &(struct message){ .request = SET_VRING_KICK, .bytes = 8, .number = RECEIVE }, 8);
}

static void
files_far_too_many(struct guest *guest)
{
	says_with_files(guest, &(struct message){ .request = SET_VRING_KICK, .bytes = 8, .number = RECEIVE },
			FILES_MAX);
}

static void
files_where_none_belong(struct guest *guest)
{
	says_with_files(guest, &(struct message){ .request = SET_OWNER }, 1);
}

static void
features_unknown(struct guest *guest)
{
	guest_begin(guest);
	say_number(guest, SET_FEATURES, UINT64_MAX);
	run_until_told(guest);
}

static void
features_change_after_start(struct guest *guest)
{
	guest_begin(guest);
	say_number(guest, SET_FEATURES, guest->features ^ FEATURE(NET_F_MRG_RXBUF));
	run_until_told(guest);
}

static void
postcopy_that_never_comes(struct guest *guest)
{
	guest_begin(guest);
	say(guest, &(struct message){ .request = POSTCOPY_ADVISE }, NULL, 0);
	say(guest, &(struct message){ .request = POSTCOPY_LISTEN }, NULL, 0);
	guest_share_memory(guest);
	cue_wait();
}

/* Any message, any content, a file or not. The seed is fixed: what it finds it finds again. */
static void
says_anything(struct guest *guest)
{
	srandom(1);
	for (int i = 0; i < MESSAGES && cue_go_on(); i++) {
		struct message message = { .request = (uint32_t)random() % LAST_REQUEST,
					   .flags = (uint32_t)random() % 2 * NEED_REPLY,
					   .bytes = (uint32_t)random() % 10 * 8 };

		for (uint32_t at = 0; at < message.bytes; at += 4)
			message.payload[at] = (uint8_t)(random() % 4);
		if (message.request == GET_INFLIGHT_FD)
			continue;
		if (!say(guest, &message, &guest->memory[i % 2].file, (unsigned)random() % 2) ||
		    !guest_is_heard(guest)) {
			guest_destroy(guest);
			guest_create(guest, guest->path, ENTRIES);
			guest_connect(guest);
			guest_start(guest);
		}
	}
	cue_wait();
}

const struct attack talk_attacks[] = {
	{ "stops-in-a-header", HARMLESS, stops_in_a_header },
	{ "stops-before-a-payload", HARMLESS, stops_before_a_payload },
	{ "stops-in-a-payload", HARMLESS, stops_in_a_payload },
	{ "stops-without-end", HARMLESS, stops_without_end },
	{ "says-nothing", HARMLESS, says_nothing },
	{ "asks-without-end", HARMLESS, asks_without_end },
	{ "asks-and-never-listens", HARMLESS, asks_and_never_listens },
	{ "enables-and-disables", HARMLESS, enables_and_disables },
	{ "starts-and-stops", HARMLESS, starts_and_stops },
	{ "resets-without-end", HARMLESS, resets_without_end },
	{ "announces-without-end", HARMLESS, announces_without_end },
	{ "fails-without-end", HARMLESS, fails_without_end },
	{ "kicks-without-end", HARMLESS, kicks_without_end },
	{ "kicks-the-receive-ring-without-end", HARMLESS, kicks_the_receive_ring_without_end },
	{ "kicks-disabled-rings", HARMLESS, kicks_disabled_rings },
	{ "sends-without-end", HARMLESS, sends_without_end },
	{ "never-kicks", HARMLESS, never_kicks },
	{ "never-reads-its-calls", HARMLESS, never_reads_its_calls },
	{ "makes-calls-wait", HARMLESS, makes_calls_wait },
	{ "calls-go-to-a-broken-pipe", HARMLESS, calls_go_to_a_broken_pipe },
	{ "calls-go-to-a-full-pipe", HARMLESS, calls_go_to_a_full_pipe },
	{ "calls-go-to-a-file", HARMLESS, calls_go_to_a_file },
	{ "kicks-come-from-a-file", HARMLESS, kicks_come_from_a_file },
	{ "kicks-come-from-a-broken-pipe", HARMLESS, kicks_come_from_a_broken_pipe },
	{ "kicks-come-from-its-own-socket", HARMLESS, kicks_come_from_its_own_socket },
	{ "hands-over-descriptors", HARMLESS, hands_over_descriptors },
	{ "leaks-descriptors", HARMLESS, leaks_descriptors },
	{ "connects-by-the-thousand", HARMLESS, connects_by_the_thousand },
	{ "connects-and-leaves-without-end", HARMLESS, connects_and_leaves_without_end },
	{ "connects-twice", HARMLESS, connects_twice },
	{ "connects-again-and-again", HARMLESS, connects_again_and_again },
	{ "ring-of-0", CLOSED, ring_of_0 },
	{ "ring-of-3", CLOSED, ring_of_3 },
	{ "ring-of-255", CLOSED, ring_of_255 },
	{ "ring-of-32768-that-are-not-there", HARMLESS, ring_of_32768 },
	{ "ring-of-65536", CLOSED, ring_of_65536 },
	{ "ring-of-65537", CLOSED, ring_of_65537 },
	{ "ring-of-4294967295", CLOSED, ring_of_4294967295 },
	{ "ring-grows-after-start", FAULT, ring_grows_after_start },
	{ "ring-grows-over-the-other", HARMLESS, ring_grows_over_the_other },
	{ "ring-shrinks-after-start", FAULT, ring_shrinks_after_start },
	{ "ring-vanishes-after-start", CLOSED, ring_vanishes_after_start },
	{ "base-anywhere", HARMLESS, base_anywhere },
	{ "rings-move-without-end", HARMLESS, rings_move_without_end },
	{ "ring-number-unknown", CLOSED, ring_number_unknown },
	{ "ring-number-negative", CLOSED, ring_number_negative },
	{ "size-enormous", CLOSED, size_enormous },
	{ "size-beyond-any-message", CLOSED, size_beyond_any_message },
	{ "sizes-all-wrong", HARMLESS, sizes_all_wrong },
	{ "version-unknown", HARMLESS, version_unknown },
	{ "files-missing", CLOSED, files_missing },
	{ "files-missing-from-the-memory-table", CLOSED, files_missing_from_the_memory_table },
	{ "files-too-many", CLOSED, files_too_many },
	{ "files-far-too-many", CLOSED, files_far_too_many },
	{ "files-where-none-belong", CLOSED, files_where_none_belong },
	{ "features-unknown", CLOSED, features_unknown },
	{ "features-change-after-start", CLOSED, features_change_after_start },
	{ "postcopy-that-never-comes", HARMLESS, postcopy_that_never_comes },
	{ "says-anything", HARMLESS, says_anything },
	{ 0 },
};
