# SPDX-License-Identifier: BSD-3-Clause
"""Every request of the control plane, by both ways in; and every bad one, refused by name with nothing changed."""

import csv
import os
import random
import shlex

import pytest
import vmq
from vmq_control import (IN_MEMORY, QUIET_PORT, TRANSPORTS, Raw, answers, call_whole, errno_of, mac, model, pipeline,
                         results, send_all,
                         state_of, words_of)

LAB_FOLDER = IN_MEMORY
RACES = 1000
QUEUES, FILTERS = 8, 12
HUGE = (1 << 31, 1 << 32, (1 << 32) + 1, (1 << 63) - 1)
STATE_TABLE = os.path.join(vmq.ROOT, "tests", "unit", "queue-states.csv")

ADAPTERS = f"""
adapter add eth0 port {QUIET_PORT.format(0)} queues {QUEUES} filters {FILTERS}
adapter add old0 port {QUIET_PORT.format(1)} ndis 6.20 queues 4 filters 4
adapter add off0 port {QUIET_PORT.format(2)} vmq off queues 4 filters 4
adapter add plain0 port {QUIET_PORT.format(3)} vlan-filtering off queues 4 filters 4
adapter add whole0 port {QUIET_PORT.format(4)} ndis 6.20 lookahead-split off queues 4 filters 4
"""
# On eth0: queue 1 Allocated, 2 Set (filter 1), 3 Running (filters 2 and 3), 4 Paused, 5 freed. On old0: 1 Running.
POPULATION = [
    ("queue.allocate", dict(adapter="eth0", name="first")),
    ("queue.allocate", dict(adapter="eth0")),
    ("filter.set", dict(adapter="eth0", queue=2, mac=mac(1), vlan=10)),
    ("queue.allocate", dict(adapter="eth0", vm="web")),
    ("filter.set", dict(adapter="eth0", queue=3, mac=mac(2), vlan=10)),
    ("filter.set", dict(adapter="eth0", queue=3, mac=mac(2), vlan="untagged")),
    ("queue.allocate", dict(adapter="eth0")),
    ("queue.complete", dict(adapter="eth0", ids=[3, 4])),
    ("queue.allocate", dict(adapter="eth0")),
    ("queue.free", dict(adapter="eth0", id=5)),
    ("queue.allocate", dict(adapter="old0")),
    ("filter.set", dict(adapter="old0", queue=1, mac=mac(1), vlan=10)),
    ("queue.complete", dict(adapter="old0", ids=1)),
]


@pytest.fixture(scope="module")
def populated():
    with vmq.Lab(IN_MEMORY) as lab:
        vmqd = lab.vmqd(lab.netns("vmqd"), ADAPTERS)
        for one in POPULATION:
            results(vmqd.rpc, [one])
        yield vmqd


