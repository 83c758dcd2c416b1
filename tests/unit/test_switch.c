/* SPDX-License-Identifier: BSD-3-Clause */
/* What the switch decides of frames that no filter wants: one test a row. */
#include "frame/key.h"
#include "rows.h"
#include "switch/switch.h"

#define HOST_MAC UINT64_C(0x020000000001)
#define KNOWN_MAC UINT64_C(0x020000000002)
#define OTHER_MAC UINT64_C(0x020000000003)
#define BROADCAST UINT64_C(0xffffffffffff)
#define LLDP UINT64_C(0x0180c200000e)

enum { NOW = 1000, WIRE = 1, HOST = 2, VMS = 4 };

struct decision_case {
	const char *name;
	uint64_t destination;
	enum frame_source source;
	enum switch_side known; /* where KNOWN_MAC was learned */
	bool has_host, host_link_local, source_link_local;
	unsigned expected;
};

static struct decision_case cases[] = {
	{ "unknown, wire", OTHER_MAC, SOURCE_WIRE, 0, true, false, false, HOST },
	{ "unknown, wire, no host", OTHER_MAC, SOURCE_WIRE, 0, false, false, false, 0 },
	{ "unknown, host", OTHER_MAC, SOURCE_HOST, 0, true, false, false, WIRE },
	{ "unknown, VM", OTHER_MAC, SOURCE_VM, 0, true, false, false, WIRE | HOST },
	{ "unknown, VM, no host", OTHER_MAC, SOURCE_VM, 0, false, false, false, WIRE },
	{ "learned on the wire, VM", KNOWN_MAC, SOURCE_VM, SIDE_WIRE, true, false, false, WIRE },
	{ "learned at the host, VM", KNOWN_MAC, SOURCE_VM, SIDE_HOST, true, false, false, HOST },
	{ "the host's own, VM", HOST_MAC, SOURCE_VM, 0, true, false, false, HOST },
	{ "the host's own while there is none, VM", HOST_MAC, SOURCE_VM, 0, false, false, false, WIRE },
	{ "broadcast, wire", BROADCAST, SOURCE_WIRE, 0, true, false, false, HOST | VMS },
	{ "broadcast, VM", BROADCAST, SOURCE_VM, 0, true, false, false, WIRE | HOST | VMS },
	{ "link-local, wire, nobody takes part but VMs that are asked", LLDP, SOURCE_WIRE, 0, true, false, true, VMS },
	{ "link-local, wire, host takes part", LLDP, SOURCE_WIRE, 0, true, true, true, HOST | VMS },
	{ "link-local, wire, no host", LLDP, SOURCE_WIRE, 0, false, true, true, VMS },
	{ "link-local, host that does not take part", LLDP, SOURCE_HOST, 0, true, false, false, 0 },
	{ "link-local, host that takes part", LLDP, SOURCE_HOST, 0, true, true, true, WIRE | VMS },
	{ "link-local, VM that does not take part", LLDP, SOURCE_VM, 0, true, true, false, 0 },
	{ "link-local, VM that takes part", LLDP, SOURCE_VM, 0, true, true, true, WIRE | HOST | VMS },
	{ "link-local, VM that takes part, host not", LLDP, SOURCE_VM, 0, true, false, true, WIRE | VMS },
};

static void
decision(void **state)
{
	const struct decision_case *row = *state;
	const struct switch_sides sides = { row->has_host, row->host_link_local, HOST_MAC };
	struct learn_table *table = calloc(1, sizeof(*table));
	struct switch_decision got;

	if (row->known)
		learn_address(table, frame_key_of(KNOWN_MAC, VLAN_UNTAGGED), row->known, NOW);
	got = switch_decide(table, &sides, frame_key_of(row->destination, VLAN_UNTAGGED), row->source,
			    row->source_link_local, NOW);
	assert_int_equal((got.wire ? WIRE : 0) | (got.host ? HOST : 0) | (got.vms ? VMS : 0), row->expected);
	assert_int_equal(got.link_local, row->destination == LLDP);
	free(table);
}

struct group_case {
	const char *name;
	uint64_t mac;
	bool link_local;
};

static struct group_case groups[] = {
	{ "BPDU", UINT64_C(0x0180c2000000), true },
	{ "PAUSE", UINT64_C(0x0180c2000001), true },
	{ "LACP", UINT64_C(0x0180c2000002), true },
	{ "802.1X", UINT64_C(0x0180c2000003), true },
	{ "LLDP", LLDP, true },
	{ "the last", UINT64_C(0x0180c200000f), true },
	{ "beyond the last", UINT64_C(0x0180c2000010), false },
	{ "the group before", UINT64_C(0x0180c1ffffff), false },
	{ "MVRP", UINT64_C(0x0180c2000021), false },
	{ "broadcast", BROADCAST, false },
	{ "the same bits of a unicast address", UINT64_C(0x0080c2000000), false },
};

static void
group(void **state)
{
	const struct group_case *row = *state;

	assert_int_equal(switch_is_link_local(row->mac), row->link_local);
}

int
main(void)
{
	static struct row_tests tests;

	ROWS(&tests, decision, cases);
	ROWS(&tests, group, groups);
	return row_tests_run("switch: decisions", &tests);
}
