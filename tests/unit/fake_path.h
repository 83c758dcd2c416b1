/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A data path for tests: one adapter with the default queue and two of VMs, two workers whose turns are taken by hand and
 * whose clocks stand still. What stands behind its doors is the test's.
 */
#ifndef VMQ_TESTS_FAKE_PATH_H
#define VMQ_TESTS_FAKE_PATH_H

#include "datapath/worker.h"

enum {
	FAKE_WORKERS = 2,
	FAKE_QUEUES = 3, /* the default queue is the first */
	FAKE_WAITING_MAX = 256,
	FAKE_GATHER = 16,
};

struct fake_path {
	struct path *path;
	struct path_adapter *adapter;
	struct path_queue *halves[FAKE_QUEUES];
	struct view *view; /* all queues run; no VM is attached */
	struct switch_policy *policy;
};

/** @param pool  what workers take buffers from. */
void fake_path_build(struct fake_path *fake, const struct vm_ops *vm_ops, const struct nic_ops *nic_ops,
		     struct rte_mempool *pool);
void fake_path_free(struct fake_path *fake);

struct passage fake_passage(const struct fake_path *fake, uint16_t worker);

/** Let this VM take part: `port` is what vm_ops get. */
void fake_attach(struct fake_path *fake, uint16_t queue, void *port);

/** What all workers counted of a queue. */
uint64_t fake_drops(const struct fake_path *fake, uint16_t queue, enum drop_reason reason);

#endif
