/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues: parameters, processors, ids, owners, and frees that wait. */
#include "fake_ops.h"
#include "rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAC UINT64_C(0x525400000001)
#define NAME_63 "123456789012345678901234567890123456789012345678901234567890123"

static struct fake fake;

static const struct parameter_row {
	const char *name;
	enum ndis_version ndis;
	bool lookahead_split;
	struct queue_parameters parameters;
	int allocate_error;
	int set_error;
} parameter_rows[] = {
#define SIX_30 NDIS_6_30, true
#define SIX_20 NDIS_6_20, true
#define GIVEN(field, ...) { .fields = QUEUE_FIELD_##field, __VA_ARGS__ }
	{ "nothing", SIX_30, { 0 }, 0, 0 },
	{ "name", SIX_30, GIVEN(NAME, .name = "web front, größer"), 0, 0 },
	{ "name empty", SIX_30, GIVEN(NAME, .name = ""), 0, 0 },
	{ "name longest", SIX_30, GIVEN(NAME, .name = NAME_63), 0, 0 },
	{ "name too long", SIX_30, GIVEN(NAME, .name = NAME_63 "4"), -EINVAL, -EINVAL },
	{ "name with newline", SIX_30, GIVEN(NAME, .name = "a\nb"), -EINVAL, -EINVAL },
	{ "name with DEL", SIX_30, GIVEN(NAME, .name = "a\177b"), -EINVAL, -EINVAL },
	{ "VM name", SIX_30, GIVEN(VM, .vm_name = "web 1"), 0, -EINVAL },
	{ "VM name too long", SIX_30, GIVEN(VM, .vm_name = NAME_63 "4"), -EINVAL, -EINVAL },
	{ "affinity of one", SIX_30, GIVEN(AFFINITY, .affinity = { { 1 << 2 } }), 0, 0 },
	{ "affinity auto", SIX_30, GIVEN(AFFINITY, .affinity_auto = true), 0, 0 },
	{ "affinity empty", SIX_30, { .fields = QUEUE_FIELD_AFFINITY }, -EINVAL, -EINVAL },
	{ "affinity outside", SIX_30, GIVEN(AFFINITY, .affinity = { { 1 << 9 } }), -EINVAL, -EINVAL },
	{ "affinity partly outside", SIX_30, GIVEN(AFFINITY, .affinity = { { 3 } }), -EINVAL, -EINVAL },
	{ "buffers fewest", SIX_30, GIVEN(BUFFERS, .buffers = BUFFERS_MIN), 0, 0 },
	{ "buffers most", SIX_30, GIVEN(BUFFERS, .buffers = BUFFERS_MAX), 0, 0 },
	{ "buffers none", SIX_30, GIVEN(BUFFERS, .buffers = 0), -EINVAL, -EINVAL },
	{ "buffers too few", SIX_30, GIVEN(BUFFERS, .buffers = BUFFERS_MIN - 1), -EINVAL, -EINVAL },
	{ "buffers too many", SIX_30, GIVEN(BUFFERS, .buffers = BUFFERS_MAX + 1), -EINVAL, -EINVAL },
	{ "6.30 lookahead 0", SIX_30, GIVEN(LOOKAHEAD, .lookahead_bytes = 0), 0, -EINVAL },
	{ "6.30 lookahead", SIX_30, GIVEN(LOOKAHEAD, .lookahead_bytes = 64), -ENOTSUP, -EINVAL },
	{ "6.20 lookahead 0", SIX_20, GIVEN(LOOKAHEAD, .lookahead_bytes = 0), 0, -EINVAL },
	{ "6.20 lookahead shortest", SIX_20, GIVEN(LOOKAHEAD, .lookahead_bytes = 14), 0, -EINVAL },
	{ "6.20 lookahead longest", SIX_20, GIVEN(LOOKAHEAD, .lookahead_bytes = 128), 0, -EINVAL },
	{ "6.20 lookahead too short", SIX_20, GIVEN(LOOKAHEAD, .lookahead_bytes = 13), -EINVAL, -EINVAL },
	{ "6.20 lookahead too long", SIX_20, GIVEN(LOOKAHEAD, .lookahead_bytes = 129), -EINVAL, -EINVAL },
	{ "6.20 lookahead, split off", NDIS_6_20, false, GIVEN(LOOKAHEAD, .lookahead_bytes = 64), -ENOTSUP, -EINVAL },
	{ "per-queue indication", SIX_30, GIVEN(PER_QUEUE, .per_queue_indication = true), 0, 0 },
	{ "coalesce-usecs 0", SIX_30, GIVEN(COALESCE_USECS, .coalesce_usecs = 0), 0, 0 },
	{ "coalesce-usecs auto", SIX_30, GIVEN(COALESCE_USECS, .coalesce_usecs = COALESCE_AUTO), 0, 0 },
	{ "coalesce-usecs most", SIX_30, GIVEN(COALESCE_USECS, .coalesce_usecs = COALESCE_USECS_MAX), 0, 0 },
	{ "coalesce-usecs too many", SIX_30, GIVEN(COALESCE_USECS, .coalesce_usecs = COALESCE_USECS_MAX + 1),
	  -EINVAL, -EINVAL },
	{ "coalesce-usecs negative", SIX_30, GIVEN(COALESCE_USECS, .coalesce_usecs = -2), -EINVAL, -EINVAL },
	{ "coalesce-frames 1", SIX_30, GIVEN(COALESCE_FRAMES, .coalesce_frames = 1), 0, 0 },
	{ "coalesce-frames most", SIX_30, GIVEN(COALESCE_FRAMES, .coalesce_frames = COALESCE_FRAMES_MAX), 0, 0 },
	{ "coalesce-frames 0", SIX_30, GIVEN(COALESCE_FRAMES, .coalesce_frames = 0), -EINVAL, -EINVAL },
	{ "coalesce-frames too many", SIX_30, GIVEN(COALESCE_FRAMES, .coalesce_frames = COALESCE_FRAMES_MAX + 1),
	  -EINVAL, -EINVAL },
	{ "rate-rx none", SIX_30, GIVEN(RATE_RX, .rate_rx = 0), 0, 0 },
	{ "rate-rx least", SIX_30, GIVEN(RATE_RX, .rate_rx = RATE_MIN), 0, 0 },
	{ "rate-rx most", SIX_30, GIVEN(RATE_RX, .rate_rx = RATE_MAX), 0, 0 },
	{ "rate-rx too little", SIX_30, GIVEN(RATE_RX, .rate_rx = RATE_MIN - 1), -EINVAL, -EINVAL },
	{ "rate-rx negative", SIX_30, GIVEN(RATE_RX, .rate_rx = -1), -EINVAL, -EINVAL },
	{ "rate-tx least", SIX_30, GIVEN(RATE_TX, .rate_tx = RATE_MIN), 0, 0 },
	{ "storm none", SIX_30, GIVEN(STORM, .storm = 0), 0, 0 },
	{ "storm most", SIX_30, GIVEN(STORM, .storm = STORM_MAX), 0, 0 },
	{ "storm too much", SIX_30, GIVEN(STORM, .storm = STORM_MAX + 1), -EINVAL, -EINVAL },
	{ "storm negative", SIX_30, GIVEN(STORM, .storm = -1), -EINVAL, -EINVAL },
	{ "rate-tx too much", SIX_30, GIVEN(RATE_TX, .rate_tx = RATE_MAX + 1), -EINVAL, -EINVAL },
#undef SIX_30
#undef SIX_20
#undef GIVEN
};

