/* SPDX-License-Identifier: BSD-3-Clause */
/* Adapters: what a valid one is, its life, its host interface, and what it can do. */
#include "model/internal.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
adapter_config_default(struct adapter_config *config)
{
	*config = (struct adapter_config){
		.ndis = NDIS_6_30,
		.queues = QUEUES_DEFAULT,
		.filters = FILTERS_DEFAULT,
		.mtu = MTU_DEFAULT,
		.vmq = true,
		.lookahead_split = true,
		.vlan_filtering = true,
		.offload = true,
		.poll = POLL_ADAPTIVE,
		.gro = true,
	};
}

int
adapter_check_open(const struct adapter *adapter, struct refusal *why)
{
	if (adapter->closing)
		return refuse(why, -EBUSY, "adapter %s is being deleted", adapter->config.name);
	return 0;
}

int
adapter_check_vmq(const struct adapter *adapter, struct refusal *why)
{
	if (!adapter->config.vmq)
		return refuse(why, -ENOTSUP, "VMQ is off on adapter %s: it has no queues and filters",
			      adapter->config.name);
	return 0;
}

static struct adapter *
adapter_by_name(const struct model *model, const char *name)
{
	struct adapter *adapter;

	TAILQ_FOREACH(adapter, &model->adapters, of_model) {
		if (strcmp(adapter->config.name, name) == 0)
			return adapter;
	}
	return NULL;
}

static int
cpus_check(const struct model *model, const struct adapter_config *config, struct refusal *why)
{
	const unsigned outside = cpumask_first_outside(&config->cpus, &model->config.cpus);
	char text[CPUMASK_TEXT_SIZE];

	if (outside == CPU_LIMIT)
		return 0;
	cpumask_format(&model->config.cpus, text);
	return refusal_of_machine(
		why, refuse(why, -EINVAL, "processor %u is not one of the data path's (%s)", outside, text));
}

static int
numbers_check(const struct adapter_config *config, struct refusal *why)
{
	if (config->ndis != NDIS_6_20 && config->ndis != NDIS_6_30)
		return refuse(why, -EINVAL, "NDIS version is 6.20 or 6.30");
	if (config->queues < 1 || config->queues > QUEUE_ID_LIMIT)
		return refuse(why, -EINVAL, "an adapter has 1 to %d queues, not %u", QUEUE_ID_LIMIT, config->queues);
	if (config->filters < config->queues || config->filters > FILTER_ID_LIMIT)
		return refuse(why, -EINVAL, "an adapter with %u queues has %u to %d filters, not %u", config->queues,
			      config->queues, FILTER_ID_LIMIT, config->filters);
	if (config->mtu < MTU_MIN || config->mtu > MTU_MAX)
		return refuse(why, -EINVAL, "the MTU is %d to %d, not %u", MTU_MIN, MTU_MAX, config->mtu);
	if (config->poll != POLL_ADAPTIVE && config->poll != POLL_BUSY)
		return refuse(why, -EINVAL, "poll is adaptive or busy");
	return 0;
}

static int
unique_check(const struct model *model, const struct adapter_config *config, struct refusal *why)
{
	const struct adapter *other = adapter_by_name(model, config->name);

	if (other && other->closing)
		return adapter_check_open(other, why);
	if (other)
		return refuse(why, -EEXIST, "adapter %s exists already", config->name);
	TAILQ_FOREACH(other, &model->adapters, of_model) {
		if (strcmp(other->config.port, config->port) == 0)
			return refuse(why, -EEXIST, "port %.128s is adapter %s's", config->port, other->config.name);
	}
	return 0;
}

static int
config_check(const struct model *model, const struct adapter_config *config, struct refusal *why)
{
	int error = name_check("an adapter", config->name, ADAPTER_NAME_SIZE, why);

	if (!error)
		error = text_check("the port of an adapter", config->port, PORT_TEXT_SIZE, why);
	if (!error && config->port[0] == '\0')
		error = refuse(why, -EINVAL, "adapter %s needs a port", config->name);
	if (!error)
		error = numbers_check(config, why);
	if (!error)
		error = cpus_check(model, config, why);
	return error ? error : unique_check(model, config, why);
}

