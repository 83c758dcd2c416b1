"""At full rate a worker allocates nothing, takes no lock and makes no system call but the one that calls a guest."""

import os
import struct
import subprocess
import sys

import pcap
import pytest
import vmq
from vmq_control import IN_MEMORY
from vmq_site import MACS, to
from vmq_workers import CPUS, SYSCALL_SUBMIT, SYSCALL_WRITE, Site, Tracer, enough_cpus, workers

sys.path.insert(0, os.path.join(vmq.ROOT, "tests", "guest"))

from arena import Hostile

LAB_FOLDER = IN_MEMORY
CPU = "0"
WARM_FRAMES = 100_000
FRAMES = 300_000
THREAD = struct.Struct("=3Q")
THREADS_MAX = 1024


def source(lab, names):
    """A port on which the same frames arrive for ever, as fast as they are taken."""
    path = lab.path("source.pcap")
    pcap.write(path, [to(name, i) for i in range(64) for name in names])
    return f"net_pcap0,rx_pcap={path},infinite_rx=1"


def open_source(site, names):
    site.vmqd.ctl("adapter", "add", "eth0", "port", source(site.lab, names), "queues", "8")


def served(vmqd):
    return vmqd.stats()["left"]["queues"]


def wait_served(vmqd, count, meanwhile=lambda: None):
    """So many more frames are in guests."""
    end = served(vmqd) + count

    def done():
        meanwhile()
        return vmqd.check() and served(vmqd) >= end

    vmq.wait_until(done, f"{count} more frames in guests")


def calls_while_serving(site, cpu):
    """System calls of one worker."""
    wait_served(site.vmqd, WARM_FRAMES)
    calls = []
    with Tracer(workers(site.vmqd)[cpu].tid) as tracer:
        wait_served(site.vmqd, FRAMES, lambda: calls.extend(tracer.ended()))
    return calls


def file_of(vmqd, call):
    return os.readlink(f"/proc/{vmqd.pid}/fd/{call[1][0]}")


def assert_only_signals(site, calls, number):
    """All of them this one system call, and each into an eventfd."""
    others = {other for other, _, _ in calls if other != number}
    assert not others, f"system calls {others}"
    assert {file_of(site.vmqd, call) for call in calls} <= {"anon_inode:[eventfd]"}


# System calls


@pytest.mark.parametrize("names", [("web",), tuple(MACS)], ids=len)
def test_no_system_call_for_guests_that_poll(lab, names):
    site = Site(lab, cpus=CPU, driver=None)
    open_source(site, names)
    for name in names:
        site.add_vm(name, record=False)
    assert calls_while_serving(site, 0) == []


def test_only_calls_for_a_guest_that_wants_them(lab):
    """No more than one for a delivery, and each into an eventfd."""
    site = Site(lab, cpus=CPU, driver=None)
    open_source(site, ("web",))
    path = site.add_vm("web", guest=False)
    lab.make(Hostile, lab, "sink", path, "sink").wait_ready()
    before = served(site.vmqd)
    calls = calls_while_serving(site, 0)
    assert_only_signals(site, calls, SYSCALL_SUBMIT)
    assert 0 < len(calls) < served(site.vmqd) - before


@pytest.mark.skipif(not enough_cpus(), reason="needs processors 0 and 1")
def test_hand_over_makes_no_system_call(lab):
    """The receiver may wake the server, if that sleeps, and no more."""
    site = Site(lab, cpus=CPUS, driver=None)
    open_source(site, ("web",))
    site.add_vm("web", record=False, affinity=1)
    assert_only_signals(site, calls_while_serving(site, 0), SYSCALL_WRITE)


# Allocations and locks


@pytest.fixture
def counted(lab, monkeypatch):
    """A function that starts a site whose vmqd is counted, and one that reads the counts of a worker."""
    shim, counts = lab.path("count_malloc.so"), lab.path("counts")
    subprocess.run([os.environ.get("CC", "gcc"), "-O2", "-shared", "-fPIC", "-o", shim,
                    os.path.join(vmq.ROOT, "tests", "proofs", "count_malloc.c")], check=True)
    with open(counts, "wb") as file:
        file.write(bytes(8 + THREAD.size * THREADS_MAX))

    def start(**options):
        with monkeypatch.context() as context:
            context.setenv("LD_PRELOAD", shim)
            context.setenv("VMQ_COUNTS", counts)
            return Site(lab, driver=None, **options)

    def read(tid):
        """(allocations and frees, locks) of a thread since it began."""
        with open(counts, "rb") as file:
            content = file.read()
        threads = min(struct.unpack_from("=Q", content)[0], THREADS_MAX)
        found = [THREAD.unpack_from(content, 8 + i * THREAD.size) for i in range(threads)]
        return next(((allocations, locks) for thread, allocations, locks in reversed(found) if thread == tid), (0, 0))

    return start, read


def unchanged(site, read, act):
    """What the workers counted during `act`, by processor; what control counted shows that there is counting."""
    of_workers = {cpu: worker.tid for cpu, worker in workers(site.vmqd).items()}
    before = {cpu: read(tid) for cpu, tid in of_workers.items()}
    control = read(site.vmqd.pid)
    act()
    assert read(site.vmqd.pid) > control, "nothing is counted"
    return {cpu: (before[cpu], read(tid)) for cpu, tid in of_workers.items() if read(tid) != before[cpu]}


@pytest.mark.parametrize("cpus, affinity", [
    pytest.param(CPU, ("0", "0"), id="one processor"),
    pytest.param(CPUS, ("0", "1"), id="two processors",
                 marks=pytest.mark.skipif(not enough_cpus(), reason="needs processors 0 and 1")),
])
def test_no_allocation_and_no_lock_from_the_wire(lab, counted, cpus, affinity):
    start, read = counted
    site = start(cpus=cpus)
    open_source(site, ("web", "db"))
    for name, cpu in zip(("web", "db"), affinity):
        site.add_vm(name, record=False, affinity=cpu)
    wait_served(site.vmqd, WARM_FRAMES)
    assert not unchanged(site, read, lambda: wait_served(site.vmqd, FRAMES))


def test_no_allocation_and_no_lock_between_vms(lab, counted):
    start, read = counted
    site = start(cpus=CPU)
    path = lab.path("sent.pcap")
    pcap.write(path, [vmq.frame(MACS["db"], src=MACS["web"], seq=i) for i in range(64)])
    site.vmqd.ctl("adapter", "add", "eth0", "port", "net_null0,no-rx=1")
    site.add_vm("web", vlan=10, send=f"{path},infinite_rx=1")
    site.add_vm("db", vlan=10, record=False)
    site.guests["web"].start()
    wait_served(site.vmqd, WARM_FRAMES)
    assert not unchanged(site, read, lambda: wait_served(site.vmqd, FRAMES))
