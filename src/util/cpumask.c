/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/cpumask.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int
cpu_number(const char **at, unsigned *cpu)
{
	char *end;
	unsigned long value;

	if (!isdigit((unsigned char)**at))
		return -EINVAL;
	value = strtoul(*at, &end, 10);
	if (value >= CPU_LIMIT)
		return -ERANGE;
	*at = end;
	*cpu = (unsigned)value;
	return 0;
}

int
cpumask_parse(const char *text, struct cpumask *mask)
{
	struct cpumask result = { 0 };

	for (;;) {
		unsigned first, last;
		int error = cpu_number(&text, &first);

		last = first;
		if (!error && *text == '-') {
			text++;
			error = cpu_number(&text, &last);
		}
		if (error)
			return error;
		if (last < first)
			return -EINVAL;
		for (unsigned cpu = first; cpu <= last; cpu++)
			cpumask_add(&result, cpu);
		if (*text == '\0')
			break;
		if (*text++ != ',')
			return -EINVAL;
	}
	*mask = result;
	return 0;
}

void
cpumask_format(const struct cpumask *mask, char text[CPUMASK_TEXT_SIZE])
{
	size_t length = 0;

	text[0] = '\0';
	for (unsigned first = cpumask_next(mask, 0); first < CPU_LIMIT;) {
		unsigned last = first;

		while (last + 1 < CPU_LIMIT && cpumask_has(mask, last + 1))
			last++;
		length += (size_t)snprintf(text + length, CPUMASK_TEXT_SIZE - length,
					   last == first     ? "%s%u" :
					   last == first + 1 ? "%s%u,%u" :
							       "%s%u-%u",
					   length ? "," : "", first, last);
		first = cpumask_next(mask, last + 1);
	}
}

void
cpumask_add(struct cpumask *mask, unsigned cpu)
{
	mask->words[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

bool
cpumask_has(const struct cpumask *mask, unsigned cpu)
{
	return cpu < CPU_LIMIT && mask->words[cpu / 64] >> cpu % 64 & 1;
}

bool
cpumask_is_empty(const struct cpumask *mask)
{
	return cpumask_next(mask, 0) == CPU_LIMIT;
}

unsigned
cpumask_count(const struct cpumask *mask)
{
	unsigned count = 0;

	for (size_t i = 0; i < CPU_LIMIT / 64; i++)
		count += (unsigned)__builtin_popcountll(mask->words[i]);
	return count;
}

struct cpumask
cpumask_without(const struct cpumask *mask, const struct cpumask *taken)
{
	struct cpumask left;

	for (size_t i = 0; i < CPU_LIMIT / 64; i++)
		left.words[i] = mask->words[i] & ~taken->words[i];
	return left;
}

unsigned
cpumask_next(const struct cpumask *mask, unsigned from)
{
	while (from < CPU_LIMIT && !cpumask_has(mask, from))
		from++;
	return from;
}

unsigned
cpumask_first_outside(const struct cpumask *mask, const struct cpumask *allowed)
{
	const struct cpumask outside = cpumask_without(mask, allowed);

	return cpumask_next(&outside, 0);
}
