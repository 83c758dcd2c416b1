/*
 * The control plane: JSON-RPC 2.0 over a UNIX socket, one object a line. One thread, the control thread, on one
 * sd-event loop: it alone touches core. ctl_run() returns when vmqd is asked to end.
 */
#ifndef VMQ_CTL_CTL_H
#define VMQ_CTL_CTL_H

#include "core/core.h"

struct ctl;

/**
 * Listen on the control socket, mode 0660, group vmq where there is such a group.
 *
 * @return 0; -EADDRINUSE another vmqd serves there; -errno with a sentence.
 */
int ctl_create(struct core *core, const char *socket, struct ctl **ctl, struct refusal *why);
void ctl_destroy(struct ctl *ctl);

/**
 * Come to the state that vmqd had: from its state file, or without one from the configuration file. A state file
 * that is damaged is put aside with a message. From here every change is kept in the state file.
 *
 * @param config  NULL: there is none.
 * @param state  where the state is kept from now on; must stay valid.
 * @return 0; -errno, *why begins with FILE:LINE.
 */
int ctl_restore(struct ctl *ctl, const char *config, const char *state, struct refusal *why);

/** Serve until SIGTERM or SIGINT, then ctl_close(). */
int ctl_run(struct ctl *ctl);

/** Close every adapter by the book: VMs detached, queues freed. */
void ctl_close(struct ctl *ctl);

/** For core_config.event: tell those who follow. */
void ctl_event(void *ctl, const struct core_event *event);

/** A guest came or went. Any thread. */
void ctl_vm_changed(void *ctl);

#endif
