# SPDX-License-Identifier: BSD-3-Clause
"""Whose queue it is: the user that connects, a name within that user, root for anyone, nobody for default and drop."""

import os
import shutil
import subprocess

import pytest
import vmq
from vmq_control import (IN_MEMORY, QUIET_PORT, GroupNs, call_whole, config, errno_of, kill_and_launch, mac, model,
                         open_to_all, rpc_as,
                         state_of)

LAB_FOLDER = IN_MEMORY
ALICE, BOB, GROUP = 61001, 61002, 61999
ADAPTER = f"adapter add eth0 port {QUIET_PORT.format(0)} queues 16 filters 64\n"


class Town:
    """vmqd with a group who may change things. Root made queue 1 (Running) for alice and queue 2 for itself."""

    def __init__(self, lab):
        self.lab = lab
        self.vmqd = lab.vmqd(GroupNs(lab, lab.netns("vmqd"), "vmq", GROUP), ADAPTER)
        self.status = os.stat(self.vmqd.socket_path)
        open_to_all(lab, self.vmqd)
        self.root = self.vmqd.rpc
        self.root.call("queue.allocate", adapter="eth0", owner=ALICE)
        self.root.call("filter.set", adapter="eth0", queue=1, mac=mac(1), vlan=10)
        self.root.call("queue.complete", adapter="eth0", ids=[1])
        self.root.call("queue.allocate", adapter="eth0")
        self.root.call("filter.set", adapter="eth0", queue=2, mac=mac(2), vlan=10)

    def as_user(self, uid):
        return rpc_as(self.lab, self.vmqd, uid)

    def as_member(self, uid):
        return rpc_as(self.lab, self.vmqd, uid, groups=[GROUP])


@pytest.fixture
def town(lab):
    return Town(lab)


@pytest.fixture(scope="module")
def quiet_town():
    with vmq.Lab(IN_MEMORY) as lab:
        yield Town(lab)


def queue_requests(id, filter_id):
    """Everything that only the owner may do to a queue that is Running with one filter."""
    return [("queue.set", dict(adapter="eth0", id=id, name="mine")),
            ("filter.set", dict(adapter="eth0", queue=id, mac=mac(77), vlan=10)),
            ("filter.move", dict(adapter="eth0", filter=filter_id, queue=0)),
            ("filter.clear", dict(adapter="eth0", filter=filter_id)),
            ("queue.free", dict(adapter="eth0", id=id))]


CHANGES = [("adapter.add", dict(name="eth1", port=QUIET_PORT.format(1))), ("adapter.del", dict(name="eth0")),
           ("queue.allocate", dict(adapter="eth0")), ("queue.allocate", dict(adapter="eth0", owner=ALICE)),
           ("vm.add", dict(name="x", adapter="eth0", socket="/tmp/vmq-never", mac=mac(9))),
           ("vm.attach", dict(name="x", adapter="eth0", queue=1, socket="/tmp/vmq-never")),
           ("host.add", dict(adapter="eth0", tap="tap9")), ("host.del", dict(adapter="eth0")), ("stats.clear", {}),
           ("config.save", {}), ("config.save", dict(file="/tmp/vmq-never"))]
SHOWS = [("adapter.show", {}), ("adapter.capabilities", dict(name="eth0")), ("adapter.parameters", dict(name="eth0")),
         ("queue.show", {}), ("filter.show", {}), ("vm.show", {}), ("stats.show", {}), ("config.show", {}),
         ("trace", dict(adapter="eth0", dst=mac(1))), ("events", {})]


def test_the_socket_is_of_the_group(town):
    assert town.status.st_gid == GROUP and town.status.st_mode & 0o777 == 0o660


def test_everyone_who_connects_may_show(quiet_town):
    rpc = quiet_town.as_user(BOB)
    for method, params in SHOWS:
        assert rpc.call(method, **params) is not None


@pytest.mark.parametrize("method, params", CHANGES, ids=lambda value: value if isinstance(value, str) else "")
def test_who_is_neither_root_nor_of_the_group_makes_nothing(quiet_town, method, params):
    before = model(quiet_town.vmqd)
    errno, said = errno_of(quiet_town.as_user(BOB), method, **params)
    assert errno == "EPERM" and str(BOB) in said
    assert model(quiet_town.vmqd) == before and not os.path.exists("/tmp/vmq-never")