static struct adapter *
row_adapter(struct model *model, const struct parameter_row *row)
{
	struct adapter *adapter = fake_adapter_add(model, "eth0", row->ndis, 4, 8);

	adapter->config.lookahead_split = row->lookahead_split;
	return adapter;
}

static void
allocate_parameters(void **state)
{
	const struct parameter_row *row = *state;
	const struct queue_parameters *parameters = &row->parameters;
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = row_adapter(model, row);
	struct queue *queue = NULL;
	struct refusal why = { 0 };

	fake_log_clear(&fake);
	assert_int_equal(queue_allocate(adapter, parameters, &fake_alice, &queue, &why), row->allocate_error);
	assert_int_equal(strlen(why.text) > 0, row->allocate_error != 0);
	if (row->allocate_error) {
		assert_null(queue);
		assert_string_equal(fake.log, "");
	} else {
		assert_string_equal(fake.log, "path queue_open eth0 1\nevent eth0 1 Allocated\n");
		assert_int_equal(queue->owner.uid, fake_alice.uid);
		assert_int_equal(queue->buffers, 0);
		assert_int_equal(queue->suggested_buffers,
				 parameters->fields & QUEUE_FIELD_BUFFERS ? parameters->buffers : BUFFERS_DEFAULT);
		assert_int_equal(queue->lookahead_bytes, parameters->lookahead_bytes);
	}
	fake_core_destroy(&fake, model);
}

