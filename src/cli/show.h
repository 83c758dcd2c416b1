/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers as people read them. */
#ifndef VMQ_CLI_SHOW_H
#define VMQ_CLI_SHOW_H

#include <jansson.h>
#include <stdbool.h>

/** Print an answer on standard output; a command that only changes prints nothing. @return 0; -errno. */
int show_answer(const char *method, const json_t *result);

/** Print one notification of `events` as one line. */
void show_event(const json_t *params);

/** Print JSON for programs. */
void show_json(const json_t *value, bool one_line);

#endif