def test_an_owner_outside_the_group_changes_its_own_queue_only(town):
    alice = town.as_user(ALICE)
    before = model(town.vmqd)
    for method, params in queue_requests(2, 2):
        errno, said = errno_of(alice, method, **params)
        assert errno == "EPERM", (method, said)
    assert model(town.vmqd) == before
    for method, params in queue_requests(1, 1):
        if method == "queue.free":
            alice.call("filter.clear", adapter="eth0", filter=3)
        if method == "filter.clear":
            alice.call("filter.move", adapter="eth0", filter=1, queue=1)
        alice.call(method, **params)
    assert [one["id"] for one in alice.call("queue.show", adapter="eth0")] == [0, 2, 65535]


def test_nobody_touches_anothers_queue(town):
    """Not even one who may make queues; and a batch refuses only what is not the caller's."""
    bob = town.as_member(BOB)
    id = bob.call("queue.allocate", adapter="eth0")["id"]
    before = model(town.vmqd)
    for queue, filter_id, owner in ((1, 1, ALICE), (2, 2, 0)):
        for method, params in queue_requests(queue, filter_id):
            errno, said = errno_of(bob, method, **params)
            wrong_state = method == "queue.free"
            assert errno == "EPERM" and (wrong_state or str(owner) in said), (method, said)
    assert model(town.vmqd) == before
    answer = bob.call("queue.complete", adapter="eth0", ids=[2, id])
    assert [(one["id"], one["status"]) for one in answer] == [(2, "EPERM"), (id, "ok")]
    assert state_of(town.vmqd, 2) == "Set"
    errno, _ = errno_of(bob, "filter.move", adapter="eth0", filter=1, queue=id)
    assert errno == "EPERM"
    bob.call("filter.set", adapter="eth0", queue=id, mac=mac(5), vlan=10)
    errno, _ = errno_of(bob, "filter.move", adapter="eth0", filter=3, queue=1)
    assert errno == "EPERM"
    errno, said = errno_of(bob, "queue.allocate", adapter="eth0", owner=ALICE)
    assert errno == "EPERM" and "root" in said


def test_vms_have_owners_too(town):
    bob, alice = town.as_member(BOB), town.as_member(ALICE)
    path = town.lab.path("web.sock")
    bob.call("vm.add", name="web", adapter="eth0", socket=path, mac=mac(20), vlan=20)
    assert bob.call("vm.show", name="web")[0]["owner"] == BOB
    for method in ("vm.detach", "vm.del"):
        errno, said = errno_of(alice, method, name="web")
        assert errno == "EPERM" and str(BOB) in said
    errno, _ = errno_of(alice, "vm.attach", name="x", adapter="eth0", queue=bob.call("vm.show", name="web")[0]["queue"],
                        socket=town.lab.path("x.sock"))
    assert errno == "EPERM"
    bob.call("vm.del", name="web")
    assert not os.path.exists(path)


def test_default_and_drop_belong_to_nobody(town):
    """Anyone sets, moves and clears filters there, also one that another has set."""
    shown = {one["id"]: one["owner"] for one in town.root.call("queue.show", adapter="eth0")}
    assert shown[0] is None and shown[65535] is None
    alice, bob = town.as_member(ALICE), town.as_member(BOB)
    first = alice.call("filter.set", adapter="eth0", queue="default", mac=mac(30), vlan=10)["id"]
    second = alice.call("filter.set", adapter="eth0", queue="drop", mac=mac(31), vlan=10)["id"]
    bob.call("filter.move", adapter="eth0", filter=first, queue="drop")
    bob.call("filter.clear", adapter="eth0", filter=first)
    bob.call("filter.clear", adapter="eth0", filter=second)
    for id in (0, 65535):
        for rpc in (town.root, bob):
            for method, params in (("queue.free", dict(id=id)), ("queue.set", dict(id=id, name="x")),
                                   ("queue.complete", dict(ids=[id]))):
                assert errno_of(rpc, method, adapter="eth0", **params)[0] == "EPERM"


