/* SPDX-License-Identifier: BSD-3-Clause */
/* vmqctl capture: frames as lines, as JSON, or as a pcapng file. */
#ifndef VMQ_CLI_CAPTURE_H
#define VMQ_CLI_CAPTURE_H

#include "cli/session.h"

/**
 * Show frames until interrupted, or as many as asked for, or until what is watched is gone.
 *
 * @param params  of the command, as parsed; `filter` is an expression of libpcap's.
 * @return a session_exit; *why says what went wrong.
 */
enum session_exit capture_run(const struct session *session, const json_t *params, struct refusal *why);

#endif
