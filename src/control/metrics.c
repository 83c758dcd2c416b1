/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/metrics.h"

#include "control/internal.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

struct metric {
	const char *name;
	const char *type;
	const char *help;
	void (*samples)(FILE *out, const struct metric *metric, const struct model *model);
	size_t offset;                                        /* of the counter, if it is one of many */
	void (*put)(FILE *out, const struct queue *queue);    /* for each_queue(): end the sample of this one */
};

/* Names of VMs are the operator's: the three characters that end a label's value are written as the format says. */
static void
put_label(FILE *out, const char *separator, const char *name, const char *value)
{
	fprintf(out, "%s%s=\"", separator, name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '"' || *value == '\\')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value, out);
	}
	fputc('"', out);
}

static void
put_number_label(FILE *out, const char *separator, const char *name, uint32_t value)
{
	fprintf(out, "%s%s=\"%u\"", separator, name, value);
}

static void
open_sample(FILE *out, const struct metric *metric, const struct adapter *adapter)
{
	fputs(metric->name, out);
	put_label(out, "{", "adapter", adapter->config.name);
}

static void
close_sample(FILE *out, uint64_t value)
{
	fprintf(out, "} %llu\n", (unsigned long long)value);
}

/* What freed queues have counted stays, in one sample of each adapter, so that sums never go back: they are no queue. */
static void
open_queue_sample(FILE *out, const struct metric *metric, const struct adapter *adapter, const struct queue *queue)
{
	open_sample(out, metric, adapter);
	if (queue)
		put_number_label(out, ",", "queue", queue->id);
	else
		put_label(out, ",", "queue", "freed");
	put_label(out, ",", "vm", queue ? queue->vm_name : "");
}

static uint64_t
counter_at(const void *counters, size_t offset)
{
	return *(const uint64_t *)((const char *)counters + offset);
}

/* Queues */

/* Drops are a counter for each reason. */
static void
put_counters(FILE *out, const struct metric *metric, const struct adapter *adapter, const struct queue *queue,
	     const struct queue_counters *counters)
{
	const bool by_reason = metric->offset == offsetof(struct queue_counters, drops);

	for (int i = 0; i < (by_reason ? DROP_REASON_COUNT : 1); i++) {
		open_queue_sample(out, metric, adapter, queue);
		if (by_reason)
			put_label(out, ",", "reason", drop_reason_word((enum drop_reason)i));
		close_sample(out, counter_at(counters, metric->offset + (size_t)i * sizeof(uint64_t)));
	}
}

static void
queue_counters_samples(FILE *out, const struct metric *metric, const struct model *model)
{
	struct adapter *adapter;

	TAILQ_FOREACH(adapter, &model->adapters, of_model) {
		struct adapter_counters of_adapter = adapter_counters_of(adapter);

		for (struct queue *queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue)) {
			struct queue_counters counters = counters_of(queue);

			put_counters(out, metric, adapter, queue, &counters);
		}
		put_counters(out, metric, adapter, NULL, &of_adapter.freed);
	}
}

static void
each_queue(FILE *out, const struct metric *metric, const struct model *model)
{
	struct adapter *adapter;

	TAILQ_FOREACH(adapter, &model->adapters, of_model)
		for (struct queue *queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue)) {
			open_queue_sample(out, metric, adapter, queue);
			metric->put(out, queue);
		}
}

static void
put_info(FILE *out, const struct queue *queue)
{
	put_label(out, ",", "name", queue->name);
	put_label(out, ",", "state", queue_state_name(queue->state));
	put_number_label(out, ",", "cpu", queue->cpu);
	close_sample(out, 1);
}

static void
put_buffers(FILE *out, const struct queue *queue)
{
	close_sample(out, queue->buffers);
}

static void
put_buffers_in_use(FILE *out, const struct queue *queue)
{
	const struct model_config *config = &queue->adapter->model->config;

	close_sample(out, config->path->outstanding(config->path_ctx, queue));
}

static void
filter_samples(FILE *out, const struct metric *metric, const struct model *model)
{
	char mac[MAC_TEXT_SIZE], vlan[VLAN_TEXT_SIZE];
	const struct adapter *adapter;
	const struct filter *filter;

	TAILQ_FOREACH(adapter, &model->adapters, of_model)
		for (uint32_t id = 1; id <= adapter->config.filters; id++) {
			filter = adapter->filters[id];
			if (!filter)
				continue;
			mac_format(filter->mac, mac);
			vlan_format(filter->vlan, vlan);
			open_queue_sample(out, metric, adapter, filter->queue);
			put_number_label(out, ",", "filter", id);
			put_label(out, ",", "mac", mac);
			put_label(out, ",", "vlan", vlan);
			put_label(out, ",", "hardware", "no");
			close_sample(out, 1);
		}
}

/* Adapters */

static void
adapter_counters_samples(FILE *out, const struct metric *metric, const struct model *model)
{
	const struct adapter *adapter;

	TAILQ_FOREACH(adapter, &model->adapters, of_model) {
		struct adapter_counters counters = adapter_counters_of(adapter);

		open_sample(out, metric, adapter);
		close_sample(out, counter_at(&counters, metric->offset));
	}
}

