#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-3-Clause
"""
Record what queues are asked for: frames in each second, a line a second, a column a queue, as vmqd counts them. The
traffic is that of the machines below, with requests at random times and sizes without a mean to speak of.

VMQD_BUILD=build tests/unit/record_loads.py SECONDS >tests/unit/loads.csv      (as root)
"""

import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "flow"))

import vmq
from vmq_site import Site

QUEUES = 64
TICK_S = 0.01
PACED_FRAMES = 4   # of one transfer, in a tick


def transfer(dice, least):
    """Frames of an answer or an upload: many small ones, a few that are huge."""
    return min(int(least * dice.paretovariate(1.2)), 20000)


class Server:
    """Answers requests. How many there are changes in the course of a minute."""

    def __init__(self, dice, scale):
        self.dice, self.scale, self.mood, self.open = dice, scale, 1.0, []

    def tick(self):
        self.mood = min(max(self.mood * self.dice.lognormvariate(0, 0.01), 0.3), 3)
        if self.dice.random() < 0.15 * self.mood * self.scale:
            self.open.append(transfer(self.dice, 3))
        sent = sum(min(left, PACED_FRAMES) for left in self.open)
        self.open = [left - PACED_FRAMES for left in self.open if left > PACED_FRAMES]
        return sent


class Batch:
    """Silent for a while, then at work for a while."""

    def __init__(self, dice, scale):
        self.dice, self.scale, self.working, self.left = dice, scale, False, 0

    def tick(self):
        if not self.left:
            self.working = not self.working
            self.left = int(self.dice.paretovariate(1.3) * (500 if self.working else 1500))
        self.left -= 1
        return round(6 * self.scale * self.dice.uniform(0.5, 1.5)) if self.working else 0


class Quiet:
    """A keepalive now and then."""

    def __init__(self, dice, scale):
        self.dice = dice

    def tick(self):
        return self.dice.random() < 0.02


def machines():
    """Few are busy, most are not: scales fall with the rank."""
    kinds = [Server, Server, Quiet, Server, Batch, Server, Quiet, Server]
    return [kinds[rank % len(kinds)](random.Random(rank), 4 * (1 + rank) ** -0.5) for rank in range(QUEUES)]


def mac_of(number):
    return f"52:54:00:00:01:{number:02x}"


def counts(vmqd):
    queues = {queue["id"]: queue["rx_packets"] + sum(queue["drops"].values()) for queue in vmqd.stats()["queues"]}
    return [queues[number + 1] for number in range(QUEUES)]


def record(site, seconds):
    frames = [vmq.frame(mac_of(number)) for number in range(QUEUES)]
    vms, begin, before = machines(), time.monotonic(), counts(site.vmqd)
    for second in range(seconds):
        for tick in range(round(1 / TICK_S)):
            for frame, vm in zip(frames, vms):
                for _ in range(vm.tick()):
                    site.wire.send(frame)
            time.sleep(max(0, begin + second + (tick + 1) * TICK_S - time.monotonic()))
        now = counts(site.vmqd)
        print(",".join(str(after - earlier) for after, earlier in zip(now, before)), flush=True)
        before = now


def main():
    with vmq.Lab() as lab:
        site = Site(lab, adapter=("queues", QUEUES + 1), host=False)
        for number in range(QUEUES):
            site.vmqd.add_vm(lab, f"vm{number}", mac_of(number))
        record(site, int(sys.argv[1]))


if __name__ == "__main__":
    main()