@pytest.fixture
def fresh(lab):
    return lab.vmqd(lab.netns("vmqd"), ADAPTERS)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_whole_life_of_a_queue(fresh, transport):
    call = TRANSPORTS[transport](fresh).call
    assert [call("queue.allocate", adapter="eth0", name=f"n{i}", vm="web", buffers=64)["id"] for i in (1, 2, 3)] == [1,
                                                                                                                     2,
                                                                                                                     3]
    assert state_of(fresh, 1) == "Allocated"
    assert call("filter.set", adapter="eth0", queue=1, mac=mac(1), vlan=10) == {"id": 1}
    assert call("filter.set", adapter="eth0", queue=1, mac=mac(1), vlan="any", id=7) == {"id": 7}
    assert call("filter.set", adapter="eth0", queue="default", mac=mac(3), vlan="untagged") == {"id": 2}
    assert call("filter.set", adapter="eth0", queue="drop", mac=mac(4)) == {"id": 3}
    assert state_of(fresh, 1) == "Set"
    assert [one["status"] for one in call("queue.complete", adapter="eth0", ids=[1, 2])] == ["ok", "ok"]
    assert [state_of(fresh, id) for id in (1, 2, 3)] == ["Running", "Paused", "Allocated"]

    call("queue.set", adapter="eth0", id=1, name="other", affinity="auto", buffers=128,
         **{"per-queue-indication": True, "coalesce-usecs": 20, "coalesce-frames": 8})
    shown = call("queue.show", adapter="eth0", id=1)[0]
    assert shown["name"] == "other" and shown["vm"] == "web" and shown["suggested_buffers"] == shown["buffers"] == 128
    assert shown["per_queue_indication"] and (shown["coalesce_usecs"], shown["coalesce_frames"]) == (20, 8)
    assert [one["id"] for one in call("queue.show", adapter="eth0")] == [0, 1, 2, 3, 65535]

    assert [one["id"] for one in call("filter.show", adapter="eth0", queue=1)] == [1, 7]
    assert call("filter.show", adapter="eth0", queue=7)[0] == {"adapter": "eth0", "id": 7, "queue": 1, "vm": "web",
                                                               "mac": mac(1),
                                                               "vlan": "any"}
    call("filter.move", adapter="eth0", filter=7, queue=2)
    assert [state_of(fresh, id) for id in (1, 2)] == ["Running", "Running"]
    call("filter.move", adapter="eth0", filter=1, queue=2)
    assert [state_of(fresh, id) for id in (1, 2)] == ["Paused", "Running"]
    call("filter.clear", adapter="eth0", filter=1)
    call("filter.clear", adapter="eth0", filter=7)
    for id in (1, 2, 3):
        call("queue.free", adapter="eth0", id=id)
    assert [one["id"] for one in call("queue.show", adapter="eth0")] == [0, 65535]
    assert call("queue.allocate", adapter="eth0", id=5) == {"id": 5}
    assert call("queue.allocate", adapter="eth0") == {"id": 1}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_batch_is_answered_queue_by_queue(fresh, transport):
    call = TRANSPORTS[transport](fresh).call
    for _ in range(3):
        call("queue.allocate", adapter="eth0")
    call("queue.complete", adapter="eth0", ids=2)
    request = dict(adapter="eth0", ids=[1, 2, 7, 3])
    if transport == "raw":
        answer = call("queue.complete", **request)
        assert [(one["id"], one["status"]) for one in answer] == [(1, "ok"), (2, "EPERM"), (7, "ENOENT"), (3, "ok")]
        assert "Paused" in answer[1]["message"] and "7" in answer[2]["message"]
    else:
        done = fresh.vmqctl(*words_of("queue.complete", request))
        assert done.returncode == 1 and "queue 2" in done.stderr and "queue 7" in done.stderr
    assert [state_of(fresh, id) for id in (1, 2, 3)] == ["Paused"] * 3


# Events by the published table


def table():
    with open(STATE_TABLE) as file:
        return list(csv.DictReader(file))


def queue_in(rpc, state):
    """A queue of eth0 in this state, with one filter where the state has filters, and that filter's id."""
    id = rpc.call("queue.allocate", adapter="eth0")["id"]
    filter_id = None
    if state in ("Set", "Running"):
        filter_id = rpc.call("filter.set", adapter="eth0", queue=id, mac=mac(100), vlan=7)["id"]
    if state in ("Running", "Paused"):
        rpc.call("queue.complete", adapter="eth0", ids=[id])
    return id, filter_id


def event_request(event, rpc, id, filter_id):
    """The request that is this event; None where no request can be."""
    if event == "clear_filter_not_last" and filter_id:
        rpc.call("filter.set", adapter="eth0", queue=id, mac=mac(101), vlan=7)
    clear = ("filter.clear", dict(adapter="eth0", filter=filter_id)) if filter_id else None
    return {
        "get_queue_parameters": ("queue.show", dict(adapter="eth0", id=id)),
        "set_queue_parameters": ("queue.set", dict(adapter="eth0", id=id, name="renamed")),
        "set_filter": ("filter.set", dict(adapter="eth0", queue=id, mac=mac(102), vlan=7)),
        "clear_last_filter": clear,
        "clear_filter_not_last": clear,
        "enumerate_filters": ("filter.show", dict(adapter="eth0", queue=id)),
        "get_filter_parameters": ("filter.show", dict(adapter="eth0")) if filter_id else None,
        "allocation_complete": ("queue.complete", dict(adapter="eth0", ids=[id])),
        "free_queue": ("queue.free", dict(adapter="eth0", id=id)),
    }.get(event)


@pytest.fixture(scope="module")
def roomy():
    with vmq.Lab(IN_MEMORY) as lab:
        yield lab.vmqd(lab.netns("vmqd"), ADAPTERS)


