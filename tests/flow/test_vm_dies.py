# SPDX-License-Identifier: BSD-3-Clause
"""A guest that dies costs its own queue only: the queue stays, its frames are counted, and it may come back."""

import vmq
from vmq_site import Site, to

ROUND = 3000


def frames_of(first):
    return [to(name, first + i) for i in range(ROUND) for name in ("web", "db", "dev")]


def arrived(frames, name):
    return [vmq.untagged(content) for content in frames if content[:6] == to(name)[:6]]


def test_kill_a_guest_in_the_middle_of_traffic(lab):
    site = Site(lab)
    paths = {name: site.add_vm(name) for name in ("web", "db", "dev")}
    victim, queue = site.guests["db"], site.vmqd.vm_queue("db")
    first = frames_of(0)
    half = len(first) // 2
    site.play(first[:half])
    victim.wait(half // 3)
    victim.kill()
    site.play(first[half:])
    site.vmqd.wait_connected("db", False)

    second = frames_of(ROUND)
    before = site.drops(queue).get("vm_down", 0)
    site.play(second)
    site.vmqd.settled()
    shown = site.vmqd.ctl("queue", "show", "eth0", queue)[0]
    assert shown["state"] == "Running" and len(shown["filters"]) == 1
    assert site.drops(queue).get("vm_down", 0) - before == ROUND
    for name in ("web", "dev"):
        assert not vmq.difference(site.guests[name].wait(2 * ROUND), arrived(first + second, name)), name

    site.boot("db", paths["db"])
    third = frames_of(2 * ROUND)
    site.play(third)
    assert not vmq.difference(site.guests["db"].wait(ROUND), arrived(third, "db"))
    for name in ("web", "dev"):
        assert not vmq.difference(site.guests[name].wait(3 * ROUND), arrived(first + second + third, name)), name
    stats = site.vmqd.settled()
    assert {reason for reason, count in stats["drops"].items() if count} <= {"vm_down", "ring_full", "no_buffer"}


def test_a_guest_that_takes_nothing_costs_nobody(lab):
    """Stopped, not dead: its ring fills up, then its buffers, and the rest is counted."""
    site = Site(lab)
    site.add_three()
    frames = frames_of(0)
    site.guests["db"].pause()
    site.play(frames)
    stats = site.vmqd.settled()
    queue = site.vmqd.queue_stats(site.vmqd.vm_queue("db"))
    dropped = {reason: count for reason, count in stats["drops"].items() if count}
    assert queue["rx_packets"] + sum(dropped.values()) == ROUND
    assert dropped and set(dropped) <= {"ring_full", "no_buffer"}
    for name in ("web", "dev"):
        assert not vmq.difference(site.guests[name].wait(ROUND), arrived(frames, name)), name
