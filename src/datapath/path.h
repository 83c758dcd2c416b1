/* SPDX-License-Identifier: BSD-3-Clause */
/* The data path as the model and main() see it: workers, one per data-path processor. */
#ifndef VMQ_DATAPATH_PATH_H
#define VMQ_DATAPATH_PATH_H

#include "model/ops.h"
#include "util/grace.h"

struct path;

/**
 * Start one worker on each processor; the EAL must have a worker lcore for each, in the same order.
 *
 * @param vm  how frames reach VMs.
 * @return 0 and *path; -ENOMEM; -ENODEV the EAL lacks an lcore.
 */
int path_create(const struct cpumask *cpus, const struct vm_ops *vm, struct path **path);

/** Every adapter is closed. Ends the workers. */
void path_destroy(struct path *path);

/** For model_config.path, with the struct path as path_ctx. */
extern const struct path_ops path_worker_ops;

/** For others that take memory away from workers and must wait until none uses it. */
struct grace path_grace(struct path *path);

#endif
