/* SPDX-License-Identifier: BSD-3-Clause */
/* vmqd: options, start order, end. The only place that knows all the parts. */
#include "control/control.h"
#include "daemon/confine.h"
#include "daemon/options.h"
#include "port/eth.h"
#include "port/links.h"
#include "port/log.h"
#include "port/nic.h"
#include "port/pci.h"
#include "port/tap.h"
#include "vhost/vhost.h"
#include "datapath/path.h"

#include <errno.h>
#include <libgen.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EAL_ARGS_MAX = 64, LCORES_TEXT_SIZE = CPUMASK_TEXT_SIZE + 8 * CPU_LIMIT };

static unsigned long
meminfo_number(const char *field)
{
	FILE *stream = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long number = 0;

	while (stream && fgets(line, sizeof(line), stream))
		if (!strncmp(line, field, strlen(field)))
			number = strtoul(line + strlen(field), NULL, 10);
	if (stream)
		fclose(stream);
	return number;
}

static bool
use_huge_pages(const struct options *options)
{
	unsigned long free_mb = meminfo_number("HugePages_Free:") * meminfo_number("Hugepagesize:") / 1024;

	return options->huge == HUGE_ON || (options->huge == HUGE_AUTO && free_mb >= options->memory_mb);
}

/*
 * Each data-path processor gets one lcore. The main lcore is control's, and the threads of DPDK run where it does:
 * on the other processors, so that no guest's message takes time from a worker, or on all if need be.
 */
static void
lcores_format(const struct options *options, char text[LCORES_TEXT_SIZE])
{
	const struct cpumask *cpus = &options->cpus;
	const struct cpumask others = cpumask_without(&options->allowed, cpus);
	char control[CPUMASK_TEXT_SIZE];
	unsigned lcore = 1;
	int length;

	cpumask_format(cpumask_is_empty(&others) ? &options->allowed : &others, control);
	length = snprintf(text, LCORES_TEXT_SIZE, "0@(%s)", control);
	for (unsigned cpu = cpumask_next(cpus, 0); cpu < CPU_LIMIT; cpu = cpumask_next(cpus, cpu + 1))
		length += snprintf(text + length, (size_t)(LCORES_TEXT_SIZE - length), ",%u@%u", lcore++, cpu);
}

/* No card has this address. To allow it alone keeps DPDK from taking every card that is bound to a user driver. */
#define NO_CARD "ffff:ff:1f.7"

static bool
eal_option_given(const struct options *options, const char *prefix)
{
	for (int i = 0; i < options->eal_argc; i++)
		if (!strncmp(options->eal_argv[i], prefix, strlen(prefix)))
			return true;
	return false;
}

/* Which cards DPDK takes at once, and how it addresses them: what it would find out from those that it took. */
static int
eal_args_of_cards(const struct options *options, bool huge, char *argv[])
{
	static const char *const cards[] = { "-a", "--allow", "-b", "--block", "--no-pci" };
	bool told = false;
	int argc = 0;

	for (size_t i = 0; i < sizeof(cards) / sizeof(cards[0]); i++)
		told |= eal_option_given(options, cards[i]);
	if (!told) {
		argv[argc++] = "-a";
		argv[argc++] = NO_CARD;
	}
	if (huge && !eal_option_given(options, "--iova-mode") && pci_card_wants_physical_addresses())
		argv[argc++] = "--iova-mode=pa";
	return argc;
}

static int
eal_start(char *program, const struct options *options, struct refusal *why)
{
	char memory[16], lcores[LCORES_TEXT_SIZE];
	bool huge = use_huge_pages(options);
	char *argv[EAL_ARGS_MAX] = { program, "--no-telemetry", "-m", memory, "--lcores", lcores };
	int argc = 6;

	if (options->eal_argc > EAL_ARGS_MAX - argc - 6)
		return refuse(why, -EINVAL, "too many EAL options");
	snprintf(memory, sizeof(memory), "%u", options->memory_mb);
	lcores_format(options, lcores);
	/* DPDK refuses --in-memory without huge pages; without a shared configuration nothing is left behind either. */
	argv[argc++] = huge ? "--in-memory" : "--no-shconf";
	if (!huge)
		argv[argc++] = "--no-huge";
	argc += eal_args_of_cards(options, huge, argv + argc);
	for (int i = 0; i < options->eal_argc; i++)
		argv[argc++] = options->eal_argv[i];
	if (dpdk_log_open(options->verbose))
		return refuse(why, -ENOMEM, "no memory for DPDK's log");
	if (rte_eal_init(argc, argv) >= 0)
		return 0;
	return refuse(why, -rte_errno, "DPDK does not start: %s",
		      *dpdk_log_first_error() ? dpdk_log_first_error() : rte_strerror(rte_errno));
}

