# SPDX-License-Identifier: BSD-3-Clause
"""A trunk VM sees and sends tags; an access VM of the same VLAN does not."""

import pcap
import vmq
from vmq_site import MACS, Site

ROUTER = "52:54:00:00:00:21"
FRAMES = 100


def add_router(site, vlans=(10, 20), **words):
    """A trunk VM with one address on several VLANs: `vm add` sets the first filter, `filter set` the others."""
    site.add_vm("router", mac=ROUTER, vlan=vlans[0], trunk="on", **words)
    for vlan in vlans[1:]:
        site.vmqd.ctl("filter", "set", "eth0", site.vmqd.vm_queue("router"), "mac", ROUTER, "vlan", vlan)


def test_tags_pass_to_a_trunk(lab):
    site = Site(lab)
    add_router(site)
    kinds = [vmq.tag(10), vmq.tag(20, 5), vmq.tag(10) + vmq.tag(7)]
    good = [vmq.frame(ROUTER, tags=kinds[i % 3], seq=i) for i in range(FRAMES)]
    bad = [vmq.frame(ROUTER, tags=tags, seq=i) for i, tags in enumerate([b"", vmq.tag(30), vmq.tag(0)])]
    site.play(good + bad)
    assert not vmq.difference(site.guests["router"].wait(FRAMES), good)
    assert not vmq.difference(site.host.wait(len(bad)), bad)
    site.vmqd.settled()
    assert len(site.guests["router"].frames()) == FRAMES


def test_a_vm_with_any_vlan_and_trunk_gets_every_tag(lab):
    site = Site(lab)
    site.add_vm("router", mac=ROUTER, vlan="any", trunk="on")
    kinds = [b"", vmq.tag(10), vmq.tag(4094, 7), vmq.tag(0, 2)]
    frames = [vmq.frame(ROUTER, tags=kinds[i % 4], seq=i) for i in range(FRAMES)]
    site.play(frames)
    assert not vmq.difference(site.guests["router"].wait(FRAMES), frames)


def test_a_trunk_sends_on_its_vlans_only(lab):
    good = [vmq.frame(MACS[name], src=ROUTER, tags=tags, seq=i) for i in range(FRAMES)
            for name, tags in (("web", vmq.tag(10)), ("db", vmq.tag(20)))]
    bad = [vmq.frame(MACS["web"], src=ROUTER, tags=tags, seq=i) for i in range(FRAMES) for tags in (b"", vmq.tag(30))]
    path = lab.path("sent.pcap")
    pcap.write(path, good + bad)
    site = Site(lab)
    add_router(site, send=path)
    site.add_vm("web")
    site.add_vm("db")
    site.guests["router"].start()
    vmq.wait_until(lambda: site.vmqd.entered("vms") >= len(good + bad), "vmqd to take what the VM sends")
    site.vmqd.settled()
    for name, vlan in (("web", 0), ("db", 1)):
        assert not vmq.difference(site.guests[name].wait(FRAMES), [vmq.untagged(f) for f in good[vlan::2]]), name
    assert site.drops(site.vmqd.vm_queue("router")) == {"vlan_mismatch": len(bad)}
