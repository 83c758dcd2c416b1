/* SPDX-License-Identifier: BSD-3-Clause */
/* The published table of states and events. Source: vmq-spec §4. */
#include "model/state.h"

#include <assert.h>
#include <stdint.h>

/* The state after, plus one: an absent cell is 0, and 0 is refused. */
#define TO(state) (QUEUE_##state + 1)

static const uint8_t after[][QUEUE_STATE_COUNT] = {
	[QUEUE_EVENT_ALLOCATE] = { [QUEUE_UNDEFINED] = TO(ALLOCATED) },
	[QUEUE_EVENT_GET_PARAMETERS] = { [QUEUE_ALLOCATED] = TO(ALLOCATED), [QUEUE_SET] = TO(SET),
					 [QUEUE_RUNNING] = TO(RUNNING), [QUEUE_PAUSED] = TO(PAUSED) },
	[QUEUE_EVENT_SET_PARAMETERS] = { [QUEUE_ALLOCATED] = TO(ALLOCATED), [QUEUE_SET] = TO(SET),
					 [QUEUE_RUNNING] = TO(RUNNING), [QUEUE_PAUSED] = TO(PAUSED) },
	[QUEUE_EVENT_SET_FILTER] = { [QUEUE_ALLOCATED] = TO(SET), [QUEUE_SET] = TO(SET),
				     [QUEUE_RUNNING] = TO(RUNNING), [QUEUE_PAUSED] = TO(RUNNING) },
	[QUEUE_EVENT_CLEAR_LAST_FILTER] = { [QUEUE_SET] = TO(ALLOCATED), [QUEUE_RUNNING] = TO(PAUSED) },
	[QUEUE_EVENT_CLEAR_FILTER_NOT_LAST] = { [QUEUE_SET] = TO(SET), [QUEUE_RUNNING] = TO(RUNNING) },
	[QUEUE_EVENT_ENUMERATE_FILTERS] = { [QUEUE_ALLOCATED] = TO(ALLOCATED), [QUEUE_SET] = TO(SET),
					    [QUEUE_RUNNING] = TO(RUNNING), [QUEUE_PAUSED] = TO(PAUSED) },
	[QUEUE_EVENT_GET_FILTER_PARAMETERS] = { [QUEUE_SET] = TO(SET), [QUEUE_RUNNING] = TO(RUNNING) },
	[QUEUE_EVENT_ALLOCATION_COMPLETE] = { [QUEUE_ALLOCATED] = TO(PAUSED), [QUEUE_SET] = TO(RUNNING) },
	[QUEUE_EVENT_RECEIVE_PACKET] = { [QUEUE_RUNNING] = TO(RUNNING) },
	[QUEUE_EVENT_FREE] = { [QUEUE_ALLOCATED] = TO(DMA_STOPPED), [QUEUE_PAUSED] = TO(DMA_STOPPED) },
	[QUEUE_EVENT_DMA_STOPPED_INDICATED] = { [QUEUE_DMA_STOPPED] = TO(FREEING) },
	[QUEUE_EVENT_ALL_RETURNED] = { [QUEUE_FREEING] = TO(UNDEFINED) },
};
static_assert(sizeof(after) / sizeof(after[0]) == QUEUE_EVENT_COUNT, "one row per event");

struct state_row {
	const char *name;
	const char *windows_name;
};

#define STATE_ROW(name, text, windows) [QUEUE_##name] = { text, windows },
static const struct state_row states[] = { QUEUE_STATES(STATE_ROW) };
#undef STATE_ROW
static_assert(sizeof(states) / sizeof(states[0]) == QUEUE_STATE_COUNT, "one row per state");

struct event_row {
	const char *name;
	const char *phrase;
};

#define EVENT_ROW(name, word, phrase) [QUEUE_EVENT_##name] = { word, phrase },
static const struct event_row events[] = { QUEUE_EVENTS(EVENT_ROW) };
#undef EVENT_ROW
static_assert(sizeof(events) / sizeof(events[0]) == QUEUE_EVENT_COUNT, "one row per event");

int
queue_state_after(enum queue_state state, enum queue_event event)
{
	assert(state < QUEUE_STATE_COUNT && event < QUEUE_EVENT_COUNT);
	return after[event][state] - 1;
}

const char *
queue_state_name(enum queue_state state)
{
	assert(state < QUEUE_STATE_COUNT);
	return states[state].name;
}

const char *
queue_state_windows_name(enum queue_state state)
{
	assert(state < QUEUE_STATE_COUNT);
	return states[state].windows_name;
}

const char *
queue_event_name(enum queue_event event)
{
	assert(event < QUEUE_EVENT_COUNT);
	return events[event].name;
}

const char *
queue_event_phrase(enum queue_event event)
{
	assert(event < QUEUE_EVENT_COUNT);
	return events[event].phrase;
}