@pytest.mark.parametrize("state", ["Allocated", "Set", "Running", "Paused"])
@pytest.mark.parametrize("row", table(), ids=lambda row: row["event"])
def test_every_event_in_every_state_that_requests_can_reach(roomy, row, state):
    rpc = roomy.rpc
    id, filter_id = queue_in(rpc, state)
    assert state_of(roomy, id) == state
    asked = event_request(row["event"], rpc, id, filter_id)
    before = model(roomy)
    answer = pipeline(rpc, [asked])[0] if asked else None
    if asked and not row[state]:
        assert answer["error"]["data"]["errno"] == "EPERM" and state in answer["error"]["message"], answer
        assert model(roomy) == before
    elif asked and row["event"] != "free_queue":
        assert "result" in answer and state_of(roomy, id) == row[state], answer
    for one in rpc.call("queue.show", adapter="eth0"):
        for filter in one["filters"]:
            rpc.call("filter.clear", adapter="eth0", filter=filter["id"])
    if row["event"] == "free_queue" and row[state]:
        assert [one["id"] for one in rpc.call("queue.show", adapter="eth0")] == [0, 65535]
    else:
        rpc.call("queue.free", adapter="eth0", id=id)


# Bad input


def refused(case, method, errno, said="", /, **params):
    return pytest.param(method, errno, said, params, id=case)


def bad_ids():
    """Requests that name a queue or a filter, with ids that are not one."""
    queue_requests = [("queue.free", "id", {}), ("queue.set", "id", {"name": "x"}), ("queue.show", "id", {}),
                      ("queue.complete", "ids", {}), ("filter.set", "queue", {"mac": mac(50), "vlan": 7}),
                      ("vm.attach", "queue", {"name": "x", "socket": "/tmp/vmq-never"})]
    bad = [("never existed", 7), ("freed", 5), ("beyond the adapter's", QUEUES + 1), *((f"huge {n}", n) for n in HUGE)]
    for method, word, more in queue_requests:
        for what, id in bad:
            yield refused(f"{method} {what}", method, "ENOENT", str(id), adapter="eth0", **{word: id}, **more)
        yield refused(f"{method} negative", method, "EINVAL", "-1", adapter="eth0", **{word: -1}, **more)
        yield refused(f"{method} of another adapter", method, "ENOENT", "old0", adapter="old0", **{word: 3}, **more)
        yield refused(f"{method} no such adapter", method, "ENOENT", "eth9", adapter="eth9", **{word: 1}, **more)
    for method, more in (("filter.clear", {}), ("filter.move", {"queue": 1})):
        for what, id in (("zero", 0), ("never existed", 9), ("beyond the adapter's", FILTERS + 1),
                         *((f"huge {n}", n) for n in HUGE)):
            yield refused(f"{method} {what}", method, "ENOENT", str(id), adapter="eth0", filter=id, **more)
        yield refused(f"{method} negative", method, "EINVAL", "-1", adapter="eth0", filter=-1, **more)
        yield refused(f"{method} of another adapter", method, "ENOENT", "old0", adapter="old0", filter=3, **more)
    for what, id in (("never existed", 7), ("freed", 5), ("huge", 1 << 40)):
        yield refused(f"filter.move to a queue that {what}", "filter.move", "ENOENT", str(id), adapter="eth0", filter=1,
                      queue=id)
    for what, id in (("zero", 0), ("beyond", QUEUES + 1), *((f"huge {n}", n) for n in HUGE)):
        yield refused(f"queue.allocate id {what}", "queue.allocate", "EINVAL", "id", adapter="eth0", id=id)
    for what, id in (("zero", 0), ("beyond", FILTERS + 1), *((f"huge {n}", n) for n in HUGE)):
        yield refused(f"filter.set id {what}", "filter.set", "EINVAL", "id", adapter="eth0", queue=1, mac=mac(50),
                      vlan=7, id=id)
    yield refused("queue.allocate id taken", "queue.allocate", "EEXIST", "queue 3", adapter="eth0", id=3)
    yield refused("filter.set id taken", "filter.set", "EEXIST", "filter 2", adapter="eth0", queue=1, mac=mac(50),
                  vlan=7, id=2)
    for queue in (0, 65535):
        yield refused(f"free of reserved queue {queue}", "queue.free", "EPERM", "queue", adapter="eth0", id=queue)
        yield refused(f"set of reserved queue {queue}", "queue.set", "EPERM", "queue", adapter="eth0", id=queue,
                      name="x")
        yield refused(f"complete of reserved queue {queue}", "queue.complete", "EPERM", "queue", adapter="eth0",
                      ids=[queue])
        yield refused(f"VM on reserved queue {queue}", "vm.attach", "EPERM", "queue", name="x", adapter="eth0",
                      queue=queue,
                      socket="/tmp/vmq-never")


