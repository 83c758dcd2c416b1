/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMs' sockets, on the control thread's event loop. A port is a socket; each connection to it is a guest. One guest
 * owns the port: the first that became complete. Others wait for it to leave and disturb nothing. The owner is shown
 * to workers by one store to `live`.
 *
 * A message that changes what workers use first takes the guest away from them, waits for a grace period, is handled,
 * and shows the guest again. Nothing here waits for a peer: one that stops in a message, says nothing or does not read
 * loses its connection, and where there are too many the idlest makes way, never the owner.
 */
#include "util/clock.h"
#include "util/mac.h"
#include "vhost/bus_error.h"
#include "vhost/call.h"
#include "vhost/ctrl.h"
#include "vhost/message.h"
#include "vhost/port.h"
#include "vhost/socket.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CONNECTIONS_MAX = 32,      /* of one socket */
	MESSAGES_PER_TURN = 16,    /* of one connection, before the loop looks at others */
	SILENCE_MS = 30000,        /* until the first message */
	PATIENCE_MS = 200,         /* for the rest of a message that has begun */
	REST_MS_MIN = 10,          /* after a connection that came to nothing; it doubles until one does not */
	REST_MS_MAX = 100,         /* so many connections a turn, and nobody waits long behind others */
	REST_MS_MAX_CLIENT = 1000,
	NOTE_AGAIN_MS = 60000,
	LOOK_MS = 1000,            /* between looks whether a socket still has its name */
	LOOK_MS_IN_VAIN = 5000,    /* where it cannot be made again */
	CTRL_AGAIN_MS = 1,         /* after it asked for something */
	CTRL_POLL_MS = 10,         /* of a guest that does not kick */
	FILES_A_VM = 7,            /* its socket, a connection, two kicks, two calls, a channel */
	FILES_OF_VMQD = 256,       /* ports, clients, its own files, connections that come to nothing */
};

/* How many there are: a VM that is accepted can be connected, whatever the others do. */
static unsigned ports;

struct connection {
	struct vhost_port *port;
	struct guest *guest;
	struct loop_source *io;
	struct loop_source *timer; /* silence, or patience */
	struct loop_source *kicks; /* of the control queue, while the guest is shown */
	struct loop_source *again; /* another look at the control queue is due */
	bool deaf;                 /* the control queue does not kick, or kicks for ever: it is looked at now and then */
	uint64_t heard;            /* when, in ms; 0: never */
	bool was_complete;
	int handle;
	struct message message;    /* that is coming in */
	TAILQ_ENTRY(connection) of_port;
};

static void port_rest(struct vhost_port *port);

/* The same reason again within NOTE_AGAIN_MS is not logged twice. */
static void
port_note(struct vhost_port *port, const char *verb, const char *reason)
{
	bool again = !strcmp(port->why, reason) && clock_ms() < port->noted + NOTE_AGAIN_MS;

	snprintf(port->why, sizeof(port->why), "%s", reason);
	if (again)
		return;
	port->noted = clock_ms();
	port_tell(port, "%s: %s", verb, reason);
}

static void
port_refuse(struct vhost_port *port, const char *reason)
{
	port_note(port, "is refused", reason);
}

/* Control queues */

static bool
owns_mac(void *ctx, uint64_t mac)
{
	const struct vhost_port *port = ctx;
	const struct filter *filter;

	if (port->vm->queue)
		TAILQ_FOREACH(filter, &port->vm->queue->filters, of_queue)
			if (filter->mac == mac)
				return true;
	return false;
}

/* An access VM has no tags; what it is on is no affair of its own. */
static bool
owns_vlan(void *ctx, uint16_t vlan)
{
	const struct vhost_port *port = ctx;
	const struct filter *filter;

	if (port->vm->trunk && port->vm->queue)
		TAILQ_FOREACH(filter, &port->vm->queue->filters, of_queue)
			if (filter->vlan == vlan || filter->vlan == VLAN_ANY)
				return true;
	return false;
}

static void
wish_refused(void *ctx, const char *what)
{
	port_note(ctx, "asks for too much", what);
}

static void on_control_kick(void *argument);

