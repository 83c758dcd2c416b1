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
	bool vms;        /* every VM of the VLAN but the sender; of a link-local group, those that take part in it */
	bool link_local; /* the reason, if that is nobody */
};

/* What the switch knows of an adapter for certain. In its view; control writes, workers read. */
struct switch_sides {
	bool host;            /* it has a host interface */
	bool host_link_local; /* which takes part in link-local groups */
	uint64_t host_mac;    /* with host: of that interface */
};

/**
 * Whether a group address is for the next bridge only, 01:80:c2:00:00:00 to 0f. Who is not asked to take part in these
 * groups neither sends to them through the switch nor hears of them. Source: IEEE 802.1Q, table 8-1.
 */
static inline bool
switch_is_link_local(uint64_t mac)
{
	return mac >> 4 == UINT64_C(0x0180c2000000) >> 4;
}

/**
 * Where a frame goes that the filters gave to the default queue.
 *
 * @param key  of its destination, frame_key() form, not malformed.
 * @param link_local  whether its source takes part in link-local groups.
 * Source: vmq-spec §1 (extensible switch), §10 (broadcast, multicast, frames for the host).
 */
struct switch_decision switch_decide(const struct learn_table *table, const struct switch_sides *sides, uint64_t key,
				     enum frame_source source, bool link_local, uint32_t now_seconds);

/* What a VM may send, drawn from the filters of its queue. Built by control, read by workers. */
struct switch_policy {
	bool trunk;
	bool spoof_check;
	bool link_local;                           /* it takes part in link-local groups */
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
