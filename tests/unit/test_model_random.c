/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A million random requests, each answered also by a second, smaller oracle of the book that shares nothing with
 * model: every errno, every state, owner, processor, filter and VM must agree after every step, whichever request
 * was refused, whatever failed underneath. Seed and count come from the environment: SEED, REQUESTS.
 */
#include "fake_ops.h"
#include "rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	REQUESTS = 1000000,
	ADAPTERS = 2,
	QUEUES = 5,          /* ids 1 to 4; the adapter may have fewer */
	DROP = QUEUES,       /* the oracle's index of the drop queue */
	FILTERS = 7,
	VMS = 3,
	CALLERS = 3,
	MACS = 4,
	NOTHING = -1,
};

struct oracle_queue {
	bool there;
	enum queue_state state;
	unsigned owner, cpu;
	unsigned cpus;       /* bits 1 to 3 */
	unsigned suggested, buffers, memory; /* buffers suggested, granted, and that there is memory for */
	int vm;
	bool answers;        /* its free is answered to someone */
};

struct oracle_filter {
	bool there;
	int queue;
	uint64_t mac;
	uint32_t vlan;
};

struct oracle_adapter {
	bool there, closing, dirty;
	int queues, filters, ndis;
	struct oracle_queue queue[QUEUES + 1];
	struct oracle_filter filter[FILTERS];
};

struct oracle_vm {
	bool there, composed;
	unsigned owner;
	int adapter, queue, socket;
};

static struct oracle_adapter oracle[ADAPTERS];
static struct oracle_vm vms[VMS];
static unsigned answers_expected, answers_waiting, answers_given;
static unsigned answers_ready; /* given by the next poll */
static unsigned vms_leaving;   /* whose ports are closed at the next chance */

static struct fake fake;
static struct model *model;
static struct adapter *adapters[ADAPTERS];
static uint64_t seed;

static const struct caller callers[CALLERS] = { { .uid = 0 }, { .uid = 1000 }, { .uid = 1001 } };
static const char *const vm_names[VMS] = { "web1", "web2", "web3" };
static const char *const sockets[VMS] = { "/run/1", "/run/2", "/run/3" };
static const uint32_t vlans[] = { VLAN_UNTAGGED, 10, 20, VLAN_ANY, 4095 };
static const uint64_t macs[MACS + 1] = { UINT64_C(0x525400000001), UINT64_C(0x525400000002),
					 UINT64_C(0x525400000003), UINT64_C(0x525400000004), MAC_BROADCAST };

static unsigned
pick(unsigned count)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 11) % count);
}

static uint64_t
pick_mac(void)
{
	return macs[pick(40) ? pick(MACS) : MACS];
}

static uint32_t
pick_vlan(void)
{
	return vlans[pick(40) ? pick(4) : 4];
}

/* What may fail underneath. @return whether a request that makes so many of these calls fails. */
static struct {
	enum fake_op op;
	unsigned at;
} failure;

static bool
would_fail(enum fake_op op, unsigned calls)
{
	return failure.at > 0 && failure.op == op && failure.at <= calls;
}

static void
maybe_fail(void)
{
	failure.op = (enum fake_op)pick(FAKE_OP_COUNT);
	failure.at = pick(12) ? 0 : 1 + pick(2);
	memset(fake.fail_at, 0, sizeof(fake.fail_at));
	fake.fail_at[failure.op] = failure.at;
}

static bool
may(unsigned owner, unsigned caller)
{
	return caller == 0 || caller == owner;
}

static bool
is_reserved(int queue)
{
	return queue == 0 || queue == DROP;
}

static int
filter_count(const struct oracle_adapter *a, int queue)
{
	int count = 0;

	for (int id = 1; id <= a->filters; id++)
		count += a->filter[id].there && (queue == NOTHING || a->filter[id].queue == queue);
	return count;
}

