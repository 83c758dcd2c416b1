/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/capture.h"
#include "cli/session.h"
#include "cli/show.h"
#include "cli/top.h"
#include "cmd/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
session_close(struct session *session)
{
	client_close(session->client);
	session->client = NULL;
}

/* @param code  an errno below 0, or what vmqd answered. */
static int
report(const struct session *session, int exit, json_int_t code, const char *message)
{
	char *text = NULL;
	json_t *error;

	if (session->file && asprintf(&text, "%s:%u: %s", session->file, session->line, message) < 0)
		text = NULL;
	message = text ? text : message;
	if (session->json) {
		error = json_pack("{s:{s:I, s:s}}", "error", "code", code, "message", message);
		show_json(error, true);
		json_decref(error);
	} else {
		fprintf(stderr, "vmqctl: %s\n", message);
	}
	free(text);
	return exit;
}

int
session_report_usage(const struct session *session, const char *message)
{
	return report(session, SESSION_USAGE, -EINVAL, message);
}

/* Who may not use the socket is refused: vmqd may well be there. */
static enum session_exit
exit_of(int error)
{
	return error == -EACCES ? SESSION_REFUSED : SESSION_UNREACHABLE;
}

static int
report_unreachable(struct session *session, int error, const struct refusal *why)
{
	session_close(session);
	return report(session, exit_of(error), error, why->text);
}

static const char *
sentence_of(const json_t *error)
{
	const char *message = json_string_value(json_object_get(error, "message"));

	return message ? message : "refused";
}

static int
report_error(const struct session *session, const json_t *error)
{
	return report(session, SESSION_REFUSED, json_integer_value(json_object_get(error, "code")), sentence_of(error));
}

static int
ask(const char *socket, struct client **client, const char *method, json_t *params, json_t **response,
    struct refusal *why)
{
	int error = *client ? 0 : client_open(socket, client, why);

	return error ? error : client_request(*client, method, params, response, why);
}

enum session_exit
session_ask(const char *socket, struct client **client, const char *method, json_t *params, json_t **result,
	    struct refusal *why)
{
	json_t *response = NULL;
	const json_t *refused;
	int error = ask(socket, client, method, params, &response, why);

	*result = NULL;
	if (error)
		return exit_of(error);
	refused = json_object_get(response, "error");
	if (refused)
		refuse(why, -EINVAL, "%s", sentence_of(refused));
	else
		*result = json_incref(json_object_get(response, "result"));
	json_decref(response);
	return refused ? SESSION_REFUSED : SESSION_DONE;
}

/* @return SESSION_DONE and a new reference in *response. */
static int
request(struct session *session, const char *method, json_t *params, json_t **response)
{
	struct refusal why;
	int error = ask(session->socket, &session->client, method, params, response, &why);

	return error ? report_unreachable(session, error, &why) : SESSION_DONE;
}

/* The answer for a batch of queues says for each whether it is done. */
static int
report_batch(const struct session *session, const json_t *result)
{
	const json_t *entry;
	size_t index;
	int exit = SESSION_DONE;

	json_array_foreach(result, index, entry) {
		const char *status = json_string_value(json_object_get(entry, "status"));
		const char *message = json_string_value(json_object_get(entry, "message"));

		if (!status || !strcmp(status, "ok"))
			continue;
		exit = SESSION_REFUSED;
		if (!session->json)
			fprintf(stderr, "vmqctl: queue %" JSON_INTEGER_FORMAT ": %s\n",
				json_integer_value(json_object_get(entry, "id")), message ? message : status);
	}
	return exit;
}

static int
print_result(const struct session *session, const char *method, const json_t *result)
{
	if (session->json)
		show_json(result, false);
	else if (show_answer(method, result))
		return report(session, SESSION_REFUSED, -ENOMEM, "out of memory");
	return strcmp(method, "queue.complete") ? SESSION_DONE : report_batch(session, result);
}

static int
follow_events(struct session *session)
{
	struct refusal why;
	json_t *message;
	int error;

	for (;;) {
		fflush(stdout);
		error = client_receive(session->client, &message, &why);
		if (error)
			return report_unreachable(session, error, &why);
		if (session->json)
			show_json(message, true);
		else
			show_event(json_object_get(message, "params"));
		json_decref(message);
	}
}

/* Those that go on until they end have a connection of their own. */
static int
run_on(struct session *session, enum session_exit (*run)(const struct session *, const json_t *, struct refusal *),
       const json_t *params)
{
	const json_t *count = json_object_get(params, "count");
	struct refusal why = { .text = "" };
	enum session_exit exit;

	if (count && !json_integer_value(count))
		return session_report_usage(session, "count must be 1 or more, not 0");
	exit = run(session, params, &why);
	return exit ? report(session, exit, -EINVAL, why.text) : SESSION_DONE;
}

