# SPDX-License-Identifier: BSD-3-Clause
"""Real guests behind vmqd, the host, and hosts beyond the wire: who reaches whom, and who must not."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "flow"))

from guest import QemuGuest
from vlans import VlanPorts
from vmq_site import HOST_IF, WIRE_IF, Site

VMS = {"web1": ("52:54:00:00:10:01", 10), "web2": ("52:54:00:00:10:02", 10), "db1": ("52:54:00:00:20:01", 20)}
VLANS = {"web1": 10, "web2": 10, "db1": 20, "host10": 10, "host20": 20, "beyond10": 10, "beyond20": 20}

# Patient where an answer is due, brief where none may come.
PING_DUE = "ping -c 3 -i 0.2 -w 20"
PING_NOT_DUE = "ping -c 1 -W 1 -w 1"


def address(name):
    """One network for all, so that only VLANs keep them apart."""
    return f"10.0.0.{list(VLANS).index(name) + 1}"


class Village:
    """@param say  called with each line about what is there."""

    def __init__(self, lab, say=lambda text: None):
        self.lab, self.site = lab, Site(lab)
        self.guests, self.netns = {}, {}
        self.settle("host", self.site.inside, HOST_IF)
        self.settle("beyond", self.site.outside, WIRE_IF)
        for name, (mac, vlan) in VMS.items():
            self.boot(name, self.site.vmqd.add_vm(lab, name, mac, vlan))
        for name, vlan in VLANS.items():
            say(f"{name}: VLAN {vlan}, {address(name)}" + (f", {VMS[name][0]}" if name in VMS else ""))
        for name, guest in self.guests.items():
            guest.wait_ready()
            self.site.vmqd.wait_connected(name)

    def boot(self, name, socket_path, mode="server"):
        mac, network = VMS[name][0], f"{address(name)}/24"
        self.guests[name] = self.lab.make(QemuGuest, self.lab, name, mac, network, socket_path, mode)
        return self.guests[name]

    def settle(self, prefix, trunk_netns, trunk_ifname):
        there = {vlan: self.lab.netns(f"{prefix}{vlan}") for vlan in (10, 20)}
        self.lab.keep(VlanPorts(trunk_netns, trunk_ifname, there))
        for vlan, netns in there.items():
            name = f"{prefix}{vlan}"
            netns.run("ip", "address", "add", f"{address(name)}/24", "dev", f"vlan{vlan}")
            self.netns[name] = netns

    def pairs(self):
        """(from, to, whether it must answer) for every pair."""
        for source in VLANS:
            for target in VLANS:
                if source != target:
                    yield source, target, VLANS[source] == VLANS[target]

    def reaches(self, source, target, due=True):
        command = f"{PING_DUE if due else PING_NOT_DUE} {address(target)}"
        if source in VMS:
            return self.guests[source].run(command)[0] == 0
        try:
            self.netns[source].run("busybox", *command.split())
        except RuntimeError:
            return False
        return True