static int
hardware_check(const struct adapter *adapter, struct refusal *why)
{
	const struct adapter_config *config = &adapter->config;
	const struct nic_capabilities *hardware = &adapter->hardware;

	if (config->queues > hardware->queues)
		return refuse(why, -EINVAL, "the port of adapter %s has %u queues, not %u", config->name,
			      hardware->queues, config->queues);
	if (config->filters > hardware->mac_filters)
		return refuse(why, -EINVAL, "the port of adapter %s has %u filters, not %u", config->name,
			      hardware->mac_filters, config->filters);
	if (config->mtu > hardware->mtu_max)
		return refuse(why, -EINVAL, "the port of adapter %s takes an MTU of at most %u, not %u", config->name,
			      hardware->mtu_max, config->mtu);
	return 0;
}

static struct adapter *
adapter_create(struct model *model, const struct adapter_config *config)
{
	struct adapter *adapter = memory_zeroed(1, sizeof(*adapter));

	adapter->model = model;
	adapter->config = *config;
	if (cpumask_is_empty(&config->cpus))
		adapter->config.cpus = model->config.cpus;
	adapter->filters = memory_zeroed((size_t)config->filters + 1, sizeof(*adapter->filters));
	adapter->filter_id_hint = 1;
	adapter->queues[QUEUE_DEFAULT] = queue_create_reserved(adapter, QUEUE_DEFAULT, "default");
	adapter->drop_queue = queue_create_reserved(adapter, QUEUE_DROP, "drop");
	return adapter;
}

static void
filter_forget(void *filter)
{
	free(filter);
}

void
adapter_destroy(struct adapter *adapter)
{
	struct queue *queue, *next;

	for (queue = queue_next(adapter, NULL); queue; queue = next) {
		next = queue_next(adapter, queue);
		queue_destroy(queue);
	}
	tdestroy(adapter->filters_by_test, filter_forget);
	free(adapter->filters);
	free(adapter->host);
	free(adapter);
}

static int
path_open(struct adapter *adapter, struct refusal *why)
{
	const struct path_ops *path = adapter->model->config.path;
	void *ctx = adapter->model->config.path_ctx;
	struct queue *default_queue = adapter->queues[QUEUE_DEFAULT];
	int error = path->adapter_open(ctx, adapter, why);

	if (error)
		return error;
	error = path->queue_open(ctx, default_queue, why);
	if (error)
		goto close_adapter;
	error = path->queue_open(ctx, adapter->drop_queue, why);
	if (error)
		goto close_default;
	return 0;
close_default:
	path->queue_close(ctx, default_queue);
close_adapter:
	path->adapter_close(ctx, adapter);
	return error;
}

/* Workers know the default and the drop queue as long as they know the adapter, so it goes first. */
static void
path_close(struct adapter *adapter)
{
	const struct path_ops *path = adapter->model->config.path;
	void *ctx = adapter->model->config.path_ctx;

	path->adapter_close(ctx, adapter);
	path->queue_close(ctx, adapter->drop_queue);
	path->queue_close(ctx, adapter->queues[QUEUE_DEFAULT]);
}

static int
port_connect(struct adapter *adapter, struct nic_link *link)
{
	const struct nic_ops *nic = adapter->model->config.nic;
	int error = nic->connect(adapter->nic, &adapter->why);

	nic->capabilities(adapter->nic, &adapter->hardware);
	*link = (struct nic_link){ 0 };
	if (!error)
		nic->link(adapter->nic, link);
	return error;
}

/* A port that is written wrongly stays wrong; an interface may appear, a driver may be bound. */
static bool
may_pass(int error)
{
	return error != -EINVAL && error != -ERANGE;
}

int
adapter_add(struct model *model, const struct adapter_config *config, const struct caller *caller, bool may_be_absent,
	    struct adapter **added, struct refusal *why)
{
	const struct nic_ops *nic = model->config.nic;
	struct adapter *adapter;
	int error = config_check(model, config, why);

	(void)caller;
	if (error)
		return error;
	adapter = adapter_create(model, config);
	error = nic->open(model->config.nic_ctx, &adapter->config, &adapter->nic, why);
	if (error)
		goto destroy;
	error = port_connect(adapter, &adapter->link);
	adapter->absent = error != 0;
	if (error && !(may_be_absent && may_pass(error))) {
		refuse(why, error, "%s", adapter->why.text);
		goto close_nic;
	}
	error = hardware_check(adapter, why);
	if (!error)
		error = path_open(adapter, why);
	if (error)
		goto close_nic;
	adapter->dirty = true;
	TAILQ_INSERT_TAIL(&model->adapters, adapter, of_model);
	model_emit(model, &(struct model_event){ .type = EVENT_CAPABILITIES, .adapter = adapter });
	*added = adapter;
	return 0;
close_nic:
	nic->close(adapter->nic);
destroy:
	adapter_destroy(adapter);
	return error;
}

