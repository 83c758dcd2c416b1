/* SPDX-License-Identifier: BSD-3-Clause */
/* VMs: attach and detach, the composed add and del, and that nothing is closed while workers may use it. */
#include "fake_ops.h"
#include "rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAC UINT64_C(0x525400000001)
#define PATH_107 "/01234567890123456789012345678901234567890123456789012" \
		 "01234567890123456789012345678901234567890123456789012"

static struct fake fake;

static struct vm_parameters
vm_parameters(const char *name, const char *socket)
{
	return (struct vm_parameters){ .name = name, .socket = socket, .spoof_check = true };
}

static int
attach(struct queue *queue, const char *name, const char *socket, const struct caller *caller, struct refusal *why)
{
	const struct vm_parameters parameters = vm_parameters(name, socket);
	struct vm *vm = NULL;

	return vm_attach(queue->adapter->model, &parameters, queue, caller, &vm, why);
}

static const struct value_row {
	const char *name, *vm, *socket;
	enum vm_mode mode;
	int error;
} value_rows[] = {
	{ "plain", "web1", "/run/web1", VM_MODE_SERVER, 0 },
	{ "client", "web1", "/run/web1", VM_MODE_CLIENT, 0 },
	{ "every kind of character", "a.B_c:d@e-9", "/run/web1", VM_MODE_SERVER, 0 },
	{ "name empty", "", "/run/web1", VM_MODE_SERVER, -EINVAL },
	{ "name with space", "web 1", "/run/web1", VM_MODE_SERVER, -EINVAL },
	{ "name with slash", "web/1", "/run/web1", VM_MODE_SERVER, -EINVAL },
	{ "name with umlaut", "größe", "/run/web1", VM_MODE_SERVER, -EINVAL },
	{ "name with newline", "web1\n", "/run/web1", VM_MODE_SERVER, -EINVAL },
	{ "name too long", PATH_107, "/run/web1", VM_MODE_SERVER, -EINVAL },
	{ "socket empty", "web1", "", VM_MODE_SERVER, -EINVAL },
	{ "socket relative", "web1", "run/web1", VM_MODE_SERVER, -EINVAL },
	{ "socket too long", "web1", PATH_107 "9", VM_MODE_SERVER, -EINVAL },
	{ "socket longest", "web1", PATH_107, VM_MODE_SERVER, 0 },
	{ "socket with newline", "web1", "/run/a\nb", VM_MODE_SERVER, -EINVAL },
	{ "mode unknown", "web1", "/run/web1", (enum vm_mode)7, -EINVAL },
};

static void
value(void **state)
{
	const struct value_row *row = *state;
	const struct vm_parameters parameters = { .name = row->vm, .socket = row->socket, .mode = row->mode };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);
	struct refusal why = { 0 };
	struct vm *vm = NULL;

	fake_log_clear(&fake);
	assert_int_equal(vm_attach(model, &parameters, queue, &fake_alice, &vm, &why), row->error);
	assert_int_equal(vm != NULL, row->error == 0);
	assert_int_equal(strlen(why.text) > 0, row->error != 0);
	assert_ptr_equal(queue->vm, vm);
	if (row->error)
		assert_string_equal(fake.log, "");
	else
		assert_string_equal(queue->vm_name, row->vm);
	fake_core_destroy(&fake, model);
}

static const struct state_row {
	const char *name;
	enum queue_state state;
	int error;
} state_rows[] = {
	{ "attach to Allocated", QUEUE_ALLOCATED, 0 },
	{ "attach to Set", QUEUE_SET, 0 },
	{ "attach to Running", QUEUE_RUNNING, 0 },
	{ "attach to Paused", QUEUE_PAUSED, 0 },
	{ "attach to DMA stopped", QUEUE_DMA_STOPPED, -EPERM },
	{ "attach to Freeing", QUEUE_FREEING, -EPERM },
};

static void
attach_in_state(void **state)
{
	const struct state_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, row->state, MAC);

	assert_int_equal(attach(queue, "web1", "/run/web1", &fake_alice, NULL), row->error);
	assert_int_equal(queue->state, row->state);
	fake_core_destroy(&fake, model);
}

