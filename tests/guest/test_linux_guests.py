# SPDX-License-Identifier: BSD-3-Clause
"""Linux's own network stack in two VMs, at the host and beyond the wire: ARP, ping, IPv6, DHCP, TCP both ways."""

import contextlib
import re

import pytest
from kernel import Kernel
from transfers import SEGMENTS, TRANSFER_BYTES, Transfers
from uml import UmlGuest

import vmq
from captures import Capture
from vmq_site import HOST_IF, WIRE_IF, Site

VMS = {"web": "52:54:00:00:00:01", "db": "52:54:00:00:00:02"}
ADDRESSES = {"web": "10.9.0.11", "db": "10.9.0.12", "host": "10.9.0.1", "beyond": "10.9.0.2"}
LEASE = "10.9.0.77"
PAIRS = [(a, b) for a in ADDRESSES for b in ADDRESSES if a != b and {a, b} & set(VMS)]
TRANSFERS = [(a, b, way) for way in ("whole", "cut by its sender", "cut for its receiver") for a, b in PAIRS
             if way != "cut for its receiver" or b in VMS]


def with_ipv6(netns, ifname):
    for which in ("all", ifname):
        netns.run("sysctl", "-qw", f"net.ipv6.conf.{which}.disable_ipv6=0")


class Scene(Transfers):
    def __init__(self, lab):
        super().__init__(lab, Site(lab))
        self.interfaces = {"web": "eth0", "db": "eth0", "host": HOST_IF, "beyond": WIRE_IF}
        for name, netns in (("host", self.site.inside), ("beyond", self.site.outside)):
            with_ipv6(netns, self.interfaces[name])
            self.add(name, Kernel(netns, self.interfaces[name], ADDRESSES[name]), ADDRESSES[name], guest=False)
        for name, mac in VMS.items():
            path = self.site.vmqd.add_vm(lab, name, mac, "untagged")
            self.add(name, lab.make(UmlGuest, lab, name, mac, f"{ADDRESSES[name]}/24", path), ADDRESSES[name], guest=True)
        for name in VMS:
            self.ends[name].wait_ready()
            self.site.vmqd.wait_connected(name)

    def local6(self, name):
        """The address that the kernel there gave itself, once nobody else claimed it."""
        command = f"ip -6 -o address show dev {self.interfaces[name]} scope link"

        def address():
            text = self.ends[name].run(command)[1]
            found = re.search(r"inet6 ([0-9a-f:]+)/", text)
            return found and "tentative" not in text and found[1]

        return vmq.wait_until(address, f"an IPv6 address of {name}")

    @contextlib.contextmanager
    def without(self, name, *features):
        """What ethtool calls them."""
        for state in ("off", "on"):
            for feature in features:
                self.command(name, f"ethtool -K {self.interfaces[name]} {feature} {state}")
            if state == "off":
                yield


@pytest.fixture(scope="module")
def scene():
    with vmq.Lab() as lab:
        yield Scene(lab)


@pytest.mark.parametrize("name", VMS)
def test_a_guest_takes_what_is_offered(scene, name):
    assert {"csum", "host_tso4", "host_tso6", "host_ecn", "guest_csum", "guest_tso4", "guest_tso6", "guest_ecn",
            "ctrl_guest_offloads", "mrg_rxbuf"} <= set(scene.site.vmqd.vm(name)["features"]["taken"])


@pytest.mark.parametrize("name", VMS)
def test_a_guest_reads_what_it_is(scene, name):
    """Its address is the VM's first filter's, from the start; its link, its speed and its MTU are the adapter's."""
    assert {"mac", "status", "speed_duplex", "mtu", "ctrl_mac_addr"} <= set(scene.site.vmqd.vm(name)["features"]["taken"])
    assert VMS[name] in scene.command(name, "ethtool -P eth0")
    assert "Link detected: yes" in scene.command(name, "ethtool eth0")
    assert scene.command(name, "cat /sys/class/net/eth0/speed").strip() == "10000"
    assert "maxmtu 1500" in scene.command(name, "ip -d link show dev eth0")


@pytest.mark.parametrize("source,target", PAIRS)
def test_ping(scene, source, target):
    assert scene.ends[source].pings(ADDRESSES[target])


