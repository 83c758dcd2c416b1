/* SPDX-License-Identifier: BSD-3-Clause */
/* Filters: which are valid, that no two are the same, their ids, their way into hardware, and the move. */
#include "fake_ops.h"
#include "rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAC UINT64_C(0x525400000001)

static struct fake fake;

static const struct rule_row {
	const char *name;
	enum ndis_version ndis;
	bool vlan_filtering;
	uint64_t mac;
	uint32_t vlan;
	int error;
} rule_rows[] = {
	{ "6.30: MAC and VLAN", NDIS_6_30, true, MAC, 10, 0 },
	{ "6.30: first VLAN", NDIS_6_30, true, MAC, VLAN_FIRST, 0 },
	{ "6.30: last VLAN", NDIS_6_30, true, MAC, VLAN_LAST, 0 },
	{ "6.30: untagged", NDIS_6_30, true, MAC, VLAN_UNTAGGED, 0 },
	{ "6.30: MAC alone", NDIS_6_30, true, MAC, VLAN_ANY, 0 },
	{ "6.30: VLAN 4095", NDIS_6_30, true, MAC, 4095, -EINVAL },
	{ "6.30: VLAN beyond any", NDIS_6_30, true, MAC, 4097, -EINVAL },
	{ "6.30: VLAN that is 10 in 16 bits", NDIS_6_30, true, MAC, 65536 + 10, -EINVAL },
	{ "6.30: multicast", NDIS_6_30, true, UINT64_C(0x01005e000001), 10, -EINVAL },
	{ "6.30: broadcast", NDIS_6_30, true, MAC_BROADCAST, 10, -EINVAL },
	{ "6.30: all-zero MAC", NDIS_6_30, true, 0, 10, -EINVAL },
	{ "6.30: 49-bit MAC", NDIS_6_30, true, UINT64_C(0x1000000000000) | MAC, 10, -EINVAL },
	{ "6.20: MAC and VLAN", NDIS_6_20, true, MAC, 10, 0 },
	{ "6.20: untagged", NDIS_6_20, true, MAC, VLAN_UNTAGGED, 0 },
	{ "6.20: MAC alone", NDIS_6_20, true, MAC, VLAN_ANY, -ENOTSUP },
	{ "6.20: VLAN 4095", NDIS_6_20, true, MAC, 4095, -EINVAL },
	{ "6.20: broadcast", NDIS_6_20, true, MAC_BROADCAST, VLAN_UNTAGGED, -EINVAL },
	{ "6.30, no VLAN filtering: MAC alone", NDIS_6_30, false, MAC, VLAN_ANY, 0 },
	{ "6.30, no VLAN filtering: VLAN", NDIS_6_30, false, MAC, 10, -ENOTSUP },
	{ "6.30, no VLAN filtering: untagged", NDIS_6_30, false, MAC, VLAN_UNTAGGED, -ENOTSUP },
	{ "6.20, no VLAN filtering: VLAN", NDIS_6_20, false, MAC, 10, -ENOTSUP },
	{ "6.20, no VLAN filtering: MAC alone", NDIS_6_20, false, MAC, VLAN_ANY, -ENOTSUP },
};

static void
rule(void **state)
{
	const struct rule_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", row->ndis, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_PAUSED, 0);
	struct filter *filter = NULL;
	struct refusal why = { 0 };

	adapter->config.vlan_filtering = row->vlan_filtering;
	fake_log_clear(&fake);
	assert_int_equal(filter_set(queue, row->mac, row->vlan, &fake_alice, &filter, &why), row->error);
	assert_int_equal(filter != NULL, row->error == 0);
	assert_int_equal(queue->filter_count, row->error == 0);
	assert_int_equal(queue->state, row->error ? QUEUE_PAUSED : QUEUE_RUNNING);
	assert_int_equal(strlen(why.text) > 0, row->error != 0);
	if (row->error)
		assert_string_equal(fake.log, "");
	fake_core_destroy(&fake, model);
}

