# SPDX-License-Identifier: BSD-3-Clause
"""
Delivery in two parts (NDIS 6.20) and in one (6.30): the guest sees the same bytes, whatever the frame, where it is
split, and which buffers the guest offers. And which memory a queue's buffers come from.
"""

import struct

import pytest
import vmq
from vmq_control import QUIET_PORT, errno_of
from vmq_site import STRANGER, Site

LOOKAHEADS = (0, 14, 64, 128, 384)
NEWER = "newer"  # the VM on the 6.30 adapter; the others are named after their lookahead
ADAPTERS = {"eth0": ("6.20", "nic0", "wire0"), "eth1": ("6.30", "nic1", "wire1")}
VLAN = 10
HEADER, TAG = 14, 4

# Which memory each usage comes from
WHOLE = {"receive": "host"}
SPLIT = {"receive-lookahead": "host", "receive-post-lookahead": "guest"}

GUEST_LAYOUTS = [pytest.param(mergeable, entries, id=f"{'mergeable' if mergeable else 'single'} {entries}")
                 for mergeable in (1, 0) for entries in (256, 1024)]


# Frames, in the order of what the host reads of them: each a payload behind destination and source


def ipv4(protocol, words=5, fragment=0):
    head = struct.pack("!BBHHHBBHII", 0x40 | words, 0, 40, 1, fragment, 64, protocol, 0, 0x0A000001, 0x0A000002)
    return struct.pack("!H", 0x0800) + head + bytes(range(max(0, words * 4 - len(head))))


def ipv6(next_header):
    return struct.pack("!HIHBB", 0x86DD, 6 << 28, 40, next_header, 64) + bytes(range(32))


def tcp(words=5):
    return struct.pack("!HHIIBBHHH", 1000, 80, 1, 2, words << 4, 0x10, 1024, 0, 0) + bytes(max(0, words * 4 - 20))


UDP = struct.pack("!HHHH", 1000, 53, 1400, 0)
KINDS = {
    "unknown": struct.pack("!H", vmq.ETHERTYPE_TEST),
    "ARP": struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1),
    "IPv4 TCP": ipv4(6) + tcp(),
    "IPv4 TCP, longest headers": ipv4(6, 15) + tcp(15),
    "IPv4 TCP, header shorter than one": ipv4(6) + tcp(1),
    "IPv4 UDP": ipv4(17) + UDP,
    "IPv4 ICMP": ipv4(1) + bytes(8),
    "IPv4 that says it has no header": ipv4(17, 0) + UDP,
    "IPv6 TCP": ipv6(6) + tcp(),
    "IPv6 UDP": ipv6(17) + UDP,
    "twice tagged": vmq.tag(7) + struct.pack("!H", 0x0800) + ipv4(17)[2:] + UDP,
}

FRAGMENT = ipv4(17, 5, 185) + UDP  # behind an AF_PACKET port the kernel keeps it until it has the others
ROUNDS = 3                         # so that the four layouts of guests together meet all kinds at every size


def behind_addresses(head, seq, size):
    """What follows the addresses of an untagged frame of `size` bytes."""
    filler = struct.pack("!I", seq) + bytes((seq + i) & 0xFF for i in range(size))
    return (head + filler)[:size - 12]


def frames_of(sizes, first_kind, rounds):
    """Each size in `rounds` kinds, one after the other: what follows the addresses."""
    heads = list(KINDS.values())
    return [behind_addresses(heads[(first_kind + size + number) % len(heads)], number * 10000 + size, size)
            for number in range(rounds) for size in sizes]


# The scene


