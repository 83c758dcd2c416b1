/* SPDX-License-Identifier: BSD-3-Clause */
/* Between this program and the test that runs it: `ready` on standard output; the end of standard input: stop. */
#ifndef HOSTILE_CUE_H
#define HOSTILE_CUE_H

#include <stdbool.h>
#include <stddef.h>

/** Something that this program needs does not work: say so, exit 1. What vmqd does to it is never that. */
void __attribute__((noreturn, format(printf, 1, 2))) cannot(const char *format, ...);

/** Everything is in place. */
void cue_ready(void);

/** Whether to go on. The first call that is not the first says ready, so one round of what it guards is done. */
bool cue_go_on(void);

/** Ready, and nothing to do until the end. */
void cue_wait(void);

#endif
