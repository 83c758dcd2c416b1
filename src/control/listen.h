/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets that vmqd listens on: only programs of this host come in. */
#ifndef VMQ_CONTROL_LISTEN_H
#define VMQ_CONTROL_LISTEN_H

#include "util/refusal.h"

/**
 * A UNIX socket, mode 0660, group vmq where there is such a group.
 * @return its descriptor; -EADDRINUSE another vmqd serves there; -errno with a sentence.
 */
int listen_unix(const char *path, struct refusal *why);

/**
 * TCP at an address of the loopback.
 * @param where  ADDRESS:PORT, in numbers; an address of IPv6 in brackets.
 * @return its descriptor; -EPERM an address that others reach; -errno with a sentence.
 */
int listen_loopback(const char *where, struct refusal *why);

#endif
