# SPDX-License-Identifier: BSD-3-Clause
"""Real guests: ARP and ping work within a VLAN, between guests, host and wire, and never across VLANs."""

import pytest
from guest import QemuGuest
from village import VLANS, VMS, Village, address

import vmq
from vmq_control import kill_and_launch
from vmq_site import Site


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
