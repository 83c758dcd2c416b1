/* SPDX-License-Identifier: BSD-3-Clause */
/* The connection to vmqd: JSON-RPC 2.0 over a UNIX socket, one object a line. */
#ifndef VMQ_CLI_CLIENT_H
#define VMQ_CLI_CLIENT_H

#include "util/refusal.h"

#include <jansson.h>

struct client;

/** @return 0; -errno with a sentence that names the socket. */
int client_open(const char *path, struct client **client, struct refusal *why);
void client_close(struct client *client);

/**
 * Send a request and wait for its response.
 *
 * @param params  NULL: none.
 * @param response  out: the response object, with `result` or `error`.
 * @return 0; -errno the connection is gone.
 */
int client_request(struct client *client, const char *method, json_t *params, json_t **response, struct refusal *why);

/** Wait for the next message, whatever it is. */
int client_receive(struct client *client, json_t **message, struct refusal *why);

/** The file that vmqd handed over with a response. @return -1: none; else the caller's to close. */
int client_take_file(struct client *client);
/** To poll; readable as long as something waits that client_receive() has not read. */
int client_handle(const struct client *client);

#endif
