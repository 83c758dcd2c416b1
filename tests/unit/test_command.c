/* SPDX-License-Identifier: BSD-3-Clause */
/* The command language: what is read, what is refused and in which words, and that the rows agree with themselves. */
#include "cmd/command.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A failed case is printed and counted, and the next case runs. */
static unsigned failures;

static void
fail_case(const char *name, const char *got, const char *expected)
{
	print_error("%s:\n  got      %s\n  expected %s\n", name, got, expected);
	failures++;
}

static void
expect_text(const char *name, const char *got, const char *expected)
{
	if (strcmp(got, expected))
		fail_case(name, got, expected);
}

static int
failures_reset(void **state)
{
	(void)state;
	failures = 0;
	return 0;
}

static const struct {
	const char *line;
	const char *method;
	const char *params;
} good_lines[] = {
	{ "adapter add eth0 port net_af_packet0,iface=eth0 ndis 6.20 queues 16 cpus 0,2-3 vmq off", "adapter.add",
	  "{\"cpus\":\"0,2-3\",\"name\":\"eth0\",\"ndis\":\"6.20\",\"port\":\"net_af_packet0,iface=eth0\","
	  "\"queues\":16,\"vmq\":false}" },
	{ "adapter add e port 0000:01:00.0 offload auto poll busy lookahead-split on mtu 9k", "adapter.add",
	  "{\"lookahead-split\":true,\"mtu\":9000,\"name\":\"e\",\"offload\":\"auto\",\"poll\":\"busy\","
	  "\"port\":\"0000:01:00.0\"}" },
	{ "adapter capabilities eth0", "adapter.capabilities", "{\"name\":\"eth0\"}" },
	{ "adapter capabilities eth0 hardware", "adapter.capabilities", "{\"name\":\"eth0\",\"which\":\"hardware\"}" },
	{ "queue allocate eth0", "queue.allocate", "{\"adapter\":\"eth0\"}" },
	{ "queue allocate eth0 vm web1 affinity 2", "queue.allocate",
	  "{\"adapter\":\"eth0\",\"affinity\":\"2\",\"vm\":\"web1\"}" },
	{ "queue allocate eth0 affinity auto coalesce-usecs auto coalesce-frames 32", "queue.allocate",
	  "{\"adapter\":\"eth0\",\"affinity\":\"auto\",\"coalesce-frames\":32,\"coalesce-usecs\":\"auto\"}" },
	{ "queue set eth0 3 name \"\" buffers 2k", "queue.set",
	  "{\"adapter\":\"eth0\",\"buffers\":2000,\"id\":3,\"name\":\"\"}" },
	{ "queue complete eth0 1", "queue.complete", "{\"adapter\":\"eth0\",\"ids\":[1]}" },
	{ "queue complete eth0 1,2,3", "queue.complete", "{\"adapter\":\"eth0\",\"ids\":[1,2,3]}" },
	{ "queue show", "queue.show", "{}" },
	{ "queue show eth0 2", "queue.show", "{\"adapter\":\"eth0\",\"id\":2}" },
	{ "filter set eth0 1 mac 52:54:00:00:00:01", "filter.set",
	  "{\"adapter\":\"eth0\",\"mac\":\"52:54:00:00:00:01\",\"queue\":1}" },
	{ "filter set eth0 default mac 52-54-00-00-00-01 vlan 10", "filter.set",
	  "{\"adapter\":\"eth0\",\"mac\":\"52-54-00-00-00-01\",\"queue\":\"default\",\"vlan\":10}" },
	{ "filter set eth0 drop mac m vlan untagged", "filter.set",
	  "{\"adapter\":\"eth0\",\"mac\":\"m\",\"queue\":\"drop\",\"vlan\":\"untagged\"}" },
	{ "filter set eth0 1 mac m vlan 4094", "filter.set",
	  "{\"adapter\":\"eth0\",\"mac\":\"m\",\"queue\":1,\"vlan\":4094}" },
	{ "filter move eth0 7 2", "filter.move", "{\"adapter\":\"eth0\",\"filter\":7,\"queue\":2}" },
	{ "vm attach web1 adapter eth0 queue 1 socket /run/web1.sock", "vm.attach",
	  "{\"adapter\":\"eth0\",\"name\":\"web1\",\"queue\":1,\"socket\":\"/run/web1.sock\"}" },
	{ "vm add web1 adapter eth0 socket s mac m1 m2 vlan any trunk on spoof-check off", "vm.add",
	  "{\"adapter\":\"eth0\",\"mac\":[\"m1\",\"m2\"],\"name\":\"web1\",\"socket\":\"s\",\"spoof-check\":false,"
	  "\"trunk\":true,\"vlan\":\"any\"}" },
	{ "vm add web1 adapter eth0 socket s mac m1,m2", "vm.add",
	  "{\"adapter\":\"eth0\",\"mac\":[\"m1\",\"m2\"],\"name\":\"web1\",\"socket\":\"s\"}" },
	{ "host add eth0 tap tap0", "host.add", "{\"adapter\":\"eth0\",\"tap\":\"tap0\"}" },
	{ "trace eth0 dst=m vlan=0 ethertype=0x0800", "trace",
	  "{\"adapter\":\"eth0\",\"dst\":\"m\",\"ethertype\":2048,\"vlan\":0}" },
	{ "trace eth0 hex=ffff", "trace", "{\"adapter\":\"eth0\",\"hex\":\"ffff\"}" },
	{ "capture", "capture", "{}" },
	{ "capture eth0 wire snap 96", "capture", "{\"adapter\":\"eth0\",\"at\":\"wire\",\"snap\":96}" },
	{ "capture eth0 queue drop count 3", "capture", "{\"adapter\":\"eth0\",\"count\":3,\"queue\":\"drop\"}" },
	{ "capture filter \"tcp port 80\"", "capture", "{\"filter\":\"tcp port 80\"}" },
	{ "capture vm web1 filter arp", "capture", "{\"filter\":\"arp\",\"vm\":\"web1\"}" },
	{ "top eth0 sort drops interval 5", "top", "{\"adapter\":\"eth0\",\"interval\":5,\"sort\":\"drops\"}" },
	{ "stats clear", "stats.clear", "{}" },
	{ "events", "events", "{}" },
	{ "events follow", "events", "{\"mode\":\"follow\"}" },
	{ "config save", "config.save", "{}" },
	{ "  queue\tshow   # all of them\r\n", "queue.show", "{}" },
	{ "queue set eth0 1 name \"a b # \\\" \\\\ c\"", "queue.set",
	  "{\"adapter\":\"eth0\",\"id\":1,\"name\":\"a b # \\\" \\\\ c\"}" },
	{ "queue set eth0 1 name a#b", "queue.set", "{\"adapter\":\"eth0\",\"id\":1,\"name\":\"a#b\"}" },
	{ "queue set eth0 1 name é", "queue.set", "{\"adapter\":\"eth0\",\"id\":1,\"name\":\"é\"}" },
};

