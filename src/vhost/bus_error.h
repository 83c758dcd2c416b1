/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that vanishes. It is a file that the other end may truncate; whoever touches a page beyond the end
 * gets a bus error, which would end this process, and with it every VM.
 *
 * The memory of every guest is watched: a bus error in it replaces the mapping by empty memory of our own and notes
 * that this guest lost its memory. Whoever touched it goes on, reads zeroes or writes where nobody looks, and finds
 * the note when it is done with its burst. This costs nothing until it happens.
 */
#ifndef VMQ_VHOST_BUS_ERROR_H
#define VMQ_VHOST_BUS_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum {
	BUS_ERROR_GUESTS_MAX = 1024,
	BUS_ERROR_RANGES_MAX = 17, /* of one guest: its regions, and the dirty log */
};

/** Take over SIGBUS, if that is not done; the rest goes to whoever had it. Control thread. @return 0; -errno. */
int bus_error_open(void);

/** Nothing of this guest is watched any more, and it has lost nothing. */
void bus_error_reset(unsigned guest);

/** Stop watching its memory; what was lost stays lost. To be called before the memory is unmapped. */
void bus_error_unwatch(unsigned guest);

/** Watch memory, as it was mapped. @return 0; -ENOSPC. */
int bus_error_watch(unsigned guest, void *start, size_t bytes);

/** This thread touches mappings of the guest before they can be watched: librte_vhost's, while it handles messages. */
void bus_error_blame(unsigned guest);

/** Whether memory of this guest vanished. */
bool bus_error_happened(unsigned guest);

#endif
