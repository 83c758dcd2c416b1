/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What no filter wants, and what VMs send: decisions only, no packet is touched here. Called by workers.
 */
#ifndef VMQ_SWITCH_SWITCH_H
#define VMQ_SWITCH_SWITCH_H

#include "frame/drop.h"
#include "switch/learn.h"
#include "util/vlan.h"

#include <stdbool.h>
#include <stdint.h>

enum frame_source {
	SOURCE_WIRE,
	SOURCE_HOST,
	SOURCE_VM,
};

struct switch_decision {
	bool wire;
	bool host;
	bool vms; /* every VM of the VLAN but the sender */
};

/**
 * Where a frame goes that the filters gave to the default queue.
 *
 * @param key  of its destination, frame_key() form, not malformed.
 * @param has_host  the adapter has a host interface.
 * Source: vmq-spec §1 (extensible switch), §10 (broadcast, multicast, frames for the host).
 */
struct switch_decision switch_decide(const struct learn_table *table, uint64_t key, enum frame_source source,
				     bool has_host, uint32_t now_seconds);

/* What a VM may send, drawn from the filters of its queue. Built by control, read by workers. */
struct switch_policy {
	bool trunk;
	bool spoof_check;
	bool any_vlan;                             /* a filter names no VLAN */
	uint64_t members[VLAN_ID_COUNT / 64];      /* VLANs whose floods it gets; bit 0: untagged */
	uint16_t vlan_count;
	uint16_t vlans[];                          /* of its filters, each once, oldest first; may hold VLAN_ANY */
};

static inline bool
switch_policy_has_vlan(const struct switch_policy *policy, uint16_t vlan)
{
	return policy->any_vlan || policy->members[vlan / 64] >> vlan % 64 & 1;
}

/* Whether exactly the filter (mac, vlan) stands on the sender's queue. */
struct switch_owner {
	bool (*owns)(const void *filters, uint16_t queue, uint64_t mac, uint16_t vlan);
	const void *filters;
	uint16_t queue;
};

/**
 * Check what a VM sends.
 *
 * @param tag_vlan  of the tag in the frame: 1 to 4095, or VLAN_UNTAGGED.
 * @param vlan  out: the VLAN that the frame is on from here; untouched when refused.
 * @return DROP_REASON_COUNT: it may pass; else why not.
 */
enum drop_reason switch_check_sender(const struct switch_policy *policy, const struct switch_owner *owner,
				     uint64_t source_mac, uint16_t tag_vlan, uint16_t *vlan);

#endif
