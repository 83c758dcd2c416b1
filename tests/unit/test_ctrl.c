/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's control queue: what it asks, in buffers of every form, and what it is answered. */
#include "vhost/ctrl.h"
#include "guest_rings.h"
#include "rows.h"

#include <string.h>

enum {
	OWN = 0x01,       /* the last byte of an address that filters have */
	OTHER = 0x02,
	OWN_VLAN = 10,
	UNANSWERED = 0xee,
	ANSWER_AT = 0x8000, /* in the guest's buffers */
	ENTRIES = 64,
	TOO_LONG = 9000,
};

/* CSUM and TSO4, of what it may finish itself. */
#define AGREED (FEATURE(NET_F_GUEST_CSUM) | FEATURE(NET_F_GUEST_TSO4))

static struct guest_rings guest;
static char refused[160];

static bool
owns_mac(void *ctx, uint64_t mac)
{
	assert_ptr_equal(ctx, &guest);
	return mac == UINT64_C(0x525400000000) + OWN;
}

static bool
owns_vlan(void *ctx, uint16_t vlan)
{
	assert_ptr_equal(ctx, &guest);
	return vlan == OWN_VLAN;
}

static void
note(void *ctx, const char *what)
{
	assert_ptr_equal(ctx, &guest);
	snprintf(refused, sizeof(refused), "%s", what);
}

static struct virtqueue receives = { .may_take = AGREED, .mask = ENTRIES - 1 };
static const struct ctrl_rules rules = { owns_mac, owns_vlan, &receives, note, &guest };

#define MAC(last) 0x52, 0x54, 0, 0, 0, last
#define GROUP 0x01, 0, 0x5e, 0, 0, 1
#define LE32(n) n, 0, 0, 0

