/* SPDX-License-Identifier: BSD-3-Clause */
/* Captures: what ends them, that none is closed while workers may use it, and that no reader loses its own too early. */
#include "fake_ops.h"
#include "rows.h"
#include "util/capture.h"

#include <errno.h>

#define MAC UINT64_C(0x525400000001)

static struct fake fake;
static const struct capture_wish wish = { .snap_bytes = 96 };

static struct capture *
start(struct model *model, struct adapter *adapter, struct queue *queue, struct vm *vm)
{
	const struct capture_target target = { adapter, queue, vm, 1 << CAPTURE_QUEUE };
	struct capture *capture = NULL;
	struct refusal why;
	int file;

	assert_int_equal(capture_start(model, &target, &wish, &capture, &file, &why), 0);
	model_commit(model);
	assert_int_equal(fake.captures, 1);
	assert_false(capture->over);
	return capture;
}

/* A model with a VM on a queue of eth0. */
static struct vm *
vm_build(struct model **model)
{
	const struct vm_parameters parameters = { .name = "web1", .socket = "/run/web1", .spoof_check = true };
	struct adapter *adapter;
	struct vm *vm = NULL;
	struct refusal why;

	*model = fake_core_create(&fake);
	adapter = fake_adapter_add(*model, "eth0", NDIS_6_30, 4, 8);
	assert_int_equal(vm_attach(*model, &parameters, fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC), &fake_root,
				   &vm, &why),
			 0);
	model_commit(*model);
	return vm;
}

static void
it_ends_when_nobody_reads(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct capture *capture = start(model, fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8), NULL, NULL);

	(void)state;
	capture_end(capture);
	assert_int_equal(fake.captures, 1);
	model_commit(model);
	assert_int_equal(fake.captures, 0);
	fake_core_destroy(&fake, model);
}

static void
it_needs_no_adapter(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct capture *capture = start(model, NULL, NULL, NULL);

	(void)state;
	fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	model_commit(model);
	assert_false(capture->over);
	capture_end(capture);
	model_commit(model);
	assert_int_equal(fake.captures, 0);
	fake_core_destroy(&fake, model);
}

enum leaving { QUEUE_LEAVES, VM_LEAVES, VM_IS_DETACHED, ADAPTER_LEAVES };

static const struct leaving_row {
	const char *name;
	bool adapter, queue, vm; /* that it watches */
	enum leaving leaving;
	bool over;
} leaving_rows[] = {
	{ "its queue is freed", true, true, false, QUEUE_LEAVES, true },
	{ "the queue of its VM is freed", true, true, true, QUEUE_LEAVES, true },
	{ "its VM is detached", true, true, true, VM_IS_DETACHED, true },
	{ "the VM of its queue is detached", true, true, false, VM_IS_DETACHED, false },
	{ "the VM of its adapter is detached", true, false, false, VM_IS_DETACHED, false },
	{ "a queue of its adapter is freed", true, false, false, QUEUE_LEAVES, false },
	{ "its VM is deleted", true, true, true, VM_LEAVES, true },
	{ "its adapter is deleted", true, false, false, ADAPTER_LEAVES, true },
	{ "one of all adapters is deleted", false, false, false, ADAPTER_LEAVES, false },
};

static void
leave(struct vm *vm, enum leaving leaving)
{
	const struct completion nobody = { 0 };
	struct queue *queue = vm->queue;
	struct adapter *adapter = vm->adapter;
	struct refusal why;

	switch (leaving) {
	case QUEUE_LEAVES:
		assert_int_equal(filter_clear(TAILQ_FIRST(&queue->filters), &fake_alice, &why), 0);
		assert_int_equal(queue_free(queue, &fake_alice, nobody, &why), 0);
		break;
	case VM_LEAVES:
		assert_int_equal(vm_del(vm, &fake_root, nobody, &why), 0);
		break;
	case VM_IS_DETACHED:
		assert_int_equal(vm_detach(vm, &fake_root, &why), 0);
		break;
	case ADAPTER_LEAVES:
		assert_int_equal(adapter_del(adapter, &fake_root, nobody, &why), 0);
		break;
	}
}

/* The reader is told, and may still end what is over. */
static void
it_ends_with_what_it_watches(void **state)
{
	const struct leaving_row *row = *state;
	struct model *model;
	struct vm *vm = vm_build(&model);
	struct capture *capture = start(model, row->adapter ? vm->adapter : NULL, row->queue ? vm->queue : NULL,
					row->vm ? vm : NULL);

	leave(vm, row->leaving);
	assert_int_equal(capture->over, row->over);
	model_commit(model);
	assert_int_equal(fake.captures, !row->over);
	capture_end(capture);
	model_commit(model);
	assert_int_equal(fake.captures, 0);
	fake_core_destroy(&fake, model);
}

static void
its_reader_leaves_before_the_commit(void **state)
{
	struct model *model;
	struct vm *vm = vm_build(&model);
	struct capture *capture = start(model, vm->adapter, vm->queue, vm);

	(void)state;
	leave(vm, VM_LEAVES);
	capture_end(capture);
	assert_int_equal(fake.captures, 1);
	model_commit(model);
	assert_int_equal(fake.captures, 0);
	fake_core_destroy(&fake, model);
}

static void
there_are_no_more_than_eight(void **state)
{
	const struct capture_target target = { .places = 1 << CAPTURE_WIRE };
	struct model *model = fake_core_create(&fake);
	struct capture *captures[8], *ninth = NULL;
	struct refusal why;
	int file;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(capture_start(model, &target, &wish, &captures[i], &file, &why), 0);
	assert_int_equal(capture_start(model, &target, &wish, &ninth, &file, &why), -EMFILE);
	assert_string_equal(why.text, "8 captures are running already, and no more may");
	capture_end(captures[3]);
	assert_int_equal(capture_start(model, &target, &wish, &captures[3], &file, &why), 0);
	for (unsigned i = 0; i < 8; i++)
		capture_end(captures[i]);
	model_commit(model);
	fake_core_destroy(&fake, model);
}

static void
one_that_has_no_memory_leaves_nothing(void **state)
{
	const struct capture_target target = { .places = 1 << CAPTURE_WIRE };
	struct model *model = fake_core_create(&fake);
	struct capture *capture = NULL;
	struct refusal why;
	int file;

	(void)state;
	fake.fail_at[FAKE_CAPTURE_OPEN] = 1;
	assert_int_equal(capture_start(model, &target, &wish, &capture, &file, &why), -EIO);
	assert_null(capture);
	assert_int_equal(fake.captures, 0);
	fake_core_destroy(&fake, model);
}

int
main(void)
{
	static struct row_tests tests;

	ROWS(&tests, it_ends_with_what_it_watches, leaving_rows);
	TEST(&tests, it_ends_when_nobody_reads);
	TEST(&tests, it_needs_no_adapter);
	TEST(&tests, its_reader_leaves_before_the_commit);
	TEST(&tests, there_are_no_more_than_eight);
	TEST(&tests, one_that_has_no_memory_leaves_nothing);
	return row_tests_run("model: captures", &tests);
}