static void
expect_good(const char *line, const char *method, const char *params)
{
	const struct command *command = NULL;
	struct refusal why;
	json_t *parsed;
	char *text;

	if (command_parse_line(line, &command, &parsed, &why)) {
		fail_case(line, why.text, params);
		return;
	}
	text = json_dumps(parsed, JSON_COMPACT | JSON_SORT_KEYS);
	expect_text(line, command ? command->method : "nothing", method);
	expect_text(line, text, params);
	free(text);
	json_decref(parsed);
}

static void
test_good_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(good_lines); i++)
		expect_good(good_lines[i].line, good_lines[i].method, good_lines[i].params);
	assert_int_equal(failures, 0);
}

static const char *const empty_lines[] = { "", "\n", "   \t\r\n", "# a comment", "  # another\n" };

static void
test_empty_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(empty_lines); i++) {
		const struct command *command = commands;
		json_t *params = json_null();
		struct refusal why;

		assert_int_equal(command_parse_line(empty_lines[i], &command, &params, &why), 0);
		assert_null(command);
		assert_null(params);
	}
}

static const struct {
	const char *line;
	const char *sentence;
} bad_lines[] = {
	{ "foo", "unknown word \"foo\": vmqctl takes adapter, queue, filter, vm, host, trace, capture, top, stats, "
		 "events, config" },
	{ "queue", "queue takes one of allocate, complete, free, set, show" },
	{ "queue foo", "unknown word \"foo\": queue takes allocate, complete, free, set, show" },
	{ "queue.allocate eth0",
	  "unknown word \"queue.allocate\": vmqctl takes adapter, queue, filter, vm, host, trace, capture, top, stats, "
	  "events, config" },
	{ "queue allocate", "queue allocate needs adapter" },
	{ "queue allocate eth0 foo 3",
	  "unknown word \"foo\": queue allocate takes name, vm, id, owner, owner-name, affinity, buffers, lookahead, per-queue-indication, "
	  "coalesce-usecs, coalesce-frames, rate-rx, rate-tx, storm" },
	{ "queue allocate eth0 affinity", "affinity needs a value: LIST|auto" },
	{ "queue allocate eth0 affinity 1 affinity 2", "affinity is given twice" },
	{ "queue allocate eth0 affinity 2-1",
	  "affinity must be a list of processors such as 0,2-5 or auto, not \"2-1\"" },
	{ "adapter add e port p cpus auto", "cpus must be a list of processors such as 0,2-5, not \"auto\"" },
	{ "adapter add e port p cpus 256", "cpus must be a list of processors such as 0,2-5, not \"256\"" },
	{ "adapter add e port p ndis 6.40", "ndis must be 6.20|6.30, not \"6.40\"" },
	{ "adapter add e port p ndis 6.20|6.30", "ndis must be 6.20|6.30, not \"6.20|6.30\"" },
	{ "adapter add e port p vmq yes", "vmq must be on or off, not \"yes\"" },
	{ "adapter add e port p queues -1", "queues must be a number, not \"-1\"" },
	{ "adapter add e port p queues 1g", "queues must be a number, not \"1g\"" },
	{ "adapter add e port p queues 10kk", "queues must be a number, not \"10kk\"" },
	{ "adapter add e port p queues 0x", "queues must be a number, not \"0x\"" },
	{ "adapter add e port p queues 99999999999999999999",
	  "queues must be a number, not \"99999999999999999999\"" },
	{ "adapter add e port p queues 9223372036854775807k",
	  "queues must be a number, not \"9223372036854775807k\"" },
	{ "adapter add e", "adapter add needs port" },
	{ "adapter add \"\" port p", "name must not be empty" },
	{ "adapter capabilities e now", "which must be hardware|current, not \"now\"" },
	{ "queue complete eth0", "queue complete needs ids" },
	{ "queue complete eth0 1,,2", "ids must not be empty" },
	{ "queue complete eth0 1,x", "ids must be a number, not \"x\"" },
	{ "queue free eth0 1 2", "unknown word \"2\": queue free takes nothing more" },
	{ "queue free eth0 default", "id must be a number, not \"default\"" },
	{ "filter set eth0 1", "filter set needs mac" },
	{ "filter set eth0 all mac m", "queue must be a queue id, default or drop, not \"all\"" },
	{ "filter set eth0 1 mac m vlan 0", "vlan must be 1 to 4094, untagged or any, not 0" },
	{ "filter set eth0 1 mac m vlan 4095", "vlan must be 1 to 4094, untagged or any, not 4095" },
	{ "filter set eth0 1 mac m vlan none", "vlan must be 1 to 4094, untagged or any, not \"none\"" },
	{ "filter clear eth0", "filter clear needs filter" },
	{ "vm add web1 adapter eth0 socket s mac", "mac needs a value: MAC…" },
	{ "vm add web1 adapter eth0 socket s mac vlan 3", "mac needs a value: MAC…" },
	{ "vm add web1 adapter eth0 socket s", "vm add needs mac" },
	{ "vm attach web1 adapter eth0 queue 1", "vm attach needs socket" },
	{ "trace eth0", "trace needs exactly one of dst, hex" },
	{ "trace eth0 dst=m hex=ff", "trace needs exactly one of dst, hex" },
	{ "trace eth0 dst", "dst needs a value: dst=MAC" },
	{ "trace eth0 dst=", "dst needs a value: dst=MAC" },
	{ "trace eth0 dst=m dst=m", "dst is given twice" },
	{ "trace eth0 mac=m", "unknown word \"mac=m\": trace takes dst, hex, src, vlan, ethertype" },
	{ "capture eth0 here", "at must be wire|host|dropped, not \"here\"" },
	{ "capture filter", "filter needs a value: EXPRESSION" },
	{ "capture snap x", "snap must be a number, not \"x\"" },
	{ "events now", "mode must be follow, not \"now\"" },
	{ "config show all", "unknown word \"all\": config show takes nothing more" },
	{ "queue set eth0 1 name \"a", "a quote is not closed" },
	{ "queue set eth0 1 name a\033[31mb", "word 6 has a control character" },
	{ "queue set eth0 1 name a\xc2\x9b", "name must be text without control characters, not \"a\\u009B\"" },
	{ "queue set eth0 1 name \xff", "word 6 is not valid UTF-8" },
};

