# SPDX-License-Identifier: BSD-3-Clause
"""
What is measured. A scenario is a set of systems that meet the same task; one call of a system's function starts it,
measures it once, and takes it away. Every function returns a dict of numbers.
"""

import collections
import math
import os
import random
import re
import statistics
import struct
import subprocess
import time

import tcp
from systems import (DATA_CPU, GUEST_CPU, GUEST_MB, Attacker, Guest, Memory, Ours, Ovs, Plan, Switch, Testpmd, guest_vdev,
                     guests_for, on_guest_cpu, probe, processor_seconds, program_words, vmq)

WARM_UP_S, WINDOW_S = 1.0, 3.0
IDLE_WINDOW_S = 10.0
FIRST_FRAMES, FIRST_GAP_US = 250, 15000
IDLE_QUEUES = 64
SMALL, LARGE = 60, 1514  # without FCS
LOOKAHEAD = 64
MEMIF_MTU = 1400  # its buffers have 2 KiB and its driver counts generously
FROM_MAC = "52:54:00:00:00:00"
TO_MAC = "52:54:00:00:00:01"
WIRE_MAC = "02:00:00:00:00:01"
TO_ALL = "ff:ff:ff:ff:ff:ff"
ATTACKED_PPS, ATTACKED_WINDOW_S = 500_000, 1.0


class Pace:
    """How long things take: as published, or just long enough to see that they still run."""

    def __init__(self, short):
        self.warm_up_s, self.window_s = (0.2, 0.5) if short else (WARM_UP_S, WINDOW_S)
        self.idle_s = 1.0 if short else IDLE_WINDOW_S
        self.first_frames = 20 if short else FIRST_FRAMES
        self.idle_queues = 8 if short else IDLE_QUEUES
        self.attacked_s, self.attacks = (self.window_s, 2) if short else (ATTACKED_WINDOW_S, None)


class Skip(Exception):
    """This cannot be measured here, and why."""


Scenario = collections.namedtuple("Scenario", "name title systems variant", defaults=(False,))
"""
`systems`: name -> function(lab, pace). `vmqd-…` is vmqd again, on the same way, with another task. `variant`: one that
runs the programs of another scenario with other numbers.
"""


# Captures


def mac(number):
    return f"52:54:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


def udp_frame(number, at, size):
    """As the peers' make-pcap: seven flows an address."""
    payload = size - 14 - 20 - 8
    ip = struct.pack("!BBHHHBBHII", 0x45, 0, 28 + payload, 0, 0, 64, 17, 0, 0x0A000001, 0x0A000100 + number)
    udp = struct.pack("!HHHH", 1000 + at % 7, 2000, 8 + payload, 0)
    return vmq.mac_bytes(mac(number)) + vmq.mac_bytes(WIRE_MAC) + b"\x08\x00" + ip + udp + bytes(payload)


