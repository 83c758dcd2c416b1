/* SPDX-License-Identifier: BSD-3-Clause */
/* vmqd's command line. */
#ifndef VMQ_DAEMON_OPTIONS_H
#define VMQ_DAEMON_OPTIONS_H

#include "model/model.h"
#include "util/cpumask.h"
#include "util/refusal.h"

#include <stdbool.h>

enum huge_pages {
	HUGE_AUTO, /* if enough of them are free */
	HUGE_ON,
	HUGE_OFF,
};

struct options {
	const char *config;     /* file of commands */
	bool config_given;      /* then it must be there */
	const char *socket;
	const char *state;
	struct cpumask allowed; /* processors that this process may use; never empty */
	struct cpumask cpus;    /* of the data path, some of them; never empty */
	struct socket_access access; /* of VMs' sockets whose own words say nothing */
	const char *metrics;    /* where to serve them; NULL: nowhere */
	unsigned memory_mb;
	enum huge_pages huge;
	bool verbose;
	bool help, version;     /* print and end */
	int eal_argc;           /* what followed `--` */
	char **eal_argv;
};

/** @return 0; -EINVAL, and *why names the option. */
int options_parse(int argc, char *argv[], struct options *options, struct refusal *why);

void options_help(void);

#endif
