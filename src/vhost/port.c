/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The workers' half of a VM's port. A worker finds the guest by one load; it may use it until its next quiescent state,
 * and server.c changes nothing of a guest that a worker may still use.
 */
#include "vhost/port.h"

#include <inttypes.h>
#include <rte_mbuf.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { LINES_SECONDS = 1 };

void
port_tell(struct vhost_port *port, const char *format, ...)
{
	int64_t told = atomic_load(&port->told);
	struct timespec now;
	char text[512];
	va_list list;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if ((told && now.tv_sec < told + LINES_SECONDS) ||
	    !atomic_compare_exchange_strong(&port->told, &told, now.tv_sec))
		return;
	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	fprintf(stderr, "vmqd: the guest on %s %s\n", port->socket, text);
}

/* Once for a guest, so what it costs the worker does not matter. */
void __attribute__((noinline, cold)) port_fails(struct vhost_port *port, struct guest *guest, enum ring_fault fault)
{
	enum ring_fault none = RING_FAULT_NONE;
	uint64_t number;

	if (!atomic_compare_exchange_strong(&guest->fault, &none, fault))
		return;
	number = atomic_fetch_add(&port->faults, 1) + 1;
	port_tell(port, "is detached until it reconnects: %s (fault %" PRIu64 ")", ring_fault_text(fault), number);
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
	port_fails(port, guest, fault);
	*rest = DROP_GUEST_FAULT;
	return 0;
}

static uint16_t
vhost_deliver_split(void *handle, const struct split_delivery *delivery, uint64_t *drops, uint16_t *waiting)
{
	struct vhost_port *port = handle;
	struct guest *guest = atomic_load_explicit(&port->live, memory_order_acquire);
	enum ring_fault fault;
	uint16_t taken;

	*waiting = 0;
	if (unlikely(!guest || guest_has_fault(guest))) {
		drops[guest ? DROP_GUEST_FAULT : DROP_VM_DOWN] += delivery->n;
		return 0;
	}
	taken = guest_deliver_split(guest, delivery, drops, waiting);
	fault = guest_fault_now(guest, GUEST_RECEIVES);
	if (likely(!fault))
		return taken;
	port_fails(port, guest, fault);
	drops[DROP_GUEST_FAULT] += taken + *waiting;
	*waiting = 0;
	return 0;
}

/* Nobody there, or nobody who is served: it makes no difference. */
static bool
vhost_takes(void *handle, unsigned kinds)
{
	struct vhost_port *port = handle;
	const struct guest *guest = atomic_load_explicit(&port->live, memory_order_acquire);

	return !guest || guest_takes(guest, kinds);
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
	port_fails(port, guest, fault);
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

	return guest && !guest_has_fault(guest) ? guest_arm(guest, kicks) : KICKS_NONE;
}

const struct vm_ops vhost_vm_ops = {
	.open = server_open,
	.close = server_close,
	.connected = server_connected,
	.status = server_status,
	.takes = vhost_takes,
	.deliver = vhost_deliver,
	.deliver_split = vhost_deliver_split,
	.collect = vhost_collect,
	.notify = vhost_notify,
	.arm = vhost_arm,
};
