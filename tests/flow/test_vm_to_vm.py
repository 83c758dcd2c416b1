# SPDX-License-Identifier: BSD-3-Clause
"""VMs of one VLAN reach each other, and nobody else."""

import pcap
import pytest
import vmq
from vmq_site import MACS, Site

PEER = "52:54:00:00:00:11"
FRAMES = 300


@pytest.mark.parametrize("vlan", [10, "untagged"])
def test_frames_of_a_vm_reach_its_neighbour(lab, vlan):
    site = Site(lab)
    sent = [vmq.frame(PEER, src=MACS["web"], seq=i, size=60 + i) for i in range(FRAMES)]
    path = lab.path("sent.pcap")
    pcap.write(path, sent)
    site.add_vm("web", vlan=vlan, send=path)
    site.add_vm("peer", mac=PEER, vlan=vlan)
    site.add_vm("db")
    site.guests["web"].start()
    assert not vmq.difference(site.guests["peer"].wait(FRAMES), sent)
    stats = site.vmqd.settled()
    assert stats["entered"]["vms"] == FRAMES and stats["left"]["queues"] == FRAMES
    assert site.vmqd.queue_stats(site.vmqd.vm_queue("web"))["tx_packets"] == FRAMES
    assert site.wire.received() == [] and site.host.received() == []
    assert site.guests["web"].frames() == [] and site.guests["db"].frames() == []


def test_another_vlan_is_out_of_reach(lab):
    """A frame for a VM of another VLAN leaves by the wire, tagged with the sender's, as for any unknown address."""
    site = Site(lab)
    sent = [vmq.frame(MACS["db"], src=MACS["web"], seq=i) for i in range(FRAMES)]
    path = lab.path("sent.pcap")
    pcap.write(path, sent)
    site.add_vm("web", send=path)
    site.add_vm("db")
    site.guests["web"].start()
    assert not vmq.difference(site.wire.wait(FRAMES), [vmq.tagged(content, 10) for content in sent])
    site.vmqd.settled()
    assert site.guests["db"].frames() == []


def test_frames_to_the_wire_get_the_tag(lab):
    """The wire answered before: its address is learned, so the host does not see what goes there."""
    site = Site(lab)
    beyond = "02:00:00:00:00:77"
    sent = [vmq.frame(beyond, src=MACS["web"], seq=i) for i in range(FRAMES)]
    path = lab.path("sent.pcap")
    pcap.write(path, sent)
    site.add_vm("web", send=path)
    site.play([vmq.frame(vmq.BROADCAST, src=beyond, tags=vmq.tag(10))])
    site.host.wait(1)
    site.guests["web"].start()
    assert not vmq.difference(site.wire.wait(FRAMES), [vmq.tagged(content, 10) for content in sent])
    site.vmqd.settled()
    assert len(site.host.received()) == 1
