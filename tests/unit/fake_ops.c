/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_ops.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACED_MAX = 256 };

const struct caller fake_root = { .uid = 0 };
const struct caller fake_alice = { .uid = 1000 };
const struct caller fake_bob = { .uid = 1001 };

struct placed {
	uint64_t mac;
	uint16_t vlan, queue;
};

struct fake_nic {
	struct fake *fake;
	char name[ADAPTER_NAME_SIZE];
	bool started[QUEUE_ID_LIMIT + 1];
	struct placed placed[PLACED_MAX];
	unsigned placed_count;
	bool published;
	bool connected, released;
};

/* What workers may use of an adapter: the handles in the view that they have, and in the one just published. */
struct fake_path {
	const void *now[2 * QUEUE_ID_LIMIT + 16];
	unsigned now_count;
	const void *next[2 * QUEUE_ID_LIMIT + 16];
	unsigned next_count;
	bool published;
	struct adapter *adapter;
	struct fake_path *following;
};

struct fake_port {
	struct fake *fake;
	char name[NAME_SIZE];
};

static struct fake_path *paths;

static void __attribute__((format(printf, 2, 3))) note(struct fake *fake, const char *format, ...)
{
	va_list args;
	int length;

	if (fake->log_off)
		return;
	va_start(args, format);
	length = vsnprintf(fake->log + fake->log_length, FAKE_LOG_SIZE - fake->log_length, format, args);
	va_end(args);
	assert(length >= 0 && fake->log_length + (size_t)length + 1 < FAKE_LOG_SIZE);
	fake->log_length += (size_t)length;
	fake->log[fake->log_length++] = '\n';
	fake->log[fake->log_length] = '\0';
}

static bool
fails(struct fake *fake, enum fake_op op)
{
	return fake->fail_at[op] > 0 && --fake->fail_at[op] == 0;
}

static void
assert_unused(const void *handle)
{
	for (const struct fake_path *path = paths; path; path = path->following) {
		for (unsigned i = 0; i < path->now_count; i++)
			assert(path->now[i] != handle);
		for (unsigned i = 0; i < path->next_count; i++)
			assert(path->next[i] != handle);
	}
}

static int
fake_nic_open(void *ctx, const struct adapter_config *config, void **handle, struct refusal *why)
{
	struct fake *fake = ctx;
	struct fake_nic *nic;

	note(fake, "nic open %s %s", config->name, config->port);
	if (fails(fake, FAKE_NIC_OPEN))
		return refuse(why, -EIO, "port %s does not open", config->port);
	nic = calloc(1, sizeof(*nic));
	nic->fake = fake;
	snprintf(nic->name, sizeof(nic->name), "%s", config->name);
	fake->nics++;
	*handle = nic;
	return 0;
}

/* The port itself: it fails as open does. */
static int
fake_nic_connect(void *handle, struct refusal *why)
{
	struct fake_nic *nic = handle;

	if (fails(nic->fake, FAKE_NIC_CONNECT))
		return refuse(why, nic->fake->connect_error, "port of %s is not there", nic->name);
	assert(!nic->connected);
	nic->connected = true;
	return 0;
}

static void
fake_nic_disconnect(void *handle)
{
	struct fake_nic *nic = handle;

	assert(nic->connected);
	nic->connected = false;
	nic->released = false;
}

static void
fake_nic_release(void *handle)
{
	struct fake_nic *nic = handle;

	assert(!nic->connected);
	nic->released = true;
}

static void
fake_nic_close(void *handle)
{
	struct fake_nic *nic = handle;

	note(nic->fake, "nic close %s", nic->name);
	assert_unused(nic);
	assert(nic->placed_count == 0);
	for (unsigned i = 0; i <= QUEUE_ID_LIMIT; i++)
		assert(!nic->started[i]);
	nic->fake->nics--;
	free(nic);
}

static void
fake_nic_capabilities(void *handle, struct nic_capabilities *capabilities)
{
	const struct fake_nic *nic = handle;

	*capabilities = nic->fake->hardware;
}

