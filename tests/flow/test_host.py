# SPDX-License-Identifier: BSD-3-Clause
"""The host is a neighbour through its TAP interface: it gets the default queue and reaches VMs and the wire."""

import pcap
import vmq
from vmq_site import MACS, STRANGER, Site

HOST_MAC = "02:00:00:00:00:99"
FRAMES = 200


def test_host_gets_what_no_filter_wants(lab):
    site = Site(lab)
    site.add_vm("web", guest=False)
    kinds = [b"", vmq.tag(10), vmq.tag(0, 3), vmq.tag(4095), vmq.tag(10) + vmq.tag(20)]
    frames = [vmq.frame("52:54:00:00:01:01", tags=tags, seq=i, size=60 + i) for i, tags in enumerate(kinds * 40)]
    site.play(frames)
    assert not vmq.difference(site.host.wait(len(frames)), frames)
    assert site.vmqd.settled()["left"]["host"] == len(frames)
    assert site.vmqd.queue_stats(0)["rx_packets"] == len(frames)


def test_host_reaches_a_vm_on_its_vlan_only(lab):
    site = Site(lab)
    site.add_vm("web")
    good = [vmq.frame(MACS["web"], src=HOST_MAC, tags=vmq.tag(10), seq=i) for i in range(FRAMES)]
    bad = [vmq.frame(MACS["web"], src=HOST_MAC, tags=vmq.tag(20), seq=i) for i in range(FRAMES)]
    site.play(good, end=site.host, source="host")
    assert not vmq.difference(site.guests["web"].wait(FRAMES), [vmq.untagged(content) for content in good])
    site.play(bad, end=site.host, source="host")
    assert not vmq.difference(site.wire.wait(FRAMES), bad)
    stats = site.vmqd.settled()
    assert stats["entered"]["host"] == 2 * FRAMES and stats["left"] == {"queues": FRAMES, "host": 0, "wire": FRAMES}
    assert site.vmqd.queue_stats(0)["tx_packets"] == 2 * FRAMES
    assert len(site.guests["web"].frames()) == FRAMES


def test_a_vm_reaches_the_host(lab):
    """The host spoke before: its address is learned, so the wire does not see what goes to the host."""
    site = Site(lab)
    sent = [vmq.frame(HOST_MAC, src=MACS["web"], seq=i) for i in range(FRAMES)]
    path = lab.path("sent.pcap")
    pcap.write(path, sent)
    site.add_vm("web", send=path)
    site.host.send(vmq.frame(vmq.BROADCAST, src=HOST_MAC, tags=vmq.tag(10)))
    site.wire.wait(1)
    site.guests["web"].start()
    assert not vmq.difference(site.host.wait(FRAMES), [vmq.tagged(content, 10) for content in sent])
    site.vmqd.settled()
    assert len(site.wire.received()) == 1


def test_without_a_host_nobody_wants_the_rest(lab):
    site = Site(lab, host=False)
    site.play([vmq.frame("52:54:00:00:01:01", src=STRANGER, seq=i) for i in range(FRAMES)])
    stats = site.vmqd.settled()
    assert stats["drops"]["no_consumer"] == FRAMES and stats["left"]["host"] == 0
    assert site.drops(0) == {"no_consumer": FRAMES}


def test_host_comes_and_goes(lab):
    site = Site(lab)
    site.vmqd.ctl("host", "del", "eth0")
    assert "host0" not in site.inside.run("ip", "-o", "link")
    again = site.add_host()
    site.play([vmq.frame("52:54:00:00:01:01")])
    again.wait(1)
