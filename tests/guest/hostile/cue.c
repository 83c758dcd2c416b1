/* SPDX-License-Identifier: BSD-3-Clause */
#include "cue.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool said_ready;

void
cannot(const char *format, ...)
{
	va_list arguments;

	fputs("hostile: cannot ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, ": %s\n", strerror(errno));
	exit(1);
}

void
cue_ready(void)
{
	if (said_ready)
		return;
	said_ready = true;
	puts("ready");
	fflush(stdout);
}

static bool
input_ended(int timeout_ms)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char byte;

	return poll(&input, 1, timeout_ms) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

bool
cue_go_on(void)
{
	static bool began;

	if (began)
		cue_ready();
	began = true;
	return !input_ended(0);
}

void
cue_wait(void)
{
	cue_ready();
	while (!input_ended(-1))
		;
}
