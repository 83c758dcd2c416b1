# SPDX-License-Identifier: BSD-3-Clause
"""A worker with nothing to do sleeps, whoever brings it something wakes it, and `poll busy` keeps it awake."""

import time

import pcap
import pytest
import vmq
from arena import Hostile
from vmq_control import IN_MEMORY
from vmq_site import MACS, to
from vmq_workers import CPUS, SYSCALL_SLEEP, Site, Tracer, enough_cpus, workers

LAB_FOLDER = IN_MEMORY
CPU = "0"  # where one worker is enough

INTERVAL_S = 2
QUIET_SHARE = 0.05           # of a processor
QUIET_SWITCHES = 400         # in an interval: a tenth of what polling every 100 us would make
QUIET_LIMIT_S = 30
TRIES = 20


def quiet(vmqd):
    """Whether no worker did more in this interval than look up now and then."""
    all_of_them = list(workers(vmqd).values())
    before = [(worker.run_ns(), worker.switches()) for worker in all_of_them]
    time.sleep(INTERVAL_S)
    vmqd.check()
    return all(worker.run_ns() - ran < QUIET_SHARE * INTERVAL_S * 1e9 and
               worker.switches() - switched < QUIET_SWITCHES
               for worker, (ran, switched) in zip(all_of_them, before))


def wait_quiet(vmqd):
    vmq.wait_until(lambda: quiet(vmqd), f"{INTERVAL_S} s in which the workers sleep", QUIET_LIMIT_S)


# Idle


@pytest.mark.parametrize("driver", ["packet", "af_packet", "af_xdp", "net_tap0,iface=tap9"])
def test_an_idle_port_lets_the_workers_sleep(lab, driver):
    site = Site(lab, cpus=CPUS if enough_cpus() else CPU, driver=driver, host=True)
    if "tap9" in driver:
        site.inside.up("tap9")
    wait_quiet(site.vmqd)


def test_idle_guests_let_the_workers_sleep(lab):
    """Also after they have sent and received: a kick is heard once."""
    site = Site(lab, cpus=CPUS if enough_cpus() else CPU)
    path = lab.path("sent.pcap")
    pcap.write(path, [vmq.frame(MACS["db"], src=MACS["web"], seq=i) for i in range(200)])
    site.add_vm("web", vlan=10, send=path, affinity="auto")
    site.add_vm("db", vlan=10)
    wait_quiet(site.vmqd)
    site.guests["web"].start()
    site.guests["db"].wait(200)
    site.play([vmq.frame(MACS["db"], tags=vmq.tag(10), seq=i) for i in range(200)])
    site.guests["db"].wait(400)
    wait_quiet(site.vmqd)


def test_many_idle_queues_let_the_worker_sleep(lab):
    site = Site(lab, cpus=CPU)
    for i in range(64):
        site.vmqd.add_vm(lab, f"vm{i}", f"52:54:00:00:01:{i:02x}")
    wait_quiet(site.vmqd)


def test_a_guest_that_never_kicks_lets_the_worker_sleep(lab):
    """What it wants to send waits until something else wakes the worker."""
    site = Site(lab, cpus=CPU)
    path = site.add_vm("dev", guest=False)
    lab.make(Hostile, lab, "silent", path, "never-kicks").wait_ready()
    for _ in range(3):
        wait_quiet(site.vmqd)
        before = site.vmqd.entered("vms")
        site.wire.send(to("dev"))
        vmq.wait_until(lambda: site.vmqd.check() and site.vmqd.entered("vms") > before, "its frames to be taken")


def test_poll_busy_never_sleeps(lab):
    """An interval in which the worker ran and not once gave up its processor by itself."""
    site = Site(lab, cpus=CPU, adapter=("poll", "busy"))
    worker = workers(site.vmqd)[0]

    def busy():
        ran, slept = worker.run_ns(), worker.sleeps()
        vmq.wait_until(lambda: worker.run_ns() - ran > 100_000_000, "a worker that polls to run")
        return worker.sleeps() == slept

    vmq.wait_until(busy, "the worker to poll without sleep")
    site.vmqd.ctl("adapter", "del", "eth0")
    wait_quiet(site.vmqd)


