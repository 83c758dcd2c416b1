/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/interactive.h"
#include "cli/help.h"
#include "cmd/words.h"

#include <editline/readline.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HISTORY_LINES = 1000 };

/* Candidates of the completion at hand; readline asks for them one by one and keeps no context. */
static struct {
	char **words;
	size_t count;
	size_t next;
} found;

static void
found_add(void *prefix, const char *word)
{
	char **grown;

	if (strncmp(word, prefix, strlen(prefix)))
		return;
	grown = realloc(found.words, (found.count + 1) * sizeof(*grown));
	if (!grown)
		return;
	found.words = grown;
	found.words[found.count] = strdup(word);
	if (found.words[found.count])
		found.count++;
}

static char *
found_next(const char *prefix, int state)
{
	(void)prefix;
	(void)state;
	return found.next < found.count ? found.words[found.next++] : NULL;
}

/* A pair goes on after its `=`. */
static char
found_append(void)
{
	const char *only = found.count == 1 ? found.words[0] : " ";

	return only[strlen(only) - 1] == '=' ? '\0' : ' ';
}

static char **
complete(const char *prefix, int start, int end)
{
	char *before = strndup(rl_line_buffer, (size_t)start);
	char **words = NULL;
	char **matches;
	int count;

	(void)end;
	rl_attempted_completion_over = 1;
	if (!before || line_split(before, &count, &words, NULL)) {
		free(before);
		return NULL;
	}
	found.count = found.next = 0;
	command_candidates(count, words, found_add, (void *)prefix);
	rl_completion_append_character = found_append();
	matches = found.count ? rl_completion_matches(prefix, found_next) : NULL;
	line_free(words);
	free(before);
	return matches;
}

static char *
history_path(void)
{
	const char *home = getenv("HOME");
	char *path;

	if (!home || asprintf(&path, "%s/.vmqctl_history", home) < 0)
		return NULL;
	return path;
}

/* @return whether the word was one of the prompt's own. */
static bool
run_own(const char *line, bool *quit)
{
	char **words;
	int count;
	bool own;

	if (line_split(line, &count, &words, NULL))
		return false;
	*quit = count == 1 && (!strcmp(words[0], "quit") || !strcmp(words[0], "exit"));
	own = *quit || (count && !strcmp(words[0], "help"));
	if (own && !*quit && (count == 1 || !help_print_commands(stdout, count - 1, words + 1)))
		help_print(stdout);
	line_free(words);
	return own;
}

static int
run_prompt(struct session *session)
{
	bool quit = false;
	int exit = SESSION_DONE;
	char *line;

	while (!quit && exit != SESSION_UNREACHABLE && (line = readline("vmq> "))) {
		if (*line)
			add_history(line);
		if (!run_own(line, &quit))
			exit = session_run_line(session, line);
		free(line);
	}
	return exit == SESSION_UNREACHABLE ? exit : SESSION_DONE;
}

int
interactive_run(struct session *session)
{
	char *path = history_path();
	int exit;

	rl_readline_name = "vmqctl";
	rl_attempted_completion_function = complete;
	using_history();
	stifle_history(HISTORY_LINES);
	if (path)
		read_history(path);
	exit = run_prompt(session);
	if (path) {
		mode_t mask = umask(077);

		write_history(path);
		umask(mask);
	}
	free(path);
	return exit;
}
