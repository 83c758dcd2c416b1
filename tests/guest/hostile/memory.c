/* SPDX-License-Identifier: BSD-3-Clause */
/* What memory is made of, and what becomes of it and of the rings while they are used. */
#include "attack.h"
#include "cue.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	PAGE_BYTES = 4096,
	TABLE_REGIONS = 8,
	INFLIGHT_ENTRIES = 1024, /* of 16 bytes each, in each of so many rings: 1 GiB, enough to see */
	INFLIGHT_RINGS = 65535,
	LOG_BYTES = 4 * PAGE_BYTES,
};

static const uint8_t other_address[6] = { 0x52, 0x54, 0, 0, 0, 0x01 };

static void
run_until_told(struct guest *guest)
{
	guest_is_heard(guest);
	cue_wait();
}

/* This side must not touch what it cuts off, so it only kicks. */
static void
cut(struct guest *guest, unsigned region, uint64_t bytes)
{
	guest_begin(guest);
	if (ftruncate(guest->memory[region].file, (off_t)bytes))
		cannot("cut memory");
	ring_kick(&guest->rings[TRANSMIT]);
	cue_wait();
}

static void
rings_are_cut_off(struct guest *guest)
{
	cut(guest, 0, 0);
}

static void
buffers_are_cut_off(struct guest *guest)
{
	cut(guest, 1, 0);
}

/* Descriptors stay, the available and used rings go. */
static void
rings_are_cut_in_the_middle(struct guest *guest)
{
	cut(guest, 0, PAGE_BYTES);
}

static void
buffers_to_send_are_cut_off(struct guest *guest)
{
	guest_begin(guest);
	guest_enable(guest, false);
	guest_is_heard(guest);
	guest_send(guest, own_address);
	if (ftruncate(guest->memory[1].file, 0))
		cannot("cut memory");
	guest_enable(guest, true);
	guest_is_heard(guest);
	ring_kick(&guest->rings[TRANSMIT]);
	cue_wait();
}

static void
buffers_come_and_go(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on())
		if (ftruncate(guest->memory[1].file, 0) || ftruncate(guest->memory[1].file, BUFFERS_BYTES))
			cannot("cut memory");
}

static void
rings_come_and_go(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on())
		if (ftruncate(guest->memory[0].file, 0) || ftruncate(guest->memory[0].file, RINGS_BYTES))
			cannot("cut memory");
}

static void
buffers_are_punched_out(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on())
		if (fallocate(guest->memory[1].file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BUFFERS_BYTES))
			cannot("punch a hole");
}

/* Cut off between one message and the next, so that the one that handles messages is the one that falls. */
static void
rings_are_cut_off_before_they_start(struct guest *guest)
{
	guest_negotiate(guest);
	guest_share_memory(guest);
	guest_is_heard(guest);
	if (ftruncate(guest->memory[0].file, 0))
		cannot("cut memory");
	for (unsigned i = 0; i < RINGS; i++)
		guest_start_ring(guest, &guest->rings[i]);
	guest_enable(guest, true);
	run_until_told(guest);
}

static void
memory_is_cut_off_before_it_is_shared(struct guest *guest)
{
	for (unsigned i = 0; i < RINGS; i++)
		if (ftruncate(guest->memory[i].file, 0))
			cannot("cut memory");
	guest_start(guest);
	run_until_told(guest);
}

static void
memory_changes_without_end(struct guest *guest)
{
	guest_begin(guest);
	while (cue_go_on()) {
		for (unsigned i = 0; i < RINGS; i++) {
			munmap(guest->memory[i].at, guest->memory[i].bytes);
			close(guest->memory[i].file);
		}
		guest_create_memory(guest);
		guest_share_memory(guest);
		guest_is_heard(guest);
	}
}

/* The table alternates between what rings and buffers need, and less. */
static void
memory_comes_and_goes(struct guest *guest)
{
	struct message table;
	int files[RINGS];

	guest_begin(guest);
	for (unsigned count = 0; cue_go_on(); count = (count + 1) % 3) {
		memory_table(guest, &table, files);
		table.memory.count = count;
		say(guest, &table, files, count);
		guest_is_heard(guest);
	}
}

static void
says_table(struct guest *guest, struct message *table, const int *files)
{
	say(guest, table, files, table->memory.count);
	guest_is_heard(guest);
	guest_enable(guest, true);
	run_until_told(guest);
}

