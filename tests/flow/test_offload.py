# SPDX-License-Identifier: BSD-3-Clause
"""Which frames a VM's driver may leave unfinished, or take so: `vm add … offload`."""

import pytest
from test_state import kill_and_launch

import vmq
from vmq_site import Site

SENT = {"csum", "host_tso4", "host_tso6", "host_ecn", "host_uso"}
GOT = {"guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_uso4", "guest_uso6"}


@pytest.fixture
def site(lab):
    return Site(lab)


def offered(site, name="web"):
    return set(site.vmqd.vm(name)["features"]["offered"])


@pytest.mark.parametrize("word,wanted,shown", [
    (None, SENT | GOT, "on"),
    ("on", SENT | GOT, "on"),
    ("off", set(), "off"),
    ("csum,host_tso4", {"csum", "host_tso4"}, "csum,host_tso4"),
    ("guest_tso6,guest_csum,guest_ecn", {"guest_csum", "guest_tso6", "guest_ecn"}, "guest_csum,guest_tso6,guest_ecn"),
    (",".join(sorted(SENT | GOT)), SENT | GOT, "on"),
])
def test_only_these_are_offered(site, word, wanted, shown):
    words = {"offload": word} if word else {}
    site.add_vm("web", guest=False, **words)
    assert offered(site) & (SENT | GOT) == wanted
    assert {"mrg_rxbuf", "version_1", "ctrl_vq"} <= offered(site)
    assert site.vmqd.vm("web")["offload"] == shown
    kill_and_launch(site.vmqd)
    assert offered(site) & (SENT | GOT) == wanted
    assert site.vmqd.vm("web")["offload"] == shown


def test_a_guest_takes_no_more_than_that(site):
    site.add_vm("web", offload="off")
    taken = set(site.vmqd.vm("web")["features"]["taken"])
    assert "version_1" in taken and not taken & (SENT | GOT)


@pytest.mark.parametrize("word,sentence", [
    ("maybe", "offload is on, off, or some of csum,host_tso4"),
    ("csum,", "offload is on, off, or some of csum,host_tso4"),
    ("csum,on", "offload is on, off, or some of csum,host_tso4"),
    ("host_tso4", "offload host_tso4 does nothing without csum"),
    ("csum,host_ecn", "offload host_ecn does nothing without one of host_tso4,host_tso6"),
    ("csum,guest_tso4", "offload guest_tso4 does nothing without guest_csum"),
])
def test_refused(site, word, sentence):
    with pytest.raises(vmq.Refused) as refused:
        site.add_vm("web", guest=False, offload=word)
    assert sentence in refused.value.message
    assert site.vmqd.ctl("vm", "show") == []
