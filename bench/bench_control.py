#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""
The control plane in numbers: requests per second and the time of one, with the state on disk and in memory, idle
and while frames flow at full rate. Needs root; prints a table, or JSON with -j.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "flow"))

import pcap
import vmq
from vmq_control import QUIET_PORT, mac, request, results

TARGET_CHANGES_PER_SECOND = 5000
SEQUENTIAL = 2000
PIPELINED = 20_000
WINDOW = 256        # requests on their way at once
STANDING = 1000     # filters that stand beside those that are measured
FIRST_ID = 2000     # of those that are measured
GUEST_MAC = mac(1)
FRAMES = 64


class Bench:
    """vmqd with queue 1 to measure on; with traffic: a guest on queue 2 that gets frames as fast as one core copies."""

    def __init__(self, lab, in_memory, traffic):
        self.lab = lab
        folder = lab.keep(Folder("/dev/shm" if in_memory else "/var/tmp"))
        self.vmqd = lab.vmqd(lab.netns("vmqd"), options=["--state", os.path.join(folder.path, "state.conf")])
        self.rpc = self.vmqd.rpc
        port = QUIET_PORT.format(0) if not traffic else self.torrent()
        self.rpc.call("adapter.add", name="eth0", port=port, filters=FIRST_ID + PIPELINED + 1000)
        self.rpc.call("queue.allocate", adapter="eth0")
        self.rpc.call("queue.complete", adapter="eth0", ids=[1])
        if traffic:
            self.boot()
        self.stand()

    def torrent(self):
        capture = self.lab.path("torrent.pcap")
        pcap.write(capture, [vmq.frame(GUEST_MAC, tags=vmq.tag(10), seq=i) for i in range(FRAMES)])
        return f"net_pcap0,rx_pcap={capture},infinite_rx=1,tx_pcap=/dev/null"

    def boot(self):
        path = self.vmqd.add_vm(self.lab, "web", GUEST_MAC, 10)
        self.lab.guest(path, record=False).wait_ready()
        self.vmqd.wait_connected("web")

    def stand(self):
        """Filters that only stand there."""
        results(self.rpc, [("filter.set", dict(adapter="eth0", queue="drop", mac=mac(1 << 24 | i),
                                               vlan=20)) for i in range(STANDING)])

    def control_ns(self):
        """Processor time of the control thread so far; a busy machine changes it less than it changes the clock's."""
        with open(f"/proc/{self.vmqd.pid}/task/{self.vmqd.pid}/schedstat") as file:
            return int(file.read().split()[0])

    def frames(self):
        """(frames that entered, frames that the guest got)"""
        stats = self.vmqd.stats()
        return stats["entered"]["wire"], stats["left"]["queues"]


class Folder:
    def __init__(self, parent):
        self.made = tempfile.TemporaryDirectory(prefix="vmq-bench-", dir=parent)
        self.path = self.made.name

    def delete(self):
        self.made.cleanup()


