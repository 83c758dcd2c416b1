/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's word on its interfaces: made, renamed, set up or down, deleted. Control thread. Source: rtnetlink(7). */
#ifndef VMQ_PORT_LINKS_H
#define VMQ_PORT_LINKS_H

#include "util/loop.h"
#include "util/refusal.h"

#include <stddef.h>

struct links;

/** @param ifname  of the interface that changed; NULL: too much changed at once, so any may have. */
typedef void links_call(void *ctx, const char *ifname);

/** Call after each change, until links_close(). @return 0; -errno with a sentence. */
int links_watch(const struct loop *loop, links_call *call, void *ctx, struct links **links, struct refusal *why);
void links_close(struct links *links);

/** Tell of every interface in these messages. Source: rtnetlink(7). */
void links_read(const void *messages, size_t bytes, links_call *call, void *ctx);

#endif
