/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls: how a guest is interrupted. Its eventfd is a file that both sides share, so the guest can fill it to the brim
 * and make whoever writes to it wait, however the file was opened. The kernel's own signal never waits.
 */
#ifndef VMQ_VHOST_CALL_H
#define VMQ_VHOST_CALL_H

/** Add one to an eventfd, on any thread; never waits. What is no eventfd is left alone. */
void call_signal(int handle);

#endif
