# SPDX-License-Identifier: BSD-3-Clause
"""The usual scene: vmqd with one adapter on a cable, whoever is at the other end of it, a host interface, VMs."""

import vmq

ADAPTER_IF = "nic0"
WIRE_IF = "wire0"
HOST_IF = "host0"
DRIVERS = {"packet": "if=nic0", "af_packet": "net_af_packet0,iface=nic0", "af_xdp": "net_af_xdp0,iface=nic0"}

MACS = {name: f"52:54:00:00:00:0{i}" for i, name in enumerate(("web", "db", "dev"), 1)}
VLANS = {"web": 10, "db": 20, "dev": "untagged"}
STRANGER = "02:00:00:00:00:01"


class Site:
    """
    @param driver  how vmqd reaches the cable: a key of DRIVERS, or None for no adapter yet.
    @param adapter  more words for `adapter add`. @param options  more words for vmqd.
    """

    def __init__(self, lab, driver="packet", adapter=(), veth_mtu=1500, host=True, memory_mb=256,
                 options=()):
        self.lab = lab
        self.inside, self.outside = lab.netns("vmqd"), lab.netns("wire")
        lab.veth((self.inside, ADAPTER_IF), (self.outside, WIRE_IF), veth_mtu)
        self.wire = lab.wire(self.outside, WIRE_IF)
        self.vmqd = lab.vmqd(self.inside, memory_mb=memory_mb, options=options)
        self.guests = {}
        if driver:
            self.vmqd.ctl("adapter", "add", "eth0", "port", DRIVERS[driver], *adapter)
            self.host = self.add_host() if host else None

    def add_host(self, adapter="eth0", ifname=HOST_IF):
        self.vmqd.ctl("host", "add", adapter, "tap", ifname)
        self.inside.up(ifname)
        return self.lab.wire(self.inside, ifname)

    def add_vm(self, name, mac=None, vlan=None, guest=True, mode="server", send=None, record=True, mtu=1500, **words):
        """`vm add`, and the guest behind it unless told otherwise."""
        path = self.vmqd.add_vm(self.lab, name, mac or MACS[name], vlan or VLANS.get(name), mode=mode, **words)
        if guest:
            self.boot(name, path, mode=mode, send=send, record=record, mtu=mtu)
        return path

    def boot(self, name, path, mode="server", **options):
        guest = self.guests[name] = self.lab.guest(path, mode=mode, **options).wait_ready()
        self.vmqd.wait_connected(name)
        self.follow(name)
        return guest

    def follow(self, name):
        """From here on play() goes no faster than this guest."""
        guest, vm = self.guests[name], self.vmqd.vm(name)
        guest.queue = vm["adapter"], vm["queue"]
        guest.missed = self.vmqd.queue_stats(vm["queue"], vm["adapter"])["rx_packets"] - len(guest.frames())

    def caught_up(self, stats):
        """Whether every guest that takes and records frames has taken all that vmqd put into its ring."""
        delivered = {(stats["adapter"], queue["id"]): queue["rx_packets"] for queue in stats["queues"]}
        return all(len(guest.frames()) + guest.missed >= delivered.get(guest.queue, 0)
                   for guest in self.guests.values() if guest.records and guest.started and guest.alive())

    def add_three(self, **words):
        for name in MACS:
            self.add_vm(name, **words)

    def play(self, frames, chunk=vmq.CHUNK_FRAMES, end=None, source="wire", adapter="eth0"):
        """Frames from the wire or another end: the next come when nothing is on its way and the guests have all."""
        before = self.vmqd.entered(source, adapter)

        def taken(count):
            self.vmqd.check()
            stats = self.vmqd.stats(adapter)
            return (stats["entered"][source] - before >= count and not vmq.on_the_way(stats)
                    and self.caught_up(stats))

        (end or self.wire).play(frames, taken, chunk)

    def drops(self, queue):
        return {reason: count for reason, count in self.vmqd.queue_stats(queue)["drops"].items() if count}


def tags_of(name):
    return b"" if VLANS[name] == "untagged" else vmq.tag(VLANS[name])


def to(name, seq=0, size=60, src=STRANGER):
    """A frame from the wire that belongs to a VM of the usual three."""
    return vmq.frame(MACS[name], src=src, tags=tags_of(name), seq=seq, size=size)
