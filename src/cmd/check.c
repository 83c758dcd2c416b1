/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks a request's params against the rows, whether they came from words or over the socket. */
#include "cmd/words.h"
#include "util/cpumask.h"
#include "util/text.h"
#include "util/vlan.h"

#include <errno.h>
#include <stdlib.h>

static bool
valid_text(const struct argument *argument, const json_t *value)
{
	const char *text = json_string_value(value);

	return text && !text_has_control(text) && (*text || !(argument->flags & ARGUMENT_REQUIRED));
}

static bool
valid_number(const struct argument *argument, const json_t *value)
{
	(void)argument;
	return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool
valid_switch(const struct argument *argument, const json_t *value)
{
	(void)argument;
	return json_is_boolean(value);
}

static bool
valid_choice(const struct argument *argument, const json_t *value)
{
	return json_is_string(value) && choice_has(argument->choices, json_string_value(value));
}

static bool
valid_number_or_choice(const struct argument *argument, const json_t *value)
{
	return valid_number(argument, value) || valid_choice(argument, value);
}

/* Source: vmq-spec §3: a filter names 1 to 4094; 0 and 4095 are no VLANs. */
static bool
valid_vlan(const struct argument *argument, const json_t *value)
{
	json_int_t id = json_integer_value(value);

	return (id >= VLAN_FIRST && id <= VLAN_LAST) || valid_choice(argument, value);
}

static bool
valid_cpus(const struct argument *argument, const json_t *value)
{
	struct cpumask mask;

	if (json_is_integer(value))
		return json_integer_value(value) >= 0 && json_integer_value(value) < CPU_LIMIT;
	return valid_choice(argument, value) ||
	       (json_is_string(value) && !cpumask_parse(json_string_value(value), &mask));
}

static const struct {
	bool (*valid)(const struct argument *argument, const json_t *value);
	const char *phrase; /* completes "NAME must be" */
} kinds[] = {
	[ARGUMENT_TEXT] = { valid_text, "text without control characters" },
	[ARGUMENT_NUMBER] = { valid_number, "a number" },
	[ARGUMENT_MAC] = { valid_text, "a MAC address" },
	[ARGUMENT_SWITCH] = { valid_switch, "on or off" },
	[ARGUMENT_CHOICE] = { valid_choice, NULL },
	[ARGUMENT_VLAN] = { valid_vlan, "1 to 4094, untagged or any" },
	[ARGUMENT_QUEUE] = { valid_number_or_choice, "a queue id, default or drop" },
	[ARGUMENT_AUTO] = { valid_number_or_choice, "a number or auto" },
	[ARGUMENT_CPUS] = { valid_cpus, "a list of processors such as 0,2-5" },
};

static int
refuse_value(const struct argument *argument, const json_t *value, struct refusal *why)
{
	const char *phrase = kinds[argument->kind].phrase;
	bool or_auto = argument->kind == ARGUMENT_CPUS && argument->choices;
	const char *text = json_string_value(value);
	char *shown;

	if (text && !*text)
		return refuse(why, -EINVAL, "%s must not be empty", argument->name);
	shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
	refuse(why, -EINVAL, "%s must be %s%s, not %.60s", argument->name, phrase ? phrase : argument->choices,
	       or_auto ? " or auto" : "", shown ? shown : "this");
	free(shown);
	return -EINVAL;
}

static int
value_check(const struct argument *argument, const json_t *value, struct refusal *why)
{
	return kinds[argument->kind].valid(argument, value) ? 0 : refuse_value(argument, value, why);
}

static int
argument_check(const struct argument *argument, const json_t *value, struct refusal *why)
{
	const json_t *element;
	size_t index;

	if (!(argument->flags & ARGUMENT_MANY) || !json_is_array(value))
		return value_check(argument, value, why);
	if (!json_array_size(value))
		return refuse(why, -EINVAL, "%s needs a value: %s", argument->name, argument->metavar);
	json_array_foreach(value, index, element) {
		int error = value_check(argument, element, why);

		if (error)
			return error;
	}
	return 0;
}

static int
refuse_missing(const struct command *command, const char *names, struct refusal *why)
{
	char *words = command_words(command);

	refuse(why, -EINVAL, "%s needs %s", words ? words : command->method, names);
	free(words);
	return -EINVAL;
}

static int
required_check(const struct command *command, const json_t *params, struct refusal *why)
{
	struct word_list one_of = { "" };
	unsigned given = 0;

	for (size_t i = 0; i < command->argument_count; i++) {
		const struct argument *argument = &command->arguments[i];
		bool there = json_object_get(params, argument->name);

		if (argument->flags & ARGUMENT_REQUIRED && !there)
			return refuse_missing(command, argument->name, why);
		if (argument->flags & ARGUMENT_ONE_OF) {
			word_list_add(&one_of, argument->name);
			given += there;
		}
	}
	if (!*one_of.text || given == 1)
		return 0;
	return refuse(why, -EINVAL, "%s needs exactly one of %s", command->method, one_of.text);
}

static int
refuse_unknown(const struct command *command, const char *name, struct refusal *why)
{
	struct word_list names = { "" };
	char *shown = word_quoted(name);

	for (size_t i = 0; i < command->argument_count; i++)
		word_list_add(&names, command->arguments[i].name);
	refuse(why, -EINVAL, "unknown parameter %.40s: %s takes %s", shown ? shown : "", command->method,
	       *names.text ? names.text : "none");
	free(shown);
	return -EINVAL;
}

int
command_check(const struct command *command, const json_t *params, struct refusal *why)
{
	const char *name;
	const json_t *value;

	if (params && !json_is_null(params) && !json_is_object(params))
		return refuse(why, -EINVAL, "params must be an object");
	json_object_foreach((json_t *)params, name, value) {
		const struct argument *argument = argument_by_name(command, name);
		int error = argument ? argument_check(argument, value, why) : refuse_unknown(command, name, why);

		if (error)
			return error;
	}
	return required_check(command, params, why);
}