static void
fake_nic_link(void *handle, struct nic_link *link)
{
	(void)handle;
	*link = (struct nic_link){ .up = true, .speed_mbps = 10000, .mac = UINT64_C(0x525400ffffff) };
}

static int
fake_queue_start(void *handle, uint16_t queue, uint32_t *buffers, struct refusal *why)
{
	struct fake_nic *nic = handle;

	note(nic->fake, "nic queue_start %s %u %u", nic->name, queue, *buffers);
	if (fails(nic->fake, FAKE_QUEUE_START))
		return refuse(why, -EIO, "queue %u does not start", queue);
	nic->fake->started += !nic->started[queue];
	nic->started[queue] = true;
	if (*buffers > nic->fake->buffers_max)
		*buffers = nic->fake->buffers_max;
	return 0;
}

static void
fake_queue_stop(void *handle, uint16_t queue)
{
	struct fake_nic *nic = handle;

	note(nic->fake, "nic queue_stop %s %u", nic->name, queue);
	assert(nic->started[queue]);
	nic->started[queue] = false;
	nic->fake->started--;
}

static struct placed *
placed_find(struct fake_nic *nic, uint64_t mac, uint16_t vlan)
{
	for (unsigned i = 0; i < nic->placed_count; i++) {
		if (nic->placed[i].mac == mac && nic->placed[i].vlan == vlan)
			return &nic->placed[i];
	}
	return NULL;
}

static int
fake_filter_add(void *handle, uint16_t queue, uint64_t mac, uint16_t vlan)
{
	struct fake_nic *nic = handle;

	note(nic->fake, "nic filter_add %s %u %012llx %u", nic->name, queue, (unsigned long long)mac, vlan);
	if (fails(nic->fake, FAKE_FILTER_ADD))
		return -EIO;
	assert(!placed_find(nic, mac, vlan));
	assert(queue == QUEUE_DEFAULT || queue == QUEUE_DROP || nic->started[queue]);
	assert(nic->placed_count < PLACED_MAX);
	nic->placed[nic->placed_count++] = (struct placed){ .mac = mac, .vlan = vlan, .queue = queue };
	nic->fake->placed++;
	return 0;
}

static void
fake_filter_remove(void *handle, uint64_t mac, uint16_t vlan)
{
	struct fake_nic *nic = handle;
	struct placed *placed = placed_find(nic, mac, vlan);

	note(nic->fake, "nic filter_remove %s %012llx %u", nic->name, (unsigned long long)mac, vlan);
	assert(placed);
	*placed = nic->placed[--nic->placed_count];
	nic->fake->placed--;
}

static void
fake_filter_move(void *handle, uint16_t queue, uint64_t mac, uint16_t vlan)
{
	struct fake_nic *nic = handle;
	struct placed *placed = placed_find(nic, mac, vlan);

	note(nic->fake, "nic filter_move %s %u %012llx %u", nic->name, queue, (unsigned long long)mac, vlan);
	assert(placed && placed->queue != queue);
	placed->queue = queue;
}

static void
fake_nic_publish(void *handle)
{
	struct fake_nic *nic = handle;

	note(nic->fake, "nic publish %s", nic->name);
	assert(!nic->published);
	nic->published = true;
}

static void
fake_nic_retire(void *handle)
{
	struct fake_nic *nic = handle;

	note(nic->fake, "nic retire %s", nic->name);
	assert(nic->published);
	nic->published = false;
}

static int
fake_memory_get(void *handle, struct memory *memory)
{
	struct fake_nic *nic = handle;

	if (fails(nic->fake, FAKE_MEMORY_GET))
		return -EIO;
	nic->fake->memories++;
	memory->address = memory;
	memory->node = memory->request.node;
	return 0;
}

static void
fake_memory_put(void *handle, struct memory *memory)
{
	struct fake_nic *nic = handle;

	assert(memory->address == memory);
	nic->fake->memories--;
}

