# SPDX-License-Identifier: BSD-3-Clause
"""The tests' own tools, without vmqd: a guest gets every frame, in order, without hugepages, in both socket modes."""

import os
import subprocess

import pcap
import pytest
import vmq

FRAMES = [vmq.frame("52:54:00:00:00:01", seq=i, size=60 + i % 1400) for i in range(500)]


@pytest.mark.parametrize("mode", ["server", "client"])
def test_guest_gets_frames_from_a_vhost_port(lab, mode):
    sent, socket_path = lab.path("sent.pcap"), lab.path("vm.sock")
    pcap.write(sent, FRAMES)
    words = [vmq.testpmd(), "--no-huge", "--no-shconf", "--no-telemetry", "--no-pci", "-m", "96",
             f"--lcores=(0,1)@({vmq.cpu_list()})", f"--file-prefix=switch.{os.getpid()}",
             "--vdev", f"net_pcap0,rx_pcap={sent}",
             "--vdev", f"net_vhost0,iface={socket_path},queues=1" + (",client=1" if mode == "client" else ""),
             "--", "-i", "--nb-cores=1", "--total-num-mbufs=16384", "--disable-link-check", "--no-flush-rx",
             "--forward-mode=io"]
    switch = lab.process("switch", "stdbuf", "-oL", *words, stdin=subprocess.PIPE,
                         env=dict(os.environ, RUNTIME_DIRECTORY=lab.directory))
    if mode == "server":
        vmq.wait_until(lambda: switch.check() and os.path.exists(socket_path), "the vhost socket")
    guest = lab.guest(socket_path, mode=mode).wait_ready()
    vmq.wait_until(lambda: switch.check() and "ready for processing" in switch.log(), "the guest's rings")
    switch.child.stdin.write(b"start\n")
    switch.child.stdin.flush()
    assert not vmq.difference(guest.wait(len(FRAMES)), FRAMES)
    assert guest.counters()["rx"] == len(FRAMES)
    guest.stop()


def test_wire_keeps_tags_and_order(lab):
    left, right = lab.netns("left"), lab.netns("right")
    lab.veth((left, "a"), (right, "b"))
    tags = [b"", vmq.tag(10), vmq.tag(0, priority=5), vmq.tag(7, tpid=vmq.TPID_8021AD), vmq.tag(10) + vmq.tag(20)]
    frames = [vmq.frame("52:54:00:00:00:01", tags=tags[i % 5], seq=i, size=60 + i % 1400) for i in range(2000)]
    frames += [vmq.frame(vmq.BROADCAST)[:size] for size in range(14, 60)]
    a, b = lab.wire(left, "a"), lab.wire(right, "b")
    a.play(frames, lambda count: len(b.received()) >= count)
    assert not vmq.difference(b.received(), frames)
    assert a.received() == []
