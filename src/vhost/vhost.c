/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMs' sockets. librte_vhost owns them, its threads and the negotiation; frames move on rings of our own (guest.h).
 *
 * A port is a socket; each connection to it is a guest. One guest owns the port: the first that became complete.
 * Another one that connects meanwhile waits for it to leave and disturbs nothing. The owner is shown to workers by
 * one store to `live`.
 *
 * librte_vhost changes memory and rings when messages arrive, on its own thread. So each message takes the guest
 * away from workers first, waits until no worker uses it any more, and shows it again when it was handled. The wait
 * may hold librte_vhost's ring locks: workers take none of them. A message that fails is not followed by anything,
 * and the guest stays hidden until one succeeds.
 *
 * Control is only told that something changed, so neither waits for the other.
 */
#include "vhost/vhost.h"

#include "model/model.h"
#include "util/unprivileged.h"
#include "vhost/bus_error.h"
#include "vhost/guest.h"
#include "vhost/socket.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <rte_mbuf.h>
#include <rte_vhost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	CONNECTIONS_MAX = 32,    /* of one socket, most of them just gone: librte_vhost has 1024 for all */
	MESSAGE_PATIENCE_MS = 200, /* for the rest of a message that has begun */
	FAULT_LINES_SECONDS = 1, /* a socket's faults are told no more often */
};

struct vhost_port {
	struct guest *_Atomic live;       /* vhost threads write, workers read */
	const struct vhost_context *context;
	struct guest *owner;              /* this and what follows: under the registry's lock */
	TAILQ_HEAD(, guest) guests;       /* by age */
	unsigned connections;
	bool closing;
	_Atomic uint64_t faults;          /* workers write */
	_Atomic int64_t fault_told;       /* when, in seconds; workers write */
	char socket[SOCKET_PATH_SIZE];
	LIST_ENTRY(vhost_port) of_registry;
};

/* librte_vhost's callbacks carry no context of the caller's, only the device: its socket path finds the port. */
static struct {
	pthread_mutex_t lock;
	LIST_HEAD(, vhost_port) ports;
	struct guest *guests[RTE_MAX_VHOST_DEVICE]; /* by device */
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER };

_Static_assert(RTE_MAX_VHOST_DEVICE <= BUS_ERROR_GUESTS_MAX, "every device's memory can be watched");

/* Frames pass through the host complete: no checksum or segmentation is left to anyone. */
static const uint64_t features_off =
	1ULL << VIRTIO_NET_F_CSUM | 1ULL << VIRTIO_NET_F_GUEST_CSUM | 1ULL << VIRTIO_NET_F_HOST_TSO4 |
	1ULL << VIRTIO_NET_F_HOST_TSO6 | 1ULL << VIRTIO_NET_F_HOST_ECN | 1ULL << VIRTIO_NET_F_HOST_UFO |
	1ULL << VIRTIO_NET_F_GUEST_TSO4 | 1ULL << VIRTIO_NET_F_GUEST_TSO6 | 1ULL << VIRTIO_NET_F_GUEST_ECN |
	1ULL << VIRTIO_NET_F_GUEST_UFO | 1ULL << VIRTIO_NET_F_GSO | 1ULL << VIRTIO_NET_F_MQ |
	1ULL << 34 /* VIRTIO_F_RING_PACKED */;

static struct guest *
guest_of_device(int device)
{
	struct guest *guest;

	pthread_mutex_lock(&registry.lock);
	guest = registry.guests[device];
	pthread_mutex_unlock(&registry.lock);
	return guest;
}

/* Under the lock. */
static struct vhost_port *
port_of_device(int device)
{
	struct vhost_port *port;
	char socket[SOCKET_PATH_SIZE];

	if (rte_vhost_get_ifname(device, socket, sizeof(socket)))
		return NULL;
	LIST_FOREACH(port, &registry.ports, of_registry)
		if (!strcmp(port->socket, socket))
			return port;
	return NULL;
}

