# SPDX-License-Identifier: BSD-3-Clause
"""A capture shows what passes where, as tshark reads it, ends with what it watches, and never harms who is watched."""

import ctypes
import json
import mmap
import os
import signal
import socket
import struct
import subprocess

import pcap
import pytest
import vmq
from captures import Capture
from vmq_site import MACS, STRANGER, VLANS, Site, to

PEER = "52:54:00:00:00:11"
IN, OUT = "0x00000001", "0x00000002"


@pytest.fixture
def site(lab):
    return Site(lab)


@pytest.fixture
def capture(lab, site):
    return lambda *words, **options: lab.make(Capture, lab, site, *words, **options).started()


def of(frames, place):
    return [content for at, content in frames if at == place]


def sending(lab, site, frames, name="web", **words):
    """A VM that sends these once its guest is told to start."""
    path = lab.path(f"{name}.sent.pcap")
    pcap.write(path, frames)
    site.add_vm(name, send=path, **words)
    return site.guests[name]


# What is shown


def test_a_frame_is_shown_at_each_place(site, capture):
    site.add_three()
    queues = {name: site.vmqd.vm_queue(name) for name in MACS}
    frames = [to("web", 1), to("db", 2, 1000), to("dev", 3), vmq.frame("02:00:00:00:00:77", seq=4)]
    everything = capture("eth0")
    site.play(frames)
    assert everything.end().missed() == 0
    got = everything.bytes()
    assert of(got, "eth0 wire") == frames
    assert of(got, "eth0 host") == [frames[3]]
    for name, content in zip(MACS, frames):
        assert of(got, f"eth0 queue {queues[name]}") == [vmq.untagged(content)], name
    comments = {line[0]: line[4] for line in everything.shown()}
    for name in ("web", "db"):
        filter, = (filter["id"] for filter in site.vmqd.ctl("filter", "show", "eth0") if filter["mac"] == MACS[name])
        assert comments[f"eth0 queue {queues[name]}"] == \
            f"queue {queues[name]}, VM {name}, filter {filter}, VLAN {VLANS[name]} beside it"
    assert {line[1] for line in everything.shown()} == {IN}


def test_what_a_vm_sends_is_shown(lab, site, capture):
    frames = [vmq.frame(dst, src=MACS["web"], seq=seq) for seq, dst in enumerate((PEER, STRANGER))]
    guest = sending(lab, site, frames)
    site.add_vm("peer", mac=PEER, vlan=10)
    queues = [site.vmqd.vm_queue(name) for name in ("web", "peer")]
    everything = capture()
    guest.start()
    vmq.wait_until(lambda: site.vmqd.entered("vms") == 2, "vmqd to take what the VM sends")
    site.vmqd.settled()
    got = everything.end().bytes()
    assert of(got, f"eth0 queue {queues[0]}") == frames
    assert of(got, f"eth0 queue {queues[1]}") == frames[:1]
    assert of(got, "eth0 wire") == [vmq.tagged(frames[1], 10)]
    directions = {line[0]: line[1] for line in everything.shown()}
    assert directions == {f"eth0 queue {queues[0]}": OUT, f"eth0 queue {queues[1]}": IN, "eth0 wire": OUT,
                          "eth0 host": IN}  # to whom nobody knows, all are asked


@pytest.mark.parametrize("words, places", [
    (("wire",), {"eth0 wire"}),
    (("host",), {"eth0 host"}),
    (("vm", "web"), {"eth0 queue 1"}),
    (("queue", 2), {"eth0 queue 2"}),
    (("queue", "default"), {"eth0 host"}),
    (("dropped",), set()),
    (("filter", "vlan 20"), {"eth0 wire"}),
    (("filter", f"ether dst {MACS['web']} and not vlan"), {"eth0 queue 1"}),
])
def test_only_what_is_asked_for(site, capture, words, places):
    site.add_three()
    some = capture("eth0", *words)
    site.play([to("web"), to("db"), vmq.frame("02:00:00:00:00:77")])
    assert set(some.end().shown("interface_name")) == places


