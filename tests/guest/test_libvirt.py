# SPDX-License-Identifier: BSD-3-Clause
"""A domain of libvirt's, whose QEMU is not root's: it starts, reboots and survives a restart of vmqd, without a chmod."""

import os
import shutil

import pytest
from libvirt import USER, Domain, Libvirtd

import vmq
from vmq_control import kill_and_launch
from vmq_site import HOST_IF, Site

MAC = "52:54:00:00:00:01"
HOST, VM = "10.9.0.1", "10.9.0.11"
MODES = {"server": "client", "client": "server"}  # of vmqd's end, and of QEMU's


@pytest.fixture(scope="module")
def place():
    """vmqd that gives sockets to libvirt's QEMU, a libvirtd, and a folder in which QEMU may make sockets."""
    with vmq.Lab() as lab:
        os.chmod(lab.directory, 0o755)
        site = Site(lab, options=("--vm-socket-user", USER, "--vm-socket-mode", "0600"))
        site.inside.run("ip", "address", "add", f"{HOST}/24", "dev", HOST_IF)
        folder = lab.path("qemu")
        os.mkdir(folder)
        shutil.chown(folder, USER)
        yield lab, site, lab.make(Libvirtd, lab, lab.netns("libvirt")), folder


@pytest.mark.parametrize("mode", MODES)
def test_a_domain_lives(place, mode):
    lab, site, libvirtd, folder = place
    socket_path = os.path.join(folder if mode == "client" else lab.directory, f"{mode}.sock")
    words = ("adapter", "eth0", "socket", socket_path, "mac", MAC, "vlan", "untagged", "mode", mode)
    site.vmqd.ctl("vm", "add", "web", *words)
    domain = lab.make(Domain, lab, libvirtd, f"domain-{mode}", MAC, f"{VM}/24", socket_path, MODES[mode])

    domain.wait_ready()
    assert domain.pings(HOST), "it starts"
    domain.reset()
    domain.wait_ready()
    assert domain.pings(HOST), "it reboots"
    kill_and_launch(site.vmqd)
    site.inside.up(HOST_IF)
    site.inside.run("ip", "address", "replace", f"{HOST}/24", "dev", HOST_IF)
    site.vmqd.wait_connected("web")
    assert domain.pings(HOST), "vmqd restarts"

    domain.delete()
    site.vmqd.ctl("vm", "del", "web")
