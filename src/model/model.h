/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The object model: adapters, their queues and filters, and the VMs on them. Decides what is valid, holds the
 * state, tells the outside through ops.h. Pure C: no DPDK, no sockets, no threads, no clock. Every function runs
 * on the control thread.
 *
 * Theory of a change: a request checks everything, then acts on the model and on the ops (which prepare the
 * change); model_commit() then makes all changes since the last commit effective at once, for every frame burst
 * that starts after it returns. A request is answered after its commit, so an answer means "it holds". A refused
 * request leaves everything byte for byte as it was.
 *
 * Errors of requests, beside those a function names: -EINVAL a value out of its range; -ENOENT no such adapter,
 * queue, filter or VM; -EPERM not the caller's, or not in this state; -EEXIST taken; -ENOSPC no id left;
 * -ENOTSUP the adapter or its NDIS version does not have it; -EBUSY something still uses it; -ENOMEM no memory.
 * Each comes with a sentence in *why (which may be NULL).
 */
#ifndef VMQ_MODEL_MODEL_H
#define VMQ_MODEL_MODEL_H

#include "balance/balance.h"
#include "model/memory.h"
#include "model/ops.h"
#include "model/offload.h"
#include "model/state.h"
#include "util/cpumask.h"
#include "util/mac.h"
#include "util/refusal.h"
#include "util/vlan.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

enum {
	NAME_SIZE = 64,             /* names of queues and VMs, NUL included */
	ADAPTER_NAME_SIZE = 32,
	PORT_TEXT_SIZE = 512,
	SOCKET_PATH_SIZE = 108,     /* sun_path */
	HOST_IFNAME_SIZE = 16,      /* IFNAMSIZ */
	USER_NAME_SIZE = 33,        /* of users and groups, NUL included */

	QUEUE_DEFAULT = 0,          /* always there, nobody's */
	QUEUE_DROP = 0xffff,        /* reserved: counts and discards; ours, see docs/design.md */
	QUEUE_ID_LIMIT = 1024,      /* the highest id an adapter may be given */
	FILTER_ID_LIMIT = 131072,
	FILTER_NONE = 0,            /* 0 is no filter id */
	BUFFERS_MIN = 8,
	BUFFERS_MAX = 65536,
	BUFFERS_DEFAULT = 512,
	QUEUES_DEFAULT = 64,
	FILTERS_DEFAULT = 4096,
	MTU_MIN = 68,
	MTU_DEFAULT = 1500,
	MTU_MAX = 9000,
	COALESCE_AUTO = -1,
	COALESCE_USECS_MAX = 1000,
	COALESCE_FRAMES_MAX = 256,
	COALESCE_AUTO_USECS = 50,   /* the longest that a frame waits, and only while more is coming in */
	COALESCE_AUTO_FRAMES = 64,  /* as many as a burst */
};

#define OWNER_NOBODY ((uid_t)-1)

enum ndis_version {
	NDIS_6_20 = 620, /* Windows Server 2008 R2: lookahead split; a filter must test MAC and VLAN */
	NDIS_6_30 = 630, /* Windows Server 2012 on: host memory only; MAC alone is a filter */
};

/* Who asks: a user, and a name within that user if it gave one. Root may act for anyone. */
struct caller {
	uid_t uid;
	char name[NAME_SIZE]; /* empty: none */
};

enum adapter_poll {
	POLL_ADAPTIVE, /* sleep when idle */
	POLL_BUSY,
};

struct adapter_config {
	char name[ADAPTER_NAME_SIZE];
	char port[PORT_TEXT_SIZE];    /* DPDK devargs or a PCI address */
	enum ndis_version ndis;
	uint32_t queues;              /* how many may be allocated, default queue not counted */
	uint32_t filters;
	struct cpumask cpus;          /* data-path processors that it may use; empty: all of the daemon's */
	uint16_t mtu;                 /* bytes of payload, without Ethernet header and tags */
	bool vmq;                     /* *VMQ */
	bool lookahead_split;         /* *VMQLookaheadSplit */
	bool vlan_filtering;          /* *VMQVlanFiltering */
	bool gro;                     /* frames of the wire may be joined for VMs that take long ones */
	bool link_local;              /* its host interface takes part in link-local groups (BPDU, LACP, LLDP …) */
	bool offload;                 /* use filters of the hardware where there are any */
	enum adapter_poll poll;
};

struct filter {
	uint32_t id;                  /* 1 to config.filters, unique within the adapter */
	struct queue *queue;
	uint64_t mac;
	uint16_t vlan;                /* 1 to 4094, VLAN_UNTAGGED, VLAN_ANY */
	TAILQ_ENTRY(filter) of_queue;
};
TAILQ_HEAD(filter_list, filter);

