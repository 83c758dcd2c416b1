# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces that go down, come back, or are deleted under vmqd: it says so, spins on nothing, and goes on by itself."""

import json
import os
import socket
import time

import pytest
import vmq
from vmq_control import Follower
from vmq_site import ADAPTER_IF, HOST_IF, WIRE_IF, Site, to

FRAMES = 50
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


def test_the_hosts_interface_is_deleted(site):
    """Frames for it are dropped and counted, a VM goes on, and `host del` and `host add` bring it back."""
    site.add_vm("web")
    site.inside.run("ip", "link", "del", HOST_IF)
    assert share_of_a_processor(site) < SPIN_SHARE
    site.play([to("web", i) for i in range(FRAMES)] + [vmq.frame("52:54:00:00:01:01")])
    site.guests["web"].wait(FRAMES)
    assert site.vmqd.settled()["drops"]["tx_full"] == 1
    site.vmqd.ctl("host", "del", "eth0")
    again = site.add_host()
    site.play([vmq.frame("52:54:00:00:01:01")])
    again.wait(1)


def test_the_ports_interface_is_deleted(site):
    """The adapter says so and can be taken away."""
    site.inside.run("ip", "link", "del", ADAPTER_IF)
    link_is(site, "down")
    assert share_of_a_processor(site) < SPIN_SHARE
    site.vmqd.ctl("adapter", "del", "eth0")
    assert ADAPTER_IF not in [link["ifname"] for link in json.loads(site.inside.run("ip", "-j", "link"))]
    assert site.vmqd.ctl("adapter", "show") == []
