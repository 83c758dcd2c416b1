# SPDX-License-Identifier: BSD-3-Clause
"""
TCP from a wire whose frames are all short and complete, as a card's are: DPDK's port of an interface whose other end cuts
them itself. For a VM that takes long frames vmqd joins them.
"""

import pytest
from kernel import Kernel
from transfers import SEGMENTS, Transfers
from uml import UmlGuest

import vmq
from vmq_site import WIRE_IF, Site

ADDRESSES = {"web": "10.9.0.11", "beyond": "10.9.0.2"}
MAC = "52:54:00:00:00:01"


class Scene(Transfers):
    def __init__(self, lab, adapter, vm):
        super().__init__(lab, Site(lab, driver="af_packet", adapter=adapter, host=False))
        self.site.outside.run("ethtool", "-K", WIRE_IF, "tx", "off", "tso", "off", "gso", "off")
        path = self.site.vmqd.add_vm(lab, "web", MAC, "untagged", **vm)
        address = ADDRESSES["web"]
        self.add("web", lab.make(UmlGuest, lab, "web", MAC, f"{address}/24", path), address, guest=True)
        self.add("beyond", Kernel(self.site.outside, WIRE_IF, ADDRESSES["beyond"]), ADDRESSES["beyond"], guest=False)
        self.ends["web"].wait_ready()
        self.site.vmqd.wait_connected("web")


@pytest.mark.parametrize("adapter,vm,joined", [
    ((), {}, True),
    (("gro", "off"), {}, False),
    ((), {"offload": "csum,host_tso4"}, False),
], ids=["joined", "gro off", "a VM that takes none"])
def test_tcp_arrives_as_it_was_sent(adapter, vm, joined):
    with vmq.Lab() as lab:
        scene = Scene(lab, adapter, vm)
        frames, _ = scene.counted_transfer("beyond", "web")
        assert (frames < SEGMENTS) == joined
        assert scene.wrong_checksums("web") == 0
        assert scene.site.vmqd.ctl("adapter", "show", "eth0")[0]["gro"] == ("gro" not in adapter)