static void
listen_to_kicks(struct connection *connection)
{
	const struct loop *loop = &connection->port->context->loop;

	connection->kicks = loop->watch(loop->ctx, connection->guest->setups[GUEST_CONTROL].kick, on_control_kick,
					connection);
	if (!connection->kicks)
		loop->arm(connection->again, CTRL_POLL_MS);
}

/* However often a guest kicks, it is looked at once in a while: until it has nothing to ask it is not listened to. */
static void
serve_control(struct connection *connection)
{
	struct vhost_port *port = connection->port;
	struct guest *guest = connection->guest;
	const struct ctrl_rules rules = { owns_mac, owns_vlan, &guest->rings[GUEST_RECEIVES], wish_refused, port };
	unsigned answered = ctrl_serve(&guest->rings[GUEST_CONTROL], &rules);
	enum ring_fault fault = guest_fault_now(guest, GUEST_CONTROL);

	if (fault)
		port_fails(port, guest, fault);
	else if (answered)
		port->context->loop.arm(connection->again, CTRL_AGAIN_MS);
	else if (connection->deaf)
		port->context->loop.arm(connection->again, CTRL_POLL_MS);
	else
		listen_to_kicks(connection);
}

static void
on_control_again(void *argument)
{
	serve_control(argument);
}

/* A descriptor that stays readable would keep the loop awake for good. */
static void
on_control_kick(void *argument)
{
	struct connection *connection = argument;

	connection->port->context->loop.cancel(connection->kicks);
	connection->kicks = NULL;
	connection->deaf = !call_forget(connection->guest->setups[GUEST_CONTROL].kick);
	serve_control(connection);
}

/* It may have asked before anyone listened. */
static void
control_open(struct connection *connection)
{
	if (!connection->guest->rings[GUEST_CONTROL].open)
		return;
	connection->deaf = connection->guest->setups[GUEST_CONTROL].kick < 0;
	connection->port->context->loop.arm(connection->again, CTRL_AGAIN_MS);
}

static void
control_close(struct connection *connection)
{
	const struct loop *loop = &connection->port->context->loop;

	loop->cancel(connection->kicks);
	connection->kicks = NULL;
	loop->arm(connection->again, 0);
}

/* Which guest workers use */

/* Who serves it may sleep and knows neither its rings nor its kicks. */
static void
show(struct connection *connection)
{
	struct vhost_port *port = connection->port;

	if (port->owner != connection || atomic_load_explicit(&port->live, memory_order_relaxed))
		return;
	guest_open(connection->guest);
	control_open(connection);
	atomic_store_explicit(&port->live, connection->guest, memory_order_release);
	port->context->grace.wake(port->context->grace.ctx);
}

/* Afterwards no worker uses the guest. */
static void
hide(struct connection *connection)
{
	struct vhost_port *port = connection->port;

	if (atomic_load_explicit(&port->live, memory_order_relaxed) != connection->guest)
		return;
	atomic_store_explicit(&port->live, NULL, memory_order_relaxed);
	port->context->grace.wait(port->context->grace.ctx);
	control_close(connection);
	guest_close(connection->guest);
}

/* The port goes to the oldest connection that is complete. */
static void
elect(struct vhost_port *port)
{
	struct connection *connection;

	TAILQ_FOREACH(connection, &port->connections, of_port)
		if (connection->guest->complete)
			break;
	port->owner = connection;
	if (!connection)
		return;
	port->why[0] = '\0';
	port->rest_ms = 0;
	show(connection);
}

static void
give_up_port(struct connection *connection)
{
	struct vhost_port *port = connection->port;

	if (port->owner != connection)
		return;
	hide(connection);
	elect(port);
	port->context->changed(port->context->changed_ctx);
}

/* After a message: it may have made the guest complete, or ended that. */
static void
connection_settle(struct connection *connection)
{
	struct vhost_port *port = connection->port;
	struct guest *guest = connection->guest;

	guest->complete |= guest_is_ready(guest);
	connection->was_complete |= guest->complete;
	if (!guest->complete) {
		give_up_port(connection);
	} else if (!port->owner) {
		elect(port);
		port->context->changed(port->context->changed_ctx);
	} else {
		show(connection);
	}
}

