/* SPDX-License-Identifier: BSD-3-Clause */
/* One run of vmqctl: reads commands, sends them, prints answers and refusals. */
#ifndef VMQ_CLI_SESSION_H
#define VMQ_CLI_SESSION_H

#include "cli/client.h"

#include <stdbool.h>
#include <stdio.h>

enum session_exit {
	SESSION_DONE = 0,
	SESSION_REFUSED = 1,     /* by vmqd */
	SESSION_USAGE = 2,
	SESSION_UNREACHABLE = 3, /* no vmqd there, or no longer */
};

struct session {
	const char *socket;
	bool json;
	const char *write_file; /* of capture; NULL: text on standard output, "-": there, but no text */
	struct client *client; /* NULL before the first request */
	const char *file;      /* of the command at hand; NULL: it came from the command line or the prompt */
	unsigned line;
};

void session_close(struct session *session);

/** Run one command. All of these return a session_exit, with the reason printed. */
int session_run_words(struct session *session, int count, char *const words[]);
int session_run_line(struct session *session, const char *line);
/** Run the commands of a file, one a line, up to the first that is refused. `-` is standard input. */
int session_run_file(struct session *session, const char *path);
/** Run all commands of a file as one transaction: all of them or none. */
int session_run_atomic(struct session *session, const char *path);

/**
 * Ask vmqd over a connection that is opened if *client is NULL; print nothing.
 *
 * @param params  stay the caller's. @param result  out: the caller's to release; NULL unless it is SESSION_DONE.
 * @return what it came to, with the sentence unless it is SESSION_DONE.
 */
enum session_exit session_ask(const char *socket, struct client **client, const char *method, json_t *params,
			      json_t **result, struct refusal *why);

/** Print why a call of vmqctl is wrong, in the form that -j asks for. @return SESSION_USAGE. */
int session_report_usage(const struct session *session, const char *message);

#endif
