# SPDX-License-Identifier: BSD-3-Clause
"""A PCI card as a port, under vfio and under uio: given and taken back, link, restarts; and why one cannot be had."""

import pytest
from card import ADDRESS, OTHER_DEVICE, CardGuest, KernelBeyond
from kernel import Kernel
from transfers import listen, received, wrong_checksums

import vmq

ECHOES = 20
HUGE_PAGES = 160
STREAM_BYTES = 4 << 20
ADD = ("adapter", "add", "eth0", "port", ADDRESS)


@pytest.fixture(scope="module")
def guest():
    with vmq.Lab() as lab:
        yield lab.make(CardGuest, lab)


def add(guest):
    """The card as a port with the host behind it."""
    guest.ctl(*ADD)
    guest.ctl("host", "add", "eth0", "tap", "host0")
    guest.wait_link("up")


# In this order: the guest has neither drivers nor huge pages at first.


def test_what_stands_in_a_card_s_way_is_named(guest):
    """vmqd starts before anything is there, and finds each thing that comes later."""
    guest.start()
    bound_to_none = guest.refusal(*ADD)
    assert "bound to no driver" in bound_to_none and f"dpdk-devbind.py -b vfio-pci {ADDRESS}" in bound_to_none
    assert "there is no such card" in guest.refusal("adapter", "add", "eth0", "port", "0000:00:1e.7")
    bound_to_kernel = guest.refusal("adapter", "add", "eth0", "port", OTHER_DEVICE)
    assert f"the kernel's driver virtio-pci has the card: dpdk-devbind.py -b vfio-pci {OTHER_DEVICE}" in bound_to_kernel
    guest.insert("uio", "uio_pci_generic")
    guest.bind("uio_pci_generic")
    assert "uio_pci_generic needs huge pages" in guest.refusal(*ADD)
    assert guest.ctl("adapter", "show") == []


def test_vfio_that_was_loaded_after_vmqd_started(guest):
    guest.insert("irqbypass", "vfio", "vfio_virqfd", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci")
    guest.bind("vfio-pci")
    group = guest.sh(f"basename $(readlink /sys/bus/pci/devices/{ADDRESS}/iommu_group)").strip()
    status, said = guest.run(f"exec 3<>/dev/vfio/{group}; vmqctl {' '.join(ADD)}")
    assert status == 1 and "another program uses the card" in said
    add(guest)
    guest.echoes(ECHOES)
    assert "is adapter eth0's" in guest.refusal("adapter", "add", "eth1", "port", ADDRESS.split(":", 1)[1])
    guest.ctl("adapter", "del", "eth0")
    guest.end()


def test_uio_needs_physical_addresses_from_the_start(guest):
    """With an IOMMU DPDK chooses virtual addresses, unless a card under uio is there when it starts."""
    guest.sh(f"echo {HUGE_PAGES} >/proc/sys/vm/nr_hugepages && grep -q 'HugePages_Free: *{HUGE_PAGES}' /proc/meminfo")
    guest.start()
    guest.bind("uio_pci_generic")
    assert "needs physical addresses" in guest.refusal(*ADD)
    guest.end()


@pytest.fixture(scope="module", params=["vfio-pci", "uio_pci_generic"])
def card(request, guest):
    """vmqd with the card of the guest, bound to this driver."""
    guest.bind(request.param)
    guest.start()
    assert guest.ctl("adapter", "show") == [], "vmqd took a card that nobody gave it"
    add(guest)
    yield guest
    guest.ctl("adapter", "del", "eth0")
    guest.end()


def test_it_receives_and_sends(card):
    before = card.stats()
    card.echoes(ECHOES)
    vmq.wait_until(lambda: not vmq.on_the_way(card.stats()), "counters to add up")
    after = card.stats()
    assert after["entered"]["wire"] - before["entered"]["wire"] >= ECHOES
    assert after["left"]["wire"] - before["left"]["wire"] >= ECHOES


def test_the_link_goes_and_comes_back(card):
    card.set_link(False)
    card.wait_link("down")
    card.set_link(True)
    card.wait_link("up")
    card.echoes(ECHOES)


def test_deleted_it_is_let_go_and_can_be_added_again(card):
    driver = card.sh(f"basename $(readlink /sys/bus/pci/devices/{ADDRESS}/driver)").strip()
    card.ctl("adapter", "del", "eth0")
    card.bind(driver)  # the kernel takes it from its driver only if nobody has it open
    add(card)
    card.echoes(ECHOES)


@pytest.mark.parametrize("here,there", [("10.0.0.1/24", "10.0.0.2"), ("fd00::1/64", "fd00::2")], ids=["IPv4", "IPv6"])
def test_it_cuts_long_frames_and_checks_checksums(card, here, there):
    """TCP of the kernel in the guest, 64 KiB a frame; the other kernel counts what has a wrong checksum."""
    with vmq.Lab() as lab:
        beyond = lab.make(KernelBeyond, lab, card.wire)
        end = Kernel(beyond.netns, beyond.IFNAME, there, here.partition("/")[2])
        card.host_up()
        card.sh("cd /proc/sys/net/ipv6/conf/host0 && echo 0 >accept_dad && echo 0 >disable_ipv6;"
                " echo 16 >/proc/sys/net/ipv4/tcp_min_tso_segs")
        card.sh(f"ip address replace {here} dev host0")
        log = lab.path("received")
        listen(end, "receive", there, 5001, log)
        before, arrived = card.stats(), beyond.arrived()
        card.sh(f"head -c {STREAM_BYTES} /dev/urandom >/tmp/stream; nc {there} 5001 </tmp/stream >/dev/null 2>&1 &")
        got = received(end, log)
        assert got == f"{STREAM_BYTES} {card.sh('sha256sum /tmp/stream').split()[0]}"
        after = card.stats()
        assert after["entered"]["copies"] == before["entered"]["copies"], "vmqd cut frames itself"
        cut = beyond.arrived() - arrived - (after["left"]["wire"] - before["left"]["wire"])
        assert cut > 0, "the card got no long frame"
        assert wrong_checksums(end.run("cat /proc/net/snmp")[1]) == 0
        assert wrong_checksums(card.sh("cat /proc/net/snmp")) == 0


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_it_comes_back_after_a_restart(card, signal):
    card.end(signal)
    card.start()
    card.wait_link("up")
    card.echoes(ECHOES)