/* The guests may come before there is a control plane to tell. */
struct daemon {
	struct path *path;
	struct model *model;
	struct control *control;
	struct links *links;
	struct loop loop;
	struct nic_context nic;
	struct vhost_context vhost;
};

static void
vm_changed(void *ctx)
{
	struct daemon *daemon = ctx;

	if (daemon->control)
		control_vm_changed(daemon->control);
}

static void
event_happened(void *ctx, const struct model_event *event)
{
	struct daemon *daemon = ctx;

	if (daemon->control)
		control_event(daemon->control, event);
}

static void
interface_changed(void *ctx, const char *ifname)
{
	const struct daemon *daemon = ctx;

	control_interface_changed(daemon->control, ifname);
}

static int
parts_start(struct daemon *daemon, const struct options *options, struct refusal *why)
{
	struct model_config config = {
		.nic = &nic_software_ops,
		.nic_ctx = &daemon->nic,
		.host = &host_tap_ops,
		.vm = &vhost_vm_ops,
		.vm_ctx = &daemon->vhost,
		.path = &path_worker_ops,
		.cpus = options->cpus,
		.event = event_happened,
		.event_ctx = daemon,
	};
	int error = path_create(&options->cpus, &vhost_vm_ops, &daemon->path);

	if (error)
		return refuse(why, error, "the workers do not start: %s", strerror(-error));
	daemon->nic.workers = (uint16_t)cpumask_count(&options->cpus);
	daemon->vhost.grace = path_grace(daemon->path);
	daemon->vhost.access = options->access;
	daemon->vhost.changed = vm_changed;
	daemon->vhost.changed_ctx = daemon;
	config.path_ctx = daemon->path;
	daemon->model = model_create(&config);
	error = control_create(daemon->model, options->socket, &daemon->control, why);
	if (!error && options->metrics)
		error = control_serve_metrics(daemon->control, options->metrics, why);
	if (error)
		return error;
	daemon->loop = control_loop(daemon->control);
	daemon->vhost.loop = daemon->loop;
	return links_watch(&daemon->loop, interface_changed, daemon, &daemon->links, why);
}

static void
parts_stop(struct daemon *daemon)
{
	links_close(daemon->links);
	if (daemon->control)
		control_destroy(daemon->control);
	if (daemon->model)
		model_destroy(daemon->model);
	if (daemon->path)
		path_destroy(daemon->path);
}

static int
configure(struct daemon *daemon, const struct options *options, struct refusal *why)
{
	bool there = options->config_given || !access(options->config, F_OK);

	return control_restore(daemon->control, there ? options->config : NULL, options->state, why);
}

/* Signals reach the event loop only; every thread inherits this mask. */
static void
signals_block(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* There is no file to read again: what vmqd knows comes by its socket. A terminal that closes does not end it. */
	signal(SIGHUP, SIG_IGN);
}

/* The folders of the defaults, so that a first start by hand needs no preparation. */
static void
folders_make(const struct options *options)
{
	const char *const files[] = { options->socket, options->state };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char *copy = strdup(files[i]);

		if (copy)
			mkdir(dirname(copy), 0755);
		free(copy);
	}
}

/* Each VM has a socket, and each guest six descriptors more. */
static void
descriptors_raise(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int
run(char *program, const struct options *options, struct refusal *why)
{
	struct daemon daemon = { 0 };
	int error;

	folders_make(options);
	descriptors_raise();
	error = confine_capabilities(why);
	if (!error)
		error = confine_system_calls(why);
	if (!error)
		error = eal_start(program, options, why);
	if (error)
		return error;
	error = parts_start(&daemon, options, why);
	if (!error)
		error = configure(&daemon, options, why);
	if (!error)
		error = control_run(daemon.control);
	else if (daemon.control)
		control_close(daemon.control);
	parts_stop(&daemon);
	/* A driver that never answers still works on what this would take away. */
	if (!port_stuck())
		rte_eal_cleanup();
	return error;
}

int
main(int argc, char *argv[])
{
	struct refusal why = { .text = "failed" };
	struct options options;
	int error = options_parse(argc, argv, &options, &why);

	if (!error && options.help) {
		options_help();
		return 0;
	}
	if (!error && options.version) {
		puts("vmqd " VMQ_VERSION);
		return 0;
	}
	signals_block();
	if (!error)
		error = run(argv[0], &options, &why);
	if (error)
		fprintf(stderr, "vmqd: %s\n", why.text);
	return error ? 1 : 0;
}
