/* SPDX-License-Identifier: BSD-3-Clause */
/* MAC addresses as 48-bit numbers, first octet highest: compared, hashed and packed as one word. */
#ifndef VMQ_UTIL_MAC_H
#define VMQ_UTIL_MAC_H

#include <stdbool.h>
#include <stdint.h>

#define MAC_TEXT_SIZE 18 /* "52:54:00:00:00:01" and its NUL */
#define MAC_BROADCAST UINT64_C(0xffffffffffff)

static inline bool
mac_is_group(uint64_t mac)
{
	return mac & UINT64_C(0x010000000000);
}

static inline uint64_t
mac_load(const uint8_t *octets)
{
	return (uint64_t)octets[0] << 40 | (uint64_t)octets[1] << 32 | (uint64_t)octets[2] << 24 |
	       (uint64_t)octets[3] << 16 | (uint64_t)octets[4] << 8 | octets[5];
}

static inline void
mac_store(uint64_t mac, uint8_t *octets)
{
	for (int i = 0; i < 6; i++)
		octets[i] = (uint8_t)(mac >> (40 - 8 * i));
}

/** Read `52:54:00:00:00:01` or `52-54-00-00-00-01`. @return 0; -EINVAL anything else, mac untouched. */
int mac_parse(const char *text, uint64_t *mac);

/** Write the colon form, NUL included. */
void mac_format(uint64_t mac, char text[MAC_TEXT_SIZE]);

#endif
