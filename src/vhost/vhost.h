/* SPDX-License-Identifier: BSD-3-Clause */
/* VMs over vhost-user: a server on the control thread's event loop, frames copied by workers (vhost/server.c, port.c). */
#ifndef VMQ_VHOST_VHOST_H
#define VMQ_VHOST_VHOST_H

#include "model/model.h"
#include "util/grace.h"
#include "util/loop.h"

struct vhost_context {
	struct grace grace;               /* how workers let go of a guest, and look at one again */
	struct loop loop;
	struct socket_access access;      /* of sockets of VMs whose own words say nothing */
	void (*changed)(void *ctx);       /* a guest came or went; called on the control thread and by workers */
	void *changed_ctx;
};

/** For model_config.vm; vm_ctx is a struct vhost_context that outlives the model. */
extern const struct vm_ops vhost_vm_ops;

#endif
