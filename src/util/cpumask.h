/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of processors, written as Linux writes them: `0,2-5`. */
#ifndef VMQ_UTIL_CPUMASK_H
#define VMQ_UTIL_CPUMASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPU_LIMIT 256
#define CPUMASK_TEXT_SIZE 1024 /* the longest list of CPU_LIMIT processors fits */

struct cpumask {
	uint64_t words[CPU_LIMIT / 64];
};

/** Read a list such as `0,2-5`. @return 0; -EINVAL not a list, a range backwards, or empty; -ERANGE a processor of CPU_LIMIT or more. */
int cpumask_parse(const char *text, struct cpumask *mask);

/** Write the shortest list; an empty set is an empty string. */
void cpumask_format(const struct cpumask *mask, char text[CPUMASK_TEXT_SIZE]);

void cpumask_add(struct cpumask *mask, unsigned cpu);
bool cpumask_has(const struct cpumask *mask, unsigned cpu);
bool cpumask_is_empty(const struct cpumask *mask);
unsigned cpumask_count(const struct cpumask *mask);
struct cpumask cpumask_without(const struct cpumask *mask, const struct cpumask *taken);

/** The next member at or after `from`; CPU_LIMIT when there is none. */
unsigned cpumask_next(const struct cpumask *mask, unsigned from);

/** The first processor in `mask` that `allowed` lacks; CPU_LIMIT when there is none. */
unsigned cpumask_first_outside(const struct cpumask *mask, const struct cpumask *allowed);

#endif
