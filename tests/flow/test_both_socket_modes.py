# SPDX-License-Identifier: BSD-3-Clause
"""A VM's socket works with vmqd as its server and as its client, whoever comes first or leaves first."""

import os

import pytest
import vmq
from vmq_site import Site, to

FRAMES = 100
MODES = ["server", "client"]


def deliver(site, seq=0):
    """The guest gets what is sent now."""
    guest = site.guests["web"]
    before = len(guest.frames())
    frames = [to("web", seq + i) for i in range(FRAMES)]
    site.play(frames)
    assert not vmq.difference(guest.wait(before + FRAMES)[before:], [vmq.untagged(content) for content in frames])


@pytest.mark.parametrize("mode", MODES)
def test_guest_comes_after_vmqd(lab, mode):
    site = Site(lab)
    site.add_vm("web", mode=mode)
    deliver(site)


def test_guest_waits_for_vmqd(lab):
    site = Site(lab)
    path = lab.path("web.sock")
    guest = lab.guest(path, mode="client")
    vmq.wait_until(lambda: guest.check() and os.path.exists(path), "the guest's socket")
    site.add_vm("web", mode="client", guest=False)
    site.guests["web"] = guest.wait_ready()
    site.vmqd.wait_connected("web")
    site.follow("web")
    deliver(site)


@pytest.mark.parametrize("mode", MODES)
def test_guest_restarts(lab, mode):
    site = Site(lab)
    path = site.add_vm("web", mode=mode)
    deliver(site)
    site.guests["web"].stop()
    site.vmqd.wait_connected("web", False)
    if mode == "client" and os.path.exists(path):
        os.unlink(path)
    site.boot("web", path, mode=mode)
    deliver(site, 1000)


@pytest.mark.parametrize("mode", MODES)
def test_vm_is_detached_and_attached_again(lab, mode):
    site = Site(lab)
    path = site.add_vm("web", mode=mode)
    deliver(site)
    queue = site.vmqd.vm_queue("web")
    site.vmqd.ctl("vm", "detach", "web")
    site.guests["web"].kill()
    site.play([to("web", 500)])
    vmq.wait_until(lambda: site.drops(queue) == {"vm_down": 1}, "the frame to be counted")
    if mode == "client" and os.path.exists(path):
        os.unlink(path)
    site.vmqd.ctl("vm", "attach", "web", "adapter", "eth0", "queue", queue, "socket", path, "mode", mode)
    site.boot("web", path, mode=mode)
    deliver(site, 1000)
