/* SPDX-License-Identifier: BSD-3-Clause */
/* The leaves of util: MAC addresses, processor lists, VLAN words. */
#include "rows.h"
#include "util/cpumask.h"
#include "util/mac.h"
#include "util/refusal.h"
#include "util/vlan.h"

#include <errno.h>
#include <string.h>

static const struct mac_row {
	const char *name, *text;
	int error;
	uint64_t mac;
} mac_rows[] = {
	{ "mac: colons", "52:54:00:00:00:01", 0, UINT64_C(0x525400000001) },
	{ "mac: dashes", "52-54-00-00-00-01", 0, UINT64_C(0x525400000001) },
	{ "mac: capitals", "AA:BB:CC:DD:EE:FF", 0, UINT64_C(0xaabbccddeeff) },
	{ "mac: broadcast", "ff:ff:ff:ff:ff:ff", 0, MAC_BROADCAST },
	{ "mac: mixed separators", "52:54-00:00:00:01", -EINVAL, 0 },
	{ "mac: too short", "52:54:00:00:00", -EINVAL, 0 },
	{ "mac: too long", "52:54:00:00:00:01:02", -EINVAL, 0 },
	{ "mac: trailing colon", "52:54:00:00:00:01:", -EINVAL, 0 },
	{ "mac: one digit", "5:54:00:00:00:01", -EINVAL, 0 },
	{ "mac: not hex", "5g:54:00:00:00:01", -EINVAL, 0 },
	{ "mac: no separators", "525400000001", -EINVAL, 0 },
	{ "mac: empty", "", -EINVAL, 0 },
	{ "mac: one character", "5", -EINVAL, 0 },
	{ "mac: space in front", " 52:54:00:00:00:01", -EINVAL, 0 },
};

static void
mac_text(void **state)
{
	const struct mac_row *row = *state;
	uint64_t mac = 0;

	assert_int_equal(mac_parse(row->text, &mac), row->error);
	assert_int_equal(mac, row->mac);
}

static void
mac_octets(void **state)
{
	uint8_t octets[6];
	char text[MAC_TEXT_SIZE];

	(void)state;
	mac_store(UINT64_C(0x525400abcdef), octets);
	assert_int_equal(octets[0], 0x52);
	assert_int_equal(octets[5], 0xef);
	assert_int_equal(mac_load(octets), UINT64_C(0x525400abcdef));
	mac_format(UINT64_C(0x525400abcdef), text);
	assert_string_equal(text, "52:54:00:ab:cd:ef");
	assert_true(mac_is_group(MAC_BROADCAST));
	assert_true(mac_is_group(UINT64_C(0x01005e000001)));
	assert_false(mac_is_group(UINT64_C(0x525400000001)));
}

static const struct cpus_row {
	const char *name, *text;
	int error;
	const char *shortest;
	unsigned count;
} cpus_rows[] = {
	{ "cpus: one", "3", 0, "3", 1 },
	{ "cpus: list", "5,0,2", 0, "0,2,5", 3 },
	{ "cpus: range", "0,2-5", 0, "0,2-5", 5 },
	{ "cpus: pair", "1-2", 0, "1,2", 2 },
	{ "cpus: twice", "1,1-3,2", 0, "1-3", 3 },
	{ "cpus: across words", "62-65", 0, "62-65", 4 },
	{ "cpus: all", "0-255", 0, "0-255", 256 },
	{ "cpus: empty", "", -EINVAL, "", 0 },
	{ "cpus: comma at the end", "1,", -EINVAL, "", 0 },
	{ "cpus: comma in front", ",1", -EINVAL, "", 0 },
	{ "cpus: open range", "1-", -EINVAL, "", 0 },
	{ "cpus: backwards", "5-2", -EINVAL, "", 0 },
	{ "cpus: negative", "-1", -EINVAL, "", 0 },
	{ "cpus: word", "auto", -EINVAL, "", 0 },
	{ "cpus: space", "1, 2", -EINVAL, "", 0 },
	{ "cpus: too high", "256", -ERANGE, "", 0 },
	{ "cpus: range too high", "0-256", -ERANGE, "", 0 },
	{ "cpus: beyond a word", "99999999999999999999", -ERANGE, "", 0 },
};

static void
cpus_text(void **state)
{
	const struct cpus_row *row = *state;
	struct cpumask mask = { 0 };
	char text[CPUMASK_TEXT_SIZE];

	assert_int_equal(cpumask_parse(row->text, &mask), row->error);
	assert_int_equal(cpumask_count(&mask), row->count);
	assert_int_equal(cpumask_is_empty(&mask), row->count == 0);
	cpumask_format(&mask, text);
	assert_string_equal(text, row->shortest);
}

static void
cpus_longest_text_fits(void **state)
{
	struct cpumask mask = { 0 }, again = { 0 };
	char text[CPUMASK_TEXT_SIZE];

	(void)state;
	for (unsigned cpu = 0; cpu < CPU_LIMIT; cpu += 2)
		cpumask_add(&mask, cpu);
	cpumask_format(&mask, text);
	assert_int_equal(cpumask_parse(text, &again), 0);
	assert_memory_equal(&mask, &again, sizeof(mask));
}

static void
cpus_sets(void **state)
{
	struct cpumask a = { 0 }, b = { 0 }, left;

	(void)state;
	assert_int_equal(cpumask_parse("1-3,70", &a), 0);
	assert_int_equal(cpumask_parse("2,70,200", &b), 0);
	left = cpumask_without(&a, &b);
	assert_int_equal(cpumask_count(&left), 2);
	assert_int_equal(cpumask_next(&left, 2), 3);
	assert_int_equal(cpumask_next(&left, 4), CPU_LIMIT);
	assert_int_equal(cpumask_first_outside(&a, &b), 1);
	assert_int_equal(cpumask_first_outside(&left, &a), CPU_LIMIT);
	assert_false(cpumask_has(&a, CPU_LIMIT + 1));
}

static const struct vlan_row {
	const char *name;
	uint16_t vlan;
	const char *text;
} vlan_rows[] = {
	{ "vlan: untagged", VLAN_UNTAGGED, "untagged" },
	{ "vlan: first", VLAN_FIRST, "1" },
	{ "vlan: last", VLAN_LAST, "4094" },
	{ "vlan: any", VLAN_ANY, "any" },
};

static void
vlan_text(void **state)
{
	const struct vlan_row *row = *state;
	char text[VLAN_TEXT_SIZE];

	vlan_format(row->vlan, text);
	assert_string_equal(text, row->text);
}

static void
refusal_has_its_error_and_sentence(void **state)
{
	struct refusal why;
	char much[1000];

	(void)state;
	memset(much, 'x', sizeof(much) - 1);
	much[sizeof(much) - 1] = '\0';
	assert_int_equal(refuse(&why, -ENOENT, "there is no queue %d", 7), -ENOENT);
	assert_string_equal(why.text, "there is no queue 7");
	assert_int_equal(refuse(&why, -EINVAL, "%s", much), -EINVAL);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
	assert_int_equal(refuse(NULL, -EPERM, "nobody listens"), -EPERM);
}

int
main(void)
{
	static struct row_tests tests;

	ROWS(&tests, mac_text, mac_rows);
	ROWS(&tests, cpus_text, cpus_rows);
	ROWS(&tests, vlan_text, vlan_rows);
	TEST(&tests, mac_octets);
	TEST(&tests, cpus_longest_text_fits);
	TEST(&tests, cpus_sets);
	TEST(&tests, refusal_has_its_error_and_sentence);
	return row_tests_run("util", &tests);
}
