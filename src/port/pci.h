/* SPDX-License-Identifier: BSD-3-Clause */
/* Cards on the PCI bus: their addresses, and why one cannot be a port. Reads sysfs; any thread. */
#ifndef VMQ_PORT_PCI_H
#define VMQ_PORT_PCI_H

#include "util/refusal.h"

#include <rte_pci.h>
#include <stdbool.h>

/** @param name  a device as DPDK takes it, without arguments. @return whether it is a PCI address; then in full. */
bool pci_address(const char *name, char address[PCI_PRI_STR_SIZE]);

/** Whether a network card is bound to a uio driver: DPDK must know when it starts, since such cards take physical
 * addresses only. */
bool pci_card_wants_physical_addresses(void);

/** Have DPDK use vfio also if its modules were loaded after DPDK started. */
void pci_vfio_enable(void);

/** After DPDK failed to open a card. @return 0: the reason is none of those known here; else -errno and *why. */
int pci_refuse(const char *address, struct refusal *why);

#endif
