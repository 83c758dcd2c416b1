/* SPDX-License-Identifier: BSD-3-Clause */
/* The paths of vhost-user sockets. Control thread. */
#ifndef VMQ_VHOST_SOCKET_H
#define VMQ_VHOST_SOCKET_H

#include "util/refusal.h"

/**
 * Make way for a socket to listen on: remove one that nobody listens on any more.
 * @return 0; -EADDRINUSE somebody listens there; -EEXIST something else has the name; -EIO no such folder.
 */
int socket_make_way(const char *path, struct refusal *why);

/**
 * Wait no longer than `milliseconds` in the middle of a message on any connection of this socket. librte_vhost reads
 * whole messages, blocking, on one thread for all VMs: without this, one that stops half-way would stop it for all.
 * It does not show its connections' descriptors, so they are found by their address. Any thread.
 */
void socket_set_patience(const char *path, unsigned milliseconds);

#endif
