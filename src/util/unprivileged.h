/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that touch what a guest controls have no capabilities at all. Source: capabilities(7): they are per thread. */
#ifndef VMQ_UTIL_UNPRIVILEGED_H
#define VMQ_UTIL_UNPRIVILEGED_H

/** The calling thread gives up every capability for good; the main thread, which is control's, keeps its own. */
void unprivileged_thread(void);

#endif
