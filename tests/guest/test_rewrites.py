"""
A guest that writes into its receive buffers while frames are delivered in two parts changes nothing for the switch:
every counter is what it is without the attack.
"""

import random

import pytest
from arena import Hostile

import vmq
from vmq_site import MACS, STRANGER, VLANS, Site, to

FRAMES = 1_000_000
CHUNK = 250
LOOKAHEAD = 64


def capture():
    """Frames for the guest of every length, among others for everybody; the same each time."""
    numbers = random.Random(7)
    frames = []
    for seq in range(4096):
        name = numbers.choice(("web", "web", "web", "db", "dev"))
        kind = numbers.random()
        size = numbers.choice((60, 64, 78, 128, 200, 512, 1500))
        if kind < 0.8:
            frames.append(to(name, seq, size))
        elif kind < 0.9:
            frames.append(vmq.frame(vmq.BROADCAST, STRANGER, vmq.tag(VLANS["web"]), seq, size))
        else:
            frames.append(vmq.frame(MACS["web"], f"02:00:00:00:01:{seq % 256:02x}", vmq.tag(11), seq, size))
    return frames


def counters(run):
    """All of vmqd's counters after the traffic with this guest on `web`, and where addresses are by then."""
    with vmq.Lab() as lab:
        site = Site(lab, adapter=("ndis", "6.20"))
        path = site.add_vm("web", guest=False, lookahead=LOOKAHEAD)
        for name in ("db", "dev"):
            site.add_vm(name, guest=False, lookahead=LOOKAHEAD)
        guest = lab.make(Hostile, lab, run, path, run).wait_ready()
        site.vmqd.wait_connected("web")
        queue = site.vmqd.vm_queue("web")
        frames = capture()
        frames = (frames * (FRAMES // len(frames) + 1))[:FRAMES]

        def taken(count):
            stats = site.vmqd.stats()
            delivered = next(one["rx_packets"] for one in stats["queues"] if one["id"] == queue)
            site.vmqd.check(), guest.check()
            return stats["entered"]["wire"] >= count and guest.progress() >= delivered

        site.wire.play(frames, taken, CHUNK)
        stats = site.vmqd.settled()
        assert guest.stop() == "open"
        site.vmqd.stop()
        return stats


@pytest.fixture(scope="module")
def quiet():
    return counters("sink")


def test_the_switch_decides_the_same(quiet):
    attacked = counters("rewriter")
    assert attacked == quiet
    assert quiet["entered"]["wire"] == FRAMES and not quiet["drops"]["ring_full"] and not quiet["drops"]["guest_fault"]