static void
memory_is_taken_away(struct guest *guest)
{
	struct message table;
	int files[RINGS];

	guest_begin(guest);
	memory_table(guest, &table, files);
	table.memory.count = 0;
	says_table(guest, &table, files);
}

static void
rings_are_taken_away(struct guest *guest)
{
	struct message table;
	int files[RINGS];

	guest_begin(guest);
	memory_table(guest, &table, files);
	table.memory.count = 1;
	table.memory.regions[0] = table.memory.regions[1];
	says_table(guest, &table, &files[1]);
}

static void
buffers_are_taken_away(struct guest *guest)
{
	struct message table;
	int files[RINGS];

	guest_begin(guest);
	memory_table(guest, &table, files);
	table.memory.count = 1;
	says_table(guest, &table, files);
}

static void
memory_trades_places(struct guest *guest)
{
	struct message table;
	int files[RINGS];

	guest_begin(guest);
	memory_table(guest, &table, files);
	files[0] = guest->memory[1].file;
	files[1] = guest->memory[0].file;
	table.memory.regions[1].bytes = RINGS_BYTES;
	says_table(guest, &table, files);
}

/* A table of one region that stands for the buffers, and is not what it should be. */
static void
with_region(struct guest *guest, struct message_region region, int file)
{
	struct message table;
	int files[RINGS];

	guest_begin(guest);
	memory_table(guest, &table, files);
	table.memory.regions[1] = region;
	files[1] = file;
	says_table(guest, &table, files);
}

/* A table that says the same addresses and lengths as the one before is not looked at further. */
enum { MOVED = BUFFERS_AT + PAGE_BYTES };

static void
region_empty(struct guest *guest)
{
	with_region(guest, (struct message_region){ MOVED, 0, USER_OFFSET + MOVED, 0 }, guest->memory[1].file);
}

static void
region_wraps(struct guest *guest)
{
	with_region(guest,
		    (struct message_region){ UINT64_MAX - PAGE_BYTES + 1, BUFFERS_BYTES, USER_OFFSET + BUFFERS_AT, 0 },
		    guest->memory[1].file);
}

static void
region_offset_wraps(struct guest *guest)
{
	with_region(guest,
		    (struct message_region){ MOVED, BUFFERS_BYTES, USER_OFFSET + MOVED, UINT64_MAX - PAGE_BYTES + 1 },
		    guest->memory[1].file);
}

static void
region_offset_not_of_a_page(struct guest *guest)
{
	with_region(guest, (struct message_region){ MOVED, BUFFERS_BYTES, USER_OFFSET + MOVED, 3 },
		    guest->memory[1].file);
}

static void
region_longer_than_its_file(struct guest *guest)
{
	guest->memory[1].bytes = 1ull << 30;
	if (ftruncate(guest->memory[1].file, 0))
		cannot("cut memory");
	guest_post_all(guest);
	guest_start(guest);
	run_until_told(guest);
}

static void
region_of_all_addresses(struct guest *guest)
{
	with_region(guest, (struct message_region){ 0, UINT64_MAX, 0, 0 }, guest->memory[1].file);
}

static void
region_over_another(struct guest *guest)
{
	with_region(guest, (struct message_region){ RINGS_AT, RINGS_BYTES, USER_OFFSET + RINGS_AT, 0 },
		    guest->memory[1].file);
}

static void
region_of_a_pipe(struct guest *guest)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		cannot("make a pipe");
	with_region(guest, (struct message_region){ MOVED, BUFFERS_BYTES, USER_OFFSET + MOVED, 0 }, ends[0]);
}

static void
region_read_only(struct guest *guest)
{
	int file = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (file < 0 || ftruncate(file, BUFFERS_BYTES) || fcntl(file, F_ADD_SEALS, F_SEAL_WRITE))
		cannot("seal memory");
	with_region(guest, (struct message_region){ MOVED, BUFFERS_BYTES, USER_OFFSET + MOVED, 0 }, file);
}

