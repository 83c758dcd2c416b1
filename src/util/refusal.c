/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/refusal.h"

#include <stdarg.h>
#include <stdio.h>

int
refuse(struct refusal *why, int error, const char *format, ...)
{
	va_list args;

	if (why) {
		va_start(args, format);
		vsnprintf(why->text, sizeof(why->text), format, args);
		va_end(args);
		why->of_machine = false;
	}
	return error;
}

int
refusal_of_machine(struct refusal *why, int error)
{
	if (why)
		why->of_machine = true;
	return error;
}
