/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The classifier: two match tables, one that workers read and one that control changes.
 *
 * Theory: both hold the same filters except between a change and its retirement. Control changes the shadow,
 * publishes it with one store, waits until every reader has let go of the old table (the caller's grace period),
 * and then makes the same changes to the old one, which is the next shadow. So a reader never meets a half-made
 * change, a move of a filter between queues has no moment in between, and a change costs its own size, not the
 * table's.
 */
#ifndef VMQ_FILTER_CLASSIFY_H
#define VMQ_FILTER_CLASSIFY_H

#include "filter/match.h"

struct classify;

/** A classifier for up to `filters` filters. @return NULL out of memory. */
struct classify *classify_create(uint32_t filters);
void classify_destroy(struct classify *classify);

/* Changes: control thread only; seen by readers after classify_publish(). Not between publish and
 * retire. Errors as in match.h, and -ENOMEM: the log of changes cannot grow; nothing is changed. */
int classify_set(struct classify *classify, uint64_t mac, uint16_t vlan, uint16_t queue);
int classify_clear(struct classify *classify, uint64_t mac, uint16_t vlan);

/** Show the changes to readers. A reader that started before may still use the old table until a grace period. */
void classify_publish(struct classify *classify);

/** After the grace period that followed classify_publish(): bring the old table up to date. */
void classify_retire(struct classify *classify);

/** The table for one burst: any reader thread, valid until that thread reports quiescent. */
const struct match *classify_table(const struct classify *classify);

#endif
