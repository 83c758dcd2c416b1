/* SPDX-License-Identifier: BSD-3-Clause */
/* The rows. Commands of one group stand together, in the order in which help shows them. */
#include "cmd/command.h"

#include <string.h>

#define REQUIRED ARGUMENT_REQUIRED
#define POSITIONAL ARGUMENT_POSITIONAL

#define SWITCH(name, help) { name, "on|off", ARGUMENT_SWITCH, 0, "on|off", help }
#define CHOICE(name, choices, help) { name, choices, ARGUMENT_CHOICE, 0, choices, help }
#define NUMBER(name, metavar, help) { name, metavar, ARGUMENT_NUMBER, 0, NULL, help }
#define AUTO(name, help) { name, "N|auto", ARGUMENT_AUTO, 0, "auto", help }

#define NAME(help) { "name", "NAME", ARGUMENT_TEXT, REQUIRED | POSITIONAL, NULL, help }
#define NAME_OPTIONAL(help) { "name", "NAME", ARGUMENT_TEXT, POSITIONAL, NULL, help }
#define ADAPTER { "adapter", "ADAPTER", ARGUMENT_TEXT, REQUIRED | POSITIONAL, NULL, "the adapter" }
#define ADAPTER_OPTIONAL { "adapter", "ADAPTER", ARGUMENT_TEXT, POSITIONAL, NULL, "only this adapter" }
#define ADAPTER_KEYWORD { "adapter", "ADAPTER", ARGUMENT_TEXT, REQUIRED, NULL, "the adapter" }
#define ID { "id", "ID", ARGUMENT_NUMBER, REQUIRED | POSITIONAL, NULL, "the queue" }
#define ID_OPTIONAL { "id", "ID", ARGUMENT_NUMBER, POSITIONAL, NULL, "only this queue" }
#define QUEUE(help) { "queue", "ID|default|drop", ARGUMENT_QUEUE, REQUIRED | POSITIONAL, "default|drop", help }
#define FILTER { "filter", "FILTER", ARGUMENT_NUMBER, REQUIRED | POSITIONAL, NULL, "the filter" }
#define VLAN(help) { "vlan", "N|untagged|any", ARGUMENT_VLAN, 0, "untagged|any", help }

#define QUEUE_NAME { "name", "TEXT", ARGUMENT_TEXT, 0, NULL, "a name for people" }
#define AFFINITY { "affinity", "LIST|auto", ARGUMENT_CPUS, 0, "auto", "processors that may serve the queue" }
#define OWNER NUMBER("owner", "UID", "whom it belongs to, if not the caller; root only")
#define OWNER_NAME { "owner-name", "NAME", ARGUMENT_TEXT, 0, NULL, "the name within that user" }
#define BUFFERS NUMBER("buffers", "N", "receive buffers suggested; the adapter may adjust the number")
#define LOOKAHEAD NUMBER("lookahead", "BYTES", "split frames after at least so many bytes; 0: do not split")
#define PER_QUEUE SWITCH("per-queue-indication", "never mix queues in one indication")
#define COALESCE_USECS AUTO("coalesce-usecs", "longest wait for more frames, in microseconds")
#define COALESCE_FRAMES AUTO("coalesce-frames", "frames that end the wait")
#define RATE_RX NUMBER("rate-rx", "BITS/s", "what the VM may get, more is dropped; 0: no limit")
#define RATE_TX NUMBER("rate-tx", "BITS/s", "what the VM may send, more is dropped; 0: no limit")
#define STORM NUMBER("storm", "FRAMES/s", "broadcast and multicast that the VM may send, more is dropped; 0: no limit")

#define SOCKET { "socket", "PATH", ARGUMENT_TEXT, REQUIRED, NULL, "the vhost-user socket" }
#define MODE CHOICE("mode", "server|client", "server: vmqd listens on the socket; client: vmqd connects to it")

/* Who may open the socket that vmqd listens on, and what else a VM may be asked to be. */
#define USER { "user", "NAME", ARGUMENT_TEXT, 0, NULL, "whose the socket is, with mode server" }
#define GROUP { "group", "NAME", ARGUMENT_TEXT, 0, NULL, "the socket's group, with mode server" }
#define MODE_BITS { "mode-bits", "OCTAL", ARGUMENT_TEXT, 0, NULL, "the socket's permissions, with mode server" }
#define LINK_LOCAL(who) \
	CHOICE("link-local", "drop|forward", "forward: " who " takes part in BPDU, PAUSE, LACP, 802.1X, LLDP")