static int
fake_node_of_cpu(unsigned cpu)
{
	return (int)cpu / 2;
}

static const struct nic_ops nic_ops = {
	.memory_get = fake_memory_get,
	.memory_put = fake_memory_put,
	.node_of_cpu = fake_node_of_cpu,
	.open = fake_nic_open,
	.close = fake_nic_close,
	.connect = fake_nic_connect,
	.disconnect = fake_nic_disconnect,
	.release = fake_nic_release,
	.capabilities = fake_nic_capabilities,
	.link = fake_nic_link,
	.queue_start = fake_queue_start,
	.queue_stop = fake_queue_stop,
	.filter_add = fake_filter_add,
	.filter_remove = fake_filter_remove,
	.filter_move = fake_filter_move,
	.publish = fake_nic_publish,
	.retire = fake_nic_retire,
};

static int
fake_vm_open(void *ctx, const struct vm *vm, void **handle, struct refusal *why)
{
	struct fake *fake = ctx;
	struct fake_port *port;

	note(fake, "vm open %s %s", vm->name, vm->socket);
	if (fails(fake, FAKE_VM_OPEN))
		return refuse(why, -EIO, "socket %s does not open", vm->socket);
	assert(vm->adapter);
	port = calloc(1, sizeof(*port));
	port->fake = fake;
	snprintf(port->name, sizeof(port->name), "%s", vm->name);
	fake->ports++;
	*handle = port;
	return 0;
}

static void
fake_vm_close(void *handle)
{
	struct fake_port *port = handle;

	note(port->fake, "vm close %s", port->name);
	assert_unused(port);
	port->fake->ports--;
	free(port);
}

static void
fake_vm_status(void *handle, struct vm_status *status)
{
	(void)handle;
	*status = (struct vm_status){ .why = "" };
}

static const struct vm_ops vm_ops = {
	.open = fake_vm_open,
	.close = fake_vm_close,
	.status = fake_vm_status,
};

static int
fake_adapter_open(void *ctx, struct adapter *adapter, struct refusal *why)
{
	struct fake *fake = ctx;
	struct fake_path *path;

	note(fake, "path adapter_open %s", adapter->config.name);
	if (fails(fake, FAKE_ADAPTER_OPEN))
		return refuse(why, -EIO, "adapter %s cannot be polled", adapter->config.name);
	path = calloc(1, sizeof(*path));
	path->adapter = adapter;
	path->following = paths;
	paths = path;
	adapter->path = path;
	fake->path_adapters++;
	return 0;
}

static void
fake_adapter_close(void *ctx, struct adapter *adapter)
{
	struct fake *fake = ctx;
	struct fake_path **link = &paths;

	note(fake, "path adapter_close %s", adapter->config.name);
	while (*link != adapter->path)
		link = &(*link)->following;
	*link = (*link)->following;
	free(adapter->path);
	fake->path_adapters--;
}

static int
fake_queue_open(void *ctx, struct queue *queue, struct refusal *why)
{
	struct fake *fake = ctx;

	note(fake, "path queue_open %s %u", queue->adapter->config.name, queue->id);
	if (fails(fake, FAKE_QUEUE_OPEN))
		return refuse(why, -EIO, "queue %u cannot be polled", queue->id);
	assert(queue->adapter->path && !queue->path);
	queue->path = calloc(1, 1);
	fake->path_queues++;
	return 0;
}

static void
fake_queue_close(void *ctx, struct queue *queue)
{
	struct fake *fake = ctx;

	note(fake, "path queue_close %s %u", queue->adapter->config.name, queue->id);
	assert_unused(queue->path);
	free(queue->path);
	queue->path = NULL;
	fake->path_queues--;
}

