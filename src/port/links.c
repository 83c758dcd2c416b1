/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/links.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MESSAGES_BYTES = 32768 };

struct links {
	const struct loop *loop;
	struct loop_source *source;
	struct mnl_socket *socket;
	links_call *call;
	void *ctx;
};

struct reader {
	links_call *call;
	void *ctx;
};

static int
on_attribute(const struct nlattr *attribute, void *data)
{
	const char **ifname = data;

	if (mnl_attr_get_type(attribute) == IFLA_IFNAME && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
		*ifname = mnl_attr_get_str(attribute);
	return MNL_CB_OK;
}

static int
on_message(const struct nlmsghdr *message, void *data)
{
	const struct reader *reader = data;
	const char *ifname = NULL;

	if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK)
		return MNL_CB_OK;
	mnl_attr_parse(message, sizeof(struct ifinfomsg), on_attribute, &ifname);
	if (ifname && strlen(ifname) < IF_NAMESIZE)
		reader->call(reader->ctx, ifname);
	return MNL_CB_OK;
}

void
links_read(const void *messages, size_t bytes, links_call *call, void *ctx)
{
	struct reader reader = { call, ctx };

	mnl_cb_run(messages, bytes, 0, 0, on_message, &reader);
}

/* The kernel drops what does not fit into the socket, and says so: then everything is looked at. */
static void
on_readable(void *argument)
{
	const struct links *links = argument;
	char messages[MESSAGES_BYTES];
	ssize_t bytes;

	for (;;) {
		bytes = recv(mnl_socket_get_fd(links->socket), messages, sizeof(messages), MSG_DONTWAIT);
		if (bytes > 0)
			links_read(messages, (size_t)bytes, links->call, links->ctx);
		else if (bytes < 0 && errno == ENOBUFS)
			links->call(links->ctx, NULL);
		else if (bytes >= 0 || errno != EINTR)
			return;
	}
}

int
links_watch(const struct loop *loop, links_call *call, void *ctx, struct links **result, struct refusal *why)
{
	struct links *links = calloc(1, sizeof(*links));

	if (!links)
		return refuse(why, -ENOMEM, "no memory");
	*links = (struct links){ .loop = loop, .call = call, .ctx = ctx };
	links->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!links->socket || mnl_socket_bind(links->socket, RTMGRP_LINK, MNL_SOCKET_AUTOPID)) {
		int error = -errno;

		links_close(links);
		return refuse(why, error, "the kernel does not tell of its interfaces: %s", strerror(-error));
	}
	links->source = loop->watch(loop->ctx, mnl_socket_get_fd(links->socket), on_readable, links);
	if (!links->source) {
		links_close(links);
		return refuse(why, -ENOMEM, "no memory");
	}
	*result = links;
	return 0;
}

void
links_close(struct links *links)
{
	if (!links)
		return;
	if (links->source)
		links->loop->cancel(links->source);
	if (links->socket)
		mnl_socket_close(links->socket);
	free(links);
}
