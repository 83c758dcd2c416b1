# SPDX-License-Identifier: BSD-3-Clause
"""A VM sends from its own addresses and on its own VLANs, or its frames are dropped and counted."""

import pcap
import pytest
import vmq
from vmq_site import MACS, Site

PEER = "52:54:00:00:00:11"
FRAMES = 100


def send(lab, frames, **words):
    site = Site(lab)
    path = lab.path("sent.pcap")
    pcap.write(path, frames)
    site.add_vm("web", send=path, **words)
    site.add_vm("peer", mac=PEER, vlan=10)
    site.guests["web"].start()
    vmq.wait_until(lambda: site.vmqd.entered("vms") >= len(frames), "vmqd to take what the VM sends")
    return site, site.vmqd.settled()


def test_a_spoofed_source_is_dropped(lab):
    good = [vmq.frame(PEER, src=MACS["web"], seq=i) for i in range(FRAMES)]
    bad = [vmq.frame(PEER, src=src, seq=i) for i in range(FRAMES)
           for src in (MACS["db"], PEER, "02:00:00:00:00:01", vmq.BROADCAST, "00:00:00:00:00:00")]
    mixed = [content for i in range(FRAMES) for content in (good[i], *bad[5 * i:5 * i + 5])]
    site, _ = send(lab, mixed)
    assert not vmq.difference(site.guests["peer"].wait(FRAMES), good)
    assert site.drops(site.vmqd.vm_queue("web")) == {"spoofed_source": len(bad)}
    assert site.wire.received() == [] and site.host.received() == []


def test_spoof_check_can_be_off(lab):
    frames = [vmq.frame(PEER, src="02:00:00:00:00:55", seq=i) for i in range(FRAMES)]
    site, _ = send(lab, frames, spoof_check="off")
    assert not vmq.difference(site.guests["peer"].wait(FRAMES), frames)


@pytest.mark.parametrize("tags", [
    pytest.param(vmq.tag(10), id="own"),
    pytest.param(vmq.tag(20), id="another"),
    pytest.param(vmq.tag(10, tpid=vmq.TPID_8021AD), id="8021ad"),
])
def test_an_access_vm_sends_no_tags(lab, tags):
    frames = [vmq.frame(PEER, src=MACS["web"], tags=tags, seq=i) for i in range(FRAMES)]
    site, _ = send(lab, frames)
    assert site.drops(site.vmqd.vm_queue("web")) == {"vlan_mismatch": FRAMES}
    assert site.guests["peer"].frames() == [] and site.wire.received() == []