CONTROLS = {"newline": "a\nb", "escape": "a\x1bb", "DEL": "a\x7fb", "C1": "a\x9bb"}


def bad_values():
    yield refused("queue name too long", "queue.allocate", "EINVAL", "63", adapter="eth0", name="x" * 64)
    yield refused("queue name far too long", "queue.set", "EINVAL", "63", adapter="eth0", id=1, name="x" * 50000)
    yield refused("queue's VM name too long", "queue.allocate", "EINVAL", "63", adapter="eth0", vm="x" * 64)
    yield refused("owner name too long", "queue.allocate", "EINVAL", "63", adapter="eth0", owner=7,
                  **{"owner-name": "x" * 64})
    yield refused("adapter name too long", "adapter.add", "EINVAL", "31", name="x" * 32, port=QUIET_PORT.format(9))
    yield refused("port too long", "adapter.add", "EINVAL", "511", name="eth1", port="x" * 512)
    yield refused("VM name too long", "vm.add", "EINVAL", "63", name="x" * 64, adapter="eth0", socket="/tmp/vmq-never",
                  mac=mac(50))
    yield refused("socket path too long", "vm.add", "EINVAL", "107", name="x", adapter="eth0", socket="/" + "x" * 107,
                  mac=mac(50))
    for what, text in CONTROLS.items():
        yield refused(f"queue name with {what}", "queue.allocate", "EINVAL", "name", adapter="eth0", name=text)
        yield refused(f"owner name with {what}", "queue.allocate", "EINVAL", "owner-name", adapter="eth0", owner=7,
                      **{"owner-name": text})
        yield refused(f"VM name with {what}", "vm.add", "EINVAL", "name", name=text, adapter="eth0",
                      socket="/tmp/vmq-never", mac=mac(50))
        yield refused(f"socket with {what}", "vm.add", "EINVAL", "socket", name="x", adapter="eth0",
                      socket="/tmp/" + text, mac=mac(50))
        yield refused(f"adapter name with {what}", "adapter.add", "EINVAL", "name", name=text,
                      port=QUIET_PORT.format(9))
    for method, more in (("queue.allocate", {}), ("queue.set", {"id": 1})):
        for what, cpus in (("no processors", ""), ("an absent processor", "77"), ("one absent of two", "0-77"),
                           ("a number beyond all", "4096"),
                           ("a list that is none", "1,,2"), ("a range backwards", "3-1"), ("negative", "-1"),
                           ("words", "none")):
            yield refused(f"{method} affinity of {what}", method, "EINVAL", "", adapter="eth0", affinity=cpus, **more)
        for number in (0, 7, 65537, *HUGE):
            yield refused(f"{method} buffers {number}", method, "EINVAL", "buffers", adapter="eth0", buffers=number,
                          **more)
        for number in (1001, *HUGE, (1 << 32) - 1):
            yield refused(f"{method} coalesce-usecs {number}", method, "EINVAL", "coalesce-usecs", adapter="eth0",
                          **{"coalesce-usecs": number}, **more)
        for number in (0, 257, *HUGE, (1 << 32) - 1):
            yield refused(f"{method} coalesce-frames {number}", method, "EINVAL", "coalesce-frames", adapter="eth0",
                          **{"coalesce-frames": number}, **more)
    for owner in ((1 << 32) - 1, *(n for n in HUGE if n >= 1 << 32)):
        yield refused(f"owner {owner}", "queue.allocate", "EINVAL", "owner", adapter="eth0", owner=owner)
    for number in (0, 1025, *HUGE):
        yield refused(f"adapter of {number} queues", "adapter.add", "EINVAL", "queues", name="eth1",
                      port=QUIET_PORT.format(9), queues=number)
    for number in (0, 63, 131073, *HUGE):
        yield refused(f"adapter of {number} filters", "adapter.add", "EINVAL", "filters", name="eth1",
                      port=QUIET_PORT.format(9), filters=number)