/* Connections */

static void
connection_free(struct connection *connection)
{
	const struct loop *loop = &connection->port->context->loop;

	loop->cancel(connection->io);
	loop->cancel(connection->timer);
	loop->cancel(connection->kicks);
	loop->cancel(connection->again);
	message_drop_files(&connection->message);
	if (connection->guest)
		guest_destroy(connection->guest);
	close(connection->handle);
	free(connection);
}

static void
connection_end(struct connection *connection)
{
	struct vhost_port *port = connection->port;

	connection->guest->complete = false;
	give_up_port(connection);
	TAILQ_REMOVE(&port->connections, connection, of_port);
	port->connection_count--;
	connection_free(connection);
}

static void
connection_refuse(struct connection *connection, const char *reason)
{
	struct vhost_port *port = connection->port;

	port_refuse(port, reason);
	connection_end(connection);
	port_rest(port);
}

static void
connection_left(struct connection *connection)
{
	struct vhost_port *port = connection->port;
	bool came_to_nothing = !connection->was_complete;

	/* Who connects, says nothing and leaves has only looked whether somebody serves here. */
	if (came_to_nothing && (connection->heard || port->mode == VM_MODE_CLIENT))
		port_note(port, "never came",
			  connection->heard ? "it left before its rings were set up; one queue pair is served" :
					      "it left before it said anything");
	connection_end(connection);
	if (came_to_nothing || port->mode == VM_MODE_CLIENT)
		port_rest(port);
}

/* @return whether the connection is still there. */
static bool
connection_reply(struct connection *connection)
{
	int error = socket_send(connection->handle, &connection->message);

	if (!error)
		return true;
	if (error == -EAGAIN)
		connection_refuse(connection, "it does not read what it asked for");
	else
		connection_left(connection);
	return false;
}

/* As the model has it now; a driver reads it when it starts. */
static struct virtio_net_config
config_of(const struct vm *vm)
{
	const struct filter *first = vm->queue ? TAILQ_FIRST(&vm->queue->filters) : NULL;
	const uint32_t speed = vm->adapter->link.speed_mbps;
	struct virtio_net_config config = {
		.status = VIRTIO_NET_S_LINK_UP,
		.mtu = vm->adapter->config.mtu,
		.speed = speed ? speed : (uint32_t)SPEED_UNKNOWN,
		.duplex = DUPLEX_FULL,
	};

	if (first)
		mac_store(first->mac, config.mac);
	return config;
}

/* @return whether the connection is still there. */
static bool
connection_handle(struct connection *connection)
{
	struct message *message = &connection->message;
	struct refusal why = { .text = "" };
	int handled;

	if (message_changes_rings(message))
		hide(connection);
	connection->guest->config = config_of(connection->port->vm);
	handled = message_handle(connection->guest, message, &why);
	if (handled < 0) {
		connection_refuse(connection, why.text);
		return false;
	}
	connection_settle(connection);
	if (handled && !connection_reply(connection))
		return false;
	message_clear(message);
	return true;
}

/* @return 0 and it was handled; -EAGAIN; others: the connection is gone. */
static int
connection_next_message(struct connection *connection)
{
	struct refusal why = { .text = "" };
	int error = socket_receive(connection->handle, &connection->message, &why);

	if (!error) {
		connection->heard = clock_ms();
		return connection_handle(connection) ? 0 : -ECONNRESET;
	}
	if (error == -EAGAIN)
		return error;
	if (why.text[0])
		connection_refuse(connection, why.text);
	else
		connection_left(connection);
	return error;
}

static void
on_connection(void *argument)
{
	struct connection *connection = argument;
	const struct loop *loop = &connection->port->context->loop;
	bool is_waiting = connection->message.received;
	int error = connection_next_message(connection);

	for (int i = 1; i < MESSAGES_PER_TURN && !error; i++) {
		is_waiting = false;
		error = connection_next_message(connection);
	}
	if (error && error != -EAGAIN)
		return;
	if (!connection->message.received && connection->heard)
		loop->arm(connection->timer, 0);
	else if (connection->message.received && !is_waiting)
		loop->arm(connection->timer, PATIENCE_MS);
}

