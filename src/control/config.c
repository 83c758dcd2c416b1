/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The model as commands, and commands from a file: the same language both ways. Every object is one line and
 * every line says all of its object, ids and owners too, so that two models are the same if their lines are.
 */
#include "control/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Words that the command language would split or misread stand in quotes. */
static void
put_text(FILE *to, const char *word, const char *text)
{
	fprintf(to, " %s \"", word);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', to);
		fputc(*text, to);
	}
	fputc('"', to);
}

static const char *
on_off(bool on)
{
	return on ? "on" : "off";
}

/* All that the data path has is no choice: after a restart it may have others. */
static void
put_cpus(FILE *to, const struct adapter *adapter)
{
	const struct cpumask *all = &adapter->model->config.cpus, *cpus = &adapter->config.cpus;
	char text[CPUMASK_TEXT_SIZE];

	if (cpumask_first_outside(all, cpus) == CPU_LIMIT)
		return;
	cpumask_format(cpus, text);
	fprintf(to, " cpus %s", text);
}

static void
put_adapter(FILE *to, const struct adapter *adapter)
{
	const struct adapter_config *config = &adapter->config;

	fprintf(to, "adapter add %s", config->name);
	put_text(to, "port", config->port);
	fprintf(to, " ndis %s queues %u filters %u mtu %u", config->ndis == NDIS_6_20 ? "6.20" : "6.30", config->queues,
		config->filters, config->mtu);
	put_cpus(to, adapter);
	fprintf(to, " vmq %s lookahead-split %s vlan-filtering %s offload %s poll %s%s%s\n", on_off(config->vmq),
		on_off(config->lookahead_split), on_off(config->vlan_filtering), config->offload ? "auto" : "off",
		config->poll == POLL_BUSY ? "busy" : "adaptive", config->link_local ? " link-local forward" : "",
		config->gro ? "" : " gro off");
	if (adapter->host)
		fprintf(to, "host add %s tap %s\n", config->name, adapter->host->ifname);
}

static void
put_auto(FILE *to, const char *word, int32_t value)
{
	if (value == COALESCE_AUTO)
		fprintf(to, " %s auto", word);
	else
		fprintf(to, " %s %d", word, value);
}

static void
put_owner(FILE *to, const struct caller *owner)
{
	fprintf(to, " owner %u", owner->uid);
	if (owner->name[0])
		put_text(to, "owner-name", owner->name);
	fputc('\n', to);
}

static void
put_allocate(FILE *to, const struct queue *queue)
{
	char cpus[CPUMASK_TEXT_SIZE];

	cpumask_format(&queue->affinity, cpus);
	fprintf(to, "queue allocate %s id %u", queue->adapter->config.name, queue->id);
	if (queue->name[0])
		put_text(to, "name", queue->name);
	if (queue->vm_name[0])
		put_text(to, "vm", queue->vm_name);
	fprintf(to, " affinity %s buffers %u lookahead %u per-queue-indication %s",
		queue->affinity_auto ? "auto" : cpus, queue->suggested_buffers, queue->lookahead_bytes,
		on_off(queue->per_queue_indication));
	put_auto(to, "coalesce-usecs", queue->coalesce_usecs);
	put_auto(to, "coalesce-frames", queue->coalesce_frames);
	if (queue->rate_rx)
		fprintf(to, " rate-rx %llu", (unsigned long long)queue->rate_rx);
	if (queue->rate_tx)
		fprintf(to, " rate-tx %llu", (unsigned long long)queue->rate_tx);
	if (queue->storm)
		fprintf(to, " storm %u", queue->storm);
	put_owner(to, &queue->owner);
}

static void
put_filters(FILE *to, const struct queue *queue)
{
	char mac[MAC_TEXT_SIZE], vlan[VLAN_TEXT_SIZE];
	const struct filter *filter;

	TAILQ_FOREACH(filter, &queue->filters, of_queue) {
		mac_format(filter->mac, mac);
		vlan_format(filter->vlan, vlan);
		fprintf(to, "filter set %s %u mac %s vlan %s id %u\n", queue->adapter->config.name, queue->id, mac,
			vlan, filter->id);
	}
}

