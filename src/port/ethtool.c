/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/ethtool.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum { FEATURES_MAX = 256, FEATURES_IN_BLOCK = 32 };

/* The kernel names its features, and their order is its own. Each answer ends in an array. */
union names {
	struct ethtool_gstrings head;
	uint8_t room[sizeof(struct ethtool_gstrings) + FEATURES_MAX * ETH_GSTRING_LEN];
};

union states {
	struct ethtool_gfeatures head;
	uint8_t room[sizeof(struct ethtool_gfeatures) +
		     FEATURES_MAX / FEATURES_IN_BLOCK * sizeof(struct ethtool_get_features_block)];
};

union sets {
	struct ethtool_sset_info head;
	uint8_t room[sizeof(struct ethtool_sset_info) + sizeof(uint32_t)];
};

static int
ask(int fd, const char *ifname, void *question)
{
	struct ifreq request = { .ifr_data = question };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	return ioctl(fd, SIOCETHTOOL, &request);
}

/* @return how many features there are; 0: that is not to be had. */
static uint32_t
feature_count(int fd, const char *ifname)
{
	union sets sets = { .head = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = UINT64_C(1) << ETH_SS_FEATURES } };

	if (ask(fd, ifname, &sets) || !sets.head.sset_mask || sets.head.data[0] > FEATURES_MAX)
		return 0;
	return sets.head.data[0];
}

static bool
is_active(const union names *names, const union states *states, const char *name)
{
	for (uint32_t i = 0; i < names->head.len; i++)
		if (!strncmp((const char *)names->head.data + i * ETH_GSTRING_LEN, name, ETH_GSTRING_LEN))
			return states->head.features[i / FEATURES_IN_BLOCK].active >> i % FEATURES_IN_BLOCK & 1;
	return false;
}

static bool
cuts_tcp(const union names *names, const union states *states)
{
	const bool checksums = is_active(names, states, "tx-checksum-ip-generic") ||
			       (is_active(names, states, "tx-checksum-ipv4") &&
				is_active(names, states, "tx-checksum-ipv6"));

	return checksums && is_active(names, states, "tx-scatter-gather") &&
	       is_active(names, states, "tx-tcp-segmentation") && is_active(names, states, "tx-tcp6-segmentation") &&
	       is_active(names, states, "tx-tcp-ecn-segmentation");
}

bool
ethtool_cuts_tcp(int fd, const char *ifname)
{
	const uint32_t count = feature_count(fd, ifname);
	union states states = { .head = { .cmd = ETHTOOL_GFEATURES } };
	union names *names = calloc(1, sizeof(*names));
	bool cuts = false;

	if (names && count) {
		names->head = (struct ethtool_gstrings){
			.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = count
		};
		states.head.size = (count + FEATURES_IN_BLOCK - 1) / FEATURES_IN_BLOCK;
		cuts = !ask(fd, ifname, names) && !ask(fd, ifname, &states) && cuts_tcp(names, &states);
	}
	free(names);
	return cuts;
}
