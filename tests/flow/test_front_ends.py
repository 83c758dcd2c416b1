# SPDX-License-Identifier: BSD-3-Clause
"""Front-ends of every habit get their frames, and one that is refused learns why, as does the operator."""

import os
import resource
import socket
import struct

import pytest
import vmq
from front_end import CONTROL, GET_QUEUE_NUM, RECEIVE, RING_BYTES, WRITABLE, FrontEnd, Signals
from vmq_site import MACS, STRANGER, Site, to

FRAMES = 20
SILENT = 100  # connections; vmqd keeps 32 of one socket
MANY = 1000   # VMs at once, each with six descriptors of vmqd's and four of the test's


@pytest.fixture
def site(lab):
    return Site(lab)


def works(site, guest):
    """It gets what is sent to it, and what it sends leaves, while workers sleep in between."""
    frames = [to("web", i) for i in range(FRAMES)]
    sent = [vmq.frame(STRANGER, src=MACS["web"], seq=i) for i in range(FRAMES)]
    before = len(site.wire.received())
    for i in range(FRAMES):
        site.wire.send(frames[i])
        assert guest.wait(1) == [vmq.untagged(frames[i])]
        guest.transmit(sent[i])
        vmq.wait_until(lambda: site.vmqd.check() and len(site.wire.received()) > before + i, "the frame on the wire")
    assert not vmq.difference(site.wire.received()[before:], [vmq.tagged(content, 10) for content in sent])


def connected(site, path, **how):
    guest = FrontEnd(path, **how).start()
    site.vmqd.wait_connected("web")
    return guest


SIGNALS = {
    "eventfds": (Signals.eventfd, Signals.eventfd),
    "sockets": (Signals.sockets, Signals.sockets),
    "pipes": (Signals.pipe_to_vmqd, Signals.pipe_from_vmqd),
    "no-call": (Signals.eventfd, Signals.none),
    "nothing": (Signals.none, Signals.none),
}


@pytest.mark.parametrize("kind", SIGNALS)
def test_signals_of_every_kind(site, kind):
    kick, call = SIGNALS[kind]
    guest = connected(site, site.add_vm("web", guest=False), kick=kick, call=call)
    works(site, guest)
    if call != Signals.none:
        assert guest.is_called(RECEIVE)
    guest.close()
    site.vmqd.wait_connected("web", False)


@pytest.mark.parametrize("kind", ["sockets", "pipes"])
def test_signals_that_break(site, kind):
    """The other end of what it signals with goes: it loses nothing but being woken."""
    kick, call = SIGNALS[kind]
    guest = connected(site, site.add_vm("web", guest=False), kick=kick, call=call)
    for pairs in (guest.kicks, guest.calls):
        for ring, (theirs, ours) in enumerate(pairs):
            os.close(ours)
            os.close(theirs)
            pairs[ring] = None, None
    works(site, guest)
    guest.close()
    site.vmqd.wait_connected("web", False)


def test_silent_connections_shut_nobody_out(site):
    path = site.add_vm("web", guest=False)
    silent = [socket.socket(socket.AF_UNIX) for _ in range(SILENT)]
    for one in silent:
        one.connect(path)
    guest = connected(site, path)
    works(site, guest)
    for one in silent:
        one.close()
    works(site, guest)
    guest.close()


def test_half_a_message_of_another_changes_nothing(site):
    path = site.add_vm("web", guest=False)
    half = socket.socket(socket.AF_UNIX)
    half.connect(path)
    half.send(b"\1\0\0\0\1")
    guest = connected(site, path)
    works(site, guest)
    vmq.wait_until(lambda: site.vmqd.check() and not half.recv(1), "it to be ended")
    half.close()
    guest.close()


def test_one_queue_pair_is_served(site):
    guest = FrontEnd(site.add_vm("web", guest=False))
    assert guest.ask(GET_QUEUE_NUM) == 1
    guest.close()


PROMISCUOUS = bytes([0, 0, 1])


def own_table(*macs):
    """The command that sets the addresses it wants frames for."""
    own = b"".join(map(vmq.mac_bytes, macs))
    return bytes([1, 0]) + len(macs).to_bytes(4, "little") + own + bytes(4)


def vlan(number):
    return bytes([2, 0]) + number.to_bytes(2, "little")


@pytest.mark.parametrize("kind", SIGNALS)
def test_a_control_queue_is_answered_by_the_filters(site, kind):
    kick, call = SIGNALS[kind]
    guest = connected(site, site.add_vm("web", guest=False), kick=kick, call=call, control=True)
    assert "ctrl_vq" in site.vmqd.vm("web")["features"]["taken"]
    assert guest.command(PROMISCUOUS) and guest.command(own_table()) and guest.command(own_table(MACS["web"]))
    assert not guest.command(own_table(MACS["web"], MACS["db"]))
    told = f"it wants frames for {MACS['db']}, an address that no filter of its queue has"
    assert site.vmqd.vm("web")["why"] == told
    assert told in site.vmqd.log()
    assert not guest.command(vlan(10)), "an access VM has no VLANs of its own"
    assert not guest.command(b"\xff\xff")
    works(site, guest)
    site.vmqd.ctl("filter", "set", "eth0", site.vmqd.vm_queue("web"), "mac", "52:54:00:00:00:99", "vlan", "10")
    assert guest.command(own_table(MACS["web"], "52:54:00:00:00:99"))
    guest.close()
    site.vmqd.wait_connected("web", False)


def test_a_trunk_asks_for_its_vlans(site):
    path = site.add_vm("web", guest=False, trunk="on")
    guest = connected(site, path, control=True)
    assert guest.command(vlan(10)) and not guest.command(vlan(11))
    guest.close()