static void
test_bad_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bad_lines); i++) {
		const struct command *command = NULL;
		struct refusal why = { .text = "accepted" };
		json_t *params = NULL;
		int error = command_parse_line(bad_lines[i].line, &command, &params, &why);

		expect_text(bad_lines[i].line, why.text, bad_lines[i].sentence);
		if (error != -EINVAL)
			fail_case(bad_lines[i].line, "another error", "-EINVAL");
		json_decref(params);
	}
	assert_int_equal(failures, 0);
}

static const struct {
	const char *method;
	const char *params;
	const char *sentence; /* NULL: accepted */
} requests[] = {
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"vm\":\"web1\",\"affinity\":\"2\"}", NULL },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"affinity\":2}", NULL },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"affinity\":256}",
	  "affinity must be a list of processors such as 0,2-5 or auto, not 256" },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"affinity\":[2]}",
	  "affinity must be a list of processors such as 0,2-5 or auto, not [2]" },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"coalesce-usecs\":\"auto\",\"coalesce-frames\":1}", NULL },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"coalesce-usecs\":\"never\"}",
	  "coalesce-usecs must be a number or auto, not \"never\"" },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"per-queue-indication\":\"on\"}",
	  "per-queue-indication must be on or off, not \"on\"" },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"buffers\":-1}", "buffers must be a number, not -1" },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"buffers\":1.5}", "buffers must be a number, not 1.5" },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"buffers\":null}", "buffers must be a number, not null" },
	{ "queue.allocate", "{\"adapter\":3}", "adapter must be text without control characters, not 3" },
	{ "queue.allocate", "{\"adapter\":\"a\\nb\"}",
	  "adapter must be text without control characters, not \"a\\nb\"" },
	{ "queue.allocate", "{}", "queue allocate needs adapter" },
	{ "queue.allocate", "null", "queue allocate needs adapter" },
	{ "queue.allocate", "[\"eth0\"]", "params must be an object" },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"mask\":3}",
	  "unknown parameter \"mask\": queue.allocate takes adapter, name, vm, id, owner, owner-name, affinity, buffers, lookahead, "
	  "per-queue-indication, coalesce-usecs, coalesce-frames, rate-rx, rate-tx, storm" },
	{ "queue.allocate", "{\"adapter\":\"eth0\",\"a\\u001b\":3}",
	  "unknown parameter \"a\\u001B\": queue.allocate takes adapter, name, vm, id, owner, owner-name, affinity, buffers, lookahead, "
	  "per-queue-indication, coalesce-usecs, coalesce-frames, rate-rx, rate-tx, storm" },
	{ "queue.complete", "{\"adapter\":\"eth0\",\"ids\":[1,2]}", NULL },
	{ "queue.complete", "{\"adapter\":\"eth0\",\"ids\":1}", NULL },
	{ "queue.complete", "{\"adapter\":\"eth0\",\"ids\":[]}", "ids needs a value: ID[,ID…]" },
	{ "queue.complete", "{\"adapter\":\"eth0\",\"ids\":[1,\"2\"]}", "ids must be a number, not \"2\"" },
	{ "filter.set", "{\"adapter\":\"e\",\"queue\":\"drop\",\"mac\":\"m\",\"vlan\":\"any\"}", NULL },
	{ "filter.set", "{\"adapter\":\"e\",\"queue\":0,\"mac\":\"m\",\"vlan\":1}", NULL },
	{ "filter.set", "{\"adapter\":\"e\",\"queue\":0,\"mac\":\"m\",\"vlan\":0}",
	  "vlan must be 1 to 4094, untagged or any, not 0" },
	{ "filter.set", "{\"adapter\":\"e\",\"queue\":0,\"mac\":\"m\",\"vlan\":true}",
	  "vlan must be 1 to 4094, untagged or any, not true" },
	{ "filter.set", "{\"adapter\":\"e\",\"queue\":0,\"mac\":5}", "mac must be a MAC address, not 5" },
	{ "vm.add", "{\"name\":\"v\",\"adapter\":\"e\",\"socket\":\"s\",\"mac\":\"m\"}", NULL },
	{ "vm.add", "{\"name\":\"v\",\"adapter\":\"e\",\"socket\":\"s\",\"mac\":[\"m\"],\"mode\":\"peer\"}",
	  "mode must be server|client, not \"peer\"" },
	{ "trace", "{\"adapter\":\"e\",\"dst\":\"m\",\"vlan\":4095}", NULL },
	{ "trace", "{\"adapter\":\"e\",\"dst\":\"m\",\"hex\":\"00\"}", "trace needs exactly one of dst, hex" },
	{ "stats.clear", "{\"adapter\":\"e\"}", "unknown parameter \"adapter\": stats.clear takes none" },
};

