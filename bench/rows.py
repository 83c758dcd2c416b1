# SPDX-License-Identifier: BSD-3-Clause
"""The published table: which two systems of a scenario are compared, by what, and what is to be reached."""

import bisect
import collections
import statistics

LIMITED = 0.05
"""Of the frames that a system took in, the share that found the guest's ring full: above it the guest is the limit."""

APART = 1.7
"""
Of two looks at how far the processors are from each other: where one found more than this times what the other did,
and none anything between, the processors were moved from one place to another.
"""

Row = collections.namedtuple("Row", "scenario measured against number better target what")
"""
`number` of `measured` over that of `against`; without `against`, the number itself. `better` is more or less;
target None: only reported.
"""

ROWS = [
    Row("filters64", "vmqd", "testpmd", "mpps", "more", 1.1, "64 filters, 1 VM, against testpmd io"),
    Row("filters64", "vmqd", "ovs", "mpps", "more", 2.5, "64 filters, 1 VM, against OVS-DPDK"),
    Row("filters4096", "vmqd", "ovs", "mpps", "more", 5, "4096 filters, 1 VM, against OVS-DPDK"),
    Row("filters65536", "vmqd", "vmqd-64", "mpps", "more", 0.95, "65536 filters against 64, frames for 64"),
    Row("large", "vmqd", "ovs", "mpps", "more", 1.3, "1518 bytes, 1 VM, against OVS-DPDK"),
    Row("vms8", "vmqd", "vmqd-1vm", "mpps", "more", 0.9, "8 VMs together against 1 VM"),
    Row("vms24", "vmqd", "vmqd-1vm", "mpps", "more", 0.8, "24 VMs together against 1 VM"),
    Row("vms8", "vmqd", "ovs", "mpps", "more", 2.0, "8 VMs together, against OVS-DPDK"),
    Row("vm2vm64", "vmqd", "ovs", "mpps", "more", 1.5, "VM to VM, 64 bytes, against OVS-DPDK"),
    Row("vm2vm1518", "vmqd", "ovs", "mpps", "more", 1.5, "VM to VM, 1518 bytes, against OVS-DPDK"),
    Row("lookahead", "vmqd", "vmqd-off", "mpps", "more", 0.9, "lookahead split on against off"),
    Row("interface-rx", "vmqd", "dpdk", "ns", "less", 1.0, "a frame from a kernel's interface, against DPDK's port"),
    Row("interface-tx", "vmqd", "dpdk", "ns", "less", 1.0, "a frame to a kernel's interface, against DPDK's port"),
    Row("tcp-vm-vm", "vmqd", "bridge", "gbps", "more", 2, "TCP, VM to VM, against a bridge"),
    Row("tcp-vm-vm-8", "vmqd", "bridge", "gbps", "more", 2, "TCP, VM to VM, 8 connections, against a bridge"),
    Row("tcp-vm-vm-9000", "vmqd", "bridge", "gbps", "more", 2, "TCP, VM to VM, MTU 9000, against a bridge"),
    Row("tcp-vm-host", "vmqd", "bridge", "gbps", "more", 1.5, "TCP, VM to host, against a bridge"),
    Row("tcp-vm-host-8", "vmqd", "bridge", "gbps", "more", 1.5, "TCP, VM to host, 8 connections, against a bridge"),
    Row("tcp-host-vm", "vmqd", "bridge", "gbps", "more", 3, "TCP, host to VM, against a bridge"),
    Row("tcp-host-vm-8", "vmqd", "bridge", "gbps", "more", 3, "TCP, host to VM, 8 connections, against a bridge"),
    Row("tcp-host-vm-9000", "vmqd", "bridge", "gbps", "more", 3, "TCP, host to VM, MTU 9000, against a bridge"),
    Row("tcp-host-vm", "vmqd", None, "again", "less", 10, "TCP, host to VM, retransmissions"),
    Row("tcp-vm-wire", "vmqd", "bridge", "gbps", "more", 1.2, "TCP, VM to a kernel beyond the wire, against a bridge"),
    Row("tcp-vm-wire-8", "vmqd", "bridge", "gbps", "more", 1.2, "the same, 8 connections"),
    Row("tcp-wire-vm", "vmqd", "bridge", "gbps", "more", 1.2, "TCP, a kernel beyond the wire to VM, against a bridge"),
    Row("tcp-wire-vm-8", "vmqd", "bridge", "gbps", "more", 1.2, "the same, 8 connections"),
    Row("tcp-vm-vm", "vmqd", "vmqd-cut", "busy_ms_per_gbit", "less", 0.25, "processor time for a gigabit, VM to VM, against offload off"),
    Row("turns-vm-vm", "vmqd", "bridge", "mean_us", "less", 1.0, "a byte there, a byte back, VM to VM, mean, against a bridge"),
    Row("turns-vm-vm", "vmqd", "bridge", "p99_us", "less", 1.0, "a byte there, a byte back, VM to VM, 99 %, against a bridge"),
    Row("turns-vm-host", "vmqd", "bridge", "mean_us", "less", 1.0, "a byte there, a byte back, VM to host, mean, against a bridge"),
    Row("turns-vm-host", "vmqd", "bridge", "p99_us", "less", 1.0, "a byte there, a byte back, VM to host, 99 %, against a bridge"),
    Row("idle", "vmqd", None, "percent", "less", 1.0, "64 idle queues, percent of one processor"),
    Row("first", "vmqd", "ovs", "median_us", "less", None, "first frame after idle, median, against OVS-DPDK"),
    Row("first", "vmqd", None, "p99_us", "less", 200, "first frame after idle, 99 %, microseconds"),
    Row("halfload", "vmqd", "ovs", "median_us", "less", 1.0, "half load, median latency, against OVS-DPDK"),
    Row("halfload", "vmqd", "ovs", "p99_us", "less", 1.0, "half load, 99 % latency, against OVS-DPDK"),
    Row("attacked", "vmqd", "vmqd-alone", "mpps", "more", 0.95, "a VM beside one that attacks, against alone"),
    Row("memory", "vmqd", None, "kib", "less", 64, "memory of a further idle queue, KiB"),
    Row("classifier", "vmqd", "copy", "ns", "less", None, "classifier, 64 filters, against a 64-byte copy"),
]