class Scene(Site):
    """The two adapters side by side on one vmqd; on the older one a VM for each lookahead."""

    def __init__(self, lab, mtu=1500, driver="af_packet"):
        super().__init__(lab, driver=None, veth_mtu=mtu + TAG, memory_mb=256 if mtu == 1500 else 512)
        lab.veth((self.inside, "nic1"), (self.outside, "wire1"), mtu + TAG)
        self.wires = {"eth0": self.wire, "eth1": lab.wire(self.outside, "wire1")}
        self.macs, self.adapter_of = {}, {}
        for number, (name, (ndis, nic, _)) in enumerate(ADAPTERS.items()):
            self.vmqd.ctl("adapter", "add", name, "port", f"net_{driver}{number},iface={nic}", "ndis", ndis, "mtu",
                          mtu, "queues", 8)

    def add_all(self, mtu=1500, device="", queue_size=1024, **words):
        """The guests start side by side."""
        for number, lookahead in enumerate((None, *LOOKAHEADS), 1):
            newer = lookahead is None
            name, adapter = (NEWER, "eth1") if newer else (f"lookahead{lookahead}", "eth0")
            split = {} if newer else {"lookahead": lookahead}
            self.macs[name], self.adapter_of[name] = f"52:54:00:00:00:{number:02x}", adapter
            path = self.vmqd.add_vm(self.lab, name, self.macs[name], VLAN, adapter=adapter, **split, **words)
            self.guests[name] = self.lab.guest(path, mtu=mtu, device=device, queue_size=queue_size)
        for name, guest in self.guests.items():
            guest.wait_ready()
            self.vmqd.wait_connected(name)
            self.check_memory(name)

    def check_memory(self, name):
        """That the older adapter splits, as this scene is about, and the newer does not."""
        shown = self.vmqd.rpc.call("queue.show", adapter=self.adapter_of[name], id=self.vmqd.vm_queue(name))[0]
        assert {piece["usage"]: piece["space"] for piece in shown["memory"]} == (SPLIT if shown["lookahead"] else WHOLE)
        assert name in (NEWER, f"lookahead{shown['lookahead']}")

    def wire_frame(self, name, content):
        return vmq.mac_bytes(self.macs[name]) + vmq.mac_bytes(STRANGER) + vmq.tag(VLAN) + content

    def play_all(self, contents, chunk):
        """The same for every VM, no faster than all of them take it."""
        for at in range(0, len(contents), chunk):
            for content in contents[at:at + chunk]:
                for name, adapter in self.adapter_of.items():
                    self.wires[adapter].send(self.wire_frame(name, content))
            arrived = min(at + chunk, len(contents))
            vmq.wait_until(lambda: self.vmqd.check() and self.all_have(arrived),
                           lambda: f"{arrived} frames each: {self.have()}")

    def have(self):
        return {name: len(guest.frames()) for name, guest in self.guests.items()}

    def all_have(self, count):
        return min(self.have().values()) >= count

    def expect(self, contents, trunk):
        """Every guest has all of them, in order, byte for byte; nothing else, and nothing was dropped."""
        for name, guest in self.guests.items():
            sent = [self.wire_frame(name, content) for content in contents]
            assert not vmq.difference(guest.frames(), sent if trunk else [vmq.untagged(frame) for frame in sent]), name
        for adapter in ADAPTERS:
            assert not any(self.vmqd.settled(adapter)["drops"].values()), adapter


@pytest.mark.parametrize("mergeable, entries", GUEST_LAYOUTS)
def test_every_size_is_the_same_bytes(lab, mergeable, entries):
    """Over the four layouts every size meets every kind of header."""
    scene = Scene(lab)
    scene.add_all(device=f"mrg_rxbuf={mergeable},packed_vq=0", queue_size=entries)
    layout = 2 * mergeable + (entries == 1024)
    assert ROUNDS * len(GUEST_LAYOUTS) >= len(KINDS)
    contents = frames_of(range(60, 1514 + 1), ROUNDS * layout, ROUNDS)
    scene.play_all(contents, 100)
    scene.expect(contents, trunk=False)


@pytest.mark.parametrize("mergeable, entries", [GUEST_LAYOUTS[0], GUEST_LAYOUTS[-1]])
def test_a_trunk_sees_the_same_bytes(lab, mergeable, entries):
    scene = Scene(lab)
    scene.add_all(device=f"mrg_rxbuf={mergeable},packed_vq=0", queue_size=entries, trunk="on")
    contents = frames_of(range(60, 1514 + 1), 0, 1)
    scene.play_all(contents, 100)
    scene.expect(contents, trunk=True)


@pytest.mark.parametrize("layout, trunk", [("in several buffers", "off"), ("in several buffers", "on"),
                                           ("in one buffer", "off"), ("in one buffer, not mergeable", "on")])
