/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user's sockets. Nothing here waits. Control thread. */
#ifndef VMQ_VHOST_SOCKET_H
#define VMQ_VHOST_SOCKET_H

#include "model/model.h"
#include "util/refusal.h"
#include "util/socket_name.h"
#include "vhost/protocol.h"

/**
 * Listen, in place of a socket that nobody listens on any more. Who may open it is settled before anyone can.
 * @return the descriptor; -EINVAL no such user or group; -EADDRINUSE somebody listens there; -EEXIST something else has the name; -EIO.
 */
int socket_listen(const char *path, const struct socket_access *access, struct socket_name *name, struct refusal *why);

/** Also to a socket that is closed to all but another user. @return the descriptor; -errno. */
int socket_connect(const char *path);

/**
 * Go on with a message: what comes is put into it, with the files, and never more than belongs to it.
 * @return 0 it is whole; -EAGAIN; -ECONNRESET and others: the other end has gone; -EPROTO, -EMFILE with a sentence.
 */
int socket_receive(int handle, struct message *message, struct refusal *why);

/** @return 0; -EAGAIN the other end does not read its replies; -errno. */
int socket_send(int handle, const struct message *message);

#endif
