/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the model asks of the outside, as tables of functions: hardware (nic), VMs (vm), the data path (path).
 * The model and its tests know nothing else of them. A frame is a packet buffer that the model never looks into.
 *
 * Called on the control thread unless a comment says "workers".
 */
#ifndef VMQ_MODEL_OPS_H
#define VMQ_MODEL_OPS_H

#include "frame/drop.h"
#include "util/cpumask.h"
#include "util/refusal.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct rte_mbuf;    /* a frame; opaque here */
struct rte_mempool; /* memory for frames; opaque here */
struct adapter;
struct adapter_config;
struct capture;
struct memory;
struct queue;
struct vm;

/* What the hardware can do, whatever configuration switches off. Source: vmq-spec §6. */
struct nic_capabilities {
	uint32_t queues;              /* queues that it can place frames into, default queue not counted */
	uint32_t mac_filters;
	bool vm_queues;
	bool msix;
	bool per_queue_indication;
	bool lookahead_split;
	uint32_t lookahead_min_bytes; /* 0 without lookahead split */
	uint32_t lookahead_max_bytes;
	uint16_t mtu_max;
};

struct nic_link {
	bool up;
	bool gone;           /* the interface that the port stands on is no more */
	bool silent;         /* the driver of the card has stopped to answer; the rest is what it said last */
	bool unfinished;     /* frames of a kernel at the other end may come with wrong checksums */
	uint16_t mtu;        /* of the interface, if that is less than the adapter's; else 0 */
	uint32_t speed_mbps; /* 0 unknown */
	uint64_t mac;
	char ifname[16];     /* the interface as it is called now; empty: there is none */
};

/* Frames that the hardware or its driver lost before anyone saw them. */
struct nic_losses {
	uint64_t rx_missed;
	uint64_t rx_errors;
	uint64_t rx_no_mbuf;
};

enum { WAKE_FDS_MAX = 64 }; /* of one port */

/*
 * An adapter's hardware half: one port and its receive-filter engine, in software or in the NIC.
 * A change (queue, filter) is in filters() after publish(); the caller shows these to workers, waits for a grace
 * period and calls retire(). Between the two, workers may act on either state.
 */
struct nic_ops {
	/** All but the port itself. On success *nic is the handle for everything below. @return 0; -errno with a sentence. */
	int (*open)(void *ctx, const struct adapter_config *config, void **nic, struct refusal *why);
	void (*close)(void *nic);
	/** Open the port, or a host's interface anew; workers may use it from here. @return 0; -errno with a sentence. */
	int (*connect)(void *nic, struct refusal *why);
	/** To workers there is no port any more; once none uses it, release() closes it. */
	void (*disconnect)(void *nic);
	void (*release)(void *nic);
	void (*capabilities)(void *nic, struct nic_capabilities *capabilities);
	void (*link)(void *nic, struct nic_link *link);
	void (*losses)(void *nic, struct nic_losses *losses);

	/** Host memory for memory->request; fills in address, segments, node and allocation. -ENOMEM. */
	int (*memory_get)(void *nic, struct memory *memory);
	void (*memory_put)(void *nic, struct memory *memory);
	/** NUMA node of a processor; -1 unknown. */
	int (*node_of_cpu)(unsigned cpu);
	/**
	 * Reserve receive buffers for a queue, or another number of them for one that has some; *buffers is what was
	 * asked for on entry and what there is on return. -ENOMEM: it keeps what it had.
	 */
	int (*queue_start)(void *nic, uint16_t queue, uint32_t *buffers, struct refusal *why);
	void (*queue_stop)(void *nic, uint16_t queue);
	int (*filter_add)(void *nic, uint16_t queue, uint64_t mac, uint16_t vlan);
	void (*filter_remove)(void *nic, uint64_t mac, uint16_t vlan);
	/** One step: at no moment does a frame find the filter on neither queue. */
	void (*filter_move)(void *nic, uint16_t queue, uint64_t mac, uint16_t vlan);
	void (*publish)(void *nic);
	/** The filters as last published, for views: workers hand them back, so that queues and filters change as one. */
	const void *(*filters)(void *nic);
	void (*retire)(void *nic);

