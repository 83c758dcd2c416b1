/* SPDX-License-Identifier: BSD-3-Clause */
/* HTTP for who collects the metrics. libmicrohttpd does the protocol, on control's loop and without a thread. */
#include "control/internal.h"
#include "control/listen.h"
#include "control/metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SCRAPERS_MAX = 16,
	SCRAPER_IDLE_S = 10, /* who says nothing for so long is disconnected */
};

struct scrape {
	const struct model *model;
	struct MHD_Daemon *daemon;
	sd_event_source *io;
	sd_event_source *timer;
	char path[SOCKET_PATH_SIZE]; /* empty: an address */
	struct socket_name name;
};

static struct MHD_Response *
text_response(char *text, size_t bytes, enum MHD_ResponseMemoryMode mode, const char *type)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(bytes, text, mode);

	if (!response && mode == MHD_RESPMEM_MUST_FREE)
		free(text);
	if (response)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	return response;
}

static struct MHD_Response *
sentence(const char *text)
{
	return text_response((char *)(uintptr_t)text, strlen(text), MHD_RESPMEM_PERSISTENT, "text/plain");
}

static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

/* @return MHD_NO: there is no memory; the connection is closed. */
static enum MHD_Result
on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
	   const char *upload, size_t *upload_bytes, void **request)
{
	const struct scrape *scrape = ctx;
	size_t bytes;
	char *text;

	(void)version;
	(void)upload;
	(void)upload_bytes;
	(void)request;
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, sentence("vmqd only answers GET\n"));
	if (strcmp(url, "/metrics"))
		return answer(connection, MHD_HTTP_NOT_FOUND, sentence("vmqd has /metrics, and nothing else\n"));
	text = metrics_text(scrape->model, &bytes);
	if (!text)
		return MHD_NO;
	return answer(connection, MHD_HTTP_OK,
		      text_response(text, bytes, MHD_RESPMEM_MUST_FREE, "text/plain; version=0.0.4; charset=utf-8"));
}

/* Something happened, or somebody has been silent for too long. */
static void
run(struct scrape *scrape)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	MHD_run(scrape->daemon);
	if (MHD_get_timeout(scrape->daemon, &wait_ms) != MHD_YES)
		return;
	sd_event_source_set_time_relative(scrape->timer, wait_ms * 1000);
	sd_event_source_set_enabled(scrape->timer, SD_EVENT_ONESHOT);
}

static int
on_io(sd_event_source *source, int handle, uint32_t events, void *ctx)
{
	(void)source;
	(void)handle;
	(void)events;
	run(ctx);
	return 0;
}

static int
on_time(sd_event_source *source, uint64_t usec, void *ctx)
{
	(void)source;
	(void)usec;
	run(ctx);
	return 0;
}

/* The daemon owns the listener, unless it does not start. */
static int
start(struct scrape *scrape, sd_event *event, int listener)
{
	const union MHD_DaemonInfo *info;
	int error;

	scrape->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, scrape, MHD_OPTION_LISTEN_SOCKET,
					  listener, MHD_OPTION_CONNECTION_LIMIT, (unsigned)SCRAPERS_MAX,
					  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SCRAPER_IDLE_S, MHD_OPTION_END);
	if (!scrape->daemon) {
		close(listener);
		return -ENOMEM;
	}
	info = MHD_get_daemon_info(scrape->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	error = sd_event_add_io(event, &scrape->io, info->epoll_fd, EPOLLIN, on_io, scrape);
	if (error >= 0)
		error = sd_event_add_time_relative(event, &scrape->timer, CLOCK_MONOTONIC, 0, 0, on_time, scrape);
	return error < 0 ? error : 0;
}

int
control_serve_metrics(struct control *control, const char *where, struct refusal *why)
{
	const bool is_path = strchr(where, '/');
	struct refusal told = { .text = "" };
	struct scrape *scrape;
	int error, listener;

	if (is_path && strlen(where) >= SOCKET_PATH_SIZE)
		return refuse(why, -ENAMETOOLONG, "--metrics %s: too long", where);
	listener = is_path ? listen_unix(where, &told) : listen_loopback(where, &told);
	if (listener < 0)
		return refuse(why, listener, "--metrics: %s", told.text);
	scrape = calloc(1, sizeof(*scrape));
	if (!scrape) {
		close(listener);
		return refuse(why, -ENOMEM, "no memory");
	}
	scrape->model = control->model;
	if (is_path) {
		snprintf(scrape->path, sizeof(scrape->path), "%s", where);
		socket_name_take(where, &scrape->name);
	}
	control->scrape = scrape;
	error = start(scrape, control->event, listener);
	return error ? refuse(why, error, "--metrics %s: %s", where, strerror(-error)) : 0;
}

void
metrics_close(struct control *control)
{
	struct scrape *scrape = control->scrape;

	if (!scrape)
		return;
	sd_event_source_disable_unref(scrape->io);
	sd_event_source_disable_unref(scrape->timer);
	if (scrape->daemon)
		MHD_stop_daemon(scrape->daemon);
	if (scrape->path[0] && socket_has_name(scrape->path, &scrape->name))
		unlink(scrape->path);
	free(scrape);
	control->scrape = NULL;
}
