/* SPDX-License-Identifier: BSD-3-Clause */
/* A pcapng file as it is written. Source: the IETF's draft-ietf-opsawg-pcapng. */
#ifndef VMQ_CLI_PCAPNG_H
#define VMQ_CLI_PCAPNG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct pcapng_interface {
	const char *name;
	const char *description; /* NULL: none */
	const char *filter;      /* that its frames passed; NULL: none */
	uint32_t snap_bytes;
};

struct pcapng_frame {
	uint32_t interface;      /* in the order of pcapng_write_interface() */
	uint64_t time_ns;        /* since 1970 */
	bool inbound;
	uint32_t frame_bytes, kept_bytes;
	const uint8_t *bytes;
	const char *comment;
};

/* Errors show in ferror(). */
void pcapng_write_header(FILE *file);
void pcapng_write_interface(FILE *file, const struct pcapng_interface *interface);
void pcapng_write_frame(FILE *file, const struct pcapng_frame *frame);
/** At the end. @param missed  frames that did not find their way into the file. */
void pcapng_write_statistics(FILE *file, uint32_t interface, uint64_t time_ns, uint64_t received, uint64_t missed);

#endif
