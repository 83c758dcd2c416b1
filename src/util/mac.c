/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/mac.h"

#include <errno.h>
#include <stdio.h>

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
mac_parse(const char *text, uint64_t *mac)
{
	const char separator = text[0] && text[1] ? text[2] : '\0';
	uint64_t value = 0;

	if (separator != ':' && separator != '-')
		return -EINVAL;
	for (int i = 0; i < 6; i++, text += 3) {
		int high = hex_digit(text[0]);
		int low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0 || text[2] != (i < 5 ? separator : '\0'))
			return -EINVAL;
		value = value << 8 | (uint64_t)(high << 4 | low);
	}
	*mac = value;
	return 0;
}

void
mac_format(uint64_t mac, char text[MAC_TEXT_SIZE])
{
	uint8_t octets[6];

	mac_store(mac, octets);
	snprintf(text, MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", octets[0], octets[1], octets[2], octets[3],
		 octets[4], octets[5]);
}
