/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/pci.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/vfio.h>
#include <rte_eal.h>
#include <rte_vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices"

enum { CLASS_NETWORK = 0x02 };

/* What a card may be bound to. A driver that is in no row is the kernel's own, and keeps DPDK away from it. */
enum access { ACCESS_KERNEL, ACCESS_VFIO, ACCESS_UIO, ACCESS_SHARED /* DPDK's driver works through the kernel's */ };

static const struct {
	const char *driver;
	enum access access;
} drivers[] = {
	{ "vfio-pci", ACCESS_VFIO },   { "uio_pci_generic", ACCESS_UIO }, { "igb_uio", ACCESS_UIO },
	{ "mlx4_core", ACCESS_SHARED }, { "mlx5_core", ACCESS_SHARED },   { "mana", ACCESS_SHARED },
	{ "nfb", ACCESS_SHARED },
};

bool
pci_address(const char *name, char address[PCI_PRI_STR_SIZE])
{
	struct rte_pci_addr parsed;

	if (!strncmp(name, "pci:", 4))
		name += 4;
	if (!isxdigit((unsigned char)name[0]) || rte_pci_addr_parse(name, &parsed))
		return false;
	rte_pci_device_name(&parsed, address, PCI_PRI_STR_SIZE);
	return true;
}

/* The last part of what a link of the device's folder leads to; empty if there is no such link. */
static void
link_read(const char *address, const char *name, char target[NAME_MAX + 1])
{
	char path[PATH_MAX], full[PATH_MAX];
	ssize_t length;

	snprintf(path, sizeof(path), DEVICES "/%s/%s", address, name);
	length = readlink(path, full, sizeof(full) - 1);
	full[length > 0 ? length : 0] = '\0';
	snprintf(target, NAME_MAX + 1, "%.*s", NAME_MAX, length > 0 ? basename(full) : "");
}

static enum access
driver_access(const char *driver)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (!strcmp(driver, drivers[i].driver))
			return drivers[i].access;
	return ACCESS_KERNEL;
}

static bool
is_network_card(const char *address)
{
	char path[PATH_MAX], text[16] = "";
	FILE *stream;

	snprintf(path, sizeof(path), DEVICES "/%s/class", address);
	stream = fopen(path, "re");
	if (!stream)
		return false;
	if (!fgets(text, sizeof(text), stream))
		text[0] = '\0';
	fclose(stream);
	return strtoul(text, NULL, 16) >> 16 == CLASS_NETWORK;
}

bool
pci_card_wants_physical_addresses(void)
{
	DIR *folder = opendir(DEVICES);
	const struct dirent *entry;
	bool found = false;

	while (folder && !found && (entry = readdir(folder))) {
		char driver[NAME_MAX + 1];

		link_read(entry->d_name, "driver", driver);
		found = driver_access(driver) == ACCESS_UIO && is_network_card(entry->d_name);
	}
	if (folder)
		closedir(folder);
	return found;
}

void
pci_vfio_enable(void)
{
	if (!rte_vfio_is_enabled("vfio"))
		rte_vfio_enable("vfio");
}

static int
refuse_binding(const char *address, const char *driver, const char *group, struct refusal *why)
{
	const char *bind = *group ? "vfio-pci" : "uio_pci_generic";

	if (*driver)
		return refuse(why, -EBUSY,
			      "port %s: the kernel's driver %s has the card: dpdk-devbind.py -b %s %s "
			      "gives it to vmqd",
			      address, driver, bind, address);
	return refuse(why, -ENODEV,
		      "port %s: the card is bound to no driver: dpdk-devbind.py -b %s %s gives it to vmqd", address,
		      bind, address);
}

static int
refuse_uio(const char *address, const char *driver, struct refusal *why)
{
	if (!rte_eal_has_hugepages())
		return refuse(why, -ENOTSUP,
			      "port %s: %s needs huge pages: reserve them and start vmqd again, or use "
			      "vfio-pci",
			      address, driver);
	if (rte_eal_iova_mode() != RTE_IOVA_PA)
		return refuse(why, -ENOTSUP,
			      "port %s: %s needs physical addresses, and vmqd started before the card was "
			      "bound to it: start vmqd again, or use vfio-pci",
			      address, driver);
	return 0;
}

/* What the kernel says when the card's group is opened once more, as DPDK has just tried. */
static int
refuse_vfio(const char *address, const char *group, struct refusal *why)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[NAME_MAX + 32];
	int handle, error = 0;

	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	handle = open(path, O_RDWR | O_CLOEXEC);
	if (handle < 0 && errno == EBUSY)
		return refuse(why, -EBUSY, "port %s: another program uses the card (%s is open)", address, path);
	if (handle < 0)
		return refuse(why, -errno, "port %s: %s: %s", address, path, strerror(errno));
	if (!ioctl(handle, VFIO_GROUP_GET_STATUS, &status) && !(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		error = refuse(why, -EBUSY,
			       "port %s: the kernel's drivers have other devices of its IOMMU group %s: bind "
			       "those to vfio-pci too",
			       address, group);
	close(handle);
	return error;
}

int
pci_refuse(const char *address, struct refusal *why)
{
	char path[PATH_MAX], driver[NAME_MAX + 1], group[NAME_MAX + 1];

	snprintf(path, sizeof(path), DEVICES "/%s", address);
	if (access(path, F_OK))
		return refuse(why, -ENODEV, "port %s: there is no such card: dpdk-devbind.py -s lists those there are",
			      address);
	link_read(address, "driver", driver);
	link_read(address, "iommu_group", group);
	switch (driver_access(driver)) {
	case ACCESS_KERNEL:
		return refuse_binding(address, driver, group, why);
	case ACCESS_UIO:
		return refuse_uio(address, driver, why);
	case ACCESS_VFIO:
		return refuse_vfio(address, group, why);
	case ACCESS_SHARED:
		break;
	}
	return 0;
}
