/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the model share among themselves; nobody else includes it.
 *
 * Checks return 0 or a refusal and change nothing. The rest acts, and cannot fail unless it returns an int.
 */
#ifndef VMQ_MODEL_INTERNAL_H
#define VMQ_MODEL_INTERNAL_H

#include "model/model.h"

#include <stddef.h>

/* model.c */

/**
 * Zeroed memory that never fails: the model's objects are small and counted, and without them nothing can be
 * said or undone, so the end of the heap ends the program.
 */
void *memory_zeroed(size_t count, size_t size);

/** A name of `kind` for programs: 1 to size - 1 of A-Z a-z 0-9 _ . : @ -. */
int name_check(const char *kind, const char *name, size_t size, struct refusal *why);
/** A text for people: at most size - 1 bytes, no control characters. */
int text_check(const char *kind, const char *text, size_t size, struct refusal *why);
/** `what` is what belongs to `owner`. */
int owner_check(const struct caller *owner, const struct caller *caller, const char *what, struct refusal *why);

/** What leaves may still have the socket or the interface that is wanted now: see it off first. */
void model_see_off(struct model *model);
void model_emit(struct model *model, const struct model_event *event);
/** Let model_poll() call it; nothing if nobody waits. */
void model_answer(struct model *model, struct completion completion);

/* capture.c */

/** Captures of an adapter, a queue or a VM that leaves are over. */
void captures_end_of(struct model *model, const void *subject);
/** No worker sees the leaving ones any more. */
void captures_close(struct model *model);

/* adapter.c */

int adapter_check_open(const struct adapter *adapter, struct refusal *why);
int adapter_check_vmq(const struct adapter *adapter, struct refusal *why);
/** Whether a deleted adapter has nothing left to wait for. */
bool adapter_is_drained(const struct adapter *adapter);
void adapter_close(struct adapter *adapter);
void adapter_destroy(struct adapter *adapter);
void host_close(struct model *model, struct host *host);

/* queue.c */

struct queue_text {
	char text[80];
};

/** `queue 3 of adapter eth0`, `the default queue of adapter eth0`. */
struct queue_text queue_text(const struct queue *queue);

/** Default and drop queue: outside the table of states, nobody's. */
bool queue_is_reserved(const struct queue *queue);
/** The state after an event; reserved queues stay Running. @return -1 invalid. */
int queue_after(const struct queue *queue, enum queue_event event);
/** The only writer of a state. The event must have been checked. */
void queue_step(struct queue *queue, enum queue_event event);
/** Tell everyone which state it is in now. */
void queue_indicate(struct queue *queue);

/** @param act  what is asked of it, for the refusal: "be freed". */
int queue_check_reserved(const struct queue *queue, const char *act, struct refusal *why);
int queue_check_event(const struct queue *queue, enum queue_event event, struct refusal *why);
/** Anyone may act on a reserved queue. */
int queue_check_owner(const struct queue *queue, const struct caller *caller, struct refusal *why);
/** What a new queue asks for, against the adapter's switches. */
int queue_check_new(const struct adapter *adapter, const struct queue_parameters *parameters, struct refusal *why);
/** Whether its id, or any, is free. */
int queue_check_room(const struct adapter *adapter, const struct queue_parameters *parameters, struct refusal *why);

struct queue *queue_create_reserved(struct adapter *adapter, uint16_t id, const char *name);
/** A queue that was checked, open on the data path, not in the model yet. */
int queue_open(struct adapter *adapter, const struct queue_parameters *parameters, const struct caller *caller,
	       struct queue **queue, struct refusal *why);
/** Undo queue_open(). */
void queue_discard(struct queue *queue);
/** Put it into the model: Undefined → Allocated. */
void queue_enter(struct queue *queue);
/** The processor that serves it from the next commit on. */
void queue_serve_on(struct queue *queue, unsigned cpu);
/** Start of the free, from a state that allows it. */
void queue_release(struct queue *queue, struct completion freed);
/** Freeing → Undefined, and the end of the object. */
void queue_end(struct queue *queue);
void queue_destroy(struct queue *queue);

/* memory.c */

/** Memory for so many receive buffers; what the queue has counts. On an error it has what it had. */
int memory_provide(struct queue *queue, uint32_t buffers, struct refusal *why);

/* filter.c */

/** Whether this adapter can have such a filter at all. */
int filter_check_tests(const struct adapter *adapter, uint64_t mac, uint32_t vlan, struct refusal *why);
int filter_check_unique(const struct adapter *adapter, uint64_t mac, uint16_t vlan, struct refusal *why);
int filter_check_room(const struct adapter *adapter, uint32_t count, struct refusal *why);
/** Let the hardware know a filter. */
int filter_place(const struct queue *queue, uint64_t mac, uint16_t vlan, struct refusal *why);
/** Put it into the model, and step the queue. @param id  that is free; FILTER_NONE: the lowest free one. */
struct filter *filter_enter(struct queue *queue, uint32_t id, uint64_t mac, uint16_t vlan);
/** Out of hardware and model, and step the queue. */
void filter_erase(struct filter *filter);
void filter_erase_all(struct queue *queue);

/* vm.c */

/** Out of the model now, closed by the next commit, which also answers. */
void vm_leave(struct vm *vm, struct completion gone);
/** Workers do not know it any more: close its port, answer, end it. */
void vm_end(struct model *model, struct vm *vm);

#endif
