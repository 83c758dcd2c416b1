/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/switch.h"

#include "util/mac.h"

static struct switch_decision
decide_link_local(const struct switch_sides *sides, enum frame_source source, bool link_local)
{
	return (struct switch_decision){
		.wire = link_local && source != SOURCE_WIRE,
		.host = link_local && source != SOURCE_HOST && sides->host && sides->host_link_local,
		.vms = link_local,
		.link_local = true,
	};
}

static enum switch_side
side_of(const struct learn_table *table, const struct switch_sides *sides, uint64_t key, uint32_t now_seconds)
{
	if (sides->host && key >> 16 == sides->host_mac)
		return SIDE_HOST;
	return learn_find(table, key, now_seconds);
}

struct switch_decision
switch_decide(const struct learn_table *table, const struct switch_sides *sides, uint64_t key, enum frame_source source,
	      bool link_local, uint32_t now_seconds)
{
	const bool flood = mac_is_group(key >> 16);
	struct switch_decision decision = {
		.wire = source != SOURCE_WIRE,
		.host = source != SOURCE_HOST && sides->host,
		.vms = flood,
	};

	if (switch_is_link_local(key >> 16))
		return decide_link_local(sides, source, link_local);
	if (source == SOURCE_VM && !flood) {
		enum switch_side side = side_of(table, sides, key, now_seconds);

		decision.wire = side != SIDE_HOST;
		decision.host = decision.host && side != SIDE_WIRE;
	}
	return decision;
}

static bool
owns(const struct switch_owner *owner, uint64_t mac, uint16_t vlan)
{
	return owner->owns(owner->filters, owner->queue, mac, vlan);
}

/* A trunk sends on the VLAN of the tag, if one of its filters has that VLAN (and that source). */
static enum drop_reason
check_trunk(const struct switch_policy *policy, const struct switch_owner *owner, uint64_t source_mac,
	    uint16_t tag_vlan, uint16_t *vlan)
{
	if (!switch_policy_has_vlan(policy, tag_vlan))
		return DROP_VLAN_MISMATCH;
	if (policy->spoof_check && !owns(owner, source_mac, tag_vlan) && !owns(owner, source_mac, VLAN_ANY))
		return DROP_SPOOFED_SOURCE;
	*vlan = tag_vlan;
	return DROP_REASON_COUNT;
}

/* An access VM sends without a tag; the VLAN is that of the filter with its source address, or of its first. */
static enum drop_reason
check_access(const struct switch_policy *policy, const struct switch_owner *owner, uint64_t source_mac,
	     uint16_t tag_vlan, uint16_t *vlan)
{
	if (tag_vlan != VLAN_UNTAGGED || !policy->vlan_count)
		return DROP_VLAN_MISMATCH;
	for (uint16_t i = 0; i < policy->vlan_count; i++) {
		if (!owns(owner, source_mac, policy->vlans[i]))
			continue;
		*vlan = policy->vlans[i] == VLAN_ANY ? VLAN_UNTAGGED : policy->vlans[i];
		return DROP_REASON_COUNT;
	}
	if (policy->spoof_check)
		return DROP_SPOOFED_SOURCE;
	*vlan = policy->vlans[0] == VLAN_ANY ? VLAN_UNTAGGED : policy->vlans[0];
	return DROP_REASON_COUNT;
}

enum drop_reason
switch_check_sender(const struct switch_policy *policy, const struct switch_owner *owner, uint64_t source_mac,
		    uint16_t tag_vlan, uint16_t *vlan)
{
	if (policy->trunk)
		return check_trunk(policy, owner, source_mac, tag_vlan, vlan);
	return check_access(policy, owner, source_mac, tag_vlan, vlan);
}
