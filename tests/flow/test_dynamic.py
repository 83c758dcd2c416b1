# SPDX-License-Identifier: BSD-3-Clause
"""Queues of affinity auto: on few processors while there is little to do, on more when there is much."""

import itertools
import threading

import pcap
import pytest
import vmq
from vmq_control import IN_MEMORY, Follower
from vmq_site import MACS, STRANGER, to
from vmq_workers import Site, disorder, enough_cpus, sequence

LAB_FOLDER = IN_MEMORY
pytestmark = pytest.mark.skipif(not enough_cpus(), reason="needs processors 0 and 1")

REASONS = {"spread", "level", "gather"}


class Moves(threading.Thread):
    """Follows the events and keeps those that tell of a move."""

    def __init__(self, lab, vmqd):
        super().__init__(daemon=True)
        self.follower, self.seen = lab.keep(Follower(vmqd)), []
        self.start()

    def run(self):
        while True:
            try:
                event = self.follower.next()
            except (AssertionError, OSError, ValueError):
                return
            if event["type"] == "queue-moved":
                self.seen.append(event)

    def reasons(self):
        return [event["reason"] for event in self.seen]


def places(site):
    return {name: site.queue(name)["cpu"] for name in site.guests}


def told(moves, start, queues):
    """Where the events say that each queue is: each begins where the one before has ended."""
    at = {queues[name]: cpu for name, cpu in start.items()}
    for event in moves.seen:
        assert event["adapter"] == "eth0" and event["reason"] in REASONS, event
        assert event["from"] == at[event["queue"]] != event["cpu"], event
        at[event["queue"]] = event["cpu"]
    return {name: at[queues[name]] for name in start}


def assert_told(site, moves, start, queues):
    """The queues stay from now on; every move until now was told."""
    for name in start:
        site.move(name, "0,1")
    now = places(site)
    vmq.wait_until(lambda: told(moves, start, queues) == now, lambda: f"events that end in {now}: {moves.seen}")


def test_little_load_is_gathered(lab):
    """All on one processor in the end, told one by one, while every frame arrives in its place."""
    site = Site(lab)
    for cpu, name in enumerate(MACS):
        site.add_vm(name, affinity=cpu % 2)
    moves = Moves(lab, site.vmqd)
    start, queues = places(site), {name: site.vmqd.vm_queue(name) for name in MACS}
    assert set(start.values()) == {0, 1}
    for name in MACS:
        site.move(name, "auto")
    sent = {name: [] for name in MACS}

    def gathered():
        frames = [to(name, len(sent[name]) + i) for i in range(20) for name in MACS]
        for content, name in zip(frames, itertools.cycle(MACS)):
            sent[name].append(vmq.untagged(content))
        site.play(frames)
        return len(set(places(site).values())) == 1 and "gather" in moves.reasons()

    vmq.wait_until(gathered, lambda: f"the queues on one processor: {places(site)}, {moves.seen}")
    for name in MACS:
        assert not vmq.difference(site.guests[name].wait(len(sent[name])), sent[name]), name
    assert not any(site.vmqd.settled()["drops"].values())
    assert_told(site, moves, start, queues)


def test_much_load_is_spread(lab):
    """A port that never runs dry keeps its processor busy; a queue that is fixed there stays there."""
    site = Site(lab, driver=None)
    path = lab.path("source.pcap")
    pcap.write(path, [to(name, i) for i in range(64) for name in MACS])
    site.vmqd.ctl("adapter", "add", "eth0", "port", f"net_pcap0,rx_pcap={path},infinite_rx=1", "queues", "8")
    for name in MACS:
        site.add_vm(name, record=False, affinity="0")
    moves = Moves(lab, site.vmqd)
    start, queues = places(site), {name: site.vmqd.vm_queue(name) for name in site.guests}
    for name in ("db", "dev"):
        site.move(name, "auto")
    vmq.wait_until(lambda: site.vmqd.check() and {"spread", "level"} & set(moves.reasons()),
                   "a move to the other processor")
    assert queues["web"] not in {event["queue"] for event in moves.seen}
    assert_told(site, moves, start, queues)


def test_what_was_spread_is_gathered_when_the_load_ends(lab):
    """Frames for the wire cost the guest little and vmqd, which has to send them on a packet socket, much."""
    site = Site(lab)
    for name in MACS:
        path = lab.path(f"{name}.pcap")
        pcap.write(path, [vmq.frame(STRANGER, src=MACS[name], seq=i) for i in range(64)])
        site.add_vm(name, vlan="untagged", send=f"{path},infinite_rx=1", affinity=0)
    moves = Moves(lab, site.vmqd)
    start, queues = places(site), {name: site.vmqd.vm_queue(name) for name in site.guests}
    for name in site.guests:
        site.move(name, "auto")
        site.guests[name].start()
    vmq.wait_until(lambda: site.vmqd.check() and set(places(site).values()) == {0, 1}, "queues on both processors")
    vmq.wait_until(lambda: {"spread", "level"} & set(moves.reasons()), "the event of it")
    for guest in site.guests.values():
        guest.kill()
    vmq.wait_until(lambda: site.vmqd.check() and len(set(places(site).values())) == 1,
                   lambda: f"the queues on one processor: {places(site)}, {moves.seen}")
    vmq.wait_until(lambda: "gather" in moves.reasons(), "the event of it")
    assert_told(site, moves, start, queues)


def test_order_is_kept_while_queues_are_placed(lab):
    """Queues become auto and fixed again under traffic, so that every way to move is taken."""
    site = Site(lab)
    for name in MACS:
        site.add_vm(name)
    sent = 0
    for affinity in 10 * ("1", "auto", "0", "auto"):
        for name in MACS:
            site.move(name, affinity)
        site.play([to(name, sent + i) for i in range(100) for name in MACS], 300)
        sent += 100
    for name in MACS:
        numbers = [sequence(content) for content in site.guests[name].wait(sent)]
        assert len(numbers) == sent and not disorder(numbers), f"{name}: {disorder(numbers)}"