static int
lowest_filter(const struct oracle_adapter *a)
{
	for (int id = 1; id <= a->filters; id++) {
		if (!a->filter[id].there)
			return id;
	}
	return NOTHING;
}

static int
lowest_queue(const struct oracle_adapter *a)
{
	for (int id = 1; id <= a->queues; id++) {
		if (!a->queue[id].there)
			return id;
	}
	return NOTHING;
}

static bool
is_freeing(const struct oracle_queue *queue)
{
	return queue->state == QUEUE_DMA_STOPPED || queue->state == QUEUE_FREEING;
}

static unsigned
least_loaded(const struct oracle_adapter *a, unsigned cpus)
{
	unsigned best = 0, best_load = 99;

	for (unsigned cpu = 1; cpu <= 3; cpu++) {
		unsigned load = 0;

		for (int id = 1; id <= a->queues; id++)
			load += a->queue[id].there && !is_freeing(&a->queue[id]) && a->queue[id].cpu == cpu;
		if (cpus >> cpu & 1 && load < best_load) {
			best = cpu;
			best_load = load;
		}
	}
	return best;
}

static int
tests_error(const struct oracle_adapter *a, uint64_t mac, uint32_t vlan)
{
	if (mac == MAC_BROADCAST || vlan == 4095)
		return -EINVAL;
	return vlan == VLAN_ANY && a->ndis == 620 ? -ENOTSUP : 0;
}

static bool
is_taken(const struct oracle_adapter *a, uint64_t mac, uint32_t vlan)
{
	for (int id = 1; id <= a->filters; id++) {
		if (a->filter[id].there && a->filter[id].mac == mac && a->filter[id].vlan == vlan)
			return true;
	}
	return false;
}

/* The states in words of the book, not as the table of the model has them. */
static enum queue_state
state_with_filter(enum queue_state state)
{
	return state == QUEUE_ALLOCATED || state == QUEUE_SET ? QUEUE_SET : QUEUE_RUNNING;
}

static void
put_filter(struct oracle_adapter *a, int id, int queue, uint64_t mac, uint32_t vlan)
{
	a->filter[id] = (struct oracle_filter){ .there = true, .queue = queue, .mac = mac, .vlan = vlan };
	if (!is_reserved(queue))
		a->queue[queue].state = state_with_filter(a->queue[queue].state);
}

static void
take_filter(struct oracle_adapter *a, int id)
{
	struct oracle_queue *queue = &a->queue[a->filter[id].queue];

	a->filter[id].there = false;
	if (!is_reserved(a->filter[id].queue) && filter_count(a, a->filter[id].queue) == 0)
		queue->state = queue->state == QUEUE_SET ? QUEUE_ALLOCATED : QUEUE_PAUSED;
}

static void
start_free(struct oracle_adapter *a, int id, bool answers)
{
	struct oracle_queue *queue = &a->queue[id];

	queue->state = QUEUE_DMA_STOPPED;
	queue->answers = answers;
	if (queue->vm != NOTHING) {
		vms[queue->vm].queue = NOTHING;
		vms[queue->vm].composed = false;
		queue->vm = NOTHING;
	}
	a->dirty = true;
}

static struct queue *
real_queue(int adapter, int queue)
{
	return queue == DROP ? adapters[adapter]->drop_queue : adapters[adapter]->queues[queue];
}

static struct completion
answer(void)
{
	return fake_completion(&answers_given);
}

