/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive filters: what is a valid one, whose it is, and its way into hardware and out of it. Source: vmq-spec §3. */
#include "model/internal.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct filter_text {
	char text[MAC_TEXT_SIZE + VLAN_TEXT_SIZE + 16];
};

static struct filter_text
filter_text(uint64_t mac, uint16_t vlan)
{
	struct filter_text text;
	char mac_text[MAC_TEXT_SIZE], vlan_text[VLAN_TEXT_SIZE];

	mac_format(mac, mac_text);
	vlan_format(vlan, vlan_text);
	snprintf(text.text, sizeof(text.text), "filter %s vlan %s", mac_text, vlan_text);
	return text;
}

static int
compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int
filter_compare(const void *a, const void *b)
{
	const struct filter *x = a, *y = b;

	return x->mac != y->mac ? compare(x->mac, y->mac) : compare(x->vlan, y->vlan);
}

static int
mac_check(uint64_t mac, struct refusal *why)
{
	char text[MAC_TEXT_SIZE];

	mac_format(mac, text);
	if (mac > MAC_BROADCAST)
		return refuse(why, -EINVAL, "a MAC address has 48 bits");
	if (mac == 0)
		return refuse(why, -EINVAL, "a filter cannot test for the all-zero MAC address");
	if (mac_is_group(mac))
		return refuse(why, -EINVAL, "a filter cannot test for %s, a group address", text);
	return 0;
}

int
filter_check_tests(const struct adapter *adapter, uint64_t mac, uint32_t vlan, struct refusal *why)
{
	int error = mac_check(mac, why);

	if (error)
		return error;
	if (vlan > VLAN_LAST && vlan != VLAN_ANY)
		return refuse(why, -EINVAL, "a filter's VLAN is %d to %d, untagged or any, not %u", VLAN_FIRST,
			      VLAN_LAST, vlan);
	if (vlan == VLAN_ANY && adapter->config.ndis == NDIS_6_20)
		return refuse(why, -ENOTSUP, "adapter %s is NDIS 6.20, where a filter tests MAC and VLAN: give a vlan",
			      adapter->config.name);
	if (vlan != VLAN_ANY && !adapter->config.vlan_filtering)
		return refuse(why, -ENOTSUP, "VLAN filtering is off on adapter %s: a filter can only have vlan any",
			      adapter->config.name);
	return 0;
}

int
filter_check_unique(const struct adapter *adapter, uint64_t mac, uint16_t vlan, struct refusal *why)
{
	const struct filter key = { .mac = mac, .vlan = vlan };
	struct filter *const *node = tfind(&key, &adapter->filters_by_test, filter_compare);

	if (!node)
		return 0;
	return refuse(why, -EEXIST, "%s already stands as filter %u on %s", filter_text(mac, vlan).text, (*node)->id,
		      queue_text((*node)->queue).text);
}

int
filter_check_room(const struct adapter *adapter, uint32_t count, struct refusal *why)
{
	const uint32_t room = adapter->config.filters - adapter->filter_count;

	if (count > room)
		return refuse(why, -ENOSPC, "adapter %s has room for %u more of its %u filters", adapter->config.name,
			      room, adapter->config.filters);
	return 0;
}

static int
filter_check(const struct queue *queue, uint64_t mac, uint32_t vlan, const struct caller *caller, struct refusal *why)
{
	const struct adapter *adapter = queue->adapter;
	int error = adapter_check_open(adapter, why);

	if (!error)
		error = adapter_check_vmq(adapter, why);
	if (!error)
		error = queue_check_event(queue, QUEUE_EVENT_SET_FILTER, why);
	if (!error)
		error = queue_check_owner(queue, caller, why);
	if (!error)
		error = filter_check_tests(adapter, mac, vlan, why);
	if (!error)
		error = filter_check_unique(adapter, mac, (uint16_t)vlan, why);
	return error ? error : filter_check_room(adapter, 1, why);
}

int
filter_place(const struct queue *queue, uint64_t mac, uint16_t vlan, struct refusal *why)
{
	const struct adapter *adapter = queue->adapter;
	int error = adapter->model->config.nic->filter_add(adapter->nic, queue->id, mac, vlan);

	if (error)
		return refuse(why, error, "adapter %s did not take %s: %s", adapter->config.name,
			      filter_text(mac, vlan).text, strerror(-error));
	return 0;
}

static uint32_t
filter_free_id(const struct adapter *adapter)
{
	uint32_t id = adapter->filter_id_hint;

	while (adapter->filters[id])
		id++;
	return id;
}

static void
filter_link(struct filter *filter, struct queue *queue)
{
	filter->queue = queue;
	TAILQ_INSERT_TAIL(&queue->filters, filter, of_queue);
	queue->filter_count++;
	queue->adapter->dirty = true;
	queue_step(queue, QUEUE_EVENT_SET_FILTER);
}

static enum queue_event
filter_clear_event(const struct filter *filter)
{
	return filter->queue->filter_count == 1 ? QUEUE_EVENT_CLEAR_LAST_FILTER : QUEUE_EVENT_CLEAR_FILTER_NOT_LAST;
}

static void
filter_unlink(struct filter *filter)
{
	struct queue *queue = filter->queue;
	const enum queue_event event = filter_clear_event(filter);

	TAILQ_REMOVE(&queue->filters, filter, of_queue);
	queue->filter_count--;
	queue->adapter->dirty = true;
	queue_step(queue, event);
}