/* The region is small, and its file larger than an address space: only the region is mapped. */
static void
region_far_into_its_file(struct guest *guest)
{
	const uint64_t offset = 1ull << 47;
	int sparse = memfd_create("sparse", MFD_CLOEXEC);

	if (sparse < 0 || ftruncate(sparse, (off_t)(offset + BUFFERS_BYTES)))
		cannot("make a sparse file");
	with_region(guest, (struct message_region){ MOVED, BUFFERS_BYTES, USER_OFFSET + MOVED, offset }, sparse);
}

/* Each of them as large as an address space of 47 bits lets it be, of a file that is as large and holds nothing. */
static void
regions_fill_the_address_space(struct guest *guest)
{
	struct message table = { .request = SET_MEM_TABLE, .memory.count = TABLE_REGIONS };
	int files[TABLE_REGIONS], connections = 16, sparse = memfd_create("sparse", MFD_CLOEXEC);

	if (sparse < 0 || ftruncate(sparse, 1ll << 45))
		cannot("make a sparse file");

	table.bytes = offsetof(struct message, memory.regions[TABLE_REGIONS]) - MESSAGE_HEAD_BYTES;
	for (unsigned i = 0; i < TABLE_REGIONS; i++) {
		table.memory.regions[i] = (struct message_region){ (uint64_t)i << 45, 1ull << (44 - i),
								   (uint64_t)i << 45, 0 };
		files[i] = sparse;
	}
	while (connections--) {
		guest_negotiate(guest);
		say(guest, &table, files, TABLE_REGIONS);
		guest_is_heard(guest);
		guest_connect(guest);
	}
	cue_wait();
}

static void
says_regions(struct guest *guest, uint32_t count)
{
	struct message table;
	int files[RINGS];

	guest_begin(guest);
	memory_table(guest, &table, files);
	table.memory.count = count;
	say(guest, &table, files, RINGS);
	run_until_told(guest);
}

static void
regions_too_many(struct guest *guest)
{
	says_regions(guest, TABLE_REGIONS + 1);
}

static void
regions_far_too_many(struct guest *guest)
{
	says_regions(guest, UINT32_MAX);
}

/* A guest with a log, from here on in use. @return the log's file. */
static int
log_of_file(struct guest *guest, unsigned kind, uint64_t file_bytes, uint64_t bytes, uint64_t offset)
{
	struct message message = { .request = SET_LOG_BASE, .bytes = sizeof(message.log), .log = { bytes, offset } };
	int file = memfd_create("log", MFD_CLOEXEC | kind);

	if (file < 0 || ftruncate(file, (off_t)file_bytes))
		cannot("make a log");
	guest->features |= F_LOG_ALL;
	guest->rings[RECEIVE].log_at = guest->rings[RECEIVE].used_at;
	guest_begin(guest);
	say(guest, &message, &file, 1);
	guest_is_heard(guest);
	return file;
}

static void
send_until_told(struct guest *guest)
{
	while (cue_go_on())
		guest_send(guest, own_address);
}

static void
log_at(struct guest *guest, uint64_t file_bytes, uint64_t bytes, uint64_t offset)
{
	int file = log_of_file(guest, 0, file_bytes, bytes, offset);

	if (ftruncate(file, 0))
		cannot("cut the log");
	send_until_told(guest);
}

/* It is refused, and its offset must not move the log that is in use. */
static void
log_offset_of_a_message_that_fails(struct guest *guest)
{
	struct message message = { .request = SET_LOG_BASE, .flags = NEED_REPLY, .bytes = sizeof(message.log),
				   .log = { LOG_BYTES, 1ull << 46 } };

	log_of_file(guest, 0, LOG_BYTES, LOG_BYTES, 0);
	say(guest, &message, NULL, 0);
	say_state(guest, SET_VRING_ENABLE, RECEIVE, 1);
	guest_is_heard(guest);
	send_until_told(guest);
}

/* After it the log is unmapped, and the features still ask for one. */
static void
log_forgotten_by_a_reset(struct guest *guest)
{
	log_of_file(guest, 0, LOG_BYTES, LOG_BYTES, 0);
	say(guest, &(struct message){ .request = RESET_OWNER }, NULL, 0);
	guest_start(guest);
	guest_is_heard(guest);
	send_until_told(guest);
}

/* A page that is lost could only be replaced as a whole, and the log ends before it does. */
static void
log_of_huge_pages(struct guest *guest)
{
	int file = log_of_file(guest, MFD_HUGETLB, 2 << 20, LOG_BYTES, 0);

	if (ftruncate(file, 0))
		cannot("cut the log");
	send_until_told(guest);
}