static void
step_adapter_add(void)
{
	const int i = (int)pick(ADAPTERS);
	struct oracle_adapter *a = &oracle[i];
	struct adapter_config config;
	struct adapter *added = NULL;
	int expected = 0, error;

	if (a->there)
		expected = a->closing ? -EBUSY : -EEXIST;
	else if (would_fail(FAKE_NIC_OPEN, 1) || would_fail(FAKE_ADAPTER_OPEN, 1) || would_fail(FAKE_QUEUE_OPEN, 2))
		expected = -EIO;
	adapter_config_default(&config);
	snprintf(config.name, sizeof(config.name), "eth%d", i);
	snprintf(config.port, sizeof(config.port), "net_null%d", i);
	config.ndis = i ? NDIS_6_20 : NDIS_6_30;
	config.queues = i ? 3 : 4;
	config.filters = i ? 4 : 6;
	error = adapter_add(model, &config, &callers[0], false, &added, NULL);
	assert_int_equal(error, expected);
	if (error)
		return;
	adapters[i] = added;
	*a = (struct oracle_adapter){ .there = true, .dirty = true, .queues = i ? 3 : 4, .filters = i ? 4 : 6,
				     .ndis = i ? 620 : 630 };
	a->queue[0] = a->queue[DROP] =
		(struct oracle_queue){ .there = true, .state = QUEUE_RUNNING, .vm = NOTHING, .cpu = 1 };
}

static void
step_adapter_del(int i)
{
	struct oracle_adapter *a = &oracle[i];

	assert_int_equal(adapter_del(adapters[i], &callers[0], answer(), NULL), a->closing ? -EBUSY : 0);
	if (a->closing)
		return;
	a->closing = a->dirty = true;
	answers_waiting++;
	for (int vm = 0; vm < VMS; vm++) {
		if (!vms[vm].there || vms[vm].adapter != i)
			continue;
		if (vms[vm].queue != NOTHING)
			a->queue[vms[vm].queue].vm = NOTHING;
		vms[vm].there = false;
		vms_leaving++;
	}
	for (int id = 1; id <= a->filters; id++) {
		if (a->filter[id].there)
			take_filter(a, id);
	}
	for (int id = 1; id <= a->queues; id++) {
		if (a->queue[id].there && !is_freeing(&a->queue[id]))
			start_free(a, id, false);
	}
}

static void
step_allocate(int i, unsigned caller)
{
	struct oracle_adapter *a = &oracle[i];
	const unsigned cpus = pick(20) ? (1 + pick(7)) << 1 : 1 << 5;
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_AFFINITY, .affinity = { { cpus } } };
	const int id = lowest_queue(a);
	struct queue *queue = NULL;
	int expected = 0;

	if (a->closing)
		expected = -EBUSY;
	else if (cpus == 1 << 5)
		expected = -EINVAL;
	else if (id == NOTHING)
		expected = -ENOSPC;
	else if (would_fail(FAKE_QUEUE_OPEN, 1))
		expected = -EIO;
	assert_int_equal(queue_allocate(adapters[i], &parameters, &callers[caller], &queue, NULL), expected);
	if (expected)
		return;
	assert_int_equal(queue->id, id);
	a->queue[id] = (struct oracle_queue){ .there = true, .state = QUEUE_ALLOCATED, .owner = caller, .cpus = cpus,
					     .cpu = least_loaded(a, cpus), .vm = NOTHING, .suggested = BUFFERS_DEFAULT };
	a->dirty = true;
}

/* What complete, set and free have in common. */
static int
change_error(int i, int id, unsigned caller, bool state_allows)
{
	if (oracle[i].closing)
		return -EBUSY;
	if (is_reserved(id) || !state_allows || !may(oracle[i].queue[id].owner, caller))
		return -EPERM;
	return 0;
}

static void
step_complete(int i, int id, unsigned caller)
{
	struct oracle_queue *queue = &oracle[i].queue[id];
	const bool fresh = queue->state == QUEUE_ALLOCATED || queue->state == QUEUE_SET;
	int expected = change_error(i, id, caller, fresh);

	if (!expected && (would_fail(FAKE_QUEUE_START, 1) || would_fail(FAKE_MEMORY_GET, 1) ||
			  would_fail(FAKE_FILTER_ADD, (unsigned)filter_count(&oracle[i], id))))
		expected = -EIO;
	assert_int_equal(queue_complete(real_queue(i, id), &callers[caller], NULL), expected);
	if (expected)
		return;
	queue->state = queue->state == QUEUE_SET ? QUEUE_RUNNING : QUEUE_PAUSED;
	queue->buffers = queue->memory = queue->suggested;
	oracle[i].dirty = true;
}

