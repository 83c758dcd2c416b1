/* SPDX-License-Identifier: BSD-3-Clause */
/* VMs over vhost-user: sockets and devices by librte_vhost, frames copied into and out of the guest's rings. */
#ifndef VMQ_VHOST_VHOST_H
#define VMQ_VHOST_VHOST_H

#include "model/ops.h"
#include "util/grace.h"

struct vhost_context {
	struct grace grace;               /* how workers let go of a device, and look at one again */
	void (*changed)(void *ctx);       /* a guest came or went; called on a thread of librte_vhost */
	void *changed_ctx;
};

/** For model_config.vm; vm_ctx is a struct vhost_context that outlives the model. */
extern const struct vm_ops vhost_vm_ops;

#endif
