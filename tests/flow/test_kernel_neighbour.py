# SPDX-License-Identifier: BSD-3-Clause
"""
A kernel's own network stack sends to VMs, over a cable as `ip link add` makes it and from the host: it leaves checksums
and the cutting of long datagrams to the hardware. What VMs get is complete.
"""

import socket
import struct

import pytest

import vmq
from vmq_site import HOST_IF, MACS, STRANGER, WIRE_IF, Site, tags_of

PORT = 9
UDP_SEGMENT = 103  # of linux/udp.h
NEIGHBOUR = {4: ("10.9.0.1", "10.9.0.2", 24), 6: ("fd00::1", "fd00::2", 64)}
SOL_PACKET, PACKET_VNET_HDR = 263, 15
NEEDS_CSUM, GSO_TCPV4 = 1, 1
SIZES = (0, 1, 2, 17, 999, 1400)
SEGMENT = 1000
LONG = 25 * SEGMENT + 1  # bytes that come as 26 datagrams


class Kernel:
    """This machine's kernel, at the far end of the cable or at the host."""

    def __init__(self, netns, ifname):
        self.netns, self.ifname = netns, ifname
        netns.run("sysctl", "-qw", f"net.ipv6.conf.{ifname}.disable_ipv6=0")
        for ours, theirs, length in NEIGHBOUR.values():
            words = ("nodad",) if ":" in ours else ()
            netns.run("ip", "address", "add", f"{ours}/{length}", "dev", ifname, *words)
            netns.run("ip", "neighbour", "add", theirs, "lladdr", MACS["dev"], "dev", ifname)

    def send(self, family, contents, segment=None):
        """A datagram, from the kernel's own stack."""
        with self.netns.entered(), socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                                 socket.SOCK_DGRAM) as udp:
            if segment:
                udp.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
            udp.connect((NEIGHBOUR[family][1], PORT))
            udp.send(contents)

    def send_frame(self, header, content):
        """A frame with what its sender left to the hardware."""
        with self.netns.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((self.ifname, 0))
            raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            raw.send(header + content)


def total(content):
    words = struct.unpack(f"!{(len(content) + 1) // 2}H", content + b"\0" * (len(content) % 2))
    return sum(words) % 0xffff


def transport(content):
    """Protocol, and header with payload, of a frame that a VM got; none if it is not IP. All checksums are right."""
    ethertype, = struct.unpack("!H", content[12:14])
    if ethertype == 0x0800:
        at, ip = 14 + (content[14] & 15) * 4, content[14:34]
        assert total(ip[:(content[14] & 15) * 4]) == 0, "the IPv4 header's checksum is wrong"
        length, protocol, addresses = struct.unpack("!H", ip[2:4])[0] - (at - 14), ip[9], ip[12:20]
    elif ethertype == 0x86dd:
        at, length, protocol, addresses = 54, struct.unpack("!H", content[18:20])[0], content[20], content[22:54]
    else:
        return None, b""
    inner = content[at:at + length]
    assert len(inner) == length
    if protocol in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
        assert total(addresses + struct.pack("!HH", protocol, length) + inner) == 0, "a checksum is wrong"
    return protocol, inner


def datagram(content):
    """The payload, or nothing if it is no datagram to PORT."""
    protocol, udp = transport(content)
    if protocol != socket.IPPROTO_UDP or struct.unpack("!H", udp[2:4])[0] != PORT:
        return None
    assert len(udp) == struct.unpack("!H", udp[4:6])[0] and udp[6:8] != b"\0\0"
    return udp[8:]


def segment(content):
    """Sequence number and payload, or nothing if it is not TCP."""
    protocol, tcp = transport(content)
    return (struct.unpack("!I", tcp[4:8])[0], tcp[20:]) if protocol == socket.IPPROTO_TCP else None