static bool
set_fails_underneath(const struct oracle_queue *queue, unsigned buffers)
{
	return queue->buffers &&
	       (would_fail(FAKE_QUEUE_START, 1) || (buffers > queue->memory && would_fail(FAKE_MEMORY_GET, 1)));
}

static void
step_set(int i, int id, unsigned caller)
{
	struct oracle_queue *queue = &oracle[i].queue[id];
	const unsigned cpus = pick(20) ? (1 + pick(7)) << 1 : 0;
	const unsigned buffers = BUFFERS_MIN + pick(4);
	const struct queue_parameters parameters = { .fields = QUEUE_FIELD_AFFINITY | QUEUE_FIELD_BUFFERS,
						     .affinity = { { cpus } }, .buffers = buffers };
	int expected = change_error(i, id, caller, !is_freeing(queue));

	if (!expected && cpus == 0)
		expected = -EINVAL;
	else if (!expected && set_fails_underneath(queue, buffers))
		expected = -EIO;
	assert_int_equal(queue_set(real_queue(i, id), &parameters, &callers[caller], NULL), expected);
	if (expected)
		return;
	queue->suggested = buffers;
	if (queue->buffers) {
		queue->buffers = buffers;
		queue->memory = buffers > queue->memory ? buffers : queue->memory;
	}
	queue->cpus = cpus;
	if (!(cpus >> queue->cpu & 1))
		queue->cpu = least_loaded(&oracle[i], cpus);
	oracle[i].dirty = true;
}

static void
step_free(int i, int id, unsigned caller)
{
	const struct oracle_queue *queue = &oracle[i].queue[id];
	const bool empty = queue->state == QUEUE_ALLOCATED || queue->state == QUEUE_PAUSED;
	int expected = change_error(i, id, caller, empty);

	assert_int_equal(queue_free(real_queue(i, id), &callers[caller], answer(), NULL), expected);
	if (expected)
		return;
	answers_waiting++;
	start_free(&oracle[i], id, true);
}

static void
step_filter_set(int i, int id, unsigned caller)
{
	struct oracle_adapter *a = &oracle[i];
	const struct oracle_queue *queue = &a->queue[id];
	const uint64_t mac = pick_mac();
	const uint32_t vlan = pick_vlan();
	struct filter *filter = NULL;
	int expected = 0, place;

	if (a->closing)
		expected = -EBUSY;
	else if (!is_reserved(id) && (is_freeing(queue) || !may(queue->owner, caller)))
		expected = -EPERM;
	else
		expected = tests_error(a, mac, vlan);
	if (!expected && is_taken(a, mac, vlan))
		expected = -EEXIST;
	if (!expected && lowest_filter(a) == NOTHING)
		expected = -ENOSPC;
	if (!expected && state_with_filter(queue->state) == QUEUE_RUNNING && would_fail(FAKE_FILTER_ADD, 1))
		expected = -EIO;
	assert_int_equal(filter_set(real_queue(i, id), mac, vlan, &callers[caller], &filter, NULL), expected);
	if (expected)
		return;
	place = lowest_filter(a);
	assert_int_equal(filter->id, place);
	put_filter(a, place, id, mac, vlan);
	a->dirty = true;
}

static void
step_filter_clear(int i, int id, unsigned caller)
{
	struct oracle_adapter *a = &oracle[i];
	struct filter *filter = NULL;
	const int queue = a->filter[id].queue;
	int expected = a->filter[id].there ? 0 : -ENOENT;

	assert_int_equal(filter_find(adapters[i], id, &filter, NULL), expected);
	if (expected)
		return;
	if (a->closing)
		expected = -EBUSY;
	else if (!is_reserved(queue) && !may(a->queue[queue].owner, caller))
		expected = -EPERM;
	assert_int_equal(filter_clear(filter, &callers[caller], NULL), expected);
	if (expected)
		return;
	take_filter(a, id);
	a->dirty = true;
}

