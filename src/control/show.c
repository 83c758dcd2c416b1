/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects of the model as JSON, by the names that the interface fixes. */
#include "control/internal.h"

static json_t *
cpus_json(const struct cpumask *cpus)
{
	json_t *list = json_array();

	for (unsigned cpu = cpumask_next(cpus, 0); cpu < CPU_LIMIT; cpu = cpumask_next(cpus, cpu + 1))
		json_array_append_new(list, json_integer(cpu));
	return list;
}

static json_t *
mac_json(uint64_t mac)
{
	char text[MAC_TEXT_SIZE];

	mac_format(mac, text);
	return json_string(text);
}

static json_t *
vlan_json(uint16_t vlan)
{
	char text[VLAN_TEXT_SIZE];

	if (vlan >= VLAN_FIRST && vlan <= VLAN_LAST)
		return json_integer(vlan);
	vlan_format(vlan, text);
	return json_string(text);
}

static json_t *
count_json(uint64_t count)
{
	return json_integer((json_int_t)count);
}

static json_t *
drops_json(const uint64_t drops[DROP_REASON_COUNT])
{
	json_t *object = json_object();

	for (int reason = 0; reason < DROP_REASON_COUNT; reason++)
		json_object_set_new(object, drop_reason_word(reason), count_json(drops[reason]));
	return object;
}

static json_t *
owner_json(uid_t owner)
{
	return owner == OWNER_NOBODY ? json_null() : json_integer(owner);
}

struct queue_counters
counters_of(const struct queue *queue)
{
	const struct model_config *config = &queue->adapter->model->config;
	struct queue_counters counters = { 0 };

	config->path->queue_counters(config->path_ctx, queue, &counters);
	return counters;
}

struct adapter_counters
adapter_counters_of(const struct adapter *adapter)
{
	const struct model_config *config = &adapter->model->config;
	struct adapter_counters counters = { 0 };

	config->path->adapter_counters(config->path_ctx, adapter, &counters);
	return counters;
}

static uint64_t
lost_by(const struct nic_ops *ops, void *nic)
{
	struct nic_losses losses = { 0 };

	ops->losses(nic, &losses);
	return losses.rx_missed + losses.rx_errors + losses.rx_no_mbuf;
}

/* On the way in from the wire, and from the host. */
uint64_t
missed_of(const struct adapter *adapter)
{
	const struct model_config *config = &adapter->model->config;

	return lost_by(config->nic, adapter->nic) + (adapter->host ? lost_by(config->host, adapter->host->nic) : 0);
}

static const char *
ndis_text(const struct adapter *adapter)
{
	return adapter->config.ndis == NDIS_6_20 ? "6.20" : "6.30";
}

static uint32_t
queues_used(const struct adapter *adapter)
{
	uint32_t used = 0;

	for (uint32_t id = 1; id <= adapter->config.queues; id++)
		used += adapter->queues[id] != NULL;
	return used;
}

static uint32_t
filters_used(const struct adapter *adapter)
{
	uint32_t used = 0;

	for (uint32_t id = 1; id <= adapter->config.filters; id++)
		used += adapter->filters[id] != NULL;
	return used;
}

static const char *
link_text(const struct adapter *adapter)
{
	if (adapter->absent)
		return "absent";
	return adapter->link.up ? "up" : "down";
}