def test_times_are_in_nanoseconds_and_in_order(site, capture):
    site.add_three()
    everything = capture("eth0")
    for seq in range(20):
        site.play([to(name, seq) for name in MACS])
    times = everything.end().shown("time_epoch")
    assert times == sorted(times) and any(not time.endswith("000") for time in times)
    assert all(len(time.split(".")[1]) == 9 for time in times)


def test_frames_are_cut_and_counted(site, capture):
    site.add_vm("web")
    cut = capture("eth0", "wire", "snap", 96, "count", 3)
    site.play([to("web", seq, 1000) for seq in range(10)])
    assert cut.wait() == 0
    assert cut.shown("len", "cap_len") == [("1000", "96")] * 3


def test_a_frame_in_two_parts_is_shown_whole(lab):
    site = Site(lab, adapter=("ndis", "6.20", "lookahead-split", "on"))
    site.add_vm("web", lookahead=64)
    some = lab.make(Capture, lab, site, "vm", "web").started()
    frames = [to("web", seq, 600) for seq in range(3)]
    site.play(frames)
    assert [content for _, content in some.end().bytes()] == [vmq.untagged(content) for content in frames]


def test_a_trunk_is_shown_its_tags(site, capture):
    site.add_vm("router", mac=PEER, vlan=10, trunk="on")
    some = capture("vm", "router")
    content = vmq.frame(PEER, tags=vmq.tag(10, priority=5), size=100)
    site.play([content])
    assert [got for _, got in some.end().bytes()] == [content]


# What is dropped


def reasons(capture):
    return [line[4].split("dropped: ")[1] for line in capture.end().shown()]


def test_dropped_frames_say_why(lab, site, capture):
    frames = [vmq.frame(PEER, src=MACS["db"]), vmq.frame(PEER, src=MACS["web"], tags=vmq.tag(7))]
    guest = sending(lab, site, frames)
    site.add_vm("db", guest=False)
    dropped = capture("eth0", "dropped")
    guest.start()
    site.play([to("db")])
    vmq.wait_until(lambda: len(site.drops(site.vmqd.vm_queue("web"))) == 2, "the drops to be counted")
    site.vmqd.settled()
    assert sorted(reasons(dropped)) == ["spoofed_source", "vlan_mismatch", "vm_down"]
    assert set(dropped.shown("interface_name")) == {"eth0 queue 1", "eth0 queue 2"}


def test_every_counted_drop_is_shown(site, capture):
    """Where a guest takes nothing, its ring fills up."""
    site.add_vm("web")
    site.guests["web"].pause()
    dropped = capture("vm", "web")
    queue = site.vmqd.vm_queue("web")
    site.wire.play([to("web", seq) for seq in range(3000)])
    vmq.wait_until(lambda: site.drops(queue).get("ring_full", 0) > 0 and not vmq.on_the_way(site.vmqd.stats()),
                   "the ring of the guest to be full")
    counted = site.drops(queue)
    lines = [line[4] for line in dropped.end().shown()]
    shown = [line.split("dropped: ")[1] for line in lines if "dropped: " in line]
    assert {reason: shown.count(reason) for reason in set(shown)} == counted
    assert len(lines) - len(shown) == site.vmqd.queue_stats(queue)["rx_packets"]


# Text


def test_text_and_objects(lab, site, capture):
    site.add_vm("web")
    text, objects = capture("vm", "web", file=False), lab.make(
        Capture, lab, site, "-j", "vm", "web", file=False).started()
    site.play([to("web", 1, 100)])
    line, = (line for line in text.end().log().splitlines() if "queue 1 in" in line)
    assert line.endswith(f"{STRANGER} > {MACS['web']}, ethertype 0x88b5, length 96, queue 1, VM web, filter 1, "
                         "VLAN 10 beside it")
    shown, = (json.loads(line) for line in objects.end().log().splitlines() if line.startswith("{"))
    assert shown.pop("time_ns") > 1 << 60
    assert shown == {"place": "eth0 queue 1", "adapter": "eth0", "queue": 1, "direction": "in", "length": 96, "vm": "web",
                     "filter": 1, "vlan": 10, "dst": MACS["web"], "src": STRANGER, "ethertype": 0x88b5}


