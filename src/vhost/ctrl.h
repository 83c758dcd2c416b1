/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's control queue: what it would like to receive, answered by what its VM's filters let it have. Front-ends
 * such as QEMU serve this queue themselves; others (user-mode Linux, crosvm) leave it to the back end. On the control
 * thread, beside workers that serve the other rings. Source: VIRTIO 1.2, 5.1.6.5.
 */
#ifndef VMQ_VHOST_CTRL_H
#define VMQ_VHOST_CTRL_H

#include "vhost/virtqueue.h"

enum { CTRL_COMMANDS_MAX = 64 }; /* that are answered in a row */

/* What the filters of its VM say. */
struct ctrl_rules {
	bool (*owns_mac)(void *ctx, uint64_t mac);
	bool (*owns_vlan)(void *ctx, uint16_t vlan);
	/** Its receive ring, which it may want other frames in. */
	struct virtqueue *receives;
	/** It asked for what it cannot have: a clause that begins with "it". */
	void (*refused)(void *ctx, const char *what);
	void *ctx;
};

/**
 * Answer what the guest has asked, at most CTRL_COMMANDS_MAX commands. Look for a fault afterwards.
 * @return how many; 0: the guest kicks with the next one.
 */
unsigned ctrl_serve(struct virtqueue *vq, const struct ctrl_rules *rules);

#endif
