# SPDX-License-Identifier: BSD-3-Clause
"""
What vmqd has given up once it runs: threads that touch what a guest controls have no capability at all, the control
thread has the few that ports need, every thread is behind the system call filter, and none can get anything back.
"""

import os
import re

import pcap
import pytest
import vmq
from vmq_site import MACS, Site, to

# Source: linux/capability.h
CAPABILITIES = {"chown": 0, "net_admin": 12, "net_raw": 13, "ipc_lock": 14, "sys_admin": 21, "sys_nice": 23, "bpf": 39}
CONTROL_HAS = sum(1 << bit for bit in CAPABILITIES.values())
SECCOMP_FILTERS = 2
FRAMES = 100
WORKER = re.compile(r"(rte-worker|lcore-worker)")
SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")


class Thread:
    def __init__(self, folder):
        with open(os.path.join(folder, "status")) as file:
            self.status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        self.name = self.status["Name"]

    def capabilities(self):
        return {name: int(self.status[name], 16) for name in SETS if int(self.status[name], 16)}

    def __repr__(self):
        return self.name


def threads_of(vmqd):
    folder = f"/proc/{vmqd.pid}/task"
    return [Thread(os.path.join(folder, task)) for task in sorted(os.listdir(folder), key=int)]


def serving(lab, mode, driver="af_packet"):
    """vmqd at work: with a guest that got frames, so that every thread there will be is there."""
    site = Site(lab, driver)
    site.add_vm("web", mode=mode)
    frames = [to("web", i) for i in range(FRAMES)]
    site.play(frames)
    site.guests["web"].wait(len(frames))
    return site


@pytest.mark.parametrize("mode", ["server", "client"])
def test_threads_that_touch_guests_have_no_capability(lab, mode):
    threads = threads_of(serving(lab, mode).vmqd)
    found = [thread for thread in threads if WORKER.search(thread.name)]
    assert found, f"no worker in {threads}"
    assert {thread.name: thread.capabilities() for thread in found if thread.capabilities()} == {}


@pytest.mark.parametrize("driver", ["packet", "af_packet", "af_xdp"])
def test_no_thread_has_more_than_ports_need(lab, driver):
    for thread in threads_of(serving(lab, "server", driver).vmqd):
        beyond = {name: hex(bits & ~CONTROL_HAS) for name, bits in thread.capabilities().items() if bits & ~CONTROL_HAS}
        assert not beyond, thread
        assert int(thread.status["CapBnd"], 16) & ~CONTROL_HAS == 0, thread
        assert int(thread.status["CapInh"], 16) == 0 and int(thread.status["CapAmb"], 16) == 0, thread


@pytest.mark.parametrize("mode", ["server", "client"])
def test_every_thread_is_behind_the_filter(lab, mode):
    for thread in threads_of(serving(lab, mode).vmqd):
        assert int(thread.status["Seccomp"]) == SECCOMP_FILTERS, thread
        assert int(thread.status["NoNewPrivs"]) == 1, thread


class Bounded:
    """A namespace in which programs start with this bounding set."""

    def __init__(self, netns, words):
        self.netns, self.set = netns, f"-all,{words}"

    def words(self, *words):
        return self.netns.words("setpriv", f"--bounding-set={self.set}", "--no-new-privs", *words)


def test_it_starts_with_no_more_than_its_unit_gives(lab):
    """The bounding set of the unit file: vmqd cannot ask for more, and must not need it."""
    words = ",".join(f"+{name}" for name in CAPABILITIES)
    inside = lab.netns("vmqd")
    vmqd = lab.vmqd(Bounded(inside, words))
    assert vmqd.ctl("adapter", "show") == []
    assert int(threads_of(vmqd)[0].status["CapPrm"], 16) == CONTROL_HAS


def eventfds_unread(vmqd):
    folder, unread = f"/proc/{vmqd.pid}/fdinfo", 0
    for handle in os.listdir(folder):
        try:
            with open(os.path.join(folder, handle)) as file:
                count = re.search(r"eventfd-count:\s*([0-9a-f]+)", file.read())
        except FileNotFoundError:
            continue
        unread += bool(count and int(count[1], 16))
    return unread


def test_a_worker_that_was_kicked_can_sleep_again(lab):
    """
    A system call that the filter refuses by mistake fails without a word: kicks unread keep a worker awake for good.
    Of a guest's four descriptors its two interrupts are its own to read, and nobody waits for kicks of the ring that it
    receives with. Those of the ring that it sends with must be read.
    """
    path = lab.path("sent.pcap")
    pcap.write(path, [vmq.frame("52:54:00:00:01:01", src=MACS["dev"], seq=i) for i in range(FRAMES)])
    site = Site(lab)
    site.add_vm("dev", send=path)
    site.guests["dev"].start()
    vmq.wait_until(lambda: site.vmqd.entered("vms") >= FRAMES, "vmqd to take what the VM sends")
    vmq.wait_until(lambda: eventfds_unread(site.vmqd) <= 3, "kicks to be read", 20)