def looks(rounds):
    return sorted(ns for one in rounds for found in one.values() for ns in found["line_ns"])


def in_one_place(rounds):
    """Only what was measured in the same place can be compared: the rounds of the place that has the most."""
    seen = looks(rounds)
    borders = [after for before, after in zip(seen, seen[1:]) if after > APART * before]
    at = collections.defaultdict(list)
    for one in rounds:
        places = {bisect.bisect(borders, ns) for ns in looks([one])}
        if len(places) == 1:
            at[places.pop()].append(one)
    return max(at.values(), key=len, default=[])


def alike(rounds):
    """Those in one place, or all, where the processors were moved in each of them."""
    return in_one_place(rounds) or rounds


def numbers(rounds, system, name):
    return [one[system][name] for one in rounds if name in one.get(system, {})]


def number_text(value):
    """Three digits, and never a power of ten."""
    return "–" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def median(values):
    return statistics.median(values) if values else None


def ratio(rounds, row, number):
    """Of medians; and the least and the most of the rounds' own."""
    ours, theirs = (median(numbers(rounds, system, number)) for system in (row.measured, row.against))
    own = [one[row.measured][number] / one[row.against][number] for one in rounds
           if number in one.get(row.measured, {}) and one.get(row.against, {}).get(number)]
    if not ours or not theirs or not own:
        return None
    return {"ours": ours, "theirs": theirs, "value": ours / theirs, "least": min(own), "most": max(own)}


def alone(rounds, row):
    values = numbers(rounds, row.measured, row.number)
    if not values:
        return None
    return {"ours": median(values), "theirs": None, "value": median(values), "least": min(values), "most": max(values)}


def reaches(row, value):
    if row.target is None:
        return None
    return value >= row.target if row.better == "more" else value <= row.target


def guest_limits(rounds, row):
    return any((median(numbers(rounds, system, "dropped")) or 0) > LIMITED for system in (row.measured, row.against))


def judge(rounds, row):
    """
    The row's numbers and verdict. Where the guest is the limit, all systems look alike in it; there the time that
    the data-path processor spends on a frame decides.
    """
    rounds = alike(rounds)
    found = ratio(rounds, row, row.number) if row.against else alone(rounds, row)
    if not found:
        return None
    found["reached"], found["judged_by"] = reaches(row, found["value"]), row.number
    found["rounds"], found["line_ns"] = len(rounds), median(looks(rounds))
    time = ratio(rounds, row, "frame_ns") if row.number == "mpps" and row.against else None
    if time:
        found["frame_ns"] = {"ours": time["ours"], "theirs": time["theirs"], "value": 1 / time["value"]}
        if guest_limits(rounds, row):
            found["reached"], found["judged_by"] = reaches(row, 1 / time["value"]), "frame_ns"
    return found