static struct ask_case {
	const char *name;
	uint32_t length;
	uint8_t answer;      /* 0 OK, 1 ERR */
	const char *refused; /* part of what is told; NULL: nothing */
	uint8_t bytes[40];
} asks[] = {
	{ "promiscuous", 3, 0, NULL, { 0, 0, 1 } },
	{ "no more promiscuous", 3, 0, NULL, { 0, 0, 0 } },
	{ "all groups", 3, 0, NULL, { 0, 1, 1 } },
	{ "a mode that was not offered", 3, 1, NULL, { 0, 2, 1 } },
	{ "a mode without a value", 2, 1, NULL, { 0, 0 } },
	{ "a mode with too many values", 4, 1, NULL, { 0, 0, 1, 1 } },
	{ "empty tables", 10, 0, NULL, { 1, 0, LE32(0), LE32(0) } },
	{ "a table with its own address", 16, 0, NULL, { 1, 0, LE32(1), MAC(OWN), LE32(0) } },
	{ "a table with a group", 16, 0, NULL, { 1, 0, LE32(0), LE32(1), GROUP } },
	{ "a table with another's address", 22, 1, "it wants frames for 52:54:00:00:00:02",
	  { 1, 0, LE32(2), MAC(OWN), MAC(OTHER), LE32(0) } },
	{ "a table that says it is longer", 16, 1, NULL, { 1, 0, LE32(2), MAC(OWN), LE32(0) } },
	{ "a table that says it is far longer", 16, 1, NULL, { 1, 0, 0xff, 0xff, 0xff, 0xff, MAC(OWN), LE32(0) } },
	{ "a table whose length wraps around", 16, 1, NULL, { 1, 0, 0xab, 0xaa, 0xaa, 0x2a, MAC(OWN), LE32(0) } },
	{ "one table only", 6, 1, NULL, { 1, 0, LE32(0) } },
	{ "bytes behind the tables", 11, 1, NULL, { 1, 0, LE32(0), LE32(0), 0 } },
	{ "no table", 2, 1, NULL, { 1, 0 } },
	{ "its own address", 8, 0, NULL, { 1, 1, MAC(OWN) } },
	{ "another's address", 8, 1, "it wants frames for 52:54:00:00:00:02", { 1, 1, MAC(OTHER) } },
	{ "half an address", 5, 1, NULL, { 1, 1, 0x52, 0x54, 0 } },
	{ "a VLAN that it has", 4, 0, NULL, { 2, 0, OWN_VLAN, 0 } },
	{ "a VLAN that it has not", 4, 1, "it wants VLAN 11", { 2, 0, OWN_VLAN + 1, 0 } },
	{ "a VLAN that there is not", 4, 1, "it wants VLAN 65535", { 2, 0, 0xff, 0xff } },
	{ "half a VLAN", 3, 1, NULL, { 2, 0, OWN_VLAN } },
	{ "no more of a VLAN", 4, 0, NULL, { 2, 1, OWN_VLAN + 1, 0 } },
	{ "it announced itself", 2, 0, NULL, { 3, 0 } },
	{ "frames that it finishes itself", 10, 0, NULL, { 5, 0, 0x82, 0, 0, 0, 0, 0, 0, 0 } },
	{ "only frames that are finished", 10, 0, NULL, { 5, 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ "frames that it has not agreed to finish", 10, 1, NULL, { 5, 0, 0x82, 1, 0, 0, 0, 0, 0, 0 } },
	{ "half of what it finishes", 6, 1, NULL, { 5, 0, 0x82, 0, 0, 0 } },
	{ "several queue pairs, which were not offered", 4, 1, NULL, { 4, 0, 2, 0 } },
	{ "a class that nobody knows", 3, 1, NULL, { 77, 0, 0 } },
	{ "half a header", 1, 1, NULL, { 0 } },
};

static void
describe(uint16_t index, uint64_t at, uint32_t bytes, uint16_t flags)
{
	guest.descriptors[index] = (struct vring_desc){ .addr = GUEST_BUFFERS_AT + at, .len = bytes, .flags = flags,
							.next = (uint16_t)(index + 1) };
}

static uint8_t *
answer(void)
{
	return guest_at(&guest, GUEST_BUFFERS_AT + ANSWER_AT);
}

/* The command in so many pieces, and room for its answer. */
static void
offer_command(const uint8_t *bytes, uint32_t length, uint16_t pieces)
{
	uint32_t at = 0;

	guest_rings_reset(&guest, ENTRIES, MODERN, 65530);
	memcpy(guest_at(&guest, GUEST_BUFFERS_AT), bytes, length);
	for (uint16_t i = 0; i < pieces; i++) {
		uint32_t piece = i + 1 < pieces ? length / pieces : length - at;

		describe(i, at, piece, VRING_DESC_F_NEXT);
		at += piece;
	}
	describe(pieces, ANSWER_AT, 1, VRING_DESC_F_WRITE);
	*answer() = UNANSWERED;
	refused[0] = '\0';
	guest_offer_head(&guest, 0);
}

static void
ask(void **state)
{
	const struct ask_case *row = *state;

	for (uint16_t pieces = 1; pieces <= RTE_MIN(row->length, 4u); pieces++) {
		offer_command(row->bytes, row->length, pieces);
		assert_int_equal(ctrl_serve(&guest.vq, &rules), 1);
		assert_int_equal(guest.vq.fault, RING_FAULT_NONE);
		assert_int_equal(*answer(), row->answer);
		assert_int_equal(guest.used->idx, (uint16_t)65531);
		assert_int_equal(guest.used->ring[65530 % ENTRIES].len, 1);
		if (!row->refused)
			assert_string_equal(refused, "");
		else if (!strstr(refused, row->refused))
			fail_msg("\"%s\" is not in \"%s\"", row->refused, refused);
		assert_int_equal(ctrl_serve(&guest.vq, &rules), 0);
	}
}

static void
offloads(void **state)
{
	uint8_t command[10] = { 5, 0, 0x82 };

	(void)state;
	receives.takes = 0;
	offer_command(command, sizeof(command), 1);
	ctrl_serve(&guest.vq, &rules);
	assert_int_equal(receives.takes, GSO_TCP4);
	command[3] = 1;
	offer_command(command, sizeof(command), 1);
	ctrl_serve(&guest.vq, &rules);
	assert_int_equal(receives.takes, GSO_TCP4);
	command[2] = command[3] = 0;
	offer_command(command, sizeof(command), 1);
	ctrl_serve(&guest.vq, &rules);
	assert_int_equal(receives.takes, 0);
}

static void
too_long(void **state)
{
	static uint8_t bytes[TOO_LONG];

	(void)state;
	offer_command(bytes, sizeof(bytes), 3);
	assert_int_equal(ctrl_serve(&guest.vq, &rules), 1);
	assert_int_equal(*answer(), 1);
}

static void
as_many_as_there_are(void **state)
{
	static const uint8_t bytes[] = { 0, 0, 1 };

	(void)state;
	offer_command(bytes, sizeof(bytes), 1);
	for (unsigned i = 1; i < ENTRIES; i++)
		guest_offer_head(&guest, 0);
	assert_int_equal(ctrl_serve(&guest.vq, &rules), RTE_MIN((unsigned)ENTRIES, (unsigned)CTRL_COMMANDS_MAX));
	assert_int_equal(ctrl_serve(&guest.vq, &rules), 0);
	assert_int_equal(guest.used->flags, 0); /* it is asked to kick */
}

/* What a guest may get wrong in the ring itself. */
static struct lie_case {
	const char *name;
	enum ring_fault fault;
	uint16_t head, index;
	struct vring_desc descriptor;
} lies[] = {
	{ "no room for the answer", RING_FAULT_DIRECTION, 0, 1, { GUEST_BUFFERS_AT, 4, 0, 0 } },
	{ "more of the command behind the answer", RING_FAULT_DIRECTION, 0, 0,
	  { GUEST_BUFFERS_AT, 4, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 2 } },
	{ "a command outside its memory", RING_FAULT_ADDRESS, 0, 0, { 1, 4, VRING_DESC_F_NEXT, 1 } },
	{ "an answer outside its memory", RING_FAULT_ADDRESS, 0, 1, { ~0ull - 3, 4, VRING_DESC_F_WRITE, 0 } },
	{ "nothing at all", RING_FAULT_EMPTY, 0, 0, { GUEST_BUFFERS_AT, 0, VRING_DESC_F_NEXT, 1 } },
	{ "a chain without end", RING_FAULT_CHAIN_LENGTH, 0, 0, { GUEST_BUFFERS_AT, 4, VRING_DESC_F_NEXT, 0 } },
	{ "a chain that leads out of its table", RING_FAULT_NEXT, 0, 0,
	  { GUEST_BUFFERS_AT, 4, VRING_DESC_F_NEXT, ENTRIES } },
	{ "a descriptor that there is not", RING_FAULT_HEAD, ENTRIES, 0, { GUEST_BUFFERS_AT, 4, VRING_DESC_F_NEXT, 1 } },
	{ "an indirect table in another", RING_FAULT_INDIRECT_LENGTH, 0, 0,
	  { GUEST_BUFFERS_AT, 4, VRING_DESC_F_INDIRECT, 0 } },
};

static void
lie(void **state)
{
	const struct lie_case *row = *state;
	static const uint8_t bytes[] = { 0, 0, 1, 0 };

	offer_command(bytes, sizeof(bytes), 1);
	describe(2, 0, 4, 0);
	guest.descriptors[row->index] = row->descriptor;
	if (row->head)
		guest_offer_head(&guest, row->head);
	ctrl_serve(&guest.vq, &rules);
	assert_int_equal(guest.vq.fault, row->fault);
	assert_int_equal(ctrl_serve(&guest.vq, &rules), 0);
}

int
main(void)
{
	static struct row_tests all;
	int failed;

	guest_rings_create(&guest);
	ROWS(&all, ask, asks);
	ROWS(&all, lie, lies);
	TEST(&all, offloads);
	TEST(&all, too_long);
	TEST(&all, as_many_as_there_are);
	failed = row_tests_run("control queue", &all);
	guest_rings_destroy(&guest);
	return failed;
}