static void
set_parameters(void **state)
{
	const struct parameter_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = row_adapter(model, row);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC), before;

	fake_log_clear(&fake);
	memcpy(&before, queue, sizeof(before));
	assert_int_equal(queue_set(queue, &row->parameters, &fake_alice, NULL), row->set_error);
	if (row->set_error)
		assert_memory_equal(&before, queue, sizeof(before));
	assert_int_equal(fake_log_count(&fake, "event eth0 1 parameters"),
			 row->set_error == 0 && row->parameters.fields != 0);
	fake_core_destroy(&fake, model);
}

static void
set_takes_what_is_given(void **state)
{
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_NAME | QUEUE_FIELD_BUFFERS |
							       QUEUE_FIELD_PER_QUEUE | QUEUE_FIELD_COALESCE_USECS |
							       QUEUE_FIELD_COALESCE_FRAMES | QUEUE_FIELD_AFFINITY,
						     .name = "blue", .buffers = 64, .per_queue_indication = true,
						     .coalesce_usecs = 50, .coalesce_frames = 32,
						     .affinity = { { 1 << 3 } } };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);

	(void)state;
	assert_int_equal(queue_set(queue, &parameters, &fake_alice, NULL), 0);
	assert_string_equal(queue->name, "blue");
	assert_int_equal(queue->suggested_buffers, 64);
	assert_int_equal(queue->buffers, 64);
	assert_true(queue->per_queue_indication);
	assert_int_equal(queue->coalesce_usecs, 50);
	assert_int_equal(queue->coalesce_frames, 32);
	assert_false(queue->affinity_auto);
	assert_int_equal(queue->cpu, 3);
	assert_int_equal(queue->msix, 3);
	assert_true(adapter->dirty);
	fake_core_destroy(&fake, model);
}

static struct queue *
allocate_on(struct adapter *adapter, uint64_t cpus)
{
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_AFFINITY, .affinity = { { cpus } } };
	struct queue *queue = NULL;

	assert_int_equal(queue_allocate(adapter, &parameters, &fake_alice, &queue, NULL), 0);
	return queue;
}

static void
processor_with_the_fewest_queues_serves(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 8, 8);
	struct queue_parameters narrow = { .fields = QUEUE_FIELD_AFFINITY, .affinity = { { 1 << 1 } } };
	struct queue *first = allocate_on(adapter, 1 << 1 | 1 << 2 | 1 << 3);

	(void)state;
	assert_int_equal(first->cpu, 1);
	assert_int_equal(first->msix, 1);
	assert_int_equal(allocate_on(adapter, 1 << 1 | 1 << 2 | 1 << 3)->cpu, 2);
	assert_int_equal(allocate_on(adapter, 1 << 1 | 1 << 2)->cpu, 1);
	assert_int_equal(allocate_on(adapter, 1 << 1 | 1 << 2 | 1 << 3)->cpu, 3);
	assert_int_equal(queue_free(first, &fake_alice, (struct completion){ 0 }, NULL), 0);
	model_commit(model);
	assert_int_equal(allocate_on(adapter, 1 << 1 | 1 << 2 | 1 << 3)->cpu, 1);
	first = allocate_on(adapter, 1 << 2 | 1 << 3);
	assert_int_equal(first->cpu, 2);
	narrow.affinity.words[0] = 1 << 2 | 1 << 1;
	assert_int_equal(queue_set(first, &narrow, &fake_alice, NULL), 0);
	assert_int_equal(first->cpu, 2);
	narrow.affinity.words[0] = 1 << 3 | 1 << 1;
	assert_int_equal(queue_set(first, &narrow, &fake_alice, NULL), 0);
	assert_int_equal(first->cpu, 3);
	assert_int_equal(first->msix, 3);
	fake_core_destroy(&fake, model);
}

static void
refused_processor_is_named(void **state)
{
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_AFFINITY,
						     .affinity = { { 1 << 2 | 1 << 9 } } };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct refusal why;
	struct queue *queue;

	(void)state;
	assert_int_equal(queue_allocate(adapter, &parameters, &fake_alice, &queue, &why), -EINVAL);
	assert_string_equal(why.text, "processor 9 is not one of adapter eth0's (1-3)");
	fake_core_destroy(&fake, model);
}