int
adapter_connect(struct adapter *adapter)
{
	const struct model_config *config = &adapter->model->config;
	struct nic_link link;
	int error = port_connect(adapter, &link);

	if (error)
		return error;
	adapter->absent = false;
	config->path->adapter_connected(config->path_ctx, adapter);
	adapter_link_changed(adapter, &link);
	return 0;
}

void
adapter_disconnect(struct adapter *adapter, const struct refusal *why)
{
	const struct model_config *config = &adapter->model->config;
	struct nic_link link;

	config->nic->disconnect(adapter->nic);
	config->path->synchronize(config->path_ctx);
	config->nic->release(adapter->nic);
	adapter->absent = true;
	adapter->why = *why;
	link = (struct nic_link){ .mac = adapter->link.mac };
	memcpy(link.ifname, adapter->link.ifname, sizeof(link.ifname)); /* as it was called last */
	adapter_link_changed(adapter, &link);
}

static void
vms_leave(struct adapter *adapter)
{
	const struct completion nobody = { 0 };
	struct vm *vm, *next;

	for (vm = TAILQ_FIRST(&adapter->model->vms); vm; vm = next) {
		next = TAILQ_NEXT(vm, of_model);
		if (vm->adapter == adapter)
			vm_leave(vm, nobody);
	}
}

static void
queues_release(struct adapter *adapter)
{
	const struct completion nobody = { 0 };

	for (struct queue *queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue)) {
		filter_erase_all(queue);
		if (!queue_is_reserved(queue) && queue_after(queue, QUEUE_EVENT_FREE) >= 0)
			queue_release(queue, nobody);
	}
}

static void
host_leave(struct adapter *adapter)
{
	TAILQ_INSERT_TAIL(&adapter->model->leaving_hosts, adapter->host, of_model);
	adapter->host = NULL;
	adapter->dirty = true;
}

/* To take an adapter away is to free its queues, so each must be the caller's to free. */
static int
owners_check(const struct adapter *adapter, const struct caller *caller, struct refusal *why)
{
	int error = 0;

	for (struct queue *queue = queue_next(adapter, NULL); queue && !error; queue = queue_next(adapter, queue))
		error = queue_check_owner(queue, caller, why);
	return error;
}

int
adapter_del(struct adapter *adapter, const struct caller *caller, struct completion closed, struct refusal *why)
{
	int error = adapter_check_open(adapter, why);

	if (!error)
		error = owners_check(adapter, caller, why);
	if (error)
		return error;
	adapter->closing = true;
	adapter->closed = closed;
	adapter->dirty = true;
	vms_leave(adapter);
	queues_release(adapter);
	captures_end_of(adapter->model, adapter);
	if (adapter->host)
		host_leave(adapter);
	return 0;
}

bool
adapter_is_drained(const struct adapter *adapter)
{
	return adapter->closing && !adapter->dirty &&
	       queue_next(adapter, adapter->queues[QUEUE_DEFAULT]) == adapter->drop_queue;
}

void
adapter_close(struct adapter *adapter)
{
	struct model *model = adapter->model;

	TAILQ_REMOVE(&model->adapters, adapter, of_model);
	path_close(adapter);
	model->config.nic->close(adapter->nic);
	model_answer(model, adapter->closed);
	adapter_destroy(adapter);
}

int
adapter_find(struct model *model, const char *name, struct adapter **adapter, struct refusal *why)
{
	struct adapter *found = adapter_by_name(model, name);
	int error;

	if (!found)
		return refuse(why, -ENOENT, "there is no adapter %s", name);
	error = adapter_check_open(found, why);
	if (!error)
		*adapter = found;
	return error;
}

/* A name that Linux takes for an interface. */
static int
ifname_check(const char *ifname, struct refusal *why)
{
	int error = name_check("a host interface", ifname, HOST_IFNAME_SIZE, why);

	if (!error && (strchr(ifname, ':') || strcmp(ifname, ".") == 0 || strcmp(ifname, "..") == 0))
		error = refuse(why, -EINVAL, "%s cannot be the name of a host interface", ifname);
	return error;
}