json_t *
show_adapter(const struct adapter *adapter)
{
	const struct adapter_config *config = &adapter->config;
	struct adapter_counters counters = adapter_counters_of(adapter);
	struct refusal why;
	json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:i, s:I, s:I, s:I, s:I, s:o}", "name", config->name,
				   "port", config->port, "ndis", ndis_text(adapter), "link", link_text(adapter),
				   "speed", (json_int_t)adapter->link.speed_mbps, "mac", mac_json(adapter->link.mac),
				   "mtu", config->mtu, "queues", (json_int_t)config->queues, "queues_used",
				   (json_int_t)queues_used(adapter), "filters", (json_int_t)config->filters,
				   "filters_used", (json_int_t)filters_used(adapter), "cpus", cpus_json(&config->cpus));
	json_t *rest = json_pack(
		"{s:b, s:b, s:b, s:s, s:s, s:s, s:b, s:s?, s:o, s:o, s:o, s:o, s:o}", "vmq", config->vmq,
		"lookahead_split", config->lookahead_split, "vlan_filtering", config->vlan_filtering, "offload",
		config->offload ? "auto" : "off", "poll", config->poll == POLL_BUSY ? "busy" : "adaptive", "link_local",
		config->link_local ? "forward" : "drop", "gro", config->gro, "host",
		adapter->host ? adapter->host->ifname : NULL, "rx_packets", count_json(counters.wire_rx_packets),
		"rx_bytes", count_json(counters.wire_rx_bytes), "tx_packets", count_json(counters.wire_tx_packets),
		"tx_bytes", count_json(counters.wire_tx_bytes), "missed", count_json(missed_of(adapter)));

	adapter_trouble(adapter, &why);
	json_object_set_new(rest, "interface",
			    adapter->absent || !adapter->link.ifname[0] ? json_null() :
									  json_string(adapter->link.ifname));
	json_object_set_new(rest, "why", why.text[0] ? json_string(why.text) : json_null());

	json_object_update(object, rest);
	json_decref(rest);
	return object;
}

/* Source: vmq-spec §7, global parameters: what configuration enables, and what is in use. */
json_t *
show_adapter_parameters(const struct adapter *adapter)
{
	const struct adapter_config *config = &adapter->config;

	return json_pack("{s:b, s:b, s:b, s:s, s:I, s:I, s:I, s:I}", "vmq_enabled", config->vmq,
			 "lookahead_split_enabled", config->lookahead_split, "vlan_filtering_enabled",
			 config->vlan_filtering, "ndis", ndis_text(adapter), "num_queues", (json_int_t)config->queues,
			 "num_queues_in_use", (json_int_t)queues_used(adapter), "num_filters",
			 (json_int_t)config->filters, "num_filters_in_use", (json_int_t)filters_used(adapter));
}

static void
append_if(json_t *list, bool condition, const char *word)
{
	if (condition)
		json_array_append_new(list, json_string(word));
}

static json_t *
queue_properties(const struct capabilities *capabilities)
{
	json_t *list = json_array();

	append_if(list, capabilities->vm_queues, "vm_queues");
	append_if(list, capabilities->msix, "msix");
	append_if(list, capabilities->per_queue_indication, "per_queue_indication");
	append_if(list, capabilities->lookahead_split, "lookahead_split");
	return list;
}

static json_t *
words_if(bool condition, const char *first, const char *second)
{
	json_t *list = json_array();

	append_if(list, condition, first);
	append_if(list, condition && second, second);
	return list;
}

json_t *
show_capabilities(const struct adapter *adapter, bool hardware)
{
	struct capabilities capabilities;
	bool vmq;

	if (hardware)
		adapter_capabilities_hardware(adapter, &capabilities);
	else
		adapter_capabilities_current(adapter, &capabilities);
	vmq = capabilities.vmq;
	return json_pack("{s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "enabled_filter_types",
			 words_if(vmq, "vmq", NULL), "enabled_queue_types", words_if(vmq, "vm_queue", NULL),
			 "num_queues", (json_int_t)capabilities.num_queues, "supported_queue_properties",
			 queue_properties(&capabilities), "supported_filter_tests", words_if(vmq, "equal", NULL),
			 "supported_headers", words_if(vmq, "mac", NULL), "supported_mac_header_fields",
			 words_if(vmq, "destination", capabilities.vlan_filtering ? "vlan_id" : NULL),
			 "max_mac_header_filters", (json_int_t)capabilities.max_mac_header_filters,
			 "min_lookahead_split_size", (json_int_t)capabilities.min_lookahead_split_size,
			 "max_lookahead_split_size", (json_int_t)capabilities.max_lookahead_split_size);
}

static json_t *
auto_json(int32_t value)
{
	return value == COALESCE_AUTO ? json_string("auto") : json_integer(value);
}