#define OFFLOAD \
	{ "offload", "on|off|LIST", ARGUMENT_TEXT, 0, "on|off", "what its driver may leave to vmqd, or take unfinished" }

static const struct argument adapter_add[] = {
	NAME("a new name"),
	{ "port", "PORT", ARGUMENT_TEXT, REQUIRED, NULL, "DPDK devargs of a virtual device, or a PCI address" },
	CHOICE("ndis", "6.20|6.30", "the rule set: 6.20 splits at the lookahead, 6.30 keeps all in host memory"),
	NUMBER("queues", "N", "queues that can be allocated, default queue not counted"),
	NUMBER("filters", "N", "filters that can be set"),
	{ "cpus", "LIST", ARGUMENT_CPUS, 0, NULL, "data-path processors that it may use" },
	NUMBER("mtu", "N", "longest payload in bytes"),
	SWITCH("vmq", "off: no queues and no filters"),
	SWITCH("lookahead-split", "off: requests for a split are refused"),
	SWITCH("vlan-filtering", "off: filters cannot test the VLAN"),
	CHOICE("offload", "auto|off", "auto: use filters of the hardware where there are any"),
	CHOICE("poll", "adaptive|busy", "adaptive: sleep when idle; busy: never sleep"),
	LINK_LOCAL("the host"),
	SWITCH("gro", "off: frames of the wire are not joined for VMs that take long ones"),
};
static const struct argument adapter_del[] = { NAME("the adapter") };
static const struct argument adapter_show[] = { NAME_OPTIONAL("only this adapter") };
static const struct argument adapter_capabilities[] = {
	NAME("the adapter"),
	{ "which", "hardware|current", ARGUMENT_CHOICE, POSITIONAL, "hardware|current",
	  "what the hardware can do, or what is enabled now" },
};
static const struct argument adapter_parameters[] = { NAME("the adapter") };

static const struct argument queue_allocate[] = {
	ADAPTER,
	QUEUE_NAME,
	{ "vm", "NAME", ARGUMENT_TEXT, 0, NULL, "the VM that it is for" },
	NUMBER("id", "N", "this id instead of the lowest free one"),
	OWNER,
	OWNER_NAME,
	AFFINITY,
	BUFFERS,
	LOOKAHEAD,
	PER_QUEUE,
	COALESCE_USECS,
	COALESCE_FRAMES,
	RATE_RX,
	RATE_TX,
	STORM,
};
static const struct argument queue_complete[] = {
	ADAPTER,
	{ "ids", "ID[,ID…]", ARGUMENT_NUMBER, REQUIRED | POSITIONAL | ARGUMENT_MANY, NULL, "the queues" },
};
static const struct argument queue_free[] = { ADAPTER, ID };
static const struct argument queue_set[] = {
	ADAPTER, ID, QUEUE_NAME, AFFINITY, BUFFERS, PER_QUEUE, COALESCE_USECS, COALESCE_FRAMES, RATE_RX, RATE_TX, STORM,
};
static const struct argument queue_show[] = { ADAPTER_OPTIONAL, ID_OPTIONAL };

static const struct argument filter_set[] = {
	ADAPTER,
	QUEUE("the queue"),
	{ "mac", "MAC", ARGUMENT_MAC, REQUIRED, NULL, "the destination address to match" },
	VLAN("the VLAN to match: its id, no tag or id 0, or anything (not on NDIS 6.20)"),
	NUMBER("id", "N", "this id instead of the lowest free one"),
};
static const struct argument filter_clear[] = { ADAPTER, FILTER };
static const struct argument filter_move[] = {
	ADAPTER,
	FILTER,
	QUEUE("the queue to move it to"),
};
static const struct argument filter_show[] = {
	ADAPTER_OPTIONAL,
	{ "queue", "ID|FILTER", ARGUMENT_QUEUE, POSITIONAL, "default|drop", "only those of this queue, or this one" },
};