static int
host_check(const struct adapter *adapter, const char *ifname, struct refusal *why)
{
	const struct adapter *other;
	int error = adapter_check_open(adapter, why);

	if (!error)
		error = ifname_check(ifname, why);
	if (!error && adapter->host)
		error = refuse(why, -EEXIST, "adapter %s has host interface %s already", adapter->config.name,
			       adapter->host->ifname);
	if (error)
		return error;
	TAILQ_FOREACH(other, &adapter->model->adapters, of_model) {
		if (other->host && strcmp(other->host->ifname, ifname) == 0)
			return refuse(why, -EEXIST, "%s is adapter %s's host interface", ifname, other->config.name);
	}
	return 0;
}

/* The interface takes what the adapter takes and has neither queues nor filters of its own. */
static void
host_config(const struct adapter *adapter, const char *ifname, struct adapter_config *config)
{
	adapter_config_default(config);
	snprintf(config->name, sizeof(config->name), "%s", ifname);
	config->mtu = adapter->config.mtu;
}

int
host_add(struct adapter *adapter, const char *ifname, const struct caller *caller, struct refusal *why)
{
	const struct model_config *model = &adapter->model->config;
	struct adapter_config config;
	struct host *host;
	int error = host_check(adapter, ifname, why);

	(void)caller;
	if (error)
		return error;
	host_config(adapter, ifname, &config);
	host = memory_zeroed(1, sizeof(*host));
	snprintf(host->ifname, sizeof(host->ifname), "%s", ifname);
	model_see_off(adapter->model);
	error = model->host->open(model->host_ctx, &config, &host->nic, why);
	if (error) {
		free(host);
		return error;
	}
	adapter->host = host;
	adapter->dirty = true;
	return 0;
}

int
host_del(struct adapter *adapter, const struct caller *caller, struct refusal *why)
{
	int error = adapter_check_open(adapter, why);

	(void)caller;
	if (!error && !adapter->host)
		error = refuse(why, -ENOENT, "adapter %s has no host interface", adapter->config.name);
	if (error)
		return error;
	host_leave(adapter);
	return 0;
}

void
host_close(struct model *model, struct host *host)
{
	model->config.host->close(host->nic);
	free(host);
}

int
host_connect(struct adapter *adapter, struct refusal *why)
{
	adapter->dirty = true; /* its address may be another */
	return adapter->model->config.host->connect(adapter->host->nic, why);
}

void
adapter_link_changed(struct adapter *adapter, const struct nic_link *link)
{
	const struct model_event event = { .type = EVENT_LINK, .adapter = adapter };
	const struct nic_link *old = &adapter->link;

	const bool told = old->up == link->up && old->speed_mbps == link->speed_mbps && old->mac == link->mac;

	adapter->link = *link;
	if (!told)
		model_emit(adapter->model, &event);
}

/* NDIS 6.30 has no lookahead split, whatever the hardware could do. Source: vmq-spec §5. */
void
adapter_capabilities_hardware(const struct adapter *adapter, struct capabilities *capabilities)
{
	const struct nic_capabilities *hardware = &adapter->hardware;
	const bool split = hardware->lookahead_split && adapter->config.ndis == NDIS_6_20;

	*capabilities = (struct capabilities){
		.vmq = true,
		.vlan_filtering = true,
		.num_queues = hardware->queues,
		.max_mac_header_filters = hardware->mac_filters,
		.vm_queues = hardware->vm_queues,
		.msix = hardware->msix,
		.per_queue_indication = hardware->per_queue_indication,
		.lookahead_split = split,
		.min_lookahead_split_size = split ? hardware->lookahead_min_bytes : 0,
		.max_lookahead_split_size = split ? hardware->lookahead_max_bytes : 0,
	};
}

void
adapter_capabilities_current(const struct adapter *adapter, struct capabilities *capabilities)
{
	const struct adapter_config *config = &adapter->config;

	if (!config->vmq) {
		*capabilities = (struct capabilities){ .msix = adapter->hardware.msix };
		return;
	}
	adapter_capabilities_hardware(adapter, capabilities);
	capabilities->vlan_filtering = config->vlan_filtering;
	capabilities->num_queues = config->queues;
	capabilities->max_mac_header_filters = config->filters;
	if (config->lookahead_split)
		return;
	capabilities->lookahead_split = false;
	capabilities->min_lookahead_split_size = 0;
	capabilities->max_lookahead_split_size = 0;
}