static void
attach_refusals(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *a = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);
	struct queue *b = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC + 1);
	struct refusal why;

	(void)state;
	assert_int_equal(attach(a, "web1", "/run/web1", &fake_bob, NULL), -EPERM);
	assert_int_equal(attach(adapter->queues[0], "web1", "/run/web1", &fake_root, NULL), -EPERM);
	assert_int_equal(attach(adapter->drop_queue, "web1", "/run/web1", &fake_root, NULL), -EPERM);
	assert_int_equal(attach(a, "web1", "/run/web1", &fake_alice, NULL), 0);
	assert_int_equal(attach(a, "web2", "/run/web2", &fake_alice, &why), -EEXIST);
	assert_string_equal(why.text, "queue 1 of adapter eth0 has VM web1 already: detach it first");
	assert_int_equal(attach(b, "web1", "/run/web2", &fake_alice, &why), -EEXIST);
	assert_string_equal(why.text, "VM web1 is attached to queue 1 of adapter eth0 already");
	assert_int_equal(attach(b, "web2", "/run/web1", &fake_alice, &why), -EEXIST);
	assert_string_equal(why.text, "socket /run/web1 is VM web1's");
	fake.fail_at[FAKE_VM_OPEN] = 1;
	assert_int_equal(attach(b, "web2", "/run/web2", &fake_alice, NULL), -EIO);
	assert_null(b->vm);
	assert_string_equal(b->vm_name, "");
	assert_int_equal(vm_find(model, "web2", &(struct vm *){ NULL }, NULL), -ENOENT);
	fake_core_destroy(&fake, model);
}

static void
detach_keeps_queue_and_closes_after_grace(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);

	(void)state;
	assert_int_equal(attach(queue, "web1", "/run/web1", &fake_alice, NULL), 0);
	model_commit(model);
	fake_log_clear(&fake);
	assert_int_equal(vm_detach(queue->vm, &fake_bob, NULL), -EPERM);
	assert_int_equal(vm_detach(queue->vm, &fake_alice, NULL), 0);
	assert_null(queue->vm);
	assert_int_equal(vm_find(model, "web1", &(struct vm *){ NULL }, NULL), -ENOENT);
	assert_string_equal(fake.log, "");
	model_commit(model);
	assert_string_equal(fake.log, "nic publish eth0\npath publish eth0\npath synchronize\n"
				      "nic retire eth0\npath retire eth0\nvm close web1\n");
	assert_int_equal(queue->state, QUEUE_RUNNING);
	assert_int_equal(queue->filter_count, 1);
	assert_int_equal(attach(queue, "web1", "/run/web1", &fake_alice, NULL), 0);
	fake_core_destroy(&fake, model);
}

static void
vm_outlives_its_queue(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct adapter *other = fake_adapter_add(model, "eth1", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_PAUSED, 0);
	struct queue *next = fake_queue_in(&fake, other, QUEUE_RUNNING, MAC);
	struct vm *vm;
	struct refusal why;

	(void)state;
	assert_int_equal(attach(queue, "web1", "/run/web1", &fake_alice, NULL), 0);
	assert_int_equal(queue_free(queue, &fake_alice, (struct completion){ 0 }, NULL), 0);
	model_commit(model);
	assert_int_equal(vm_find(model, "web1", &vm, NULL), 0);
	assert_null(vm->queue);
	assert_int_equal(fake.ports, 1);
	assert_int_equal(attach(next, "web1", "/run/other", &fake_alice, &why), -EEXIST);
	assert_string_equal(why.text, "VM web1 exists, without a queue, on socket /run/web1");
	fake_log_clear(&fake);
	assert_int_equal(attach(next, "web1", "/run/web1", &fake_alice, NULL), 0);
	assert_string_equal(fake.log, "");
	assert_ptr_equal(vm->queue, next);
	assert_ptr_equal(vm->adapter, other);
	assert_ptr_equal(next->vm, vm);
	fake_core_destroy(&fake, model);
}

