/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel tells of interfaces, made here message by message. */
#include "port/links.h"
#include "rows.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <string.h>

static struct message_case {
	const char *name;
	uint16_t type;
	const char *ifname;   /* NULL: it names none */
	bool unterminated;
	const char *expected; /* NULL: nobody is called */
} cases[] = {
	{ "made or changed", RTM_NEWLINK, "nic0", false, "nic0" },
	{ "deleted", RTM_DELLINK, "nic0", false, "nic0" },
	{ "the longest name", RTM_NEWLINK, "fifteen-letters", false, "fifteen-letters" },
	{ "a name that none can have", RTM_NEWLINK, "sixteen--letters", false, NULL },
	{ "without a name", RTM_NEWLINK, NULL, false, NULL },
	{ "a name without an end", RTM_NEWLINK, "nic0", true, NULL },
	{ "of an address", RTM_NEWADDR, "nic0", false, NULL },
};

static char told[64];
static unsigned calls;

static void
note(void *ctx, const char *ifname)
{
	assert_ptr_equal(ctx, &calls);
	calls++;
	snprintf(told, sizeof(told), "%s", ifname);
}

static struct nlmsghdr *
put_message(char *at, const struct message_case *row)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(at);

	message->nlmsg_type = row->type;
	mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(message, IFLA_MTU, 1500);
	if (row->ifname)
		mnl_attr_put(message, IFLA_IFNAME, strlen(row->ifname) + !row->unterminated, row->ifname);
	return message;
}

static void
read_one(void **state)
{
	const struct message_case *row = *state;
	char messages[1024] = { 0 };
	struct nlmsghdr *message = put_message(messages, row);

	calls = 0;
	links_read(messages, message->nlmsg_len, note, &calls);
	assert_int_equal(calls, row->expected != NULL);
	if (row->expected)
		assert_string_equal(told, row->expected);
	calls = 0;
	links_read(messages, message->nlmsg_len - 4, note, &calls); /* cut off */
	assert_int_equal(calls, 0);
}

static void
read_all(void **state)
{
	char messages[4096] = { 0 };
	size_t at = 0;
	unsigned expected = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		at += MNL_ALIGN(put_message(messages + at, &cases[i])->nlmsg_len);
		expected += cases[i].expected != NULL;
	}
	calls = 0;
	links_read(messages, at, note, &calls);
	assert_int_equal(calls, expected);
}

int
main(void)
{
	static struct row_tests tests;

	ROWS(&tests, read_one, cases);
	TEST(&tests, read_all);
	return row_tests_run("links: what the kernel tells of interfaces", &tests);
}