def capture(lab, numbers, size):
    """Every address equally often, at least 1024 frames, in an order that is random and always the same."""
    drawn = list(numbers) * max(1, 1024 // len(numbers))
    random.Random(1).shuffle(drawn)
    path = lab.path("source.pcap")
    vmq.pcap.write(path, [udp_frame(number, at, size) for at, number in enumerate(drawn)])
    return f"net_pcap0,rx_pcap={path},infinite_rx=1"


# From the wire to guests, as fast as it goes


def flood(lab, pace, system, plan):
    """Frames per second in the guests, and what the data-path processor spent on each that it took in."""
    device = lab.make(system, lab, plan)
    guests = guests_for(lab, device.sockets)
    vmq.wait_until(lambda: all(guest.all_reached() for guest in guests), f"a frame in every guest of {device.title}")
    time.sleep(pace.warm_up_s)
    for guest in guests:
        guest.rate_since_last()
    device.mark()
    time.sleep(pace.window_s)
    work = device.work()
    delivered = sum(guest.rate_since_last() for guest in guests)
    if not work.taken_pps:
        raise RuntimeError(f"{device.title} has taken in nothing for {pace.window_s} s")
    return {"mpps": delivered / 1e6, "taken_mpps": work.taken_pps / 1e6, "frame_ns": work.frame_ns,
            "dropped": max(0.0, 1 - delivered / work.taken_pps)}


def flooded(system, filters, vms=1, size=SMALL, used=None, **rules):
    """`used`: the filters that frames come for; the others only stand there."""
    def measure(lab, pace):
        wire = capture(lab, used or range(filters), size)
        return flood(lab, pace, system, Plan(wire, [(mac(i), i % vms) for i in range(filters)], vms, size, **rules))
    return measure


class Sender(Testpmd):
    """A program on the guests' processor that sends from an interface as fast as the kernel takes it."""

    def __init__(self, lab, netns, ifname, to, size):
        options = ["-i", "--nb-cores=1", "--total-num-mbufs=16384", "--forward-mode=txonly", f"--txpkts={size}", f"--eth-peer=0,{to}",
                   "--disable-link-check", "--auto-start"]
        words = program_words(f"(0,1)@{GUEST_CPU}", GUEST_MB, [f"net_af_packet0,iface={ifname}"], options)
        super().__init__(lab, "sender", netns.words(*on_guest_cpu(vmq.testpmd()), *words))
        self.wait_ready()


def of_interface(port, direction):
    """A kernel's interface as a port alone: what a frame costs its worker."""
    def measure(lab, pace):
        nic, wire = lab.netns("nic"), lab.netns("wire")
        lab.veth((nic, "eth0"), (wire, "wire0"))
        if direction == "rx":
            lab.make(Sender, lab, wire, "wire0", TO_MAC, SMALL)
        text = bench_program("bench_port", *EAL_ALONE, "-m", "256", f"--file-prefix=bench{os.getpid()}", "--", port, direction,
                             str(pace.window_s), netns=nic)
        return {"ns": float(re.match(r"([\d.]+) ns a frame", text)[1])}
    return measure


def split(lookahead):
    def measure(lab, pace):
        plain = flooded(Ours, 64, ndis="6.20", vlan="untagged", lookahead=lookahead)
        try:
            return plain(lab, pace)
        except RuntimeError as error:
            refused = re.search(r"[^\n]*lookahead[^\n]*", str(error))
            if not lookahead or not refused:
                raise
            raise Skip(refused[0].strip()) from None
    return measure


# From one guest to another, and latency


def vm_to_vm(system, size):
    def measure(lab, pace):
        idle_wire = "net_null0,no-rx=1" if system is Ours else None
        device = lab.make(system, lab, Plan(idle_wire, [(FROM_MAC, 0), (TO_MAC, 1)], 2, size))
        vdevs = [guest_vdev(i, path) for i, path in enumerate(device.sockets)]
        device.mark()
        found = probe(lab, "rate", "net_virtio_user0", "net_virtio_user1", FROM_MAC, TO_MAC, size, 0, pace.window_s,
                      vdevs=vdevs)
        return {"mpps": found["received"] / found["seconds"] / 1e6,
                "guest_waited": found["refused"] / (found["sent"] + found["refused"])}
    return measure


def memif_wire(lab):
    """A wire without a kernel in the way: the vdevs of the system and of the probe."""
    device = "id=0,socket-abstract=no,socket=" + lab.path("memif.sock")
    return f"net_memif0,role=server,{device}", f"net_memif0,role=client,{device}"


class HalfLoad:
    """One rate for all systems: half of what the slower of them carries, found out before the first measurement."""

    def __init__(self, systems):
        self.systems, self.pps = systems, None

    def run(self, lab, pace, system, pps):
        wire, probe_wire = memif_wire(lab)
        sut = lab.make(system, lab, Plan(wire, [(TO_MAC, 0)], 1, SMALL, mtu=MEMIF_MTU))
        return probe(lab, "rate", "net_memif0", "net_virtio_user0", WIRE_MAC, TO_MAC, SMALL, int(pps), pace.window_s,
                     vdevs=[probe_wire, guest_vdev(0, sut.sockets[0])])

    def rate(self, pace):
        if not self.pps:
            found = []
            for system in self.systems:
                with vmq.Lab() as lab:
                    flat_out = self.run(lab, pace, system, 0)
                    found.append(flat_out["received"] / flat_out["seconds"])
            self.pps = min(found) / 2
        return self.pps

    def of(self, system):
        def measure(lab, pace):
            pps = self.rate(pace)
            found = self.run(lab, pace, system, pps)
            return {"offered_mpps": pps / 1e6, "lost": 1 - found["received"] / found["sent"],
                    "median_us": found["median_us"], "p99_us": found["p99_us"], "max_us": found["max_us"]}
        return measure


def first_frame(system):
    def measure(lab, pace):
        nic, wire = lab.netns("nic"), lab.netns("wire")
        lab.veth((nic, "eth0"), (wire, "wire0"))
        plan = Plan("net_af_packet0,iface=eth0", [(TO_MAC, 0)], 1, SMALL)
        device = lab.make(system, lab, plan, netns=nic)
        found = probe(lab, "idle", "wire0", "net_virtio_user0", WIRE_MAC, TO_MAC, SMALL, FIRST_GAP_US,
                      pace.first_frames, vdevs=[guest_vdev(0, device.sockets[0])], netns=wire)
        return {"lost": 1 - found["received"] / max(1, found["sent"]), "median_us": found["median_us"],
                "p99_us": found["p99_us"], "max_us": found["max_us"]}
    return measure


def paced(lab, pace, attack=None):
    """Frames per second in a VM, of a broadcast that another VM gets as well; that one attacks meanwhile."""
    wire, probe_wire = memif_wire(lab)
    vmqd = lab.make(Ours, lab, Plan(wire, [(TO_MAC, 0), (FROM_MAC, 1)], 2, SMALL, mtu=MEMIF_MTU))
    if attack:
        lab.make(Attacker, lab, attack, vmqd.sockets[1])
    found = probe(lab, "steady", "net_memif0", "net_virtio_user0", WIRE_MAC, TO_ALL, SMALL, ATTACKED_PPS,
                  pace.attacked_s, vdevs=[probe_wire, guest_vdev(0, vmqd.sockets[0])])
    vmqd.check()
    return {"mpps": found["received"] / found["seconds"] / 1e6, "p99_us": found["p99_us"]}


def attacked(lab, pace):
    """What is left to a VM beside the worst of the attacks that never end."""
    worst = {"mpps": math.inf}
    for attack in Attacker.endless()[:pace.attacks]:
        with vmq.Lab() as own:
            found = paced(own, pace, attack)
        if found["mpps"] < worst["mpps"]:
            worst = {**found, "attack": attack}
    return worst


# What queues cost that nobody uses


def idle_site(lab, vms):
    """vmqd behind a quiet wire that can wake it; queues with guests that are connected and silent."""
    nic, wire = lab.netns("nic"), lab.netns("wire")
    lab.veth((nic, "eth0"), (wire, "wire0"))
    plan = Plan("if=eth0", [(mac(i), i) for i in range(vms)], vms, SMALL)
    return lab.make(Ours, lab, plan, queues=128, netns=nic)


def connect_guests(lab, vmqd, sockets):
    """Guests that neither send nor look at what they get."""
    guests_for(lab, sockets, forward=False)
    vmq.wait_until(lambda: all(vm["connected"] for vm in vmqd.ctl("vm", "show")), "guests to be connected")


def idle_queues(lab, pace):
    vmqd = idle_site(lab, pace.idle_queues)
    connect_guests(lab, vmqd, vmqd.sockets)
    time.sleep(pace.warm_up_s)
    start, before = time.monotonic(), processor_seconds(vmqd.pid)
    time.sleep(pace.idle_s)
    spent = processor_seconds(vmqd.pid) - before
    return {"percent": 100 * spent / (time.monotonic() - start)}


def resident(pid, but_inodes):
    """KiB of a process, without mappings of these files."""
    total, counted = 0, True
    with open(f"/proc/{pid}/smaps") as file:
        for line in file:
            head = re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ (\d+)", line)
            if head:
                counted = head[1] not in but_inodes
            elif counted and line.startswith("Rss:"):
                total += int(line.split()[1])
    return total


def memory_files(process):
    with open(f"/proc/{process.pid}/maps") as file:
        return {words[4] for words in map(str.split, file) if len(words) > 5 and "memfd:" in words[5]}


def grow(lab, pace):
    vmqd = idle_site(lab, 8)
    connect_guests(lab, vmqd, vmqd.sockets)
    before = resident(vmqd.pid, guest_files(lab))
    added = [vmqd.add_vm(lab, f"more{i}", mac(100 + i), vlan="any", adapter="p0") for i in range(pace.idle_queues)]
    connect_guests(lab, vmqd, added)
    return {"kib": (resident(vmqd.pid, guest_files(lab)) - before) / pace.idle_queues}


def queue_memory(lab, pace):
    """What each further queue with a connected guest adds to vmqd; frame buffers and guests' memory are not it."""
    with Memory.ordinary():
        return grow(lab, pace)


def guest_files(lab):
    return set().union(*(memory_files(part) for part in lab.parts if isinstance(part, Guest)))


# Programs that measure a part alone


def bench_program(name, *words, netns=None):
    path = os.path.join(os.environ["VMQD_BUILD"], "bench", name)
    command = ["taskset", "-c", str(DATA_CPU), path, *words]
    done = subprocess.run(netns.words(*command) if netns else command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{name}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def classifier(lab, pace):
    text = bench_program("bench_match", *EAL_ALONE, f"--file-prefix=bench{os.getpid()}")
    return {"ns": float(re.search(r"^64\s+([\d.]+)", text, re.MULTILINE)[1])}


def copy(lab, pace):
    return {"ns": statistics.median(map(float, bench_program("bench_copy").split()))}


DPDK_INTERFACE = "net_af_packet0,iface=eth0"
EAL_ALONE = ("--no-huge", "--no-shconf", "--no-pci", "--no-telemetry")


WAYS = {"vm-vm": ("VM to VM", 0, 1), "vm-host": ("VM to host", 0, "host"), "host-vm": ("host to VM", "host", 0),
        "vm-wire": ("VM to wire", 0, "wire"), "wire-vm": ("wire to VM", "wire", 0)}
"""Name: title, sender, receiver."""


def tcp_scenarios():
    systems = {"vmqd": tcp.behind_vmqd(), "bridge": tcp.behind_bridge}
    for name, (title, *ends) in WAYS.items():
        compared = dict(systems, **{"vmqd-cut": tcp.behind_vmqd("off")} if name == "vm-vm" else {})
        for suffix, what, how in (("", "one TCP connection", {}), ("-8", "eight TCP connections", {"connections": 8})):
            yield Scenario(f"tcp-{name}{suffix}", f"{what}, {title}",
                           {system: tcp.transfer(site, *ends, **how) for system, site in compared.items()},
                           variant=bool(suffix))
    for name in ("vm-vm", "host-vm"):
        title, *ends = WAYS[name]
        yield Scenario(f"tcp-{name}-9000", f"one TCP connection, MTU 9000, {title}",
                       {system: tcp.transfer(site, *ends, mtu=9000) for system, site in systems.items()}, variant=True)
    for name in ("vm-vm", "vm-host"):
        title, *ends = WAYS[name]
        yield Scenario(f"turns-{name}", f"a byte there, a byte back, {title}",
                       {system: tcp.turns(site, *ends) for system, site in systems.items()}, variant=name != "vm-vm")


def scenarios():
    few = range(0, 65536, 1024)
    half = HalfLoad([Ours] if Ovs.missing() else [Ours, Ovs])
    return [
        Scenario("filters64", "64 filters, 1 VM",
                 {"vmqd": flooded(Ours, 64), "testpmd": flooded(Switch, 64), "ovs": flooded(Ovs, 64)}),
        Scenario("filters4096", "4096 filters, 1 VM",
                 {"vmqd": flooded(Ours, 4096), "ovs": flooded(Ovs, 4096)}),
        Scenario("filters65536", "65536 filters, frames for 64 of them",
                 {"vmqd": flooded(Ours, 65536, used=few), "vmqd-64": flooded(Ours, 64)}),
        Scenario("large", "1518 bytes, 64 filters, 1 VM",
                 {"vmqd": flooded(Ours, 64, size=LARGE), "ovs": flooded(Ovs, 64, size=LARGE)}),
        Scenario("vms8", "8 filters, 8 VMs, all together",
                 {"vmqd": flooded(Ours, 8, vms=8), "vmqd-1vm": flooded(Ours, 8), "ovs": flooded(Ovs, 8, vms=8)}),
        Scenario("vms24", "24 filters, 24 VMs, all together",
                 {"vmqd": flooded(Ours, 24, vms=24), "vmqd-1vm": flooded(Ours, 24)}),
        Scenario("vm2vm64", "VM to VM, 64 bytes",
                 {"vmqd": vm_to_vm(Ours, SMALL), "ovs": vm_to_vm(Ovs, SMALL)}),
        Scenario("vm2vm1518", "VM to VM, 1518 bytes",
                 {"vmqd": vm_to_vm(Ours, LARGE), "ovs": vm_to_vm(Ovs, LARGE)}),
        Scenario("lookahead", "lookahead split, 64 filters, 1 VM",
                 {"vmqd": split(LOOKAHEAD), "vmqd-off": split(0)}),
        *(Scenario(f"interface-{direction}", f"a kernel's interface as port, {direction}",
                   {"vmqd": of_interface("if=eth0", direction), "dpdk": of_interface(DPDK_INTERFACE, direction)})
          for direction in ("rx", "tx")),
        *tcp_scenarios(),
        Scenario("idle", f"processor time with {IDLE_QUEUES} idle queues", {"vmqd": idle_queues}),
        Scenario("first", "first frame after 15 ms of silence",
                 {"vmqd": first_frame(Ours), "ovs": first_frame(Ovs)}),
        Scenario("halfload", "latency at half load", {"vmqd": half.of(Ours), "ovs": half.of(Ovs)}),
        Scenario("attacked", "a VM beside one that attacks", {"vmqd": attacked, "vmqd-alone": paced}),
        Scenario("memory", "memory of a further idle queue", {"vmqd": queue_memory}),
        Scenario("classifier", "classifier alone, 64 filters", {"vmqd": classifier, "copy": copy}),
    ]
