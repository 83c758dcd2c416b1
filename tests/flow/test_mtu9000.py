# SPDX-License-Identifier: BSD-3-Clause
"""Jumbo frames pass whole when the adapter's MTU is 9000, and only then."""

import pytest
import vmq
from vmq_site import Site, to

MTU = 9000
HEADER = 14
TAG = 4


@pytest.fixture
def site(lab):
    return Site(lab, adapter=("mtu", MTU), veth_mtu=MTU + TAG, memory_mb=512)


def test_every_length_up_to_the_mtu_arrives(site):
    site.add_vm("web", mtu=MTU)
    lengths = [60, 1500, 1518, 1519, 2048, 4096, 8192, 8999, MTU]
    frames = [to("web", i, length + HEADER + TAG) for i, length in enumerate(lengths * 20)]
    site.play(frames, chunk=20)
    assert not vmq.difference(site.guests["web"].wait(len(frames)), [vmq.untagged(content) for content in frames])
    site.vmqd.settled()


def test_jumbo_frames_reach_the_host(site):
    frames = [vmq.frame("52:54:00:00:01:01", seq=i, size=MTU + HEADER) for i in range(40)]
    site.play(frames, chunk=20)
    assert not vmq.difference(site.host.wait(len(frames)), frames)


def test_one_byte_more_is_too_big(site):
    site.add_vm("web", mtu=MTU)
    fits, over = to("web", 1, MTU + HEADER + TAG), to("web", 2, MTU + HEADER + TAG + 1)
    site.play([fits, over, over, fits])
    assert not vmq.difference(site.guests["web"].wait(2), [vmq.untagged(fits)] * 2)
    assert site.vmqd.settled()["drops"]["too_big"] == 2


def test_a_ring_that_cuts_frames_is_refused(lab):
    site = Site(lab, driver=None, veth_mtu=MTU + TAG, memory_mb=512)
    with pytest.raises(vmq.Refused) as refused:
        site.vmqd.ctl("adapter", "add", "eth0", "port", "net_af_packet0,iface=nic0,framesz=2048", "mtu", MTU)
    assert refused.value.status == 1 and site.vmqd.ctl("adapter", "show") == []
