/* SPDX-License-Identifier: BSD-3-Clause */
/* How a VLAN is named everywhere: by its 802.1Q identifier, or by one of two kinds that are no identifier. */
#ifndef VMQ_UTIL_VLAN_H
#define VMQ_UTIL_VLAN_H

#include <stdint.h>

enum {
	VLAN_UNTAGGED = 0,  /* no tag, or a priority tag (VID 0) */
	VLAN_FIRST = 1,     /* the identifiers that a filter may name */
	VLAN_LAST = 4094,
	VLAN_ID_COUNT = 4096,
	VLAN_ANY = 4096,    /* any tag or none; only a filter can say this, never a frame */
};

#define VLAN_TEXT_SIZE 12

/** Write `10`, `untagged` or `any`. */
void vlan_format(uint16_t vlan, char text[VLAN_TEXT_SIZE]);

#endif