static const struct argument vm_attach[] = {
	NAME("the VM"),
	ADAPTER_KEYWORD,
	{ "queue", "ID", ARGUMENT_NUMBER, 0, NULL, "the queue that it gets; without one it waits for one" },
	SOCKET,
	MODE,
	SWITCH("trunk", "on: VLAN tags pass; off: they are taken off and put on"),
	SWITCH("spoof-check", "off: it may send from any address"),
	SWITCH("owns-queue", "on: `vm del` frees the queue too, as after `vm add`"),
	USER,
	GROUP,
	MODE_BITS,
	LINK_LOCAL("the VM"),
	OFFLOAD,
	OWNER,
	OWNER_NAME,
};
static const struct argument vm_detach[] = { NAME("the VM") };
static const struct argument vm_add[] = {
	NAME("a new name"),
	ADAPTER_KEYWORD,
	SOCKET,
	MODE,
	{ "mac", "MAC…", ARGUMENT_MAC, REQUIRED | ARGUMENT_MANY, NULL, "its addresses, one filter for each" },
	VLAN("its VLAN: an id, no tag or id 0, or anything (not on NDIS 6.20)"),
	SWITCH("trunk", "on: VLAN tags pass; off: they are taken off and put on"),
	SWITCH("spoof-check", "off: it may send from any address"),
	AFFINITY,
	BUFFERS,
	LOOKAHEAD,
	USER,
	GROUP,
	MODE_BITS,
	LINK_LOCAL("the VM"),
	OFFLOAD,
	RATE_RX,
	RATE_TX,
	STORM,
};
static const struct argument vm_set[] = { NAME("the VM"), RATE_RX, RATE_TX, STORM };
static const struct argument vm_del[] = { NAME("the VM") };
static const struct argument vm_show[] = { NAME_OPTIONAL("only this VM") };

static const struct argument host_add[] = {
	ADAPTER,
	{ "tap", "IFNAME", ARGUMENT_TEXT, REQUIRED, NULL, "name of the TAP interface to make" },
};
static const struct argument host_del[] = { ADAPTER };

static const struct argument trace[] = {
	ADAPTER,
	{ "dst", "MAC", ARGUMENT_MAC, ARGUMENT_PAIR | ARGUMENT_ONE_OF, NULL, "destination of the frame" },
	{ "hex", "BYTES", ARGUMENT_TEXT, ARGUMENT_PAIR | ARGUMENT_ONE_OF, NULL, "the frame itself, in hexadecimal" },
	{ "src", "MAC", ARGUMENT_MAC, ARGUMENT_PAIR, NULL, "source of the frame" },
	{ "vlan", "N", ARGUMENT_NUMBER, ARGUMENT_PAIR, NULL, "VLAN id of its tag; 0: a priority tag" },
	{ "ethertype", "N", ARGUMENT_NUMBER, ARGUMENT_PAIR, NULL, "EtherType after the tag, such as 0x0800" },
};

static const struct argument capture[] = {
	ADAPTER_OPTIONAL,
	{ "at", "wire|host|dropped", ARGUMENT_CHOICE, POSITIONAL, "wire|host|dropped", "only what passes there, or is dropped" },
	{ "queue", "ID|default|drop", ARGUMENT_QUEUE, 0, "default|drop", "only this queue" },
	{ "vm", "NAME", ARGUMENT_TEXT, 0, NULL, "only this VM" },
	{ "filter", "EXPRESSION", ARGUMENT_TEXT, 0, NULL, "only frames that match, as for tcpdump" },
	NUMBER("snap", "BYTES", "keep so much of each frame"),
	NUMBER("count", "N", "end after so many frames"),
};

static const struct argument top[] = {
	ADAPTER_OPTIONAL,
	{ "sort", "rx|tx|drops|id", ARGUMENT_CHOICE, 0, "rx|tx|drops|id", "what has the most of it first" },
	NUMBER("interval", "SECONDS", "how often"),
	NUMBER("count", "N", "end after so many samples"),
};