static void
step_filter_move(int i, int id, int to, unsigned caller)
{
	struct oracle_adapter *a = &oracle[i];
	const struct oracle_filter moved = a->filter[id];
	int expected = 0;

	if (!moved.there)
		return;
	if (a->closing)
		expected = -EBUSY;
	else if (is_freeing(&a->queue[to]))
		expected = -EPERM;
	else if (!is_reserved(moved.queue) && !may(a->queue[moved.queue].owner, caller))
		expected = -EPERM;
	else if (!is_reserved(to) && !may(a->queue[to].owner, caller))
		expected = -EPERM;
	else if (to == moved.queue)
		expected = -EEXIST;
	else if (a->queue[moved.queue].state == QUEUE_SET && state_with_filter(a->queue[to].state) == QUEUE_RUNNING &&
		 would_fail(FAKE_FILTER_ADD, 1))
		expected = -EIO;
	assert_int_equal(filter_move(adapters[i]->filters[id], real_queue(i, to), &callers[caller], NULL), expected);
	if (expected)
		return;
	take_filter(a, id);
	put_filter(a, id, to, moved.mac, moved.vlan);
	a->dirty = true;
}

/* A socket is opened only once those of VMs that left are closed, and that takes what changed into effect. */
static void
see_off(void)
{
	if (!vms_leaving)
		return;
	for (int i = 0; i < ADAPTERS; i++)
		oracle[i].dirty = false;
	vms_leaving = 0;
	answers_ready += answers_expected;
	answers_expected = 0;
}

static int
vm_of_socket(int socket)
{
	for (int vm = 0; vm < VMS; vm++) {
		if (vms[vm].there && vms[vm].socket == socket)
			return vm;
	}
	return NOTHING;
}

static void
step_vm_attach(int i, int id, unsigned caller)
{
	struct oracle_queue *queue = &oracle[i].queue[id];
	const int name = (int)pick(VMS), socket = pick(4) ? name : (int)pick(VMS);
	const struct vm_parameters parameters = { .name = vm_names[name], .socket = sockets[socket] };
	struct oracle_vm *vm = &vms[name];
	const bool waits = vm->there && vm->queue == NOTHING && vm->socket == socket;
	struct vm *attached = NULL;
	int expected = change_error(i, id, caller, !is_freeing(queue));

	if (!expected && waits && !may(vm->owner, caller))
		expected = -EPERM;
	if (!expected && (queue->vm != NOTHING || (!waits && (vm->there || vm_of_socket(socket) != NOTHING))))
		expected = -EEXIST;
	if (!expected && !waits && would_fail(FAKE_VM_OPEN, 1))
		expected = -EIO;
	if ((!expected || expected == -EIO) && !waits)
		see_off();
	assert_int_equal(vm_attach(model, &parameters, real_queue(i, id), &callers[caller], &attached, NULL), expected);
	if (expected)
		return;
	if (!waits)
		*vm = (struct oracle_vm){ .there = true, .owner = caller, .socket = socket };
	vm->adapter = i;
	vm->queue = id;
	queue->vm = name;
	oracle[i].dirty = true;
}

static bool
add_fails_early(unsigned count)
{
	return would_fail(FAKE_QUEUE_OPEN, 1) || would_fail(FAKE_QUEUE_START, 1) || would_fail(FAKE_MEMORY_GET, 1) ||
	       would_fail(FAKE_FILTER_ADD, count);
}

