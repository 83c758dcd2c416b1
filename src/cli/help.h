/* SPDX-License-Identifier: BSD-3-Clause */
/* Help, from the rows of the command table. */
#ifndef VMQ_CLI_HELP_H
#define VMQ_CLI_HELP_H

#include <stdio.h>

#define HELP_USAGE "usage: vmqctl [-s SOCKET] [-j] [-f FILE [--atomic]] [COMMAND…] [-w FILE|-]\n"

/** How to call vmqctl, and every command on a line. */
void help_print(FILE *out);

/** One command with its arguments, or all commands of a group. @return how many; 0 no such command. */
int help_print_commands(FILE *out, int count, char *const words[]);

#endif
