# SPDX-License-Identifier: BSD-3-Clause
"""Where an address is: what is known for certain is not learned from a frame that claims it."""

import json

import pcap
import vmq
from vmq_site import HOST_IF, MACS, STRANGER, Site

BEHIND_HOST = "02:00:00:00:00:99"
FRAMES = 50


def host_mac(site):
    return json.loads(site.inside.run("ip", "-j", "link", "show", HOST_IF))[0]["address"]


def vm_sends_to(lab, site, destination):
    """`web` sends FRAMES to an address, on its VLAN; what should arrive."""
    sent = [vmq.frame(destination, src=MACS["web"], seq=i) for i in range(FRAMES)]
    path = lab.path("sent.pcap")
    pcap.write(path, sent)
    site.add_vm("web", send=path)
    return [vmq.tagged(content, 10) for content in sent]


def test_the_host_is_known_before_it_speaks(lab):
    site = Site(lab)
    expected = vm_sends_to(lab, site, host_mac(site))
    site.guests["web"].start()
    assert not vmq.difference(site.host.wait(FRAMES), expected)
    site.vmqd.settled()
    assert site.wire.received() == []


def test_the_wire_does_not_move_the_host(lab):
    """Somebody beyond the wire claims the host's address."""
    site = Site(lab)
    expected = vm_sends_to(lab, site, host_mac(site))
    site.play([vmq.frame(vmq.BROADCAST, src=host_mac(site), tags=vmq.tag(10))])
    claim = site.host.wait(1)
    site.guests["web"].start()
    assert not vmq.difference(site.host.wait(1 + FRAMES), claim[:1] + expected)
    site.vmqd.settled()
    assert site.wire.received() == []


def test_the_host_is_learned_from_what_it_sends_to_a_vm(lab):
    """An address behind the host that only ever spoke to a VM: the wire need not see what goes there."""
    site = Site(lab)
    expected = vm_sends_to(lab, site, BEHIND_HOST)
    spoken = [vmq.frame(MACS["web"], src=BEHIND_HOST, tags=vmq.tag(10))]
    site.play(spoken, end=site.host, source="host")
    site.guests["web"].start()
    assert not vmq.difference(site.host.wait(FRAMES), expected)
    site.vmqd.settled()
    assert site.wire.received() == []


def test_a_vm_is_not_learned_on_the_wire(lab):
    """Frames of the wire with a VM's address as source: once it is nobody's filter, it is unknown, not on the wire."""
    site = Site(lab)
    site.add_vm("db", guest=False)
    claims = [vmq.frame(vmq.BROADCAST, src=MACS["db"], tags=vmq.tag(20), seq=i) for i in range(FRAMES)]
    site.play(claims)
    site.host.wait(FRAMES)
    site.vmqd.ctl("vm", "del", "db")
    sent = [vmq.frame(MACS["db"], src=MACS["dev"], seq=i) for i in range(FRAMES)]
    path = lab.path("dev.pcap")
    pcap.write(path, sent)
    site.add_vm("dev", vlan=20, send=path)
    site.guests["dev"].start()
    expected = [vmq.tagged(content, 20) for content in sent]
    assert not vmq.difference(site.wire.wait(FRAMES), expected)
    assert not vmq.difference(site.host.wait(2 * FRAMES), claims + expected)


def test_a_stranger_is_learned(lab):
    site = Site(lab)
    expected = vm_sends_to(lab, site, STRANGER)
    site.play([vmq.frame(vmq.BROADCAST, src=STRANGER, tags=vmq.tag(10))])
    site.host.wait(1)
    site.guests["web"].start()
    assert not vmq.difference(site.wire.wait(FRAMES), expected)
    site.vmqd.settled()
    assert len(site.host.received()) == 1