static int
add_error(const struct oracle_adapter *a, int name, int socket, const uint64_t *wanted, unsigned count, uint32_t vlan)
{
	int error = a->closing ? -EBUSY : count == 0 ? -EINVAL : 0;

	for (unsigned m = 0; m < count && !error; m++)
		error = tests_error(a, wanted[m], vlan);
	if (!error && (vms[name].there || vm_of_socket(socket) != NOTHING || (count == 2 && wanted[0] == wanted[1])))
		error = -EEXIST;
	for (unsigned m = 0; m < count && !error; m++)
		error = is_taken(a, wanted[m], vlan) ? -EEXIST : 0;
	if (!error && (lowest_queue(a) == NOTHING || filter_count(a, NOTHING) + (int)count > a->filters))
		error = -ENOSPC;
	if (!error && (add_fails_early(count) || would_fail(FAKE_VM_OPEN, 1)))
		error = -EIO;
	return error;
}

static void
step_vm_add(int i, unsigned caller)
{
	struct oracle_adapter *a = &oracle[i];
	const int name = (int)pick(VMS), socket = pick(8) ? name : (int)pick(VMS), id = lowest_queue(a);
	const struct vm_parameters parameters = { .name = vm_names[name], .socket = sockets[socket] };
	const struct queue_parameters none = { 0 };
	const uint64_t wanted[2] = { pick_mac(), pick_mac() };
	const unsigned count = pick(10) ? 1 + pick(2) : 0;
	const uint32_t vlan = pick_vlan();
	const int expected = add_error(a, name, socket, wanted, count, vlan);
	struct vm *vm = NULL;

	if (!expected || (expected == -EIO && !add_fails_early(count)))
		see_off();
	assert_int_equal(vm_add(adapters[i], &parameters, &none, wanted, count, vlan, &callers[caller], &vm, NULL),
			 expected);
	if (expected)
		return;
	a->queue[id] = (struct oracle_queue){ .there = true, .state = QUEUE_PAUSED, .owner = caller, .cpus = 0xe,
					     .cpu = least_loaded(a, 0xe), .vm = name, .suggested = BUFFERS_DEFAULT,
					     .buffers = BUFFERS_DEFAULT, .memory = BUFFERS_DEFAULT };
	for (unsigned m = 0; m < count; m++)
		put_filter(a, lowest_filter(a), id, wanted[m], vlan);
	vms[name] = (struct oracle_vm){ .there = true, .composed = true, .owner = caller, .adapter = i, .queue = id,
				       .socket = socket };
	a->dirty = true;
}

static void
step_vm_leave(bool del, unsigned caller)
{
	const int name = (int)pick(VMS);
	struct oracle_vm *vm = &vms[name];
	struct oracle_adapter *a = &oracle[vm->adapter];
	const bool composed = vm->composed && vm->queue != NOTHING;
	struct vm *real = NULL;
	int expected = vm->there ? 0 : -ENOENT;

	assert_int_equal(vm_find(model, vm_names[name], &real, NULL), expected);
	if (expected)
		return;
	expected = may(vm->owner, caller) ? 0 : -EPERM;
	assert_int_equal(del ? vm_del(real, &callers[caller], answer(), NULL) : vm_detach(real, &callers[caller], NULL),
			 expected);
	if (expected)
		return;
	vm->there = false;
	vms_leaving++;
	a->dirty = true;
	if (vm->queue != NOTHING)
		a->queue[vm->queue].vm = NOTHING;
	if (del && !composed) {
		answers_waiting++;
		answers_expected++;
	}
	if (!del || !composed)
		return;
	answers_waiting++;
	for (int id = 1; id <= a->filters; id++) {
		if (a->filter[id].there && a->filter[id].queue == vm->queue)
			take_filter(a, id);
	}
	start_free(a, vm->queue, true);
}

/* answers_expected: given by the next commit whatever else happens. */
static void
oracle_commit(void)
{
	vms_leaving = 0;
	for (int i = 0; i < ADAPTERS; i++) {
		oracle[i].dirty = false;
		for (int id = 1; id <= oracle[i].queues && oracle[i].there; id++) {
			if (oracle[i].queue[id].there && oracle[i].queue[id].state == QUEUE_DMA_STOPPED)
				oracle[i].queue[id].state = QUEUE_FREEING;
		}
	}
	answers_waiting -= answers_expected;
	answers_expected = 0;
}

