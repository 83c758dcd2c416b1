/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hardware, VMs and data path that only write down what the model asks of them, refuse when told to, and assert what
 * the model promises: nothing is removed that is not there, nothing is closed that workers may still use.
 */
#ifndef VMQ_TESTS_FAKE_OPS_H
#define VMQ_TESTS_FAKE_OPS_H

#include "model/model.h"

/* The ops that can fail. */
enum fake_op {
	FAKE_NIC_OPEN,
	FAKE_NIC_CONNECT,
	FAKE_QUEUE_START,
	FAKE_FILTER_ADD,
	FAKE_VM_OPEN,
	FAKE_ADAPTER_OPEN,
	FAKE_QUEUE_OPEN,
	FAKE_MEMORY_GET,
	FAKE_CAPTURE_OPEN,
	FAKE_OP_COUNT
};

enum { FAKE_LOG_SIZE = 1 << 16 };

struct fake {
	unsigned fail_at[FAKE_OP_COUNT];  /* 1: the next call fails with -EIO; 2: the one after; 0: none */
	int connect_error;                /* of a connect that fails */
	struct nic_capabilities hardware; /* what every port says that it can do */
	uint32_t buffers_max;             /* a queue gets no more than this */
	uint32_t outstanding[QUEUE_ID_LIMIT + 1]; /* by queue id, of every adapter */

	char log[FAKE_LOG_SIZE];          /* one op or event a line */
	size_t log_length;
	bool log_off;
	unsigned nics, ports, path_adapters, path_queues, captures; /* open now */
	unsigned started, placed, memories; /* queues with buffers, filters in hardware, memory in the host */
};

/** A model on fakes; data-path processors 1 to 3. */
struct model *fake_core_create(struct fake *fake);
/** Deletes what is left, and asserts that nothing stays open. */
void fake_core_destroy(struct fake *fake, struct model *model);

/** Empty the log. */
void fake_log_clear(struct fake *fake);
/** How many lines of the log begin with `prefix`. */
unsigned fake_log_count(const struct fake *fake, const char *prefix);

/** An adapter with this name, rules, queues and filters; everything else by default. */
struct adapter *fake_adapter_add(struct model *model, const char *name, enum ndis_version ndis, uint32_t queues,
				 uint32_t filters);
/** A queue by default parameters, in `state`; from Set on with the filter (mac, VLAN 10). */
struct queue *fake_queue_in(struct fake *fake, struct adapter *adapter, enum queue_state state, uint64_t mac);

extern const struct caller fake_root, fake_alice, fake_bob;

/** A completion that counts its calls in *count. */
struct completion fake_completion(unsigned *count);

#endif
