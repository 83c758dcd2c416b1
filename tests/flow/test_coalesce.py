# SPDX-License-Identifier: BSD-3-Clause
"""Frames of a queue gather before they are delivered, within bounds that the queue shows; none waits for ever."""

import pytest
import vmq
from arena import Hostile
from vmq_control import IN_MEMORY
from vmq_site import to
from vmq_workers import SYSCALL_SUBMIT, Site, Tracer, enough_cpus, workers

LAB_FOLDER = IN_MEMORY
CPU = "0"
FRAMES = 4000
SETTINGS = [("auto", "auto"), (1000, 4), (0, 1), (0, 256), (1000, 256), (1000, 1), (50, "auto"), ("auto", 8)]
DROP = 65535
BOUNDS = {"coalesce-usecs": (0, 1000), "coalesce-frames": (1, 256)}
OUT_OF_BOUNDS = [("coalesce-usecs", 1001), ("coalesce-usecs", -1), ("coalesce-usecs", "soon"), ("coalesce-frames", 0),
                 ("coalesce-frames", 257), ("coalesce-frames", -1), ("coalesce-frames", 1 << 40)]


def allocate(vmqd, usecs, frames):
    id = vmqd.ctl("queue", "allocate", "eth0", "coalesce-usecs", usecs, "coalesce-frames", frames)["id"]
    return vmqd.ctl("queue", "show", "eth0", id)[0]


def change(site, name, usecs, frames):
    site.vmqd.ctl("queue", "set", "eth0", site.vmqd.vm_queue(name), "coalesce-usecs", usecs, "coalesce-frames", frames)


def delivered(frames):
    return [vmq.untagged(content) for content in frames]


# What people set and see


def test_settings_and_their_bounds_are_shown(lab):
    """However a queue is set, `queue show` names what a frame waits for at most."""
    site = Site(lab, cpus=CPU, driver="net_null0,no-rx=1")
    for usecs, frames in SETTINGS:
        shown = allocate(site.vmqd, usecs, frames)
        assert (shown["coalesce_usecs"], shown["coalesce_frames"]) == (usecs, frames)
        limits = shown["coalesce_limit_usecs"], shown["coalesce_limit_frames"]
        for given, limit, (least, most) in zip((usecs, frames), limits, BOUNDS.values()):
            assert limit == given if given != "auto" else least <= limit <= most, (usecs, frames)
        site.vmqd.ctl("queue", "set", "eth0", shown["id"], "coalesce-usecs", "auto", "coalesce-frames", "auto")
        shown = site.vmqd.ctl("queue", "show", "eth0", shown["id"])[0]
        assert (shown["coalesce_usecs"], shown["coalesce_frames"]) == ("auto", "auto")


def test_out_of_bounds_is_refused(lab):
    site = Site(lab, cpus=CPU, driver="net_null0,no-rx=1")
    before = allocate(site.vmqd, 20, 8)
    for word, value in OUT_OF_BOUNDS:
        for method, queue in (("queue.allocate", {}), ("queue.set", {"id": before["id"]})):
            with pytest.raises(vmq.Refused, match=word):
                site.vmqd.rpc.call(method, adapter="eth0", **queue, **{word: value})
    assert [one for one in site.vmqd.ctl("queue", "show", "eth0") if one["id"] not in (0, DROP)] == [before]


# What guests get


@pytest.mark.parametrize("usecs, frames", [("auto", "auto"), (1000, 4), (1000, 256), (0, 256), (1000, 7)], ids=str)
def test_every_frame_arrives_in_order(lab, usecs, frames):
    """Several queues, whose bursts do not end where a group does."""
    site = Site(lab, cpus=CPU)
    names = ("web", "db")
    for name in names:
        site.add_vm(name)
        change(site, name, usecs, frames)
    sent = {name: [to(name, i) for i in range(FRAMES)] for name in names}
    site.play([content for both in zip(*sent.values()) for content in both], 601)
    for name in names:
        assert not vmq.difference(site.guests[name].wait(FRAMES), delivered(sent[name])), name
    assert not any(site.vmqd.settled()["drops"].values())