static void
oracle_poll(void)
{
	answers_waiting -= answers_ready;
	answers_ready = 0;
	for (int i = 0; i < ADAPTERS; i++) {
		struct oracle_adapter *a = &oracle[i];
		int left = 0;

		for (int id = 1; id <= a->queues && a->there; id++) {
			struct oracle_queue *queue = &a->queue[id];

			if (queue->there && queue->state == QUEUE_FREEING && fake.outstanding[id] == 0) {
				queue->there = false;
				answers_waiting -= queue->answers;
			}
			left += queue->there;
		}
		if (a->there && a->closing && !a->dirty && left == 0) {
			a->there = false;
			answers_waiting--;
		}
	}
}

static void
step_time(bool commit)
{
	for (int id = 1; id < QUEUES; id++)
		fake.outstanding[id] = pick(3) == 0;
	if (commit) {
		model_commit(model);
		oracle_commit();
	} else {
		model_poll(model);
	}
	oracle_poll();
}

static size_t
frame_bytes(const struct queue *queue)
{
	return queue->adapter->config.mtu + 14u + 2 * 4u;
}

static size_t
memory_of(const struct queue *queue)
{
	const struct memory *memory;
	size_t bytes = 0;

	TAILQ_FOREACH(memory, &queue->memory, of_queue)
		bytes += memory->request.bytes;
	return bytes;
}

static void
compare_queue(int i, int id)
{
	const struct oracle_queue *expected = &oracle[i].queue[id];
	const struct queue *queue = real_queue(i, id);

	assert_int_equal(queue != NULL, expected->there);
	if (!queue)
		return;
	assert_int_equal(queue->state, expected->state);
	assert_int_equal(queue->filter_count, filter_count(&oracle[i], id));
	assert_int_equal(queue->cpu, expected->cpu);
	assert_int_equal(queue->msix, expected->cpu);
	assert_int_equal(queue->vm != NULL, expected->vm != NOTHING);
	if (queue->vm)
		assert_string_equal(queue->vm->name, vm_names[expected->vm]);
	if (is_reserved(id))
		return;
	assert_int_equal(queue->owner.uid, callers[expected->owner].uid);
	assert_int_equal(queue->affinity.words[0], expected->cpus);
	assert_int_equal(queue->suggested_buffers, expected->suggested);
	assert_int_equal(queue->buffers, expected->buffers);
	assert_int_equal(memory_of(queue), expected->memory * frame_bytes(queue));
}

static void
compare_filter(int i, int id)
{
	const struct oracle_filter *expected = &oracle[i].filter[id];
	const struct filter *filter = adapters[i]->filters[id];

	assert_int_equal(filter != NULL, expected->there);
	if (!filter)
		return;
	assert_int_equal(filter->mac, expected->mac);
	assert_int_equal(filter->vlan, expected->vlan);
	assert_ptr_equal(filter->queue, real_queue(i, expected->queue));
}

static void
compare_vms(void)
{
	const struct vm *vm;
	int count = 0, expected = 0;

	TAILQ_FOREACH(vm, &model->vms, of_model) {
		const struct oracle_vm *other = &vms[vm->name[3] - '1'];

		count++;
		assert_true(other->there);
		assert_string_equal(vm->socket, sockets[other->socket]);
		assert_int_equal(vm->composed, other->composed);
		assert_int_equal(vm->owner.uid, callers[other->owner].uid);
		assert_ptr_equal(vm->adapter, adapters[other->adapter]);
		assert_ptr_equal(vm->queue, other->queue == NOTHING ? NULL : real_queue(other->adapter, other->queue));
	}
	for (int name = 0; name < VMS; name++)
		expected += vms[name].there;
	assert_int_equal(count, expected);
}

