/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the command language share among themselves. */
#ifndef VMQ_CMD_WORDS_H
#define VMQ_CMD_WORDS_H

#include "cmd/command.h"

/* Words joined by commas for a sentence; what does not fit is left out. */
struct word_list {
	char text[240];
};
void word_list_add(void *list, const char *word);

/** The words before `.` and after it of a method, as lengths; the second is 0 for a method of one word. */
size_t method_first_length(const char *method);
const char *method_second(const char *method);

/** The keyword that a word is, or starts with in front of `=` for a pair. @return NULL none. */
const struct argument *argument_by_keyword(const struct command *command, const char *word);
const struct argument *argument_by_name(const struct command *command, const char *name);
/**
 * The first positional argument at or after *index that `word` may be; *index is then its place. A keyword is no
 * argument that may be left out.
 * @param word  NULL: not known yet.
 * @return NULL none is left.
 */
const struct argument *argument_positional(const struct command *command, size_t *index, const char *word);

/** Whether `word` is one of `choices`. */
bool choice_has(const char *choices, const char *word);

/** `queue allocate` for `queue.allocate`, in memory of the caller's to free. */
char *command_words(const struct command *command);

/** A word in quotes, as ASCII whatever is in it, in memory of the caller's to free. */
char *word_quoted(const char *word);

/** Split a line: words, "quoted words" with \" and \\ in them, # comment. Free with line_free(). */
int line_split(const char *line, int *count, char ***words, struct refusal *why);
void line_free(char **words);

#endif
