# SPDX-License-Identifier: BSD-3-Clause
"""A frame for all reaches every VM of its VLAN, the host and the wire, once each, and never its sender."""

import pcap
import pytest
import vmq
from vmq_site import MACS, Site

PEER = "52:54:00:00:00:11"
HOST_MAC = "02:00:00:00:00:99"
FRAMES = 50
GROUPS = [vmq.BROADCAST, "01:00:5e:00:00:fb", "33:33:00:00:00:01"]


def site_of_four(lab, send=None):
    site = Site(lab)
    site.add_vm("web", send=send)
    site.add_vm("peer", mac=PEER, vlan=10)
    site.add_vm("db")
    site.add_vm("dev")
    return site


def to_all(src, tags=b""):
    return [vmq.frame(GROUPS[i % len(GROUPS)], src=src, tags=tags, seq=i) for i in range(FRAMES)]


def check(site, got_by, frames):
    """`frames` untagged, and tagged on host and wire; everyone else got nothing."""
    for name, guest in site.guests.items():
        if name in got_by:
            assert not vmq.difference(guest.wait(FRAMES), [vmq.untagged(content) for content in frames]), name
    for name, end in (("host", site.host), ("wire", site.wire)):
        if name in got_by:
            assert not vmq.difference(end.wait(FRAMES), frames), name
    stats = site.vmqd.settled()
    everyone = {**site.guests, "host": site.host, "wire": site.wire}
    for name, one in everyone.items():
        got = one.frames() if name in site.guests else one.received()
        assert len(got) == (FRAMES if name in got_by else 0), name
    assert stats["entered"]["copies"] == FRAMES * (len(got_by) - 1)


@pytest.mark.parametrize("tags, got_by", [
    pytest.param(vmq.tag(10), ("web", "peer", "host"), id="vlan of two VMs"),
    pytest.param(vmq.tag(20), ("db", "host"), id="vlan of one VM"),
    pytest.param(vmq.tag(33), ("host",), id="vlan of no VM"),
    pytest.param(b"", ("dev", "host"), id="untagged"),
    pytest.param(vmq.tag(0), ("dev", "host"), id="priority tag"),
])
def test_from_the_wire(lab, tags, got_by):
    site = site_of_four(lab)
    frames = to_all("02:00:00:00:00:01", tags)
    site.play(frames)
    check(site, got_by, frames)


def test_from_the_host(lab):
    site = site_of_four(lab)
    frames = to_all(HOST_MAC, vmq.tag(10))
    site.play(frames, end=site.host, source="host")
    check(site, ("web", "peer", "wire"), frames)


def test_from_a_vm(lab):
    frames = to_all(MACS["web"])
    path = lab.path("sent.pcap")
    pcap.write(path, frames)
    site = site_of_four(lab, send=path)
    site.guests["web"].start()
    check(site, ("peer", "host", "wire"), [vmq.tagged(content, 10) for content in frames])