/* Under the lock. Who serves it may sleep and knows neither its rings nor its kicks. @return whether it is shown. */
static bool
show(struct guest *guest)
{
	if (guest->port->owner != guest || !guest->running || guest->in_message || !guest->memory_known)
		return false;
	guest_open(guest);
	atomic_store_explicit(&guest->port->live, guest, memory_order_release);
	guest->port->context->grace.wake(guest->port->context->grace.ctx);
	return true;
}

/* Afterwards no worker uses the guest. The wait must not hold the lock. */
static void
hide(struct guest *guest)
{
	struct vhost_port *port = guest->port;
	bool shown;

	pthread_mutex_lock(&registry.lock);
	shown = atomic_load_explicit(&port->live, memory_order_relaxed) == guest;
	if (shown)
		atomic_store_explicit(&port->live, NULL, memory_order_relaxed);
	pthread_mutex_unlock(&registry.lock);
	if (!shown)
		return;
	port->context->grace.wait(port->context->grace.ctx);
	guest_close(guest);
}

/* Under the lock: the port goes to the oldest connection that is complete. */
static void
elect(struct vhost_port *port)
{
	struct guest *guest;

	if (port->owner || port->closing)
		return;
	TAILQ_FOREACH(guest, &port->guests, of_port) {
		if (!guest->running)
			continue;
		port->owner = guest;
		show(guest);
		return;
	}
}

static enum rte_vhost_msg_result
message_begins(int device, void *message)
{
	struct guest *guest = guest_of_device(device);

	unprivileged_thread();
	hide(guest);
	guest_message_begins(guest, message);
	if (guest_message_is_sound(message))
		return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	guest_message_refuse(message);
	return RTE_VHOST_MSG_RESULT_ERR;
}