struct filter *
filter_enter(struct queue *queue, uint32_t id, uint64_t mac, uint16_t vlan)
{
	struct adapter *adapter = queue->adapter;
	struct filter *filter = memory_zeroed(1, sizeof(*filter));

	filter->id = id == FILTER_NONE ? filter_free_id(adapter) : id;
	filter->mac = mac;
	filter->vlan = vlan;
	adapter->filters[filter->id] = filter;
	adapter->filter_count++;
	if (id == FILTER_NONE || id == adapter->filter_id_hint)
		adapter->filter_id_hint = filter->id + 1;
	if (!tsearch(filter, &adapter->filters_by_test, filter_compare))
		abort();
	filter_link(filter, queue);
	return filter;
}

void
filter_erase(struct filter *filter)
{
	struct adapter *adapter = filter->queue->adapter;

	if (filter->queue->state == QUEUE_RUNNING)
		adapter->model->config.nic->filter_remove(adapter->nic, filter->mac, filter->vlan);
	tdelete(filter, &adapter->filters_by_test, filter_compare);
	adapter->filters[filter->id] = NULL;
	adapter->filter_count--;
	if (filter->id < adapter->filter_id_hint)
		adapter->filter_id_hint = filter->id;
	filter_unlink(filter);
	free(filter);
}

void
filter_erase_all(struct queue *queue)
{
	while (!TAILQ_EMPTY(&queue->filters))
		filter_erase(TAILQ_FIRST(&queue->filters));
}

static int
filter_check_id(const struct adapter *adapter, uint32_t id, struct refusal *why)
{
	if (id == FILTER_NONE)
		return 0;
	if (id > adapter->config.filters)
		return refuse(why, -EINVAL, "the id of a filter on adapter %s is 1 to %u, not %u", adapter->config.name,
			      adapter->config.filters, id);
	if (adapter->filters[id])
		return refuse(why, -EEXIST, "filter %u of adapter %s is set already", id, adapter->config.name);
	return 0;
}

int
filter_set(struct queue *queue, uint64_t mac, uint32_t vlan, const struct caller *caller, struct filter **filter,
	   struct refusal *why)
{
	return filter_set_as(queue, FILTER_NONE, mac, vlan, caller, filter, why);
}

int
filter_set_as(struct queue *queue, uint32_t id, uint64_t mac, uint32_t vlan, const struct caller *caller,
	      struct filter **filter, struct refusal *why)
{
	int error = filter_check(queue, mac, vlan, caller, why);

	if (!error)
		error = filter_check_id(queue->adapter, id, why);
	if (!error && queue_after(queue, QUEUE_EVENT_SET_FILTER) == QUEUE_RUNNING)
		error = filter_place(queue, mac, (uint16_t)vlan, why);
	if (error)
		return error;
	*filter = filter_enter(queue, id, mac, (uint16_t)vlan);
	return 0;
}

int
filter_clear(struct filter *filter, const struct caller *caller, struct refusal *why)
{
	int error = adapter_check_open(filter->queue->adapter, why);

	if (!error)
		error = queue_check_event(filter->queue, filter_clear_event(filter), why);
	if (!error)
		error = queue_check_owner(filter->queue, caller, why);
	if (error)
		return error;
	filter_erase(filter);
	return 0;
}

static int
move_check(const struct filter *filter, const struct queue *to, const struct caller *caller, struct refusal *why)
{
	const struct queue *from = filter->queue;
	int error = adapter_check_open(from->adapter, why);

	if (!error && to->adapter != from->adapter)
		error = refuse(why, -EINVAL, "a filter moves between queues of one adapter, and %s is of another",
			       queue_text(to).text);
	if (!error)
		error = queue_check_event(from, filter_clear_event(filter), why);
	if (!error)
		error = queue_check_event(to, QUEUE_EVENT_SET_FILTER, why);
	if (!error)
		error = queue_check_owner(from, caller, why);
	if (!error)
		error = queue_check_owner(to, caller, why);
	if (!error && to == from)
		error = refuse(why, -EEXIST, "filter %u stands on %s already", filter->id, queue_text(to).text);
	return error;
}

int
filter_move(struct filter *filter, struct queue *to, const struct caller *caller, struct refusal *why)
{
	const struct adapter *adapter = to->adapter;
	const struct nic_ops *nic = adapter->model->config.nic;
	const bool was_running = filter->queue->state == QUEUE_RUNNING;
	const bool will_run = queue_after(to, QUEUE_EVENT_SET_FILTER) == QUEUE_RUNNING;
	int error = move_check(filter, to, caller, why);

	if (!error && will_run && !was_running)
		error = filter_place(to, filter->mac, filter->vlan, why);
	if (error)
		return error;
	if (was_running && will_run)
		nic->filter_move(adapter->nic, to->id, filter->mac, filter->vlan);
	else if (was_running)
		nic->filter_remove(adapter->nic, filter->mac, filter->vlan);
	filter_unlink(filter);
	filter_link(filter, to);
	return 0;
}

int
filter_find(struct adapter *adapter, int64_t id, struct filter **filter, struct refusal *why)
{
	if (id < 1 || id > adapter->config.filters || !adapter->filters[id])
		return refuse(why, -ENOENT, "there is no filter %lld on adapter %s", (long long)id,
			      adapter->config.name);
	*filter = adapter->filters[id];
	return 0;
}
