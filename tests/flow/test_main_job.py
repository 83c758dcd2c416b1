# SPDX-License-Identifier: BSD-3-Clause
"""The main job: every frame that arrives goes to the queue of its MAC and VLAN, in order, and to no one else."""

import random

import pytest
import vmq
from vmq_site import DRIVERS, MACS, STRANGER, VLANS, Site

FRAMES = 100_000
TOO_BIG_BYTES = 1700
SHORTEST_TAGGED_THE_KERNEL_PASSES = 20  # skb_vlan_untag() wants the EtherType after the tag
UNKNOWN = "52:54:00:00:01:{:02x}"
GROUP = "01:00:5e:00:00:{:02x}"


class Traffic:
    """Frames of every kind, and where each must arrive. Written without a look at how vmqd decides."""

    def __init__(self, driver, count):
        self.random = random.Random(1)
        self.driver = driver
        self.frames, self.expected = [], {name: [] for name in (*MACS, "host")}
        self.flooded = {name: [] for name in MACS}
        self.drops = {"too_big": 0, "malformed": 0}
        kinds = [(self.own, 50), (self.own_8021ad, 4), (self.own_twice_tagged, 4), (self.outer_decides, 4),
                 (self.priority, 5), (self.wrong_vlan, 8), (self.anothers_vlan, 4), (self.unknown, 8),
                 (self.group, 3), (self.runt, 6), (self.too_big, 2), (self.cut_tag, 2)]
        makers, weights = zip(*kinds)
        while len(self.frames) < count:
            for maker in self.random.choices(makers, weights, k=count - len(self.frames)):
                maker()

    def make(self, dst, tags=b"", size=None):
        size = size or self.random.choice((60, 61, 64, 128, 200, 256, self.random.randrange(60, 1500)))
        return vmq.frame(dst, STRANGER, tags, len(self.frames), size)

    def add(self, content, where):
        self.frames.append(content)
        if where == "host":
            self.expected["host"].append(content)
        elif where in MACS:
            self.expected[where].append(vmq.untagged(content))
        else:
            self.drops[where] += 1

    def tag(self, vlan, tpid=vmq.TPID_8021Q):
        return vmq.tag(vlan, self.random.randrange(8), tpid)

    def own_tag(self, name):
        return b"" if VLANS[name] == "untagged" else self.tag(VLANS[name])

    def one(self, *names):
        return self.random.choice(names or tuple(MACS))

    def own(self):
        name = self.one()
        self.add(self.make(MACS[name], self.own_tag(name)), name)

    def own_8021ad(self):
        name = self.one("web", "db")
        self.add(self.make(MACS[name], self.tag(VLANS[name], vmq.TPID_8021AD)), name)

    def own_twice_tagged(self):
        name = self.one("web", "db")
        self.add(self.make(MACS[name], self.own_tag(name) + self.tag(self.random.choice((10, 20, 77)))), name)

    def outer_decides(self):
        name = self.one("web", "db")
        self.add(self.make(MACS[name], self.tag(77) + self.own_tag(name)), "host")

    def priority(self):
        name = self.one()
        self.add(self.make(MACS[name], self.tag(0)), "dev" if name == "dev" else "host")

    def wrong_vlan(self):
        self.add(self.make(MACS[self.one()], self.tag(self.random.choice((1, 11, 1034, 4094, 4095)))), "host")

    def anothers_vlan(self):
        name, other = self.random.choice((("web", "db"), ("db", "web"), ("dev", "web"), ("web", "dev"), ("db", "dev")))
        self.add(self.make(MACS[name], self.own_tag(other)), "host")

    def unknown(self):
        dst = UNKNOWN.format(self.random.randrange(256))
        self.add(self.make(dst, self.random.choice((b"", self.tag(10), self.tag(20), self.tag(33)))), "host")

    def group(self):
        dst = self.random.choice((vmq.BROADCAST, GROUP.format(self.random.randrange(256))))
        vlan, name = self.random.choice(((10, "web"), (20, "db"), (None, "dev"), (33, None)))
        content = self.make(dst, self.tag(vlan) if vlan else b"")
        self.add(content, "host")
        if name:
            self.flooded[name].append(vmq.untagged(content))

    def runt(self):
        name = self.one()
        tags = self.own_tag(name)
        shortest = 14 if not tags else 18 if self.driver == "af_xdp" else SHORTEST_TAGGED_THE_KERNEL_PASSES
        self.add(self.make(MACS[name], tags)[:self.random.randrange(shortest, 60)], name)

    def too_big(self):
        self.add(self.make(MACS["web"], self.own_tag("web"), TOO_BIG_BYTES), "too_big")

    def cut_tag(self):
        """The kernel itself discards such a frame before an AF_PACKET socket sees it."""
        if self.driver == "af_xdp":
            self.add(self.make(MACS["web"], vmq.tag(10))[:self.random.randrange(14, 18)], "malformed")


def as_seen(driver, frames):
    """An AF_PACKET port is told the tag but not its TPID: it hands every tag on as 802.1Q."""
    if driver == "af_xdp":
        return frames
    old, new = (tpid.to_bytes(2, "big") for tpid in (vmq.TPID_8021AD, vmq.TPID_8021Q))
    return [content[:12] + new + content[14:] if content[12:14] == old else content for content in frames]


def split(frames):
    """(to one, to many): the two ways cross in vmqd, and order is promised on each."""
    return [f for f in frames if not f[0] & 1], [f for f in frames if f[0] & 1]


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_frame_goes_to_its_queue(lab, driver):
    site = Site(lab, driver, veth_mtu=2000)
    site.add_three()
    traffic = Traffic(driver, FRAMES)
    site.play(traffic.frames)
    stats = site.vmqd.settled()

    host = site.host.wait(len(traffic.expected["host"]), "frames to the host")
    assert not vmq.difference(host, as_seen(driver, traffic.expected["host"]))
    for name in MACS:
        want_one, want_many = traffic.expected[name], traffic.flooded[name]
        got_one, got_many = split(site.guests[name].wait(len(want_one) + len(want_many)))
        assert not vmq.difference(got_one, want_one), name
        assert not vmq.difference(got_many, want_many), name

    copies = sum(map(len, traffic.flooded.values()))
    to_vms = sum(len(traffic.expected[name]) for name in MACS) + copies
    assert stats["entered"] == {"wire": len(traffic.frames), "host": 0, "vms": 0, "copies": copies}
    assert stats["left"] == {"queues": to_vms, "host": len(host), "wire": 0}
    assert {k: v for k, v in stats["drops"].items() if v} == {k: v for k, v in traffic.drops.items() if v}
    assert site.wire.received() == []
