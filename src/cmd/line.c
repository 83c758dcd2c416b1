/* SPDX-License-Identifier: BSD-3-Clause */
/* Splits a line of a file or a prompt into words. */
#include "cmd/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Copy one word without its quotes. @return the character after it; NULL a quote is open at the end. */
static const char *
word_copy(const char *in, char **out)
{
	bool quoted = false;

	while (*in && (quoted || !isspace((unsigned char)*in))) {
		if (*in == '"') {
			quoted = !quoted;
			in++;
			continue;
		}
		if (quoted && *in == '\\' && (in[1] == '"' || in[1] == '\\'))
			in++;
		*(*out)++ = *in++;
	}
	*(*out)++ = '\0';
	return quoted ? NULL : in;
}

static const char *
skip_space(const char *in)
{
	while (isspace((unsigned char)*in))
		in++;
	return *in == '#' ? in + strlen(in) : in;
}

int
line_split(const char *line, int *count, char ***words, struct refusal *why)
{
	size_t length = strlen(line);
	size_t most = length / 2 + 1;
	char **split = malloc((most + 1) * sizeof(*split) + length + 1); /* the pointers, then the text they point to */
	char *text;
	int n = 0;

	if (!split)
		return refuse(why, -ENOMEM, "out of memory");
	text = (char *)(split + most + 1);
	for (line = skip_space(line); line && *line; line = line ? skip_space(line) : NULL) {
		split[n++] = text;
		line = word_copy(line, &text);
	}
	split[n] = NULL;
	if (!line) {
		free(split);
		return refuse(why, -EINVAL, "a quote is not closed");
	}
	*count = n;
	*words = split;
	return 0;
}

void
line_free(char **words)
{
	free(words);
}

int
command_parse_line(const char *line, const struct command **command, json_t **params, struct refusal *why)
{
	char **words;
	int count;
	int error = line_split(line, &count, &words, why);

	if (error)
		return error;
	*command = NULL;
	*params = NULL;
	if (count)
		error = command_parse(count, words, command, params, why);
	line_free(words);
	return error;
}
