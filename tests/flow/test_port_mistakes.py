# SPDX-License-Identifier: BSD-3-Clause
"""A port that cannot be opened is refused with the cause; a driver that never answers costs nobody else anything."""

import os
import socket

import pytest
import vmq
from test_confined import Bounded
from vmq_site import STRANGER, Site

OTHER_IF = "nic1"
ABSENT_CARD = "fffe:ff:1f.7"

# The port of a second adapter; the first has net_af_packet0,iface=nic0.
MISTAKES = {
    "if=nosuch0": "there is no interface nosuch0",
    "if=averyveryverylongname0": "there is no interface averyveryverylongname0",
    "if=": "needs an interface: if=NAME",
    f"if={OTHER_IF},framesz=2048": f"there is no interface {OTHER_IF},framesz=2048",
    "if=nic0": "interface nic0 is adapter eth0's",
    "net_af_packet1,iface=nosuch0": "there is no interface nosuch0",
    "net_af_packet1,iface=averyveryverylongname0": "there is no interface averyveryverylongname0",
    "net_af_packet1,iface=": "needs an interface: iface=NAME",
    "net_af_packet1": "needs an interface: iface=NAME",
    "net_af_xdp0,iface=nosuch0": "there is no interface nosuch0",
    "net_af_xdp0": "needs an interface: iface=NAME",
    OTHER_IF: f"an interface is taken with if={OTHER_IF}",
    f"af_packet1,iface={OTHER_IF}": "does not open: EAL: failed to parse device",
    f"net_nosuch0,iface={OTHER_IF}": "does not open: EAL: failed to parse device",
    "net_af_packet1,iface=nic0": "interface nic0 is adapter eth0's",
    "net_af_xdp1,iface=nic0": "interface nic0 is adapter eth0's",
    "net_af_packet0,framecnt=512,iface=nic0": "interface nic0 is adapter eth0's",
    f"net_af_packet0,iface={OTHER_IF}": "net_af_packet0 is adapter eth0's: give it another number",
    f"net_af_packet1,iface={OTHER_IF},framesz=1024": "framesz of 1024 cuts frames",
    f"net_{'x' * 80}0": "no device has so long a name",
    ABSENT_CARD: "there is no such card",
    f"pci:{ABSENT_CARD},arg=1": f"port {ABSENT_CARD}: there is no such card",
}


@pytest.fixture(scope="module")
def site():
    """One vmqd for all mistakes: what they leave behind would show."""
    with vmq.Lab() as lab:
        site = Site(lab, driver="af_packet", host=False)
        lab.veth((site.inside, OTHER_IF), (site.outside, "wire1"))
        yield site


def refusal(vmqd, port, name="eth1"):
    with pytest.raises(vmq.Refused) as refused:
        vmqd.ctl("adapter", "add", name, "port", port)
    return str(refused.value)


@pytest.mark.parametrize("port", MISTAKES)
def test_the_refusal_names_the_cause(site, port):
    before = site.vmqd.ctl("adapter", "show")
    assert MISTAKES[port] in refusal(site.vmqd, port)
    assert site.vmqd.ctl("adapter", "show") == before


@pytest.mark.parametrize("good", [f"if={OTHER_IF}", f"net_af_packet1,iface={OTHER_IF}"])
def test_a_good_port_works_afterwards_and_is_free_again_once_deleted(site, good):
    for name in ("eth1", "eth2"):
        site.vmqd.ctl("adapter", "add", name, "port", good)
        assert f"port {good} is adapter {name}'s" in refusal(site.vmqd, good, "eth3")
        site.vmqd.ctl("adapter", "del", name)


def test_without_permission_it_says_which(lab):
    netns = lab.netns("vmqd")
    vmqd = lab.vmqd(Bounded(netns, "+net_admin,+ipc_lock,+sys_admin,+sys_nice,+chown"))
    for port in ("if=lo", "net_af_packet0,iface=lo"):
        assert "it needs CAP_NET_RAW" in refusal(vmqd, port)


class Silent:
    """A vhost-user back end that takes a connection and never says a word: its driver waits for it without end."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        self.port = f"net_virtio_user0,path={path}"

    def delete(self):
        """Who waited for it gets an error."""
        self.socket.close()


def test_a_driver_that_never_answers_stops_nobody_else(lab):
    site = Site(lab, host=False)
    silent = lab.keep(Silent(lab.path("silent.sock")))
    assert "its driver has not answered" in refusal(site.vmqd, silent.port)
    assert f"DPDK still waits for the driver of {silent.port}" in refusal(site.vmqd, "net_null0")
    frames = [vmq.frame(vmq.BROADCAST, src=STRANGER, seq=i) for i in range(100)]
    site.play(frames)
    assert [one["name"] for one in site.vmqd.ctl("adapter", "show")] == ["eth0"]
    silent.delete()
    vmq.wait_until(lambda: site.vmqd.vmqctl("adapter", "add", "eth1", "port", "net_null0").returncode == 0,
                   "ports to be opened again once the driver gave up")
    site.vmqd.ctl("adapter", "del", "eth0")
    site.vmqd.ctl("adapter", "add", "eth0", "port", "net_af_packet0,iface=nic0")


def test_vmqd_ends_while_a_driver_does_not_answer(lab):
    site = Site(lab, host=False)
    silent = lab.keep(Silent(lab.path("silent.sock")))
    assert "its driver has not answered" in refusal(site.vmqd, silent.port)
    site.vmqd.stop()
    assert not os.path.exists(site.vmqd.socket_path)
