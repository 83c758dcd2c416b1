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
HOST_ADDRESS, WIRE_ADDRESS = "10.9.0.1", "10.9.0.2"
BRIDGE, HOST_IF, PORT_IF, WIRE_IF = "br0", "host0", "eth0", "wire0"
IPERF = "TMPDIR=/run iperf3"  # a guest can write nowhere else


def kernel(netns, ifname, address):
    netns.run("ip", "link", "set", ifname, "up")
    return Kernel(netns, ifname, address)


def wired(lab):
    """A namespace with an interface, and the kernel beyond its wire, both as `ip link add` makes them."""
    netns, beyond = lab.netns("host"), lab.netns("beyond")
    lab.veth((netns, PORT_IF), (beyond, WIRE_IF))
    return netns, kernel(beyond, WIRE_IF, WIRE_ADDRESS)


def guest(lab, number, **ways):
    made = lab.make(UmlGuest, lab, f"vm{number}", MACS[number], f"{ADDRESSES[number]}/24", **ways)
    made.address = ADDRESSES[number]
    return made


def behind_vmqd(lab):
    netns, beyond = wired(lab)
    plan = Plan(f"if={PORT_IF}", [(mac, vm) for vm, mac in enumerate(MACS)], len(MACS), 0)
    vmqd = lab.make(Ours, lab, plan, netns=netns)
    vmqd.ctl("host", "add", "p0", "tap", HOST_IF)
    guests = [guest(lab, number, socket_path=path) for number, path in enumerate(vmqd.sockets)]
    return {"host": kernel(netns, HOST_IF, HOST_ADDRESS), "wire": beyond, **dict(enumerate(guests))}


def behind_bridge(lab):
    netns, beyond = wired(lab)
    netns.run("ip", "link", "add", BRIDGE, "type", "bridge")
    netns.run("ip", "link", "set", PORT_IF, "master", BRIDGE)
    guests = {}
    for number in range(len(MACS)):
        tap = f"tap{number}"
        netns.run("ip", "tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr")
        netns.run("ip", "link", "set", tap, "master", BRIDGE, "up")
        guests[number] = guest(lab, number, netns=netns, tap=tap)
    return {"host": kernel(netns, BRIDGE, HOST_ADDRESS), "wire": beyond, **guests}


def connection(site, sender, receiver):
    """`sender` and `receiver`: `host`, `wire`, or the number of a guest."""
    def measure(lab, pace):
        ends = site(lab)
        for number in range(len(MACS)):
            ends[number].wait_ready()
        source, sink = ends[sender], ends[receiver]
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