static int
run_request(struct session *session, const struct command *command, json_t *params)
{
	bool follow = !strcmp(command->method, "events") && json_object_get(params, "mode");
	const json_t *error;
	json_t *response;
	int exit = request(session, command->method, params, &response);

	if (exit)
		return exit;
	error = json_object_get(response, "error");
	if (error)
		exit = report_error(session, error);
	else if (!follow)
		exit = print_result(session, command->method, json_object_get(response, "result"));
	json_decref(response);
	return exit || !follow ? exit : follow_events(session);
}

static int
run(struct session *session, const struct command *command, json_t *params)
{
	if (!strcmp(command->method, "capture"))
		return run_on(session, capture_run, params);
	if (session->write_file)
		return session_report_usage(session, "-w FILE goes with capture");
	if (!strcmp(command->method, "top"))
		return run_on(session, top_run, params);
	return run_request(session, command, params);
}

int
session_run_words(struct session *session, int count, char *const words[])
{
	const struct command *command;
	struct refusal why;
	json_t *params;
	int exit;

	if (command_parse(count, words, &command, &params, &why))
		return session_report_usage(session, why.text);
	exit = run(session, command, params);
	json_decref(params);
	return exit;
}

int
session_run_line(struct session *session, const char *line)
{
	const struct command *command;
	struct refusal why;
	json_t *params;
	int exit;

	if (command_parse_line(line, &command, &params, &why))
		return session_report_usage(session, why.text);
	exit = command ? run(session, command, params) : SESSION_DONE;
	json_decref(params);
	return exit;
}

/* Call `each` for every line of a file up to the first that fails. */
static int
for_each_line(struct session *session, const char *path, int (*each)(struct session *, void *ctx, const char *line),
	      void *ctx)
{
	bool standard = !strcmp(path, "-");
	FILE *in = standard ? stdin : fopen(path, "r");
	char *line = NULL;
	size_t size = 0;
	int exit = SESSION_DONE;
	struct refusal why;

	if (!in) {
		refuse(&why, -errno, "%s: %s", path, strerror(errno));
		return session_report_usage(session, why.text);
	}
	session->file = standard ? "stdin" : path;
	session->line = 0;
	while (exit == SESSION_DONE && getline(&line, &size, in) >= 0) {
		session->line++;
		exit = each(session, ctx, line);
	}
	free(line);
	if (!standard)
		fclose(in);
	return exit;
}

static int
run_line(struct session *session, void *ctx, const char *line)
{
	(void)ctx;
	return session_run_line(session, line);
}

int
session_run_file(struct session *session, const char *path)
{
	int exit = for_each_line(session, path, run_line, NULL);

	session->file = NULL;
	return exit;
}

/* The commands of a transaction, and the line that each is from. */
struct transaction {
	json_t *commands;
	json_t *lines;
};

static int
collect_line(struct session *session, void *ctx, const char *line)
{
	struct transaction *transaction = ctx;
	const struct command *command;
	struct refusal why;
	json_t *params;

	if (command_parse_line(line, &command, &params, &why))
		return session_report_usage(session, why.text);
	if (!command)
		return SESSION_DONE;
	json_array_append_new(transaction->commands,
			      json_pack("{s:s, s:o}", "method", command->method, "params", params));
	json_array_append_new(transaction->lines, json_integer(session->line));
	return SESSION_DONE;
}

static int
print_results(const struct session *session, const struct transaction *transaction, const json_t *results)
{
	const json_t *command;
	size_t index;
	int exit = SESSION_DONE;

	if (session->json) {
		show_json(results, false);
		return SESSION_DONE;
	}
	json_array_foreach(transaction->commands, index, command)
		if (exit == SESSION_DONE)
			exit = print_result(session, json_string_value(json_object_get(command, "method")),
					    json_array_get(results, index));
	return exit;
}

static int
run_transaction(struct session *session, const struct transaction *transaction)
{
	json_t *params = json_pack("{s:O}", "commands", transaction->commands);
	const json_t *error;
	json_t *response;
	int exit = request(session, "transaction", params, &response);

	json_decref(params);
	if (exit)
		return exit;
	error = json_object_get(response, "error");
	if (error) {
		const json_t *index = json_object_get(json_object_get(error, "data"), "index");
		const json_t *line = json_array_get(transaction->lines, (size_t)json_integer_value(index));

		session->line = (unsigned)json_integer_value(line);
		session->file = index && line ? session->file : NULL;
		exit = report_error(session, error);
	} else {
		exit = print_results(session, transaction, json_object_get(response, "result"));
	}
	json_decref(response);
	return exit;
}

int
session_run_atomic(struct session *session, const char *path)
{
	struct transaction transaction = { json_array(), json_array() };
	int exit = for_each_line(session, path, collect_line, &transaction);

	if (exit == SESSION_DONE && json_array_size(transaction.commands))
		exit = run_transaction(session, &transaction);
	session->file = NULL;
	json_decref(transaction.commands);
	json_decref(transaction.lines);
	return exit;
}