static void
test_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(requests); i++) {
		const char *sentence = requests[i].sentence ? requests[i].sentence : "accepted";
		json_t *params = json_loads(requests[i].params, JSON_DECODE_ANY, NULL);
		struct refusal why = { .text = "accepted" };
		int error = command_check(command_by_method(requests[i].method), params, &why);

		expect_text(requests[i].params, why.text, sentence);
		if (error != (requests[i].sentence ? -EINVAL : 0))
			fail_case(requests[i].params, "another error", "-EINVAL for a refusal, else 0");
		json_decref(params);
	}
	assert_int_equal(failures, 0);
}

static void
test_no_params_are_an_empty_object(void **state)
{
	(void)state;
	assert_int_equal(command_check(command_by_method("queue.show"), NULL, NULL), 0);
	assert_int_equal(command_check(command_by_method("queue.free"), NULL, NULL), -EINVAL);
}

static const char *const usages[] = {
	"adapter add NAME port PORT [ndis 6.20|6.30] [queues N] [filters N] [cpus LIST] [mtu N] [vmq on|off] "
	"[lookahead-split on|off] [vlan-filtering on|off] [offload auto|off] [poll adaptive|busy] "
	"[link-local drop|forward] [gro on|off]",
	"adapter del NAME",
	"adapter show [NAME]",
	"adapter capabilities NAME [hardware|current]",
	"adapter parameters NAME",
	"queue allocate ADAPTER [name TEXT] [vm NAME] [id N] [owner UID] [owner-name NAME] [affinity LIST|auto] [buffers N] [lookahead BYTES] "
	"[per-queue-indication on|off] [coalesce-usecs N|auto] [coalesce-frames N|auto] [rate-rx BITS/s] [rate-tx BITS/s] [storm FRAMES/s]",
	"queue complete ADAPTER ID[,ID…]",
	"queue free ADAPTER ID",
	"queue set ADAPTER ID [name TEXT] [affinity LIST|auto] [buffers N] [per-queue-indication on|off] "
	"[coalesce-usecs N|auto] [coalesce-frames N|auto] [rate-rx BITS/s] [rate-tx BITS/s] [storm FRAMES/s]",
	"queue show [ADAPTER [ID]]",
	"filter set ADAPTER ID|default|drop mac MAC [vlan N|untagged|any] [id N]",
	"filter clear ADAPTER FILTER",
	"filter move ADAPTER FILTER ID|default|drop",
	"filter show [ADAPTER [ID|FILTER]]",
	"vm attach NAME adapter ADAPTER [queue ID] socket PATH [mode server|client] [trunk on|off] "
		"[spoof-check on|off] [owns-queue on|off] [user NAME] [group NAME] [mode-bits OCTAL] "
		"[link-local drop|forward] [offload on|off|LIST] [owner UID] [owner-name NAME]",
	"vm detach NAME",
	"vm add NAME adapter ADAPTER socket PATH [mode server|client] mac MAC… [vlan N|untagged|any] [trunk on|off] "
	"[spoof-check on|off] [affinity LIST|auto] [buffers N] [lookahead BYTES] [user NAME] [group NAME] "
	"[mode-bits OCTAL] [link-local drop|forward] [offload on|off|LIST] [rate-rx BITS/s] [rate-tx BITS/s] [storm FRAMES/s]",
	"vm set NAME [rate-rx BITS/s] [rate-tx BITS/s] [storm FRAMES/s]",
	"vm del NAME",
	"vm show [NAME]",
	"host add ADAPTER tap IFNAME",
	"host del ADAPTER",
	"trace ADAPTER dst=MAC|hex=BYTES [src=MAC] [vlan=N] [ethertype=N]",
	"capture [ADAPTER [wire|host|dropped]] [queue ID|default|drop] [vm NAME] [filter EXPRESSION] [snap BYTES] [count N]",
	"top [ADAPTER] [sort rx|tx|drops|id] [interval SECONDS] [count N]",
	"stats show [ADAPTER [ID]]",
	"stats clear",
	"events [follow]",
	"config show",
	"config save [FILE]",
};

