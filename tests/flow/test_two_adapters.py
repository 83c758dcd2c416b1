# SPDX-License-Identifier: BSD-3-Clause
"""Adapters are apart: the same address on two of them is two VMs, and nothing crosses."""

import vmq
from vmq_site import MACS, Site, to

FRAMES = 500


def test_the_same_filter_on_two_adapters(lab):
    site = Site(lab)
    second = lab.netns("second")
    lab.veth((site.inside, "nic1"), (second, "wire1"))
    wire = lab.wire(second, "wire1")
    site.vmqd.ctl("adapter", "add", "eth1", "port", "net_af_packet1,iface=nic1")
    site.add_vm("web")
    path = site.vmqd.add_vm(lab, "twin", MACS["web"], 10, adapter="eth1")
    site.boot("twin", path)

    frames = {"web": [to("web", i) for i in range(FRAMES)], "twin": [to("web", FRAMES + i) for i in range(FRAMES)]}
    site.play(frames["web"])
    site.play(frames["twin"], end=wire, adapter="eth1")
    for name, sent in frames.items():
        assert not vmq.difference(site.guests[name].wait(FRAMES), [vmq.untagged(content) for content in sent]), name
    for adapter in ("eth0", "eth1"):
        stats = site.vmqd.settled(adapter)
        assert stats["entered"]["wire"] == FRAMES and stats["left"]["queues"] == FRAMES, adapter

    site.vmqd.ctl("adapter", "del", "eth0")
    assert [one["name"] for one in site.vmqd.ctl("adapter", "show")] == ["eth1"]
    site.play(frames["web"], end=wire, adapter="eth1")
    assert len(site.guests["twin"].wait(2 * FRAMES)) == 2 * FRAMES
    assert len(site.guests["web"].frames()) == FRAMES