def test_names_within_a_user(town):
    alice = town.as_member(ALICE)
    id = call_whole(alice, "queue.allocate", caller="red", adapter="eth0")["result"]["id"]
    line = next(one for one in config(town.vmqd) if one.startswith(f"queue allocate eth0 id {id} "))
    assert line.endswith(f' owner {ALICE} owner-name "red"')
    before = model(town.vmqd)
    for caller in ("blue", "", None, "Red", "red "):
        for method, params in (("queue.set", dict(id=id, name="x")), ("filter.set",
                                                                      dict(queue=id, mac=mac(40), vlan=10)),
                               ("queue.complete", dict(ids=[id])), ("queue.free", dict(id=id))):
            error = call_whole(alice, method, caller=caller, adapter="eth0", **params)["error"]
            assert error["data"]["errno"] == "EPERM" and "red" in error["message"]
    error = call_whole(town.as_member(BOB), "queue.free", caller="red", adapter="eth0", id=id)["error"]
    assert error["data"]["errno"] == "EPERM" and str(ALICE) in error["message"]
    assert model(town.vmqd) == before
    assert "result" in call_whole(town.as_user(ALICE), "queue.complete", caller="red", adapter="eth0", ids=[id])
    assert "result" in call_whole(town.root, "queue.set", caller="green", adapter="eth0", id=id, name="by root")
    assert "result" in call_whole(town.as_member(ALICE), "queue.free", caller="red", adapter="eth0", id=id)


def test_a_queue_without_a_name_is_not_a_named_callers(town):
    error = call_whole(town.as_user(ALICE), "queue.set", caller="red", adapter="eth0", id=1, name="x")["error"]
    assert error["data"]["errno"] == "EPERM"


def test_a_client_that_disconnects_keeps_its_queues(town):
    alice = town.as_member(ALICE)
    id = alice.call("queue.allocate", adapter="eth0", name="kept")["id"]
    alice.call("filter.set", adapter="eth0", queue=id, mac=mac(50), vlan=10)
    before = model(town.vmqd)
    alice.socket.close()
    assert model(town.vmqd) == before
    kill_and_launch(town.vmqd)
    open_to_all(town.lab, town.vmqd)
    assert model(town.vmqd)["config.show"] == before["config.show"]
    again = town.as_user(ALICE)
    again.call("queue.complete", adapter="eth0", ids=[id])
    assert state_of(town.vmqd, id) == "Running"
    assert errno_of(town.as_member(BOB), "queue.set", adapter="eth0", id=id, name="x")[0] == "EPERM"


def test_a_transaction_gives_no_more_rights(town):
    before = model(town.vmqd)
    for method, params in queue_requests(1, 1) + [("queue.allocate", dict(adapter="eth0"))]:
        errno, _ = errno_of(town.as_user(BOB), "transaction", commands=[{"method": method, "params": params}])
        assert errno == "EPERM"
    assert model(town.vmqd) == before


def test_vmqctl_of_another_user(town):
    """What the program says to one who may not."""
    program = shutil.copy(vmq.program("vmqctl"), town.lab.path("vmqctl"))

    def vmqctl(uid, groups, *words):
        return subprocess.run([program, "-s", town.vmqd.socket_path, *words], user=uid, group=uid, extra_groups=groups,
                              capture_output=True, text=True, timeout=vmq.LIMIT_S)

    assert vmqctl(BOB, [], "queue", "show").returncode == 0
    done = vmqctl(BOB, [], "queue", "allocate", "eth0")
    assert done.returncode == 1 and str(BOB) in done.stderr
    done = vmqctl(BOB, [], "queue", "set", "eth0", "1", "name", "x")
    assert done.returncode == 1 and str(ALICE) in done.stderr
    assert vmqctl(ALICE, [], "queue", "set", "eth0", "1", "name", "x").returncode == 0
    assert vmqctl(BOB, [GROUP], "queue", "allocate", "eth0").returncode == 0
    assert vmqctl(BOB, [GROUP], "queue", "free", "eth0", "3").returncode == 0
    os.chmod(town.vmqd.socket_path, 0o660)
    done = vmqctl(BOB, [], "queue", "show")
    assert done.returncode == 1 and "no permission" in done.stderr
    assert vmqctl(BOB, [GROUP], "queue", "show").returncode == 0