def bad_rules():
    """Filters and requests that the rule set of an adapter refuses."""
    yield refused("6.20 MAC alone", "filter.set", "EOPNOTSUPP", "6.20", adapter="old0", queue=1, mac=mac(50))
    yield refused("6.20 vm add by MAC alone", "vm.add", "EOPNOTSUPP", "6.20", name="x", adapter="old0",
                  socket="/tmp/vmq-never", mac=mac(50))
    yield refused("6.30 lookahead", "queue.allocate", "EOPNOTSUPP", "6.30", adapter="eth0", lookahead=128)
    yield refused("lookahead switched off", "queue.allocate", "EOPNOTSUPP", "lookahead", adapter="whole0",
                  lookahead=128)
    for number in (1, 13, 385, *HUGE):
        yield refused(f"lookahead {number}", "queue.allocate", "EINVAL", "lookahead", adapter="old0", lookahead=number)
    yield refused("vmq off: allocate", "queue.allocate", "EOPNOTSUPP", "off0", adapter="off0")
    yield refused("vmq off: filter", "filter.set", "EOPNOTSUPP", "off0", adapter="off0", queue="default", mac=mac(50))
    yield refused("vmq off: vm add", "vm.add", "EOPNOTSUPP", "off0", name="x", adapter="off0", socket="/tmp/vmq-never",
                  mac=mac(50))
    for vlan in (10, "untagged"):
        yield refused(f"vlan-filtering off: {vlan}", "filter.set", "EOPNOTSUPP", "plain0", adapter="plain0",
                      queue="default", mac=mac(50), vlan=vlan)
    for adapter in ("eth0", "old0"):
        for vlan in (0, 4095, 4096, (1 << 32) + 10, 1 << 62):
            yield refused(f"{adapter} vlan {vlan}", "filter.set", "EINVAL", "vlan", adapter=adapter, queue=1,
                          mac=mac(50), vlan=vlan)
        for what, address in (("multicast", "01:00:5e:00:00:01"), ("broadcast", vmq.BROADCAST),
                              ("zero", "00:00:00:00:00:00"),
                              ("short", "52:54:00:00:01"), ("long", "52:54:00:00:00:01:02"),
                              ("no hex", "52:54:00:00:00:0g")):
            yield refused(f"{adapter} {what} MAC", "filter.set", "EINVAL", "", adapter=adapter, queue=1, mac=address,
                          vlan=7)
    yield refused("identical on another queue", "filter.set", "EEXIST", "filter 1 on queue 2", adapter="eth0", queue=1,
                  mac=mac(1), vlan=10)
    yield refused("identical on the same queue", "filter.set", "EEXIST", "filter 1 on queue 2", adapter="eth0", queue=2,
                  mac=mac(1), vlan=10)
    yield refused("identical on the default queue", "filter.set", "EEXIST", "filter 1", adapter="eth0", queue="default",
                  mac=mac(1), vlan=10)
    yield refused("identical in vm add", "vm.add", "EEXIST", "filter 1", name="x", adapter="eth0",
                  socket="/tmp/vmq-never",
                  mac=[mac(50), mac(1)], vlan=10)
    yield refused("move to where it stands", "filter.move", "EEXIST", "queue 2", adapter="eth0", filter=1, queue=2)
    yield refused("free with filters, Set", "queue.free", "EPERM", "Set", adapter="eth0", id=2)
    yield refused("free with filters, Running", "queue.free", "EPERM", "Running", adapter="eth0", id=3)
    yield refused("complete twice", "queue.complete", "EPERM", "Running", adapter="eth0", ids=[3])
    yield refused("VM name after allocation", "queue.set", "EINVAL", "vm", adapter="eth0", id=1, vm="other")
    yield refused("lookahead after allocation", "queue.set", "EINVAL", "lookahead", adapter="eth0", id=1, lookahead=64)


REFUSED = [*bad_ids(), *bad_values(), *bad_rules()]


@pytest.mark.parametrize("method, errno, said, params", REFUSED)
def test_a_bad_request_is_refused_by_name_and_changes_nothing(populated, method, errno, said, params):
    before = model(populated)
    got = call_whole(populated.rpc, method, **params)
    try:
        assert "error" in got, f"accepted: {got}"
        assert got["error"]["data"]["errno"] == errno and said in got["error"]["message"], got
    finally:
        left = undo_if_accepted(populated, before)
    assert not left


