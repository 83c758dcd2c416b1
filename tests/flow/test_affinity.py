# SPDX-License-Identifier: BSD-3-Clause
"""A queue is served where its affinity says; it may move at any time, and nothing is lost or overtaken."""

import os
import struct

import pcap
import pytest
import vmq
from vmq_control import IN_MEMORY
from vmq_site import MACS, to
from vmq_workers import Change, Site, disorder, enough_cpus, sequence, threads, workers

LAB_FOLDER = IN_MEMORY
pytestmark = pytest.mark.skipif(not enough_cpus(), reason="needs processors 0 and 1")

FRAMES = 100_000  # for each queue
MOVES = 300
ENDS = 25
CHUNK = 1200      # of three queues, each no more than its buffers
RECEIVER = 0      # the processor that polls the adapter's only receive queue
OTHER = 1


def expected(frames, name):
    mac = vmq.mac_bytes(MACS[name])
    return [vmq.untagged(content) for content in frames if content.startswith(mac)]


def no_drops(stats):
    assert not any(stats["drops"].values()), stats["drops"]


# Where


def test_affinity_is_shown(lab):
    site = Site(lab)
    site.add_vm("web", guest=False)
    for affinity, cpus, cpu in (("0", [0], 0), ("1", [1], 1), ("0,1", [0, 1], 1), ("0-1", [0, 1], 1), ("0", [0], 0)):
        site.move("web", affinity)
        shown = site.queue("web")
        assert (shown["affinity"], shown["affinity_auto"], shown["cpu"]) == (cpus, False, cpu), affinity
        assert shown["msix"] == 1 + cpu
    site.move("web", "auto")
    assert site.queue("web")["affinity_auto"] and site.queue("web")["affinity"] == [0, 1]


@pytest.mark.parametrize("cpus, others", [("1", "0"), ("0", "1"), ("0-1", "0-1")])
def test_threads_are_on_their_processors(lab, cpus, others):
    """A worker has its processor for itself: what else vmqd does goes elsewhere, if there is an elsewhere."""
    site = Site(lab, cpus=cpus)
    site.add_vm("web")
    found = threads(site.vmqd)
    served = [thread.cpus() for thread in found if thread.is_worker()]
    assert sorted(served) == [cpu for cpu in ("0", "1") if cpu in cpus]
    assert {thread.cpus() for thread in found if not thread.is_worker()} == {others}


@pytest.mark.parametrize("cpu", [RECEIVER, OTHER])
def test_a_queue_is_served_by_its_processor(lab, cpu):
    """Frames that come one by one wake the other worker each time if it serves their queue, and else never."""
    site = Site(lab)
    site.add_vm("web", affinity=cpu)
    other, guest = workers(site.vmqd)[OTHER], site.guests["web"]
    frames = []

    def share():
        """Of frames that came while it slept, those for which the other worker woke."""
        woken, tries = 0, 20
        for _ in range(tries):
            other.wait_asleep()
            before = other.sleeps()
            frames.append(to("web", len(frames)))
            site.wire.send(frames[-1])
            guest.wait(len(frames))
            woken += other.sleeps() > before
        return woken / tries

    vmq.wait_until(lambda: (share() > 0.5) == (cpu == OTHER), f"the worker of processor {cpu} to serve the queue")
    assert not vmq.difference(guest.frames(), [vmq.untagged(content) for content in frames])


def test_receiver_and_server_apart(lab):
    """One queue on each processor: the frames of one are handed over, those of the other are not."""
    site = Site(lab)
    site.add_vm("web", affinity=RECEIVER)
    site.add_vm("db", affinity=OTHER)
    frames = [to(name, i) for i in range(5000) for name in ("web", "db")]
    site.play(frames, 800)
    for name in ("web", "db"):
        assert not vmq.difference(site.guests[name].wait(5000), expected(frames, name)), name
    no_drops(site.vmqd.settled())


# Moves


