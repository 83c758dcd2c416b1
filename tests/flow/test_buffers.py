# SPDX-License-Identifier: BSD-3-Clause
"""
A queue has its number of receive buffers and no more: what a VM that stops reading uses up is its own. The number may
be adjusted and is reported; where there is no memory for a queue, the request is refused and nothing stays of it.
"""

import pytest
import vmq
from vmq_control import QUIET_PORT, config, errno_of, state_of
from vmq_site import DRIVERS, HOST_IF, MACS, Site, to

FRAMES = 3000
SLOW, OTHERS = "db", ("web", "dev")
KINDS = {"6.30": (("ndis", "6.30"), {}), "6.20 split": (("ndis", "6.20"), {"lookahead": 128})}


class TwoCpus(Site):
    """vmqd with two data-path processors: the adapter's frames come in on the first."""

    def __init__(self, lab, words):
        self.lab, self.guests = lab, {}
        self.inside, self.outside = lab.netns("vmqd"), lab.netns("wire")
        lab.veth((self.inside, "nic0"), (self.outside, "wire0"))
        self.wire = lab.wire(self.outside, "wire0")
        self.vmqd = lab.vmqd(self.inside, cpus="0,1")
        self.vmqd.ctl("adapter", "add", "eth0", "port", DRIVERS["af_packet"], *words)
        self.host = self.add_host("eth0", HOST_IF)


def frames():
    return [to(name, i) for i in range(FRAMES) for name in MACS]


def arrived(sent, name):
    return [vmq.untagged(content) for content in sent if content[:6] == to(name)[:6]]