static void
vmq_off(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	const struct queue_parameters parameters = { 0 };
	struct queue *queue;
	struct filter *filter;

	(void)state;
	adapter->config.vmq = false;
	assert_int_equal(queue_allocate(adapter, &parameters, &fake_root, &queue, NULL), -ENOTSUP);
	assert_int_equal(filter_set(adapter->queues[0], MAC, 10, &fake_root, &filter, NULL), -ENOTSUP);
	fake_core_destroy(&fake, model);
}

enum place { OWN, OTHER, DEFAULT, DROP };

static const struct duplicate_row {
	const char *name;
	enum place place;
	const char *sentence;
} duplicate_rows[] = {
	{ "duplicate on the same queue", OWN,
	  "filter 52:54:00:00:00:01 vlan 10 already stands as filter 1 on queue 1 of adapter eth0" },
	{ "duplicate on another queue", OTHER,
	  "filter 52:54:00:00:00:01 vlan 10 already stands as filter 1 on queue 2 of adapter eth0" },
	{ "duplicate on the default queue", DEFAULT,
	  "filter 52:54:00:00:00:01 vlan 10 already stands as filter 1 on the default queue of adapter eth0" },
	{ "duplicate on the drop queue", DROP,
	  "filter 52:54:00:00:00:01 vlan 10 already stands as filter 1 on the drop queue of adapter eth0" },
};

static void
duplicate(void **state)
{
	const struct duplicate_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *own = fake_queue_in(&fake, adapter, QUEUE_PAUSED, 0);
	struct queue *other = fake_queue_in(&fake, adapter, QUEUE_ALLOCATED, 0);
	struct queue *places[] = { own, other, adapter->queues[0], adapter->drop_queue };
	struct filter *filter, *untouched = NULL;
	struct refusal why;

	assert_int_equal(filter_set(places[row->place], MAC, 10, &fake_alice, &filter, NULL), 0);
	assert_int_equal(filter_set(own, MAC, 10, &fake_alice, &untouched, &why), -EEXIST);
	assert_string_equal(why.text, row->sentence);
	assert_null(untouched);
	assert_int_equal(filter_set(own, MAC, 11, &fake_alice, &filter, NULL), 0);
	assert_int_equal(filter_set(own, MAC, VLAN_ANY, &fake_alice, &filter, NULL), 0);
	assert_int_equal(filter_set(own, MAC, VLAN_UNTAGGED, &fake_alice, &filter, NULL), 0);
	fake_core_destroy(&fake, model);
}

static void
one_mac_on_two_adapters(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *a = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct adapter *b = fake_adapter_add(model, "eth1", NDIS_6_30, 4, 8);
	struct filter *filter;

	(void)state;
	assert_int_equal(filter_set(a->queues[0], MAC, 10, &fake_alice, &filter, NULL), 0);
	assert_int_equal(filter_set(b->queues[0], MAC, 10, &fake_alice, &filter, NULL), 0);
	assert_int_equal(filter_move(filter, a->queues[0], &fake_root, NULL), -EINVAL);
	fake_core_destroy(&fake, model);
}