def test_queues_move_while_frames_come(lab):
    """Hundreds of moves under traffic: every frame of every queue arrives, in the order in which it was sent."""
    site = Site(lab)
    site.add_three(affinity=RECEIVER)
    names = list(MACS)
    queues = [site.vmqd.vm_queue(name) for name in names]

    def change(rpc, count):
        rpc.call("queue.set", adapter="eth0", id=queues[count % 3], affinity=str((count // 3 + count) % 2))

    frames = [to(name, i) for i in range(FRAMES) for name in names]
    with Change(site.vmqd, change, MOVES) as moves:
        site.play(frames, CHUNK)
    assert moves.count >= MOVES
    for name in names:
        assert not vmq.difference(site.guests[name].wait(FRAMES), expected(frames, name)), name
    no_drops(site.vmqd.settled())


def test_queues_move_under_full_load(lab):
    """Faster than the guests take them: what is not in a guest is counted, and what is there is in order."""
    site = Site(lab)
    names = ("web", "db")
    for name in names:
        site.add_vm(name, affinity=RECEIVER)
    queues = [site.vmqd.vm_queue(name) for name in names]

    def change(rpc, count):
        rpc.call("queue.set", adapter="eth0", id=queues[count % 2], affinity=str(count // 2 % 2))

    with Change(site.vmqd, change, MOVES):
        for i in range(FRAMES // 2):
            for name in names:
                site.wire.send(to(name, i))
    site.wait_entered(FRAMES)
    site.vmqd.settled()
    for name, queue in zip(names, queues):
        delivered = site.vmqd.queue_stats(queue)["rx_packets"]
        numbers = [sequence(content) for content in site.guests[name].wait(delivered)]
        assert len(numbers) == delivered and not disorder(numbers), f"{name}: {disorder(numbers)}"


# VM to VM


def send_between(site, lab, frames, affinity, **rules):
    path = lab.path("sent.pcap")
    pcap.write(path, frames)
    site.add_vm("web", vlan=10, send=path, affinity=affinity[0])
    site.add_vm("db", vlan=10, affinity=affinity[1], **rules)


@pytest.mark.parametrize("affinity", [(0, 0), (0, 1), (1, 0), (1, 1)], ids=str)
def test_vm_to_vm_across_processors(lab, affinity):
    site = Site(lab)
    frames = [vmq.frame(MACS["db"], src=MACS["web"], seq=i) for i in range(400)]
    send_between(site, lab, frames, affinity)
    site.guests["web"].start()
    assert not vmq.difference(site.guests["db"].wait(len(frames)), frames)
    no_drops(site.vmqd.settled())


@pytest.mark.parametrize("moving, buffers", [(("web",), 512), (("db",), 512), (("web", "db"), 512), (("db",), 8192)],
                         ids=str)
def test_vms_move_while_one_sends_to_the_other(lab, moving, buffers):
    """
    Sender, receiver or both change their processor: what arrives is in the order in which it was sent. With many
    buffers, thousands of frames wait between two processors at the moment of a move.
    """
    site = Site(lab)
    frames = [vmq.frame(MACS["db"], src=MACS["web"], seq=i) for i in range(2 * FRAMES)]
    send_between(site, lab, frames, (0, 0), buffers=buffers)
    queues = [site.vmqd.vm_queue(name) for name in moving]

    def change(rpc, count):
        cpu = (count + count // len(queues)) % 2 if len(queues) > 1 else count % 2
        rpc.call("queue.set", adapter="eth0", id=queues[count % len(queues)], affinity=str(cpu))

    with Change(site.vmqd, change, MOVES):
        site.guests["web"].start()
        vmq.wait_until(lambda: site.vmqd.entered("vms") >= len(frames), "the VM to send")
    stats = site.vmqd.settled()
    got = site.guests["db"].wait(stats["left"]["queues"])
    numbers = [sequence(content) for content in got]
    assert not disorder(numbers), disorder(numbers)
    assert len(got) + sum(stats["drops"].values()) == len(frames)


# Rings


def test_few_buffers_bound_what_waits_in_the_ring(lab):
    """Eight frames may wait for the other processor; those beyond are counted as no_buffer, and nothing else is."""
    site = Site(lab)
    site.add_vm("web", affinity=OTHER, buffers=8)
    assert site.queue("web")["buffers"] == 8
    sent = 0
    while not site.drop_count("no_buffer"):
        for _ in range(2000):
            site.wire.send(to("web", sent))
            sent += 1
        site.wait_entered(sent)
        assert sent < 1_000_000, "the ring never held more than eight frames"
    stats = site.vmqd.settled()
    numbers = [sequence(content) for content in site.guests["web"].wait(stats["left"]["queues"])]
    assert not disorder(numbers), disorder(numbers)
    assert {reason for reason, count in stats["drops"].items() if count} <= {"no_buffer", "ring_full"}
    assert site.queue("web")["buffers_in_use"] == 0


def test_few_buffers_do_not_bound_a_queue_that_is_served_where_it_is_received(lab):
    site = Site(lab)
    site.add_vm("web", affinity=RECEIVER, buffers=8)
    frames = [to("web", i) for i in range(2000)]
    site.play(frames, 400)
    assert not vmq.difference(site.guests["web"].wait(2000), expected(frames, "web"))
    no_drops(site.vmqd.settled())


@pytest.mark.parametrize("end", ["clear", "free", "del"])
def test_a_queue_ends_while_frames_are_on_their_way_to_its_processor(lab, end):
    """Each frame that entered left or was dropped for a reason; none is held, and the free is answered."""
    site = Site(lab)
    socket = site.add_vm("web", affinity=OTHER)
    site.add_vm("db", affinity=OTHER)
    call, queue = site.vmqd.rpc.call, site.vmqd.vm_queue("web")

    def cleared(rpc):
        for one in rpc.call("queue.show", adapter="eth0", id=queue)[0]["filters"]:
            rpc.call("filter.clear", adapter="eth0", filter=one["id"])

    def change(rpc, count):
        if end == "del":
            rpc.call("vm.del", name="web")
            rpc.call("vm.add", name="web", adapter="eth0", socket=socket, mac=[MACS["web"]], vlan=10, affinity="1")
            return
        cleared(rpc)
        if end == "free":
            rpc.call("queue.free", adapter="eth0", id=queue)
            rpc.call("queue.allocate", adapter="eth0", id=queue, affinity="1")
        rpc.call("filter.set", adapter="eth0", queue=queue, mac=MACS["web"], vlan=10)
        if end == "free":
            rpc.call("queue.complete", adapter="eth0", ids=[queue])

    sent = 0
    with Change(site.vmqd, change, ENDS) as changes:
        while changes.count < ENDS and changes.is_alive():
            for name in ("web", "web", "db"):
                site.wire.send(to(name, sent))
                sent += 1
    site.wait_entered(sent)
    site.vmqd.settled()
    assert all(one["buffers_in_use"] == 0 for one in call("queue.show", adapter="eth0"))
    delivered = site.vmqd.queue_stats(site.vmqd.vm_queue("db"))["rx_packets"]
    numbers = [sequence(content) for content in site.guests["db"].wait(delivered)]
    assert not disorder(numbers), disorder(numbers)


# Several receive queues

FLOWS = 16


def flow_frame(name, flow, seq):
    """Tagged UDP over IPv4, so that the kernel sees flows; the number stands behind the headers."""
    payload = struct.pack("!II", flow, seq) + bytes(10)
    udp = struct.pack("!HHHH", 1000 + flow, 2000, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes([10, 0, 0, 1 + flow]),
                     bytes([10, 0, 1, 1]))
    total = sum(struct.unpack("!10H", ip))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", total ^ 0xFFFF) + ip[12:]
    return to(name)[:16] + struct.pack("!H", 0x0800) + ip + udp


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
def test_several_receive_queues(lab, moving):
    """Two receive queues on two processors, spread by flow: every frame arrives, each flow in its order."""
    site = Site(lab, driver="net_af_packet0,iface=nic0,qpairs=2")
    names = ("web", "db")
    for cpu, name in enumerate(names):
        site.add_vm(name, affinity=cpu)
    queues = [site.vmqd.vm_queue(name) for name in names]

    def move(rpc, count):
        rpc.call("queue.set", adapter="eth0", id=queues[0], affinity=str(count % 2))

    def look(rpc, count):
        rpc.call("stats.show")

    count = 1500 if moving else 500
    frames = [flow_frame(name, flow, seq) for seq in range(count) for flow in range(FLOWS) for name in names]
    with Change(site.vmqd, move if moving else look, 10 * MOVES if moving else 0):
        site.play(frames, 640)
    no_drops(site.vmqd.settled())
    for name in names:
        got = site.guests[name].wait(count * FLOWS)
        assert len(got) == count * FLOWS
        for flow in range(FLOWS):
            mark = struct.pack("!I", flow)
            assert not vmq.difference([one for one in got if one[42:46] == mark],
                                      [vmq.untagged(flow_frame(name, flow, seq)) for seq in range(count)]), (name, flow)


# Bad input


def refused_to_start(lab, cpus, *prefix):
    words = [*prefix, vmq.program("vmqd"), "-s", lab.path("ctl"), "-c", os.devnull, "--state", lab.path("state.conf"),
             "--memory", "128", "--huge", "off", "--cpus", cpus]
    vmqd = lab.process("vmqd", *words)
    assert vmqd.wait() == 1, vmqd.log_tail()
    said = vmqd.log().splitlines()
    assert len(said) == 1 and not os.path.exists(lab.path("ctl")), vmqd.log_tail()
    return said[0]


@pytest.mark.parametrize("cpus, prefix, named", [
    pytest.param("0,1", ("taskset", "-c", "0"), "no processor 1", id="taken away before the start"),
    pytest.param("0,63", (), "no processor 63", id="absent"),
    pytest.param("0-63", (), f"no processor {os.cpu_count()}", id="a range with absent ones"),
    pytest.param("1,,2", (), "--cpus 1,,2", id="no list"),
    pytest.param("1-0", (), "--cpus 1-0", id="a range backwards"),
    pytest.param("", (), "--cpus", id="none"),
])
def test_a_list_with_processors_that_cannot_be_used(lab, cpus, prefix, named):
    assert named in refused_to_start(lab, cpus, *prefix)


def test_processors_that_the_adapter_or_vmqd_does_not_have(lab):
    site = Site(lab, driver=None)
    with pytest.raises(vmq.Refused, match="processor 7"):
        site.vmqd.ctl("adapter", "add", "eth0", "port", "net_null0,no-rx=1", "cpus", "0,7")
    site.vmqd.ctl("adapter", "add", "eth0", "port", "net_null0,no-rx=1", "cpus", "1")
    site.vmqd.ctl("queue", "allocate", "eth0")
    assert site.vmqd.ctl("queue", "show", "eth0", 1)[0]["cpu"] == 1
    for words in (("queue", "set", "eth0", 1, "affinity", "0"), ("queue", "allocate", "eth0", "affinity", "0,1")):
        with pytest.raises(vmq.Refused, match="processor 0"):
            site.vmqd.ctl(*words)
    assert site.vmqd.ctl("queue", "show", "eth0", 1)[0]["affinity"] == [1]


def test_a_processor_taken_away_while_it_serves(lab):
    """What the kernel does to threads of a processor that goes offline: they go on on another one."""
    site = Site(lab)
    site.add_vm("web", affinity=OTHER)
    worker = workers(site.vmqd)[OTHER]
    frames = [to("web", i) for i in range(4000)]
    site.play(frames[:2000])
    os.sched_setaffinity(worker.tid, {RECEIVER})
    site.play(frames[2000:])
    assert not vmq.difference(site.guests["web"].wait(4000), expected(frames, "web"))
    site.move("web", RECEIVER)
    site.vmqd.settled()