@pytest.mark.parametrize("cpu", ["0", "1"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_vm_that_stops_reading_uses_up_its_own(lab, kind, cpu):
    """Served by the processor on which its frames arrive, and by the other one."""
    words, split = KINDS[kind]
    site = TwoCpus(lab, words)
    for name in MACS:
        site.add_vm(name, affinity=cpu, buffers=64 if name == SLOW else 512, **split)
    site.guests[SLOW].pause()
    sent = frames()
    site.play(sent)
    stats = site.vmqd.settled()
    slow = site.vmqd.queue_stats(site.vmqd.vm_queue(SLOW))
    dropped = {reason for reason, count in slow["drops"].items() if count}
    assert dropped and dropped <= {"ring_full", "no_buffer"}
    assert slow["rx_packets"] + sum(slow["drops"].values()) == FRAMES
    for name in OTHERS:
        queue = site.vmqd.vm_queue(name)
        assert site.drops(queue) == {}, name
        assert not vmq.difference(site.guests[name].wait(FRAMES), arrived(sent, name)), name
    assert sum(stats["drops"].values()) == sum(slow["drops"].values())
    site.vmqd.settled()
    assert site.vmqd.rpc.call("queue.show", adapter="eth0", id=site.vmqd.vm_queue(SLOW))[0]["buffers_in_use"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_frames_wait_than_there_are_buffers(lab, kind):
    """Eight buffers against bursts from another processor: what is too much is `no_buffer`, and of this queue only."""
    words, split = KINDS[kind]
    site = TwoCpus(lab, words)
    site.add_vm("web", affinity="1", buffers=8, **split)
    site.add_vm("db", affinity="0", **split)
    sent = [content for i in range(FRAMES) for content in (to("web", i), to("db", i))]
    site.play(sent)
    site.vmqd.settled()
    few = site.vmqd.queue_stats(site.vmqd.vm_queue("web"))
    assert {reason for reason, count in few["drops"].items() if count} <= {"no_buffer"}
    assert few["rx_packets"] + few["drops"]["no_buffer"] == FRAMES
    assert site.drops(site.vmqd.vm_queue("db")) == {}
    assert not vmq.difference(site.guests["db"].wait(FRAMES), arrived(sent, "db"))
    got = site.guests["web"].wait(few["rx_packets"])
    assert is_subsequence(got, arrived(sent, "web"))


def is_subsequence(some, whole):
    rest = iter(whole)
    return all(content in rest for content in some)


# The number


@pytest.fixture
def small(lab):
    """vmqd whose packet memory is soon used up."""
    return lab.vmqd(lab.netns(), memory_mb=96)


def adapter_add(vmqd, **words):
    vmqd.rpc.call("adapter.add", name="eth0", port=QUIET_PORT.format(0), **words)


def allocate(vmqd, **words):
    return vmqd.rpc.call("queue.allocate", adapter="eth0", **words)["id"]


def complete(vmqd, queue):
    vmqd.rpc.call("queue.complete", adapter="eth0", ids=[queue])
    return shown(vmqd, queue)


def shown(vmqd, queue):
    return vmqd.rpc.call("queue.show", adapter="eth0", id=queue)[0]


@pytest.mark.parametrize("number", [8, 9, 64, 512, 1000])
def test_as_many_as_suggested_where_there_are_as_many(small, number):
    adapter_add(small)
    queue = allocate(small, buffers=number)
    assert (shown(small, queue)["suggested_buffers"], shown(small, queue)["buffers"]) == (number, 0)
    assert complete(small, queue)["buffers"] == number


def test_the_number_is_adjusted_and_reported(small):
    adapter_add(small)
    queue = complete(small, allocate(small, buffers=65536))
    assert queue["suggested_buffers"] == 65536 and 8 <= queue["buffers"] < 65536
    frame = 1500 + 14 + 8
    assert sum(piece["bytes"] for piece in queue["memory"]) == queue["buffers"] * frame


def test_used_up_is_refused_with_a_sentence(small):
    adapter_add(small)
    greedy, late = allocate(small, buffers=65536), allocate(small, buffers=8)
    complete(small, greedy)
    before = config(small)
    errno, sentence = errno_of(small.rpc, "queue.complete", adapter="eth0", ids=[late])
    assert errno == "ENOMEM" and "memory" in sentence and "--memory" in sentence
    assert config(small) == before and state_of(small, late) == "Allocated"
    assert shown(small, late)["buffers"] == 0 and shown(small, late)["memory"] == []

    small.rpc.call("queue.free", adapter="eth0", id=greedy)
    assert complete(small, late)["buffers"] == 8


def test_buffers_come_back(small):
    """As often as one likes: what a queue had is there for the next."""
    adapter_add(small)
    numbers = set()
    for _ in range(20):
        queue = allocate(small, buffers=65536)
        numbers.add(complete(small, queue)["buffers"])
        small.rpc.call("queue.free", adapter="eth0", id=queue)
    assert len(numbers) == 1


def test_a_running_queue_gets_other_buffers(small):
    adapter_add(small)
    one, other = allocate(small, buffers=64), allocate(small, buffers=64)
    complete(small, one), complete(small, other)
    frame = sum(piece["bytes"] for piece in shown(small, one)["memory"]) // 64
    small.rpc.call("queue.set", adapter="eth0", id=one, buffers=128)
    assert shown(small, one)["buffers"] == 128
    assert [piece["bytes"] for piece in shown(small, one)["memory"]] == [64 * frame, 64 * frame]
    small.rpc.call("queue.set", adapter="eth0", id=one, buffers=8)
    assert shown(small, one)["buffers"] == 8 and len(shown(small, one)["memory"]) == 2

    small.rpc.call("queue.set", adapter="eth0", id=one, buffers=65536)
    most = shown(small, one)["buffers"]
    assert 128 < most < 65536 and shown(small, one)["suggested_buffers"] == 65536
    small.rpc.call("queue.set", adapter="eth0", id=other, buffers=128)
    assert shown(small, other)["buffers"] == 64, "the adapter has no more, and it keeps what it had"
    small.rpc.call("queue.set", adapter="eth0", id=one, buffers=64)
    small.rpc.call("queue.set", adapter="eth0", id=other, buffers=128)
    assert (shown(small, one)["buffers"], shown(small, other)["buffers"]) == (64, 128)


def test_lookahead_memory_used_up_is_refused(lab):
    """In so much memory the frames' part just fits, and the lookahead's does not: then neither stays."""
    small = lab.vmqd(lab.netns(), memory_mb=87)
    adapter_add(small, ndis="6.20")
    queue = allocate(small, buffers=65536, lookahead=384)
    before = config(small)
    errno, sentence = errno_of(small.rpc, "queue.complete", adapter="eth0", ids=[queue])
    assert errno == "ENOMEM" and "shared memory" in sentence and "--memory" in sentence
    assert config(small) == before and state_of(small, queue) == "Allocated"
    assert shown(small, queue)["buffers"] == 0 and shown(small, queue)["memory"] == []

    other = allocate(small, buffers=256, lookahead=384)
    assert complete(small, other)["buffers"] == 256


def test_a_vm_for_which_there_is_no_memory_leaves_nothing(lab, small):
    adapter_add(small)
    complete(small, allocate(small, buffers=65536))
    before = config(small)
    errno, sentence = errno_of(small.rpc, "vm.add", name="web", adapter="eth0", socket=lab.path("web.sock"),
                               mac=MACS["web"], vlan=10)
    assert errno == "ENOMEM" and "--memory" in sentence
    assert config(small) == before and small.rpc.call("vm.show") == []