static void
waiting_vm_is_its_owners(void **state)
{
	const struct queue_parameters parameters = { 0 };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_PAUSED, 0), *bobs;

	(void)state;
	assert_int_equal(attach(queue, "web1", "/run/web1", &fake_alice, NULL), 0);
	assert_int_equal(queue_free(queue, &fake_alice, (struct completion){ 0 }, NULL), 0);
	assert_int_equal(queue_allocate(adapter, &parameters, &fake_bob, &bobs, NULL), 0);
	assert_int_equal(attach(bobs, "web1", "/run/web1", &fake_bob, NULL), -EPERM);
	assert_int_equal(attach(bobs, "web1", "/run/web1", &fake_root, NULL), 0);
	fake_core_destroy(&fake, model);
}

/* As the state on disk has a VM whose queue was freed. */
static void
vm_begins_to_wait(void **state)
{
	const struct vm_parameters parameters = vm_parameters("web1", "/run/web1");
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);
	struct vm *waiting, *again;

	(void)state;
	assert_int_equal(vm_wait(adapter, &parameters, &fake_alice, &waiting, NULL), 0);
	assert_null(waiting->queue);
	assert_int_equal(fake.ports, 1);
	assert_int_equal(vm_wait(adapter, &parameters, &fake_alice, &again, NULL), -EEXIST);
	assert_int_equal(attach(queue, "web1", "/run/web1", &fake_alice, NULL), 0);
	assert_ptr_equal(queue->vm, waiting);
	assert_int_equal(fake.ports, 1);
	fake_core_destroy(&fake, model);
}

static const uint64_t two_macs[] = { MAC, MAC + 1 };

static int
add(struct adapter *adapter, const char *name, const char *socket, const uint64_t *macs, uint32_t mac_count,
    struct vm **vm)
{
	const struct vm_parameters parameters = vm_parameters(name, socket);
	const struct queue_parameters queue_parameters = { .fields = QUEUE_FIELD_BUFFERS, .buffers = 64 };

	return vm_add(adapter, &parameters, &queue_parameters, macs, mac_count, 10, &fake_alice, vm, NULL);
}

static void
add_goes_through_every_state(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct vm *vm;

	(void)state;
	fake_log_clear(&fake);
	assert_int_equal(add(adapter, "web1", "/run/web1", two_macs, 2, &vm), 0);
	assert_string_equal(fake.log, "path queue_open eth0 1\n"
				      "nic queue_start eth0 1 64\n"
				      "nic filter_add eth0 1 525400000001 10\n"
				      "nic filter_add eth0 1 525400000002 10\n"
				      "vm open web1 /run/web1\n"
				      "event eth0 1 Allocated\n"
				      "event eth0 1 Set\n"
				      "event eth0 1 Running\n");
	assert_string_equal(vm->queue->vm_name, "web1");
	assert_int_equal(vm->queue->buffers, 64);
	assert_int_equal(vm->queue->filter_count, 2);
	assert_true(vm->composed);
	fake_core_destroy(&fake, model);
}

static void
del_undoes_add(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct vm *vm;
	unsigned gone = 0;

	(void)state;
	assert_int_equal(add(adapter, "web1", "/run/web1", two_macs, 2, &vm), 0);
	model_commit(model);
	fake_log_clear(&fake);
	fake.outstanding[1] = 1;
	assert_int_equal(vm_del(vm, &fake_bob, fake_completion(&gone), NULL), -EPERM);
	assert_int_equal(vm_del(vm, &fake_alice, fake_completion(&gone), NULL), 0);
	model_commit(model);
	assert_int_equal(gone, 0);
	fake.outstanding[1] = 0;
	model_commit(model);
	assert_int_equal(gone, 1);
	assert_string_equal(fake.log, "nic filter_remove eth0 525400000001 10\n"
				      "nic filter_remove eth0 525400000002 10\n"
				      "event eth0 1 Paused\n"
				      "nic queue_stop eth0 1\n"
				      "nic publish eth0\npath publish eth0\npath synchronize\n"
				      "nic retire eth0\npath retire eth0\n"
				      "vm close web1\n"
				      "event eth0 1 DmaStopped\n"
				      "event eth0 1 Freeing\n"
				      "event eth0 1 Undefined\n"
				      "path queue_close eth0 1\n");
	assert_int_equal(add(adapter, "web1", "/run/web1", two_macs, 2, &vm), 0);
	fake_core_destroy(&fake, model);
}

