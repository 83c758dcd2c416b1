/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads words into the JSON of a request. A word that does not fit its argument stays a string, and
 * command_check() then refuses it: words and requests get the same sentences.
 */
#include "cmd/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct parse {
	const struct command *command;
	json_t *params;
	size_t positional; /* arguments before this place are taken */
	struct refusal *why;
};

static long long
unit_factor(const char *unit)
{
	if (!*unit)
		return 1;
	if (unit[1])
		return 0;
	return *unit == 'k' ? 1000 : *unit == 'M' ? 1000000 : 0;
}

/* 10, 10k, 2M, 0x0800. */
static bool
number_read(const char *word, json_int_t *number)
{
	bool hexadecimal = word[0] == '0' && word[1] == 'x' && isxdigit((unsigned char)word[2]);
	long long value;
	long long factor;
	char *end;

	if (!isdigit((unsigned char)*word))
		return false;
	errno = 0;
	value = strtoll(word, &end, hexadecimal ? 16 : 10);
	factor = unit_factor(end);
	if (errno || !factor || __builtin_mul_overflow(value, factor, &value))
		return false;
	*number = value;
	return true;
}

static json_t *
read_number(const char *word)
{
	json_int_t number;

	return number_read(word, &number) ? json_integer(number) : json_string(word);
}

static json_t *
read_switch(const char *word)
{
	if (!strcmp(word, "on"))
		return json_true();
	return strcmp(word, "off") ? json_string(word) : json_false();
}

static json_t *(*const readers[])(const char *word) = {
	[ARGUMENT_TEXT] = json_string,   [ARGUMENT_NUMBER] = read_number, [ARGUMENT_MAC] = json_string,
	[ARGUMENT_SWITCH] = read_switch, [ARGUMENT_CHOICE] = json_string, [ARGUMENT_VLAN] = read_number,
	[ARGUMENT_QUEUE] = read_number,  [ARGUMENT_AUTO] = read_number,   [ARGUMENT_CPUS] = json_string,
};

static int
value_store(struct parse *parse, const struct argument *argument, json_t *value)
{
	if (json_object_set_new(parse->params, argument->name, value))
		return refuse(parse->why, -ENOMEM, "out of memory");
	return 0;
}

/* 1,2,3: each part is a value of its own. */
static void
list_append(json_t *list, const struct argument *argument, const char *word)
{
	char *copy = strdup(word);
	char *rest = copy;
	char *part;

	while ((part = strsep(&rest, ",")))
		json_array_append_new(list, readers[argument->kind](part));
	free(copy);
}

/* Values up to the next keyword. @return how many words that took; -errno. */
static int
many_take(struct parse *parse, const struct argument *argument, int count, char *const words[])
{
	json_t *list = json_array();
	int used = 0;
	int error;

	while (used < count && !argument_by_keyword(parse->command, words[used]))
		list_append(list, argument, words[used++]);
	if (!used) {
		json_decref(list);
		return refuse(parse->why, -EINVAL, "%s needs a value: %s", argument->name, argument->metavar);
	}
	error = value_store(parse, argument, list);
	return error ? error : used;
}

static int
value_take(struct parse *parse, const struct argument *argument, int count, char *const words[])
{
	int error;

	if (argument->flags & ARGUMENT_MANY)
		return many_take(parse, argument, count, words);
	if (!count)
		return refuse(parse->why, -EINVAL, "%s needs a value: %s", argument->name, argument->metavar);
	error = value_store(parse, argument, readers[argument->kind](words[0]));
	return error ? error : 1;
}

static int
pair_take(struct parse *parse, const struct argument *argument, const char *word)
{
	const char *equals = strchr(word, '=');
	int error;

	if (!equals || !equals[1])
		return refuse(parse->why, -EINVAL, "%s needs a value: %s=%s", argument->name, argument->name,
			      argument->metavar);
	error = value_store(parse, argument, readers[argument->kind](equals + 1));
	return error ? error : 1;
}

static int
refuse_word(const char *word, const char *who, const char *known, struct refusal *why)
{
	char *shown = word_quoted(word);

	refuse(why, -EINVAL, "unknown word %.40s: %s takes %s", shown ? shown : "", who, known);
	free(shown);
	return -EINVAL;
}

static int
refuse_keyword(struct parse *parse, const char *word)
{
	struct word_list keywords = { "" };
	char *words = command_words(parse->command);

	for (size_t i = 0; i < parse->command->argument_count; i++)
		if (!(parse->command->arguments[i].flags & ARGUMENT_POSITIONAL))
			word_list_add(&keywords, parse->command->arguments[i].name);
	refuse_word(word, words ? words : "", *keywords.text ? keywords.text : "nothing more", parse->why);
	free(words);
	return -EINVAL;
}

static int
keyword_take(struct parse *parse, int count, char *const words[])
{
	const struct argument *argument = argument_by_keyword(parse->command, words[0]);
	int used;

	if (!argument)
		return refuse_keyword(parse, words[0]);
	if (json_object_get(parse->params, argument->name))
		return refuse(parse->why, -EINVAL, "%s is given twice", argument->name);
	if (argument->flags & ARGUMENT_PAIR)
		return pair_take(parse, argument, words[0]);
	used = value_take(parse, argument, count - 1, words + 1);
	return used < 0 ? used : used + 1;
}

static int
arguments_take(struct parse *parse, int count, char *const words[])
{
	for (int i = 0; i < count;) {
		const struct argument *argument = argument_positional(parse->command, &parse->positional, words[i]);
		int used;

		if (argument) {
			parse->positional++;
			used = value_take(parse, argument, count - i, words + i);
		} else {
			used = keyword_take(parse, count - i, words + i);
		}
		if (used < 0)
			return used;
		i += used;
	}
	return 0;
}

/* JSON holds UTF-8 only, and a terminal must not meet control characters in a refusal. */
static int
words_check(int count, char *const words[], struct refusal *why)
{
	for (int i = 0; i < count; i++) {
		json_t *text = json_string(words[i]);

		if (!text)
			return refuse(why, -EINVAL, "word %d is not valid UTF-8", i + 1);
		json_decref(text);
		for (const char *c = words[i]; *c; c++)
			if (iscntrl((unsigned char)*c))
				return refuse(why, -EINVAL, "word %d has a control character", i + 1);
	}
	return 0;
}

static int
refuse_command(int count, char *const words[], struct refusal *why)
{
	struct word_list groups = { "" };
	struct word_list seconds = { "" };

	command_candidates(0, words, word_list_add, &groups);
	if (!count)
		return refuse(why, -EINVAL, "a command begins with %s", groups.text);
	command_candidates(1, words, word_list_add, &seconds);
	if (!*seconds.text)
		return refuse_word(words[0], "vmqctl", groups.text, why);
	if (count == 1)
		return refuse(why, -EINVAL, "%s takes one of %s", words[0], seconds.text);
	return refuse_word(words[1], words[0], seconds.text, why);
}

int
command_parse(int count, char *const words[], const struct command **command, json_t **params, struct refusal *why)
{
	struct parse parse = { .why = why };
	int used;
	int error = words_check(count, words, why);

	if (error)
		return error;
	used = command_find(count, words, &parse.command);
	if (!used)
		return refuse_command(count, words, why);
	parse.params = json_object();
	error = arguments_take(&parse, count - used, words + used);
	if (!error)
		error = command_check(parse.command, parse.params, why);
	if (error) {
		json_decref(parse.params);
		return error;
	}
	*command = parse.command;
	*params = parse.params;
	return 0;
}
