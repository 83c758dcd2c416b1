/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control plane: JSON-RPC 2.0 over a UNIX socket, one object a line. One thread, the control thread, on one
 * sd-event loop: it alone touches the model. control_run() returns when vmqd is asked to end.
 */
#ifndef VMQ_CONTROL_CONTROL_H
#define VMQ_CONTROL_CONTROL_H

#include "model/model.h"
#include "util/loop.h"

struct control;

/**
 * Listen on the control socket, mode 0660, group vmq where there is such a group.
 *
 * @return 0; -EADDRINUSE another vmqd serves there; -errno with a sentence.
 */
int control_create(struct model *model, const char *socket, struct control **control, struct refusal *why);
void control_destroy(struct control *control);

/**
 * Serve metrics for Prometheus, at /metrics by HTTP, from the same loop.
 *
 * @param where  ADDRESS:PORT of the loopback, or the path of a UNIX socket, which has a `/` in it.
 * @return 0; -errno with a sentence: -EPERM an address that others reach.
 */
int control_serve_metrics(struct control *control, const char *where, struct refusal *why);

/** The loop that control_run() runs; what lives on it has to be gone before control_destroy(). */
struct loop control_loop(struct control *control);

/**
 * Come to the state that vmqd had: from its state file, or without one from the configuration file. A state file
 * that is damaged is put aside with a message. From here every change is kept in the state file.
 *
 * @param config  NULL: there is none.
 * @param state  where the state is kept from now on; must stay valid.
 * @return 0; -errno, *why begins with FILE:LINE.
 */
int control_restore(struct control *control, const char *config, const char *state, struct refusal *why);

/** Serve until SIGTERM or SIGINT, then control_close(). */
int control_run(struct control *control);

/** Close every adapter by the book: VMs detached, queues freed. */
void control_close(struct control *control);

/** For model_config.event: tell those who follow. */
void control_event(void *control, const struct model_event *event);

/** An interface of the kernel's changed, came or went; NULL: any of them may have. */
void control_interface_changed(void *control, const char *ifname);

/** A guest came or went. Any thread. */
void control_vm_changed(void *control);

#endif