static void
fake_path_publish(void *ctx, struct adapter *adapter)
{
	struct fake_path *path = adapter->path;
	struct capture *capture;

	note(ctx, "path publish %s", adapter->config.name);
	assert(!path->published);
	path->published = true;
	path->next_count = 0;
	for (struct queue *queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue)) {
		if (queue->state != QUEUE_RUNNING)
			continue;
		path->next[path->next_count++] = queue->path;
		if (queue->vm)
			path->next[path->next_count++] = queue->vm->port;
	}
	if (adapter->host)
		path->next[path->next_count++] = adapter->host->nic;
	TAILQ_FOREACH(capture, &adapter->model->captures, of_model)
		if (capture_watches(capture, adapter))
			path->next[path->next_count++] = capture;
}

static void
fake_path_synchronize(void *ctx)
{
	note(ctx, "path synchronize");
	for (struct fake_path *path = paths; path; path = path->following) {
		if (!path->published)
			continue;
		memcpy(path->now, path->next, path->next_count * sizeof(path->next[0]));
		path->now_count = path->next_count;
		path->next_count = 0;
	}
}

static void
fake_path_retire(void *ctx, struct adapter *adapter)
{
	struct fake_path *path = adapter->path;

	note(ctx, "path retire %s", adapter->config.name);
	assert(path->published && path->next_count == 0);
	path->published = false;
}

static uint32_t
fake_outstanding(void *ctx, const struct queue *queue)
{
	struct fake *fake = ctx;

	assert(queue->state == QUEUE_FREEING);
	return fake->outstanding[queue->id];
}

static void
fake_adapter_connected(void *ctx, struct adapter *adapter)
{
	note(ctx, "path adapter_connected %s", adapter->config.name);
}

static int
fake_capture_open(void *ctx, struct capture *capture, const struct capture_wish *wish, int *file, struct refusal *why)
{
	struct fake *fake = ctx;

	if (fails(fake, FAKE_CAPTURE_OPEN))
		return refuse(why, -EIO, "no memory for %u bytes", wish->snap_bytes);
	capture->path = fake;
	fake->captures++;
	*file = -1;
	return 0;
}

static void
fake_capture_close(void *ctx, struct capture *capture)
{
	struct fake *fake = ctx;

	note(fake, "path capture_close");
	assert(capture->path == fake);
	assert_unused(capture);
	fake->captures--;
}

static const struct path_ops path_ops = {
	.capture_open = fake_capture_open,
	.capture_close = fake_capture_close,
	.adapter_open = fake_adapter_open,
	.adapter_close = fake_adapter_close,
	.adapter_connected = fake_adapter_connected,
	.queue_open = fake_queue_open,
	.queue_close = fake_queue_close,
	.publish = fake_path_publish,
	.synchronize = fake_path_synchronize,
	.retire = fake_path_retire,
	.outstanding = fake_outstanding,
};

static void
fake_event(void *ctx, const struct model_event *event)
{
	const char *adapter = event->adapter->config.name;

	switch (event->type) {
	case EVENT_QUEUE_STATE:
		note(ctx, "event %s %u %s", adapter, event->queue->id, queue_state_name(event->queue->state));
		break;
	case EVENT_QUEUE_PARAMETERS:
		note(ctx, "event %s %u parameters", adapter, event->queue->id);
		break;
	case EVENT_VM_CONNECTED:
	case EVENT_VM_DISCONNECTED:
		note(ctx, "event %s vm %s %d", adapter, event->vm->name, event->type == EVENT_VM_CONNECTED);
		break;
	case EVENT_LINK:
		note(ctx, "event %s link %d", adapter, event->adapter->link.up);
		break;
	case EVENT_CAPABILITIES:
		note(ctx, "event %s capabilities", adapter);
		break;
	case EVENT_QUEUE_MOVED:
		note(ctx, "event %s %u moved from %u: %s", adapter, event->queue->id, event->from_cpu, event->reason);
		break;
	}
}

