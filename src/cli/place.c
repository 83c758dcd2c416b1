/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/place.h"
#include "cli/session.h"
#include "cli/table.h"
#include "util/mac.h"

#include <net/ethernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_BYTES = 4, ETHERTYPE_SERVICE_VLAN = 0x88a8 };

#define ASK_AGAIN_NS UINT64_C(1000000000) /* for a filter that is not known */
#define ASK_ANYWAY_NS UINT64_C(10000000000)

/* A frame that was dropped belongs to its queue; the default queue is the host's. */
static uint8_t
kind_of(const struct capture_record *record)
{
	if (record->place != CAPTURE_DROPPED)
		return record->place;
	return record->queue == TABLE_QUEUE_DEFAULT ? CAPTURE_HOST : CAPTURE_QUEUE;
}

static json_t *
ask(struct places *places, json_t *params)
{
	struct refusal why;
	json_t *queues, *queue;

	session_ask(places->socket, &places->client, "queue.show", params, &queues, &why);
	queue = json_incref(json_array_get(queues, 0));
	json_decref(queues);
	return queue;
}

static void
look_up(struct places *places, struct place *place, uint64_t now_ns)
{
	json_t *params = json_pack("{s:s, s:i}", "adapter", place->adapter_name, "id", place->queue);

	json_decref(place->shown);
	place->shown = place->kind == CAPTURE_QUEUE && place->queue != TABLE_QUEUE_DROP ? ask(places, params) : NULL;
	place->asked_ns = now_ns;
	json_decref(params);
}

static void
name_place(struct place *place)
{
	const char *adapter = place->adapter_name;
	const char *vm = json_string_value(json_object_get(place->shown, "vm"));

	if (place->kind != CAPTURE_QUEUE)
		snprintf(place->name, sizeof(place->name), "%s %s", adapter,
			 place->kind == CAPTURE_WIRE ? "wire" : "host");
	else if (place->queue == TABLE_QUEUE_DROP)
		snprintf(place->name, sizeof(place->name), "%s drop", adapter);
	else
		snprintf(place->name, sizeof(place->name), "%s queue %u", adapter, place->queue);
	snprintf(place->vm, sizeof(place->vm), "%s", vm ? vm : "");
}

static struct place *
place_create(struct places *places, const struct capture_area *area, const struct capture_record *record)
{
	struct place *place = calloc(1, sizeof(*place));

	places->list = realloc(places->list, (places->count + 1) * sizeof(places->list[0]));
	if (!place || !places->list)
		abort();
	place->adapter = record->adapter;
	place->kind = kind_of(record);
	place->queue = record->queue;
	place->index = places->count;
	snprintf(place->adapter_name, sizeof(place->adapter_name), "%s", area->adapters[record->adapter]);
	look_up(places, place, record->time_ns);
	name_place(place);
	places->list[places->count++] = place;
	return place;
}

struct place *
place_of(struct places *places, const struct capture_area *area, const struct capture_record *record)
{
	for (uint32_t i = 0; i < places->count; i++) {
		struct place *place = places->list[i];

		if (place->adapter == record->adapter && place->kind == kind_of(record) &&
		    place->queue == record->queue)
			return place;
	}
	return place_create(places, area, record);
}

/* The VLAN of the frame; 0: none. */
static uint16_t
vlan_of(const struct capture_record *record, const uint8_t *bytes)
{
	const uint16_t type = (uint16_t)(bytes[12] << 8 | bytes[13]);

	if (record->flags & CAPTURE_HAS_VLAN)
		return record->vlan;
	if ((type != ETHERTYPE_VLAN && type != ETHERTYPE_SERVICE_VLAN) ||
	    record->kept_bytes < ETHER_HDR_LEN + TAG_BYTES)
		return 0;
	return (uint16_t)(bytes[14] << 8 | bytes[15]) & 0x0fff;
}

static bool
is_for(const json_t *filter, uint64_t mac, uint16_t vlan)
{
	const json_t *wanted = json_object_get(filter, "vlan");
	const char *word = json_string_value(wanted);
	uint64_t own;

	if (mac_parse(json_string_value(json_object_get(filter, "mac")), &own) || own != mac)
		return false;
	if (word)
		return !strcmp(word, "any") || vlan == 0;
	return json_integer_value(wanted) == vlan;
}

static json_int_t
filter_find(const struct place *place, uint64_t mac, uint16_t vlan)
{
	const json_t *filter;
	json_int_t id = -1;
	size_t i;

	/* One that names the VLAN goes before one for any. */
	json_array_foreach(json_object_get(place->shown, "filters"), i, filter) {
		const char *word = json_string_value(json_object_get(filter, "vlan"));

		if (is_for(filter, mac, vlan) && (id < 0 || !word || strcmp(word, "any")))
			id = json_integer_value(json_object_get(filter, "id"));
	}
	return id;
}

json_int_t
place_filter(struct places *places, struct place *place, const struct capture_record *record, const uint8_t *bytes)
{
	const bool is_old = record->time_ns > place->asked_ns + ASK_ANYWAY_NS;
	const bool is_young = record->time_ns < place->asked_ns + ASK_AGAIN_NS;
	uint64_t mac;
	json_int_t id;

	if (place->kind != CAPTURE_QUEUE || record->kept_bytes < ETHER_HDR_LEN)
		return -1;
	mac = mac_load(bytes);
	id = filter_find(place, mac, vlan_of(record, bytes));
	/* Group frames come without a filter, too. */
	if (!is_old && (is_young || id >= 0 || mac_is_group(mac)))
		return id;
	look_up(places, place, record->time_ns);
	return filter_find(place, mac, vlan_of(record, bytes));
}

void
places_free(struct places *places)
{
	for (uint32_t i = 0; i < places->count; i++) {
		json_decref(places->list[i]->shown);
		free(places->list[i]);
	}
	free(places->list);
	client_close(places->client);
}
