/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port that is an interface of the kernel's, by packet sockets: one with a mapped ring to receive, whose frames come
 * with what their sender left to the hardware (vnet.h), and two for each worker that sends: one with a mapped ring, and one
 * for frames that the interface cuts, which no slot holds. DPDK's AF_PACKET driver cannot say what a frame still needs. Source: packet(7); Linux, Documentation/networking/packet_mmap.
 */
#ifndef VMQ_PORT_PACKET_H
#define VMQ_PORT_PACKET_H

#include "port/port.h"

#define PACKET_PORT_PREFIX "if="

extern const struct port_ops packet_port_ops;

#endif
