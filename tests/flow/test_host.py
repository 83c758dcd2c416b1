# SPDX-License-Identifier: BSD-3-Clause
"""The host is a neighbour through its TAP interface: it gets the default queue and reaches VMs and the wire."""

import fcntl
import json
import struct

import pcap
import pytest
import vmq
from vmq_control import kill_and_launch
from vmq_site import HOST_IF, MACS, STRANGER, Site

HOST_MAC = "02:00:00:00:00:99"
FRAMES = 200
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


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


def link(site, ifname=HOST_IF):
    """What the kernel says of an interface."""
    return json.loads(site.inside.run("ip", "-j", "address", "show", "dev", ifname))[0]


def test_it_has_the_same_address_after_a_restart(lab):
    site = Site(lab)
    before = link(site)["address"]
    assert int(before[:2], 16) & 3 == 2
    kill_and_launch(site.vmqd)
    assert link(site)["address"] == before
    site.vmqd.ctl("host", "del", "eth0")
    site.add_host(ifname="other0")
    assert link(site, "other0")["address"] != before


def test_a_persistent_tap_keeps_what_was_set_on_it(lab):
    site = Site(lab, host=False)
    site.inside.run("ip", "tuntap", "add", HOST_IF, "mode", "tap")
    site.inside.run("ip", "link", "set", HOST_IF, "address", "02:00:00:00:00:55", "up")
    site.inside.run("ip", "address", "add", "10.9.0.1/24", "dev", HOST_IF)
    site.add_host()
    kill_and_launch(site.vmqd)
    site.vmqd.ctl("host", "del", "eth0")
    assert link(site)["address"] == "02:00:00:00:00:55"
    assert [address["local"] for address in link(site)["addr_info"]] == ["10.9.0.1"]


@pytest.mark.parametrize("kind", [("veth", "peer", "name", "other0"), ("tun", "multi_queue")], ids=lambda kind: kind[0])
def test_an_interface_of_somebody_else_is_told_apart(lab, kind):
    site = Site(lab, host=False)
    if kind[0] == "veth":
        site.inside.run("ip", "link", "add", "name", HOST_IF, "type", *kind)
    else:
        site.inside.run("ip", "tuntap", "add", HOST_IF, "mode", "tap", *kind[1:])
    with pytest.raises(vmq.Refused, match="somebody else's interface has this name, and it is no TAP"):
        site.vmqd.ctl("host", "add", "eth0", "tap", HOST_IF)
    assert link(site)["ifname"] == HOST_IF


def test_a_tap_in_use_is_told_apart(lab):
    site = Site(lab, host=False)
    with site.inside.entered(), open("/dev/net/tun", "r+b", buffering=0) as holder:
        fcntl.ioctl(holder, TUNSETIFF, struct.pack("16sH22x", HOST_IF.encode(), IFF_TAP | IFF_NO_PI))
        with pytest.raises(vmq.Refused, match="another program has this TAP open"):
            site.vmqd.ctl("host", "add", "eth0", "tap", HOST_IF)