static void
test_usages(void **state)
{
	(void)state;
	assert_int_equal(command_count, COUNT(usages));
	for (size_t i = 0; i < command_count; i++) {
		char *usage = command_usage(&commands[i]);

		expect_text(commands[i].method, usage, usages[i]);
		free(usage);
	}
	assert_int_equal(failures, 0);
}

static bool
kind_needs_choices(enum argument_kind kind)
{
	return kind == ARGUMENT_CHOICE || kind == ARGUMENT_SWITCH || kind == ARGUMENT_VLAN || kind == ARGUMENT_QUEUE ||
	       kind == ARGUMENT_AUTO;
}

static void
test_rows_are_complete_and_unique(void **state)
{
	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		const struct command *command = &commands[i];

		assert_ptr_equal(command_by_method(command->method), command);
		assert_true(command->help && *command->help);
		for (size_t j = 0; j < command->argument_count; j++) {
			const struct argument *argument = &command->arguments[j];

			assert_true(argument->help && *argument->help);
			assert_true(argument->metavar && *argument->metavar);
			assert_true(argument->choices || !kind_needs_choices(argument->kind));
			for (size_t k = 0; k < j; k++)
				assert_string_not_equal(argument->name, command->arguments[k].name);
		}
	}
	assert_null(command_by_method("queue"));
	assert_null(command_by_method("queue allocate"));
}

