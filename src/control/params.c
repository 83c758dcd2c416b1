/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/internal.h"

#include <errno.h>
#include <string.h>

const char *
param_text(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

int64_t
param_number(const json_t *params, const char *name, int64_t otherwise)
{
	const json_t *value = json_object_get(params, name);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool
param_switch(const json_t *params, const char *name, bool otherwise)
{
	const json_t *value = json_object_get(params, name);

	return value ? json_is_true(value) : otherwise;
}

bool
param_is(const json_t *params, const char *name, const char *word)
{
	const char *text = param_text(params, name);

	return text && !strcmp(text, word);
}

bool
param_given(const json_t *params, const char *name)
{
	return json_object_get(params, name) != NULL;
}

int
param_cpus(const json_t *params, const char *name, struct cpumask *cpus, bool *is_auto, struct refusal *why)
{
	const json_t *value = json_object_get(params, name);

	*is_auto = false;
	if (json_is_integer(value)) {
		cpumask_add(cpus, (unsigned)json_integer_value(value));
		return 0;
	}
	if (!strcmp(json_string_value(value), "auto")) {
		*is_auto = true;
		return 0;
	}
	if (cpumask_parse(json_string_value(value), cpus))
		return refuse(why, -EINVAL, "%s \"%s\" is no list of processors such as 0,2-5", name,
			      json_string_value(value));
	return 0;
}

int
param_mac(const json_t *value, uint64_t *mac, struct refusal *why)
{
	const char *text = json_string_value(value);

	if (!text || mac_parse(text, mac))
		return refuse(why, -EINVAL, "\"%s\" is no MAC address such as 52:54:00:00:00:01", text ? text : "");
	return 0;
}

uint32_t
param_vlan(const json_t *params, uint32_t otherwise)
{
	const json_t *value = json_object_get(params, "vlan");

	if (json_is_integer(value))
		return (uint32_t)json_integer_value(value);
	if (!value)
		return otherwise;
	return strcmp(json_string_value(value), "any") ? VLAN_UNTAGGED : VLAN_ANY;
}

int64_t
param_queue(const json_t *params, const char *name)
{
	const json_t *value = json_object_get(params, name);

	if (json_is_integer(value))
		return json_integer_value(value);
	return strcmp(json_string_value(value), "drop") ? QUEUE_DEFAULT : QUEUE_DROP;
}
