# SPDX-License-Identifier: BSD-3-Clause
"""What is for the next bridge only goes no further: not between VMs, host and wire."""

import pcap
import vmq
from vmq_control import kill_and_launch
from vmq_site import MACS, STRANGER, Site

GROUPS = [f"01:80:c2:00:00:{last:02x}" for last in range(16)]
BEYOND = "01:80:c2:00:00:10"


def frames_from(source, tags=b""):
    """One frame for each group, and one for a group of which nothing is special."""
    return [vmq.frame(group, src=source, tags=tags, seq=i) for i, group in enumerate([*GROUPS, BEYOND])]


def test_from_the_wire(lab):
    site = Site(lab)
    site.add_vm("dev")
    frames = frames_from(STRANGER)
    site.play(frames)
    assert not vmq.difference(site.guests["dev"].wait(1), frames[-1:])
    assert not vmq.difference(site.host.wait(1), frames[-1:])
    assert site.vmqd.settled()["drops"]["link_local"] == len(GROUPS)


def test_from_the_host(lab):
    site = Site(lab)
    site.add_vm("dev")
    frames = frames_from(STRANGER)
    site.play(frames, end=site.host, source="host")
    assert not vmq.difference(site.guests["dev"].wait(1), frames[-1:])
    assert not vmq.difference(site.wire.wait(1), frames[-1:])
    assert site.vmqd.settled()["drops"]["link_local"] == len(GROUPS)


def test_from_a_vm(lab):
    site = Site(lab)
    path = lab.path("sent.pcap")
    frames = frames_from(MACS["dev"])
    pcap.write(path, frames)
    site.add_vm("dev", send=path)
    site.add_vm("web", vlan="untagged")
    site.guests["dev"].start()
    for end in (site.guests["web"], site.host, site.wire):
        assert not vmq.difference(end.wait(1), frames[-1:])
    assert site.vmqd.settled()["drops"]["link_local"] == len(GROUPS)


def test_with_a_tag_they_are_no_other(lab):
    """The address decides, whatever the VLAN."""
    site = Site(lab)
    site.add_vm("web")
    frames = frames_from(STRANGER, vmq.tag(10))
    site.play(frames)
    assert not vmq.difference(site.guests["web"].wait(1), [vmq.untagged(frames[-1])])
    assert site.vmqd.settled()["drops"]["link_local"] == len(GROUPS)


def test_who_takes_part_hears_and_speaks(lab):
    """A VM and a host that ask for it, and the wire: each hears the other two; who did not ask hears nothing."""
    site = Site(lab, adapter=("link-local", "forward"))
    path = lab.path("sent.pcap")
    sent = [vmq.frame(group, src=MACS["dev"], seq=i) for i, group in enumerate(GROUPS)]
    pcap.write(path, sent)
    site.add_vm("dev", send=path, link_local="forward")
    site.add_vm("web", vlan="untagged")
    from_wire = [vmq.frame(group, src=STRANGER, seq=100 + i) for i, group in enumerate(GROUPS)]
    from_host = [vmq.frame(group, src="02:00:00:00:00:02", seq=200 + i) for i, group in enumerate(GROUPS)]
    site.play(from_wire)
    site.play(from_host, end=site.host, source="host")
    site.guests["dev"].start()
    assert not vmq.difference(site.guests["dev"].wait(2 * len(GROUPS)), from_wire + from_host)
    assert not vmq.difference(site.host.wait(2 * len(GROUPS)), from_wire + sent)
    assert not vmq.difference(site.wire.wait(2 * len(GROUPS)), from_host + sent)
    assert site.vmqd.settled()["drops"]["link_local"] == 0
    assert site.guests["web"].frames() == []


def test_it_is_shown_and_kept(lab):
    site = Site(lab, adapter=("link-local", "forward"))
    site.add_vm("dev", guest=False, link_local="forward")
    site.add_vm("web", guest=False)
    kill_and_launch(site.vmqd)
    assert site.vmqd.ctl("adapter", "show", "eth0")[0]["link_local"] == "forward"
    assert [site.vmqd.vm(name)["link_local"] for name in ("dev", "web")] == ["forward", "drop"]
