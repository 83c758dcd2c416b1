# SPDX-License-Identifier: BSD-3-Clause
"""An adapter whose port is not there when vmqd starts: everything else is served, and it comes when the port does."""

import pytest

import vmq
from vmq_control import launch
from vmq_site import MACS, STRANGER, WIRE_IF, Site

SECOND_IF, SECOND_WIRE = "nic1", "wire1"
FRAMES = 50
PORTS = {"packet": "if=nic1", "af_packet": "net_af_packet1,iface=nic1", "af_xdp": "net_af_xdp1,iface=nic1"}


class Two(Site):
    """Two adapters with a VM each, of which the second's interface is not there."""

    def __init__(self, lab, port):
        super().__init__(lab, host=False)
        lab.veth((self.inside, SECOND_IF), (self.outside, SECOND_WIRE))
        self.vmqd.ctl("adapter", "add", "eth1", "port", port, "mtu", "1400", "poll", "adaptive")
        self.paths = {name: self.vmqd.add_vm(lab, name, MACS[name], "untagged", adapter=adapter)
                      for name, adapter in (("dev", "eth0"), ("db", "eth1"))}
        with open(self.vmqd.state_path) as file:
            self.state = file.read()
        self.vmqd.stop()
        self.inside.run("ip", "link", "del", SECOND_IF)

    def boot_all(self):
        for name, path in self.paths.items():
            self.boot(name, path)

    def cable(self):
        self.lab.veth((self.inside, SECOND_IF), (self.outside, SECOND_WIRE))
        return self.lab.wire(self.outside, SECOND_WIRE)


def shown(vmqd, adapter="eth1"):
    return vmqd.ctl("adapter", "show", adapter)[0]


def wait_link(vmqd, link):
    vmq.wait_until(lambda: vmqd.check() and shown(vmqd)["link"] == link, f"eth1's link to be {link}")


def arrives(guest, wire, name, count):
    frames = [vmq.frame(MACS[name], src=STRANGER, seq=i) for i in range(count)]
    for frame in frames:
        wire.send(frame)
    assert guest.wait(count)[:count] == frames


@pytest.mark.parametrize("kind", PORTS)
def test_everything_else_is_served_and_it_comes_with_its_interface(lab, kind):
    site = Two(lab, PORTS[kind])
    launch(site.vmqd)
    one = shown(site.vmqd)
    assert one["link"] == "absent" and "there is no interface nic1" in one["why"] and one["mtu"] == 1400
    assert f"vmqd: adapter eth1 is absent: port {PORTS[kind]}: there is no interface nic1" in site.vmqd.log()
    assert shown(site.vmqd, "eth0")["link"] == "up"
    site.boot_all()
    arrives(site.guests["dev"], site.wire, "dev", FRAMES)
    site.vmqd.ctl("filter", "set", "eth1", site.vmqd.vm_queue("db"), "mac", "52:54:00:00:00:77")
    wire = site.cable()
    wait_link(site.vmqd, "up")
    assert shown(site.vmqd)["interface"] == SECOND_IF and "absent" not in (shown(site.vmqd)["why"] or "")
    arrives(site.guests["db"], wire, "db", FRAMES)
    site.vmqd.settled("eth1")


def test_the_state_stays_as_it_was(lab):
    site = Two(lab, PORTS["packet"])
    for _ in range(2):
        launch(site.vmqd)
        with open(site.vmqd.state_path) as file:
            assert file.read() == site.state
        site.vmqd.stop()
    site.cable()
    launch(site.vmqd)
    wait_link(site.vmqd, "up")


def test_an_absent_adapter_is_configured_and_taken_away(lab):
    """What does not need the port works; its VM and the host reach each other."""
    site = Two(lab, PORTS["packet"])
    launch(site.vmqd)
    site.boot("db", site.paths["db"])
    host = site.add_host("eth1", "host1")
    frames = [vmq.frame(MACS["db"], src=STRANGER, seq=i) for i in range(FRAMES)]
    for frame in frames:
        host.send(frame)
    got = [content for content in site.guests["db"].wait(FRAMES) if content in frames]
    assert got == frames
    site.vmqd.ctl("vm", "del", "db")
    site.vmqd.ctl("adapter", "del", "eth1")
    assert [one["name"] for one in site.vmqd.ctl("adapter", "show")] == ["eth0"]


def test_by_hand_it_is_refused(lab):
    site = Site(lab, host=False)
    with pytest.raises(vmq.Refused, match="there is no interface nic1"):
        site.vmqd.ctl("adapter", "add", "eth1", "port", PORTS["packet"])
    assert [one["name"] for one in site.vmqd.ctl("adapter", "show")] == ["eth0"]


def test_a_configuration_file_may_name_what_is_not_there_yet(lab):
    inside, outside = lab.netns("vmqd"), lab.netns("wire")
    vmqd = lab.vmqd(inside, "adapter add eth1 port if=nic1\nhost add eth1 tap host0\n")
    assert shown(vmqd)["link"] == "absent" and shown(vmqd)["host"] == "host0"
    lab.veth((inside, SECOND_IF), (outside, WIRE_IF))
    wait_link(vmqd, "up")


def test_it_is_tried_again_now_and_then(lab):
    """Nobody tells when a card is bound: here the port is one that another adapter has until it is taken away."""
    inside = lab.netns("vmqd")
    vmqd = lab.vmqd(inside, "adapter add eth0 port net_null0\nadapter add eth1 port net_null0,copy=0\n")
    assert shown(vmqd)["link"] == "absent" and "net_null0 is adapter eth0's" in shown(vmqd)["why"]
    vmqd.ctl("adapter", "del", "eth0")
    wait_link(vmqd, "up")
    assert "vmqd: adapter eth1 is back: its link is up" in vmqd.log()
