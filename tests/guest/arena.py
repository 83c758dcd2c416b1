# SPDX-License-Identifier: BSD-3-Clause
"""A site in which one VM attacks: the program that attacks, and the guests beside it."""

import mmap
import os
import resource
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "flow"))

import vmq
from vmq_site import MACS, Site, to

REPORTS = ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer")
FILES_LIMIT = 1024  # what a service gets unless it asks for more
PROGRESS = ("frames", "scans", "alien", "marked")


def program():
    """Where the build put `hostile`: beside vmqd."""
    path = os.path.join(os.path.dirname(os.path.dirname(vmq.program("vmqd"))), "tests", "guest", "hostile", "hostile")
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"{path} is not built: tests are off in this build")
    return path


def attacks():
    """(name, what has to become of it) of every attack."""
    done = subprocess.run([program(), "--list"], capture_output=True, text=True, check=True)
    return [tuple(line.split()) for line in done.stdout.splitlines()]


class Hostile(vmq.Process):
    """`hostile`, which says `ready` and goes on until it is told to stop."""

    def __init__(self, lab, name, socket_path, run):
        self.progress_path = lab.path(f"{name}.progress")
        with open(self.progress_path, "wb") as file:
            file.write(bytes(8 * len(PROGRESS)))
        with open(self.progress_path, "r+b") as file:
            self.words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
        super().__init__(name, [program(), socket_path, run], lab.path(f"{name}.log"), stdin=subprocess.PIPE,
                         env=dict(os.environ, VMQ_PROGRESS=self.progress_path))

    def progress(self, word="frames"):
        return self.words[PROGRESS.index(word)]

    def wait_ready(self):
        vmq.wait_until(lambda: self.check() and "ready" in self.log(), f"{self.name} to be ready")
        return self

    def stop(self):
        """Its last word, `open` or `closed`: what vmqd made of its connection."""
        self.child.stdin.close()
        status = self.wait()
        assert status == 0, f"{self.name} ended with {status}:\n{self.log_tail()}"
        return self.log().split()[-1]

    def delete(self):
        self.kill()
        self.child.stdin.close()


class Arena(Site):
    """
    `web` behaves and records, `db` comes and goes, `dev` is what attacks.

    @param witness  whether there is a guest behind `web`.
    @param lookahead  0: frames are delivered whole; else in two parts, split at so many bytes or beyond.
    """

    def __init__(self, lab, witness=True, lookahead=0):
        super().__init__(lab, adapter=("ndis", "6.20") if lookahead else ())
        rules = {"lookahead": lookahead} if lookahead else {}
        resource.prlimit(self.vmqd.pid, resource.RLIMIT_NOFILE, (FILES_LIMIT, FILES_LIMIT))
        self.paths = {name: self.add_vm(name, guest=False, **rules) for name in ("db", "dev")}
        self.queues = {name: self.vmqd.vm_queue(name) for name in self.paths}
        self.add_vm("web", guest=witness, **rules)
        self.queues["web"] = self.vmqd.vm_queue("web")
        self.numbers = dict.fromkeys(MACS, 0)
        self.runs = 0
        for name in self.paths:
            self.visit(name, 1)  # what vmqd opens once and keeps is open from here on

    def start(self, run, name="dev"):
        self.runs += 1
        return self.lab.make(Hostile, self.lab, f"{run}-{self.runs}", self.paths[name], run)

    def number(self, name):
        self.numbers[name] += 1
        return self.numbers[name] - 1

    def frames_to(self, names, count):
        return [to(name, self.number(name)) for _ in range(count) for name in names]

    def faults(self, name="dev"):
        return self.vmqd.queue_stats(self.queues[name])["drops"]["guest_fault"]

    def visit(self, name, count):
        """A guest that behaves comes to this socket, takes so many frames and leaves. The first may still miss it."""
        guest = self.start("sink", name).wait_ready()
        self.wait_connected(name)
        vmq.wait_until(lambda: self.vmqd.check() and (guest.progress() >= count or
                                                      self.play(self.frames_to((name, "web"), count))),
                       lambda: f"{count} frames in a guest on {name}, {guest.progress()} came")
        assert guest.stop() == "open"
        self.wait_connected(name, False)

    def wait_connected(self, name, connected=True):
        state = "connected" if connected else "gone"
        vmq.wait_until(lambda: self.vmqd.check() and self.connected(name) == connected, f"{name} to be {state}")

    def connected(self, name):
        return self.vmqd.rpc.call("vm.show", name=name)[0]["connected"]

    def check_the_good_one(self):
        """`web` has every frame that was for it, in order, and its queue dropped nothing."""
        got = self.guests["web"].wait(self.numbers["web"])
        expected = [vmq.untagged(to("web", number)) for number in range(self.numbers["web"])]
        assert not vmq.difference(got, expected)
        assert not self.drops(self.queues["web"])

    def descriptors(self):
        """How many files vmqd has open."""
        return len(os.listdir(f"/proc/{self.vmqd.pid}/fd"))

    def sanitizer_reports(self):
        return [line for line in self.vmqd.log().splitlines() if any(report in line for report in REPORTS)]
