/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker with nothing to do waits for anything that could bring it work: its ports, its VMs' kicks, another
 * worker or control (its eventfd). It first says that it sleeps and asks for kicks, then looks once more, so that
 * nothing that came in between is slept over. A port that cannot wake anyone is looked at every 100 us instead.
 */
#include "datapath/worker.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	SLEEP_FDS_MAX = 1 + QUEUE_ID_LIMIT + WAKE_FDS_MAX,
	SLEEP_LONGEST_MS = 100,
	SLEEP_BLIND_NS = 100000,
};

struct watch {
	struct pollfd fds[SLEEP_FDS_MAX];
	nfds_t count;
	bool blind; /* something cannot wake us, or there are more descriptors than we can watch */
};

static void
watch_fd(struct watch *watch, int fd)
{
	if (fd < 0)
		return;
	if (watch->count == SLEEP_FDS_MAX)
		watch->blind = true;
	else
		watch->fds[watch->count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

static void
watch_port(struct watch *watch, const struct nic_ops *nic_ops, void *nic)
{
	int fds[WAKE_FDS_MAX];
	int count = nic_ops->wake_fds(nic, fds, WAKE_FDS_MAX);

	if (count < 0)
		watch->blind = true;
	for (int i = 0; i < count; i++)
		watch_fd(watch, fds[i]);
}

static void
watch_kicks(struct watch *watch, int kicks)
{
	if (kicks == KICKS_POLLED)
		watch->blind = true;
	else
		watch_fd(watch, kicks);
}

static bool
is_receiver(const struct worker *worker, const struct path_adapter *adapter)
{
	for (uint16_t i = 0; i < adapter->receiver_count; i++)
		if (adapter->receivers[i] == worker->index)
			return true;
	return false;
}

/* A queue that was another worker's may be armed only once that one has let go of it: both would read its ring. */
static bool
is_mine(const struct worker *worker, const struct view_queue *queue)
{
	return queue->home == worker->index && handover_quiet(worker, queue);
}

/* @return whether there is a reason not to sleep: frames in its rings, or a queue that is still changing hands. */
static bool
watch_adapter(struct worker *worker, struct path_adapter *adapter, struct watch *watch)
{
	const struct view *view = atomic_load_explicit(&adapter->view, memory_order_acquire);
	const struct vm_ops *vm_ops = worker->path->vm_ops;
	bool changing = false;

	if (!view)
		return false;
	/* Guests do not tell when they give descriptors. */
	if (adapter->lanes[worker->index].backlog_count)
		watch->blind = true;
	if (is_receiver(worker, adapter)) {
		watch_port(watch, adapter->nic_ops, view->nic);
		if (view->host)
			watch_port(watch, adapter->host_ops, view->host);
	}
	for (uint16_t i = 0; i < view->vm_count; i++) {
		const struct view_queue *queue = view_queue(view, view->vms[i]);

		if (is_mine(worker, queue))
			watch_kicks(watch, vm_ops->arm(queue->port, true));
		else
			changing |= queue->home == worker->index;
	}
	return changing || handover_waiting(worker, adapter);
}

static void
unwatch_adapter(struct worker *worker, struct path_adapter *adapter)
{
	const struct view *view = atomic_load_explicit(&adapter->view, memory_order_acquire);

	for (uint16_t i = 0; view && i < view->vm_count; i++) {
		const struct view_queue *queue = view_queue(view, view->vms[i]);

		if (is_mine(worker, queue))
			worker->path->vm_ops->arm(queue->port, false);
	}
}

/*
 * A port whose interface goes down or is deleted has a pending error, which would wake its worker for ever. Reading
 * SO_ERROR clears it on a socket, which wakes us again once the interface is up. Any other descriptor with an error is
 * dropped from the poll set, and its port polled instead. @return how many descriptors had nothing but an error.
 */
static int
forget_errors(struct watch *watch)
{
	int count = 0, error;
	socklen_t size = sizeof(error);

	for (nfds_t i = 0; i < watch->count; i++) {
		if (!(watch->fds[i].revents & (POLLERR | POLLHUP | POLLNVAL)))
			continue;
		count += !(watch->fds[i].revents & POLLIN);
		if (!getsockopt(watch->fds[i].fd, SOL_SOCKET, SO_ERROR, &error, &size) && error)
			continue;
		watch->fds[i].fd = -1;
		watch->blind = true;
	}
	return count;
}

/* Offline: grace periods do not wait for it, and it starts from the newest view. @return whether something woke it. */
static bool
wait_offline(struct worker *worker, struct watch *watch)
{
	const struct timespec longest = { .tv_nsec = SLEEP_LONGEST_MS * 1000000L };
	const struct timespec blind = { .tv_nsec = SLEEP_BLIND_NS };
	eventfd_t wakes;
	int woken;

	atomic_store_explicit(&worker->adopted, UINT64_MAX, memory_order_release);
	rte_rcu_qsbr_thread_offline(worker->path->grace, worker->index);
	woken = ppoll(watch->fds, watch->count, watch->blind ? &blind : &longest, NULL);
	atomic_store_explicit(&worker->adopted, 0, memory_order_seq_cst);
	rte_rcu_qsbr_thread_online(worker->path->grace, worker->index);
	if (woken > 0 && watch->fds[0].revents)
		eventfd_read(worker->wake, &wakes);
	return woken > 0 ? woken > forget_errors(watch) : woken != 0;
}

/* Kicks stay requested between looks at a port that cannot wake us. */
static unsigned
wait_for_frames(struct worker *worker, struct watch *watch)
{
	const unsigned looks_blind = SLEEP_LONGEST_MS * 1000000L / SLEEP_BLIND_NS;
	unsigned frames = 0;

	for (unsigned looks = 0; looks < (watch->blind ? looks_blind : 1) && !frames; looks++) {
		if (wait_offline(worker, watch))
			break;
		if (watch->blind)
			frames = worker_turn(worker);
	}
	return frames;
}

bool
worker_may_sleep(const struct worker *worker)
{
	const struct roster *roster = atomic_load_explicit(&worker->path->roster, memory_order_acquire);

	if (worker->drained < worker->path->epoch)
		return false;
	for (uint16_t i = 0; i < roster->count; i++)
		if (roster->adapters[i]->poll_busy || roster->adapters[i]->lanes[worker->index].touched_count)
			return false;
	return true;
}

/* The last turn may have met a view that was published before anyone knew that this worker is about to sleep. */
unsigned
worker_sleep(struct worker *worker)
{
	const struct roster *roster = atomic_load_explicit(&worker->path->roster, memory_order_acquire);
	struct watch watch = { .count = 0 };
	bool waiting = false;
	unsigned frames = 0;

	watch_fd(&watch, worker->wake);
	atomic_store_explicit(&worker->asleep, true, memory_order_seq_cst);
	for (uint16_t i = 0; i < roster->count; i++)
		waiting |= watch_adapter(worker, roster->adapters[i], &watch);
	if (!waiting)
		frames = worker_turn(worker);
	if (!waiting && !frames && worker_may_sleep(worker))
		frames = wait_for_frames(worker, &watch);
	atomic_store_explicit(&worker->asleep, false, memory_order_seq_cst);
	roster = atomic_load_explicit(&worker->path->roster, memory_order_acquire);
	for (uint16_t i = 0; i < roster->count; i++)
		unwatch_adapter(worker, roster->adapters[i]);
	return frames;
}

void
worker_wake(struct worker *worker)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&worker->asleep, memory_order_relaxed))
		eventfd_write(worker->wake, 1);
}
