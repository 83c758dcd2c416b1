/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/top.h"
#include "cli/client.h"
#include "cli/rates.h"
#include "cli/show.h"
#include "cli/table.h"
#include "util/clock.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { INTERVAL_MAX_S = 3600, MS_IN_S = 1000 };

int
top_wait_ms(const struct top *top)
{
	const uint64_t passed_ms = clock_ms() - top->before_ms, interval_ms = (uint64_t)top->interval_s * MS_IN_S;

	return passed_ms < interval_ms ? (int)(interval_ms - passed_ms) : 0;
}

enum session_exit
top_sample(struct top *top, struct refusal *why)
{
	json_t *params = top->adapter ? json_pack("{s:s}", "adapter", top->adapter) : json_object();
	json_t *queues;
	const enum session_exit exit = session_ask(top->session->socket, &top->client, "queue.show", params, &queues,
						   why);
	const uint64_t now_ms = clock_ms();

	json_decref(params);
	if (exit != SESSION_DONE)
		return exit;
	json_decref(top->rows);
	top->rows = rates_between(top->before ? top->before : queues, queues,
				  (double)(now_ms - top->before_ms) / MS_IN_S);
	rates_sort(top->rows, top->by);
	json_decref(top->before);
	top->before = queues;
	top->before_ms = now_ms;
	return SESSION_DONE;
}

static enum session_exit
print_run(struct top *top, struct refusal *why)
{
	enum session_exit exit = SESSION_DONE;

	for (uint64_t i = 0; exit == SESSION_DONE && (!top->count || i < top->count) && !ferror(stdout); i++) {
		poll(NULL, 0, top_wait_ms(top));
		exit = top_sample(top, why);
		if (exit != SESSION_DONE)
			break;
		if (top->session->json)
			show_json(top->rows, true);
		else if (i)
			putchar('\n');
		if (!top->session->json && table_print(table_by_method("top"), top->rows)) {
			refuse(why, -ENOMEM, "out of memory");
			exit = SESSION_REFUSED;
		}
		fflush(stdout);
	}
	return exit;
}

enum session_exit
top_run(const struct session *session, const json_t *params, struct refusal *why)
{
	const json_t *interval = json_object_get(params, "interval");
	const char *by = json_string_value(json_object_get(params, "sort"));
	struct top top = {
		.session = session,
		.adapter = json_string_value(json_object_get(params, "adapter")),
		.by = by ? by : "rx",
		.interval_s = 1,
		.count = (uint64_t)json_integer_value(json_object_get(params, "count")),
	};
	const bool screen = !session->json && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
	enum session_exit exit;

	if (interval && (json_integer_value(interval) < 1 || json_integer_value(interval) > INTERVAL_MAX_S)) {
		refuse(why, -EINVAL, "interval must be from 1 to %d seconds", INTERVAL_MAX_S);
		return SESSION_USAGE;
	}
	if (interval)
		top.interval_s = (unsigned)json_integer_value(interval);
	exit = top_sample(&top, why);
	if (exit == SESSION_DONE)
		exit = screen ? screen_run(&top, why) : print_run(&top, why);
	json_decref(top.rows);
	json_decref(top.before);
	client_close(top.client);
	return exit;
}
