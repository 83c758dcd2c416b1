/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What vmqd gives up: capabilities and system calls that its work does not need, before any other thread is there,
 * so that every thread has given them up. A guest that takes vmqd over finds little to use.
 */
#ifndef VMQ_DAEMON_CONFINE_H
#define VMQ_DAEMON_CONFINE_H

#include "util/refusal.h"

/** Keep the capabilities that ports need and no way to get others. @return 0; -EPERM with a sentence. */
int confine_capabilities(struct refusal *why);

/** From here system calls outside the list fail with EPERM. @return 0; -errno with a sentence. */
int confine_system_calls(struct refusal *why);

#endif