/* A required argument by position never follows one that may be left out, or words would be ambiguous. */
static void
test_positions_are_unambiguous(void **state)
{
	const unsigned place = ARGUMENT_POSITIONAL | ARGUMENT_REQUIRED;

	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		bool optional = false;

		for (size_t j = 0; j < commands[i].argument_count; j++) {
			unsigned flags = commands[i].arguments[j].flags;

			assert_false(optional && (flags & place) == place);
			optional |= (flags & place) == ARGUMENT_POSITIONAL;
		}
	}
}

static const char *
sample_value(const struct argument *argument)
{
	static const char *const samples[] = {
		[ARGUMENT_TEXT] = "text", [ARGUMENT_NUMBER] = "1",  [ARGUMENT_MAC] = "52:54:00:00:00:01",
		[ARGUMENT_SWITCH] = "on", [ARGUMENT_CHOICE] = NULL, [ARGUMENT_VLAN] = "any",
		[ARGUMENT_QUEUE] = "1",   [ARGUMENT_AUTO] = "auto", [ARGUMENT_CPUS] = "0,2-5",
	};
	static char choice[32];

	if (argument->kind != ARGUMENT_CHOICE)
		return samples[argument->kind];
	snprintf(choice, sizeof(choice), "%.*s", (int)strcspn(argument->choices, "|"), argument->choices);
	return choice;
}

