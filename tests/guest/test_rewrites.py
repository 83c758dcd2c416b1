# SPDX-License-Identifier: BSD-3-Clause
"""
A guest that writes into its receive buffers while frames are delivered in two parts changes nothing for the switch:
every counter is what it is without the attack, and so is where it believes each address to be.
"""

import random

import pytest
from arena import Hostile

import pcap
import vmq
from vmq_site import MACS, STRANGER, VLANS, Site, to

FRAMES = 1_000_000
CHUNK = 250
LOOKAHEAD = 64
PROBE = "52:54:00:00:00:77"
# On the wire: these speak on the VLAN of `web`, and those on another one, where nobody on the first learns of them.
NEIGHBOURS = [f"02:00:00:00:02:{i:02x}" for i in range(16)]
ALIENS = [f"02:00:00:00:01:{i:02x}" for i in range(16)]


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
            frames.append(vmq.frame(vmq.BROADCAST, numbers.choice(NEIGHBOURS), vmq.tag(VLANS["web"]), seq, size))
        else:
            frames.append(vmq.frame(MACS["web"], numbers.choice(ALIENS), vmq.tag(11), seq, size))
    return frames


def known_to_be_on_the_wire(lab, site):
    """
    Of all the addresses, those that the switch has learned on the VLAN of `web`: what a VM there sends to them goes to
    the wire alone. To others it goes to the host as well, and so does the last frame.
    """
    addresses = [STRANGER, *NEIGHBOURS, *ALIENS, "02:00:00:00:03:00"]
    path = lab.path("probe.pcap")
    pcap.write(path, [vmq.frame(address, src=PROBE) for address in addresses])
    site.add_vm("probe", mac=PROBE, vlan=VLANS["web"], send=path)
    site.host.received()
    site.guests["probe"].start()

    def flooded():
        seen = set(site.host.received())
        return {address for address in addresses if vmq.tagged(vmq.frame(address, src=PROBE), VLANS["web"]) in seen}

    vmq.wait_until(lambda: addresses[-1] in flooded(), "the host to see the last frame")
    return set(addresses) - flooded()


def outcome(run):
    """All of vmqd's counters after the traffic with this guest on `web`, and the addresses that are on the wire."""
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
        learned = known_to_be_on_the_wire(lab, site)
        assert guest.stop() == "open"
        site.vmqd.stop()
        return stats, learned


@pytest.fixture(scope="module")
def quiet():
    return outcome("sink")


def test_the_switch_decides_the_same(quiet):
    attacked = outcome("rewriter")
    assert attacked == quiet
    stats, learned = quiet
    assert stats["entered"]["wire"] == FRAMES and not stats["drops"]["ring_full"] and not stats["drops"]["guest_fault"]
    assert learned == {STRANGER, *NEIGHBOURS}
