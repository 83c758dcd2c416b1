# SPDX-License-Identifier: BSD-3-Clause
"""Who may open the socket of a VM: a QEMU that is not root's, without a chmod after each start."""

import os
import pwd
import socket
import stat

import pytest
import vmq
from vmq_control import kill_and_launch
from vmq_site import MACS, Site

USER, GROUP = "nobody", "www-data"


def access_of(path):
    """(user, group, permissions) of a socket."""
    status = os.stat(path)
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def connects_as(path, user):
    """Whether a process of this user and of no group of ours can connect."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setgid(pwd.getpwnam(user).pw_gid)
            os.setuid(pwd.getpwnam(user).pw_uid)
            with socket.socket(socket.AF_UNIX) as end:
                end.connect(path)
            status = 0
        except PermissionError:
            pass
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def site(lab):
    site = Site(lab, host=False)
    os.chmod(lab.directory, 0o755)
    return site


def test_a_socket_is_given_to_a_user(site):
    path = site.add_vm("web", guest=False, user=USER, mode_bits="600")
    owner = pwd.getpwnam(USER)
    assert access_of(path) == (owner.pw_uid, owner.pw_gid, 0o600)
    assert connects_as(path, USER) and not connects_as(path, "daemon")


def test_a_socket_is_given_to_a_group(site):
    path = site.add_vm("web", guest=False, group=GROUP, mode_bits="0660")
    uid, gid, mode = access_of(path)
    assert (uid, mode) == (0, 0o660) and connects_as(path, GROUP) and not connects_as(path, USER)


def test_it_is_shown_and_kept_over_a_restart(site):
    path = site.add_vm("web", guest=False, user=USER, group=GROUP, mode_bits="0660")
    before = access_of(path)
    shown = site.vmqd.vm("web")
    assert (shown["user"], shown["group"], shown["mode_bits"]) == (USER, GROUP, "0660")
    kill_and_launch(site.vmqd)
    assert access_of(path) == before
    assert {key: site.vmqd.vm("web")[key] for key in ("user", "group", "mode_bits")} == {
        "user": USER, "group": GROUP, "mode_bits": "0660"}


def test_a_guest_of_another_user_is_served(site):
    """Not root's QEMU: here, whatever connects as that user."""
    path = site.add_vm("web", guest=False, user=USER, mode_bits="600")
    site.boot("web", path)
    assert site.vmqd.vm("web")["connected"]


REFUSED = {
    "no such user": (("user", "nosuchuser"), "there is no user nosuchuser"),
    "no such group": (("group", "nosuchgroup"), "there is no group nosuchgroup"),
    "no octal": (("mode-bits", "680"), "three octal digits"),
    "too many": (("mode-bits", "01777"), "three octal digits"),
    "nothing": (("mode-bits", "0"), "three octal digits"),
    "mode client": (("mode", "client", "user", USER), "for a socket that vmqd makes"),
}


@pytest.mark.parametrize("words, sentence", REFUSED.values(), ids=REFUSED)
def test_refused(site, lab, words, sentence):
    """Nothing is left of it: neither VM nor queue nor socket."""
    path = lab.path("web.sock")
    with pytest.raises(vmq.Refused, match=sentence):
        site.vmqd.ctl("vm", "add", "web", "adapter", "eth0", "socket", path, "mac", MACS["web"], *words)
    assert not os.path.exists(path)
    assert site.vmqd.ctl("vm", "show") == []
    assert site.add_vm("web", guest=False)
