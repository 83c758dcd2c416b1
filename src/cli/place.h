/* SPDX-License-Identifier: BSD-3-Clause */
/* Where captured frames were seen: wire, host and queues by name, and the filter that chose a queue. */
#ifndef VMQ_CLI_PLACE_H
#define VMQ_CLI_PLACE_H

#include "cli/client.h"
#include "util/capture.h"

struct place {
	uint16_t adapter;        /* as in its records */
	uint8_t kind;            /* CAPTURE_WIRE, CAPTURE_HOST or CAPTURE_QUEUE */
	uint16_t queue;
	uint32_t index;          /* counts up with each new place */
	uint64_t received;
	char adapter_name[CAPTURE_ADAPTER_NAME_SIZE];
	char name[80];           /* "eth0 queue 3" */
	char vm[64];             /* whose the queue is; empty: nobody's */
	json_t *shown;           /* the queue, as `queue show` has it; NULL: it is gone */
	uint64_t asked_ns;       /* when */
};

struct places {
	const char *socket;
	struct client *client;   /* to ask vmqd; NULL: not connected */
	struct place **list;
	uint32_t count;
};

/** The place of a record, made if it is new. */
struct place *place_of(struct places *places, const struct capture_area *area, const struct capture_record *record);

/**
 * The filter of the place's queue that a frame passes, as far as is known: what vmqd answered a short while ago.
 *
 * @param bytes  of the frame, as many as the record keeps.
 * @return its id; -1: none.
 */
json_int_t place_filter(struct places *places, struct place *place, const struct capture_record *record,
			const uint8_t *bytes);

void places_free(struct places *places);

#endif