static void
on_patience_ends(void *argument)
{
	struct connection *connection = argument;

	connection_refuse(connection, connection->message.received ? "it stopped in the middle of a message" :
								     "it connected and says nothing");
}

/* Those that never said anything first. */
static struct connection *
idlest(const struct vhost_port *port)
{
	struct connection *connection, *found = NULL;

	TAILQ_FOREACH(connection, &port->connections, of_port)
		if (connection != port->owner && (!found || connection->heard < found->heard))
			found = connection;
	return found;
}

static int
connection_start(struct connection *connection)
{
	const struct loop *loop = &connection->port->context->loop;

	connection->guest = guest_create(connection->port->vm->offloads);
	connection->io = loop->watch(loop->ctx, connection->handle, on_connection, connection);
	connection->timer = loop->timer(loop->ctx, on_patience_ends, connection);
	connection->again = loop->timer(loop->ctx, on_control_again, connection);
	if (!connection->guest || !connection->io || !connection->timer || !connection->again)
		return -ENOMEM;
	loop->arm(connection->timer, SILENCE_MS);
	return 0;
}

/* Takes the descriptor. */
static void
connection_create(struct vhost_port *port, int handle)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection) {
		close(handle);
		return;
	}
	connection->port = port;
	connection->handle = handle;
	if (connection_start(connection)) {
		connection_free(connection);
		port_refuse(port, "no memory for another connection");
		port_rest(port);
		return;
	}
	if (port->connection_count == CONNECTIONS_MAX) {
		port_refuse(port, "more connections came, and it was the idlest");
		connection_end(idlest(port));
	}
	TAILQ_INSERT_TAIL(&port->connections, connection, of_port);
	port->connection_count++;
}

/* Ports */

static void
on_listener(void *argument)
{
	struct vhost_port *port = argument;

	for (int i = 0; i < CONNECTIONS_MAX && port->accepts; i++) {
		int handle = accept4(port->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (handle >= 0) {
			connection_create(port, handle);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			port_refuse(port, strerror(errno));
			port_rest(port);
		} else if (errno != ECONNABORTED && errno != EINTR) {
			return;
		}
	}
}

static void
port_connect(struct vhost_port *port)
{
	int handle = socket_connect(port->socket);

	if (handle >= 0) {
		connection_create(port, handle);
		return;
	}
	port_note(port, "cannot be reached yet", strerror(-handle));
	port_rest(port);
}

static void
port_go_on(void *argument)
{
	struct vhost_port *port = argument;
	const struct loop *loop = &port->context->loop;

	port->rests = false;
	if (port->mode == VM_MODE_CLIENT) {
		port_connect(port);
		return;
	}
	if (port->listener < 0)
		return;
	port->accepts = loop->watch(loop->ctx, port->listener, on_listener, port);
	if (!port->accepts)
		port_rest(port);
}

/* A peer that connects, or accepts, and then fails may go on doing so: back off before the next connection. */
static void
port_rest(struct vhost_port *port)
{
	const struct loop *loop = &port->context->loop;

	const unsigned longest = port->mode == VM_MODE_CLIENT ? REST_MS_MAX_CLIENT : REST_MS_MAX;

	if (port->rests)
		return;
	port->rests = true;
	port->rest_ms = port->rest_ms ? 2 * port->rest_ms : REST_MS_MIN;
	if (port->rest_ms > longest)
		port->rest_ms = longest;
	loop->cancel(port->accepts);
	port->accepts = NULL;
	loop->arm(port->timer, port->rest_ms);
}

static void
port_unlisten(struct vhost_port *port)
{
	port->context->loop.cancel(port->accepts);
	port->accepts = NULL;
	if (port->listener < 0)
		return;
	if (socket_has_name(port->socket, &port->name))
		unlink(port->socket);
	close(port->listener);
	port->listener = -1;
}

static void
port_free(struct vhost_port *port)
{
	const struct loop *loop = &port->context->loop;

	port_unlisten(port);
	loop->cancel(port->timer);
	loop->cancel(port->look);
	free(port);
}

/*
 * A socket that was removed, or whose folder was, is made again: a guest that starts then would wait for it for ever. One
 * of somebody else's in its place is left alone. Guests that are connected are not touched.
 */
static void
port_look(void *argument)
{
	struct vhost_port *port = argument;
	struct refusal why = { .text = "" };

	port->context->loop.arm(port->look, LOOK_MS);
	if (port->listener >= 0 && socket_has_name(port->socket, &port->name))
		return;
	port_unlisten(port);
	port->listener = socket_listen(port->socket, &port->access, &port->name, &why);
	if (port->listener < 0) {
		port->listener = -1;
		port->context->loop.arm(port->look, LOOK_MS_IN_VAIN);
		port_note(port, "finds no socket, since it was removed or replaced", why.text);
		return;
	}
	port_tell(port, "can come again: its socket was removed, and is made again");
	port->why[0] = '\0';
	if (!port->rests)
		port_go_on(port);
}

static int
check_room(struct refusal *why)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= FILES_OF_VMQD + (ports + 1ull) * FILES_A_VM)
		return 0;
	return refuse(why, -EMFILE,
		      "vmqd may open %llu files, enough for %u VMs: raise LimitNOFILE of its unit, or "
		      "ulimit -n",
		      (unsigned long long)limit.rlim_cur, ports);
}

