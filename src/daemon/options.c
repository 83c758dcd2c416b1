/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPTION_STATE = 256,
	OPTION_CPUS,
	OPTION_MEMORY,
	OPTION_HUGE,
	OPTION_METRICS,
	OPTION_SOCKET_USER,
	OPTION_SOCKET_GROUP,
	OPTION_SOCKET_MODE,
	OPTION_HELP,
	OPTION_VERSION,
	MEMORY_MB_DEFAULT = 1024,
	MEMORY_MB_MIN = 64,
	MEMORY_MB_MAX = 1 << 20,
};

/* One row an option: how it is given, and what help says of it. */
static const struct {
	const char *name;
	const char *metavar;
	int value;
	const char *help;
} rows[] = {
	{ "config", "FILE", 'c', "commands to run at the start (/etc/vmq/vmq.conf, if it is there)" },
	{ "socket", "SOCKET", 's', "control socket (/run/vmq/vmqd.sock)" },
	{ "state", "FILE", OPTION_STATE, "where the state is kept (/var/lib/vmq/state.conf)" },
	{ "cpus", "LIST", OPTION_CPUS, "data-path processors (all that it may use but the first)" },
	{ "memory", "MB", OPTION_MEMORY, "packet memory in MiB (1024)" },
	{ "huge", "on|off|auto", OPTION_HUGE, "use huge pages (auto: if enough are free)" },
	{ "metrics", "ADDRESS:PORT|PATH", OPTION_METRICS, "serve metrics for Prometheus here (nowhere)" },
	{ "vm-socket-user", "NAME", OPTION_SOCKET_USER, "whose VMs' sockets are, unless a VM says otherwise (root)" },
	{ "vm-socket-group", "NAME", OPTION_SOCKET_GROUP, "their group (the user's)" },
	{ "vm-socket-mode", "OCTAL", OPTION_SOCKET_MODE, "their permissions (what the umask leaves)" },
	{ "verbose", NULL, 'v', "let DPDK's log through" },
	{ "help", NULL, OPTION_HELP, "print this and end" },
	{ "version", NULL, OPTION_VERSION, "print the version and end" },
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

void
options_help(void)
{
	puts("usage: vmqd [OPTION…] [-- EAL OPTIONS]\n\nReceive queues for virtual machines.\n");
	for (size_t i = 0; i < ROWS; i++) {
		char left[48];
		char letter[5] = "   ";

		if (rows[i].value < 256)
			snprintf(letter, sizeof(letter), "-%c,", rows[i].value);
		snprintf(left, sizeof(left), "%s --%s%s%s", letter, rows[i].name, rows[i].metavar ? " " : "",
			 rows[i].metavar ? rows[i].metavar : "");
		printf("  %-33s %s\n", left, rows[i].help);
	}
}

static struct cpumask
cpus_allowed(void)
{
	struct cpumask cpus = { { 0 } };
	cpu_set_t allowed;

	CPU_ZERO(&allowed);
	sched_getaffinity(0, sizeof(allowed), &allowed);
	for (unsigned cpu = 0; cpu < CPU_LIMIT; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			cpumask_add(&cpus, cpu);
	if (cpumask_is_empty(&cpus))
		cpumask_add(&cpus, 0);
	return cpus;
}

/* All but the first, which is left to control; the only one if need be. */
static struct cpumask
cpus_default(const struct cpumask *allowed)
{
	struct cpumask cpus = { { 0 } };
	unsigned first = cpumask_next(allowed, 0), cpu = first;

	while ((cpu = cpumask_next(allowed, cpu + 1)) < CPU_LIMIT)
		cpumask_add(&cpus, cpu);
	if (cpumask_is_empty(&cpus))
		cpumask_add(&cpus, first);
	return cpus;
}

static int
cpus_parse(const char *text, struct options *options, struct refusal *why)
{
	struct cpumask cpus = { { 0 } };
	unsigned absent;

	if (cpumask_parse(text, &cpus))
		return refuse(why, -EINVAL, "--cpus %s: not a list of processors such as 1,3-5", text);
	absent = cpumask_first_outside(&cpus, &options->allowed);
	if (absent != CPU_LIMIT)
		return refuse(why, -EINVAL, "--cpus %s: there is no processor %u to use", text, absent);
	options->cpus = cpus;
	return 0;
}

static int
memory_parse(const char *text, unsigned *memory_mb, struct refusal *why)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value < MEMORY_MB_MIN || value > MEMORY_MB_MAX)
		return refuse(why, -EINVAL, "--memory %s: must be from %d to %d MiB", text, MEMORY_MB_MIN,
			      MEMORY_MB_MAX);
	*memory_mb = (unsigned)value;
	return 0;
}