def test_jumbo_frames_are_the_same_bytes(lab, layout, trunk):
    """A guest that says nothing of jumbo frames has buffers of 2 KiB: there a frame takes up to five."""
    mtu = 9000
    scene = Scene(lab, mtu)
    scene.add_all(mtu=1500 if layout == "in several buffers" else mtu, trunk=trunk,
                  device=f"mrg_rxbuf={int(not layout.endswith('not mergeable'))}")
    sizes = [*range(60, mtu + HEADER, 37), *range(mtu + HEADER - 3, mtu + HEADER + 1)]
    contents = frames_of(sizes, 0, 2)
    scene.play_all(contents, 20)
    scene.expect(contents, trunk == "on")


def test_fragments_are_the_same_bytes(lab):
    scene = Scene(lab, driver="af_xdp")
    scene.add_all()
    contents = [behind_addresses(FRAGMENT, size, size) for size in range(60, 1514 + 1, 7)]
    scene.play_all(contents, 20)
    scene.expect(contents, trunk=False)


@pytest.mark.parametrize("order", [0, 1])
def test_frames_to_all_are_the_same_bytes(lab, order):
    """Broadcast and multicast, which no filter chose; rings that promise order too."""
    scene = Scene(lab)
    scene.add_all(device=f"in_order={order}")
    contents = frames_of(range(60, 1514 + 1, 7), order, 1)
    groups = (vmq.BROADCAST, "01:00:5e:00:00:01")
    for at, content in enumerate(contents):
        sent = vmq.mac_bytes(groups[at % 2]) + vmq.mac_bytes(STRANGER) + vmq.tag(VLAN) + content
        for wire in scene.wires.values():
            wire.send(sent)
        vmq.wait_until(lambda: scene.all_have(at + 1) or at % 50, scene.have)
    vmq.wait_until(lambda: scene.all_have(len(contents)), scene.have)
    for name, guest in scene.guests.items():
        want = [vmq.mac_bytes(groups[at % 2]) + vmq.mac_bytes(STRANGER) + content for at, content in enumerate(contents)]
        assert not vmq.difference(guest.frames(), want), name


# Which memory


def memory(vmqd, queue):
    shown = vmqd.rpc.call("queue.show", adapter="eth0", id=queue)[0]
    return shown, {piece["usage"]: piece for piece in shown["memory"]}


@pytest.fixture
def vmqd(lab):
    return lab.vmqd(lab.netns())


def quiet_adapter(vmqd, ndis, split, mtu=1500):
    vmqd.ctl("adapter", "add", "eth0", "port", QUIET_PORT.format(0), "ndis", ndis, "lookahead-split", split, "mtu", mtu,
             "queues", 4)


MEMORY = [("6.30", "on", 0, WHOLE), ("6.30", "off", 0, WHOLE), ("6.20", "off", 0, WHOLE), ("6.20", "on", 0, WHOLE),
          *[("6.20", "on", lookahead, SPLIT) for lookahead in LOOKAHEADS[1:]]]


@pytest.mark.parametrize("vlan", [VLAN, "untagged"])
@pytest.mark.parametrize("ndis, split, lookahead, spaces", MEMORY)
def test_memory_is_where_the_rules_allow_it(vmqd, ndis, split, lookahead, spaces, vlan):
    quiet_adapter(vmqd, ndis, split)
    call = vmqd.rpc.call
    assert call("queue.allocate", adapter="eth0", buffers=64, lookahead=lookahead) == {"id": 1}
    assert memory(vmqd, 1)[1] == {}, "buffers are allocated when the allocation is complete"
    call("filter.set", adapter="eth0", queue=1, mac="52:54:00:00:00:01", vlan=vlan)
    call("queue.complete", adapter="eth0", ids=[1])
    shown, pieces = memory(vmqd, 1)
    assert {usage: piece["space"] for usage, piece in pieces.items()} == spaces
    assert shown["lookahead"] == lookahead and shown["buffers"] == 64
    assert len(shown["memory"]) == len(pieces)