/* A request that is answered later. done() is called exactly once, from model_commit() or model_poll(). */
struct completion {
	void (*done)(void *ctx, int status);
	void *ctx;
};

struct queue {
	struct adapter *adapter;
	uint16_t id;
	enum queue_state state;       /* only queue_step() writes it */
	struct caller owner;          /* uid OWNER_NOBODY: default and drop queue */
	char name[NAME_SIZE];
	char vm_name[NAME_SIZE];      /* for people; who is attached is `vm` */
	struct cpumask affinity;      /* processors that may serve it, as asked for; all of the adapter's if auto */
	bool affinity_auto;
	uint16_t cpu;                 /* the processor that serves it */
	uint16_t msix;                /* table entry of that processor's wake-up; 0 is kept for other events */
	uint32_t suggested_buffers;   /* as asked */
	uint32_t buffers;             /* as adjusted by the adapter; 0 before allocation complete */
	uint32_t lookahead_bytes;     /* 0: frames are not split */
	bool per_queue_indication;
	int32_t coalesce_usecs;       /* COALESCE_AUTO or a number */
	int32_t coalesce_frames;
	uint64_t rate_rx, rate_tx;    /* into the VM and out of it, in bits per second; 0: no limit */
	uint32_t storm;               /* frames to groups that the VM may send in a second; 0: no limit */
	struct filter_list filters;   /* by time of setting */
	uint32_t filter_count;
	struct memory_list memory;    /* its buffers: from allocation complete until it is freed */
	struct vm *vm;                /* NULL: nobody is attached */
	struct balance_queue balance; /* as dynamic VMQ sees it */
	uint64_t served;              /* frames at its last look */
	void *path;                   /* the data path's half */
	struct completion freed;      /* of the pending free; done is NULL if nobody waits */
	TAILQ_ENTRY(queue) of_model;   /* while it is being freed */
};
TAILQ_HEAD(queue_list, queue);

struct host {
	char ifname[HOST_IFNAME_SIZE];
	void *nic;                    /* of model_config.host */
	bool gone;                    /* it was deleted and cannot be made again yet; told */
	TAILQ_ENTRY(host) of_model;    /* once it left its adapter */
};
TAILQ_HEAD(host_list, host);

struct adapter {
	struct model *model;
	struct adapter_config config; /* cpus: never empty once added */
	struct nic_capabilities hardware;
	struct nic_link link;         /* as last told by adapter_link_changed() */
	bool absent;                  /* its port is not open: it is tried again, and everything else works */
	struct refusal why;           /* absent: of the last try */
	void *nic;
	void *path;
	struct queue *queues[QUEUE_ID_LIMIT + 1]; /* by id; NULL: Undefined. [0] is the default queue */
	struct queue *drop_queue;
	struct filter **filters;      /* by id, config.filters + 1 of them */
	uint32_t filter_count;
	uint32_t filter_id_hint;      /* no lower filter id is free */
	void *filters_by_test;        /* tsearch tree: who has (MAC, VLAN) */
	struct host *host;            /* NULL: none */
	bool dirty;                   /* changed since the last commit */
	bool closing;                 /* adapter_del waits for its queues */
	struct completion closed;
	TAILQ_ENTRY(adapter) of_model;
};
TAILQ_HEAD(adapter_list, adapter);

enum vm_mode {
	VM_MODE_SERVER, /* vmqd listens, the guest's side connects */
	VM_MODE_CLIENT, /* vmqd connects, again and again until someone is there */
};

/* Who may open the socket that a VM's front-end connects to. */
struct socket_access {
	char user[USER_NAME_SIZE];    /* empty: root */
	char group[USER_NAME_SIZE];   /* empty: the user's, or root */
	uint16_t mode_bits;           /* 0: what the umask leaves */
};

struct vm {
	char name[NAME_SIZE];
	struct caller owner;
	struct adapter *adapter;
	struct queue *queue;          /* NULL: its queue was freed; nothing reaches it until it is attached again */
	char socket[SOCKET_PATH_SIZE];
	enum vm_mode mode;
	bool trunk;                   /* tags pass; else they are taken off and put on */
	bool spoof_check;
	bool link_local;              /* it takes part in link-local groups (BPDU, LACP, LLDP …) */
	struct socket_access access;  /* with VM_MODE_SERVER */
	uint64_t offloads;            /* that its driver is offered: features of virtio-net */
	bool composed;                /* made by vm_add: its queue and filters end with it */
	bool connected;               /* as last told by vm_connection_changed() */
	void *port;                   /* of vm_ops */
	struct completion gone;       /* of a pending vm_del */
	TAILQ_ENTRY(vm) of_model;
};
TAILQ_HEAD(vm_list, vm);

