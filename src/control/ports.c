/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports that come and go: the kernel tells when an interface changed (port/links.h), and cards are looked at twice a
 * second. An adapter whose port is not there is tried again when an interface appears that it names, and now and then.
 */
#include "control/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	CARDS_USEC = 500000,
	RETRY_LEAST_USEC = 1000000,
	RETRY_MOST_USEC = 30000000,
};

void
adapter_trouble(const struct adapter *adapter, struct refusal *why)
{
	const struct nic_link *link = &adapter->link;

	why->text[0] = '\0';
	if (adapter->absent)
		*why = adapter->why;
	else if (link->silent)
		refuse(why, 0,
		       "the driver of card %s has stopped to answer: see what the kernel's log says of the card, "
		       "then start vmqd again",
		       adapter->config.port);
	else if (link->mtu)
		refuse(why, 0, "interface %s has an MTU of %u, the adapter of %u: ip link set dev %s mtu %u",
		       link->ifname, link->mtu, adapter->config.mtu, link->ifname, adapter->config.mtu);
	else if (link->unfinished)
		refuse(why, 0, "frames of a kernel behind %s may come unfinished, with wrong checksums: use port if=%s",
		       link->ifname, link->ifname);
}

void
adapter_tell(const struct adapter *adapter)
{
	struct refusal why;

	adapter_trouble(adapter, &why);
	if (why.text[0])
		fprintf(stderr, "vmqd: adapter %s%s: %s\n", adapter->config.name, adapter->absent ? " is absent" : "",
			why.text);
}

static void
arm_retry(struct control *control, uint64_t usec)
{
	control->retry_usec = usec < RETRY_MOST_USEC ? usec : RETRY_MOST_USEC;
	sd_event_source_set_time_relative(control->retry_timer, control->retry_usec);
	sd_event_source_set_enabled(control->retry_timer, SD_EVENT_ONESHOT);
}

static void
tell_changes(const struct adapter *adapter, const struct nic_link *link)
{
	const struct nic_link *old = &adapter->link;

	if (link->up != old->up)
		fprintf(stderr, "vmqd: adapter %s: link is %s\n", adapter->config.name, link->up ? "up" : "down");
	if (old->silent && !link->silent)
		fprintf(stderr, "vmqd: adapter %s: the driver of its card answers again\n", adapter->config.name);
	if (old->ifname[0] && strcmp(link->ifname, old->ifname))
		fprintf(stderr, "vmqd: adapter %s: interface %s is called %s now\n", adapter->config.name, old->ifname,
			link->ifname);
}

static void
lose(struct control *control, struct adapter *adapter, const char *ifname)
{
	struct refusal why;

	refuse(&why, 0, "interface %s was deleted: it is taken again when it is back", ifname);
	adapter_disconnect(adapter, &why);
	adapter_tell(adapter);
	arm_retry(control, RETRY_LEAST_USEC);
}

static void
look_at(struct control *control, struct adapter *adapter)
{
	const struct nic_link old = adapter->link;
	struct nic_link link = { 0 };

	control->model->config.nic->link(adapter->nic, &link);
	if (link.gone) {
		lose(control, adapter, link.ifname);
		return;
	}
	tell_changes(adapter, &link);
	adapter_link_changed(adapter, &link);
	if (link.mtu != old.mtu || link.silent != old.silent)
		adapter_tell(adapter);
}

static void
try_again(struct adapter *adapter)
{
	const struct refusal before = adapter->why;
	int error = adapter_connect(adapter);

	if (error == -ENODEV)
		adapter->why = before; /* still as it was */
	if (!error)
		fprintf(stderr, "vmqd: adapter %s is back: its link is %s\n", adapter->config.name,
			adapter->link.up ? "up" : "down");
	else if (strcmp(before.text, adapter->why.text))
		adapter_tell(adapter);
}

static void
look_at_host(struct control *control, struct adapter *adapter)
{
	struct nic_link link = { 0 };
	struct refusal why;

	control->model->config.host->link(adapter->host->nic, &link);
	if (!link.gone)
		return;
	if (host_connect(adapter, &why)) {
		if (adapter->host->gone)
			return;
		fprintf(stderr, "vmqd: adapter %s: host interface %s was deleted: %s\n", adapter->config.name,
			adapter->host->ifname, why.text);
		adapter->host->gone = true;
		arm_retry(control, RETRY_LEAST_USEC);
		return;
	}
	adapter->host->gone = false;
	fprintf(stderr, "vmqd: adapter %s: host interface %s was deleted: it is made again, without addresses\n",
		adapter->config.name, adapter->host->ifname);
	model_commit(control->model);
}

void
control_interface_changed(void *ctx, const char *ifname)
{
	struct control *control = ctx;
	struct adapter *adapter;

	TAILQ_FOREACH(adapter, &control->model->adapters, of_model) {
		if (adapter->closing)
			continue;
		if (adapter->host)
			look_at_host(control, adapter);
		if (!adapter->absent)
			look_at(control, adapter);
		else if (!ifname || strstr(adapter->config.port, ifname) || !strcmp(adapter->link.ifname, ifname))
			try_again(adapter);
	}
	control_flush(control);
}

/* Cards have no interface of the kernel's that would tell. */
static int
on_cards(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct control *control = ctx;
	struct adapter *adapter;

	(void)usec;
	TAILQ_FOREACH(adapter, &control->model->adapters, of_model)
		if (!adapter->absent && !adapter->closing && !adapter->link.ifname[0])
			look_at(control, adapter);
	control_flush(control);
	sd_event_source_set_time_relative(source, CARDS_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int
on_retry(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct control *control = ctx;
	struct adapter *adapter;
	bool missing = false;

	(void)source;
	(void)usec;
	TAILQ_FOREACH(adapter, &control->model->adapters, of_model) {
		if (adapter->closing)
			continue;
		if (adapter->host)
			look_at_host(control, adapter);
		if (adapter->absent)
			try_again(adapter);
		missing |= adapter->absent || (adapter->host && adapter->host->gone);
	}
	if (missing)
		arm_retry(control, control->retry_usec * 2);
	control_flush(control);
	return 0;
}

int
ports_start(struct control *control)
{
	int error = sd_event_add_time_relative(control->event, NULL, CLOCK_MONOTONIC, CARDS_USEC, 0, on_cards, control);

	if (error >= 0)
		error = sd_event_add_time_relative(control->event, &control->retry_timer, CLOCK_MONOTONIC,
						   RETRY_LEAST_USEC, 0, on_retry, control);
	control->retry_usec = RETRY_LEAST_USEC;
	return error;
}
