/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of control share; nobody else includes it. */
#ifndef VMQ_CONTROL_INTERNAL_H
#define VMQ_CONTROL_INTERNAL_H

#include "cmd/command.h"
#include "control/control.h"
#include "util/socket_name.h"

#include <jansson.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

enum {
	REQUEST_BYTES_MAX = 1 << 20,  /* a longer line is refused */
	OUTPUT_BYTES_MAX = 16 << 20,  /* a client that does not read its answers is disconnected */
	CLIENTS_MAX = 256,
};

struct control {
	struct model *model;
	sd_event *event;
	int listener;
	struct socket_name name;      /* of the listener */
	sd_event_source *accepts;
	bool socket_missed;           /* it was removed and cannot be made again; told */
	int wake;                     /* eventfd: a guest came or went */
	unsigned client_count;
	char socket[SOCKET_PATH_SIZE];
	LIST_HEAD(, client) clients;
	sd_event_source *poll_timer;  /* while frees are pending */
	bool changed;                 /* the model, since the last commit */
	const char *state;            /* file that the state survives in; NULL: not kept (yet) */
	char *state_text;             /* what is in it; NULL: unknown */
	sd_event_source *retry_timer; /* of adapters that are absent */
	uint64_t retry_usec;
	uint64_t sequence;            /* number of the last event */
	json_t *recent;               /* params of the last events, oldest first */
	struct scrape *scrape;        /* who collects metrics; NULL: nobody is to */
};

/* One connection. Lives until it is closed and no answer to it is pending. */
struct client {
	struct control *control;
	int handle;                   /* -1: closed */
	sd_event_source *io;
	struct caller caller;         /* as accepted; a request may add a name */
	bool may_change;              /* root, or of group vmq */
	bool overlong;                /* in a line that is too long: skip to its end */
	bool follows;                 /* gets events */
	uint64_t missed;              /* events that it did not get since it last read */
	struct capture *capture;      /* that it reads; NULL: none */
	int passed;                   /* a file that goes with what is sent next; -1: none */
	unsigned pending;             /* answers that it waits for */
	char *input;
	size_t input_length, input_size;
	json_t *answers;              /* [whether it says that something changed, answer]: they wait for the commit */
	char *output;                 /* what waits for the socket */
	size_t output_length, output_size;
	LIST_ENTRY(client) of_control;
};

/* Where an answer goes that comes later. */
enum { FREE_POLL_USEC = 1000 }; /* how soon to look again whether frames of a queue that is freed are back */

struct pending {
	struct client *client;        /* NULL: the configuration file */
	json_t *id;                   /* NULL: a notification, nobody waits */
	json_t *result;
	int *status;                  /* of the configuration file's command; set when it is there */
};

struct request {
	struct control *control;
	struct client *client;        /* NULL: the configuration file */
	struct caller caller;
	const json_t *params;
	struct pending *pending;      /* a handler that answers later takes it and leaves NULL */
};

/*
 * Do one command. @return 0 and *result (NULL: an empty object); -EINPROGRESS the answer comes by the completion
 * made of request->pending; else a refusal.
 */
typedef int (*handler_fn)(struct request *request, json_t **result, struct refusal *why);

/** ports.c: look after ports from now on. @return less than 0: -errno. */
int ports_start(struct control *control);
/** ports.c: what is amiss with an adapter's port, in a sentence; empty: nothing. */
void adapter_trouble(const struct adapter *adapter, struct refusal *why);
/** ports.c: the same, into the log. */
void adapter_tell(const struct adapter *adapter);

/** server.c: send what waits for clients. */
void control_flush(struct control *control);

/** handlers.c: the function of a method; NULL none. */
handler_fn handler_find(const char *method);

/* rpc.c */

/** One line from a client, without its line end: its answer is put into client->output now or later. */
void rpc_line(struct client *client, const char *line, size_t length);
/** An error that belongs to no request. */
void rpc_error(struct client *client, int code, const char *message);
/** Check, authorise and run one command. Returns as handler_fn. */
int rpc_run(struct request *request, const struct command *command, json_t **result, struct refusal *why);
/** The same, and what ends later is waited for. A batch of which a part is refused is refused. */
int rpc_run_to_end(struct request *request, const struct command *command, json_t **result, struct refusal *why);
/** Let the answers go; if the state could not be saved, those of changes say that they are undone. */
void rpc_release(struct client *client, bool saved);
/** Completion of requests that are answered later; ctx is a struct pending. */
void rpc_answer_later(void *ctx, int status);

