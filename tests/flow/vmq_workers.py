# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the data-path processors share: a site with two of them, workers seen from outside, changes."""

import contextlib
import ctypes
import os
import struct
import threading

import vmq
import vmq_site

CPUS = "0,1"
NEEDED_CPUS = 2
SYSCALL_WRITE, SYSCALL_SUBMIT, SYSCALL_SLEEP = 1, 209, 271  # write, io_submit, ppoll; x86-64


def enough_cpus():
    return {0, 1} <= os.sched_getaffinity(0)


class Site(vmq_site.Site):
    """The usual scene with as many data-path processors as are named."""

    def __init__(self, lab, cpus=CPUS, driver="packet", adapter=(), host=False, memory_mb=256):
        self.lab, self.guests = lab, {}
        self.inside, self.outside = lab.netns("vmqd"), lab.netns("wire")
        lab.veth((self.inside, vmq_site.ADAPTER_IF), (self.outside, vmq_site.WIRE_IF))
        self.wire = lab.wire(self.outside, vmq_site.WIRE_IF)
        self.vmqd = lab.vmqd(self.inside, cpus=cpus, memory_mb=memory_mb)
        if driver:
            self.vmqd.ctl("adapter", "add", "eth0", "port", vmq_site.DRIVERS.get(driver, driver), *adapter)
            self.host = self.add_host() if host else None

    def wait_entered(self, sent):
        """For all that was sent on the wire, but what the port had no room for."""
        vmq.wait_until(lambda: self.vmqd.check() and self.vmqd.entered("wire") + self.vmqd.stats()["missed"] >= sent,
                       "frames to enter")

    def queue(self, name):
        return self.vmqd.rpc.call("queue.show", adapter="eth0", id=self.vmqd.vm_queue(name))[0]

    def move(self, name, affinity):
        self.vmqd.rpc.call("queue.set", adapter="eth0", id=self.vmqd.vm_queue(name), affinity=affinity)

    def drop_count(self, reason):
        return self.vmqd.stats()["drops"][reason]


class Change(threading.Thread):
    """Makes changes on a connection of its own until told to end, and at least so many."""

    def __init__(self, vmqd, change, least=0):
        super().__init__()
        self.rpc, self.change, self.least = vmq.Rpc(vmqd.socket_path), change, least
        self.count, self.ended, self.error = 0, threading.Event(), None

    def run(self):
        try:
            while not self.ended.is_set() or self.count < self.least:
                self.change(self.rpc, self.count)
                self.count += 1
        except Exception as error:
            self.error = error
        self.rpc.delete()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, trace):
        self.ended.set()
        self.join()
        if self.error and not kind:
            raise self.error


# Frames by number


def sequence(content):
    """The number that vmq.frame() put into a frame, as an access VM sees it."""
    return struct.unpack_from("!I", content, 14)[0]


def disorder(numbers):
    """The first pair that is not in order, as text; empty if all numbers rise."""
    for i, (a, b) in enumerate(zip(numbers, numbers[1:])):
        if b <= a:
            return f"frame {i + 1} of {len(numbers)} is number {b}, after {a}"
    return ""


# Workers from outside


class Thread:
    """One of vmqd, seen from outside."""

    def __init__(self, vmqd, tid):
        self.vmqd, self.tid = vmqd, tid
        self.path = f"/proc/{vmqd.pid}/task/{tid}"

    def read(self, name):
        with open(f"{self.path}/{name}") as file:
            return file.read()

    def status(self, field):
        return next(line.split(":")[1].strip() for line in self.read("status").splitlines() if line.startswith(field))

    def is_worker(self):
        return self.read("comm").startswith("rte-worker")

    def cpus(self):
        return self.status("Cpus_allowed_list")

    def switches(self):
        return int(self.status("voluntary_ctxt_switches")) + int(self.status("nonvoluntary_ctxt_switches"))

    def sleeps(self):
        """How often it gave up its processor by itself."""
        return int(self.status("voluntary_ctxt_switches"))

    def run_ns(self):
        """How long it has run, by the scheduler's own account."""
        return int(self.read("schedstat").split()[0])

    def asleep(self):
        return self.read("syscall").split()[0] == str(SYSCALL_SLEEP)

    def wait_asleep(self):
        vmq.wait_until(lambda: self.vmqd.check() and self.asleep(), "a worker to sleep")