static void
ids_are_reused_only_when_gone(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 3, 8);
	const struct queue_parameters parameters = { 0 };
	struct queue *queue, *second;
	unsigned freed = 0;

	(void)state;
	for (uint16_t id = 1; id <= 3; id++)
		assert_int_equal(fake_queue_in(&fake, adapter, QUEUE_ALLOCATED, 0)->id, id);
	assert_int_equal(queue_allocate(adapter, &parameters, &fake_alice, &queue, NULL), -ENOSPC);
	assert_int_equal(queue_find(adapter, 2, &second, NULL), 0);
	fake.outstanding[2] = 3;
	assert_int_equal(queue_free(second, &fake_alice, fake_completion(&freed), NULL), 0);
	model_commit(model);
	assert_int_equal(queue_allocate(adapter, &parameters, &fake_alice, &queue, NULL), -ENOSPC);
	assert_int_equal(model_poll(model), 1);
	fake.outstanding[2] = 0;
	assert_int_equal(model_poll(model), 0);
	assert_int_equal(freed, 1);
	assert_int_equal(queue_find(adapter, 2, &second, NULL), -ENOENT);
	assert_int_equal(queue_allocate(adapter, &parameters, &fake_alice, &queue, NULL), 0);
	assert_int_equal(queue->id, 2);
	fake_core_destroy(&fake, model);
}

static void
ids_are_found(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 3, 8);
	const int64_t none[] = { -1, 1, 3, 4, 65536, INT64_MAX, INT64_MIN };
	struct queue *queue;
	struct refusal why;

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(queue_find(adapter, none[i], &queue, &why), -ENOENT);
	assert_non_null(strstr(why.text, "eth0"));
	assert_int_equal(queue_find(adapter, QUEUE_DEFAULT, &queue, NULL), 0);
	assert_string_equal(queue->name, "default");
	assert_int_equal(queue_find(adapter, QUEUE_DROP, &queue, NULL), 0);
	assert_string_equal(queue->name, "drop");
	assert_int_equal(queue->owner.uid, OWNER_NOBODY);
	fake_core_destroy(&fake, model);
}

static void
queues_in_order(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	const unsigned expected[] = { 0, 1, 3, QUEUE_DROP };
	struct queue *queue;
	unsigned count = 0;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		fake_queue_in(&fake, adapter, QUEUE_ALLOCATED, 0);
	assert_int_equal(queue_free(adapter->queues[2], &fake_alice, (struct completion){ 0 }, NULL), 0);
	model_commit(model);
	for (queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue))
		assert_int_equal(queue->id, expected[count++]);
	assert_int_equal(count, 4);
	fake_core_destroy(&fake, model);
}

static void
reserved_queues_refuse(void **state)
{
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_NAME, .name = "mine" };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *reserved[] = { adapter->queues[QUEUE_DEFAULT], adapter->drop_queue };
	struct refusal why;
	unsigned freed = 0;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(queue_free(reserved[i], &fake_root, fake_completion(&freed), &why), -EPERM);
		assert_int_equal(queue_set(reserved[i], &parameters, &fake_root, NULL), -EPERM);
		assert_int_equal(queue_complete(reserved[i], &fake_root, NULL), -EPERM);
	}
	assert_string_equal(why.text, "the drop queue of adapter eth0 is always there and cannot be freed");
	model_commit(model);
	assert_int_equal(freed, 0);
	fake_core_destroy(&fake, model);
}

static void
owner_decides(void **state)
{
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_NAME, .name = "mine" };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_ALLOCATED, 0);

	(void)state;
	assert_int_equal(queue_set(queue, &parameters, &fake_bob, NULL), -EPERM);
	assert_int_equal(queue_complete(queue, &fake_bob, NULL), -EPERM);
	assert_int_equal(queue_free(queue, &fake_bob, (struct completion){ 0 }, NULL), -EPERM);
	assert_int_equal(queue->state, QUEUE_ALLOCATED);
	assert_int_equal(queue_set(queue, &parameters, &fake_root, NULL), 0);
	assert_int_equal(queue_complete(queue, &fake_root, NULL), 0);
	assert_int_equal(queue_free(queue, &fake_root, (struct completion){ 0 }, NULL), 0);
	fake_core_destroy(&fake, model);
}