static const struct argument stats_show[] = { ADAPTER_OPTIONAL, ID_OPTIONAL };
static const struct argument events[] = {
	{ "mode", "follow", ARGUMENT_CHOICE, POSITIONAL, "follow", "go on with what happens from now on, until interrupted" },
};
static const struct argument config_save[] = {
	{ "file", "FILE", ARGUMENT_TEXT, POSITIONAL, NULL, "where to, instead of the state file" },
};

#define ARGUMENTS(rows) rows, sizeof(rows) / sizeof(rows[0])

const struct command commands[] = {
	{ "adapter.add", "open a port as an adapter", ACCESS_CHANGE, ARGUMENTS(adapter_add) },
	{ "adapter.del", "free its queues and close it", ACCESS_CHANGE, ARGUMENTS(adapter_del) },
	{ "adapter.show", "show adapters", ACCESS_SHOW, ARGUMENTS(adapter_show) },
	{ "adapter.capabilities", "show what it can do", ACCESS_SHOW, ARGUMENTS(adapter_capabilities) },
	{ "adapter.parameters", "show its global parameters", ACCESS_SHOW, ARGUMENTS(adapter_parameters) },
	{ "queue.allocate", "allocate a receive queue and print its id", ACCESS_CHANGE, ARGUMENTS(queue_allocate) },
	{ "queue.complete", "complete the allocation: give queues their receive buffers", ACCESS_OWNER,
	  ARGUMENTS(queue_complete) },
	{ "queue.free", "free a queue without filters, once all its frames are back", ACCESS_OWNER, ARGUMENTS(queue_free) },
	{ "queue.set", "change parameters of a queue", ACCESS_OWNER, ARGUMENTS(queue_set) },
	{ "queue.show", "show queues", ACCESS_SHOW, ARGUMENTS(queue_show) },
	{ "filter.set", "set a filter on a queue and print its id", ACCESS_OWNER, ARGUMENTS(filter_set) },
	{ "filter.clear", "clear a filter", ACCESS_OWNER, ARGUMENTS(filter_clear) },
	{ "filter.move", "move a filter to another queue in one step", ACCESS_OWNER, ARGUMENTS(filter_move) },
	{ "filter.show", "show filters", ACCESS_SHOW, ARGUMENTS(filter_show) },
	{ "vm.attach", "give a VM a queue", ACCESS_CHANGE, ARGUMENTS(vm_attach) },
	{ "vm.detach", "take the VM away; queue and filters stay", ACCESS_OWNER, ARGUMENTS(vm_detach) },
	{ "vm.add", "allocate a queue, set its filters, complete and attach it, all or nothing", ACCESS_CHANGE,
	  ARGUMENTS(vm_add) },
	{ "vm.set", "change the limits of a VM", ACCESS_OWNER, ARGUMENTS(vm_set) },
	{ "vm.del", "undo vm add", ACCESS_OWNER, ARGUMENTS(vm_del) },
	{ "vm.show", "show VMs", ACCESS_SHOW, ARGUMENTS(vm_show) },
	{ "host.add", "give the host the default queue, through a TAP interface", ACCESS_CHANGE, ARGUMENTS(host_add) },
	{ "host.del", "take it away again", ACCESS_CHANGE, ARGUMENTS(host_del) },
	{ "trace", "show where a frame would go and why, without sending it", ACCESS_SHOW, ARGUMENTS(trace) },
	{ "capture", "show frames that pass, or write them with -w FILE", ACCESS_CHANGE, ARGUMENTS(capture) },
	{ "top", "show queues by what passes, again and again", ACCESS_SHOW, ARGUMENTS(top) },
	{ "stats.show", "show counters", ACCESS_SHOW, ARGUMENTS(stats_show) },
	{ "stats.clear", "set all counters to zero", ACCESS_CHANGE, NULL, 0 },
	{ "events", "print the last events, or those that happen", ACCESS_SHOW, ARGUMENTS(events) },
	{ "config.show", "show the configuration as commands", ACCESS_SHOW, NULL, 0 },
	{ "config.save", "write the configuration to a file", ACCESS_CHANGE, ARGUMENTS(config_save) },
};
const size_t command_count = sizeof(commands) / sizeof(commands[0]);

const struct command *
command_by_method(const char *method)
{
	for (size_t i = 0; i < command_count; i++)
		if (!strcmp(commands[i].method, method))
			return &commands[i];
	return NULL;
}