static void
ids_are_the_lowest_free(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 2, 4);
	struct queue *a = fake_queue_in(&fake, adapter, QUEUE_ALLOCATED, 0);
	struct queue *b = fake_queue_in(&fake, adapter, QUEUE_ALLOCATED, 0);
	struct filter *filter[5];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(filter_set(i % 2 ? a : b, MAC + i, 10, &fake_alice, &filter[i], NULL), 0);
		assert_int_equal(filter[i]->id, i + 1);
	}
	assert_int_equal(filter_set(a, MAC + 9, 10, &fake_alice, &filter[4], NULL), -ENOSPC);
	assert_int_equal(filter_clear(filter[2], &fake_alice, NULL), 0);
	assert_int_equal(filter_clear(filter[1], &fake_alice, NULL), 0);
	assert_int_equal(filter_find(adapter, 2, &filter[4], NULL), -ENOENT);
	assert_int_equal(filter_set(a, MAC, 10, &fake_alice, &filter[4], NULL), -EEXIST);
	assert_int_equal(filter_set(a, MAC + 8, 10, &fake_alice, &filter[1], NULL), 0);
	assert_int_equal(filter[1]->id, 2);
	assert_int_equal(filter_set(a, MAC + 9, 10, &fake_alice, &filter[2], NULL), 0);
	assert_int_equal(filter[2]->id, 3);
	assert_int_equal(filter_find(adapter, 3, &filter[4], NULL), 0);
	assert_ptr_equal(filter[4], filter[2]);
	fake_core_destroy(&fake, model);
}

static void
ids_of_the_callers_choice(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 2, 5);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_ALLOCATED, 0);
	const uint32_t lowest_free[] = { 1, 3, 4 };
	struct filter *filter;

	(void)state;
	assert_int_equal(filter_set_as(queue, 6, MAC, 10, &fake_alice, &filter, NULL), -EINVAL);
	assert_int_equal(filter_set_as(queue, 2, MAC, 10, &fake_alice, &filter, NULL), 0);
	assert_int_equal(filter->id, 2);
	assert_int_equal(filter_set_as(queue, 2, MAC + 1, 10, &fake_alice, &filter, NULL), -EEXIST);
	assert_int_equal(filter_set_as(queue, 5, MAC + 1, 10, &fake_alice, &filter, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(filter_set(queue, MAC + 2 + i, 10, &fake_alice, &filter, NULL), 0);
		assert_int_equal(filter->id, lowest_free[i]);
	}
	assert_int_equal(filter_set(queue, MAC + 9, 10, &fake_alice, &filter, NULL), -ENOSPC);
	fake_core_destroy(&fake, model);
}

static void
ids_that_are_none(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 2, 4);
	const int64_t ids[] = { 0, -1, 1, 4, 5, INT64_MAX, INT64_MIN };
	struct filter *filter;

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		assert_int_equal(filter_find(adapter, ids[i], &filter, NULL), -ENOENT);
	fake_core_destroy(&fake, model);
}

static void
owner_decides(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);
	struct filter *filter = TAILQ_FIRST(&queue->filters), *another;
	struct refusal why;

	(void)state;
	assert_int_equal(filter_set(queue, MAC + 1, 10, &fake_bob, &another, &why), -EPERM);
	assert_string_equal(why.text, "queue 1 of adapter eth0 belongs to user 1000");
	assert_int_equal(filter_clear(filter, &fake_bob, NULL), -EPERM);
	assert_int_equal(filter_move(filter, adapter->queues[0], &fake_bob, NULL), -EPERM);
	assert_int_equal(filter_set(queue, MAC + 1, 10, &fake_root, &another, NULL), 0);
	assert_int_equal(filter_clear(another, &fake_root, NULL), 0);
	assert_int_equal(filter_set(adapter->queues[0], MAC + 1, 10, &fake_bob, &another, NULL), 0);
	assert_int_equal(filter_move(another, queue, &fake_bob, NULL), -EPERM);
	assert_int_equal(filter_clear(another, &fake_alice, NULL), 0);
	fake_core_destroy(&fake, model);
}

static void
reserved_queues_stay_running(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *reserved[] = { adapter->queues[QUEUE_DEFAULT], adapter->drop_queue };
	struct filter *filter;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		fake_log_clear(&fake);
		assert_int_equal(reserved[i]->state, QUEUE_RUNNING);
		assert_int_equal(filter_set(reserved[i], MAC, 10, &fake_bob, &filter, NULL), 0);
		assert_int_equal(filter_clear(filter, &fake_alice, NULL), 0);
		assert_int_equal(reserved[i]->state, QUEUE_RUNNING);
		assert_int_equal(fake_log_count(&fake, "event"), 0);
		assert_int_equal(fake_log_count(&fake, "nic filter_add"), 1);
		assert_int_equal(fake_log_count(&fake, "nic filter_remove"), 1);
	}
	fake_core_destroy(&fake, model);
}

