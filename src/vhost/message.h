/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a front-end says: each message is a row of a table with its name, its payload, its files and a function.
 * Whatever is not in the table, or not as its row says, is refused with a sentence, and the connection ends with it.
 */
#ifndef VMQ_VHOST_MESSAGE_H
#define VMQ_VHOST_MESSAGE_H

#include "vhost/guest.h"
#include "vhost/protocol.h"

/** A message of which nothing has come yet. */
void message_clear(struct message *message);

/** Close the files that came with it and that nobody kept. */
void message_drop_files(struct message *message);

/** Whether its head is one that we know. @return 0; -EPROTO with a sentence. */
int message_check_head(const struct message *message, struct refusal *why);

/** Whether a message with this head changes what workers use: then the guest must be closed before it is handled. */
bool message_changes_rings(const struct message *message);

/**
 * Do what a whole message says; its head was checked.
 *
 * @param message  in; out: the reply, if there is one. Its files are kept or closed.
 * @return 1 there is a reply; 0 there is none; -errno with a sentence, and the connection has to end; nothing that
 *         it said before is undone.
 */
int message_handle(struct guest *guest, struct message *message, struct refusal *why);

/** Put names of virtio features into a list that ends with NULL. */
void message_feature_names(uint64_t features, const char *names[VM_FEATURES_MAX + 1]);

/** The virtio features that a guest is offered. @param offloads  which of VM_OFFLOADS. */
uint64_t message_features_offered(uint64_t offloads);

#endif
