/* SPDX-License-Identifier: BSD-3-Clause */
#include "oracle.h"

#include "util/vlan.h"

enum {
	DEFAULT_QUEUE = 0,
	NO_QUEUE = -1,
};

struct header {
	uint64_t mac;
	bool tagged;
	unsigned vid; /* of the outermost tag */
};

/* False: too short for the header that it claims. */
static bool
header_parse(const uint8_t *frame, size_t length, struct header *header)
{
	if (length < 14)
		return false;
	header->mac = 0;
	for (int i = 0; i < 6; i++)
		header->mac = header->mac * 256 + frame[i];
	header->tagged = (frame[12] == 0x81 && frame[13] == 0x00) || (frame[12] == 0x88 && frame[13] == 0xa8);
	header->vid = 0;
	if (!header->tagged)
		return true;
	if (length < 18)
		return false;
	header->vid = (frame[14] % 16) * 256u + frame[15];
	return true;
}

static bool
filter_passes(const struct oracle_filter *filter, const struct header *header)
{
	if (!filter->running || filter->mac != header->mac)
		return false;
	if (filter->vlan == VLAN_ANY)
		return true;
	if (filter->vlan == VLAN_UNTAGGED)
		return !header->tagged || header->vid == 0;
	return header->tagged && header->vid == filter->vlan;
}

uint16_t
oracle_queue(const struct oracle_filter *filters, size_t count, const uint8_t *frame, size_t length)
{
	struct header header;
	int queue = NO_QUEUE;

	if (!header_parse(frame, length, &header))
		return DEFAULT_QUEUE;
	for (size_t i = 0; i < count; i++) {
		if (filter_passes(&filters[i], &header) && (queue == NO_QUEUE || filters[i].queue < queue))
			queue = filters[i].queue;
	}
	return queue == NO_QUEUE ? DEFAULT_QUEUE : (uint16_t)queue;
}