def set_and_clear(count):
    """Each set is of a new address; its id is chosen, so that the clear can be sent before the set is answered."""
    for i in range(count // 2):
        id = FIRST_ID + PIPELINED + i % 1000
        yield "filter.set", dict(adapter="eth0", queue=1, mac=mac(1 << 25 | i), vlan=10, id=id)
        yield "filter.clear", dict(adapter="eth0", filter=id)


def sets(count):
    for i in range(count):
        yield "filter.set", dict(adapter="eth0", queue=1, mac=mac(1 << 26 | i), vlan=10, id=FIRST_ID + i)


def clears(count):
    for i in range(count):
        yield "filter.clear", dict(adapter="eth0", filter=FIRST_ID + i)


def shows(count):
    for _ in range(count):
        yield "queue.show", dict(adapter="eth0", id=1)


def encoded(rpc, requests):
    return [json.dumps(request(next(rpc.ids), *one)).encode() + b"\n" for one in requests]


def read_answers(rpc, count):
    for _ in range(count):
        line = rpc.line()
        assert line and b'"result"' in line, line


def measure_sequential(rpc, requests):
    """One after the other: the time of each."""
    times = []
    for line in encoded(rpc, requests):
        began = time.perf_counter()
        rpc.send(line)
        read_answers(rpc, 1)
        times.append(time.perf_counter() - began)
    return numbers(len(times), sum(times), times)


def numbers(count, seconds, times):
    return {"per_second": count / seconds, "median_us": statistics.median(times) * 1e6,
            "p99_us": statistics.quantiles(times, n=100)[98] * 1e6}


def measure_pipelined(rpc, requests):
    """Up to WINDOW requests on their way, each half window sent together; the time of one is from its half's send."""
    lines = encoded(rpc, requests)
    half = WINDOW // 2
    halves = [b"".join(lines[at:at + half]) for at in range(0, len(lines), half)]
    counts = [min(half, len(lines) - at) for at in range(0, len(lines), half)]
    sent, times, began = [], [], time.perf_counter()
    for i, text in enumerate(halves):
        sent.append(time.perf_counter())
        rpc.send(text)
        if i:
            read_answers(rpc, counts[i - 1])
            times.append(time.perf_counter() - sent[i - 1])
    read_answers(rpc, counts[-1])
    times.append(time.perf_counter() - sent[-1])
    return numbers(len(lines), time.perf_counter() - began, times)


MEASURES = [
    ("show, one by one", measure_sequential, shows, SEQUENTIAL),
    ("filter set and clear, one by one", measure_sequential, set_and_clear, SEQUENTIAL),
    ("show, pipelined", measure_pipelined, shows, PIPELINED),
    ("filter set and clear, pipelined", measure_pipelined, set_and_clear, PIPELINED),
    ("filter set, pipelined", measure_pipelined, sets, PIPELINED),
    (f"set and clear one by one, {STANDING + PIPELINED} stand", measure_sequential, set_and_clear, SEQUENTIAL // 4),
    ("filter clear, pipelined", measure_pipelined, clears, PIPELINED),
]


def measure_all(in_memory, traffic):
    rows = []
    with vmq.Lab() as lab:
        bench = Bench(lab, in_memory, traffic)
        for name, measure, requests, count in MEASURES:
            before, spent, began = bench.frames(), bench.control_ns(), time.perf_counter()
            row = measure(bench.rpc, requests(count))
            seconds = time.perf_counter() - began
            spent = bench.control_ns() - spent
            entered, got = (b - a for a, b in zip(before, bench.frames()))
            row.update(what=name, state="memory" if in_memory else "disk", cpu_us=spent / 1e3 / count,
                       entered_mpps=entered / seconds / 1e6,
                       guest_mpps=got / seconds / 1e6)
            rows.append(row)
    return rows


def show(rows):
    print(f"{'requests':38} {'state':7} {'in Mpps':>8} {'out Mpps':>8} "
          f"{'requests/s':>11} {'median us':>10} {'99 % us':>9} {'cpu us':>7}")
    for row in rows:
        print(f"{row['what']:38} {row['state']:7} {row['entered_mpps']:8.2f} {row['guest_mpps']:8.2f} "
              f"{row['per_second']:11.0f} {row['median_us']:10.0f} {row['p99_us']:9.0f} {row['cpu_us']:7.1f}")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-j", action="store_true", help="print JSON")
    json_only = options.parse_args().j
    rows = [row for traffic in (False, True) for in_memory in (False, True) for row in measure_all(in_memory, traffic)]
    if json_only:
        print(json.dumps(rows, indent=1))
    else:
        show(rows)
    slowest = min(row["per_second"] for row in rows
                  if row["entered_mpps"] and re.match("filter.*pipelined", row["what"]))
    print(f"slowest pipelined filter changes under traffic: {slowest:.0f}/s, target {TARGET_CHANGES_PER_SECOND}/s",
          file=sys.stderr)
    return 0 if slowest >= TARGET_CHANGES_PER_SECOND else 1


if __name__ == "__main__":
    sys.exit(main())
