# SPDX-License-Identifier: BSD-3-Clause
"""
TCP between real kernels: user-mode Linux guests behind vmqd, and the same guests on TAPs of a Linux bridge with all
offloads. One iperf3 connection; who runs where is left to the kernel, but for vmqd's worker.
"""

import json

from systems import Ours, Plan, vmq  # first: it says where the others are

from kernel import Kernel
from uml import UmlGuest

MACS = ("52:54:00:00:00:00", "52:54:00:00:00:01")
ADDRESSES = ("10.9.0.10", "10.9.0.11")
HOST_ADDRESS = "10.9.0.1"
BRIDGE, HOST_IF = "br0", "host0"
IPERF = "TMPDIR=/run iperf3"  # a guest can write nowhere else


def host(netns, ifname):
    netns.run("ip", "link", "set", ifname, "up")
    return Kernel(netns, ifname, HOST_ADDRESS)


def guest(lab, number, **ways):
    made = lab.make(UmlGuest, lab, f"vm{number}", MACS[number], f"{ADDRESSES[number]}/24", **ways)
    made.address = ADDRESSES[number]
    return made


def behind_vmqd(lab):
    netns = lab.netns("host")
    plan = Plan("net_null0,no-rx=1", [(mac, vm) for vm, mac in enumerate(MACS)], len(MACS), 0)
    vmqd = lab.make(Ours, lab, plan, netns=netns)
    vmqd.ctl("host", "add", "p0", "tap", HOST_IF)
    return host(netns, HOST_IF), [guest(lab, number, socket_path=path) for number, path in enumerate(vmqd.sockets)]


def behind_bridge(lab):
    netns = lab.netns("host")
    netns.run("ip", "link", "add", BRIDGE, "type", "bridge")
    guests = []
    for number in range(len(MACS)):
        tap = f"tap{number}"
        netns.run("ip", "tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr")
        netns.run("ip", "link", "set", tap, "master", BRIDGE, "up")
        guests.append(guest(lab, number, netns=netns, tap=tap))
    return host(netns, BRIDGE), guests


def connection(site, sender, receiver):
    """`sender` and `receiver`: `host`, or the number of a guest."""
    def measure(lab, pace):
        kernel, guests = site(lab)
        for one in guests:
            one.wait_ready()
        source, sink = (kernel if end == "host" else guests[end] for end in (sender, receiver))
        status, said = sink.run(f"{IPERF} -s -1 -D")
        if status:
            raise RuntimeError(f"iperf3 does not listen: {said}")

        seconds, warm_up = (max(1, round(time)) for time in (pace.window_s, pace.warm_up_s))

        def sent():
            text = source.run(f"{IPERF} -J -t {seconds} -O {warm_up} -c {sink.address}")[1]
            found = json.loads(text)
            if "error" in found and "refused" not in found["error"]:  # it does not listen yet
                raise RuntimeError(f"iperf3: {found['error']}")
            return "error" not in found and found["end"]

        found = vmq.wait_until(sent, "a connection")
        return {"gbps": found["sum_received"]["bits_per_second"] / 1e9, "again": found["sum_sent"]["retransmits"]}
    return measure
