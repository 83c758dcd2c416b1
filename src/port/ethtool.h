/* SPDX-License-Identifier: BSD-3-Clause */
/* What an interface of the kernel's does itself. Source: Linux, ethtool.h. Control thread. */
#ifndef VMQ_PORT_ETHTOOL_H
#define VMQ_PORT_ETHTOOL_H

#include <stdbool.h>

/** @param fd  any socket. @return whether frames of TCP may be given to it uncut and without checksums. */
bool ethtool_cuts_tcp(int fd, const char *ifname);

#endif
