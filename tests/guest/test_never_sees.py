# SPDX-License-Identifier: BSD-3-Clause
"""
A VM never sees a byte of a frame that is not for its MAC and VLAN. A guest fills all its memory with a pattern, offers
all its buffers and looks at all its memory again and again, while frames for everybody else pass by, and after them.
"""

import itertools

import pytest
from arena import Hostile

import vmq
from vmq_site import MACS, STRANGER, VLANS, Site

FRAMES = 100_000
OWN_EVERY = 200
CHUNK = 1000
MARK = bytes.fromhex("deadbeef")
MARKED_STRANGER = "02:00:de:ad:be:ef"
MODES = {"6.30": ((), {}), "6.20 lookahead": (("ndis", "6.20"), {"lookahead": 64})}
SIZES = (60, 61, 64, 65, 66, 78, 128, 512, 1500)


def near(mac, bit):
    """The same address but for one bit, never a group's."""
    value = bytearray(vmq.mac_bytes(mac))
    value[5 - bit // 8] ^= 1 << bit % 8
    return value.hex(":")


def tagged_marked(dst, tags, size):
    head = vmq.mac_bytes(dst) + vmq.mac_bytes(MARKED_STRANGER) + tags + b"\x88\xb5"
    return (head + MARK * (size // len(MARK) + 1))[:size]


def for_others():
    """Frames that the watcher must not get, as near to its own as they can be. All carry the mark."""
    mine, vlan = MACS["web"], VLANS["web"]
    own_tag = vmq.tag(vlan)
    kinds = [(MACS["db"], vmq.tag(VLANS["db"])), (MACS["dev"], b""), (mine, b""), (mine, vmq.tag(0)),
             (mine, vmq.tag(vlan ^ 1)), (mine, vmq.tag(vlan | 0x400)), (mine, vmq.tag(4094) + own_tag),
             (mine, vmq.tag(VLANS["db"], priority=7)), (MACS["db"], own_tag), (MACS["dev"], own_tag),
             ("33:33:de:ad:be:ef", vmq.tag(VLANS["db"])), (vmq.BROADCAST, vmq.tag(77)), (vmq.BROADCAST, b"")]
    kinds += [(near(mine, bit), own_tag) for bit in range(40)]
    frames = [tagged_marked(dst, tags, size) for size in SIZES for dst, tags in kinds]
    return itertools.cycle(frames)


@pytest.fixture(params=MODES.values(), ids=MODES.keys())
def site(request):
    adapter, words = request.param
    with vmq.Lab() as lab:
        site = Site(lab, adapter=adapter)
        for name in ("db", "dev"):
            site.add_vm(name, guest=False, **words)
        site.path = site.add_vm("web", guest=False, **words)
        site.words = words
        yield site


def spaces(site):
    queue = site.vmqd.ctl("queue", "show", "eth0", site.vmqd.vm_queue("web"))[0]
    return {memory["space"] for memory in queue["memory"]}


def test_a_vm_never_sees_a_byte_of_another(site):
    watchers = {name: site.lab.make(Hostile, site.lab, name, site.vmqd.vm(name)["socket"], run).wait_ready()
                for name, run in (("db", "sink"), ("dev", "sink"), ("web", "watcher"))}
    watcher = watchers["web"]
    site.vmqd.wait_connected("web")
    assert spaces(site) == ({"host", "guest"} if site.words else {"host"})

    others = for_others()
    own = 0
    storm = []
    for number in range(FRAMES):
        storm.append(next(others))
        if number % OWN_EVERY == 0:
            storm.append(vmq.frame(MACS["web"], STRANGER, vmq.tag(VLANS["web"]), own % 100, SIZES[own % len(SIZES)]))
            own += 1
    site.play(storm, CHUNK)
    vmq.wait_until(lambda: watcher.check() and watcher.progress() == own,
                   lambda: f"{own} frames of its own, {watcher.progress()} came")
    assert watcher.stop() == "open"
    assert watcher.progress() == own
    print(f"{watcher.progress('scans')} scans during {FRAMES} frames for others")
    assert watcher.progress("scans") > 10
    assert watcher.progress("marked") == 0 and watcher.progress("alien") == 0
    assert not site.drops(site.vmqd.vm_queue("web"))