@pytest.mark.parametrize("mtu", [1500, 9000])
@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_memory_holds_every_buffer(vmqd, mtu, lookahead):
    """A frame with two tags, and in a split queue a backfill as long as the lookahead in front of it."""
    quiet_adapter(vmqd, "6.20", "on", mtu)
    vmqd.rpc.call("queue.allocate", adapter="eth0", buffers=100, lookahead=lookahead)
    vmqd.rpc.call("queue.complete", adapter="eth0", ids=[1])
    pieces = memory(vmqd, 1)[1]
    frame = mtu + HEADER + 2 * TAG
    assert pieces["receive-post-lookahead" if lookahead else "receive"]["bytes"] >= 100 * (frame + lookahead)
    if lookahead:
        assert pieces["receive-lookahead"]["bytes"] >= 100 * lookahead
    assert {piece["node"] for piece in pieces.values()} <= {-1, 0}


def test_memory_ends_with_the_queue(vmqd):
    quiet_adapter(vmqd, "6.20", "on")
    for _ in range(50):
        vmqd.rpc.call("queue.allocate", adapter="eth0", buffers=1000, lookahead=384)
        vmqd.rpc.call("queue.complete", adapter="eth0", ids=[1])
        assert len(memory(vmqd, 1)[1]) == 2
        vmqd.rpc.call("queue.free", adapter="eth0", id=1)
    assert errno_of(vmqd.rpc, "queue.show", adapter="eth0", id=1)[0] == "ENOENT"


def test_a_filter_for_any_vlan_never_reaches_guest_memory(vmqd):
    """On a 6.20 adapter it is refused, so a queue whose memory is the guest's never has one."""
    quiet_adapter(vmqd, "6.20", "on")
    vmqd.rpc.call("queue.allocate", adapter="eth0", lookahead=64)
    vmqd.rpc.call("queue.complete", adapter="eth0", ids=[1])
    address = dict(mac="52:54:00:00:00:01")
    assert errno_of(vmqd.rpc, "filter.set", adapter="eth0", queue=1, vlan="any", **address)[0] in ("EINVAL", "EOPNOTSUPP")
    assert errno_of(vmqd.rpc, "filter.set", adapter="eth0", queue=1, **address)[0] in ("EINVAL", "EOPNOTSUPP")
    vmqd.rpc.call("filter.set", adapter="eth0", queue=1, vlan=VLAN, **address)
    assert {piece["space"] for piece in memory(vmqd, 1)[1].values()} == {"host", "guest"}


REFUSED = [("6.30", "on", 64, "EOPNOTSUPP"), ("6.30", "off", 64, "EOPNOTSUPP"), ("6.30", "on", 1, "EOPNOTSUPP"),
           ("6.20", "off", 64, "EOPNOTSUPP"), ("6.20", "on", 13, "EINVAL"), ("6.20", "on", 1, "EINVAL"),
           ("6.20", "on", 385, "EINVAL"), ("6.20", "on", 2**32, "EINVAL"), ("6.20", "on", 2**32 + 64, "EINVAL"),
           ("6.20", "on", -64, "EINVAL")]


@pytest.mark.parametrize("ndis, split, lookahead, errno", REFUSED)
@pytest.mark.parametrize("method", ["queue.allocate", "vm.add"])
def test_a_lookahead_that_is_not_there_is_refused(lab, vmqd, method, ndis, split, lookahead, errno):
    quiet_adapter(vmqd, ndis, split)
    more = {} if method == "queue.allocate" else dict(name="web", socket=lab.path("web.sock"), mac="52:54:00:00:00:01",
                                                      vlan=VLAN)
    before = vmqd.rpc.call("config.show")
    refused, sentence = errno_of(vmqd.rpc, method, adapter="eth0", lookahead=lookahead, **more)
    assert refused == errno and "lookahead" in sentence
    assert vmqd.rpc.call("config.show") == before


@pytest.mark.parametrize("ndis, split, least, most", [("6.30", "on", 0, 0), ("6.30", "off", 0, 0), ("6.20", "off", 0, 0),
                                                      ("6.20", "on", 14, 384)])
def test_capabilities_say_how_much(vmqd, ndis, split, least, most):
    quiet_adapter(vmqd, ndis, split)
    now = vmqd.rpc.call("adapter.capabilities", name="eth0")
    assert (now["min_lookahead_split_size"], now["max_lookahead_split_size"]) == (least, most)
    assert ("lookahead_split" in now["supported_queue_properties"]) == (most > 0)
