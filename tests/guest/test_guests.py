# SPDX-License-Identifier: BSD-3-Clause
"""Real guests: ARP and ping work within a VLAN, between guests, host and wire, and never across VLANs."""

import shutil
import socket

import pytest
from guest import QemuGuest
from village import VLANS, VMS, Village, address

import vmq
from vmq_control import kill_and_launch
from vmq_site import Site

TRIES = 5
ARP, RARP = b"\x08\x06", b"\x80\x35"


@pytest.fixture(scope="module")
def village():
    with vmq.Lab() as lab:
        yield Village(lab)


@pytest.mark.parametrize("source", VLANS)
def test_who_reaches_whom(village, source):
    wrong = [f"{a} to {b}: {'no answer' if due else 'answered'}" for a, b, due in village.pairs()
             if a == source and village.reaches(a, b, due) != due]
    assert not wrong


def test_counters_add_up(village):
    stats = village.site.vmqd.settled()
    assert stats["left"]["queues"] > 0 and stats["entered"]["vms"] > 0
    assert not stats["drops"]["spoofed_source"] and not stats["drops"]["vm_down"]


def test_a_guest_goes_and_comes_back(village):
    """It dies in the middle of everything; the others do not notice, and a new one takes its place."""
    vmqd, name = village.site.vmqd, "web2"
    path = vmqd.vm(name)["socket"]
    village.guests[name].kill()
    vmqd.wait_connected(name, False)
    assert village.reaches("web1", "host10")
    village.boot(name, path).wait_ready()
    assert village.reaches("web1", name) and village.reaches(name, "beyond10")


def test_a_guest_that_listens_itself(village):
    """The other socket mode: the guest is the server, vmqd connects."""
    vmqd, name = village.site.vmqd, "db1"
    village.guests[name].kill()
    vmqd.ctl("vm", "del", name)
    mac, vlan = VMS[name]
    path = vmqd.add_vm(village.lab, name, mac, vlan, mode="client")
    village.boot(name, path, mode="client").wait_ready()
    assert village.reaches(name, "host20") and village.reaches("beyond20", name)
    assert not village.reaches(name, "web1", due=False)


def test_guests_reconnect_by_themselves():
    """vmqd is killed and starts from its state: QEMU finds the socket again, and the guests need do nothing."""
    with vmq.Lab() as lab:
        site = Site(lab, host=False)
        names = ("web1", "web2")
        guests = {name: lab.make(QemuGuest, lab, name, VMS[name][0], f"{address(name)}/24",
                                 site.vmqd.add_vm(lab, name, *VMS[name])) for name in names}
        for guest in guests.values():
            guest.wait_ready()
        assert guests["web1"].pings(address("web2"))
        kill_and_launch(site.vmqd)
        for name in names:
            site.vmqd.wait_connected(name)
        assert guests["web1"].pings(address("web2")) and guests["web2"].pings(address("web1"))


def test_a_guest_announces_itself():
    """Asked by QEMU, as after a migration, it says by ARP where its address is; vmqd need not do it for it."""
    with vmq.Lab() as lab:
        site = Site(lab, host=False)
        mac, vlan = VMS["web1"]
        guest = lab.make(QemuGuest, lab, "web1", mac, f"{address('web1')}/24", site.vmqd.add_vm(lab, "web1", mac, vlan))
        guest.wait_ready()
        site.vmqd.wait_connected("web1")
        assert "guest_announce" in site.vmqd.vm("web1")["features"]["taken"]
        guest.qmp("announce-self", initial=50, max=550, rounds=5, step=50)
        own = socket.inet_aton(address("web1"))

        def announced():
            """An ARP packet, behind the tag, whose sender and target have the guest's own address."""
            return [content for content in site.wire.received() if content[16:18] == ARP and content[42:46] == own and
                    content[26:36] == vmq.mac_bytes(mac) + own]

        vmq.wait_until(announced, "an announcement beyond the wire")
        assert not [content for content in site.wire.received() if content[16:18] == RARP]


def test_more_queue_pairs_than_are_served():
    """QEMU says what is wrong, again and again with the pauses that vmqd makes; vmqd says it once, and in `vm show`."""
    with vmq.Lab() as lab:
        site = Site(lab, host=False)
        path = site.vmqd.add_vm(lab, "web", "52:54:00:00:00:01", "untagged")
        qemu = lab.process("qemu", shutil.which("qemu-system-x86_64"), "-nodefaults", "-no-user-config",
                           "-display", "none", "-m", "64", "-machine", "pc,accel=tcg,memory-backend=memory",
                           "-object", "memory-backend-memfd,id=memory,size=64M,share=on",
                           "-chardev", f"socket,id=c0,path={path}", "-netdev", "vhost-user,id=n0,chardev=c0,queues=4",
                           "-device", "virtio-net-pci,netdev=n0,mq=on,vectors=0,romfile=")
        vmq.wait_until(lambda: qemu.log().count("you are asking more queues than supported: 1") > TRIES, "QEMU to say so")
        assert "one queue pair is served" in site.vmqd.vm("web")["why"] and not site.vmqd.vm("web")["connected"]
        assert site.vmqd.log().count(f"vmqd: the guest on {path}") == 1
        qemu.kill()