static int
huge_parse(const char *text, enum huge_pages *huge, struct refusal *why)
{
	static const char *const words[] = { [HUGE_AUTO] = "auto", [HUGE_ON] = "on", [HUGE_OFF] = "off" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i]))
			continue;
		*huge = (enum huge_pages)i;
		return 0;
	}
	return refuse(why, -EINVAL, "--huge %s: must be on, off or auto", text);
}

/* @param known  whether there is such a user or group. */
static int
name_parse(const char *option, const char *text, bool known, char name[USER_NAME_SIZE], struct refusal *why)
{
	if (!known || strlen(text) >= USER_NAME_SIZE)
		return refuse(why, -EINVAL, "--%s %s: there is none of this name", option, text);
	memcpy(name, text, strlen(text) + 1);
	return 0;
}

static int
mode_parse(const char *text, uint16_t *mode_bits, struct refusal *why)
{
	char *end;
	unsigned long value = strtoul(text, &end, 8);

	if (*end || end == text || !value || value > 0777)
		return refuse(why, -EINVAL, "--vm-socket-mode %s: permissions are octal, such as 0660", text);
	*mode_bits = (uint16_t)value;
	return 0;
}

static int
take_option(int option, struct options *options, struct refusal *why)
{
	switch (option) {
	case 'c':
		options->config = optarg;
		options->config_given = true;
		return 0;
	case 's':
		options->socket = optarg;
		return 0;
	case OPTION_STATE:
		options->state = optarg;
		return 0;
	case OPTION_CPUS:
		return cpus_parse(optarg, options, why);
	case OPTION_MEMORY:
		return memory_parse(optarg, &options->memory_mb, why);
	case OPTION_HUGE:
		return huge_parse(optarg, &options->huge, why);
	case OPTION_METRICS:
		options->metrics = optarg;
		return 0;
	case OPTION_SOCKET_USER:
		return name_parse("vm-socket-user", optarg, getpwnam(optarg), options->access.user, why);
	case OPTION_SOCKET_GROUP:
		return name_parse("vm-socket-group", optarg, getgrnam(optarg), options->access.group, why);
	case OPTION_SOCKET_MODE:
		return mode_parse(optarg, &options->access.mode_bits, why);
	case 'v':
		options->verbose = true;
		return 0;
	case OPTION_HELP:
		options->help = true;
		return 0;
	case OPTION_VERSION:
		options->version = true;
		return 0;
	}
	return -EINVAL;
}

static int
refuse_option(char *argv[], int option, struct refusal *why)
{
	const char *word = argv[optind - 1];

	if (option == ':')
		return refuse(why, -EINVAL, "%s needs a value; see vmqd --help", word);
	return refuse(why, -EINVAL, "%s is no option of vmqd; see vmqd --help", word);
}

int
options_parse(int argc, char *argv[], struct options *options, struct refusal *why)
{
	struct option longs[ROWS + 1] = { 0 };
	int option, error = 0;

	for (size_t i = 0; i < ROWS; i++)
		longs[i] = (struct option){ rows[i].name, rows[i].metavar ? required_argument : no_argument, NULL,
					    rows[i].value };
	*options = (struct options){
		.config = "/etc/vmq/vmq.conf",
		.socket = "/run/vmq/vmqd.sock",
		.state = "/var/lib/vmq/state.conf",
		.allowed = cpus_allowed(),
		.memory_mb = MEMORY_MB_DEFAULT,
	};
	options->cpus = cpus_default(&options->allowed);
	opterr = 0;
	while (!error && (option = getopt_long(argc, argv, "+:c:s:v", longs, NULL)) != -1)
		error = option == '?' || option == ':' ? refuse_option(argv, option, why) :
							 take_option(option, options, why);
	if (error)
		return error;
	if (optind < argc && strcmp(argv[optind - 1], "--"))
		return refuse(why, -EINVAL, "%s: vmqd takes no arguments; see vmqd --help", argv[optind]);
	options->eal_argc = argc - optind;
	options->eal_argv = argv + optind;
	return 0;
}
