# SPDX-License-Identifier: BSD-3-Clause
"""VLAN interfaces on top of an interface, in user space: not every kernel has 802.1Q."""

import fcntl
import os
import select
import struct
import threading

import vmq

TUNSETIFF = 0x400454CA
IFF_TAP_NO_PI = 0x1002


def open_tap(netns, name):
    """The end of a new TAP interface; it is up."""
    with netns.entered():
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP_NO_PI))
    netns.run("ip", "link", "set", "dev", name, "up")
    return tap


class VlanPorts(threading.Thread):
    """
    For each VLAN a TAP interface `vlanN` in a namespace of its own, so that no kernel answers on one VLAN for an
    address of another. What it sends goes out of `ifname` with the tag; what comes in there with the tag, it gets.
    """

    def __init__(self, netns, ifname, netns_of_vlan):
        super().__init__(daemon=True)
        self.trunk = vmq.Wire(netns, ifname)
        self.ended, self.end = os.pipe()
        self.taps = {vlan: open_tap(there, f"vlan{vlan}") for vlan, there in netns_of_vlan.items()}
        self.start()

    def run(self):
        vlan_of = {tap: vlan for vlan, tap in self.taps.items()}
        while True:
            ready, _, _ = select.select([self.trunk.socket, self.ended, *vlan_of], [], [])
            if self.ended in ready:
                return
            for source in ready:
                if source in vlan_of:
                    self.trunk.send(vmq.tagged(os.read(source, 65536), vlan_of[source]))
                else:
                    self.to_taps()

    def to_taps(self):
        frames = self.trunk.received()
        for content in frames:
            tpid, tci = struct.unpack_from("!HH", content, 12)
            if tpid == vmq.TPID_8021Q and tci & 0xFFF in self.taps:
                os.write(self.taps[tci & 0xFFF], vmq.untagged(content))
        frames.clear()

    def delete(self):
        os.close(self.end)
        self.join()
        for descriptor in (self.ended, *self.taps.values()):
            os.close(descriptor)
        self.trunk.delete()
