/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/words.h"

#include <stdio.h>
#include <string.h>

void
word_list_add(void *ctx, const char *word)
{
	struct word_list *list = ctx;
	const char *separator = list->text[0] ? ", " : "";

	if (strlen(list->text) + strlen(separator) + strlen(word) >= sizeof(list->text))
		return;
	strcat(list->text, separator);
	strcat(list->text, word);
}

size_t
method_first_length(const char *method)
{
	return strcspn(method, ".");
}

const char *
method_second(const char *method)
{
	const char *dot = strchr(method, '.');

	return dot ? dot + 1 : NULL;
}

char *
command_words(const struct command *command)
{
	char *words = strdup(command->method);
	char *dot = words ? strchr(words, '.') : NULL;

	if (dot)
		*dot = ' ';
	return words;
}

char *
word_quoted(const char *word)
{
	json_t *text = json_string(word);
	char *quoted = json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

	json_decref(text);
	return quoted;
}

static int
method_match(const char *method, int count, char *const words[])
{
	size_t length = method_first_length(method);
	const char *second = method_second(method);

	if (!count || strlen(words[0]) != length || memcmp(words[0], method, length))
		return 0;
	if (!second)
		return 1;
	return count > 1 && !strcmp(words[1], second) ? 2 : 0;
}

int
command_find(int count, char *const words[], const struct command **command)
{
	for (size_t i = 0; i < command_count; i++) {
		int used = method_match(commands[i].method, count, words);

		if (used) {
			*command = &commands[i];
			return used;
		}
	}
	return 0;
}

const struct argument *
argument_by_name(const struct command *command, const char *name)
{
	for (size_t i = 0; i < command->argument_count; i++)
		if (!strcmp(command->arguments[i].name, name))
			return &command->arguments[i];
	return NULL;
}

const struct argument *
argument_by_keyword(const struct command *command, const char *word)
{
	size_t pair_length = strcspn(word, "=");

	for (size_t i = 0; i < command->argument_count; i++) {
		const struct argument *argument = &command->arguments[i];
		size_t length = argument->flags & ARGUMENT_PAIR ? pair_length : strlen(word);

		if (!(argument->flags & ARGUMENT_POSITIONAL) && strlen(argument->name) == length &&
		    !memcmp(argument->name, word, length))
			return argument;
	}
	return NULL;
}

const struct argument *
argument_positional(const struct command *command, size_t *index, const char *word)
{
	const bool is_keyword = word && argument_by_keyword(command, word);

	for (; *index < command->argument_count; (*index)++) {
		const struct argument *argument = &command->arguments[*index];

		if (argument->flags & ARGUMENT_POSITIONAL)
			return is_keyword && !(argument->flags & ARGUMENT_REQUIRED) ? NULL : argument;
	}
	return NULL;
}

bool
choice_has(const char *choices, const char *word)
{
	size_t length = strlen(word);

	while (choices && *choices) {
		size_t end = strcspn(choices, "|");

		if (end == length && !memcmp(choices, word, length))
			return true;
		choices += end + (choices[end] == '|');
	}
	return false;
}