struct model *
fake_core_create(struct fake *fake)
{
	struct model_config config = {
		.nic = &nic_ops,
		.host = &nic_ops,
		.host_ctx = fake,
		.nic_ctx = fake,
		.vm = &vm_ops,
		.vm_ctx = fake,
		.path = &path_ops,
		.path_ctx = fake,
		.event = fake_event,
		.event_ctx = fake,
	};

	memset(fake, 0, sizeof(*fake));
	fake->buffers_max = 4096;
	fake->hardware = (struct nic_capabilities){ .queues = QUEUE_ID_LIMIT,
						    .mac_filters = FILTER_ID_LIMIT,
						    .vm_queues = true,
						    .msix = true,
						    .per_queue_indication = true,
						    .lookahead_split = true,
						    .lookahead_min_bytes = 14,
						    .lookahead_max_bytes = 128,
						    .mtu_max = MTU_MAX };
	for (unsigned cpu = 1; cpu <= 3; cpu++)
		cpumask_add(&config.cpus, cpu);
	return model_create(&config);
}

void
fake_core_destroy(struct fake *fake, struct model *model)
{
	struct adapter *adapter;

	memset(fake->outstanding, 0, sizeof(fake->outstanding));
	TAILQ_FOREACH(adapter, &model->adapters, of_model)
		adapter_del(adapter, &fake_root, (struct completion){ 0 }, NULL);
	model_commit(model);
	assert(TAILQ_EMPTY(&model->adapters) && TAILQ_EMPTY(&model->vms));
	assert(fake->nics == 0 && fake->ports == 0 && fake->path_adapters == 0 && fake->path_queues == 0);
	assert(fake->captures == 0);
	assert(fake->started == 0 && fake->placed == 0 && fake->memories == 0);
	model_destroy(model);
}

void
fake_log_clear(struct fake *fake)
{
	fake->log_length = 0;
	fake->log[0] = '\0';
}

unsigned
fake_log_count(const struct fake *fake, const char *prefix)
{
	unsigned count = 0;

	for (const char *line = fake->log; *line; line = strchr(line, '\n') + 1)
		count += strncmp(line, prefix, strlen(prefix)) == 0;
	return count;
}

struct adapter *
fake_adapter_add(struct model *model, const char *name, enum ndis_version ndis, uint32_t queues, uint32_t filters)
{
	struct adapter_config config;
	struct adapter *adapter = NULL;
	int error;

	adapter_config_default(&config);
	snprintf(config.name, sizeof(config.name), "%s", name);
	snprintf(config.port, sizeof(config.port), "net_null_%s", name);
	config.ndis = ndis;
	config.queues = queues;
	config.filters = filters;
	error = adapter_add(model, &config, &fake_root, false, &adapter, NULL);
	assert(error == 0);
	model_commit(model);
	return adapter;
}

struct queue *
fake_queue_in(struct fake *fake, struct adapter *adapter, enum queue_state state, uint64_t mac)
{
	const struct queue_parameters parameters = { 0 };
	struct filter *filter;
	struct queue *queue = NULL;
	int error = queue_allocate(adapter, &parameters, &fake_alice, &queue, NULL);

	if (state == QUEUE_SET || state == QUEUE_RUNNING)
		error |= filter_set(queue, mac, 10, &fake_alice, &filter, NULL);
	if (state == QUEUE_RUNNING || state == QUEUE_PAUSED)
		error |= queue_complete(queue, &fake_alice, NULL);
	model_commit(adapter->model);
	if (state == QUEUE_DMA_STOPPED || state == QUEUE_FREEING)
		error |= queue_free(queue, &fake_alice, (struct completion){ 0 }, NULL);
	if (state == QUEUE_FREEING) {
		fake->outstanding[queue->id] = 1;
		model_commit(adapter->model);
	}
	assert(error == 0 && queue->state == state);
	return queue;
}

static void
count_call(void *ctx, int status)
{
	unsigned *count = ctx;

	assert(status == 0);
	++*count;
}

struct completion
fake_completion(unsigned *count)
{
	return (struct completion){ .done = count_call, .ctx = count };
}