	/** Memory for frames of this adapter that do not come from its port, for a processor of this NUMA node. */
	struct rte_mempool *(*pool)(void *nic, int node);
	/** Receive queues of the port; each is polled by one worker. */
	uint16_t (*rx_queues)(void *nic);
	/** NUMA node that the buffers of a receive queue are on; -1 unknown. */
	int (*rx_node)(void *nic, uint16_t rx_queue);
	/** Workers: descriptors that become readable when the port has frames. @return how many; -ENOTSUP it has none. */
	int (*wake_fds)(void *nic, int *fds, int size);
	/** Workers: up to n frames from the port, queue_ids[i] the queue that the filters chose for frame i. */
	uint16_t (*receive)(void *nic, const void *filters, uint16_t rx_queue, struct rte_mbuf **frames,
			    uint16_t *queue_ids, uint16_t n);
	/** Workers: the queue that the filters choose for frames that did not come from the port; as many as for find. */
	void (*place)(const void *filters, struct rte_mbuf **frames, uint16_t *queue_ids, uint16_t n);
	/** Workers: the same for keys (frame/key.h), at most INSPECT_BURST_MAX. */
	void (*find)(const void *filters, const uint64_t *keys, uint16_t *queue_ids, uint16_t n);
	/** Workers: whether exactly this filter stands on this queue. */
	bool (*owns)(const void *filters, uint16_t queue, uint64_t mac, uint16_t vlan);
	/** Workers: whether this GSO frame may be sent as it is; else it has to be cut. */
	bool (*takes)(void *nic, const struct rte_mbuf *frame);
	/**
	 * Workers: send; frames that were not taken stay the caller's. *rest is why the first of these was not.
	 * @return how many were taken.
	 */
	uint16_t (*transmit)(void *nic, uint16_t tx_queue, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest);
};

enum {
	LOOKAHEAD_BYTES_MIN = 14,     /* at least the Ethernet header, which the host inspects */
	LOOKAHEAD_BYTES_MAX = 384,
	/* The most, and then to the next header boundary. An odd number of cache lines: not all begin in the same sets. */
	LOOKAHEAD_SLOT_BYTES = 576,
	INSPECT_BURST_MAX = 64,       /* frames that are looked at together */
};

/*
 * Frames to deliver in two parts. The first goes to host memory, where inspect() decides; the rest goes straight to
 * the guest, behind room for the first, which follows once the frame has passed. Source: vmq-spec §5, NDIS 6.20.
 */
struct split_delivery {
	struct rte_mbuf **frames;
	const uint16_t *offsets;      /* how many bytes of each go to host memory; at most LOOKAHEAD_SLOT_BYTES */
	uint16_t n;
	uint8_t *lookahead;           /* n slots of LOOKAHEAD_SLOT_BYTES in host memory */
	/**
	 * Looks at their slots only. @param n  at most INSPECT_BURST_MAX.
	 * @return how many of the leading frames from `first` on may pass; fewer than n: the next one may not.
	 */
	uint16_t (*inspect)(void *ctx, const struct split_delivery *delivery, uint16_t first, uint16_t n);
	void *ctx;
};

/** The first part of a frame: delivery->offsets[i] bytes. */
static inline uint8_t *
split_slot(const struct split_delivery *delivery, uint16_t i)
{
	return delivery->lookahead + (size_t)i * LOOKAHEAD_SLOT_BYTES;
}

enum { VM_FEATURES_MAX = 63 };

/* What became of a VM's connection. */
struct vm_status {
	bool connected;
	const char *why;                              /* the last refusal or fault, a sentence; empty: none */
	const char *offered[VM_FEATURES_MAX + 1];     /* virtio features by name, up to a NULL */
	const char *taken[VM_FEATURES_MAX + 1];
};

/* What arm() returns in place of a descriptor. */
enum {
	KICKS_NONE = -1,   /* nobody is there who could kick */
	KICKS_POLLED = -2, /* the guest never kicks: its ring has to be looked at */
};

/* A VM's network device. */
struct vm_ops {
	/** Make or join the vhost-user socket; the guest may come now or later. */
	int (*open)(void *ctx, const struct vm *vm, void **port, struct refusal *why);
	/** No worker uses the port any more. */
	void (*close)(void *port);
	bool (*connected)(void *port);
	/** @param status  out; its texts are valid until the control thread returns to its loop. */
	void (*status)(void *port, struct vm_status *status);

