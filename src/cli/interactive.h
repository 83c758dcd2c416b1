/* SPDX-License-Identifier: BSD-3-Clause */
/* The prompt: a line at a time, with history, and completion from the rows. */
#ifndef VMQ_CLI_INTERACTIVE_H
#define VMQ_CLI_INTERACTIVE_H

#include "cli/session.h"

/** Until end of input or `quit`. A refused command does not end it. @return a session_exit. */
int interactive_run(struct session *session);

#endif
