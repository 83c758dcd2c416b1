/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What workers know and have. Control builds views and publishes each with one store; a worker takes the view
 * once per burst and acts on it alone; what it writes (lanes, learned addresses, counters) is its own.
 */
#ifndef VMQ_DATAPATH_WORKER_H
#define VMQ_DATAPATH_WORKER_H

#include "model/model.h"
#include "switch/switch.h"
#include "datapath/path.h"

#include <rte_branch_prediction.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>
#include <stdatomic.h>

enum {
	BURST = 64,
	LANE_FRAMES = 256,          /* a lane never holds more: COALESCE_FRAMES_MAX */
	NOTIFY_PORTS = 128,
	RING_FRAMES = 16384,
	WAITING_FRAMES_MAX = RING_FRAMES / 4, /* of one queue: it alone cannot fill a ring */
	PASSED_KEYS = 64,
	WORKER_NONE = UINT16_MAX,
};

_Static_assert((int)BURST <= (int)INSPECT_BURST_MAX, "a burst is looked up as a whole");

/*
 * One worker's end of one queue. As the queue's home it gathers frames here for delivery; as a producer it
 * counts what it gave to other workers for this queue.
 */
struct lane {
	uint16_t count;
	uint16_t enough;            /* deliver when so many wait; as of the first of `frames` */
	bool touched;               /* it is in the adapter's list of touched ones */
	uint64_t straight;          /* epoch of the view in which its worker's own frames need no ring; see egress.c */
	uint64_t due;               /* clock cycles at which the first of `frames` has waited long enough */
	struct path_queue *queue;
	struct rte_mbuf *frames[LANE_FRAMES];
	struct queue_counters counters;
	uint64_t handed;            /* as producer: buffers put into rings for this queue; the worker writes */
	uint32_t room;              /* as producer: buffers that may be put in `room_turn` before counting anew; < BURST */
	uint32_t room_turn;         /* worker->turns when that was found out */
	/* How many of those were taken out again; the serving worker writes, the producer reads. */
	uint64_t taken __rte_cache_aligned;
} __rte_cache_aligned;

/*
 * Frames that wait in the queue's receive buffers until the guest gives descriptors, in order. They are with whoever
 * may touch the guest: the home, once the one before has drained (handover.c). See backlog.c.
 */
struct backlog {
	uint32_t buffers;                    /* that the frames take; its owner writes, anyone reads */
	bool listed;                         /* in its owner's list */
	uint64_t epoch;                      /* of the view whose filters were last asked about these frames */
	struct rte_mbuf *first, *last;
};

/* The data path's half of a queue; as many lanes as workers. */
struct path_queue {
	uint16_t id;
	struct backlog backlog;
	uint64_t rx_due, tx_due, storm_due; /* the home alone: see limit.h */
	struct queue_counters cleared; /* control: what the counters were when stats were cleared */
	uint16_t home;               /* control: the worker that serves it in the view being built */
	uint16_t previous;             /* control: the one before, WORKER_NONE: it never moved */
	uint64_t moved;                /* control: epoch of the view that moved it */
	struct lane lanes[];
};

/* A queue as workers see it. */
struct view_queue {
	struct path_queue *path;             /* NULL: there is no such queue */
	void *port;                          /* of vm_ops; NULL: nobody attached */
	const struct switch_policy *policy;  /* with port */
	bool running;
	uint16_t home;                     /* the worker that delivers to it and takes in what its VM sends */
	uint16_t previous;                   /* who did before; see handover.c */
	uint64_t moved;
	uint32_t waiting_max;                /* buffers of frames that may wait on the way to the home, or there for descriptors */
	bool gather_adaptive;                /* wait only while more is coming in */
	bool gather_fewer;                   /* when many queues gather at once */
	uint16_t gather_frames;              /* deliver when so many wait */
	uint64_t gather_cycles;              /* or when the first has waited so long */
	uint8_t *lookahead;                  /* slots in host memory, as many as buffers; NULL: frames are not split */
	uint32_t lookahead_bytes;
	double rx_byte_cycles, tx_byte_cycles; /* that a byte takes at the most that the VM may get or send; 0: no limit */
	uint64_t limit_burst;                /* cycles that it may be ahead of that */
	double storm_cycles;                 /* that a frame to a group takes at the most that the VM may send; 0: no limit */
	uint64_t storm_burst;
	uint64_t *passed;                    /* with lookahead, for the home alone; see split.c */
};