static json_t *
filters_json(const struct queue *queue)
{
	const struct filter *filter;
	json_t *list = json_array();

	TAILQ_FOREACH(filter, &queue->filters, of_queue)
		json_array_append_new(list, json_pack("{s:I, s:o, s:o}", "id", (json_int_t)filter->id, "mac",
						      mac_json(filter->mac), "vlan", vlan_json(filter->vlan)));
	return list;
}

static json_t *
memory_json(const struct queue *queue)
{
	const struct memory *memory;
	json_t *list = json_array();

	TAILQ_FOREACH(memory, &queue->memory, of_queue)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:i}", "usage",
						      memory_usage_word(memory->request.usage), "space",
						      memory_space_word(memory->space), "bytes",
						      (json_int_t)memory->request.bytes, "node", memory->node));
	return list;
}

static void
add_counters(json_t *object, const struct queue_counters *counters)
{
	json_object_set_new(object, "rx_packets", count_json(counters->rx_packets));
	json_object_set_new(object, "rx_bytes", count_json(counters->rx_bytes));
	json_object_set_new(object, "tx_packets", count_json(counters->tx_packets));
	json_object_set_new(object, "tx_bytes", count_json(counters->tx_bytes));
	json_object_set_new(object, "drops", drops_json(counters->drops));
}

json_t *
show_queue(const struct queue *queue)
{
	const struct model_config *config = &queue->adapter->model->config;
	struct queue_counters counters = counters_of(queue);
	json_t *object = json_pack("{s:s, s:i, s:s, s:s, s:o, s:s, s:s, s:o, s:b, s:i, s:i}", "adapter",
				   queue->adapter->config.name, "id", queue->id, "name", queue->name, "vm",
				   queue->vm_name, "owner", owner_json(queue->owner.uid), "state",
				   queue_state_name(queue->state), "windows_state",
				   queue_state_windows_name(queue->state), "affinity", cpus_json(&queue->affinity),
				   "affinity_auto", queue->affinity_auto, "cpu", queue->cpu, "msix", queue->msix);
	json_t *rest = json_pack(
		"{s:I, s:I, s:I, s:I, s:b, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "buffers",
		(json_int_t)queue->buffers, "suggested_buffers", (json_int_t)queue->suggested_buffers, "buffers_in_use",
		(json_int_t)config->path->outstanding(config->path_ctx, queue), "lookahead",
		(json_int_t)queue->lookahead_bytes, "per_queue_indication", queue->per_queue_indication,
		"coalesce_usecs", auto_json(queue->coalesce_usecs), "coalesce_frames",
		auto_json(queue->coalesce_frames), "coalesce_limit_usecs",
		(json_int_t)queue_coalesce_limit(queue->coalesce_usecs, COALESCE_AUTO_USECS), "coalesce_limit_frames",
		(json_int_t)queue_coalesce_limit(queue->coalesce_frames, COALESCE_AUTO_FRAMES), "rate_rx",
		(json_int_t)queue->rate_rx, "rate_tx", (json_int_t)queue->rate_tx, "storm", (json_int_t)queue->storm,
		"filters", filters_json(queue), "memory", memory_json(queue));

	json_object_update(object, rest);
	json_decref(rest);
	add_counters(object, &counters);
	return object;
}

json_t *
show_filter(const struct filter *filter)
{
	return json_pack("{s:s, s:I, s:i, s:s, s:o, s:o}", "adapter", filter->queue->adapter->config.name, "id",
			 (json_int_t)filter->id, "queue", filter->queue->id, "vm", filter->queue->vm_name, "mac",
			 mac_json(filter->mac), "vlan", vlan_json(filter->vlan));
}

static json_t *
names_json(const char *const *names)
{
	json_t *list = json_array();

	for (; *names; names++)
		json_array_append_new(list, json_string(*names));
	return list;
}

/* Who may open its socket, as far as somebody asked for that. */
static json_t *
access_json(const struct socket_access *access)
{
	char mode_bits[8] = "";

	if (access->mode_bits)
		snprintf(mode_bits, sizeof(mode_bits), "%04o", access->mode_bits);
	return json_pack("{s:s, s:s, s:s}", "user", access->user, "group", access->group, "mode_bits", mode_bits);
}

