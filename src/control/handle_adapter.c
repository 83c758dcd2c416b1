/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests about adapters and their host interfaces. */
#include "control/handlers.h"

#include <errno.h>
#include <string.h>

static int
copy_text(char *to, size_t size, const json_t *params, const char *word, struct refusal *why)
{
	const char *text = param_text(params, word);

	if (strlen(text) >= size)
		return refuse(why, -EINVAL, "%s is longer than %zu bytes", word, size - 1);
	strcpy(to, text);
	return 0;
}

static int
adapter_numbers(const json_t *params, struct adapter_config *config, struct refusal *why)
{
	int64_t queues, filters, mtu;
	int error = number_in(params, "queues", 1, QUEUE_ID_LIMIT, config->queues, &queues, why);

	if (!error)
		error = number_in(params, "filters", 1, FILTER_ID_LIMIT, config->filters, &filters, why);
	if (!error)
		error = number_in(params, "mtu", MTU_MIN, MTU_MAX, config->mtu, &mtu, why);
	if (error)
		return error;
	config->queues = (uint32_t)queues;
	config->filters = (uint32_t)filters;
	config->mtu = (uint16_t)mtu;
	return 0;
}

static int
adapter_params(const json_t *params, struct adapter_config *config, struct refusal *why)
{
	const char *ndis = param_text(params, "ndis"), *offload = param_text(params, "offload");
	const char *poll = param_text(params, "poll");
	bool is_auto;
	int error = copy_text(config->name, sizeof(config->name), params, "name", why);

	if (!error)
		error = copy_text(config->port, sizeof(config->port), params, "port", why);
	if (!error)
		error = adapter_numbers(params, config, why);
	if (!error && param_given(params, "cpus"))
		error = param_cpus(params, "cpus", &config->cpus, &is_auto, why);
	if (ndis)
		config->ndis = strcmp(ndis, "6.20") ? NDIS_6_30 : NDIS_6_20;
	config->vmq = param_switch(params, "vmq", config->vmq);
	config->lookahead_split = param_switch(params, "lookahead-split", config->lookahead_split);
	config->vlan_filtering = param_switch(params, "vlan-filtering", config->vlan_filtering);
	config->link_local = param_is(params, "link-local", "forward");
	config->gro = param_switch(params, "gro", config->gro);
	config->offload = offload ? !strcmp(offload, "auto") : config->offload;
	config->poll = poll && !strcmp(poll, "busy") ? POLL_BUSY : POLL_ADAPTIVE;
	return error;
}

int
on_adapter_add(struct request *request, json_t **result, struct refusal *why)
{
	struct adapter_config config;
	struct adapter *adapter;
	int error;

	(void)result;
	adapter_config_default(&config);
	error = adapter_params(request->params, &config, why);
	/* vmqd would open the file as itself: the group may use ports, but not write where root may. */
	if (!error && request->caller.uid != 0 && strstr(config.port, "_pcap="))
		error = refuse(why, -EPERM, "only root says which files a port reads and writes");
	if (!error)
		error = adapter_add(request->control->model, &config, &request->caller, !request->client, &adapter,
				    why);
	if (!error)
		adapter_tell(adapter);
	return error;
}

int
on_adapter_del(struct request *request, json_t **result, struct refusal *why)
{
	struct adapter *adapter;
	int error = find_adapter(request, "name", &adapter, why);

	(void)result;
	return error ? error : started(adapter_del(adapter, &request->caller, answer_later(request, NULL), why));
}

int
on_adapter_show(struct request *request, json_t **result, struct refusal *why)
{
	struct adapter *adapter;
	int error;

	*result = json_array();
	if (param_given(request->params, "name")) {
		error = find_adapter(request, "name", &adapter, why);
		return error ? error : json_array_append_new(*result, show_adapter(adapter));
	}
	TAILQ_FOREACH(adapter, &request->control->model->adapters, of_model)
		json_array_append_new(*result, show_adapter(adapter));
	return 0;
}

int
on_adapter_capabilities(struct request *request, json_t **result, struct refusal *why)
{
	const char *which = param_text(request->params, "which");
	struct adapter *adapter;
	int error = find_adapter(request, "name", &adapter, why);

	if (!error)
		*result = show_capabilities(adapter, which && !strcmp(which, "hardware"));
	return error;
}

int
on_adapter_parameters(struct request *request, json_t **result, struct refusal *why)
{
	struct adapter *adapter;
	int error = find_adapter(request, "name", &adapter, why);

	if (!error)
		*result = show_adapter_parameters(adapter);
	return error;
}

int
on_host_add(struct request *request, json_t **result, struct refusal *why)
{
	struct adapter *adapter;
	int error = find_adapter(request, "adapter", &adapter, why);

	(void)result;
	return error ? error : host_add(adapter, param_text(request->params, "tap"), &request->caller, why);
}

int
on_host_del(struct request *request, json_t **result, struct refusal *why)
{
	struct adapter *adapter;
	int error = find_adapter(request, "adapter", &adapter, why);

	(void)result;
	return error ? error : host_del(adapter, &request->caller, why);
}