static void
del_of_an_attached_vm_keeps_its_queue(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);
	unsigned gone = 0;

	(void)state;
	assert_int_equal(attach(queue, "web1", "/run/web1", &fake_alice, NULL), 0);
	assert_int_equal(vm_del(queue->vm, &fake_alice, fake_completion(&gone), NULL), 0);
	assert_int_equal(gone, 0);
	model_poll(model);
	assert_int_equal(gone, 0);
	model_commit(model);
	assert_int_equal(gone, 1);
	assert_int_equal(queue->state, QUEUE_RUNNING);
	assert_int_equal(fake.ports, 0);
	fake_core_destroy(&fake, model);
}

static void
del_of_a_vm_that_owns_its_queue(void **state)
{
	const struct vm_parameters parameters = { .name = "web1", .socket = "/run/web1", .owns_queue = true };
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *queue = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC);
	unsigned gone = 0;
	struct vm *vm;

	(void)state;
	assert_int_equal(vm_attach(model, &parameters, queue, &fake_alice, &vm, NULL), 0);
	assert_int_equal(vm_del(vm, &fake_alice, fake_completion(&gone), NULL), 0);
	model_commit(model);
	assert_int_equal(gone, 1);
	assert_null(adapter->queues[1]);
	assert_null(adapter->filters[1]);
	fake_core_destroy(&fake, model);
}

/* A VM whose composed queue was freed and that was attached to another one does not take that one along. */
static void
del_after_the_queue_changed(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *own, *other = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC + 9);
	unsigned gone = 0;
	struct vm *vm;

	(void)state;
	assert_int_equal(add(adapter, "web1", "/run/web1", two_macs, 1, &vm), 0);
	own = vm->queue;
	assert_int_equal(filter_clear(TAILQ_FIRST(&own->filters), &fake_alice, NULL), 0);
	assert_int_equal(queue_free(own, &fake_alice, (struct completion){ 0 }, NULL), 0);
	model_commit(model);
	assert_int_equal(attach(other, "web1", "/run/web1", &fake_alice, NULL), 0);
	assert_int_equal(vm_del(vm, &fake_alice, fake_completion(&gone), NULL), 0);
	model_commit(model);
	assert_int_equal(gone, 1);
	assert_int_equal(other->state, QUEUE_RUNNING);
	fake_core_destroy(&fake, model);
}

static const uint64_t twice[] = { MAC, MAC + 1, MAC };
static const uint64_t with_group[] = { MAC, MAC_BROADCAST };
static const uint64_t taken[] = { MAC, MAC + 5 };
static const uint64_t eight[] = { MAC, MAC + 1, MAC + 2, MAC + 3, MAC + 4, MAC + 6, MAC + 7, MAC + 8 };

static const struct add_row {
	const char *name;
	const uint64_t *macs;
	uint32_t mac_count;
	const char *vm, *socket;
	enum fake_op op;
	unsigned fail_at;
	int error;
} add_rows[] = {
	{ "add without MAC", two_macs, 0, "web1", "/run/web1", 0, 0, -EINVAL },
	{ "add with a MAC twice", twice, 3, "web1", "/run/web1", 0, 0, -EEXIST },
	{ "add with a group MAC", with_group, 2, "web1", "/run/web1", 0, 0, -EINVAL },
	{ "add with a MAC that is taken", taken, 2, "web1", "/run/web1", 0, 0, -EEXIST },
	{ "add with more MACs than filters", eight, 8, "web1", "/run/web1", 0, 0, -ENOSPC },
	{ "add with a name that is taken", two_macs, 2, "old", "/run/web1", 0, 0, -EEXIST },
	{ "add with a socket that is taken", two_macs, 2, "web1", "/run/old", 0, 0, -EEXIST },
	{ "add with a bad name", two_macs, 2, "web 1", "/run/web1", 0, 0, -EINVAL },
	{ "add, path refuses the queue", two_macs, 2, "web1", "/run/web1", FAKE_QUEUE_OPEN, 1, -EIO },
	{ "add, hardware refuses the queue", two_macs, 2, "web1", "/run/web1", FAKE_QUEUE_START, 1, -EIO },
	{ "add, no memory for the queue", two_macs, 2, "web1", "/run/web1", FAKE_MEMORY_GET, 1, -EIO },
	{ "add, hardware refuses the first filter", two_macs, 2, "web1", "/run/web1", FAKE_FILTER_ADD, 1, -EIO },
	{ "add, hardware refuses the second filter", two_macs, 2, "web1", "/run/web1", FAKE_FILTER_ADD, 2, -EIO },
	{ "add, socket does not open", two_macs, 2, "web1", "/run/web1", FAKE_VM_OPEN, 1, -EIO },
};