static enum rte_vhost_msg_result
message_ends(int device, void *message)
{
	struct guest *guest = guest_of_device(device);
	bool shown;

	pthread_mutex_lock(&registry.lock);
	guest_message_ends(guest, message);
	shown = show(guest);
	pthread_mutex_unlock(&registry.lock);
	if (shown)
		guest->port->context->changed(guest->port->context->changed_ctx);
	return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

static const struct rte_vhost_user_extern_ops message_ops = {
	.pre_msg_handle = message_begins,
	.post_msg_handle = message_ends,
};

static int
connection_came(int device)
{
	struct guest *guest = NULL;
	struct vhost_port *port;

	unprivileged_thread();
	pthread_mutex_lock(&registry.lock);
	port = port_of_device(device);
	if (port && !port->closing && port->connections < CONNECTIONS_MAX)
		guest = guest_create(device, port);
	if (guest) {
		registry.guests[device] = guest;
		TAILQ_INSERT_TAIL(&port->guests, guest, of_port);
		port->connections++;
	}
	pthread_mutex_unlock(&registry.lock);
	if (!guest)
		return -1;
	socket_set_patience(port->socket, MESSAGE_PATIENCE_MS);
	return rte_vhost_extern_callback_register(device, &message_ops, NULL);
}

/* Under the lock; the guest is hidden and not running. */
static void
connection_end(struct guest *guest)
{
	TAILQ_REMOVE(&guest->port->guests, guest, of_port);
	guest->port->connections--;
	registry.guests[guest->device] = NULL;
	guest_destroy(guest);
}

static void
connection_went(int device)
{
	pthread_mutex_lock(&registry.lock);
	if (registry.guests[device])
		connection_end(registry.guests[device]);
	pthread_mutex_unlock(&registry.lock);
}

static int
device_came(int device)
{
	struct guest *guest = guest_of_device(device);

	pthread_mutex_lock(&registry.lock);
	guest->running = true;
	elect(guest->port);
	pthread_mutex_unlock(&registry.lock);
	guest->port->context->changed(guest->port->context->changed_ctx);
	return 0;
}

static void
device_went(int device)
{
	struct guest *guest = guest_of_device(device);
	struct vhost_port *port = guest->port;

	hide(guest);
	pthread_mutex_lock(&registry.lock);
	guest->running = false;
	if (port->owner == guest)
		port->owner = NULL;
	elect(port);
	pthread_mutex_unlock(&registry.lock);
	port->context->changed(port->context->changed_ctx);
}

static int
ring_changed(int device, uint16_t ring, int enabled)
{
	struct guest *guest = guest_of_device(device);

	if (ring >= GUEST_RINGS)
		return 0;
	hide(guest);
	pthread_mutex_lock(&registry.lock);
	guest->enabled[ring] = enabled;
	show(guest);
	pthread_mutex_unlock(&registry.lock);
	return 0;
}

static const struct rte_vhost_device_ops device_ops = {
	.new_device = device_came,
	.destroy_device = device_went,
	.vring_state_changed = ring_changed,
	.new_connection = connection_came,
	.destroy_connection = connection_went,
};

static struct vhost_port *
port_create(const struct vhost_context *context, const struct vm *vm)
{
	struct vhost_port *port = calloc(1, sizeof(*port));

	if (!port)
		return NULL;
	port->context = context;
	TAILQ_INIT(&port->guests);
	memcpy(port->socket, vm->socket, sizeof(port->socket));
	pthread_mutex_lock(&registry.lock);
	LIST_INSERT_HEAD(&registry.ports, port, of_registry);
	pthread_mutex_unlock(&registry.lock);
	return port;
}

/* librte_vhost is done with the port; connections that never became complete end without its telling so. */
static void
port_destroy(struct vhost_port *port)
{
	pthread_mutex_lock(&registry.lock);
	while (!TAILQ_EMPTY(&port->guests))
		connection_end(TAILQ_FIRST(&port->guests));
	LIST_REMOVE(port, of_registry);
	pthread_mutex_unlock(&registry.lock);
	free(port);
}

static int
port_serve(struct vhost_port *port, uint64_t flags)
{
	if (bus_error_open() || rte_vhost_driver_register(port->socket, flags))
		return -EIO;
	if (!rte_vhost_driver_disable_features(port->socket, features_off) &&
	    !rte_vhost_driver_callback_register(port->socket, &device_ops) && !rte_vhost_driver_start(port->socket))
		return 0;
	rte_vhost_driver_unregister(port->socket);
	return -EIO;
}

static int
vhost_open(void *ctx, const struct vm *vm, void **handle, struct refusal *why)
{
	uint64_t flags = vm->mode == VM_MODE_CLIENT ? RTE_VHOST_USER_CLIENT : 0;
	struct vhost_port *port;
	int error = 0;

	if (vm->mode == VM_MODE_SERVER)
		error = socket_make_way(vm->socket, why);
	if (error)
		return error;
	port = port_create(ctx, vm);
	if (!port)
		return refuse(why, -ENOMEM, "no memory for VM %s", vm->name);
	error = port_serve(port, flags);
	if (error) {
		port_destroy(port);
		return refuse(why, error, "socket %s of VM %s cannot be served", vm->socket, vm->name);
	}
	*handle = port;
	return 0;
}

static void
vhost_close(void *handle)
{
	struct vhost_port *port = handle;

	pthread_mutex_lock(&registry.lock);
	port->closing = true;
	pthread_mutex_unlock(&registry.lock);
	rte_vhost_driver_unregister(port->socket);
	port_destroy(port);
}

static bool
vhost_connected(void *handle)
{
	struct vhost_port *port = handle;
	bool connected;

	pthread_mutex_lock(&registry.lock);
	connected = port->owner && !guest_has_fault(port->owner);
	pthread_mutex_unlock(&registry.lock);
	return connected;
}

static void
tell_fault(struct vhost_port *port, enum ring_fault fault)
{
	uint64_t number = atomic_fetch_add(&port->faults, 1) + 1;
	int64_t told = atomic_load(&port->fault_told);
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (told && now.tv_sec < told + FAULT_LINES_SECONDS)
		return;
	atomic_store(&port->fault_told, now.tv_sec);
	fprintf(stderr, "vmqd: the guest on %s is detached until it reconnects: %s (fault %" PRIu64 ")\n", port->socket,
		ring_fault_text(fault), number);
}

/* Once for a guest, so what it costs the worker does not matter. */
static void __attribute__((noinline, cold))
guest_fails(struct vhost_port *port, struct guest *guest, enum ring_fault fault)
{
	enum ring_fault none = RING_FAULT_NONE;

	if (!atomic_compare_exchange_strong(&guest->fault, &none, fault))
		return;
	tell_fault(port, fault);
	port->context->changed(port->context->changed_ctx);
}

static uint16_t
vhost_deliver(void *handle, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest)
{
	struct vhost_port *port = handle;
	struct guest *guest = atomic_load_explicit(&port->live, memory_order_acquire);
	enum ring_fault fault;
	uint16_t taken;

	*rest = DROP_VM_DOWN;
	if (unlikely(!guest))
		return 0;
	*rest = DROP_GUEST_FAULT;
	if (unlikely(guest_has_fault(guest)))
		return 0;
	taken = guest_deliver(guest, frames, n, rest);
	fault = guest_fault_now(guest, GUEST_RECEIVES);
	if (likely(!fault))
		return taken;
	guest_fails(port, guest, fault);
	*rest = DROP_GUEST_FAULT;
	return 0;
}

static uint16_t
vhost_deliver_split(void *handle, const struct split_delivery *delivery, uint64_t *drops)
{
	struct vhost_port *port = handle;
	struct guest *guest = atomic_load_explicit(&port->live, memory_order_acquire);
	enum ring_fault fault;
	uint16_t taken;

	if (unlikely(!guest || guest_has_fault(guest))) {
		drops[guest ? DROP_GUEST_FAULT : DROP_VM_DOWN] += delivery->n;
		return 0;
	}
	taken = guest_deliver_split(guest, delivery, drops);
	fault = guest_fault_now(guest, GUEST_RECEIVES);
	if (likely(!fault))
		return taken;
	guest_fails(port, guest, fault);
	drops[DROP_GUEST_FAULT] += taken;
	return 0;
}

static uint16_t
vhost_collect(void *handle, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n)
{
	struct vhost_port *port = handle;
	struct guest *guest = atomic_load_explicit(&port->live, memory_order_acquire);
	enum ring_fault fault;
	uint16_t taken;

	if (unlikely(!guest || guest_has_fault(guest)))
		return 0;
	taken = guest_collect(guest, pool, frames, n);
	fault = guest_fault_now(guest, GUEST_TRANSMITS);
	if (likely(!fault))
		return taken;
	guest_fails(port, guest, fault);
	rte_pktmbuf_free_bulk(frames, taken);
	return 0;
}

/* One barrier for all of them: by now most of what it waits for has arrived. */
static void
vhost_notify(void *const *handles, uint16_t n)
{
	rte_smp_mb();
	for (uint16_t i = 0; i < n; i++) {
		struct vhost_port *port = handles[i];
		struct guest *guest = atomic_load_explicit(&port->live, memory_order_acquire);

		if (likely(guest && !guest_has_fault(guest)))
			guest_notify(guest);
	}
}

static int
vhost_arm(void *handle, bool kicks)
{
	struct vhost_port *port = handle;
	struct guest *guest = atomic_load_explicit(&port->live, memory_order_acquire);

	return guest && !guest_has_fault(guest) ? guest_arm(guest, kicks) : -1;
}

const struct vm_ops vhost_vm_ops = {
	.open = vhost_open,
	.close = vhost_close,
	.connected = vhost_connected,
	.deliver = vhost_deliver,
	.deliver_split = vhost_deliver_split,
	.collect = vhost_collect,
	.notify = vhost_notify,
	.arm = vhost_arm,
};