/* One adapter as workers see it. Immutable once published; freed a grace period after it was replaced. */
struct view {
	void *nic;
	const void *filters;                 /* of nic */
	void *host;                          /* a port of nic_ops; NULL: none */
	struct switch_sides sides;
	uint64_t epoch;
	struct rte_mempool **pools;          /* by worker */
	struct lane **lanes;                 /* [worker * queue_count + id]; NULL: there is no such queue */
	uint32_t frame_bytes_max;            /* without tags */
	uint16_t capture_count;
	struct view_capture *captures;
	bool join;                           /* frames of the wire into longer ones */
	uint16_t vm_count;
	uint16_t *vms;                       /* ids of Running queues with a VM */
	struct view_queue drop;
	uint32_t queue_count;                /* of queues[], by id; the default queue is the first */
	struct view_queue queues[];
};

/* A frame on its way to the worker that serves its queue. */
struct handover {
	struct rte_mbuf *frame;
	struct path_queue *queue;
};

/* Taken from a ring and not yet dealt with: the first may have to wait until its queue has settled. */
struct inbox {
	uint16_t next, count;
	struct handover items[BURST];
};

/* Gathered for another worker during one burst. */
struct outbox {
	uint16_t count;
	struct handover items[2 * BURST];
};

/* One worker's end of one adapter. */
struct adapter_lane {
	struct adapter_counters counters;
	uint16_t wire_count, host_count;
	struct rte_mbuf *wire[2 * BURST];
	struct rte_mbuf *host[2 * BURST];
	uint16_t touched_count;              /* lanes that have held frames since somebody looked, in serve_due() */
	struct lane *touched[QUEUE_ID_LIMIT + 2];
	uint64_t due;                        /* clock cycles at which one of these has waited long enough, or earlier */
	uint64_t due_epoch;                  /* of the view by which it was found out */
	uint16_t backlog_count;              /* queues with frames that wait for descriptors */
	struct path_queue *backlogs[QUEUE_ID_LIMIT + 2];
	uint64_t backlog_epoch;              /* of the view in which all that came to this worker were looked for */
	uint16_t notify_count;
	void *notify[NOTIFY_PORTS];          /* whose guests may have to be interrupted in the end of the turn */
	struct inbox *inboxes;               /* by producer */
	struct outbox *outboxes;             /* by home */
	bool vms_sent;                       /* any, when they were last looked at */
	uint8_t join_rest;                   /* bursts that are not looked at for frames to join */
} __rte_cache_aligned;

/* The data path's half of an adapter. */
struct path_adapter {
	struct path *path;
	struct view *_Atomic view;           /* control writes, workers read */
	struct view *replaced;               /* control: freed at the next retire */
	const struct nic_ops *nic_ops;
	const struct nic_ops *host_ops;
	bool poll_busy;                      /* workers do not sleep while it is there */
	_Atomic uint16_t receiver_count;     /* control writes */
	uint16_t *receivers;                 /* worker that polls the receive queue of this index */
	struct learn_table learned;          /* workers write and read; see learn.h */
	struct rte_ring **rings;             /* [producer * worker_count + home], of struct handover */
	struct adapter_counters gone;        /* control: only its `freed` is used */
	struct adapter_counters cleared;
	struct adapter_lane lanes[];
};

/* The adapters that workers poll. Replaced as a whole, like a view. */
struct roster {
	uint16_t count;
	struct path_adapter *adapters[];
};

struct worker {
	struct path *path;
	uint16_t index;
	uint16_t cpu;
	unsigned lcore;
	int wake;                            /* eventfd: ends its sleep */
	uint32_t now_seconds;                /* for ageing only; renewed now and then */
	uint64_t now_cycles;                 /* at the start of the turn */
	uint32_t turns;                      /* so far; wraps */
	uint64_t flushed;                    /* the flush request that it has met */
	bool hungry;                         /* a source of this turn was full: more is waiting */
	bool empty_lanes;                    /* in this turn, whatever may wait */
	uint64_t stalled;                    /* oldest move that it waits for in this turn; UINT64_MAX: none */
	/* What others read of it. See handover.c. */
	_Atomic bool asleep __rte_cache_aligned;
	_Atomic uint64_t busy_cycles;        /* of turns that had frames */
	_Atomic uint64_t received;           /* frames taken from ports */
	_Atomic uint64_t adopted;            /* every view that it used in the last turn was of this epoch or later */
	_Atomic uint64_t drained;            /* it has dealt with all that anyone gave it before this epoch */
} __rte_cache_aligned;

