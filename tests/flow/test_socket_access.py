# SPDX-License-Identifier: BSD-3-Clause
"""Who may open the socket of a VM: a QEMU that is not root's, without a chmod after each start."""

import grp
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


# A default for all


def test_a_default_for_all_vms(lab):
    """A VM's own words win, and then the default has no say."""
    os.chmod(lab.directory, 0o755)
    vmqd = lab.vmqd(lab.netns(), "adapter add eth0 port net_null0\n",
                    options=("--vm-socket-user", USER, "--vm-socket-group", GROUP, "--vm-socket-mode", "0660"))
    default = vmqd.add_vm(lab, "web", MACS["web"])
    own = vmqd.add_vm(lab, "db", MACS["db"], mode_bits="0600")
    assert access_of(default) == (pwd.getpwnam(USER).pw_uid, grp.getgrnam(GROUP).gr_gid, 0o660)
    assert access_of(own) == (0, 0, 0o600)


@pytest.mark.parametrize("option, value", [("--vm-socket-user", "no-such-user"), ("--vm-socket-group", "no-such-group"),
                                           ("--vm-socket-mode", "rw"), ("--vm-socket-mode", "01000")])
def test_a_default_that_cannot_be(lab, option, value):
    vmqd = lab.vmqd(lab.netns(), options=(option, value), wait=False)
    assert vmqd.wait() == 1 and f"vmqd: {option} {value}: " in vmqd.log()


# Sockets that are removed under vmqd


def again(site, path, inode):
    """The socket that has the name now, once it is another."""
    vmq.wait_until(lambda: site.vmqd.check() and os.path.exists(path) and os.stat(path).st_ino != inode,
                   f"{path} to be made again")


def test_a_removed_socket_is_made_again(site):
    """With its access; who was connected stays."""
    path = site.add_vm("web", guest=False, user=USER, mode_bits="600")
    before, inode = access_of(path), os.stat(path).st_ino
    guest = site.boot("web", path)
    kept = os.open(path, os.O_PATH)  # or its number might be used again
    os.unlink(path)
    again(site, path, inode)
    vmq.wait_until(lambda: access_of(path) == before, f"the access of {path} to be as before")  # it comes after the name
    assert connects_as(path, USER)
    assert "its socket was removed, and is made again" in site.vmqd.log()
    assert site.vmqd.vm("web")["connected"]
    guest.kill()
    site.vmqd.wait_connected("web", False)
    site.boot("web", path)
    os.close(kept)


def test_a_removed_folder_is_waited_for(site, lab):
    folder = lab.path("sockets")
    os.mkdir(folder)
    path = os.path.join(folder, "web.sock")
    site.vmqd.ctl("vm", "add", "web", "adapter", "eth0", "socket", path, "mac", MACS["web"])
    os.unlink(path)
    os.rmdir(folder)
    vmq.wait_until(lambda: "folder" in (site.vmqd.vm("web")["why"] or ""), "it to be told")
    os.mkdir(folder)
    vmq.wait_until(lambda: os.path.exists(path), "the socket to be made again")
    vmq.wait_until(lambda: not site.vmqd.vm("web")["why"], "it to be forgotten")
    site.boot("web", path)


def test_somebody_elses_socket_in_its_place_is_left_alone(site):
    path = site.add_vm("web", guest=False)
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        inode = os.stat(path).st_ino
        vmq.wait_until(lambda: "somebody listens there" in (site.vmqd.vm("web")["why"] or ""), "it to be told")
        assert os.stat(path).st_ino == inode
        assert site.vmqd.log().count("somebody listens there") == 1
    site.vmqd.ctl("vm", "del", "web")
    assert os.path.exists(path), "what is not vmqd's is not removed"


def test_a_removed_control_socket_is_made_again(site):
    path = site.vmqd.socket_path
    kept, inode = os.open(path, os.O_PATH), os.stat(path).st_ino
    os.unlink(path)
    vmq.wait_until(lambda: os.path.exists(path) and os.stat(path).st_ino != inode, "the control socket")
    assert site.vmqd.vmqctl("adapter", "show").returncode == 0
    assert f"vmqd: socket {path} was removed or replaced: it is made again" in site.vmqd.log()
    assert site.vmqd.rpc.call("adapter.show"), "who was connected stays"
    os.close(kept)


# Mode client


def test_a_socket_of_another_users_is_reached(site, lab):
    """As libvirt's QEMU makes it, closed to all others; it stays that user's."""
    path = lab.path("qemu.sock")
    with socket.socket(socket.AF_UNIX) as qemu:
        qemu.bind(path)
        os.chmod(path, 0o755)
        os.chown(path, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
        before = access_of(path)
        qemu.listen()
        qemu.settimeout(vmq.LIMIT_S)
        site.vmqd.ctl("vm", "add", "web", "adapter", "eth0", "socket", path, "mac", MACS["web"], "mode", "client")
        qemu.accept()[0].close()
        vmq.wait_until(lambda: access_of(path) == before, "the socket to be that user's again")