def undo_if_accepted(vmqd, before):
    """What a request changed; put right, so that one wrong acceptance fails one test."""
    lines, after = before["config.show"]["commands"], model(vmqd)
    if after != before:
        for one in vmqd.rpc.call("adapter.show"):
            vmqd.rpc.call("adapter.del", name=one["name"])
        for line in lines:
            done = vmqd.vmqctl(*shlex.split(line))
            assert done.returncode == 0, done.stderr
    return [method for method in before if after[method] != before[method]]


TYPED = random.Random(1).sample([case for case in REFUSED if -1 not in case.values[3].values()], 60)


@pytest.mark.parametrize("method, errno, said, params", TYPED)
def test_vmqctl_says_why_and_changes_nothing(populated, method, errno, said, params):
    before = model(populated)
    done = populated.vmqctl(*words_of(method, params))
    left = undo_if_accepted(populated, before)
    assert done.returncode in (1, 2) and done.stderr.startswith("vmqctl: ") and not left, done
    assert done.stderr.count("\n") == 1 and not done.stdout, done


@pytest.mark.parametrize("caller", ["x" * 64, *CONTROLS.values(), 5, ["a"], {"a": 1}], ids=repr)
def test_a_bad_name_of_a_caller_is_refused(populated, caller):
    before = model(populated)
    got = call_whole(populated.rpc, "queue.allocate", caller=caller, adapter="eth0")
    left = undo_if_accepted(populated, before)
    assert "error" in got and not left, (got, left)


@pytest.mark.parametrize("params", [{}, {"commands": 5}, {"commands": {}}, {"commands": [5]}, {"commands": [{}]},
                                    {"commands": [{"method": "transaction", "params": {}}]},
                                    {"commands": [{"method": "queue.allocate"}]},
                                    {"commands": [{"method": 5, "params": {}}]},
                                    {"commands": [], "more": 1}], ids=str)
def test_a_transaction_that_is_none_is_refused(populated, params):
    before = model(populated)
    got = call_whole(populated.rpc, "transaction", **params)
    assert "error" in got, got
    assert model(populated) == before


# As many as the capabilities say


def test_more_queues_than_the_adapter_has(fresh):
    rpc = fresh.rpc
    for id in range(1, QUEUES + 1):
        assert rpc.call("queue.allocate", adapter="eth0")["id"] == id
    before = model(fresh)
    errno, said = errno_of(rpc, "queue.allocate", adapter="eth0")
    assert errno == "ENOSPC" and str(QUEUES) in said
    errno, said = errno_of(rpc, "vm.add", name="x", adapter="eth0", socket="/tmp/vmq-never", mac=mac(1))
    assert errno == "ENOSPC" and str(QUEUES) in said
    assert model(fresh) == before
    rpc.call("queue.free", adapter="eth0", id=3)
    assert rpc.call("queue.allocate", adapter="eth0")["id"] == 3


def test_more_filters_than_the_adapter_has(fresh):
    rpc = fresh.rpc
    rpc.call("queue.allocate", adapter="eth0")
    for i in range(1, FILTERS + 1):
        assert rpc.call("filter.set", adapter="eth0", queue=1, mac=mac(i), vlan=10)["id"] == i
    before = model(fresh)
    for queue in (1, "default", "drop"):
        errno, said = errno_of(rpc, "filter.set", adapter="eth0", queue=queue, mac=mac(99), vlan=10)
        assert errno == "ENOSPC" and str(FILTERS) in said
    errno, _ = errno_of(rpc, "vm.add", name="x", adapter="eth0", socket="/tmp/vmq-never", mac=mac(99))
    assert errno == "ENOSPC" and model(fresh) == before
    rpc.call("filter.clear", adapter="eth0", filter=5)
    errno, _ = errno_of(rpc, "vm.add", name="x", adapter="eth0", socket="/tmp/vmq-never", mac=[mac(98), mac(99)])
    assert errno == "ENOSPC"
    assert rpc.call("filter.set", adapter="eth0", queue=1, mac=mac(99), vlan=10)["id"] == 5


# Capabilities

ALL = dict(enabled_filter_types=["vmq"], enabled_queue_types=["vm_queue"], supported_filter_tests=["equal"],
           supported_headers=["mac"],
           supported_mac_header_fields=["destination", "vlan_id"], min_lookahead_split_size=0,
           max_lookahead_split_size=0)
