/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmq-doc: prints from the rows what documentation needs of them. Runs at build time only.
 * `vmq-doc page FILE` copies a man page and puts a section in place of each marker line.
 */
#include "cmd/words.h"
#include "frame/drop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text for man(7): no dash becomes a hyphen, no line begins a request, and no byte is outside ASCII. */
static void
roff_text(const char *text)
{
	static const char ellipsis[] = "…";

	if (*text == '.' || *text == '\'')
		fputs("\\&", stdout);
	while (*text) {
		if (!strncmp(text, ellipsis, strlen(ellipsis))) {
			fputs("\\&...", stdout);
			text += strlen(ellipsis);
			continue;
		}
		if (*text == '-' || *text == '\\')
			putchar('\\');
		putchar(*text++);
	}
}

static void
roff_argument(const struct argument *argument)
{
	bool named = !(argument->flags & ARGUMENT_POSITIONAL);

	fputs(".TP\n.B ", stdout);
	roff_text(named ? argument->name : argument->metavar);
	if (named) {
		fputs(argument->flags & ARGUMENT_PAIR ? "=" : " ", stdout);
		roff_text(argument->metavar);
	}
	putchar('\n');
	roff_text(argument->help);
	putchar('\n');
}

static void
roff_command(const struct command *command)
{
	char *usage = command_usage(command);

	fputs(".SS ", stdout);
	roff_text(usage ? usage : command->method);
	putchar('\n');
	roff_text(command->help);
	putchar('\n');
	for (size_t i = 0; i < command->argument_count; i++)
		roff_argument(&command->arguments[i]);
	free(usage);
}

static void
print_commands(void)
{
	puts(".SH COMMANDS");
	for (size_t i = 0; i < command_count; i++)
		roff_command(&commands[i]);
}

#define DROP_ROW(name, word, text) { #word, text },
static const struct {
	const char *word;
	const char *meaning;
} drops[] = { DROP_REASONS(DROP_ROW) };

static void
print_drops(void)
{
	puts(".SH DROP REASONS\nEvery frame that entered was delivered, was sent on, or is in exactly one of these:");
	for (size_t i = 0; i < sizeof(drops) / sizeof(drops[0]); i++) {
		printf(".TP\n.B %s\n", drops[i].word);
		roff_text(drops[i].meaning);
		putchar('\n');
	}
}

static void
print_word(void *ctx, const char *word)
{
	(void)ctx;
	printf(" %s", word);
}

/* One line of the script: what may come after these words. */
static void
completion_row(const char *key, int count, char *const words[])
{
	printf("\t[\"%s\"]=\"", key);
	command_candidates(count, words, print_word, NULL);
	puts(" \"");
}

static void
completion_command(const struct command *command)
{
	char *key = command_words(command);

	printf("\t[\"%s\"]=\"", key);
	for (size_t i = 0; i < command->argument_count; i++) {
		const struct argument *argument = &command->arguments[i];

		if (!(argument->flags & ARGUMENT_POSITIONAL))
			printf(" %s%s", argument->name, argument->flags & ARGUMENT_PAIR ? "=" : "");
		else if (argument->choices)
			printf(" %s", argument->choices);
	}
	puts(" \"");
	for (size_t i = 0; i < command->argument_count; i++) {
		const struct argument *argument = &command->arguments[i];

		if (argument->choices && !(argument->flags & ARGUMENT_POSITIONAL))
			printf("\t[\"%s %s\"]=\"%s\"\n", key, argument->name, argument->choices);
	}
	free(key);
}

static void
completion_groups(void)
{
	for (size_t i = 0; i < command_count; i++) {
		size_t length = method_first_length(commands[i].method);
		char *group = strndup(commands[i].method, length);
		bool again = i && !strncmp(commands[i - 1].method, commands[i].method, length + 1);

		if (group && method_second(commands[i].method) && !again)
			completion_row(group, 1, &group);
		free(group);
	}
}

static const char script[] =
	"_vmqctl()\n"
	"{\n"
	"\tlocal word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} at=1 key=vmqctl choices\n"
	"\n"
	"\tCOMPREPLY=()\n"
	"\tcase $previous in\n"
	"\t-s | -f | socket | file)\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
	"\t\treturn\n"
	"\t\t;;\n"
	"\tesac\n"
	"\twhile [[ ${COMP_WORDS[at]} == -* ]]; do\n"
	"\t\t[[ ${COMP_WORDS[at]} == -[sf] ]] && ((at++))\n"
	"\t\t((at++))\n"
	"\tdone\n"
	"\tif ((at < COMP_CWORD)); then\n"
	"\t\tkey=${COMP_WORDS[at]}\n"
	"\t\tif ((at + 1 < COMP_CWORD)) && [[ -n ${_vmqctl_words[\"$key ${COMP_WORDS[at+1]}\"]} ]]; then\n"
	"\t\t\tkey+=\" ${COMP_WORDS[at+1]}\"\n"
	"\t\tfi\n"
	"\tfi\n"
	"\tchoices=${_vmqctl_words[\"$key $previous\"]:-${_vmqctl_words[\"$key\"]}}\n"
	"\t[[ $word == -* ]] && choices=\"-s -j -f --atomic --help --version\"\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"${choices//|/ }\" -- \"$word\")\n"
	"\t[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n"
	"}\n"
	"complete -F _vmqctl vmqctl\n";

static void
print_completion(void)
{
	puts("# bash completion for vmqctl, made from its command table");
	puts("declare -gA _vmqctl_words=(");
	completion_row("vmqctl", 0, NULL);
	completion_groups();
	for (size_t i = 0; i < command_count; i++)
		completion_command(&commands[i]);
	puts(")");
	fputs(script, stdout);
}

static const struct section {
	const char *name;
	const char *marker;
	void (*print)(void);
} sections[] = {
	{ "commands", ".\\\" @COMMANDS@\n", print_commands },
	{ "drops", ".\\\" @DROPS@\n", print_drops },
	{ "completion", NULL, print_completion },
};
enum { SECTION_COUNT = sizeof(sections) / sizeof(sections[0]) };

static const struct section *
section_by_marker(const char *line)
{
	for (size_t i = 0; i < SECTION_COUNT; i++)
		if (sections[i].marker && !strcmp(sections[i].marker, line))
			return &sections[i];
	return NULL;
}

static int
print_page(const char *path)
{
	FILE *in = fopen(path, "r");
	char line[1024];

	if (!in) {
		perror(path);
		return 1;
	}
	while (fgets(line, sizeof(line), in)) {
		const struct section *section = section_by_marker(line);

		if (section)
			section->print();
		else
			fputs(line, stdout);
	}
	fclose(in);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "page"))
		return print_page(argv[2]);
	for (size_t i = 0; argc == 2 && i < SECTION_COUNT; i++) {
		if (strcmp(sections[i].name, argv[1]))
			continue;
		sections[i].print();
		return 0;
	}
	fputs("usage: vmq-doc commands|drops|completion|page FILE\n", stderr);
	return 2;
}