def test_a_pipe_into_tshark(site):
    """As people call it: what comes is shown while the capture goes on."""
    site.add_vm("web")
    words = [vmq.program("vmqctl"), "-s", site.vmqd.socket_path, "capture", "vm", "web", "-w", "-"]
    source = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    reader = subprocess.Popen(["tshark", "-l", "-r", "-", "-c", "1", "-T", "fields", "-e", "eth.dst"], text=True,
                              stdin=source.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    source.stdout.close()
    try:
        assert source.stderr.readline().startswith(b"capturing")
        site.play([to("web")])
        assert reader.communicate(timeout=vmq.LIMIT_S)[0].split() == [MACS["web"]]
        site.play([to("web")])
        assert source.wait(vmq.LIMIT_S) == 1 and b"cannot write" in source.stderr.read()
    finally:
        for child in (source, reader):
            child.kill()
            child.wait()
        source.stderr.close()


# How it ends


@pytest.mark.parametrize("watched, command", [
    (("vm", "web"), ("vm", "del", "web")),
    (("vm", "web"), ("vm", "detach", "web")),
    (("eth0", "queue", 1), ("vm", "del", "web")),
    (("eth0", "dropped"), ("adapter", "del", "eth0")),
])
def test_it_ends_with_what_it_watches(site, capture, watched, command):
    if command[0] != "adapter":
        site.add_vm("web", guest=False)
    some, all = capture(*watched), capture()
    if command[0] == "adapter":
        site.vmqd.ctl("host", "del", "eth0")
    site.vmqd.ctl(*command)
    assert some.wait() == 0 and "what was watched is gone" in some.log()
    assert all.alive()
    all.end()


def test_who_has_the_name_next_is_not_seen(site, capture):
    site.add_vm("web", guest=False)
    some = capture("vm", "web")
    site.vmqd.ctl("vm", "del", "web")
    assert some.wait() == 0
    site.add_vm("web")
    site.play([to("web")])
    assert some.shown("len") == []


def test_it_goes_on_over_adapters_that_come(lab):
    site = Site(lab, memory_mb=512)
    some = lab.make(Capture, lab, site, "filter", f"ether dst {PEER}").started()
    site.vmqd.ctl("adapter", "add", "eth1", "port", "net_null0")
    site.vmqd.ctl("host", "add", "eth1", "tap", "host1")
    site.inside.up("host1")
    host = lab.wire(site.inside, "host1")
    site.play([vmq.frame(PEER)], end=host, source="host", adapter="eth1")
    assert set(some.end().shown("interface_name")) == {"eth1 host", "eth1 wire"}


@pytest.mark.parametrize("number, status, says", [(signal.SIGTERM, 0, "is gone"), (signal.SIGKILL, 3, "vmqd went away")])
def test_vmqd_ends_first(site, capture, number, status, says):
    some = capture("eth0")
    site.vmqd.child.send_signal(number)
    assert some.wait() == status and says in some.log()
    site.vmqd.wait()


def test_the_log_says_who_captures(site, capture):
    capture("eth0").end()
    vmq.wait_until(lambda: "vmqd: user 0 ends a capture" in site.vmqd.log(), "the end to be logged")
    assert "vmqd: user 0 captures frames of eth0" in site.vmqd.log()


# What is refused


@pytest.mark.parametrize("words, status, sentence", [
    (("eth0", "filter", "tcp prot 80"), 2, 'filter "tcp prot 80": can\'t parse filter expression: syntax error'),
    (("eth0", "filter", "port http2x"), 2, 'filter "port http2x": unknown port \'http2x\''),
    (("eth9",), 1, "there is no adapter eth9"),
    (("eth0", "queue", "7"), 1, "there is no queue 7 on adapter eth0"),
    (("queue", "1"), 1, "queue ID needs the adapter before it"),
    (("vm", "nobody"), 1, "there is no VM nobody"),
    (("eth0", "wire", "queue", "default"), 1, "a capture watches one of queue ID, vm NAME, wire, host and dropped"),
    (("snap", "0"), 1, "snap must be from 1 to 262144, not 0"),
    (("count", "0"), 2, "count must be 1 or more, not 0"),
    (("-w", "/nowhere/file"), 1, "/nowhere/file: No such file or directory"),
])
def test_what_is_wrong_is_said(site, words, status, sentence):
    done = site.vmqd.vmqctl("capture", *words)
    assert done.returncode == status and sentence in done.stderr
    assert site.vmqd.check()


@pytest.mark.parametrize("filter", ["", "1", "1,", "1,6 0 0", "1,6 0 0 0 0", "2,6 0 0 0", "1,21 9 9 0", "1,40 0 0 0",
                                    "5000,6 0 0 0", "-1,6 0 0 0", "1,99999 0 0 0", "1,6 0 0 0,6 0 0 0"])
def test_vmqd_takes_no_wrong_program(site, filter):
    with pytest.raises(vmq.Refused, match="filter must be a program"):
        site.vmqd.rpc.call("capture", filter=filter)
    assert site.vmqd.check()


def test_only_a_capture_writes_files(lab, site):
    done = site.vmqd.vmqctl("-w", lab.path("none"), "queue", "show")
    assert done.returncode == 2 and "-w FILE goes with capture" in done.stderr
    assert not os.path.exists(lab.path("none"))


def test_a_refused_capture_leaves_the_file(lab, site):
    path = lab.path("kept")
    with open(path, "w") as file:
        file.write("kept")
    assert site.vmqd.vmqctl("capture", "eth9", "-w", path).returncode == 1
    with open(path) as file:
        assert file.read() == "kept"


def test_a_full_disk_is_said(site):
    words = [vmq.program("vmqctl"), "-s", site.vmqd.socket_path, "capture", "eth0", "-w", "/dev/full"]
    child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stderr.readline().startswith("capturing")
        assert child.communicate(timeout=vmq.LIMIT_S)[1].splitlines()[-1] == "vmqctl: /dev/full: No space left on device"
        assert child.returncode == 1
    finally:
        child.kill()
        child.wait()


def test_a_capture_is_for_its_owner(site, capture):
    assert os.stat(capture("eth0").end().out).st_mode & 0o777 == 0o600


def test_others_may_not_look(lab, site):
    os.chmod(lab.directory, 0o755)
    os.chmod(site.vmqd.directory, 0o755)
    os.chmod(site.vmqd.socket_path, 0o666)
    done = subprocess.run([vmq.program("vmqctl"), "-s", site.vmqd.socket_path, "capture", "eth0"], capture_output=True,
                          text=True, user="nobody", extra_groups=[], timeout=vmq.LIMIT_S)
    assert done.returncode and "captur" not in done.stdout and "captures" not in site.vmqd.log()


def test_there_are_no_more_than_eight(site, capture):
    running = [capture("eth0") for _ in range(8)]
    done = site.vmqd.vmqctl("capture", "eth0")
    assert done.returncode == 1 and "8 captures are running already" in done.stderr
    running[0].end()
    vmq.wait_until(lambda: "ends a capture" in site.vmqd.log(), "room for another")
    capture("eth0").end()


def test_it_is_no_part_of_a_transaction(lab, site):
    path = lab.path("commands")
    with open(path, "w") as file:
        file.write("capture eth0\n")
    done = site.vmqd.vmqctl("--atomic", "-f", path)
    assert done.returncode == 1 and "capture is no command of a configuration or a transaction" in done.stderr


# Readers that are slow, or lie


class Reader:
    """The memory of a capture, in hands that may be anybody's; util/capture.h."""

    RINGS, RING_BYTES = 4160, 128
    HEAD, MISSED, TAIL = 0, 8, 64

    def __init__(self, site, **params):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(vmq.LIMIT_S)
        self.socket.connect(site.vmqd.socket_path)
        line = {"jsonrpc": "2.0", "id": 1, "method": "capture", "params": params}
        self.socket.sendall(json.dumps(line).encode() + b"\n")
        answer, files, _, _ = socket.recv_fds(self.socket, 65536, 4)
        assert json.loads(answer)["result"] == {"layout": 1}
        self.file, = files
        self.memory = mmap.mmap(self.file, 0)
        self.rings, = struct.unpack_from("=I", self.memory, 4)

    def sum(self, field):
        return sum(struct.unpack_from("=Q", self.memory, self.RINGS + ring * self.RING_BYTES + field)[0]
                   for ring in range(self.rings))

    def set(self, field, value):
        for ring in range(self.rings):
            struct.pack_into("=Q", self.memory, self.RINGS + ring * self.RING_BYTES + field, value)

    def delete(self):
        self.memory.close()
        os.close(self.file)
        self.socket.close()


FRAMES, FRAME_BYTES = 8000, 1400


def test_a_reader_that_stops_slows_nobody(site):
    """Its ring is full after some 6,000 frames; the rest are missed, and all are delivered."""
    site.add_vm("web", record=False)
    reader = site.lab.make(Reader, site, adapter="eth0", at="wire")
    site.play([to("web", seq, FRAME_BYTES) for seq in range(FRAMES)])
    queue = site.vmqd.vm_queue("web")
    assert site.vmqd.queue_stats(queue)["rx_packets"] + sum(site.drops(queue).values()) == FRAMES
    record = (32 + FRAME_BYTES + 7) // 8 * 8
    assert reader.sum(Reader.MISSED) == FRAMES - reader.sum(Reader.HEAD) // record
    assert reader.sum(Reader.MISSED) >= FRAMES - reader.rings * (8 << 20) // record


@pytest.mark.parametrize("lie", [1, (1 << 64) - 1, 1 << 63, 8 << 20, (8 << 20) + 1])
def test_a_reader_that_lies_harms_itself(site, lie):
    site.add_vm("web", record=False)
    reader = site.lab.make(Reader, site, adapter="eth0")
    reader.set(Reader.TAIL, lie)
    reader.set(Reader.HEAD, lie)
    struct.pack_into("=II", reader.memory, 0, lie % 77, lie % 99)
    site.play([to("web", seq, FRAME_BYTES) for seq in range(2000)])
    queue = site.vmqd.vm_queue("web")
    assert site.vmqd.queue_stats(queue)["rx_packets"] + sum(site.drops(queue).values()) == 2000


def test_a_reader_takes_no_memory_away(site):
    """It can neither cut the file nor make holes of it that a worker falls into."""
    site.add_vm("web", record=False)
    reader = site.lab.make(Reader, site, adapter="eth0")
    with pytest.raises(PermissionError):
        os.truncate(reader.file, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate(reader.file, 3, ctypes.c_long(0), ctypes.c_long(1 << 40))
    site.play([to("web", seq, FRAME_BYTES) for seq in range(100)])
    assert site.vmqd.queue_stats(site.vmqd.vm_queue("web"))["rx_packets"] == 100


def test_memory_comes_back(site):
    """A hundred captures leave vmqd with what it had."""
    def mapped():
        with open(f"/proc/{site.vmqd.pid}/maps") as file:
            return sum("vmq-capture" in line for line in file), len(os.listdir(f"/proc/{site.vmqd.pid}/fd"))
    before = mapped()
    for _ in range(100):
        Reader(site, adapter="eth0").delete()
    vmq.wait_until(lambda: mapped() == before, lambda: f"{mapped()} to be {before} again")