NONE = dict(enabled_filter_types=[], enabled_queue_types=[], num_queues=0, supported_filter_tests=[],
            supported_headers=[],
            supported_mac_header_fields=[], max_mac_header_filters=0, min_lookahead_split_size=0,
            max_lookahead_split_size=0)
CURRENT = {
    "eth0": dict(ALL, num_queues=QUEUES, max_mac_header_filters=FILTERS),
    "old0": dict(ALL, num_queues=4, max_mac_header_filters=4, min_lookahead_split_size=14,
                 max_lookahead_split_size=384),
    "whole0": dict(ALL, num_queues=4, max_mac_header_filters=4),
    "off0": NONE,
    "plain0": dict(ALL, num_queues=4, max_mac_header_filters=4, supported_mac_header_fields=["destination"]),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("adapter", CURRENT)
def test_capabilities(populated, transport, adapter):
    """What is enabled now follows the switches; what the hardware has does not."""
    call = TRANSPORTS[transport](populated).call
    current = call("adapter.capabilities", name=adapter, which="current")
    assert {key: current[key] for key in CURRENT[adapter]} == CURRENT[adapter]
    assert call("adapter.capabilities", name=adapter) == current
    hardware = call("adapter.capabilities", name=adapter, which="hardware")
    split = adapter in ("old0", "whole0")
    assert all(hardware[key] == ALL[key] for key in ALL if "lookahead" not in key)
    assert hardware["max_lookahead_split_size"] == (384 if split else 0)
    assert ("lookahead_split" in hardware["supported_queue_properties"]) == split
    assert hardware["max_mac_header_filters"] >= hardware["num_queues"] >= QUEUES
    assert {"vm_queues", "msix", "per_queue_indication"} <= set(hardware["supported_queue_properties"])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_global_parameters(populated, transport):
    call = TRANSPORTS[transport](populated).call
    for adapter, ndis in (("eth0", "6.30"), ("old0", "6.20")):
        parameters = call("adapter.parameters", name=adapter)
        assert str(parameters["ndis"]) == ndis, parameters


@pytest.mark.parametrize("adapter, accepted", [("eth0", (10, "untagged", "any")), ("old0", (10, "untagged")),
                                               ("plain0", ("any",))])
def test_what_each_rule_set_accepts(roomy, adapter, accepted):
    for vlan in accepted:
        id = roomy.rpc.call("filter.set", adapter=adapter, queue="default", mac=mac(60), vlan=vlan)["id"]
        roomy.rpc.call("filter.clear", adapter=adapter, filter=id)


# Two at once


def test_two_clients_race_for_one_filter(roomy):
    """Both send before either reads: exactly one wins, and the other is told who."""
    first, second = vmq.Rpc(roomy.socket_path), vmq.Rpc(roomy.socket_path)
    queues = {client: client.call("queue.allocate", adapter="eth0")["id"] for client in (first, second)}
    rounds, won = random.Random(1), {first: 0, second: 0}
    for i in range(RACES):
        order = rounds.sample((first, second), 2)
        sent = [(client, send_all(client, [("filter.set", dict(adapter="eth0", queue=queues[client], mac=mac(i + 1),
                                                               vlan=10))]))
                for client in order]
        got = {client: answers(client, numbers)[0] for client, numbers in sent}
        winners = [client for client in got if "result" in got[client]]
        assert len(winners) == 1, got
        loser = got[second if winners[0] is first else first]["error"]
        id = got[winners[0]]["result"]["id"]
        assert loser["data"]["errno"] == "EEXIST" and f"filter {id} on queue {queues[winners[0]]}" in loser["message"]
        won[winners[0]] += 1
        winners[0].call("filter.clear", adapter="eth0", filter=id)
    assert all(won.values()), "one client always won: this was no race"
    for client in (first, second):
        client.call("queue.free", adapter="eth0", id=queues[client])
        client.delete()


def test_both_ways_in_answer_the_same(populated):
    for method, params in (("queue.show", {}), ("filter.show", dict(adapter="eth0")), ("adapter.show", {}),
                           ("vm.show", {}),
                           ("adapter.capabilities", dict(name="eth0")), ("adapter.parameters", dict(name="eth0"))):
        assert populated.ctl(*words_of(method, params)) == Raw(populated).call(method, **params)