static void
hardware_knows_filters_of_running_queues(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_SET, MAC);
	struct filter *filter;

	(void)state;
	fake_log_clear(&fake);
	assert_int_equal(filter_set(queue, MAC + 1, VLAN_ANY, &fake_alice, &filter, NULL), 0);
	assert_string_equal(fake.log, "");
	assert_int_equal(queue_complete(queue, &fake_alice, NULL), 0);
	assert_int_equal(filter_clear(filter, &fake_alice, NULL), 0);
	assert_int_equal(filter_clear(TAILQ_FIRST(&queue->filters), &fake_alice, NULL), 0);
	assert_string_equal(fake.log, "nic queue_start eth0 1 512\n"
				      "nic filter_add eth0 1 525400000001 10\n"
				      "nic filter_add eth0 1 525400000002 4096\n"
				      "event eth0 1 Running\n"
				      "nic filter_remove eth0 525400000002 4096\n"
				      "nic filter_remove eth0 525400000001 10\n"
				      "event eth0 1 Paused\n");
	fake_core_destroy(&fake, model);
}

static const struct move_row {
	const char *name;
	enum queue_state from, to;
	int error;
	enum queue_state from_after, to_after;
	const char *hardware;
} move_rows[] = {
	{ "move Running to Running", QUEUE_RUNNING, QUEUE_RUNNING, 0, QUEUE_PAUSED, QUEUE_RUNNING, "nic filter_move" },
	{ "move Running to Paused", QUEUE_RUNNING, QUEUE_PAUSED, 0, QUEUE_PAUSED, QUEUE_RUNNING, "nic filter_move" },
	{ "move Running to Allocated", QUEUE_RUNNING, QUEUE_ALLOCATED, 0, QUEUE_PAUSED, QUEUE_SET,
	  "nic filter_remove" },
	{ "move Running to Set", QUEUE_RUNNING, QUEUE_SET, 0, QUEUE_PAUSED, QUEUE_SET, "nic filter_remove" },
	{ "move Set to Running", QUEUE_SET, QUEUE_RUNNING, 0, QUEUE_ALLOCATED, QUEUE_RUNNING, "nic filter_add eth0 2" },
	{ "move Set to Paused", QUEUE_SET, QUEUE_PAUSED, 0, QUEUE_ALLOCATED, QUEUE_RUNNING, "nic filter_add eth0 2" },
	{ "move Set to Allocated", QUEUE_SET, QUEUE_ALLOCATED, 0, QUEUE_ALLOCATED, QUEUE_SET, "" },
	{ "move Running to DMA stopped", QUEUE_RUNNING, QUEUE_DMA_STOPPED, -EPERM, QUEUE_RUNNING,
	  QUEUE_DMA_STOPPED, "" },
	{ "move Running to Freeing", QUEUE_RUNNING, QUEUE_FREEING, -EPERM, QUEUE_RUNNING, QUEUE_FREEING, "" },
};

static void
move(void **state)
{
	const struct move_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *from = fake_queue_in(&fake, adapter, row->from, MAC);
	struct queue *to = fake_queue_in(&fake, adapter, row->to, MAC + 1);
	struct filter *filter = TAILQ_FIRST(&from->filters);

	fake_log_clear(&fake);
	assert_int_equal(filter_move(filter, to, &fake_alice, NULL), row->error);
	assert_int_equal(from->state, row->from_after);
	assert_int_equal(to->state, row->to_after);
	assert_int_equal(filter->id, 1);
	assert_ptr_equal(filter->queue, row->error ? from : to);
	assert_int_equal(from->filter_count, row->error != 0);
	assert_int_equal(fake_log_count(&fake, "nic"), row->hardware[0] != '\0');
	assert_true(fake_log_count(&fake, row->hardware) > 0 || !row->hardware[0]);
	fake_core_destroy(&fake, model);
}

