/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the file of a path is still the socket that was bound there: somebody may remove it, or put another there. */
#ifndef VMQ_UTIL_SOCKET_NAME_H
#define VMQ_UTIL_SOCKET_NAME_H

#include <stdbool.h>
#include <sys/types.h>

struct socket_name {
	dev_t device;
	ino_t inode;
};

/** What bind() has just made of a path. @return 0; -errno. */
int socket_name_take(const char *path, struct socket_name *name);

bool socket_has_name(const char *path, const struct socket_name *name);

#endif
