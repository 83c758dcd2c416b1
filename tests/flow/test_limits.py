# SPDX-License-Identifier: BSD-3-Clause
"""What a VM may get and send in a second: never more, and what is dropped for it is counted. By a clock: unit/test_limit.c."""

import time

import pcap
import pytest
import vmq
from vmq_control import kill_and_launch
from vmq_site import MACS, Site, to

FRAMES, FRAME_BYTES = 2000, 1000
BYTES_PER_S = 10_000
RATE = 8 * BYTES_PER_S
BURST_S = 0.01
PEER = "52:54:00:00:00:11"


def most(seconds):
    """Frames that may pass in this time: the burst comes on top, and the last frame is paid for afterwards."""
    return (seconds + BURST_S) * BYTES_PER_S / FRAME_BYTES + 2


@pytest.mark.parametrize("words", [(), ("lookahead-split", "on")], ids=["whole", "in two parts"])
def test_a_vm_gets_no_more(lab, words):
    site = Site(lab, adapter=(*words, *(("ndis", "6.20") if words else ())))
    site.add_vm("web", rate_rx=RATE, **({"lookahead": 64} if words else {}))
    site.add_vm("db")
    before = time.monotonic()
    site.play([to(name, seq, FRAME_BYTES) for seq in range(FRAMES) for name in ("web", "db")])
    passed = site.vmqd.queue_stats(site.vmqd.vm_queue("web"))["rx_packets"]
    assert 1 <= passed <= most(time.monotonic() - before)
    assert site.drops(site.vmqd.vm_queue("web")) == {"rate_limit": FRAMES - passed}
    assert site.drops(site.vmqd.vm_queue("db")) == {}


def test_a_vm_sends_no_more(lab):
    site = Site(lab)
    path = lab.path("sent.pcap")
    pcap.write(path, [vmq.frame(PEER, src=MACS["web"], seq=seq, size=FRAME_BYTES) for seq in range(FRAMES)])
    site.add_vm("web", send=path, rate_tx=RATE)
    site.add_vm("peer", mac=PEER, vlan=10)
    before = time.monotonic()
    site.guests["web"].start()
    vmq.wait_until(lambda: site.vmqd.entered("vms") >= FRAMES, "vmqd to take what the VM sends")
    site.vmqd.settled()
    passed = site.vmqd.queue_stats(site.vmqd.vm_queue("peer"))["rx_packets"]
    assert 1 <= passed <= most(time.monotonic() - before)
    assert site.drops(site.vmqd.vm_queue("web")) == {"rate_limit": FRAMES - passed}


STORM, STORM_BURST_S = 200, 0.1


def test_a_vm_floods_no_more(lab):
    """Broadcast and multicast alike, none of what others get from it, and nothing that is false to begin with."""
    site = Site(lab)
    path = lab.path("sent.pcap")
    groups = [vmq.frame(group, src=MACS["web"], seq=seq) for seq in range(FRAMES)
              for group in (vmq.BROADCAST, "33:33:00:00:00:01")]
    single = [vmq.frame(PEER, src=MACS["web"], seq=seq) for seq in range(FRAMES)]
    false = [vmq.frame(vmq.BROADCAST, src=MACS["db"], seq=seq) for seq in range(10)]
    pcap.write(path, [*groups, *single, *false])
    site.add_vm("web", send=path, storm=STORM)
    site.add_vm("peer", mac=PEER, vlan=10)
    site.add_vm("db", guest=False)
    before = time.monotonic()
    site.guests["web"].start()
    vmq.wait_until(lambda: site.vmqd.entered("vms") >= len(groups + single + false), "vmqd to take what the VM sends")
    site.vmqd.settled()
    most = (time.monotonic() - before + STORM_BURST_S) * STORM + 1
    drops = site.drops(site.vmqd.vm_queue("web"))
    passed = len(groups) - drops["storm"]
    assert 1 <= passed <= most
    assert drops == {"storm": len(groups) - passed, "spoofed_source": len(false)}
    queue = site.vmqd.vm_queue("peer")
    got = site.vmqd.queue_stats(queue)["rx_packets"]
    assert got + sum(site.drops(queue).values()) == passed + len(single)  # it may be slower than who floods it
    assert {content[:6] for content in site.guests["peer"].wait(got)} <= {content[:6] for content in groups + single}


def test_a_limit_is_set_and_taken_away(lab):
    site = Site(lab)
    site.add_vm("web")
    queue = site.vmqd.vm_queue("web")

    def shown():
        of_queue, = site.vmqd.ctl("queue", "show", "eth0", queue)
        of_vm = site.vmqd.vm("web")
        assert all(of_vm[limit] == of_queue[limit] for limit in ("rate_rx", "rate_tx", "storm"))
        return of_queue["rate_rx"], of_queue["rate_tx"]

    assert shown() == (0, 0)
    site.vmqd.ctl("vm", "set", "web", "storm", STORM)
    site.vmqd.ctl("vm", "set", "web", "rate-rx", RATE)
    site.vmqd.ctl("vm", "set", "web", "rate-tx", 10 ** 9)
    assert shown() == (RATE, 10 ** 9)
    site.play([to("web", seq, FRAME_BYTES) for seq in range(FRAMES)])
    dropped = site.drops(queue)["rate_limit"]
    site.vmqd.ctl("vm", "set", "web", "rate-rx", 0)
    assert shown() == (0, 10 ** 9)
    site.play([to("web", seq, FRAME_BYTES) for seq in range(FRAMES)])
    assert site.drops(queue) == {"rate_limit": dropped}
    site.vmqd.ctl("vm", "set", "web", "rate-rx", RATE)
    kill_and_launch(site.vmqd)
    assert shown() == (RATE, 10 ** 9) and site.vmqd.vm("web")["storm"] == STORM
    site.vmqd.ctl("vm", "set", "web", "storm", 0)
    assert site.vmqd.vm("web")["storm"] == 0


@pytest.mark.parametrize("words,sentence", [
    (("vm", "set", "web", "rate-rx", 7999), "rate-rx, if not 0, is 8000 to 1000000000000, not 7999"),
    (("vm", "set", "web", "rate-tx", 10 ** 12 + 1), "rate-tx, if not 0, is 8000"),
    (("vm", "set", "web", "storm", 10 ** 8 + 1), "storm is 0 to 100000000, not 100000001"),
    (("vm", "set", "nobody", "rate-tx", RATE), "nobody"),
    (("vm", "set", "waiting", "rate-tx", RATE), "has no queue"),
    (("queue", "set", "eth0", 0, "rate-rx", RATE), "default"),
])
def test_refused(lab, words, sentence):
    site = Site(lab)
    site.add_vm("web", guest=False)
    site.vmqd.ctl("vm", "attach", "waiting", "adapter", "eth0", "socket", lab.path("waiting"))
    done = site.vmqd.vmqctl(*words)
    assert done.returncode != 0 and sentence in done.stderr, done.stderr
