/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/claim.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

static LIST_HEAD(, claim) claims = LIST_HEAD_INITIALIZER(claims);

int
claim_check(const struct claim *claim, const char *port, struct refusal *why)
{
	char ifname[IF_NAMESIZE] = "";
	const struct claim *other;

	LIST_FOREACH(other, &claims, of_all) {
		if (claim->ifindex && other->ifindex == claim->ifindex)
			return refuse(why, -EEXIST, "port %.128s: interface %s is adapter %s's", port,
				      if_indextoname(claim->ifindex, ifname) ? ifname : "", other->adapter);
		if (!strcmp(other->device, claim->device))
			return refuse(why, -EEXIST, "port %.128s: %s is adapter %s's%s", port, claim->device,
				      other->adapter, strchr(claim->device, ':') ? "" : ": give it another number");
	}
	return 0;
}

void
claim_take(struct claim *claim)
{
	LIST_INSERT_HEAD(&claims, claim, of_all);
}

void
claim_drop(struct claim *claim)
{
	LIST_REMOVE(claim, of_all);
}