static void
put_access(FILE *to, const struct socket_access *access)
{
	if (access->user[0])
		put_text(to, "user", access->user);
	if (access->group[0])
		put_text(to, "group", access->group);
	if (access->mode_bits)
		fprintf(to, " mode-bits %o", access->mode_bits);
}

static void
put_offload(FILE *to, uint64_t offloads)
{
	char text[OFFLOADS_TEXT_SIZE];

	offloads_format(offloads, text);
	if (offloads != VM_OFFLOADS_ALL)
		fprintf(to, " offload %s", text);
}

static void
put_attach(FILE *to, const struct vm *vm)
{
	fprintf(to, "vm attach %s adapter %s", vm->name, vm->adapter->config.name);
	if (vm->queue)
		fprintf(to, " queue %u", vm->queue->id);
	put_text(to, "socket", vm->socket);
	fprintf(to, " mode %s trunk %s spoof-check %s owns-queue %s", vm->mode == VM_MODE_CLIENT ? "client" : "server",
		on_off(vm->trunk), on_off(vm->spoof_check), on_off(vm->composed));
	put_access(to, &vm->access);
	if (vm->link_local)
		fputs(" link-local forward", to);
	put_offload(to, vm->offloads);
	put_owner(to, &vm->owner);
}

static void
put_queue(FILE *to, const struct queue *queue)
{
	const bool reserved = queue->owner.uid == OWNER_NOBODY;

	if (queue->state == QUEUE_DMA_STOPPED || queue->state == QUEUE_FREEING)
		return;
	if (!reserved)
		put_allocate(to, queue);
	put_filters(to, queue);
	if (!reserved && (queue->state == QUEUE_RUNNING || queue->state == QUEUE_PAUSED))
		fprintf(to, "queue complete %s %u\n", queue->adapter->config.name, queue->id);
	if (queue->vm)
		put_attach(to, queue->vm);
}

char *
config_text(const struct model *model)
{
	const struct adapter *adapter;
	const struct vm *vm;
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		abort();
	TAILQ_FOREACH(adapter, &model->adapters, of_model) {
		if (adapter->closing)
			continue;
		put_adapter(to, adapter);
		for (struct queue *queue = queue_next(adapter, NULL); queue; queue = queue_next(adapter, queue))
			put_queue(to, queue);
		TAILQ_FOREACH(vm, &model->vms, of_model)
			if (vm->adapter == adapter && !vm->queue)
				put_attach(to, vm);
	}
	if (fclose(to))
		abort();
	return text;
}

json_t *
config_lines(const char *text)
{
	json_t *lines = json_array();

	for (const char *end; *text; text = end + 1) {
		end = strchrnul(text, '\n');
		json_array_append_new(lines, json_stringn(text, (size_t)(end - text)));
		if (!*end)
			break;
	}
	return lines;
}

/* Run one command as root; one that ends later is waited for, the others hold after the next commit. */
int
config_run(struct control *control, const char *line, struct refusal *why)
{
	const struct command *command;
	struct request request = { .control = control };
	json_t *params = NULL, *result = NULL;
	int error = command_parse_line(line, &command, &params, why);

	if (error || !command)
		return error;
	request.params = params;
	error = rpc_run_to_end(&request, command, &result, why);
	json_decref(result);
	json_decref(params);
	return error;
}

/* Some editors begin a file of UTF-8 with it. */
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

int
config_load(struct control *control, const char *file, struct refusal *why)
{
	FILE *stream = fopen(file, "re");
	struct refusal reason = { 0 };
	char *line = NULL;
	size_t size = 0;
	int number = 0, error = 0;

	if (!stream)
		return refuse(why, -errno, "%s: %s", file, strerror(errno));
	while (!error && getline(&line, &size, stream) > 0) {
		const char *text = line;

		line[strcspn(line, "\n")] = '\0';
		if (number++ == 0 && !strncmp(line, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)))
			text += strlen(BYTE_ORDER_MARK);
		error = config_run(control, text, &reason);
	}
	model_commit(control->model);
	if (error)
		refuse(why, error, "%s:%d: %s", file, number, reason.text);
	why->of_machine = reason.of_machine;
	free(line);
	fclose(stream);
	return error;
}
