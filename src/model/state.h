/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The states of a queue and the events that move it: the published table, and nothing else, decides.
 * Source: vmq-spec §4 and its table of states and events.
 */
#ifndef VMQ_MODEL_STATE_H
#define VMQ_MODEL_STATE_H

/* name in code, name in JSON and tables, name that Windows reports */
#define QUEUE_STATES(row)                            \
	row(UNDEFINED, "Undefined", "Undefined")     \
	row(ALLOCATED, "Allocated", "Paused")        \
	row(SET, "Set", "Paused")                    \
	row(RUNNING, "Running", "Running")           \
	row(PAUSED, "Paused", "Paused")              \
	row(DMA_STOPPED, "DmaStopped", "DmaStopped") \
	row(FREEING, "Freeing", "DmaStopped")

#define QUEUE_STATE_ENUM(name, text, windows) QUEUE_##name,
enum queue_state {
	QUEUE_STATES(QUEUE_STATE_ENUM)
	QUEUE_STATE_COUNT
};
#undef QUEUE_STATE_ENUM

/* name in code, name in the table of the specification, what a refusal calls it */
#define QUEUE_EVENTS(row)                                                               \
	row(ALLOCATE, "allocate_queue", "be allocated")                                 \
	row(GET_PARAMETERS, "get_queue_parameters", "show its parameters")              \
	row(SET_PARAMETERS, "set_queue_parameters", "change its parameters")            \
	row(SET_FILTER, "set_filter", "take a filter")                                  \
	row(CLEAR_LAST_FILTER, "clear_last_filter", "lose its last filter")             \
	row(CLEAR_FILTER_NOT_LAST, "clear_filter_not_last", "lose a filter")            \
	row(ENUMERATE_FILTERS, "enumerate_filters", "show its filters")                 \
	row(GET_FILTER_PARAMETERS, "get_filter_parameters", "show a filter")            \
	row(ALLOCATION_COMPLETE, "allocation_complete", "complete its allocation")      \
	row(RECEIVE_PACKET, "receive_packet", "receive")                                \
	row(FREE, "free_queue", "be freed")                                             \
	row(DMA_STOPPED_INDICATED, "dma_stopped_indicated", "indicate that DMA stopped") \
	row(ALL_RETURNED, "all_indications_returned", "end")

#define QUEUE_EVENT_ENUM(name, word, phrase) QUEUE_EVENT_##name,
enum queue_event {
	QUEUE_EVENTS(QUEUE_EVENT_ENUM)
	QUEUE_EVENT_COUNT
};
#undef QUEUE_EVENT_ENUM

/** The state after an event. @return the new state; -1 if the event is invalid in that state. */
int queue_state_after(enum queue_state state, enum queue_event event);

const char *queue_state_name(enum queue_state state);
const char *queue_state_windows_name(enum queue_state state);
/** As the specification's table writes it, e.g. `set_filter`. */
const char *queue_event_name(enum queue_event event);
/** Completes "queue 3 cannot …". */
const char *queue_event_phrase(enum queue_event event);

#endif