static void
log_is_cut_off(struct guest *guest)
{
	log_at(guest, LOG_BYTES, LOG_BYTES, 0);
}

static void
log_longer_than_its_file(struct guest *guest)
{
	log_at(guest, 1, 1ull << 40, 0);
}

static void
log_too_short(struct guest *guest)
{
	log_at(guest, 1, 1, 0);
}

static void
log_of_ring_anywhere(struct guest *guest)
{
	guest->rings[TRANSMIT].log_at = UINT64_MAX - 7;
	log_at(guest, LOG_BYTES, LOG_BYTES, 0);
}

static void
log_offset_beyond_its_file(struct guest *guest)
{
	log_at(guest, LOG_BYTES, LOG_BYTES, 1ull << 30);
}

/* What was never offered must not be granted: a record of buffers in use, as large as the guest likes. */
static void
inflight_enormous(struct guest *guest)
{
	struct message message = { .request = GET_INFLIGHT_FD, .bytes = sizeof(message.inflight),
				   .inflight = { .rings = INFLIGHT_RINGS, .entries = INFLIGHT_ENTRIES } };

	guest_begin(guest);
	say(guest, &message, NULL, 0);
	run_until_told(guest);
}

/* One page, said to hold the records of more rings than it has room for. */
static void
inflight_shorter_than_it_says(struct guest *guest)
{
	struct message message = { .request = SET_INFLIGHT_FD, .bytes = sizeof(message.inflight),
				   .inflight = { .bytes = PAGE_BYTES, .rings = 256, .entries = 32768 } };

	guest_begin(guest);
	say(guest, &message, &guest->memory[0].file, 1);
	run_until_told(guest);
}

static void
inflight_cut_off(struct guest *guest)
{
	struct message message = { .request = SET_INFLIGHT_FD, .bytes = sizeof(message.inflight),
				   .inflight = { .bytes = PAGE_BYTES, .rings = 2, .entries = 16 } };
	int file = memfd_create("inflight", MFD_CLOEXEC);

	guest_begin(guest);
	say(guest, &message, &file, 1);
	run_until_told(guest);
}

/* A second processor of the guest, which writes while the first one offers. */
static void *
rewrite_descriptors(void *context)
{
	struct guest *guest = context;
	uint64_t random = 1;

	for (;;)
		for (unsigned i = 0; i < RINGS * ENTRIES; i++) {
			struct ring *ring = &guest->rings[i % RINGS];
			volatile struct vring_desc *descriptor = &ring->descriptors[i / RINGS];

			random = random * 6364136223846793005ull + 1442695040888963407ull;
			descriptor->addr = random >> 63 ? BUFFERS_AT + (random >> 40) : random;
			descriptor->len = (uint32_t)(random >> 20);
			descriptor->flags = (uint16_t)(random >> 61);
			descriptor->next = (uint16_t)(random >> 50);
		}
	return NULL;
}

static void *
rewrite_lengths(void *context)
{
	struct guest *guest = context;
	struct ring *ring = &guest->rings[RECEIVE];

	for (uint32_t bytes = 0;; bytes += 0x1003)
		for (unsigned i = 0; i < ENTRIES; i++)
			*(volatile uint32_t *)&ring->descriptors[i].len = i % 2 ? BUFFER_BYTES : bytes;
	return NULL;
}

static void *
rewrite_used(void *context)
{
	struct guest *guest = context;
	struct ring *ring = &guest->rings[RECEIVE];

	for (uint32_t value = 1;; value = value * 69069 + 1)
		for (unsigned i = 0; i < sizeof(*ring->used) / 4 + 2 * ENTRIES; i++)
			((volatile uint32_t *)ring->used)[i] = value;
	return NULL;
}

static void
with_second_processor(struct guest *guest, void *(*work)(void *))
{
	guest_begin(guest);
	guest_runs(guest, work);
	while (cue_go_on())
		guest_send(guest, own_address);
}

static void
descriptors_change_while_read(struct guest *guest)
{
	with_second_processor(guest, rewrite_descriptors);
}

static void
lengths_change_while_read(struct guest *guest)
{
	with_second_processor(guest, rewrite_lengths);
}