enum event_type {
	EVENT_QUEUE_STATE,            /* queue, state it is in now */
	EVENT_QUEUE_PARAMETERS,       /* queue */
	EVENT_CAPABILITIES,           /* adapter */
	EVENT_VM_CONNECTED,           /* vm */
	EVENT_VM_DISCONNECTED,        /* vm */
	EVENT_LINK,                   /* adapter */
	EVENT_QUEUE_MOVED,            /* queue, from_cpu, reason: dynamic VMQ gave it another processor */
};

/* Status indications. Pointers are valid during the call only; those that do not belong to the type are NULL. */
struct model_event {
	enum event_type type;
	const struct adapter *adapter;
	const struct queue *queue;
	const struct vm *vm;
	uint16_t from_cpu;
	const char *reason;           /* balance_reason_word() */
};

struct model_config {
	const struct nic_ops *nic;
	void *nic_ctx;
	const struct nic_ops *host;   /* open, close, link, wake_fds, receive, transmit of a host interface */
	void *host_ctx;
	const struct vm_ops *vm;
	void *vm_ctx;
	const struct path_ops *path;
	void *path_ctx;
	struct cpumask cpus;          /* data-path processors of the daemon */
	void (*event)(void *ctx, const struct model_event *event); /* may be NULL */
	void *event_ctx;
};

/* What a capture watches: everything of the adapter, or of all; one of its queues; that of a VM. */
struct capture_target {
	struct adapter *adapter;      /* NULL: all */
	struct queue *queue;          /* NULL: all; with adapter */
	struct vm *vm;                /* NULL, or whose the queue is */
	unsigned places;              /* bits of enum capture_place */
};

struct capture {
	struct model *model;
	struct capture_target target; /* its pointers hold until it is over */
	void *path;                   /* the data path's half; NULL: closed */
	bool over;                    /* workers do not see it from the next commit on */
	bool abandoned;               /* by who started it: freed as soon as no worker uses it */
	TAILQ_ENTRY(capture) of_model;
};
TAILQ_HEAD(capture_list, capture);

struct answer;
STAILQ_HEAD(answer_list, answer);

struct model {
	struct model_config config;
	struct adapter_list adapters;
	struct vm_list vms;
	struct queue_list freeing;       /* in DMA stopped or Freeing */
	struct vm_list leaving_vms;      /* out of the model; workers may use them until the next commit */
	struct host_list leaving_hosts;
	struct capture_list captures;
	struct capture_list leaving_captures; /* workers may use them until the next commit */
	struct answer_list answers;      /* completions that model_poll() will call */
	struct balance balance;       /* dynamic VMQ */
	struct cpu_counters counted[CPU_LIMIT]; /* its last turn's */
};

struct model *model_create(const struct model_config *config);
/** Frees what is left without telling anyone: first adapter_del() every adapter and commit. */
void model_destroy(struct model *model);

/** Make every change so far effective and step the queues that are being freed. See the theory above. */
void model_commit(struct model *model);
/** Step the queues that are being freed and wait for frames. @return how many frees are still pending. */
unsigned model_poll(struct model *model);

/**
 * One turn of dynamic VMQ, about once a second: queues of affinity auto go where the load wants them.
 * @return how many moved; commit makes it so.
 */
unsigned model_balance(struct model *model);

/* Adapters (adapter.c) */

/** What a new adapter is unless the request says otherwise. */
void adapter_config_default(struct adapter_config *config);

/**
 * @param may_be_absent  add it also if its port does not open for a reason that may pass.
 * @return also whatever the port says when it does not open.
 */
int adapter_add(struct model *model, const struct adapter_config *config, const struct caller *caller,
		bool may_be_absent, struct adapter **adapter, struct refusal *why);
/** Try to open an absent adapter's port. @return 0; -errno, and adapter->why. */
int adapter_connect(struct adapter *adapter);
/** The port is of no use any more: close it. The adapter is absent from here, for this reason. */
void adapter_disconnect(struct adapter *adapter, const struct refusal *why);
/** Detach its VMs, clear its filters, free its queues, then close it. @return 0: `closed` will be called. */
int adapter_del(struct adapter *adapter, const struct caller *caller, struct completion closed, struct refusal *why);
int adapter_find(struct model *model, const char *name, struct adapter **adapter, struct refusal *why);

