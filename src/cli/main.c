/* SPDX-License-Identifier: BSD-3-Clause */
/* vmqctl: a client of vmqd's socket, nothing more. */
#include "cli/help.h"
#include "cli/interactive.h"
#include "cli/session.h"

#include <getopt.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

enum {
	OPTION_ATOMIC = 256,
	OPTION_HELP,
	OPTION_VERSION,
};

struct options {
	const char *file;
	bool atomic;
	bool help;
	bool version;
};

static const struct option long_options[] = {
	{ "atomic", no_argument, NULL, OPTION_ATOMIC },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ NULL, 0, NULL, 0 },
};

static bool
option_set(int option, struct session *session, struct options *options)
{
	switch (option) {
	case 's':
		session->socket = optarg;
		return true;
	case 'j':
		session->json = true;
		return true;
	case 'w':
		session->write_file = optarg;
		return true;
	case 'f':
		options->file = optarg;
		return true;
	case OPTION_ATOMIC:
		options->atomic = true;
		return true;
	case OPTION_HELP:
		options->help = true;
		return true;
	case OPTION_VERSION:
		options->version = true;
		return true;
	}
	return false;
}

static bool
options_parse(int argc, char **argv, struct session *session, struct options *options)
{
	int option;

	while ((option = getopt_long(argc, argv, "s:jf:w:", long_options, NULL)) != -1)
		if (!option_set(option, session, options))
			return false;
	return true;
}

static int
run_help(const struct session *session, int count, char *const words[])
{
	if (!count)
		help_print(stdout);
	else if (!help_print_commands(stdout, count, words))
		return session_report_usage(session, "no such command; vmqctl help lists them");
	return SESSION_DONE;
}

static int
run(struct session *session, const struct options *options, int count, char *const words[])
{
	if (options->version) {
		puts("vmqctl " VMQ_VERSION);
		return SESSION_DONE;
	}
	if (options->help)
		return run_help(session, count, words);
	if (options->file && count)
		return session_report_usage(session, "a command and -f FILE do not go together");
	if (options->atomic && !options->file)
		return session_report_usage(session, "--atomic needs -f FILE");
	if (options->file)
		return options->atomic ? session_run_atomic(session, options->file) :
					 session_run_file(session, options->file);
	if (count && !strcmp(words[0], "help"))
		return run_help(session, count - 1, words + 1);
	if (count)
		return session_run_words(session, count, words);
	return isatty(STDIN_FILENO) ? interactive_run(session) : session_run_file(session, "-");
}

int
main(int argc, char **argv)
{
	struct session session = { .socket = "/run/vmq/vmqd.sock" };
	struct options options = { 0 };
	int exit;

	setlocale(LC_CTYPE, "");
	if (!options_parse(argc, argv, &session, &options)) {
		fputs(HELP_USAGE, stderr);
		return SESSION_USAGE;
	}
	exit = run(&session, &options, argc - optind, argv + optind);
	session_close(&session);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "vmqctl: cannot write the answer\n");
		return exit ? exit : SESSION_REFUSED;
	}
	return exit;
}
