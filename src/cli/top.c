/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/top.h"
#include "cli/client.h"
#include "cli/rates.h"
#include "cli/show.h"
#include "cli/table.h"

#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

enum { INTERVAL_MAX_S = 3600, MS_IN_S = 1000 };

#define NS_IN_S UINT64_C(1000000000)
#define NS_IN_MS UINT64_C(1000000)

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_IN_S + (uint64_t)now.tv_nsec;
}

int
top_wait_ms(const struct top *top)
{
	const uint64_t passed_ms = (now_ns() - top->before_ns) / NS_IN_MS,
		       interval_ms = (uint64_t)top->interval_s * MS_IN_S;

	return passed_ms < interval_ms ? (int)(interval_ms - passed_ms) : 0;
}

static enum session_exit
ask(struct top *top, json_t **queues, struct refusal *why)
{
	json_t *params = top->adapter ? json_pack("{s:s}", "adapter", top->adapter) : json_object();
	json_t *response = NULL;
	const json_t *refused;
	int error = top->client ? 0 : client_open(top->session->socket, &top->client, why);

	if (!error)
		error = client_request(top->client, "queue.show", params, &response, why);
	json_decref(params);
	if (error)
		return error == -EACCES ? SESSION_REFUSED : SESSION_UNREACHABLE;
	refused = json_object_get(response, "error");
	if (refused)
		refuse(why, -EINVAL, "%s", json_string_value(json_object_get(refused, "message")));
	*queues = json_incref(json_object_get(response, "result"));
	json_decref(response);
	return refused ? SESSION_REFUSED : SESSION_DONE;
}

enum session_exit
top_sample(struct top *top, struct refusal *why)
{
	json_t *queues = NULL;
	const enum session_exit exit = ask(top, &queues, why);
	const uint64_t now = now_ns();

	if (exit == SESSION_DONE) {
		json_decref(top->rows);
		top->rows = rates_between(top->before ? top->before : queues, queues,
					  (double)(now - top->before_ns) / (double)NS_IN_S);
		rates_sort(top->rows, top->by);
		json_decref(top->before);
		top->before = queues;
		top->before_ns = now;
	}
	return exit;
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
	const json_t *interval = json_object_get(params, "interval"), *count = json_object_get(params, "count");
	const char *by = json_string_value(json_object_get(params, "sort"));
	struct top top = {
		.session = session,
		.adapter = json_string_value(json_object_get(params, "adapter")),
		.by = by ? by : "rx",
		.interval_s = 1,
		.count = (uint64_t)json_integer_value(count),
	};
	const bool screen = !session->json && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
	enum session_exit exit;

	if (interval && (json_integer_value(interval) < 1 || json_integer_value(interval) > INTERVAL_MAX_S)) {
		refuse(why, -EINVAL, "interval must be from 1 to %d seconds", INTERVAL_MAX_S);
		return SESSION_USAGE;
	}
	if (count && top.count == 0) {
		refuse(why, -EINVAL, "count must be 1 or more, not 0");
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