/* All of it or nothing: no id moves, no event is sent, nothing stays open. */
static void
add_refused_leaves_nothing(void **state)
{
	const struct add_row *row = *state;
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct queue *old = fake_queue_in(&fake, adapter, QUEUE_RUNNING, MAC + 5);
	struct adapter before;
	struct fake open;
	struct vm *vm = NULL;

	assert_int_equal(attach(old, "old", "/run/old", &fake_alice, NULL), 0);
	model_commit(model);
	before = *adapter;
	fake_log_clear(&fake);
	open = fake;
	fake.fail_at[row->op] = row->fail_at;
	assert_int_equal(add(adapter, row->vm, row->socket, row->macs, row->mac_count, &vm), row->error);
	assert_null(vm);
	assert_memory_equal(&before, adapter, sizeof(before));
	assert_int_equal(fake.ports, open.ports);
	assert_int_equal(fake.path_queues, open.path_queues);
	assert_int_equal(fake.started, open.started);
	assert_int_equal(fake.placed, open.placed);
	assert_int_equal(fake_log_count(&fake, "event"), 0);
	if (row->error != -EIO)
		assert_string_equal(fake.log, "");
	assert_int_equal(add(adapter, "web1", "/run/web1", two_macs, 2, &vm), 0);
	assert_int_equal(vm->queue->id, 2);
	assert_int_equal(TAILQ_FIRST(&vm->queue->filters)->id, 2);
	fake_core_destroy(&fake, model);
}

static void
connection_is_told(void **state)
{
	struct model *model = fake_core_create(&fake);
	struct adapter *adapter = fake_adapter_add(model, "eth0", NDIS_6_30, 4, 8);
	struct vm *vm;

	(void)state;
	assert_int_equal(add(adapter, "web1", "/run/web1", two_macs, 1, &vm), 0);
	model_commit(model);
	fake_log_clear(&fake);
	vm_connection_changed(vm, true);
	vm_connection_changed(vm, true);
	vm_connection_changed(vm, false);
	assert_string_equal(fake.log, "event eth0 vm web1 1\nevent eth0 vm web1 0\n");
	assert_false(adapter->dirty);
	fake_core_destroy(&fake, model);
}

int
main(void)
{
	static struct row_tests tests;

	ROWS(&tests, value, value_rows);
	ROWS(&tests, attach_in_state, state_rows);
	ROWS(&tests, add_refused_leaves_nothing, add_rows);
	TEST(&tests, attach_refusals);
	TEST(&tests, detach_keeps_queue_and_closes_after_grace);
	TEST(&tests, vm_outlives_its_queue);
	TEST(&tests, waiting_vm_is_its_owners);
	TEST(&tests, vm_begins_to_wait);
	TEST(&tests, add_goes_through_every_state);
	TEST(&tests, del_undoes_add);
	TEST(&tests, del_of_an_attached_vm_keeps_its_queue);
	TEST(&tests, del_of_a_vm_that_owns_its_queue);
	TEST(&tests, del_after_the_queue_changed);
	TEST(&tests, connection_is_told);
	return row_tests_run("model: VMs", &tests);
}
