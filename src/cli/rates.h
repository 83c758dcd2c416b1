/* SPDX-License-Identifier: BSD-3-Clause */
/* What passed between two answers of queue.show. */
#ifndef VMQ_CLI_RATES_H
#define VMQ_CLI_RATES_H

#include <jansson.h>

/**
 * A row for each queue of `after`: which queue, its processor and buffers, and what passed in a second: packets and bits,
 * rounded, and drops by reason, rounded up, so that one that happened is never shown as none. A counter that went back
 * was cleared in between, and counts from there.
 *
 * @return a new array; NULL: no memory.
 */
json_t *rates_between(const json_t *before, const json_t *after, double seconds);

/** Order rows: `rx`, `tx` and `drops` have the most first, `id` goes by adapter and id. */
void rates_sort(json_t *rows, const char *by);

/** The one of the same adapter and id, among rows or queues. @return NULL: there is none. */
const json_t *rates_find(const json_t *queues, const json_t *wanted);

/** All drops of a row together, a second. */
json_int_t rates_drops(const json_t *row);

#endif