@pytest.mark.parametrize("source,target,way", TRANSFERS)
def test_tcp_arrives_as_it_was_sent(scene, source, target, way):
    """
    Whole from end to end, cut by the kernel that sends, and joined again if it comes from a wire, or cut by vmqd for a
    guest that does not take it whole.
    """
    off = {"whole": (), "cut by its sender": (source, "tso", "gso"), "cut for its receiver": (target, "rx-gro-hw")}[way]
    with scene.without(*off) if off else contextlib.nullcontext():
        frames, made = scene.counted_transfer(source, target)
    if way == "whole":
        assert frames < SEGMENTS and made < SEGMENTS // 2
    elif way == "cut by its sender":
        assert (frames > SEGMENTS) == (source != "beyond") and made < SEGMENTS // 2
    else:
        assert frames + made > SEGMENTS and made > SEGMENTS // 2


@pytest.mark.parametrize("source,target", [("web", "db"), ("web", "host"), ("beyond", "web")])
def test_ipv6_finds_its_neighbour(scene, source, target):
    assert scene.ends[source].pings(f"{scene.local6(target)}%{scene.interfaces[source]}")


def test_dhcp(scene):
    """The host leases an address to a VM that asks by broadcast."""
    conf, leases = scene.lab.path("udhcpd.conf"), scene.lab.path("leases")
    with open(leases, "w"), open(conf, "w") as file:
        file.write(f"start {LEASE}\nend {LEASE}\ninterface {HOST_IF}\nlease_file {leases}\n"
                   f"pidfile {scene.lab.path('udhcpd.pid')}\noption subnet 255.255.255.0\n")
    scene.lab.process("udhcpd", *scene.site.inside.words("busybox", "udhcpd", "-f", conf))
    status, text = scene.ends["db"].run("busybox udhcpc -i eth0 -n -q -f -t 10 -T 2 -s /bin/true")
    assert status == 0 and LEASE in text


def test_a_guest_asks_for_an_address_that_it_has_not(scene):
    """By the control queue, which user-mode Linux leaves to vmqd; its own address it has."""
    web = scene.ends["web"]
    assert "ctrl_vq" in scene.site.vmqd.vm("web")["features"]["taken"]
    assert not scene.site.vmqd.vm("web")["why"]
    status, text = web.run("bridge fdb add 52:54:00:00:00:99 dev eth0 self")
    assert status == 0, text
    vmq.wait_until(lambda: "it wants frames for 52:54:00:00:00:99" in scene.site.vmqd.vm("web")["why"], "it to be told")
    vmq.wait_until(lambda: "Failed to set MAC filter table" in web.run("dmesg")[1], "the guest to be told")
    assert web.run("bridge fdb del 52:54:00:00:00:99 dev eth0 self")[0] == 0
    assert web.run("ip link set dev eth0 promisc on")[0] == 0
    assert web.pings(ADDRESSES["host"])


def test_a_guest_takes_no_address_of_others(scene):
    status, _ = scene.ends["web"].run(f"ip link set dev eth0 address {VMS['db']}")
    assert status != 0
    vmq.wait_until(lambda: f"it wants frames for {VMS['db']}" in scene.site.vmqd.vm("web")["why"], "it to be told")
    assert VMS["web"] in scene.command("web", "cat /sys/class/net/eth0/address")


@pytest.mark.parametrize("source,target", [("web", "host"), ("beyond", "web")])
def test_a_capture_has_all_of_a_connection(scene, source, target):
    """As tshark reads it: from the first segment to the last, each end in its direction, long frames as they are."""
    capture = scene.lab.make(Capture, scene.lab, scene.site, "vm", "web", "filter", "tcp", "snap", 128).started()
    sent, got = scene.transfer(source, target)
    assert sent == got and capture.end().missed() == 0
    frames = capture.shown("tcp.flags.syn", "tcp.seq", "tcp.len", "ip.src", "packet_flags_direction", "comment")
    data = [frame for frame in frames if frame[3] == ADDRESSES[source]]
    assert all(frame[0] in ("1", "True") for frame in frames[:2])
    assert max(int(seq) + int(length) - 1 for _, seq, length, *_ in data) in (TRANSFER_BYTES, TRANSFER_BYTES + 1)
    assert {frame[4] for frame in data} == {"0x00000002" if source == "web" else "0x00000001"}
    assert len({frame[4] for frame in frames}) == 2
    assert any("to be cut" in frame[5] for frame in data)
    assert set(capture.shown("_ws.malformed")) == {""}


def test_no_checksum_was_wrong(scene):
    """Last: every kernel counts what it threw away."""
    for name in VMS:
        assert scene.wrong_checksums(name) == 0


def test_counters_add_up(scene):
    drops = scene.site.vmqd.settled()["drops"]
    assert not {reason: count for reason, count in drops.items()
                if count and reason not in ("ring_full", "no_buffer", "tx_full", "vm_down")}