/* Two of one user that gave names are strangers; root is nobody's stranger. */
static void
named_owner_decides(void **state)
{
	const struct caller red = { .uid = 1000, .name = "red" }, blue = { .uid = 1000, .name = "blue" };
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_NAME, .name = "mine" };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct refusal why;
	struct queue *queue;

	(void)state;
	assert_int_equal(queue_allocate(adapter, &parameters, &red, &queue, NULL), 0);
	assert_int_equal(queue_set(queue, &parameters, &red, NULL), 0);
	assert_int_equal(queue_set(queue, &parameters, &blue, &why), -EPERM);
	assert_string_equal(why.text, "queue 1 of adapter eth0 belongs to \"red\" of user 1000");
	assert_int_equal(queue_set(queue, &parameters, &fake_alice, NULL), -EPERM);
	assert_int_equal(queue_set(queue, &parameters, &fake_root, NULL), 0);
	fake_core_destroy(&fake, model);
}

static const struct id_row {
	const char *name;
	uint32_t id;
	int error;
} id_rows[] = {
	{ "id 1 is taken", 1, -EEXIST },
	{ "id 2 is taken until it is gone", 2, -EEXIST },
	{ "id 3 is free", 3, 0 },
	{ "id 4 is free", 4, 0 },
	{ "id 0 is the default queue's", 0, -EINVAL },
	{ "id beyond the adapter's queues", 5, -EINVAL },
	{ "id of the drop queue", QUEUE_DROP, -EINVAL },
	{ "id that is 3 in 16 bits", 65536 + 3, -EINVAL },
};

static void
allocate_as(void **state)
{
	const struct id_row *row = *state;
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_ID, .id = row->id };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = NULL;

	fake_queue_in(&fake, adapter, QUEUE_ALLOCATED, 0);
	fake_queue_in(&fake, adapter, QUEUE_FREEING, 0);
	assert_int_equal(queue_allocate(adapter, &parameters, &fake_alice, &queue, NULL), row->error);
	assert_int_equal(queue ? queue->id : 0, row->error ? 0 : row->id);
	assert_int_equal(queue_set(adapter->queues[1], &parameters, &fake_alice, NULL), -EINVAL);
	fake_core_destroy(&fake, model);
}

static void
free_with_filters_says_what_to_do(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);
	struct refusal why;

	(void)state;
	assert_int_equal(queue_free(queue, &fake_bob, (struct completion){ 0 }, &why), -EPERM);
	assert_string_equal(why.text, "queue 1 of adapter eth0 is Running: clear its filters before it is freed");
	fake_core_destroy(&fake, model);
}

static void
adapter_adjusts_buffers(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue;

	(void)state;
	fake.buffers_max = 100;
	queue = fake_queue_in(&fake, adapter, QUEUE_PAUSED, 0);
	assert_int_equal(queue->suggested_buffers, BUFFERS_DEFAULT);
	assert_int_equal(queue->buffers, 100);
	fake_core_destroy(&fake, model);
}

static void
path_refuses(void **state)
{
	const struct queue_parameters parameters = { 0 };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct adapter before = *adapter;
	struct queue *queue = NULL;

	(void)state;
	fake.fail_at[FAKE_QUEUE_OPEN] = 1;
	assert_int_equal(queue_allocate(adapter, &parameters, &fake_alice, &queue, NULL), -EIO);
	assert_null(queue);
	assert_memory_equal(&before, adapter, sizeof(before));
	fake_core_destroy(&fake, model);
}

/* Frees end in the order in which frames come back, each answered once. */
static void
frees_wait_for_their_frames(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 8, 8);
	unsigned freed[4] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		fake_queue_in(&fake, adapter, QUEUE_PAUSED, 0);
	for (unsigned i = 0; i < 4; i++) {
		fake.outstanding[i + 1] = 1;
		assert_int_equal(queue_free(adapter->queues[i + 1], &fake_alice, fake_completion(&freed[i]), NULL), 0);
	}
	assert_int_equal(model_poll(model), 4);
	fake.outstanding[1] = 0;
	assert_int_equal(model_poll(model), 4);
	model_commit(model);
	assert_int_equal(freed[0], 1);
	assert_int_equal(model_poll(model), 3);
	fake.outstanding[4] = fake.outstanding[3] = 0;
	assert_int_equal(model_poll(model), 1);
	assert_int_equal(freed[1] + 10 * freed[2] + 100 * freed[3], 110);
	fake.outstanding[2] = 0;
	model_commit(model);
	assert_int_equal(model_poll(model), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(freed[i], 1);
	fake_core_destroy(&fake, model);
}

struct follow_up {
	struct model *model;
	struct adapter *adapter;
	unsigned calls;
};

