# SPDX-License-Identifier: BSD-3-Clause
"""
TCP between real kernels: user-mode Linux guests behind vmqd, and the same guests on TAPs of a Linux bridge with all
offloads. Who runs where is left to the kernel, but for vmqd's worker.
"""

import json
import os

from systems import Ours, Plan, processor_seconds, vmq  # first: it says where the others are

from guest import HERE
from kernel import Kernel
from uml import UmlGuest

MACS = ("52:54:00:00:00:00", "52:54:00:00:00:01")
ADDRESSES = ("10.9.0.10", "10.9.0.11")
HOST_ADDRESS, WIRE_ADDRESS = "10.9.0.1", "10.9.0.2"
BRIDGE, HOST_IF, PORT_IF, WIRE_IF = "br0", "host0", "eth0", "wire0"
IPERF = "TMPDIR=/run iperf3"  # a guest can write nowhere else
PYTHON, TURNS, PORT = "/usr/bin/python3", os.path.join(HERE, "turns.py"), 5001


def kernel(netns, ifname, address, mtu):
    netns.run("ip", "link", "set", ifname, "up", "mtu", str(mtu))
    return Kernel(netns, ifname, address)


def wired(lab, mtu):
    """A namespace with an interface, and the kernel beyond its wire, both as `ip link add` makes them."""
    netns, beyond = lab.netns("host"), lab.netns("beyond")
    lab.veth((netns, PORT_IF), (beyond, WIRE_IF), mtu)
    return netns, kernel(beyond, WIRE_IF, WIRE_ADDRESS, mtu)


def guest(lab, number, mtu, **ways):
    made = lab.make(UmlGuest, lab, f"vm{number}", MACS[number], f"{ADDRESSES[number]}/24", mtu=mtu, **ways)
    made.address = ADDRESSES[number]
    return made


def behind_vmqd(offload="on"):
    def site(lab, mtu):
        netns, beyond = wired(lab, mtu)
        plan = Plan(f"if={PORT_IF}", [(mac, vm) for vm, mac in enumerate(MACS)], len(MACS), 0, mtu=mtu, offload=offload)
        vmqd = lab.make(Ours, lab, plan, netns=netns)
        vmqd.ctl("host", "add", "p0", "tap", HOST_IF)
        guests = [guest(lab, number, mtu, socket_path=path) for number, path in enumerate(vmqd.sockets)]
        ends = {"host": kernel(netns, HOST_IF, HOST_ADDRESS, mtu), "wire": beyond, **dict(enumerate(guests))}
        return ends, lambda: processor_seconds(vmqd.pid)
    return site


def behind_bridge(lab, mtu):
    netns, beyond = wired(lab, mtu)
    netns.run("ip", "link", "add", BRIDGE, "type", "bridge")
    netns.run("ip", "link", "set", PORT_IF, "master", BRIDGE)
    guests = {}
    for number in range(len(MACS)):
        tap = f"tap{number}"
        netns.run("ip", "tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr")
        netns.run("ip", "link", "set", tap, "mtu", str(mtu), "master", BRIDGE, "up")
        guests[number] = guest(lab, number, mtu, netns=netns, tap=tap)
    return {"host": kernel(netns, BRIDGE, HOST_ADDRESS, mtu), "wire": beyond, **guests}, lambda: 0


def ready_ends(site, lab, mtu, sender, receiver):
    ends, busy_s = site(lab, mtu)
    for number in range(len(MACS)):
        ends[number].wait_ready()
    return ends[sender], ends[receiver], busy_s


def transfer(site, sender, receiver, connections=1, mtu=1500):
    """`sender` and `receiver`: `host`, `wire`, or the number of a guest."""
    def measure(lab, pace):
        source, sink, busy_s = ready_ends(site, lab, mtu, sender, receiver)
        status, said = sink.run(f"{IPERF} -s -1 -D")
        if status:
            raise RuntimeError(f"iperf3 does not listen: {said}")

        seconds, warm_up = (max(1, round(time)) for time in (pace.window_s, pace.warm_up_s))
        before = 0

        def sent():
            nonlocal before
            before = busy_s()
            text = source.run(f"{IPERF} -J -t {seconds} -O {warm_up} -P {connections} -c {sink.address}")[1]
            found = json.loads(text)
            if "error" in found and "refused" not in found["error"]:  # it does not listen yet
                raise RuntimeError(f"iperf3: {found['error']}")
            return "error" not in found and found["end"]

        found = vmq.wait_until(sent, "a connection")
        gbps = found["sum_received"]["bits_per_second"] / 1e9
        return {"gbps": gbps, "again": found["sum_sent"]["retransmits"],
                "busy_ms_per_gbit": (busy_s() - before) * 1e3 / (gbps * (seconds + warm_up))}
    return measure


def turns(site, sender, receiver):
    """A byte there, a byte back."""
    def measure(lab, pace):
        source, sink, _ = ready_ends(site, lab, 1500, sender, receiver)
        sink.run(f"{PYTHON} {TURNS} answer {sink.address} {PORT} >/dev/null 2>&1 &")

        def asked():
            status, text = source.run(f"{PYTHON} {TURNS} ask {sink.address} {PORT} {pace.window_s}")
            if status and "refused" not in text:  # it does not listen yet
                raise RuntimeError(text)
            return not status and text

        mean, p99 = map(float, vmq.wait_until(asked, "an answer").split())
        return {"mean_us": mean, "p99_us": p99}
    return measure
