/*
 * A worker with nothing to do waits for whoever could bring it something: its ports, its VMs' kicks, another
 * worker or control (its eventfd). It first says that it sleeps and asks for kicks, then looks once more, so that
 * nothing that came in between is slept over. A port that cannot wake anyone is looked at every 100 us instead.
 */
#include "worker/worker.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
	SLEEP_FDS_MAX = 1 + QUEUE_ID_LIMIT + 64,
	SLEEP_LONGEST_MS = 100,
	SLEEP_BLIND_NS = 100000,
};

struct watch {
	struct pollfd fds[SLEEP_FDS_MAX];
	nfds_t count;
	bool blind; /* there is a port that cannot wake us */
};

static void
watch_fd(struct watch *watch, int fd)
{
	if (fd >= 0 && watch->count < SLEEP_FDS_MAX)
		watch->fds[watch->count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

static void
watch_port(struct watch *watch, const struct nic_ops *nic_ops, void *nic)
{
	int fds[8];
	int count = nic_ops->wake_fds(nic, fds, 8);

	if (count < 0)
		watch->blind = true;
	for (int i = 0; i < count; i++)
		watch_fd(watch, fds[i]);
}

static bool
is_receiver(const struct worker *worker, const struct path_adapter *adapter)
{
	for (uint16_t i = 0; i < adapter->receiver_count; i++)
		if (adapter->receivers[i] == worker->index)
			return true;
	return false;
}

/* @return whether frames wait in its rings. */
static bool
watch_adapter(struct worker *worker, struct path_adapter *adapter, struct watch *watch)
{
	const struct view *view = atomic_load_explicit(&adapter->view, memory_order_acquire);
	const struct vm_ops *vm_ops = worker->path->vm_ops;

	if (!view)
		return false;
	if (is_receiver(worker, adapter)) {
		watch_port(watch, adapter->nic_ops, view->nic);
		if (view->host)
			watch_port(watch, adapter->host_ops, view->host);
	}
	for (uint16_t i = 0; i < view->vm_count; i++) {
		const struct view_queue *queue = view_queue(view, view->vms[i]);

		if (queue->server == worker->index)
			watch_fd(watch, vm_ops->arm(queue->port, true));
	}
	return handover_waiting(worker, adapter);
}

static void
unwatch_adapter(struct worker *worker, struct path_adapter *adapter)
{
	const struct view *view = atomic_load_explicit(&adapter->view, memory_order_acquire);

	for (uint16_t i = 0; view && i < view->vm_count; i++) {
		const struct view_queue *queue = view_queue(view, view->vms[i]);

		if (queue->server == worker->index)
			worker->path->vm_ops->arm(queue->port, false);
	}
}

/* Nobody waits for a worker that sleeps; what it knew is void when it wakes. */
static void
wait_offline(struct worker *worker, struct watch *watch)
{
	const struct timespec longest = { .tv_nsec = SLEEP_LONGEST_MS * 1000000L };
	const struct timespec blind = { .tv_nsec = SLEEP_BLIND_NS };
	eventfd_t wakes;

	atomic_store_explicit(&worker->adopted, UINT64_MAX, memory_order_release);
	rte_rcu_qsbr_thread_offline(worker->path->grace, worker->index);
	ppoll(watch->fds, watch->count, watch->blind ? &blind : &longest, NULL);
	atomic_store_explicit(&worker->adopted, 0, memory_order_seq_cst);
	rte_rcu_qsbr_thread_online(worker->path->grace, worker->index);
	if (watch->fds[0].revents)
		eventfd_read(worker->wake, &wakes);
}

void
worker_sleep(struct worker *worker)
{
	const struct roster *roster = atomic_load_explicit(&worker->path->roster, memory_order_acquire);
	struct watch watch = { .count = 0 };
	bool waiting = false;

	watch_fd(&watch, worker->wake);
	atomic_store_explicit(&worker->asleep, true, memory_order_seq_cst);
	for (uint16_t i = 0; i < roster->count; i++)
		waiting |= watch_adapter(worker, roster->adapters[i], &watch);
	if (!waiting && !worker_turn(worker))
		wait_offline(worker, &watch);
	atomic_store_explicit(&worker->asleep, false, memory_order_seq_cst);
	roster = atomic_load_explicit(&worker->path->roster, memory_order_acquire);
	for (uint16_t i = 0; i < roster->count; i++)
		unwatch_adapter(worker, roster->adapters[i]);
}

void
worker_wake(struct worker *worker)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&worker->asleep, memory_order_relaxed))
		eventfd_write(worker->wake, 1);
}
