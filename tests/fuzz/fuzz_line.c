/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of a configuration file, or of an interactive vmqctl: whatever is typed is a command that passes its own
 * check, or a refusal with a sentence that a terminal can show. Words survive being quoted and read again.
 */
#include "cmd/words.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void
candidate_check(void *count, const char *word)
{
	if (!*word)
		abort();
	++*(unsigned *)count;
}

static void
refusal_check(const struct refusal *why)
{
	if (!*why->text)
		abort();
	for (const char *c = why->text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			abort();
}

/* A word as the state file writes it. */
static char *
word_put(char *to, const char *word)
{
	*to++ = '"';
	for (; *word; *to++ = *word++)
		if (*word == '"' || *word == '\\')
			*to++ = '\\';
	*to++ = '"';
	*to++ = ' ';
	return to;
}

static void
words_survive(int count, char *const words[], size_t line_bytes)
{
	char *line = malloc(2 * line_bytes + 3 * (size_t)count + 1), *end = line;
	char **again;
	int found;

	for (int i = 0; i < count; i++)
		end = word_put(end, words[i]);
	*end = '\0';
	if (line_split(line, &found, &again, NULL) || found != count)
		abort();
	for (int i = 0; i < count; i++)
		if (strcmp(words[i], again[i]))
			abort();
	line_free(again);
	free(line);
}

static void
words_check(const char *line)
{
	unsigned candidates = 0;
	char **words;
	int count;

	if (line_split(line, &count, &words, NULL))
		return;
	words_survive(count, words, strlen(line));
	command_candidates(count, words, candidate_check, &candidates);
	line_free(words);
}

static void
command_passes(const struct command *command, const json_t *params)
{
	char *usage = command_usage(command);

	if (command_check(command, params, NULL) || !usage || command_by_method(command->method) != command)
		abort();
	free(usage);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	char *line = strndup((const char *)bytes, count);
	const struct command *command = NULL;
	struct refusal why = { 0 };
	json_t *params = NULL;

	if (command_parse_line(line, &command, &params, &why))
		refusal_check(&why);
	else if (command)
		command_passes(command, params);
	else if (params)
		abort();
	json_decref(params);
	words_check(line);
	free(line);
	return 0;
}
