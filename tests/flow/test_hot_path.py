# SPDX-License-Identifier: BSD-3-Clause
"""At full rate a worker allocates nothing, takes no lock and makes no system call but the one that calls a guest."""

import itertools
import os
import struct
import subprocess

import pcap
import pytest
import vmq
from arena import Hostile
from vmq_control import IN_MEMORY
from vmq_site import MACS, STRANGER, to
from vmq_workers import CPUS, SYSCALL_SUBMIT, SYSCALL_WRITE, Site, Tracer, enough_cpus, workers

LAB_FOLDER = IN_MEMORY
CPU = "0"
WARM_FRAMES = 100_000
FRAMES = 300_000
THREAD = struct.Struct("=3Q")
THREADS_MAX = 1024


# Ways of a frame. Each begins traffic without end, and gives the name under which `stats` counts what arrives.


def endless(site, frames):
    """Words for the pcap driver: these frames again and again, as fast as they are taken."""
    path = site.lab.path(f"frames{next(site.lab.numbers)}.pcap")
    pcap.write(path, frames)
    return f"{path},infinite_rx=1"


def open_source(site, frames, *words):
    site.vmqd.ctl("adapter", "add", "eth0", "port", f"net_pcap0,rx_pcap={endless(site, frames)}", "queues", "8", *words)


def to_vms(site, *names, size=60, affinity=(), adapter=(), **words):
    open_source(site, [to(name, i, size) for i in range(64) for name in names], *adapter)
    for name, cpu in itertools.zip_longest(names, affinity):
        site.add_vm(name, record=False, **({} if cpu is None else {"affinity": cpu}), **words)
    return "queues"


def to_one(site):
    return to_vms(site, "web")


def to_three(site):
    return to_vms(site, *MACS)


def to_a_queue_in_two_parts(site):
    way = to_vms(site, "web", size=400, adapter=("ndis", "6.20", "lookahead-split", "on"), lookahead=64)
    assert {piece["space"] for piece in site.queue("web")["memory"]} == {"host", "guest"}
    return way


def to_all(site):
    open_source(site, [vmq.frame(vmq.BROADCAST, tags=vmq.tag(10), seq=i) for i in range(64)])
    for name in MACS:
        site.add_vm(name, vlan=10, record=False)
    return "queues"


def to_a_trunk(site):
    open_source(site, [vmq.frame(MACS["web"], tags=vmq.tag(vlan), seq=i) for i in range(64) for vlan in (10, 20)])
    site.add_vm("web", vlan="any", trunk="on", record=False)
    return "queues"


def to_nobody(site):
    open_source(site, [to("web", i) for i in range(64)])
    return "drops"


def to_the_host(site):
    open_source(site, [vmq.frame(STRANGER, seq=i) for i in range(64)])
    site.add_host()
    return "host"


def sent_by_a_vm(site, to_mac):
    """The sender may be slower than the worker, which would sleep then."""
    site.vmqd.ctl("adapter", "add", "eth0", "port", "net_null0,no-rx=1", "poll", "busy")
    site.add_vm("web", vlan=10, send=endless(site, [vmq.frame(to_mac, src=MACS["web"], seq=i) for i in range(64)]))
    site.add_vm("db", vlan=10, record=False)
    site.guests["web"].start()


def between_vms(site):
    sent_by_a_vm(site, MACS["db"])
    return "queues"


def to_the_wire(site):
    sent_by_a_vm(site, STRANGER)
    return "wire"


WAYS = [to_one, to_three, to_a_queue_in_two_parts, to_all, to_a_trunk, to_nobody, between_vms, to_the_wire]


def arrived(vmqd, way):
    stats = vmqd.stats()
    return sum(stats["drops"].values()) if way == "drops" else stats["left"][way]


def wait_arrived(vmqd, way, count, meanwhile=lambda: None):
    """So many more frames are at the way's end."""
    end = arrived(vmqd, way) + count

    def done():
        meanwhile()
        return vmqd.check() and arrived(vmqd, way) >= end

    vmq.wait_until(done, f"{count} more frames at the end of their way")


def calls_under_way(site, way, cpu):
    """System calls of one worker."""
    wait_arrived(site.vmqd, way, WARM_FRAMES)
    calls = []
    with Tracer(workers(site.vmqd)[cpu].tid) as tracer:
        wait_arrived(site.vmqd, way, FRAMES, lambda: calls.extend(tracer.ended()))
    return calls


def file_of(vmqd, call):
    return os.readlink(f"/proc/{vmqd.pid}/fd/{call[1][0]}")


def assert_only_signals(site, calls, number):
    """All of them this one system call, and each into an eventfd."""
    others = {other for other, _, _ in calls if other != number}
    assert not others, f"system calls {others}"
    assert {file_of(site.vmqd, call) for call in calls} <= {"anon_inode:[eventfd]"}


# System calls


@pytest.mark.parametrize("begin", WAYS)
def test_no_system_call_for_guests_that_poll(lab, begin):
    site = Site(lab, cpus=CPU, driver=None)
    way = begin(site)
    assert calls_under_way(site, way, 0) == []


def test_only_calls_for_a_guest_that_wants_them(lab):
    """No more than one for a delivery, and each into an eventfd."""
    site = Site(lab, cpus=CPU, driver=None)
    open_source(site, [to("web", i) for i in range(64)])
    path = site.add_vm("web", guest=False)
    lab.make(Hostile, lab, "sink", path, "sink").wait_ready()
    before = arrived(site.vmqd, "queues")
    calls = calls_under_way(site, "queues", 0)
    assert_only_signals(site, calls, SYSCALL_SUBMIT)
    assert 0 < len(calls) < arrived(site.vmqd, "queues") - before


@pytest.mark.skipif(not enough_cpus(), reason="needs processors 0 and 1")
def test_hand_over_makes_no_system_call(lab):
    """The receiver may wake the server, if that sleeps, and no more."""
    site = Site(lab, cpus=CPUS, driver=None)
    way = to_vms(site, "web", affinity=(1,))
    assert_only_signals(site, calls_under_way(site, way, 0), SYSCALL_WRITE)


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


@pytest.mark.parametrize("begin", [*WAYS, to_the_host])
def test_no_allocation_and_no_lock(lab, counted, begin):
    start, read = counted
    site = start(cpus=CPU)
    way = begin(site)
    wait_arrived(site.vmqd, way, WARM_FRAMES)
    assert not unchanged(site, read, lambda: wait_arrived(site.vmqd, way, FRAMES))


@pytest.mark.skipif(not enough_cpus(), reason="needs processors 0 and 1")
def test_no_allocation_and_no_lock_between_two_processors(lab, counted):
    start, read = counted
    site = start(cpus=CPUS)
    way = to_vms(site, "web", "db", affinity=(0, 1))
    wait_arrived(site.vmqd, way, WARM_FRAMES)
    assert not unchanged(site, read, lambda: wait_arrived(site.vmqd, way, FRAMES))
