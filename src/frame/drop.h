/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why a frame was dropped. One list: the enum, the words in JSON, tables and man page, and the sentence that
 * explains each come from these rows. A frame that entered is delivered, sent on, or in exactly one of these.
 */
#ifndef VMQ_FRAME_DROP_H
#define VMQ_FRAME_DROP_H

#define DROP_REASONS(row)                                                                      \
	row(NO_BUFFER, no_buffer, "the guest gave no descriptors, and the queue used up its buffers") \
	row(RING_FULL, ring_full, "the guest has no ring, or gave no descriptors for a second") \
	row(VM_DOWN, vm_down, "the VM is not connected")                                       \
	row(FILTER_CLEARED, filter_cleared, "the queue lost its last filter while frames waited") \
	row(QUEUE_FREED, queue_freed, "the queue was freed while frames waited")               \
	row(SPOOFED_SOURCE, spoofed_source, "a VM sent from an address that is not its own")   \
	row(VLAN_MISMATCH, vlan_mismatch, "a VM sent on a VLAN that is not its own")           \
	row(TOO_BIG, too_big, "longer than the MTU of the adapter, or than the guest takes")   \
	row(MALFORMED, malformed, "too short for its headers, or not what a guest said of it") \
	row(NO_CONSUMER, no_consumer, "nobody wants it: no filter, and no host interface")     \
	row(LINK_LOCAL, link_local, "for the next bridge only: BPDU, PAUSE, LACP, 802.1X, LLDP") \
	row(DROP_QUEUE, drop_queue, "a filter of the drop queue matched")                      \
	row(GUEST_FAULT, guest_fault, "the guest broke its rings and was detached")            \
	row(RATE_LIMIT, rate_limit, "more than the VM's rate-rx or rate-tx allows")             \
	row(STORM, storm, "more broadcast and multicast than the VM's storm limit allows")       \
	row(TX_FULL, tx_full, "the wire or the host interface took no more")                   \
	row(NO_MEMORY, no_memory, "no packet memory for a copy")

#define DROP_ENUM(name, word, text) DROP_##name,
enum drop_reason {
	DROP_REASONS(DROP_ENUM)
	DROP_REASON_COUNT
};
#undef DROP_ENUM

/** The word of a reason as JSON and tables show it, e.g. `no_buffer`. */
const char *drop_reason_word(enum drop_reason reason);

/** What the reason means, in one phrase. */
const char *drop_reason_meaning(enum drop_reason reason);

#endif