static void
print_argument(FILE *out, const struct argument *argument)
{
	const char *value = sample_value(argument);

	if (argument->flags & ARGUMENT_POSITIONAL)
		fprintf(out, " %s", value);
	else
		fprintf(out, " %s%c%s", argument->name, argument->flags & ARGUMENT_PAIR ? '=' : ' ', value);
}

/* A line with every argument that can stand together with the others. */
static char *
full_line(const struct command *command)
{
	const char *dot = strchr(command->method, '.');
	bool one_given = false;
	char *line;
	size_t size;
	FILE *out = open_memstream(&line, &size);

	fprintf(out, "%.*s%s%s", (int)strcspn(command->method, "."), command->method, dot ? " " : "",
		dot ? dot + 1 : "");
	for (size_t i = 0; i < command->argument_count; i++) {
		bool one_of = command->arguments[i].flags & ARGUMENT_ONE_OF;

		if (!one_of || !one_given)
			print_argument(out, &command->arguments[i]);
		one_given |= one_of;
	}
	fclose(out);
	return line;
}

static void
test_every_row_reads_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		const struct command *command = NULL;
		struct refusal why = { 0 };
		char *line = full_line(&commands[i]);
		json_t *params = NULL;

		if (command_parse_line(line, &command, &params, &why))
			fail_case(line, why.text, "accepted");
		else if (command != &commands[i])
			fail_case(line, command->method, commands[i].method);
		json_decref(params);
		free(line);
	}
	assert_int_equal(failures, 0);
}

static const struct {
	const char *words[8];
	const char *candidates;
} completions[] = {
	{ { NULL }, " adapter queue filter vm host trace capture top stats events config" },
	{ { "stats" }, " show clear" },
	{ { "foo" }, "" },
	{ { "queue", "free" }, "" },
	{ { "queue", "set", "eth0", "1", "name", "x" },
	  " affinity buffers per-queue-indication coalesce-usecs coalesce-frames rate-rx rate-tx storm" },
	{ { "queue", "set", "eth0", "1", "per-queue-indication" }, " on off" },
	{ { "filter", "set", "eth0" }, " default drop" },
	{ { "filter", "set", "eth0", "1", "mac", "m", "vlan" }, " untagged any" },
	{ { "trace", "eth0", "dst=m" }, " hex= src= vlan= ethertype=" },
	{ { "capture" }, " queue vm filter snap count" },
	{ { "capture", "eth0" }, " wire host dropped queue vm filter snap count" },
	{ { "capture", "vm", "web1" }, " queue filter snap count" },
	{ { "events" }, " follow" },
	{ { "adapter", "capabilities", "eth0" }, " hardware current" },
};

static void
candidate_append(void *text, const char *word)
{
	size_t length = strlen(text);

	snprintf((char *)text + length, 256 - length, " %s", word);
}

static void
test_completion(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(completions); i++) {
		char *words[8];
		char text[256] = "";
		int count = 0;

		for (; count < 8 && completions[i].words[count]; count++)
			words[count] = (char *)completions[i].words[count];
		command_candidates(count, words, candidate_append, text);
		expect_text(count ? words[count - 1] : "nothing", text, completions[i].candidates);
	}
	assert_int_equal(failures, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_good_lines, failures_reset),
		cmocka_unit_test_setup(test_empty_lines, failures_reset),
		cmocka_unit_test_setup(test_bad_lines, failures_reset),
		cmocka_unit_test_setup(test_requests, failures_reset),
		cmocka_unit_test_setup(test_no_params_are_an_empty_object, failures_reset),
		cmocka_unit_test_setup(test_usages, failures_reset),
		cmocka_unit_test_setup(test_rows_are_complete_and_unique, failures_reset),
		cmocka_unit_test_setup(test_positions_are_unambiguous, failures_reset),
		cmocka_unit_test_setup(test_every_row_reads_back, failures_reset),
		cmocka_unit_test_setup(test_completion, failures_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
