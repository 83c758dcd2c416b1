/* SPDX-License-Identifier: BSD-3-Clause */
/* A VM's port: what server.c (control thread) and port.c (workers) share. */
#ifndef VMQ_VHOST_PORT_H
#define VMQ_VHOST_PORT_H

#include "model/model.h"
#include "vhost/guest.h"
#include "vhost/socket.h"
#include "vhost/vhost.h"

#include <stdatomic.h>
#include <sys/queue.h>

struct connection;

struct vhost_port {
	struct guest *_Atomic live;         /* control writes, workers read: the guest that frames go to; NULL: none */
	const struct vhost_context *context;
	const struct vm *vm;
	_Atomic uint64_t faults;            /* workers write */
	_Atomic int64_t told;               /* when the last line about it was logged, in seconds */
	/* What follows is the control thread's. */
	struct connection *owner;           /* whose guest is shown to workers; NULL: none is complete */
	TAILQ_HEAD(connections, connection) connections; /* by age */
	unsigned connection_count;
	enum vm_mode mode;
	struct socket_access access;        /* mode server */
	int listener;                       /* mode server; -1: none */
	struct socket_name name;            /* of the listener */
	struct loop_source *look;           /* the next look whether the socket is still there is due; mode server */
	struct loop_source *accepts;        /* NULL: it rests, or mode client */
	struct loop_source *timer;          /* the end of a rest */
	bool rests;                         /* it accepts and connects nothing for a moment */
	unsigned rest_ms;                   /* the last one; it doubles until a guest becomes complete */
	uint64_t noted;                     /* when `why` was logged last, in ms */
	char socket[SOCKET_PATH_SIZE];
	char why[sizeof(((struct refusal *)0)->text)]; /* the last refusal; empty: none since a guest was complete */
};

/** port.c: log a line about the port, no more than one a second. Any thread. */
void port_tell(struct vhost_port *port, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** port.c: the guest broke its rings and is served no more. Any thread. */
void port_fails(struct vhost_port *port, struct guest *guest, enum ring_fault fault);

/* server.c: for vm_ops */
int server_open(void *ctx, const struct vm *vm, void **handle, struct refusal *why);
void server_close(void *handle);
bool server_connected(void *handle);
void server_status(void *handle, struct vm_status *status);

#endif
