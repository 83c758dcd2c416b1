/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/vlan.h"

#include <stdio.h>

void
vlan_format(uint16_t vlan, char text[VLAN_TEXT_SIZE])
{
	if (vlan == VLAN_UNTAGGED)
		snprintf(text, VLAN_TEXT_SIZE, "untagged");
	else if (vlan == VLAN_ANY)
		snprintf(text, VLAN_TEXT_SIZE, "any");
	else
		snprintf(text, VLAN_TEXT_SIZE, "%u", vlan);
}
