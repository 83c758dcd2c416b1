# SPDX-License-Identifier: BSD-3-Clause
"""An adapter may be any DPDK port: two captures, or a TAP interface."""

import pcap
import vmq
from vmq_site import MACS, Site, to

FRAMES = 2000


def test_a_capture_is_an_adapter(lab):
    """The port plays its capture as soon as it is open: the filters see the frames from the first on."""
    site = Site(lab, driver=None)
    played, written = lab.path("in.pcap"), lab.path("out.pcap")
    frames = [to(name, i) for i in range(FRAMES) for name in ("web", "db")]
    pcap.write(played, frames)
    site.vmqd.ctl("adapter", "add", "eth0", "port", f"net_pcap0,rx_pcap={played},tx_pcap={written}")
    vmq.wait_until(lambda: site.vmqd.entered("wire") >= len(frames), "the capture to be read")
    stats = site.vmqd.settled()
    assert stats["entered"]["wire"] == len(frames) and stats["drops"]["no_consumer"] == len(frames)


def test_what_a_vm_sends_is_written_to_the_capture(lab):
    site = Site(lab, driver=None)
    written, sent = lab.path("out.pcap"), lab.path("sent.pcap")
    frames = [vmq.frame("02:00:00:00:00:77", src=MACS["web"], seq=i) for i in range(300)]
    pcap.write(sent, frames)
    site.vmqd.ctl("adapter", "add", "eth0", "port", f"net_pcap0,tx_pcap={written}")
    site.add_vm("web", send=sent)
    site.guests["web"].start()
    vmq.wait_until(lambda: len(pcap.read(written)) >= len(frames), "the capture to be written")
    assert not vmq.difference(pcap.read(written), [vmq.tagged(content, 10) for content in frames])


def test_a_tap_interface_is_an_adapter(lab):
    site = Site(lab, driver=None)
    site.vmqd.ctl("adapter", "add", "eth0", "port", "net_tap0,iface=tap9")
    site.inside.up("tap9")
    end = lab.wire(site.inside, "tap9")
    site.add_vm("web")
    frames = [to("web", i) for i in range(FRAMES)]
    site.play(frames, end=end)
    assert not vmq.difference(site.guests["web"].wait(FRAMES), [vmq.untagged(content) for content in frames])
    site.vmqd.settled()
