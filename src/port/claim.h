/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the open ports are made of: the kernel lets two sockets have one interface, DPDK tells nobody who has a device.
 * Control thread.
 */
#ifndef VMQ_PORT_CLAIM_H
#define VMQ_PORT_CLAIM_H

#include "model/model.h"
#include "util/refusal.h"

#include <sys/queue.h>

enum { DEVICE_NAME_SIZE = 64 };

struct claim {
	char adapter[ADAPTER_NAME_SIZE];
	char device[DEVICE_NAME_SIZE]; /* DPDK's name of it, such as net_af_packet0 or 0000:00:04.0 */
	unsigned ifindex;              /* the kernel's interface behind it; 0: none */
	LIST_ENTRY(claim) of_all;
};

/** @return 0; -EEXIST, and *why names the adapter that has the device or the interface. */
int claim_check(const struct claim *claim, const char *port, struct refusal *why);

/** From now on nobody else may have them. The claim stays where it is until it is dropped. */
void claim_take(struct claim *claim);
void claim_drop(struct claim *claim);

#endif