def test_a_control_queue_that_is_broken_detaches_its_guest(site):
    """And a second guest on the socket is served after it."""
    path = site.add_vm("web", guest=False)
    guest = connected(site, path, control=True)
    guest.offer(CONTROL, 0, 4, WRITABLE)
    struct.pack_into("<Q", guest.at, CONTROL * RING_BYTES, 1 << 60)
    os.write(guest.kicks[CONTROL][1], struct.pack("<Q", 1))
    site.vmqd.wait_connected("web", False)
    assert "a descriptor leads out of its memory" in site.vmqd.log()
    guest.close()
    again = connected(site, path, control=True)
    assert again.command(PROMISCUOUS)
    works(site, again)
    again.close()


def test_commands_without_end_cost_little(site):
    """Kicks and commands as fast as they come: others are answered meanwhile."""
    guest = connected(site, site.add_vm("web", guest=False), control=True)
    before = len(site.vmqd.ctl("vm", "show"))
    for i in range(20000):
        os.write(guest.kicks[CONTROL][1], struct.pack("<Q", 1))
        if i % 1000 == 0:
            assert guest.command(PROMISCUOUS)
            assert len(site.vmqd.ctl("vm", "show")) == before
    guest.close()


def refused(site, guest, words):
    vmq.wait_until(lambda: site.vmqd.check() and guest.is_closed(), "it to be refused")
    vm = site.vmqd.vm("web")
    assert not vm["connected"] and words in vm["why"]
    assert any(line.startswith(f"vmqd: the guest on {vm['socket']} is refused: ") and words in line
               for line in site.vmqd.log().splitlines())


def test_memory_on_a_disk_is_refused_and_told(site):
    guest = FrontEnd(site.add_vm("web", guest=False), memory=os.open("/var/tmp", os.O_TMPFILE | os.O_RDWR))
    if os.statvfs(guest.memory).f_fsid == os.statvfs("/dev/shm").f_fsid:
        pytest.skip("/var/tmp is in memory")
    try:
        guest.start()
    except (BrokenPipeError, ConnectionResetError):
        pass
    refused(site, guest, "not in tmpfs")
    guest.close()


def test_why_is_forgotten_when_a_guest_comes(site):
    path = site.add_vm("web", guest=False)
    guest = FrontEnd(path)
    guest.say(99)
    refused(site, guest, "request 99")
    guest.close()
    guest = connected(site, path)
    vm = site.vmqd.vm("web")
    assert vm["why"] == "" and vm["features"]["taken"] == ["version_1"]
    assert "version_1" in vm["features"]["offered"]
    guest.close()


def test_a_peer_that_is_no_front_end(lab, site):
    """Mode client: whoever listens there closes at once, again and again."""
    path, count = lab.path("web.sock"), 0
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    site.vmqd.ctl("vm", "add", "web", "adapter", "eth0", "socket", path, "mode", "client", "mac", MACS["web"])
    for _ in range(5):
        listener.accept()[0].close()
    vmq.wait_until(lambda: site.vmqd.vm("web")["why"], "a reason")
    assert site.vmqd.vm("web")["why"] == "it left before it said anything"
    listener.close()


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 8 * MANY,
                    reason=f"needs a hard limit of {8 * MANY} open files (ulimit -Hn)")
def test_many_guests_at_once(lab):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    site = Site(lab, adapter=("queues", "1024"), memory_mb=512, host=False)
    names = [f"vm{i}" for i in range(MANY)]
    macs = [f"52:54:00:01:{i >> 8:02x}:{i & 255:02x}" for i in range(MANY)]
    for name, mac in zip(names, macs):
        site.vmqd.rpc.call("vm.add", name=name, adapter="eth0", socket=lab.path(name), mac=[mac], vlan=10, buffers=16)
    guests = [FrontEnd(lab.path(name)).start() for name in names]
    vmq.wait_until(lambda: all(vm["connected"] for vm in site.vmqd.rpc.call("vm.show")), "all to be connected", 60)
    for i, guest in enumerate(guests):
        frame = vmq.tagged(vmq.frame(macs[i], seq=i), 10)
        site.wire.send(frame)
        assert guest.wait(1) == [vmq.untagged(frame)]
    for guest in guests:
        guest.close()
    vmq.wait_until(lambda: not any(vm["connected"] for vm in site.vmqd.rpc.call("vm.show")), "all to be gone", 60)


def test_no_more_vms_than_can_be_connected(lab):
    """With few descriptors `vm add` is refused with the limit's name, and all that were accepted connect at once."""
    site = Site(lab, adapter=("queues", "1024"), host=False)
    limit = 64 + len(os.listdir(f"/proc/{site.vmqd.pid}/fd")) + 320
    resource.prlimit(site.vmqd.pid, resource.RLIMIT_NOFILE, (limit, limit))
    names = []
    with pytest.raises(vmq.Refused, match=f"vmqd may open {limit} files.*LimitNOFILE"):
        while True:
            name = f"vm{len(names)}"
            site.vmqd.add_vm(lab, name, f"52:54:00:01:00:{len(names):02x}", 10)
            names.append(name)
    guests = [FrontEnd(site.vmqd.vm(name)["socket"]).start() for name in names]
    assert len(names) > 8
    vmq.wait_until(lambda: all(vm["connected"] for vm in site.vmqd.rpc.call("vm.show")), "all to be connected")
    assert len(site.vmqd.ctl("vm", "show")) == len(names)
    for guest in guests:
        guest.close()
    site.vmqd.ctl("vm", "del", names.pop())
    site.vmqd.add_vm(lab, "again", "52:54:00:01:01:00", 10)