static int
port_start(struct vhost_port *port, struct refusal *why)
{
	const struct loop *loop = &port->context->loop;

	if (bus_error_open())
		return refuse(why, -EIO, "bus errors cannot be handled");
	if (port->mode == VM_MODE_SERVER) {
		int handle = socket_listen(port->socket, &port->access, &port->name, why);

		if (handle < 0)
			return handle;
		port->listener = handle;
		port->look = loop->timer(loop->ctx, port_look, port);
		if (!port->look)
			return refuse(why, -ENOMEM, "no memory for socket %s", port->socket);
		loop->arm(port->look, LOOK_MS);
	}
	port->timer = loop->timer(loop->ctx, port_go_on, port);
	if (!port->timer)
		return refuse(why, -ENOMEM, "no memory for socket %s", port->socket);
	port_go_on(port);
	return 0;
}

/* A VM's own words, or else what vmqd was started with. */
static struct socket_access
access_of(const struct vm *vm, const struct socket_access *otherwise)
{
	const bool said = vm->access.user[0] || vm->access.group[0] || vm->access.mode_bits;

	return said ? vm->access : *otherwise;
}

int
server_open(void *ctx, const struct vm *vm, void **handle, struct refusal *why)
{
	struct vhost_port *port = calloc(1, sizeof(*port));
	int error;

	if (!port)
		return refuse(why, -ENOMEM, "no memory for VM %s", vm->name);
	port->context = ctx;
	port->vm = vm;
	port->mode = vm->mode;
	port->access = access_of(vm, &port->context->access);
	port->listener = -1;
	TAILQ_INIT(&port->connections);
	memcpy(port->socket, vm->socket, sizeof(port->socket));
	error = check_room(why);
	if (!error)
		error = port_start(port, why);
	if (error) {
		port_free(port);
		return error;
	}
	ports++;
	*handle = port;
	return 0;
}

/* No worker knows the port any more. */
void
server_close(void *handle)
{
	struct vhost_port *port = handle;
	struct connection *connection;

	atomic_store_explicit(&port->live, NULL, memory_order_relaxed);
	while ((connection = TAILQ_FIRST(&port->connections))) {
		TAILQ_REMOVE(&port->connections, connection, of_port);
		connection_free(connection);
	}
	ports--;
	port_free(port);
}

bool
server_connected(void *handle)
{
	struct vhost_port *port = handle;

	return port->owner && !guest_has_fault(port->owner->guest);
}

void
server_status(void *handle, struct vm_status *status)
{
	struct vhost_port *port = handle;
	struct guest *guest = port->owner ? port->owner->guest : NULL;
	enum ring_fault fault = guest ? atomic_load(&guest->fault) : RING_FAULT_NONE;

	status->connected = server_connected(port);
	status->why = fault ? ring_fault_text(fault) : port->why;
	message_feature_names(message_features_offered(port->vm->offloads), status->offered);
	message_feature_names(guest ? guest->features : 0, status->taken);
}