	/** Workers: whether the guest takes GSO frames of these kinds (frame/offload.h) whole; else they have to be cut. */
	bool (*takes)(void *port, unsigned kinds);
	/**
	 * Workers: copy frames into the guest; the frames stay the caller's. *rest is why no more: DROP_NO_BUFFER says
	 * that its descriptors are used up, so that the others can wait for more.
	 * @return how many.
	 */
	uint16_t (*deliver)(void *port, struct rte_mbuf **frames, uint16_t n, enum drop_reason *rest);
	/**
	 * Workers: the same in two parts. drops[] counts those that did not pass or fit; *waiting says how many can
	 * wait for descriptors.
	 * @return how many the guest got: the first of frames[], which may be put in another order; then those that wait.
	 */
	uint16_t (*deliver_split)(void *port, const struct split_delivery *delivery, uint64_t *drops,
				  uint16_t *waiting);
	/** Workers: copy up to n frames that the guest sent into buffers of `pool`. */
	uint16_t (*collect)(void *port, struct rte_mempool *pool, struct rte_mbuf **frames, uint16_t n);
	/**
	 * Workers: interrupt the guests that want to hear of what deliver and collect did with their ports. Due in the
	 * turn of these calls; a port may be named more than once.
	 */
	void (*notify)(void *const *ports, uint16_t n);
	/** Workers: ask the guest to kick when it sends, or no more. @return the descriptor of its kicks; KICKS_... */
	int (*arm)(void *port, bool kicks);
};

struct queue_counters {
	uint64_t rx_packets; /* delivered from the queue: into the VM; for the default queue, to the host */
	uint64_t rx_bytes;
	uint64_t tx_packets; /* taken from the VM; for the default queue, from the host */
	uint64_t tx_bytes;
	uint64_t drops[DROP_REASON_COUNT];
};

struct adapter_counters {
	uint64_t wire_rx_packets; /* entered from the port */
	uint64_t wire_rx_bytes;
	uint64_t wire_tx_packets; /* left by the port */
	uint64_t wire_tx_bytes;
	uint64_t copies;          /* entered by being copied, for broadcast and multicast */
	struct queue_counters freed; /* of queues that are gone: what they counted stays counted */
};

/* What is kept of the frames that a capture sees. */
struct capture_wish {
	uint32_t snap_bytes;  /* of each, at most */
	const char *filter;   /* as `tcpdump -ddd` prints it, with commas for line ends; NULL: all */
};

/* What a data-path processor did since the start. */
struct cpu_counters {
	uint64_t busy_cycles; /* in which it had frames */
	uint64_t received;    /* frames that it took from ports */
	uint64_t cycles;      /* now; the first may be any */
	uint64_t hertz;       /* cycles in a second */
};

/*
 * The data path: workers, and what they know of the model. publish() shows them the model as it is now;
 * after synchronize() no worker uses what was published before; retire() then frees it.
 */
struct path_ops {
	/** Start to receive on the adapter's port. */
	int (*adapter_open)(void *ctx, struct adapter *adapter, struct refusal *why);
	void (*adapter_close)(void *ctx, struct adapter *adapter);
	/** The adapter's port was opened: receive on all its queues. */
	void (*adapter_connected)(void *ctx, struct adapter *adapter);
	int (*queue_open)(void *ctx, struct queue *queue, struct refusal *why);
	void (*queue_close)(void *ctx, struct queue *queue);
	void (*publish)(void *ctx, struct adapter *adapter);
	void (*synchronize)(void *ctx);
	void (*retire)(void *ctx, struct adapter *adapter);

	/** Frames indicated on the queue that are not back yet. */
	uint32_t (*outstanding)(void *ctx, const struct queue *queue);
	void (*queue_counters)(void *ctx, const struct queue *queue, struct queue_counters *counters);
	void (*adapter_counters)(void *ctx, const struct adapter *adapter, struct adapter_counters *counters);
	void (*counters_clear)(void *ctx, struct adapter *adapter);

	/** Room for what workers copy; *file is another handle of the same memory. -ENOMEM, -EINVAL with a sentence. */
	int (*capture_open)(void *ctx, struct capture *capture, const struct capture_wish *wish, int *file,
			    struct refusal *why);
	/** No view has it any more: whoever reads is told that it is over. */
	void (*capture_close)(void *ctx, struct capture *capture);
	void (*cpu_counters)(void *ctx, unsigned cpu, struct cpu_counters *counters);
};

#endif