class Scene:
    def __init__(self, lab):
        self.site = Site(lab)
        self.ends = {"wire": Kernel(self.site.outside, WIRE_IF), "host": Kernel(self.site.inside, HOST_IF)}
        for name in ("web", "dev"):
            self.site.add_vm(name)
        self.seen = {}

    def next(self, name, count, what):
        """The next so many of these that the VM gets."""
        def came():
            found = [what(content) for content in self.site.guests[name].frames()]
            found = [one for one in found if one is not None][self.seen.get((name, what), 0):]
            return found if len(found) >= count else None

        found = vmq.wait_until(came, f"{count} frames to {name}")
        self.seen[name, what] = self.seen.get((name, what), 0) + len(found)
        return found

    def datagrams(self, name, count):
        return self.next(name, count, datagram)

    def segments(self, name, count):
        return self.next(name, count, segment)


@pytest.fixture(scope="module")
def scene():
    with vmq.Lab() as lab:
        yield Scene(lab)


def contents(length):
    return bytes(i * 7 % 251 for i in range(length))


@pytest.mark.parametrize("family", NEIGHBOUR)
@pytest.mark.parametrize("end", ["wire", "host"])
def test_checksums_are_filled_in(scene, end, family):
    for length in SIZES:
        scene.ends[end].send(family, contents(length))
    assert scene.datagrams("dev", len(SIZES)) == [contents(length) for length in SIZES]


@pytest.mark.parametrize("family", NEIGHBOUR)
@pytest.mark.parametrize("end", ["wire", "host"])
def test_a_long_datagram_is_cut(scene, end, family):
    sent = contents(LONG)
    scene.ends[end].send(family, sent, SEGMENT)
    expected = [sent[at:at + SEGMENT] for at in range(0, LONG, SEGMENT)]
    assert scene.datagrams("dev", len(expected)) == expected


def tcp_segment(name, payload):
    """A frame of TCP over IPv4 with the VM's tag, and where in it TCP starts. Its checksum is left out."""
    length = 20 + len(payload)
    addresses = socket.inet_aton("10.9.0.1") + socket.inet_aton("10.9.0.2")
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, socket.IPPROTO_TCP, 0) + addresses
    ip = ip[:10] + struct.pack("!H", 0xffff - total(ip)) + ip[12:]
    pseudo = total(addresses + struct.pack("!HH", socket.IPPROTO_TCP, length))
    tcp = struct.pack("!HHIIBBHHH", 1, 2, 1000, 0, 0x50, 0x10, 65535, pseudo, 0)
    front = vmq.mac_bytes(MACS[name]) + vmq.mac_bytes(STRANGER) + tags_of(name) + b"\x08\x00"
    return front + ip + tcp + payload, len(front) + len(ip)


@pytest.mark.parametrize("end", ["wire", "host"])
@pytest.mark.parametrize("name", ["web", "dev"])
def test_a_long_segment_is_cut(scene, end, name):
    """TCP, with a tag and without."""
    payload = contents(LONG)
    content, start = tcp_segment(name, payload)
    scene.ends[end].send_frame(struct.pack("<BBHHHH", NEEDS_CSUM, GSO_TCPV4, start + 20, SEGMENT, start, 16), content)
    found = scene.segments(name, -(-LONG // SEGMENT))
    assert [sequence for sequence, _ in found] == list(range(1000, 1000 + LONG, SEGMENT))
    assert b"".join(content for _, content in found) == payload


def test_nothing_was_lost_on_the_way(scene):
    assert not any(scene.site.vmqd.settled()["drops"].get(reason) for reason in ("too_big", "malformed"))
    assert scene.site.vmqd.ctl("adapter", "show")[0]["missed"] == 0


@pytest.mark.parametrize("driver", ["af_packet", "af_xdp"])
def test_ports_that_cannot_complete_frames_say_so(lab, driver):
    site = Site(lab, driver=driver, host=False)
    assert "may come unfinished, with wrong checksums: use port if=nic0" in site.vmqd.log()