struct path {
	struct rte_rcu_qsbr *grace;
	const struct vm_ops *vm_ops;
	struct roster *_Atomic roster;       /* control writes, workers read */
	_Atomic uint64_t epoch;              /* control adds one after each view that it publishes */
	_Atomic uint64_t flush_request;      /* control adds one to have every lane emptied within a turn */
	bool moving;                         /* control: a queue moved in the views published last */
	_Atomic bool stopping;
	uint16_t worker_count;
	struct worker workers[];
};

/* One burst on its way through one worker: what it is polled from and what it is looked at with. */
struct passage {
	struct worker *worker;
	struct path_adapter *adapter;
	struct adapter_lane *lane;
	const struct view *view;
	enum frame_source source;
	uint16_t source_queue;               /* of the VM that sent it; else the default queue */
};

static inline uint64_t
cycles_of(uint64_t usecs)
{
	return usecs * (rte_get_tsc_hz() / 1000000);
}

/** worker.c: the life of a worker, as an EAL lcore function. */
int worker_main(void *worker);
/** worker.c: one look at everything. @return how many frames it dealt with. */
unsigned worker_turn(struct worker *worker);

/** sleep.c: a worker may sleep only with no frames queued and no peer waiting on its epoch. */
bool worker_may_sleep(const struct worker *worker);
/**
 * sleep.c: wait until something comes for this worker, at most about a tenth of a second.
 * @return how many frames it dealt with meanwhile.
 */
unsigned worker_sleep(struct worker *worker);
/** sleep.c: end a worker's sleep. Any thread. */
void worker_wake(struct worker *worker);

/**
 * ingress.c: note where a source address was seen. A VM's own is known from its filters, the host's from the kernel:
 * neither is learned, so no frame from elsewhere moves them.
 *
 * @param key  of the frame; its VLAN counts.
 */
void learn_source(struct passage *passage, const struct rte_mbuf *frame, uint64_t key);

/** ingress.c: take in and forward what the adapter's wire, host and VMs have now. @return how many frames entered. */
unsigned worker_poll_adapter(struct worker *worker, struct path_adapter *adapter);

/** forward.c: send each frame to the queue that the filters chose for it. Frames are the callee's from here. */
void forward_burst(struct passage *passage, struct rte_mbuf **frames, const uint16_t *queue_ids, uint16_t n);

/* egress.c: the ways out. to_… gathers, flush sends what this burst gathered; frames are the callee's. */
void egress_to_queue(struct passage *passage, uint16_t queue_id, struct rte_mbuf *frame);
void egress_to_wire(struct passage *passage, struct rte_mbuf *frame);
void egress_to_host(struct passage *passage, struct rte_mbuf *frame);
void egress_drop(struct passage *passage, uint16_t queue_id, struct rte_mbuf *frame, enum drop_reason reason);
/** The guest of this port got frames or had some taken: interrupt it at the end of the turn if it asked for that. */
void egress_notify(struct passage *passage, void *port);
/** Interrupt whom egress_notify() named. */
void egress_notify_all(struct passage *passage);
/** After each burst: wire, host, and other workers get what the burst had for them. */
void egress_flush(struct passage *passage);

/* serve.c: delivery to the queues that this worker serves */

/* Frames that were offered to a queue's guest: the first `taken` it has, `waiting` behind them it may have later. */
struct offer {
	struct rte_mbuf **frames;
	uint16_t n;                          /* out: fewer, if some had to be freed already */
	uint16_t taken, waiting;
};

/** Offer frames to the guest. Those neither taken nor waiting are counted; all stay the caller's. */
void serve_offer(struct passage *passage, const struct view_queue *queue, struct lane *lane, struct offer *offer);
/** Why this queue's guest gets nothing at all now; DROP_REASON_COUNT: it may. */
enum drop_reason serve_refusal(const struct view_queue *queue, const struct path_queue *half);
/** Give frames back to their pools. @return their bytes. */
uint64_t serve_free(struct rte_mbuf **frames, uint16_t n);
void serve_frame(struct passage *passage, struct lane *lane, struct rte_mbuf *frame);
/** The same for several, in order. */
void serve_frames(struct passage *passage, struct lane *lane, struct rte_mbuf **frames, uint16_t n);
/** At the end of a turn: deliver what has waited long enough, or everything. */
void serve_due(struct passage *passage, bool everything);

