/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/socket_name.h"

#include <errno.h>
#include <sys/stat.h>

int
socket_name_take(const char *path, struct socket_name *name)
{
	struct stat status;

	if (lstat(path, &status))
		return -errno;
	*name = (struct socket_name){ status.st_dev, status.st_ino };
	return 0;
}

bool
socket_has_name(const char *path, const struct socket_name *name)
{
	struct socket_name now;

	return !socket_name_take(path, &now) && now.device == name->device && now.inode == name->inode;
}
