/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/help.h"
#include "cmd/command.h"

#include <stdlib.h>
#include <string.h>

static void
print_usage(FILE *out, const struct command *command)
{
	char *usage = command_usage(command);

	fprintf(out, "  %s\n", usage ? usage : command->method);
	free(usage);
}

static void
print_arguments(FILE *out, const struct command *command)
{
	for (size_t i = 0; i < command->argument_count; i++) {
		const struct argument *argument = &command->arguments[i];
		const char *name = argument->flags & ARGUMENT_POSITIONAL ? argument->metavar : argument->name;

		fprintf(out, "    %-22s %s\n", name, argument->help);
	}
}

void
help_print(FILE *out)
{
	fputs(HELP_USAGE "\n"
			 "  -s SOCKET   where vmqd listens (/run/vmq/vmqd.sock)\n"
			 "  -j          answer in JSON\n"
			 "  -f FILE     run the commands in FILE, one a line; - is standard input\n"
			 "  --atomic    all commands of FILE or none\n"
			 "  -w FILE     with capture: write pcapng; - is standard output\n"
			 "  --help, --version\n"
			 "\n"
			 "Without a command: interactive, or commands from standard input. Commands:\n"
			 "\n",
	      out);
	for (size_t i = 0; i < command_count; i++)
		print_usage(out, &commands[i]);
	fputs("  help [COMMAND]\n"
	      "\n"
	      "Exit: 0 done, 1 refused by vmqd, 2 usage, 3 no vmqd there.\n",
	      out);
}

static bool
is_in_group(const struct command *command, const char *group)
{
	size_t length = strlen(group);

	return !strncmp(command->method, group, length) && command->method[length] == '.';
}

static int
print_group(FILE *out, const char *group)
{
	int count = 0;

	for (size_t i = 0; i < command_count; i++) {
		if (!is_in_group(&commands[i], group))
			continue;
		print_usage(out, &commands[i]);
		fprintf(out, "    %s\n", commands[i].help);
		count++;
	}
	return count;
}

int
help_print_commands(FILE *out, int count, char *const words[])
{
	const struct command *command;

	if (command_find(count, words, &command) != count)
		return count == 1 ? print_group(out, words[0]) : 0;
	print_usage(out, command);
	fprintf(out, "    %s\n", command->help);
	print_arguments(out, command);
	return 1;
}
