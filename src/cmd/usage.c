/* SPDX-License-Identifier: BSD-3-Clause */
/* What the rows say to people: usage lines, and what may come next. */
#include "cmd/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
usage_value(FILE *out, const struct argument *argument)
{
	if (argument->flags & ARGUMENT_POSITIONAL)
		fputs(argument->metavar, out);
	else
		fprintf(out, "%s%c%s", argument->name, argument->flags & ARGUMENT_PAIR ? '=' : ' ', argument->metavar);
}

/* Optional words by position nest: the second can only be given after the first. */
static void
usage_arguments(FILE *out, const struct command *command)
{
	bool joined = false;
	int open = 0;

	for (size_t i = 0; i < command->argument_count; i++) {
		const struct argument *argument = &command->arguments[i];
		bool always = argument->flags & (ARGUMENT_REQUIRED | ARGUMENT_ONE_OF);
		bool nested = !always && argument->flags & ARGUMENT_POSITIONAL;

		for (; open && !(argument->flags & ARGUMENT_POSITIONAL); open--)
			fputc(']', out);
		fputs(joined ? "|" : always ? " " : " [", out);
		usage_value(out, argument);
		fputs(always || nested ? "" : "]", out);
		open += nested;
		joined = argument->flags & ARGUMENT_ONE_OF && i + 1 < command->argument_count &&
			 argument[1].flags & ARGUMENT_ONE_OF;
	}
	while (open--)
		fputc(']', out);
}

char *
command_usage(const struct command *command)
{
	const char *second = method_second(command->method);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fprintf(out, "%.*s", (int)method_first_length(command->method), command->method);
	if (second)
		fprintf(out, " %s", second);
	usage_arguments(out, command);
	fclose(out);
	return text;
}

struct candidates {
	void (*each)(void *ctx, const char *word);
	void *ctx;
};

static void
candidate(const struct candidates *to, const char *word, size_t length, const char *suffix)
{
	char *text;

	if (asprintf(&text, "%.*s%s", (int)length, word, suffix) < 0)
		return;
	to->each(to->ctx, text);
	free(text);
}

static void
candidate_groups(const struct candidates *to)
{
	for (size_t i = 0; i < command_count; i++) {
		size_t length = method_first_length(commands[i].method);

		if (!i || strncmp(commands[i - 1].method, commands[i].method, length) ||
		    method_first_length(commands[i - 1].method) != length)
			candidate(to, commands[i].method, length, "");
	}
}

static void
candidate_seconds(const struct candidates *to, const char *group)
{
	for (size_t i = 0; i < command_count; i++) {
		size_t length = method_first_length(commands[i].method);
		const char *second = method_second(commands[i].method);

		if (second && strlen(group) == length && !memcmp(group, commands[i].method, length))
			candidate(to, second, strlen(second), "");
	}
}

static void
candidate_choices(const struct candidates *to, const char *choices)
{
	while (choices && *choices) {
		size_t length = strcspn(choices, "|");

		candidate(to, choices, length, "");
		choices += length + (choices[length] == '|');
	}
}

static bool
keyword_is_used(const struct command *command, const struct argument *argument, int count, char *const words[])
{
	for (int i = 0; i < count; i++)
		if (argument_by_keyword(command, words[i]) == argument)
			return true;
	return false;
}

static void
candidate_keywords(const struct candidates *to, const struct command *command, int count, char *const words[])
{
	for (size_t i = 0; i < command->argument_count; i++) {
		const struct argument *argument = &command->arguments[i];
		const char *suffix = argument->flags & ARGUMENT_PAIR ? "=" : "";

		if (!(argument->flags & ARGUMENT_POSITIONAL) && !keyword_is_used(command, argument, count, words))
			candidate(to, argument->name, strlen(argument->name), suffix);
	}
}

/* The argument whose value comes next. @return NULL a keyword comes next. */
static const struct argument *
argument_awaited(const struct command *command, int count, char *const words[])
{
	const struct argument *awaited = NULL;
	size_t positional = 0;

	for (int i = 0; i < count; i++) {
		if (awaited) {
			awaited = NULL;
		} else if (argument_positional(command, &positional, words[i])) {
			positional++;
		} else {
			awaited = argument_by_keyword(command, words[i]);
			if (awaited && awaited->flags & ARGUMENT_PAIR)
				awaited = NULL;
		}
	}
	return awaited ? awaited : argument_positional(command, &positional, NULL);
}

void
command_candidates(int count, char *const words[], void (*each)(void *ctx, const char *word), void *ctx)
{
	const struct candidates to = { each, ctx };
	const struct command *command;
	const struct argument *awaited;
	int used = command_find(count, words, &command);

	if (!count)
		candidate_groups(&to);
	else if (!used && count == 1)
		candidate_seconds(&to, words[0]);
	if (!used)
		return;
	awaited = argument_awaited(command, count - used, words + used);
	if (awaited)
		candidate_choices(&to, awaited->choices);
	if (!awaited || (awaited->flags & (ARGUMENT_POSITIONAL | ARGUMENT_REQUIRED)) == ARGUMENT_POSITIONAL)
		candidate_keywords(&to, command, count - used, words + used);
}
