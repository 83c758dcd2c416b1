# SPDX-License-Identifier: BSD-3-Clause
"""
TCP's long frames between VMs that differ in what they see: one on a VLAN, one that is a trunk and has the VLAN's
interface itself, one whose frames come in two parts, and which therefore gets none of the long ones, one that is offered
no offloads.
"""

import pytest
from transfers import SEGMENTS, Transfers
from uml import UmlGuest

import vmq
from vmq_site import Site

VLAN = 10
VMS = {"access": "52:54:00:00:00:01", "trunk": "52:54:00:00:00:02", "parts": "52:54:00:00:00:03",
       "off": "52:54:00:00:00:04"}
WORDS = {"access": {}, "trunk": {"trunk": "on"}, "parts": {"lookahead": "128"}, "off": {"offload": "off"}}
NUMBERS = {name: number for number, name in enumerate(VMS, 11)}
WAYS = {"IPv4": ("10.9.0.{}",), "IPv6": ("fd00::{}",), "IPv6 with options": ("fd00::{}", "options")}
PAIRS = [(a, b) for a in VMS for b in VMS if a != b]
MODULES = ("llc/llc", "802/mrp", "802/stp", "802/garp", "8021q/8021q")


class Scene(Transfers):
    def __init__(self, lab):
        super().__init__(lab, Site(lab, adapter=("ndis", "6.20", "lookahead-split", "on"), host=False))
        for name, mac in VMS.items():
            path = self.site.vmqd.add_vm(lab, name, mac, VLAN, **WORDS[name])
            address = f"10.9.0.{NUMBERS[name]}"
            own = "" if name == "trunk" else f"{address}/24"
            self.add(name, lab.make(UmlGuest, lab, name, mac, own, path), address, guest=True)
        for name in VMS:
            self.ends[name].wait_ready()
            self.site.vmqd.wait_connected(name)
        for module in MODULES:
            self.command("trunk", f"busybox insmod $UML_MODULES/kernel/net/{module}.ko")
        self.command("trunk", f"ip link add link eth0 name eth0.{VLAN} type vlan id {VLAN}")
        self.command("trunk", f"ip link set eth0.{VLAN} up && ip address add {self.addresses['trunk']}/24 dev eth0.{VLAN}")
        for name, number in NUMBERS.items():
            ifname = f"eth0.{VLAN}" if name == "trunk" else "eth0"
            self.command(name, f"ip address add fd00::{number}/64 dev {ifname} nodad")


@pytest.fixture(scope="module")
def scene():
    with vmq.Lab() as lab:
        yield Scene(lab)


def way_to(target, way):
    """The address of the target's, and what else to say."""
    address, *options = WAYS[way]
    return address.format(NUMBERS[target]), *options


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source,target", PAIRS)
def test_tcp_arrives_as_it_was_sent(scene, source, target, way):
    frames, made = scene.counted_transfer(source, target, *way_to(target, way))
    if source == "off":
        assert frames > SEGMENTS and made < SEGMENTS // 2
    elif target in ("parts", "off"):
        assert frames + made > SEGMENTS and made > SEGMENTS // 2
    else:
        assert frames < SEGMENTS and made < SEGMENTS // 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source,target", PAIRS)
def test_datagrams_arrive_as_they_were_sent(scene, source, target, way):
    whole, all_of_them = scene.datagrams(source, target, *way_to(target, way))
    assert whole == all_of_them


def test_no_checksum_was_wrong(scene):
    """Last: every kernel counts what it threw away."""
    for name in VMS:
        assert scene.wrong_checksums(name) == 0
