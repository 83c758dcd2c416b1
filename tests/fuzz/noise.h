/* SPDX-License-Identifier: BSD-3-Clause */
/* The input of a fuzz target, taken piece by piece; zeroes once there is no more of it. */
#ifndef VMQ_FUZZ_NOISE_H
#define VMQ_FUZZ_NOISE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What is left of the input. */
struct noise {
	const uint8_t *at;
	size_t left;
};

static inline void
noise_copy(struct noise *noise, void *to, size_t bytes)
{
	const size_t some = noise->left < bytes ? noise->left : bytes;

	memset(to, 0, bytes);
	memcpy(to, noise->at, some);
	noise->at += some;
	noise->left -= some;
}

static inline uint8_t
noise8(struct noise *noise)
{
	uint8_t value;

	noise_copy(noise, &value, sizeof(value));
	return value;
}

static inline uint16_t
noise16(struct noise *noise)
{
	uint16_t value;

	noise_copy(noise, &value, sizeof(value));
	return value;
}

#endif
