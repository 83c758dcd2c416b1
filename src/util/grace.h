/* SPDX-License-Identifier: BSD-3-Clause */
/* Workers as those see them who take things away from them, or show them new ones, behind control's back. */
#ifndef VMQ_UTIL_GRACE_H
#define VMQ_UTIL_GRACE_H

struct grace {
	void (*wait)(void *ctx); /* until no worker uses what was published before; any thread but a worker; microseconds */
	void (*wake)(void *ctx); /* have those that sleep look again; any thread */
	void *ctx;
};

#endif
