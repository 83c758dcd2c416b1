# SPDX-License-Identifier: BSD-3-Clause
"""Frames for a guest that has no descriptors wait in the queue's receive buffers, in order, for a second at most."""

import pytest

import vmq
from vmq_site import MACS, Site, to

SLOW, OTHER = "db", "web"
RING = 512         # descriptors that a guest gives, at most
BUFFERS = 512
FEW = 200         # any guest has descriptors for these
TRIES = 20         # a machine that is busy may take a second for what takes a few milliseconds
KINDS = {"whole": ((), {}), "split": (("ndis", "6.20"), {"lookahead": 64})}


class Slow(Site):
    """A guest that can be stopped, and one beside it on the same processor."""

    def __init__(self, lab, kind):
        words, split = KINDS[kind]
        super().__init__(lab, adapter=words)
        for name in (SLOW, OTHER):
            self.add_vm(name, buffers=BUFFERS, **split)
        self.queue = self.vmqd.vm_queue(SLOW)
        self.sent = {name: [] for name in (SLOW, OTHER)}

    def send(self, name, count):
        frames = [to(name, len(self.sent[name]) + i) for i in range(count)]
        for frame in frames:
            self.wire.send(frame)
        self.sent[name] += frames

    def counters(self):
        return self.vmqd.queue_stats(self.queue)

    def in_use(self):
        return self.vmqd.ctl("queue", "show", "eth0", self.queue)[0]["buffers_in_use"]

    def arrived(self, name):
        return [vmq.untagged(content) for content in self.sent[name]]

    def seen(self):
        """Frames for the slow guest that vmqd delivered, dropped or keeps."""
        counters = self.counters()
        return counters["rx_packets"] + sum(counters["drops"].values()) + self.in_use()

    def fill_ring(self):
        """The guest stops, and has no descriptors left: the first frames wait."""
        self.guests[SLOW].pause()
        self.send(SLOW, RING + 50)
        vmq.wait_until(lambda: self.seen() >= len(self.sent[SLOW]), "the ring to be full")


@pytest.fixture(params=KINDS)
def slow(lab, request):
    return Slow(lab, request.param)


def test_they_arrive_in_order_once_there_are_descriptors(slow):
    for _ in range(TRIES):
        before = slow.drops(slow.queue)
        slow.fill_ring()
        waited = slow.in_use()
        slow.guests[SLOW].resume()
        slow.vmqd.settled()
        if waited and slow.drops(slow.queue) == before:
            break
    else:
        pytest.fail(f"in {TRIES} tries no frame waited for as short as a second")
    expected = slow.arrived(SLOW)[-(RING + 50):]
    vmq.wait_until(lambda: slow.guests[SLOW].frames()[-1:] == expected[-1:], "the last frame to arrive")
    assert slow.guests[SLOW].frames()[-(RING + 50):] == expected
    assert slow.in_use() == 0


def test_no_more_wait_than_there_are_buffers_and_none_for_ever(slow):
    slow.guests[SLOW].pause()
    slow.send(SLOW, RING + 2 * BUFFERS)
    slow.send(OTHER, FEW)
    vmq.wait_until(lambda: slow.counters()["drops"]["ring_full"] > 0, "frames that waited too long")
    slow.vmqd.settled()
    counters = slow.counters()
    assert counters["drops"]["no_buffer"] >= BUFFERS and slow.in_use() == 0
    assert {reason for reason, count in counters["drops"].items() if count} == {"no_buffer", "ring_full"}
    assert counters["rx_packets"] + sum(counters["drops"].values()) == len(slow.sent[SLOW])
    assert slow.guests[OTHER].wait(FEW) == slow.arrived(OTHER)
    assert slow.drops(slow.vmqd.vm_queue(OTHER)) == {}


def test_a_vm_that_goes_leaves_nothing_behind(slow):
    slow.fill_ring()
    slow.guests[SLOW].kill()
    slow.vmqd.wait_connected(SLOW, False)
    slow.vmqd.settled()
    assert slow.in_use() == 0
    counters = slow.counters()
    assert counters["rx_packets"] + sum(counters["drops"].values()) == len(slow.sent[SLOW])


def test_free_does_not_wait_for_the_guest(slow):
    slow.fill_ring()
    slow.vmqd.ctl("vm", "del", SLOW)
    assert [one["id"] for one in slow.vmqd.ctl("queue", "show", "eth0")].count(slow.queue) == 0
    stats = slow.vmqd.settled()
    assert sum(stats["entered"].values()) >= len(slow.sent[SLOW])


def test_frames_of_a_filter_that_went_elsewhere_are_not_delivered(slow):
    """What waits when its filter is cleared never reaches the guest."""
    slow.vmqd.ctl("filter", "set", "eth0", slow.queue, "mac", "52:54:00:00:00:99", "vlan", "20")
    first, = [one for one in slow.vmqd.ctl("filter", "show", "eth0") if one["mac"] == MACS[SLOW]]
    slow.fill_ring()
    taken = slow.counters()["rx_packets"]
    slow.vmqd.ctl("filter", "clear", "eth0", first["id"])
    slow.guests[SLOW].resume()
    counters = slow.vmqd.settled() and slow.counters()
    assert counters["rx_packets"] == taken
    assert counters["rx_packets"] + sum(counters["drops"].values()) == len(slow.sent[SLOW])