/* split.c: delivery in two parts */

/** As serve_offer(). @param vlans  of each frame. */
void split_offer(const struct passage *passage, const struct view_queue *queue, struct lane *lane,
		 const uint16_t *vlans, struct offer *offer);

/* backlog.c: frames that wait for descriptors of the guest */

/** Once, before workers start. @return 0; -errno. */
int backlog_init(void);
/** Let frames wait, behind those that do; more than the queue has buffers for are dropped. */
void backlog_put(struct passage *passage, const struct view_queue *queue, struct lane *lane, struct rte_mbuf **frames,
		 uint16_t n);
/** Offer again what waits for this queue, and drop what may not wait any longer. @return how many the guest got. */
unsigned backlog_serve(struct passage *passage, struct path_queue *half);
/** At the end of a turn. @param due  a look is due at the queues that wait. @return how many frames guests got. */
unsigned backlog_serve_all(struct passage *passage, bool due);

static inline uint32_t
backlog_buffers(const struct path_queue *half)
{
	return __atomic_load_n(&half->backlog.buffers, __ATOMIC_ACQUIRE);
}

/* handover.c: frames for queues that another worker serves */

/** Whether this worker may touch the VM of a queue that it serves: the worker before it has drained its frames. */
bool handover_settled(const struct worker *worker, const struct view_queue *queue);
/**
 * Whether this worker may take in what the VM of its queue sends: nothing that another worker took in from it is
 * still on its way, at whichever home.
 */
bool handover_quiet(const struct worker *worker, const struct view_queue *queue);
/** Buffers of frames of a queue that wait between receivers and home. Any thread. */
uint64_t handover_waiting_of(const struct path *path, const struct path_queue *queue);
void handover_put(struct passage *passage, const struct view_queue *queue, struct rte_mbuf *frame);
void handover_flush(struct passage *passage);
/** Deal with what other workers gave this one. @return how many frames. */
unsigned handover_take(struct passage *passage);
bool handover_waiting(const struct worker *worker, const struct path_adapter *adapter);
/** The lowest epoch that every worker has adopted, and up to which every worker has dealt with all it was given. */
uint64_t handover_adopted_by_all(const struct path *path);
uint64_t handover_drained_by_all(const struct path *path);

/* counters.c, for path_ops */
void path_queue_counters(void *ctx, const struct queue *queue, struct queue_counters *counters);
void path_adapter_counters(void *ctx, const struct adapter *adapter, struct adapter_counters *counters);
void path_counters_clear(void *ctx, struct adapter *adapter);
void path_cpu_counters(void *ctx, unsigned cpu, struct cpu_counters *counters);
/** The queue ends: its adapter keeps what it counted. */
void path_counters_keep(void *ctx, const struct queue *queue);

/** view.c: the adapter as workers see it once the view is published. Never fails: see memory in docs/design.md. */
/** The worker of a processor that vmqd has for the data path. */
uint16_t worker_of_cpu(const struct path *path, uint16_t cpu);
struct view *view_build(const struct adapter *adapter, struct path *path);
void view_free(struct view *view);

/** The queue as this view has it; a queue that it lacks gives path NULL. */
static inline const struct view_queue *
view_queue(const struct view *view, uint16_t id)
{
	static const struct view_queue none;

	if (likely(id < view->queue_count))
		return &view->queues[id];
	return id == QUEUE_DROP ? &view->drop : &none;
}

/**
 * Whether the VM of this queue, which has one, takes GSO frames of these kinds whole. A frame in two parts is looked at in
 * the first: a long one would be, for all the frames that it becomes.
 */
static inline bool
view_queue_takes(const struct view_queue *queue, const struct worker *worker, unsigned kinds)
{
	return !queue->lookahead && worker->path->vm_ops->takes(queue->port, kinds);
}

static inline struct lane *
view_lane(const struct view *view, uint16_t queue_id, const struct worker *worker)
{
	return &view_queue(view, queue_id)->path->lanes[worker->index];
}

static inline struct rte_ring *
adapter_ring(const struct path_adapter *adapter, uint16_t producer, uint16_t home)
{
	return adapter->rings[producer * adapter->path->worker_count + home];
}

#endif