static void
move_to_itself(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);

	(void)state;
	assert_int_equal(filter_move(TAILQ_FIRST(&queue->filters), queue, &fake_alice, NULL), -EEXIST);
	assert_int_equal(queue->state, QUEUE_RUNNING);
	assert_int_equal(queue->filter_count, 1);
	fake_core_destroy(&fake, model);
}

static void
move_between_reserved(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);
	struct filter *filter = TAILQ_FIRST(&queue->filters);

	(void)state;
	assert_int_equal(filter_move(filter, adapter->drop_queue, &fake_alice, NULL), 0);
	assert_int_equal(queue->state, QUEUE_PAUSED);
	assert_int_equal(filter_move(filter, adapter->queues[0], &fake_bob, NULL), 0);
	assert_int_equal(filter_move(filter, queue, &fake_alice, NULL), 0);
	assert_int_equal(queue->state, QUEUE_RUNNING);
	assert_int_equal(adapter->drop_queue->filter_count, 0);
	fake_core_destroy(&fake, model);
}

/* Hardware that refuses leaves the model as it was. */
static void
hardware_refuses(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *set = fake_queue_in(&fake, adapter, QUEUE_SET, MAC);
	struct queue *paused = fake_queue_in(&fake, adapter, QUEUE_PAUSED, 0);
	struct filter *filter = TAILQ_FIRST(&set->filters), *second;
	struct adapter before;

	(void)state;
	assert_int_equal(filter_set(set, MAC + 1, 10, &fake_alice, &second, NULL), 0);
	model_commit(model);
	before = *adapter;
	fake.fail_at[FAKE_FILTER_ADD] = 1;
	assert_int_equal(filter_set(paused, MAC + 2, 10, &fake_alice, &second, NULL), -EIO);
	fake.fail_at[FAKE_FILTER_ADD] = 1;
	assert_int_equal(filter_move(filter, paused, &fake_alice, NULL), -EIO);
	fake.fail_at[FAKE_FILTER_ADD] = 2;
	assert_int_equal(queue_complete(set, &fake_alice, NULL), -EIO);
	assert_int_equal(fake.placed, 0);
	assert_int_equal(fake.started, 1);
	fake.fail_at[FAKE_QUEUE_START] = 1;
	assert_int_equal(queue_complete(set, &fake_alice, NULL), -EIO);
	assert_memory_equal(&before, adapter, sizeof(before));
	assert_int_equal(set->state, QUEUE_SET);
	assert_int_equal(set->buffers, 0);
	assert_int_equal(paused->state, QUEUE_PAUSED);
	assert_int_equal(queue_complete(set, &fake_alice, NULL), 0);
	assert_int_equal(set->state, QUEUE_RUNNING);
	fake_core_destroy(&fake, model);
}

int
main(void)
{
	static struct row_tests tests;

	ROWS(&tests, rule, rule_rows);
	ROWS(&tests, duplicate, duplicate_rows);
	ROWS(&tests, move, move_rows);
	TEST(&tests, vmq_off);
	TEST(&tests, one_mac_on_two_adapters);
	TEST(&tests, ids_are_the_lowest_free);
	TEST(&tests, ids_of_the_callers_choice);
	TEST(&tests, ids_that_are_none);
	TEST(&tests, owner_decides);
	TEST(&tests, reserved_queues_stay_running);
	TEST(&tests, hardware_knows_filters_of_running_queues);
	TEST(&tests, move_to_itself);
	TEST(&tests, move_between_reserved);
	TEST(&tests, hardware_refuses);
	return row_tests_run("model: filters", &tests);
}
