# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces that go down, come back, or are deleted under vmqd: it says so, spins on nothing, and goes on by itself."""

import json
import os
import signal
import socket
import time

import pytest
import vmq
from vmq_control import Follower
from vmq_site import ADAPTER_IF, HOST_IF, WIRE_IF, Site, to

FRAMES = 50
HOST_MAC = "02:00:00:00:00:99"
PROVIDER_TAG = vmq.tag(10, tpid=0x88A8)
SPIN_S = 2.0       # a worker that spins uses all of it
SPIN_SHARE = 0.5


@pytest.fixture
def site(lab):
    return Site(lab)


def processor_s(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share_of_a_processor(site):
    """What vmqd takes while nothing happens; how long it takes to find out does not matter."""
    before, began = processor_s(site.vmqd.pid), time.monotonic()
    vmq.wait_until(lambda: time.monotonic() - began > SPIN_S, "a while to pass")
    return (processor_s(site.vmqd.pid) - before) / (time.monotonic() - began)


def link_is(site, state):
    vmq.wait_until(lambda: site.vmqd.check() and site.vmqd.ctl("adapter", "show", "eth0")[0]["link"] == state,
                   f"the link to be {state}")


def set_link(netns, ifname, state):
    netns.run("ip", "link", "set", "dev", ifname, state)


def forget_error(wire):
    """Our own capture on an interface that was down has an error to tell first."""
    wire.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@pytest.mark.parametrize("end", ["its own", "the peer's"])
def test_a_link_goes_and_comes_back(site, lab, end):
    netns, ifname = (site.inside, ADAPTER_IF) if end == "its own" else (site.outside, WIRE_IF)
    site.add_vm("web")
    follower = lab.keep(Follower(site.vmqd))
    link_is(site, "up")
    for round in range(2):
        set_link(netns, ifname, "down")
        link_is(site, "down")
        assert follower.until(type="link", link="down")["adapter"] == "eth0"
        assert site.vmqd.log().splitlines()[-1] == "vmqd: adapter eth0: link is down"
        assert share_of_a_processor(site) < SPIN_SHARE
        set_link(netns, ifname, "up")
        link_is(site, "up")
        assert follower.until(type="link", link="up")["adapter"] == "eth0"
        forget_error(site.wire)
        frames = [to("web", round * FRAMES + i) for i in range(FRAMES)]
        site.play(frames)
        got = site.guests["web"].wait((round + 1) * FRAMES)
        assert not vmq.difference(got[round * FRAMES:], [vmq.untagged(content) for content in frames])
        assert share_of_a_processor(site) < SPIN_SHARE
    site.vmqd.settled()


def test_the_hosts_interface_goes_down_and_comes_back(site):
    set_link(site.inside, HOST_IF, "down")
    assert share_of_a_processor(site) < SPIN_SHARE
    site.inside.up(HOST_IF)
    forget_error(site.host)
    site.play([vmq.frame("52:54:00:00:01:01", seq=i) for i in range(FRAMES)])
    site.host.wait(FRAMES)
    assert share_of_a_processor(site) < SPIN_SHARE


def said(site, line):
    vmq.wait_until(lambda: site.vmqd.check() and line in site.vmqd.log(), f"the log to say: {line}")


def host_address(site):
    return json.loads(site.inside.run("ip", "-j", "link", "show", "dev", HOST_IF))[0]["address"]


def test_the_host_sends_longer_frames_than_the_adapter_takes(site):
    """Its interface's MTU was raised from outside: each such frame is in one counter, and the others arrive."""
    site.inside.run("ip", "link", "set", HOST_IF, "mtu", "9000")
    short = vmq.frame(vmq.BROADCAST, src=HOST_MAC, size=1514)
    for _ in range(5):
        site.host.send(vmq.frame(vmq.BROADCAST, src=HOST_MAC, size=4000))
        site.host.send(short)
    assert not vmq.difference(site.wire.wait(5), [short] * 5)
    assert site.vmqd.ctl("stats", "show", "eth0")["adapters"][0]["missed"] == 5


def test_the_hosts_interface_is_deleted(site, lab):
    """It is made again at once, with its address."""
    site.add_vm("web")
    before = host_address(site)
    site.inside.run("ip", "link", "del", HOST_IF)
    said(site, f"host interface {HOST_IF} was deleted: it is made again, without addresses")
    assert host_address(site) == before
    assert share_of_a_processor(site) < SPIN_SHARE
    site.inside.up(HOST_IF)
    again = lab.wire(site.inside, HOST_IF)
    site.play([to("web", i) for i in range(FRAMES)] + [vmq.frame("52:54:00:00:01:01")])
    site.guests["web"].wait(FRAMES)
    again.wait(1)


def test_the_hosts_interface_cannot_be_made_again_yet(site):
    """Its name is taken meanwhile: it is told once, and the interface is back once the name is free."""
    site.vmqd.child.send_signal(signal.SIGSTOP)
    site.inside.run("ip", "link", "del", HOST_IF)
    site.inside.run("ip", "link", "add", HOST_IF, "type", "veth", "peer", "name", "taker0")
    site.vmqd.child.send_signal(signal.SIGCONT)
    said(site, f"host interface {HOST_IF} was deleted: ")
    assert share_of_a_processor(site) < SPIN_SHARE
    assert site.vmqd.log().count(f"host interface {HOST_IF} was deleted: ") == 1
    site.inside.run("ip", "link", "del", HOST_IF)
    said(site, f"host interface {HOST_IF} was deleted: it is made again, without addresses")


def adapter_of(site):
    return site.vmqd.ctl("adapter", "show", "eth0")[0]


def cable(site, lab, ifname=ADAPTER_IF):
    """A new one in place of one that was deleted."""
    lab.veth((site.inside, ifname), (site.outside, WIRE_IF))
    site.wire = lab.wire(site.outside, WIRE_IF)


def goes_on(site, round):
    frames = [to("web", round * FRAMES + i) for i in range(FRAMES)]
    site.play(frames)
    got = site.guests["web"].wait((round + 1) * FRAMES)
    assert not vmq.difference(got[round * FRAMES:], [vmq.untagged(content) for content in frames])


@pytest.mark.parametrize("driver", ["packet", "af_packet", "af_xdp"])
def test_the_ports_interface_is_deleted_and_made_again(lab, driver):
    """The adapter says what is amiss, serves VMs and host, and is back with the interface."""
    site = Site(lab, driver=driver)
    site.add_vm("web")
    for round in range(2):
        site.inside.run("ip", "link", "del", ADAPTER_IF)
        link_is(site, "absent")
        assert "interface nic0 was deleted: it is taken again when it is back" in adapter_of(site)["why"]
        said(site, "vmqd: adapter eth0 is absent: interface nic0 was deleted: it is taken again when it is back")
        site.play([to("dev", i) for i in range(FRAMES)], end=site.host, source="host")
        assert share_of_a_processor(site) < SPIN_SHARE
        cable(site, lab)
        link_is(site, "up")
        goes_on(site, round)
    assert site.vmqd.log().count("vmqd: adapter eth0 is back") == 2
    site.vmqd.settled()
    site.vmqd.ctl("adapter", "del", "eth0")


@pytest.mark.parametrize("driver", ["packet", "af_packet", "af_xdp"])
def test_the_ports_interface_is_renamed(lab, driver):
    """It goes on, and is found by its new name when it was deleted and made again."""
    site = Site(lab, driver=driver)
    site.add_vm("web")
    assert adapter_of(site)["interface"] == ADAPTER_IF
    for words in (("down",), ("name", "other0"), ("up",)):
        site.inside.run("ip", "link", "set", "dev", "other0" if words == ("up",) else ADAPTER_IF, *words)
    said(site, f"vmqd: adapter eth0: interface {ADAPTER_IF} is called other0 now")
    assert adapter_of(site)["interface"] == "other0"
    link_is(site, "up")
    goes_on(site, 0)
    site.inside.run("ip", "link", "del", "other0")
    link_is(site, "absent")
    cable(site, lab, "other0")
    link_is(site, "up")
    goes_on(site, 1)


@pytest.mark.parametrize("driver", ["packet", "af_packet", "af_xdp"])
def test_the_ports_interface_takes_less_than_the_adapter(lab, driver):
    """What is too long for the wire is `too_big`, what fits arrives; and again all once the MTU is as it was."""
    site = Site(lab, driver=driver)

    def send(length, tags=b""):
        before = site.vmqd.settled()
        site.play([vmq.frame("52:54:00:00:01:01", tags=tags, seq=length, size=length)], end=site.host, source="host")
        after = site.vmqd.settled()
        return after["left"]["wire"] - before["left"]["wire"], after["drops"]["too_big"] - before["drops"]["too_big"]

    site.inside.run("ip", "link", "set", "dev", ADAPTER_IF, "mtu", "1300")
    vmq.wait_until(lambda: "has an MTU of 1300, the adapter of 1500" in (adapter_of(site)["why"] or ""), "it to be told")
    said(site, "interface nic0 has an MTU of 1300, the adapter of 1500: ip link set dev nic0 mtu 1500")
    assert send(1314) == (1, 0) and send(1315) == (0, 1)
    assert send(1318, vmq.tag(10)) == (1, 0) and send(1319, vmq.tag(10)) == (0, 1)
    assert send(1314, PROVIDER_TAG) == (1, 0) and send(1315, PROVIDER_TAG) == (0, 1)
    site.inside.run("ip", "link", "set", "dev", ADAPTER_IF, "mtu", "1500")
    vmq.wait_until(lambda: "MTU" not in (adapter_of(site)["why"] or ""), "it to be well again")
    assert send(1315) == (1, 0)


def test_a_deleted_port_can_be_taken_away(site):
    site.inside.run("ip", "link", "del", ADAPTER_IF)
    link_is(site, "absent")
    site.vmqd.ctl("adapter", "del", "eth0")
    assert ADAPTER_IF not in [link["ifname"] for link in json.loads(site.inside.run("ip", "-j", "link"))]
    assert site.vmqd.ctl("adapter", "show") == []