static void
missed_samples(FILE *out, const struct metric *metric, const struct model *model)
{
	const struct adapter *adapter;

	TAILQ_FOREACH(adapter, &model->adapters, of_model) {
		open_sample(out, metric, adapter);
		close_sample(out, missed_of(adapter));
	}
}

static void
link_samples(FILE *out, const struct metric *metric, const struct model *model)
{
	const struct adapter *adapter;

	TAILQ_FOREACH(adapter, &model->adapters, of_model) {
		open_sample(out, metric, adapter);
		put_label(out, ",", "port", adapter->config.port);
		close_sample(out, !adapter->absent && adapter->link.up);
	}
}

/* VMs */

static void
vm_samples(FILE *out, const struct metric *metric, const struct model *model)
{
	const struct vm *vm;

	TAILQ_FOREACH(vm, &model->vms, of_model) {
		open_sample(out, metric, vm->adapter);
		put_label(out, ",", "vm", vm->name);
		close_sample(out, vm->connected);
	}
}

/* Workers */

static void
worker_samples(FILE *out, const struct metric *metric, const struct model *model)
{
	const struct model_config *config = &model->config;

	for (unsigned cpu = cpumask_next(&config->cpus, 0); cpu < CPU_LIMIT;
	     cpu = cpumask_next(&config->cpus, cpu + 1)) {
		struct cpu_counters counters = { 0 };

		config->path->cpu_counters(config->path_ctx, cpu, &counters);
		fputs(metric->name, out);
		put_number_label(out, "{", "cpu", cpu);
		close_sample(out, counter_at(&counters, metric->offset));
	}
}

#define OF_QUEUE(field) queue_counters_samples, offsetof(struct queue_counters, field), NULL
#define OF_ADAPTER(field) adapter_counters_samples, offsetof(struct adapter_counters, field), NULL
#define OF_WORKER(field) worker_samples, offsetof(struct cpu_counters, field), NULL

static const struct metric metrics[] = {
	{ "vmq_queue_rx_packets_total", "counter", "Frames delivered: into the VM, from the default queue to the host.",
	  OF_QUEUE(rx_packets) },
	{ "vmq_queue_rx_bytes_total", "counter", "Bytes of these frames.", OF_QUEUE(rx_bytes) },
	{ "vmq_queue_tx_packets_total", "counter", "Frames that the VM sent, for the default queue the host.",
	  OF_QUEUE(tx_packets) },
	{ "vmq_queue_tx_bytes_total", "counter", "Bytes of these frames.", OF_QUEUE(tx_bytes) },
	{ "vmq_queue_dropped_total", "counter", "Frames dropped on behalf of the queue, by reason.", OF_QUEUE(drops) },
	{ "vmq_queue_info", "gauge", "Name, state and processor of a queue.", each_queue, 0, put_info },
	{ "vmq_queue_buffers", "gauge", "Receive buffers of the queue.", each_queue, 0, put_buffers },
	{ "vmq_queue_buffers_in_use", "gauge", "Receive buffers in which frames wait for the guest.",
	  each_queue, 0, put_buffers_in_use },
	{ "vmq_filter_info", "gauge", "A filter, its tests, and whether the card tests them.", filter_samples, 0, NULL },
	{ "vmq_adapter_link_up", "gauge", "Whether the adapter's port is there and has a link.", link_samples, 0, NULL },
	{ "vmq_adapter_wire_rx_packets_total", "counter", "Frames that came in by the port.", OF_ADAPTER(wire_rx_packets) },
	{ "vmq_adapter_wire_rx_bytes_total", "counter", "Bytes of these frames.", OF_ADAPTER(wire_rx_bytes) },
	{ "vmq_adapter_wire_tx_packets_total", "counter", "Frames that left by the port.", OF_ADAPTER(wire_tx_packets) },
	{ "vmq_adapter_wire_tx_bytes_total", "counter", "Bytes of these frames.", OF_ADAPTER(wire_tx_bytes) },
	{ "vmq_adapter_copies_total", "counter", "Frames made by vmqd: copies for several queues, pieces of long frames.",
	  OF_ADAPTER(copies) },
	{ "vmq_adapter_missed_total", "counter", "Frames that the port lost before vmqd saw them.", missed_samples, 0, NULL },
	{ "vmq_vm_connected", "gauge", "Whether a guest is connected to the VM's socket and ready.", vm_samples, 0, NULL },
	{ "vmq_worker_busy_cycles_total", "counter", "Cycles in which the processor's worker had frames.",
	  OF_WORKER(busy_cycles) },
	{ "vmq_worker_received_packets_total", "counter", "Frames that the worker took from ports.",
	  OF_WORKER(received) },
	{ "vmq_worker_clock_hertz", "gauge", "Cycles in a second.", OF_WORKER(hertz) },
};

char *
metrics_text(const struct model *model, size_t *bytes)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, bytes);

	if (!out)
		return NULL;
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", metrics[i].name, metrics[i].help, metrics[i].name,
			metrics[i].type);
		metrics[i].samples(out, &metrics[i], model);
	}
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}