def threads(vmqd):
    return [Thread(vmqd, int(tid)) for tid in os.listdir(f"/proc/{vmqd.pid}/task")]


def workers(vmqd):
    """By processor: each is on its own alone."""
    return {int(thread.cpus()): thread for thread in threads(vmqd) if thread.is_worker()}


class Tracer:
    """
    Sees every system call of one thread. Only for the thread that made it, and within `with`. Of a guest's call,
    which is a request that ends at once and signals an eventfd, the arguments are that eventfd alone.
    """

    SEIZE, INTERRUPT, SYSCALL, DETACH, GET_SYSCALL_INFO = 0x4206, 0x4207, 24, 17, 0x420E
    TRACESYSGOOD = 1
    ENTRY, EXIT = 1, 2
    LOOKS = 1000
    WALL = 0x40000000
    REQUEST_SIGNALS_AT = 60  # struct iocb, aio_resfd

    def __init__(self, tid):
        self.tid, self.libc = tid, ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.stopped, self.number, self.arguments = False, None, ()
        self.call(self.SEIZE, self.TRACESYSGOOD)

    def call(self, request, value=0, size=0):
        if self.libc.ptrace(request, self.tid, size, value) < 0:
            raise OSError(ctypes.get_errno(), f"cannot trace thread {self.tid}: {os.strerror(ctypes.get_errno())}")

    def __enter__(self):
        self.call(self.INTERRUPT)
        vmq.wait_until(lambda: self.stop() is not None, "the thread to stop")
        self.go_on()
        return self

    def __exit__(self, kind, error, trace):
        with contextlib.suppress(OSError):
            if not self.stopped:
                self.call(self.INTERRUPT)
                vmq.wait_until(lambda: self.stop() is not None, "the thread to stop")
            self.call(self.DETACH)

    def stop(self, looks=1):
        """The status of the thread if it has stopped, else None. A call ends soon after it began: look again."""
        for _ in range(looks):
            pid, status = os.waitpid(self.tid, os.WNOHANG | self.WALL)
            if pid == self.tid:
                self.stopped = True
                return status
        return None

    def go_on(self, signal=0):
        self.call(self.SYSCALL, signal)
        self.stopped = False

    def ended(self, limit=1000):
        """Calls that have ended since the last time, a few at once: [(number, arguments, result)]."""
        calls = []
        while len(calls) < limit:
            status = self.stop(self.LOOKS)
            if status is None:
                break
            if os.WSTOPSIG(status) & 0x80:
                self.note(calls)
            self.go_on(self.signal(status))
        return calls

    @staticmethod
    def signal(status):
        """What the thread was sent and shall get: the driver of a TAP interface lives by signals."""
        is_of_tracing = status >> 16 or os.WSTOPSIG(status) & 0x80
        return 0 if is_of_tracing else os.WSTOPSIG(status)

    def signalled(self, requests):
        """The eventfd of the first of io_submit's requests; read while the thread stands at its entry."""
        with open(f"/proc/{self.tid}/mem", "rb", buffering=0) as memory:
            request, = struct.unpack("=Q", os.pread(memory.fileno(), 8, requests))
            return struct.unpack("=I", os.pread(memory.fileno(), 4, request + self.REQUEST_SIGNALS_AT))[0]

    def note(self, calls):
        content = ctypes.create_string_buffer(88)
        self.call(self.GET_SYSCALL_INFO, ctypes.cast(content, ctypes.c_void_p), len(content))
        kind = content.raw[0]
        if kind == self.ENTRY:
            self.number, *self.arguments = struct.unpack_from("=7Q", content.raw, 24)
            if self.number == SYSCALL_SUBMIT:
                self.arguments = [self.signalled(self.arguments[2])]
        elif kind == self.EXIT and self.number is not None:
            calls.append((self.number, tuple(self.arguments), struct.unpack_from("=q", content.raw, 24)[0]))
            self.number = None