json_t *
show_vm(const struct vm *vm)
{
	json_t *object, *access = access_json(&vm->access);
	char offload[OFFLOADS_TEXT_SIZE];
	struct vm_status status;

	vm->adapter->model->config.vm->status(vm->port, &status);
	offloads_format(vm->offloads, offload);
	object = json_pack("{s:s, s:s, s:o, s:s, s:s, s:b, s:b, s:s, s:s, s:I, s:I, s:I, s:b, s:s, s:{s:o, s:o}, s:o}",
			   "name", vm->name, "adapter", vm->adapter->config.name, "queue",
			   vm->queue ? json_integer(vm->queue->id) : json_null(), "socket", vm->socket, "mode",
			   vm->mode == VM_MODE_CLIENT ? "client" : "server", "trunk", vm->trunk, "spoof_check",
			   vm->spoof_check, "link_local", vm->link_local ? "forward" : "drop", "offload", offload,
			   "rate_rx", (json_int_t)(vm->queue ? vm->queue->rate_rx : 0), "rate_tx",
			   (json_int_t)(vm->queue ? vm->queue->rate_tx : 0), "storm",
			   (json_int_t)(vm->queue ? vm->queue->storm : 0), "connected", vm->connected, "why",
			   status.why, "features", "offered", names_json(status.offered), "taken",
			   names_json(status.taken), "owner", owner_json(vm->owner.uid));
	json_object_update(object, access);
	json_decref(access);
	return object;
}

static json_t *
stats_queue(const struct queue *queue)
{
	struct queue_counters counters = counters_of(queue);
	json_t *object = json_pack("{s:i, s:s, s:s}", "id", queue->id, "name", queue->name, "vm", queue->vm_name);

	add_counters(object, &counters);
	return object;
}

/* What all queues have counted, the freed ones too; the default queue apart, because it is the host. */
struct stats_sum {
	struct queue_counters host;
	struct queue_counters vms;
	uint64_t drops[DROP_REASON_COUNT];
};

static void
stats_add(struct stats_sum *sum, const struct queue_counters *counters, bool is_host)
{
	for (int reason = 0; reason < DROP_REASON_COUNT; reason++)
		sum->drops[reason] += counters->drops[reason];
	if (is_host) {
		sum->host = *counters;
		return;
	}
	sum->vms.rx_packets += counters->rx_packets;
	sum->vms.tx_packets += counters->tx_packets;
}

json_t *
show_stats(const struct adapter *adapter, const struct queue *only)
{
	struct adapter_counters counters = adapter_counters_of(adapter);
	struct stats_sum sum = { 0 };
	json_t *queues = json_array();

	stats_add(&sum, &counters.freed, false);
	for (struct queue *queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue)) {
		struct queue_counters of_queue = counters_of(queue);

		stats_add(&sum, &of_queue, queue->id == QUEUE_DEFAULT);
		if (!only || queue == only)
			json_array_append_new(queues, stats_queue(queue));
	}
	return json_pack("{s:s, s:{s:o, s:o, s:o, s:o}, s:{s:o, s:o, s:o}, s:o, s:o, s:o}", "adapter",
			 adapter->config.name, "entered", "wire", count_json(counters.wire_rx_packets), "host",
			 count_json(sum.host.tx_packets), "vms", count_json(sum.vms.tx_packets), "copies",
			 count_json(counters.copies), "left", "queues", count_json(sum.vms.rx_packets), "host",
			 count_json(sum.host.rx_packets), "wire", count_json(counters.wire_tx_packets), "drops",
			 drops_json(sum.drops), "missed", count_json(missed_of(adapter)), "queues", queues);
}

json_t *
show_trace(const struct trace *trace)
{
	json_t *tested = json_array();

	for (uint32_t i = 0; i < trace->tested_count; i++)
		json_array_append_new(tested,
				      json_pack("{s:i, s:I, s:b}", "queue", trace->tested[i].queue, "filter",
						(json_int_t)trace->tested[i].filter, "match", trace->tested[i].match));
	return json_pack("{s:i, s:I, s:s, s:I, s:o}", "queue", trace->queue, "filter", (json_int_t)trace->filter,
			 "reason", trace->reason, "tested_total", (json_int_t)trace->tested_total, "tested", tested);
}
