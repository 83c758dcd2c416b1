/* SPDX-License-Identifier: BSD-3-Clause */
/* What the handlers of methods share; nobody outside control includes it. */
#ifndef VMQ_CONTROL_HANDLERS_H
#define VMQ_CONTROL_HANDLERS_H

#include "control/internal.h"

/* Find what params name under this word. @return 0; -ENOENT with a sentence. */
int find_adapter(struct request *request, const char *word, struct adapter **adapter, struct refusal *why);
int find_queue(struct request *request, const char *word, struct queue **queue, struct refusal *why);
int find_filter(struct request *request, struct filter **filter, struct refusal *why);

/** Whose a new thing is: the caller's, or, if root says so, another's: `owner UID [owner-name NAME]`. */
int take_owner(const struct request *request, struct caller *owner, struct refusal *why);

/** A completion that answers this request later, and takes its `pending` for that. */
struct completion answer_later(struct request *request, json_t *result);
/** What a handler returns of a request that starts something which ends later. */
int started(int error);

/** A number between bounds. @return 0; -EINVAL with a sentence. */
int number_in(const json_t *params, const char *word, int64_t low, int64_t high, int64_t otherwise, int64_t *number,
	      struct refusal *why);
/** 0 if not given; what is too large for its field is as wrong as any other number that the model refuses. */
uint32_t param_uint32(const json_t *params, const char *word);
/** The parameters that `queue allocate`, `queue set` and `vm add` share. */
int queue_params(const json_t *params, struct queue_parameters *parameters, struct refusal *why);

int on_adapter_add(struct request *request, json_t **result, struct refusal *why);
int on_adapter_del(struct request *request, json_t **result, struct refusal *why);
int on_adapter_show(struct request *request, json_t **result, struct refusal *why);
int on_adapter_capabilities(struct request *request, json_t **result, struct refusal *why);
int on_adapter_parameters(struct request *request, json_t **result, struct refusal *why);
int on_queue_allocate(struct request *request, json_t **result, struct refusal *why);
int on_queue_complete(struct request *request, json_t **result, struct refusal *why);
int on_queue_free(struct request *request, json_t **result, struct refusal *why);
int on_queue_set(struct request *request, json_t **result, struct refusal *why);
int on_queue_show(struct request *request, json_t **result, struct refusal *why);
int on_filter_set(struct request *request, json_t **result, struct refusal *why);
int on_filter_clear(struct request *request, json_t **result, struct refusal *why);
int on_filter_move(struct request *request, json_t **result, struct refusal *why);
int on_filter_show(struct request *request, json_t **result, struct refusal *why);
int on_vm_attach(struct request *request, json_t **result, struct refusal *why);
int on_vm_detach(struct request *request, json_t **result, struct refusal *why);
int on_vm_add(struct request *request, json_t **result, struct refusal *why);
int on_vm_set(struct request *request, json_t **result, struct refusal *why);
int on_vm_del(struct request *request, json_t **result, struct refusal *why);
int on_vm_show(struct request *request, json_t **result, struct refusal *why);
int on_host_add(struct request *request, json_t **result, struct refusal *why);
int on_host_del(struct request *request, json_t **result, struct refusal *why);
int on_trace(struct request *request, json_t **result, struct refusal *why);
int on_capture(struct request *request, json_t **result, struct refusal *why);
int on_stats_show(struct request *request, json_t **result, struct refusal *why);
int on_stats_clear(struct request *request, json_t **result, struct refusal *why);
int on_config_show(struct request *request, json_t **result, struct refusal *why);
int on_config_save(struct request *request, json_t **result, struct refusal *why);
int on_events(struct request *request, json_t **result, struct refusal *why);

#endif