/* client.c */

/** Take over an accepted connection. @return 0; -errno, and the handle stays the caller's. */
int client_create(struct control *control, int handle);
void client_close(struct client *client);
/** Put an answer where it waits for the commit, or for the socket. */
void client_write(struct client *client, const char *text, size_t length);
/** Hand over a file with the next answer. It is not the caller's from here. */
void client_pass(struct client *client, int file);
/** Send what waits. @return false: the client is gone. */
bool client_flush(struct client *client);
/** Free it once it is closed and no answer to it is pending. */
void client_release(struct client *client);

/* server.c */

/** Make changes effective, then let the answers go. */
void control_commit(struct control *control);

/* params.c: params that command_check() has passed; NULL or the default where they are not given. */
const char *param_text(const json_t *params, const char *name);
int64_t param_number(const json_t *params, const char *name, int64_t otherwise);
bool param_switch(const json_t *params, const char *name, bool otherwise);
/** Whether this word stands there. */
bool param_is(const json_t *params, const char *name, const char *word);
bool param_given(const json_t *params, const char *name);
/** A list of processors. @return 0; -EINVAL; *is_auto where the word `auto` stands. */
int param_cpus(const json_t *params, const char *name, struct cpumask *cpus, bool *is_auto, struct refusal *why);
int param_mac(const json_t *value, uint64_t *mac, struct refusal *why);
uint32_t param_vlan(const json_t *params, uint32_t otherwise);
/** A queue id, `default` or `drop`. */
int64_t param_queue(const json_t *params, const char *name);

/* show.c: objects as JSON, by the names of the interface */
json_t *show_adapter(const struct adapter *adapter);
json_t *show_adapter_parameters(const struct adapter *adapter);
json_t *show_capabilities(const struct adapter *adapter, bool hardware);
json_t *show_queue(const struct queue *queue);
json_t *show_filter(const struct filter *filter);
json_t *show_vm(const struct vm *vm);
/** @param only  NULL: all queues */
json_t *show_stats(const struct adapter *adapter, const struct queue *only);
json_t *show_trace(const struct trace *trace);
/* What they have counted, without what was cleared. */
struct queue_counters counters_of(const struct queue *queue);
struct adapter_counters adapter_counters_of(const struct adapter *adapter);
/** Frames that the port and the host's interface lost before a worker saw them. */
uint64_t missed_of(const struct adapter *adapter);

/* config.c */

/** The model as the commands that would make it, a line each; the caller's to free. */
char *config_text(const struct model *model);
json_t *config_lines(const char *text);
/** Run one line as root; one that ends later is waited for, the others hold after the next commit. */
int config_run(struct control *control, const char *line, struct refusal *why);
/** Run a file. *why begins with FILE:LINE. */
int config_load(struct control *control, const char *file, struct refusal *why);

/* state.c */

/** Replace a file by these texts, whole and on disk when it returns. @return 0; -errno. */
int state_write(const char *file, const char *head, const char *text, const char *end);
/** Bring the state file up to date, if it is kept. @return 0; -errno, and the file is as it was. */
int state_save(struct control *control, struct refusal *why);
/** @return as config_load(); -EBADMSG also if its end is missing. */
int state_load(struct control *control, const char *file, struct refusal *why);
/** Rename a damaged file. @param aside  out: its new name. */
int state_put_aside(const char *file, char *aside, size_t size);

/* events.c */

/** For model_config.event, with the struct control as event_ctx. */
void events_emit(void *control, const struct model_event *event);
/** The client has read all that waited for it. */
void events_caught_up(struct client *client);

/** transaction.c: take the model back to this text of config_text(). */
void transaction_undo(struct control *control, const char *before);
/* transaction.c: a handler; on a refusal *result is {"index": i}, the command that was refused */
int transaction_run(struct request *request, json_t **result, struct refusal *why);

#endif
