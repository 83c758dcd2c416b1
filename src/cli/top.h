/* SPDX-License-Identifier: BSD-3-Clause */
/* `vmqctl top`: queues by what passes, again and again. On a terminal it is a screen, else tables or objects. */
#ifndef VMQ_CLI_TOP_H
#define VMQ_CLI_TOP_H

#include "cli/session.h"
#include "util/refusal.h"

#include <jansson.h>
#include <stdint.h>

struct top {
	const struct session *session;
	const char *adapter;     /* NULL: all */
	const char *by;          /* what rates_sort() goes by */
	unsigned interval_s;
	uint64_t count;          /* samples; 0: until interrupted */
	struct client *client;
	json_t *before;          /* queues as they were last */
	uint64_t before_ms;      /* when, by clock_ms() */
	json_t *rows;            /* of rates_between(), in order */
};

/** Run the command until it ends. @return a session_exit, with the sentence unless it is SESSION_DONE. */
enum session_exit top_run(const struct session *session, const json_t *params, struct refusal *why);

/** Ask again, and make new rows. @return as top_run(). */
enum session_exit top_sample(struct top *top, struct refusal *why);

/** The rows on a terminal, until `q`. @return as top_run(). */
enum session_exit screen_run(struct top *top, struct refusal *why);

/** How long it is until the next sample is due. */
int top_wait_ms(const struct top *top);

#endif