@pytest.mark.parametrize("usecs, frames", [("auto", "auto"), (1000, 4), (1000, 256)], ids=str)
@pytest.mark.parametrize("cpu", [0, 1])
def test_a_frame_alone_does_not_wait_for_others(lab, usecs, frames, cpu):
    if cpu and not enough_cpus():
        pytest.skip("needs processors 0 and 1")
    site = Site(lab, cpus="0,1" if cpu else CPU)
    site.add_vm("web", affinity=cpu)
    change(site, "web", usecs, frames)
    for i in range(20):
        workers(site.vmqd)[cpu].wait_asleep()
        site.wire.send(to("web", i))
        site.guests["web"].wait(i + 1)
    assert not vmq.difference(site.guests["web"].frames(), delivered(to("web", i) for i in range(20)))


def test_settings_change_while_frames_gather(lab):
    site = Site(lab, cpus=CPU)
    site.add_vm("web")
    sent = []
    for i, (usecs, frames) in enumerate(10 * SETTINGS):
        more = [to("web", len(sent) + j) for j in range(3 + i)]
        for content in more:
            site.wire.send(content)
        sent += more
        change(site, "web", usecs, frames)
        site.guests["web"].wait(len(sent))
    assert not vmq.difference(site.guests["web"].frames(), delivered(sent))


def test_few_buffers_bound_the_group(lab):
    """A queue gathers no more frames than it has buffers, whatever was asked for."""
    site = Site(lab, cpus=CPU)
    site.add_vm("web", buffers=8)
    change(site, "web", 1000, 256)
    sent = [to("web", i) for i in range(500)]
    site.play(sent, 100)
    assert not vmq.difference(site.guests["web"].wait(500), delivered(sent))
    assert not any(site.vmqd.settled()["drops"].values())


# Interrupts


@pytest.mark.parametrize("usecs, frames", [("auto", "auto"), (1000, 16)], ids=str)
def test_a_burst_interrupts_its_guest_less_than_once_per_frame(lab, usecs, frames):
    """Counted at the worker: each request that it submits is a call that the guest asked for. The guest never takes one."""
    site = Site(lab, cpus=CPU)
    path = site.add_vm("web", guest=False)
    change(site, "web", usecs, frames)
    guest = lab.make(Hostile, lab, "sink", path, "sink").wait_ready()
    site.vmqd.wait_connected("web")
    burst, sent = [to("web", i) for i in range(256)], 0

    def calls():
        """Of one burst that arrives whole."""
        nonlocal sent
        with Tracer(workers(site.vmqd)[0].tid) as tracer:
            for content in burst:
                site.wire.send(content)
            sent += len(burst)
            ended = []

            def arrived():
                ended.extend(tracer.ended())
                return guest.progress() >= sent

            vmq.wait_until(arrived, lambda: f"{sent} frames in the guest, {guest.progress()} came")
        return sum(number == SYSCALL_SUBMIT for number, _, _ in ended)

    counts = []

    def gathered():
        counts.append(calls())
        return 0 < counts[-1] <= len(burst) / 2

    vmq.wait_until(gathered, lambda: f"a burst of {len(burst)} frames with half as many calls: {counts}")
    assert not any(site.vmqd.settled()["drops"].values())


def test_a_guest_that_never_takes_a_call(lab):
    """Its call eventfd counts up; vmqd signals on and waits for nothing, and every frame arrives."""
    site = Site(lab, cpus=CPU)
    path = site.add_vm("web", guest=False)
    change(site, "web", 0, 1)
    guest = lab.make(Hostile, lab, "sink", path, "sink").wait_ready()
    site.vmqd.wait_connected("web")
    site.add_vm("db")
    for i in range(2000):
        for name in ("web", "db"):
            site.wire.send(to(name, i))
        vmq.wait_until(lambda: i % 100 or guest.progress() == i + 1, lambda: f"frame {i} in the guest")
    site.guests["db"].wait(2000)
    assert not any(site.vmqd.settled()["drops"].values())
