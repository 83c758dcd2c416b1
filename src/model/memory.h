/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared memory of queues: what it is for is the driver's word, which address space backs it is decided here, and
 * the driver is not told. Source: vmq-spec §5.
 */
#ifndef VMQ_MODEL_MEMORY_H
#define VMQ_MODEL_MEMORY_H

#include "util/refusal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* name in code, word in JSON and tables */
#define MEMORY_USAGES(row)                             \
	row(RECEIVE, "receive")                        \
	row(LOOKAHEAD, "receive-lookahead")            \
	row(POST_LOOKAHEAD, "receive-post-lookahead")  \
	row(TRANSMIT, "transmit")                      \
	row(OTHER, "other")

#define MEMORY_USAGE_ENUM(name, word) MEMORY_##name,
enum memory_usage {
	MEMORY_USAGES(MEMORY_USAGE_ENUM)
	MEMORY_USAGE_COUNT
};
#undef MEMORY_USAGE_ENUM

enum memory_space {
	SPACE_HOST,
	SPACE_GUEST, /* the buffers that the guest posts; the provider holds no address of them */
};

struct memory_segment {
	void *address;
	size_t bytes;
};

struct memory_request {
	enum memory_usage usage;
	size_t bytes;
	int node;                     /* NUMA node preferred; -1: any */
	bool contiguous;              /* else in as many pieces as it takes */
};

enum { MEMORY_SEGMENTS_MAX = 8 };

struct queue;

struct memory {
	struct queue *queue;
	struct memory_request request;
	enum memory_space space;
	uint32_t handle;              /* for receive indications; unique within the queue, never 0 */
	int node;                     /* NUMA node that it is on; in guest space the one preferred; -1 unknown */
	void *address;                /* of the first segment; NULL in guest space */
	uint32_t segment_count;
	struct memory_segment segments[MEMORY_SEGMENTS_MAX];
	void *allocation;             /* for freeing */
	TAILQ_ENTRY(memory) of_queue;
};
TAILQ_HEAD(memory_list, memory);

/**
 * Allocate shared memory for a queue that is allocated; more may be allocated until it is freed.
 *
 * @param memory  out: the object, untouched on error.
 * @return 0; -EINVAL no bytes, or an unknown usage; -ENOTSUP a part of a split of a queue that is not split;
 *         -ENOMEM.
 */
int memory_allocate(struct queue *queue, const struct memory_request *request, struct memory **memory,
		    struct refusal *why);
void memory_free(struct memory *memory);
void memory_free_all(struct queue *queue);

/** The address space that rules and filters allow for this usage of a queue now. */
enum memory_space memory_space_of(const struct queue *queue, enum memory_usage usage);

const char *memory_usage_word(enum memory_usage usage);
const char *memory_space_word(enum memory_space space);

#endif