int host_add(struct adapter *adapter, const char *ifname, const struct caller *caller, struct refusal *why);
int host_del(struct adapter *adapter, const struct caller *caller, struct refusal *why);

/** Make a host interface anew that somebody deleted. @return 0; -errno with a sentence. */
int host_connect(struct adapter *adapter, struct refusal *why);

/** The port's link went up or down, or its interface is another. */
void adapter_link_changed(struct adapter *adapter, const struct nic_link *link);

/* What is enabled now: the hardware's, less what configuration and NDIS version take away. vmq-spec §6. */
struct capabilities {
	bool vmq;                     /* filters and queues can be used at all */
	bool vlan_filtering;
	uint32_t num_queues;
	uint32_t max_mac_header_filters;
	bool vm_queues;
	bool msix;
	bool per_queue_indication;
	bool lookahead_split;
	uint32_t min_lookahead_split_size;
	uint32_t max_lookahead_split_size;
};
void adapter_capabilities_hardware(const struct adapter *adapter, struct capabilities *capabilities);
void adapter_capabilities_current(const struct adapter *adapter, struct capabilities *capabilities);

/* Queues (queue.c) */

/* Limits, in bits per second. */
#define RATE_MIN 8000
#define RATE_MAX INT64_C(1000000000000)
/* Frames per second. */
#define STORM_MAX INT64_C(100000000)

/* Which parameters a request gives; the rest keep their value (or default). */
enum queue_field {
	QUEUE_FIELD_NAME = 1 << 0,
	QUEUE_FIELD_VM = 1 << 1,          /* allocate only */
	QUEUE_FIELD_AFFINITY = 1 << 2,
	QUEUE_FIELD_BUFFERS = 1 << 3,
	QUEUE_FIELD_LOOKAHEAD = 1 << 4,   /* allocate only */
	QUEUE_FIELD_PER_QUEUE = 1 << 5,
	QUEUE_FIELD_COALESCE_USECS = 1 << 6,
	QUEUE_FIELD_COALESCE_FRAMES = 1 << 7,
	QUEUE_FIELD_ID = 1 << 8,          /* allocate only: this id instead of the lowest free one */
	QUEUE_FIELD_RATE_RX = 1 << 9,
	QUEUE_FIELD_RATE_TX = 1 << 10,
	QUEUE_FIELD_STORM = 1 << 11,
};

struct queue_parameters {
	unsigned fields;
	const char *name;
	const char *vm_name;
	struct cpumask affinity;      /* with affinity_auto: ignored */
	bool affinity_auto;
	uint32_t buffers;
	uint32_t lookahead_bytes;
	bool per_queue_indication;
	int32_t coalesce_usecs;
	int32_t coalesce_frames;
	int64_t rate_rx, rate_tx, storm;
	uint32_t id;
};

/** Undefined → Allocated, with the lowest free id. -EINVAL names the parameter; -ENOTSUP lookahead on 6.30. */
int queue_allocate(struct adapter *adapter, const struct queue_parameters *parameters, const struct caller *caller,
		   struct queue **queue, struct refusal *why);
/** Receive buffers are allocated here. Allocated → Paused, Set → Running. */
int queue_complete(struct queue *queue, const struct caller *caller, struct refusal *why);
/** -EINVAL also for fields that cannot change after allocation. */
int queue_set(struct queue *queue, const struct queue_parameters *parameters, const struct caller *caller,
	      struct refusal *why);
/**
 * Stop DMA now; freed.done is called once every indicated frame is back and the queue is Undefined.
 * An attached VM stays, without a queue.
 * @return 0: it will be called; -EPERM state or owner, and it will not.
 */
int queue_free(struct queue *queue, const struct caller *caller, struct completion freed, struct refusal *why);

/** @param id  QUEUE_DEFAULT and QUEUE_DROP are found too. -ENOENT names the adapter and the range. */
int queue_find(struct adapter *adapter, int64_t id, struct queue **queue, struct refusal *why);

/** The bound that holds: the number asked for, or that of the adaptive default. */
static inline uint32_t
queue_coalesce_limit(int32_t asked, uint32_t adaptive)
{
	return asked == COALESCE_AUTO ? adaptive : (uint32_t)asked;
}

/**
 * Visit default queue, allocated queues by id, drop queue:
 * `for (q = queue_next(a, NULL); q; q = queue_next(a, q))`.
 */
struct queue *queue_next(const struct adapter *adapter, const struct queue *after);

/* Filters (filter.c) */

/**
 * Set a filter on a queue: vmq-spec §3.
 *
 * @param vlan  1 to 4094; VLAN_UNTAGGED (no tag, or id 0); VLAN_ANY (6.30 adapters).
 * @param filter  out: the filter; untouched on error.
 */
