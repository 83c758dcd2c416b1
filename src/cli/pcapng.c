/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/pcapng.h"

#include <string.h>

enum block { BLOCK_SECTION = 0x0a0d0d0a, BLOCK_INTERFACE = 1, BLOCK_STATISTICS = 5, BLOCK_FRAME = 6 };

enum option {
	OPTION_END = 0,
	OPTION_COMMENT = 1,
	SECTION_APPLICATION = 4,
	INTERFACE_NAME = 2,
	INTERFACE_DESCRIPTION = 3,
	INTERFACE_TIME_RESOLUTION = 9,
	INTERFACE_FILTER = 11,
	FRAME_FLAGS = 2,
	STATISTICS_RECEIVED = 4,
	STATISTICS_DROPPED = 5,
};

enum {
	BYTE_ORDER_MAGIC = 0x1a2b3c4d,
	LINK_ETHERNET = 1,
	NANOSECONDS = 9,         /* a power of 10 */
	FLAG_INBOUND = 1,
	FLAG_OUTBOUND = 2,
	FILTER_TEXT = 0,         /* the filter is an expression of libpcap's */
	BLOCK_AROUND_BYTES = 12, /* type, and length before and after */
	OPTIONS_BYTES_MAX = 8192,
};

/* The options of a block, as they are written behind it. */
struct options {
	uint8_t bytes[OPTIONS_BYTES_MAX];
	uint32_t count;
};

static uint32_t
padded(uint32_t bytes)
{
	return (bytes + 3) & ~UINT32_C(3);
}

/* One that does not fit is left out: room for the end is kept. */
static void
add(struct options *options, enum option code, const void *value, size_t bytes)
{
	const uint16_t head[2] = { (uint16_t)code, (uint16_t)bytes };

	if (bytes > OPTIONS_BYTES_MAX ||
	    options->count + sizeof(head) + padded((uint32_t)bytes) + sizeof(head) > OPTIONS_BYTES_MAX)
		return;
	memcpy(options->bytes + options->count, head, sizeof(head));
	memcpy(options->bytes + options->count + sizeof(head), value, bytes);
	options->count += (uint32_t)sizeof(head) + padded((uint32_t)bytes);
}

static void
add_text(struct options *options, enum option code, const char *text)
{
	if (text && *text)
		add(options, code, text, strlen(text));
}

/* A block: fixed fields, data that is padded, options. */
static void
write_block(FILE *file, enum block type, const void *fields, uint32_t field_bytes, const void *data,
	    uint32_t data_bytes, struct options *options)
{
	static const uint8_t padding[4];
	uint32_t length;

	memset(options->bytes + options->count, 0, 4);
	options->count += 4;
	length = BLOCK_AROUND_BYTES + field_bytes + padded(data_bytes) + options->count;
	fwrite(&(const uint32_t){ type }, 4, 1, file);
	fwrite(&length, 4, 1, file);
	fwrite(fields, 1, field_bytes, file);
	fwrite(data, 1, data_bytes, file);
	fwrite(padding, 1, padded(data_bytes) - data_bytes, file);
	fwrite(options->bytes, 1, options->count, file);
	fwrite(&length, 4, 1, file);
}

void
pcapng_write_header(FILE *file)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		int32_t length[2]; /* of the section: not known */
	} fields = { BYTE_ORDER_MAGIC, 1, 0, { -1, -1 } };
	struct options options = { .count = 0 };

	add_text(&options, SECTION_APPLICATION, "vmqctl " VMQ_VERSION);
	write_block(file, BLOCK_SECTION, &fields, sizeof(fields), NULL, 0, &options);
}

void
pcapng_write_interface(FILE *file, const struct pcapng_interface *interface)
{
	const struct {
		uint16_t link, reserved;
		uint32_t snap;
	} fields = { LINK_ETHERNET, 0, interface->snap_bytes };
	const uint8_t resolution = NANOSECONDS;
	struct options options = { .count = 0 };
	char filter[4096] = { FILTER_TEXT };

	add_text(&options, INTERFACE_NAME, interface->name);
	add_text(&options, INTERFACE_DESCRIPTION, interface->description);
	add(&options, INTERFACE_TIME_RESOLUTION, &resolution, sizeof(resolution));
	if (interface->filter) {
		snprintf(filter + 1, sizeof(filter) - 1, "%s", interface->filter);
		add(&options, INTERFACE_FILTER, filter, 1 + strlen(filter + 1));
	}
	write_block(file, BLOCK_INTERFACE, &fields, sizeof(fields), NULL, 0, &options);
}

void
pcapng_write_frame(FILE *file, const struct pcapng_frame *frame)
{
	const uint32_t fields[] = { frame->interface, (uint32_t)(frame->time_ns >> 32), (uint32_t)frame->time_ns,
				    frame->kept_bytes, frame->frame_bytes };
	const uint32_t flags = frame->inbound ? FLAG_INBOUND : FLAG_OUTBOUND;
	struct options options = { .count = 0 };

	add_text(&options, OPTION_COMMENT, frame->comment);
	add(&options, FRAME_FLAGS, &flags, sizeof(flags));
	write_block(file, BLOCK_FRAME, fields, sizeof(fields), frame->bytes, frame->kept_bytes, &options);
}

void
pcapng_write_statistics(FILE *file, uint32_t interface, uint64_t time_ns, uint64_t received, uint64_t missed)
{
	const uint32_t fields[] = { interface, (uint32_t)(time_ns >> 32), (uint32_t)time_ns };
	struct options options = { .count = 0 };

	add(&options, STATISTICS_RECEIVED, &received, sizeof(received));
	add(&options, STATISTICS_DROPPED, &missed, sizeof(missed));
	write_block(file, BLOCK_STATISTICS, fields, sizeof(fields), NULL, 0, &options);
}