/* What a completion may do: ask for more, commit, poll. */
static void
follow_up(void *ctx, int status)
{
	const struct queue_parameters parameters = { 0 };
	struct follow_up *follow = ctx;
	struct queue *queue;

	assert_int_equal(status, 0);
	if (++follow->calls > 5)
		return;
	assert_int_equal(queue_allocate(follow->adapter, &parameters, &fake_alice, &queue, NULL), 0);
	assert_int_equal(queue_free(queue, &fake_alice, (struct completion){ .done = follow_up, .ctx = follow }, NULL),
			 0);
	model_commit(follow->model);
}

static void
completions_may_make_requests(void **state)
{
	struct follow_up follow = { .model = fake_core_create(&fake) };
	struct queue *queue;

	(void)state;
	follow.adapter = fake_adapter_add(follow.model, "eth0", NDIS_6_30, 4, 8);
	for (unsigned i = 0; i < 2; i++) {
		queue = fake_queue_in(&fake, follow.adapter, QUEUE_ALLOCATED, 0);
		assert_int_equal(
			queue_free(queue, &fake_alice, (struct completion){ .done = follow_up, .ctx = &follow }, NULL),
			0);
	}
	model_commit(follow.model);
	assert_int_equal(model_poll(follow.model), 0);
	assert_int_equal(follow.calls, 7);
	fake_core_destroy(&fake, follow.model);
}

static void
commit_of_nothing_asks_nothing(void **state)
{
	struct model *model = fake_core_create(&fake);

	(void)state;
	fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	fake_log_clear(&fake);
	model_commit(model);
	assert_int_equal(model_poll(model), 0);
	assert_string_equal(fake.log, "");
	fake_core_destroy(&fake, model);
}

static void
one_grace_period_for_all_adapters(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *a = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct adapter *b = fake_adapter_add(model, "eth1", NDIS_6_30, 4, 8);
	struct filter *filter;

	(void)state;
	assert_int_equal(filter_set(a->queues[0], MAC, 10, &fake_alice, &filter, NULL), 0);
	assert_int_equal(filter_set(b->queues[0], MAC, 10, &fake_alice, &filter, NULL), 0);
	fake_log_clear(&fake);
	model_commit(model);
	assert_string_equal(fake.log, "nic publish eth0\npath publish eth0\n"
				      "nic publish eth1\npath publish eth1\n"
				      "path synchronize\n"
				      "nic retire eth0\npath retire eth0\n"
				      "nic retire eth1\npath retire eth1\n");
	fake_core_destroy(&fake, model);
}

static void
hardware_without_per_queue_indication(void **state)
{
	const struct queue_parameters on = { .fields = QUEUE_FIELD_PER_QUEUE, .per_queue_indication = true };
	const struct queue_parameters off = { .fields = QUEUE_FIELD_PER_QUEUE };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter;
	struct queue *queue;

	(void)state;
	fake.hardware.per_queue_indication = false;
	adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	assert_int_equal(queue_allocate(adapter, &on, &fake_alice, &queue, NULL), -ENOTSUP);
	assert_int_equal(queue_allocate(adapter, &off, &fake_alice, &queue, NULL), 0);
	assert_int_equal(queue_set(queue, &on, &fake_alice, NULL), -ENOTSUP);
	fake_core_destroy(&fake, model);
}

int
main(void)
{
	static struct row_tests tests;

	ROWS(&tests, allocate_parameters, parameter_rows);
	ROWS(&tests, set_parameters, parameter_rows);
	TEST(&tests, set_takes_what_is_given);
	TEST(&tests, processor_with_the_fewest_queues_serves);
	TEST(&tests, refused_processor_is_named);
	TEST(&tests, ids_are_reused_only_when_gone);
	TEST(&tests, ids_are_found);
	TEST(&tests, queues_in_order);
	TEST(&tests, reserved_queues_refuse);
	ROWS(&tests, allocate_as, id_rows);
	TEST(&tests, owner_decides);
	TEST(&tests, named_owner_decides);
	TEST(&tests, free_with_filters_says_what_to_do);
	TEST(&tests, adapter_adjusts_buffers);
	TEST(&tests, path_refuses);
	TEST(&tests, hardware_without_per_queue_indication);
	TEST(&tests, frees_wait_for_their_frames);
	TEST(&tests, completions_may_make_requests);
	TEST(&tests, commit_of_nothing_asks_nothing);
	TEST(&tests, one_grace_period_for_all_adapters);
	return row_tests_run("model: queues", &tests);
}