# First frame after idle


class Wakes:
    """Counts what ended the sleep of a worker: somebody's descriptor, not the time."""

    def __init__(self, worker):
        self.worker = worker

    def by(self, act, done):
        """Whether `act` on a worker that sleeps ended its sleep, before `done` was true of what it does."""
        self.worker.wait_asleep()
        with Tracer(self.worker.tid) as tracer:
            sleeps = []

            def ended():
                sleeps.extend(result for number, _, result in tracer.ended() if number == SYSCALL_SLEEP)
                return done()

            tracer.ended()
            act()
            vmq.wait_until(ended, "the first frame after idle")
        return any(result > 0 for result in sleeps)


def assert_wakes(site, send, arrived, cpu=0):
    """Each frame that is sent while the worker sleeps arrives, and it is the frame that wakes it."""
    wakes = Wakes(workers(site.vmqd)[cpu])
    woken = [wakes.by(lambda: send(i), lambda: arrived(i + 1)) for i in range(TRIES)]
    assert sum(woken) > TRIES / 2, f"of {TRIES} first frames, {sum(woken)} woke the worker"


@pytest.mark.parametrize("driver", ["packet", "af_packet", "af_xdp"])
def test_first_frame_from_the_wire(lab, driver):
    site = Site(lab, cpus=CPU, driver=driver)
    site.add_vm("web")
    guest = site.guests["web"]
    assert_wakes(site, lambda i: site.wire.send(to("web", i)), lambda count: len(guest.frames()) >= count)
    assert not vmq.difference(guest.frames(), [vmq.untagged(to("web", i)) for i in range(TRIES)])


def test_first_frame_from_a_tap_port(lab):
    site = Site(lab, cpus=CPU, driver="net_tap0,iface=tap9")
    site.inside.up("tap9")
    end = lab.wire(site.inside, "tap9")
    site.add_vm("web")
    guest = site.guests["web"]
    assert_wakes(site, lambda i: end.send(to("web", i)), lambda count: len(guest.frames()) >= count)


def test_first_frame_from_the_host(lab):
    site = Site(lab, cpus=CPU, host=True)
    site.add_vm("dev")
    guest = site.guests["dev"]
    assert_wakes(site, lambda i: site.host.send(to("dev", i)), lambda count: len(guest.frames()) >= count)


def test_first_frame_from_a_vm(lab):
    """The guest kicks, because a worker that sleeps has asked for it."""
    site = Site(lab, cpus=CPU)
    path = lab.path("sent.pcap")
    frames = [vmq.frame("02:00:00:00:00:77", src=MACS["web"], seq=i) for i in range(5)]
    pcap.write(path, frames)
    site.add_vm("web", send=path)
    wakes = Wakes(workers(site.vmqd)[0])
    assert wakes.by(site.guests["web"].start, lambda: len(site.wire.received()) >= len(frames))
    assert not vmq.difference(site.wire.received(), [vmq.tagged(content, 10) for content in frames])


@pytest.mark.skipif(not enough_cpus(), reason="needs processors 0 and 1")
def test_first_frame_from_another_worker(lab):
    site = Site(lab)
    site.add_vm("web", affinity=1)
    guest = site.guests["web"]
    assert_wakes(site, lambda i: site.wire.send(to("web", i)), lambda count: len(guest.frames()) >= count, cpu=1)


def test_a_change_reaches_a_worker_that_sleeps(lab):
    """Control waits for no sleeper, and the sleeper acts on the new view when it wakes."""
    site = Site(lab, cpus=CPU)
    site.add_vm("web")
    worker, queue = workers(site.vmqd)[0], site.vmqd.vm_queue("web")
    for i in range(TRIES):
        address = f"52:54:00:00:02:{i:02x}"
        worker.wait_asleep()
        site.vmqd.ctl("filter", "set", "eth0", queue, "mac", address, "vlan", 10)
        site.wire.send(vmq.frame(address, tags=vmq.tag(10), seq=i))
        site.guests["web"].wait(i + 1)
