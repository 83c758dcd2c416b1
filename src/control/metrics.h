/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What vmqd counts, for Prometheus. Names and units by its conventions; words of drop reasons and states as everywhere
 * else. Source: Prometheus, text-based exposition format, version 0.0.4.
 */
#ifndef VMQ_CONTROL_METRICS_H
#define VMQ_CONTROL_METRICS_H

#include "control/control.h"

/** metrics.c: all metrics, as text. @return NULL: no memory; else free() it. */
char *metrics_text(const struct model *model, size_t *bytes);

/** scrape.c: end what control_serve_metrics() began, if it did. */
void metrics_close(struct control *control);

#endif
