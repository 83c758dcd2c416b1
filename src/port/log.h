/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What DPDK says. Its log goes to stderr if asked for; the first line that it logs as an error is kept, so that a
 * refusal can quote it: later ones follow from it. Control thread, before and while ports are opened.
 */
#ifndef VMQ_PORT_LOG_H
#define VMQ_PORT_LOG_H

#include <stdbool.h>

/** Take over DPDK's log; call before the EAL starts. @return 0; -errno. */
int dpdk_log_open(bool verbose);

/** Forget the error that was kept. */
void dpdk_log_forget(void);

/** The first error without its line end; an empty string if there was none since dpdk_log_forget(). */
const char *dpdk_log_first_error(void);

#endif