static unsigned
hardware_filters(void)
{
	unsigned count = 0;

	for (int i = 0; i < ADAPTERS; i++) {
		for (int id = 1; id <= oracle[i].filters && oracle[i].there; id++) {
			const struct oracle_filter *filter = &oracle[i].filter[id];

			count += filter->there && oracle[i].queue[filter->queue].state == QUEUE_RUNNING;
		}
	}
	return count;
}

static void
compare(unsigned answers_taken)
{
	for (int i = 0; i < ADAPTERS; i++) {
		if (!oracle[i].there)
			continue;
		assert_int_equal(adapters[i]->closing, oracle[i].closing);
		assert_int_equal(adapters[i]->dirty, oracle[i].dirty);
		for (int id = 0; id <= oracle[i].queues; id++)
			compare_queue(i, id);
		compare_queue(i, DROP);
		for (int id = 1; id <= oracle[i].filters; id++)
			compare_filter(i, id);
	}
	compare_vms();
	assert_int_equal(fake.placed, hardware_filters());
	assert_int_equal(answers_taken - answers_given, answers_waiting);
}

/* One request to one adapter, on a queue and a filter that may be there or not. */
static void
step_request(int i, unsigned caller)
{
	const int queue = pick(8) ? (int)(1 + pick((unsigned)oracle[i].queues)) : pick(2) ? 0 : DROP;
	const int to = pick(8) ? (int)(1 + pick((unsigned)oracle[i].queues)) : pick(2) ? 0 : DROP;
	const int filter = (int)(1 + pick((unsigned)oracle[i].filters));
	const unsigned kind = pick(64);

	if (kind == 0)
		step_adapter_del(i);
	else if (kind < 10)
		step_allocate(i, caller);
	else if (kind < 14)
		step_vm_add(i, caller);
	else if (kind < 22)
		step_filter_clear(i, filter, caller);
	else if (!oracle[i].queue[queue].there)
		assert_int_equal(queue_find(adapters[i], queue, &(struct queue *){ NULL }, NULL), -ENOENT);
	else if (kind < 32)
		step_complete(i, queue, caller);
	else if (kind < 36)
		step_set(i, queue, caller);
	else if (kind < 44)
		step_free(i, queue, caller);
	else if (kind < 54)
		step_filter_set(i, queue, caller);
	else if (kind < 58)
		step_vm_attach(i, queue, caller);
	else if (oracle[i].queue[to].there)
		step_filter_move(i, filter, to, caller);
}

static void
step(void)
{
	const unsigned kind = pick(16), caller = pick(4) ? pick(2) : pick(CALLERS);
	const int i = (int)pick(ADAPTERS);

	maybe_fail();
	if (kind == 0)
		step_adapter_add();
	else if (kind < 3)
		step_time(kind == 1);
	else if (kind < 4)
		step_vm_leave(pick(2), caller);
	else if (oracle[i].there)
		step_request(i, caller);
}

static uint64_t
number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void
model_and_model_agree(void **state)
{
	const uint64_t requests = number_from("REQUESTS", REQUESTS);
	unsigned answers_taken = 0;

	(void)state;
	seed = number_from("SEED", UINT64_C(0x9e3779b97f4a7c15));
	model = fake_core_create(&fake);
	fake.log_off = true;
	for (uint64_t n = 0; n < requests; n++) {
		const unsigned waiting = answers_waiting, given = answers_given;

		step();
		if (answers_waiting > waiting)
			answers_taken += answers_waiting - waiting;
		assert_true(answers_given >= given);
		compare(answers_taken);
	}
	print_message("%llu requests, %u answered later\n", (unsigned long long)requests, answers_given);
	fake_core_destroy(&fake, model);
}

int
main(void)
{
	static struct row_tests tests;

	TEST(&tests, model_and_model_agree);
	return row_tests_run("model: random requests", &tests);
}