static void
used_ring_is_written(struct guest *guest)
{
	with_second_processor(guest, rewrite_used);
}

/* Source addresses that are not its own, put in while vmqd looks. */
static void *
rewrite_sources(void *context)
{
	struct guest *guest = context;
	struct ring *ring = &guest->rings[TRANSMIT];

	for (unsigned n = 0;; n++)
		for (uint32_t i = 0; i < ring->entries; i++) {
			volatile uint8_t *source = buffer_of(guest, ring, i) + HEADER_BYTES + 6;

			source[5] = n % 2 ? own_address[5] : other_address[5];
		}
	return NULL;
}

static void
sources_change_while_checked(struct guest *guest)
{
	with_second_processor(guest, rewrite_sources);
}

const struct attack memory_attacks[] = {
	{ "rings-are-cut-off", FAULT, rings_are_cut_off },
	{ "rings-are-cut-in-the-middle", FAULT, rings_are_cut_in_the_middle },
	{ "rings-come-and-go", FAULT, rings_come_and_go },
	{ "rings-are-cut-off-before-they-start", FAULT, rings_are_cut_off_before_they_start },
	{ "buffers-are-cut-off", FAULT, buffers_are_cut_off },
	{ "buffers-to-send-are-cut-off", FAULT, buffers_to_send_are_cut_off },
	{ "buffers-come-and-go", HARMLESS, buffers_come_and_go },
	{ "buffers-are-punched-out", HARMLESS, buffers_are_punched_out },
	{ "memory-is-cut-off-before-it-is-shared", DETACHED, memory_is_cut_off_before_it_is_shared },
	{ "memory-changes-without-end", HARMLESS, memory_changes_without_end },
	{ "memory-comes-and-goes", HARMLESS, memory_comes_and_goes },
	{ "memory-is-taken-away", HARMLESS, memory_is_taken_away },
	{ "rings-are-taken-away", HARMLESS, rings_are_taken_away },
	{ "buffers-are-taken-away", FAULT, buffers_are_taken_away },
	{ "memory-trades-places", HARMLESS, memory_trades_places },
	{ "region-empty", HARMLESS, region_empty },
	{ "region-wraps", HARMLESS, region_wraps },
	{ "region-offset-wraps", CLOSED, region_offset_wraps },
	{ "region-offset-not-of-a-page", HARMLESS, region_offset_not_of_a_page },
	{ "region-longer-than-its-file", DETACHED, region_longer_than_its_file },
	{ "region-of-all-addresses", CLOSED, region_of_all_addresses },
	{ "region-over-another", HARMLESS, region_over_another },
	{ "region-of-a-pipe", CLOSED, region_of_a_pipe },
	{ "region-read-only", CLOSED, region_read_only },
	{ "region-far-into-its-file", HARMLESS, region_far_into_its_file },
	{ "regions-fill-the-address-space", HARMLESS, regions_fill_the_address_space },
	{ "regions-too-many", CLOSED, regions_too_many },
	{ "regions-far-too-many", CLOSED, regions_far_too_many },
	{ "log-is-cut-off", HARMLESS, log_is_cut_off },
	{ "log-offset-of-a-message-that-fails", CLOSED, log_offset_of_a_message_that_fails },
	{ "log-forgotten-by-a-reset", HARMLESS, log_forgotten_by_a_reset },
	{ "log-of-huge-pages", CLOSED, log_of_huge_pages },
	{ "log-longer-than-its-file", CLOSED, log_longer_than_its_file },
	{ "log-too-short", HARMLESS, log_too_short },
	{ "log-of-a-ring-anywhere", HARMLESS, log_of_ring_anywhere },
	{ "log-offset-beyond-its-file", CLOSED, log_offset_beyond_its_file },
	{ "inflight-enormous", CLOSED, inflight_enormous },
	{ "inflight-shorter-than-it-says", CLOSED, inflight_shorter_than_it_says },
	{ "inflight-cut-off", CLOSED, inflight_cut_off },
	{ "descriptors-change-while-read", FAULT, descriptors_change_while_read },
	{ "lengths-change-while-read", FAULT, lengths_change_while_read },
	{ "used-ring-is-written", HARMLESS, used_ring_is_written },
	{ "sources-change-while-checked", HARMLESS, sources_change_while_checked },
	{ 0 },
};
