/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/unprivileged.h"

#include <cap-ng.h>
#include <stdlib.h>
#include <unistd.h>

void
unprivileged_thread(void)
{
	if (gettid() == getpid() || geteuid() != 0)
		return;
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS))
		abort();
}