int filter_set(struct queue *queue, uint64_t mac, uint32_t vlan, const struct caller *caller, struct filter **filter,
	       struct refusal *why);
/** The same with an id of the caller's choice; FILTER_NONE: the lowest free one. -EEXIST the id is taken. */
int filter_set_as(struct queue *queue, uint32_t id, uint64_t mac, uint32_t vlan, const struct caller *caller,
		  struct filter **filter, struct refusal *why);
int filter_clear(struct filter *filter, const struct caller *caller, struct refusal *why);
/** To another queue of the same adapter in one step. The caller must be allowed on both. */
int filter_move(struct filter *filter, struct queue *to, const struct caller *caller, struct refusal *why);
int filter_find(struct adapter *adapter, int64_t id, struct filter **filter, struct refusal *why);

/* VMs (vm.c) */

struct vm_parameters {
	const char *name;
	const char *socket;
	enum vm_mode mode;
	bool trunk;
	bool spoof_check;             /* default: true, the caller sets it */
	const struct caller *owner;   /* whose it is; NULL: the caller's */
	bool link_local;
	const char *user;             /* of the socket, with VM_MODE_SERVER; NULL: root */
	const char *group;            /* the same */
	const char *mode_bits;        /* octal; NULL: what the umask leaves */
	const char *offload;          /* as for offloads_parse(); NULL: all */
	bool owns_queue;              /* vm_attach: queue and filters end with the VM, as if vm_add() had made them */
};

/** Give a VM the queue. The VM is made, or, if it lost its queue and the socket is the same, gets this one. */
int vm_attach(struct model *model, const struct vm_parameters *parameters, struct queue *queue,
	      const struct caller *caller, struct vm **vm, struct refusal *why);
/** A VM without a queue, until it is attached to one: as one is whose queue was freed. */
int vm_wait(struct adapter *adapter, const struct vm_parameters *parameters, const struct caller *caller,
	    struct vm **vm, struct refusal *why);
/** The socket goes; queue and filters stay. */
int vm_detach(struct vm *vm, const struct caller *caller, struct refusal *why);
/** Allocate, set every filter, complete, attach; all of it or nothing. */
int vm_add(struct adapter *adapter, const struct vm_parameters *vm_parameters,
	   const struct queue_parameters *queue_parameters, const uint64_t *macs, uint32_t mac_count, uint32_t vlan,
	   const struct caller *caller, struct vm **vm, struct refusal *why);
/** Detach; if vm_add made it, also clear its filters and free its queue. @return 0: `gone` will be called. */
int vm_del(struct vm *vm, const struct caller *caller, struct completion gone, struct refusal *why);
int vm_find(struct model *model, const char *name, struct vm **vm, struct refusal *why);
/** The guest came or went. Workers have learned that already; no view depends on it. */
void vm_connection_changed(struct vm *vm, bool connected);

/* Trace (trace.c): what the filters would do with a frame, without one being sent. */

enum { TRACE_TESTED_MAX = 64 };

struct trace_test {
	uint16_t queue;
	uint32_t filter;
	bool match;
};

struct trace {
	uint16_t queue;               /* where it goes */
	uint32_t filter;              /* FILTER_NONE: no filter matched */
	const char *reason;           /* `matched`, `no_match`, `malformed`, `too_big`, `drop_queue` */
	uint32_t tested_count;        /* of tested[], in order of queue id; the first TRACE_TESTED_MAX are kept */
	uint32_t tested_total;
	struct trace_test tested[TRACE_TESTED_MAX];
};

/** Try the filters of every Running queue in the order of vmq-spec §3; a linear scan apart from the data path. */
void adapter_trace(const struct adapter *adapter, const uint8_t *frame, uint32_t length, struct trace *trace);

/* capture.c */

/**
 * Let workers copy frames from the next commit on.
 *
 * @param file  out: what they are copied into (util/capture.h); the caller's to close.
 * @return 0; -EMFILE there are as many as there may be; -EINVAL of the filter; else -errno with a sentence.
 */
int capture_start(struct model *model, const struct capture_target *target, const struct capture_wish *wish,
		  struct capture **capture, int *file, struct refusal *why);
/** Nobody reads it any more. It is not the caller's from here. */
void capture_end(struct capture *capture);
/** Whether it sees anything of this adapter. */
static inline bool
capture_watches(const struct capture *capture, const struct adapter *adapter)
{
	return !capture->target.adapter || capture->target.adapter == adapter;
}

#endif
