/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls and kicks: how a guest is interrupted, and how it wakes a worker. Mostly eventfds; user-mode Linux passes
 * sockets, others pipes. Each is a file that both sides share: the guest can fill it to the brim or drain it, and make
 * whoever writes or reads wait, however the file was opened. Nothing here ever waits.
 */
#ifndef VMQ_VHOST_CALL_H
#define VMQ_VHOST_CALL_H

#include <stdbool.h>

/** Whether it is a file that can carry a signal: an eventfd, one of a pair of sockets, or a pipe. */
bool call_is_sound(int handle);

/** Signal once, on any thread. */
void call_signal(int handle);

/** Take the signals that have come. @return false: no more will come, and the descriptor stays readable for good. */
bool call_forget(int handle);

#endif
