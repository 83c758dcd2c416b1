# SPDX-License-Identifier: BSD-3-Clause
"""Status indications: each has a number, none is lost without a word, and nobody waits for those who read them."""

import datetime
import json
import re
import select
import subprocess
import threading

import pytest
import vmq
from vmq_control import IN_MEMORY, QUIET_PORT, Follower, mac, results
from vmq_site import Site, to

LAB_FOLDER = IN_MEMORY
ADAPTER = f"adapter add eth0 port {QUIET_PORT.format(0)} queues 64 filters 4096\n"
CHANGES = 20_000
BATCH = 500


@pytest.fixture
def quiet(lab):
    return lab.vmqd(lab.netns("vmqd"), ADAPTER)


def follow(lab, vmqd):
    return lab.keep(Follower(vmqd))


def without_number(events):
    return [{key: value for key, value in event.items() if key not in ("seq", "time")} for event in events]


def state_event(id, state, windows):
    return {"type": "queue-state", "adapter": "eth0", "queue": id, "state": state, "windows_state": windows}


def test_a_life_in_events(lab, quiet):
    """Every state that a queue comes to, in order; DMA stopped on free, and only then."""
    follower = follow(lab, quiet)
    call = quiet.rpc.call
    call("queue.allocate", adapter="eth0")
    call("filter.set", adapter="eth0", queue=1, mac=mac(1), vlan=10)
    call("filter.set", adapter="eth0", queue=1, mac=mac(2), vlan=10)
    call("queue.complete", adapter="eth0", ids=[1])
    call("queue.set", adapter="eth0", id=1, name="x")
    call("filter.clear", adapter="eth0", filter=1)
    call("filter.clear", adapter="eth0", filter=2)
    call("filter.set", adapter="eth0", queue=1, mac=mac(1), vlan=10)
    call("filter.clear", adapter="eth0", filter=1)
    call("queue.free", adapter="eth0", id=1)
    follower.until(type="queue-state", state="Undefined")
    assert without_number(follower.seen) == [
        state_event(1, "Allocated", "Paused"), state_event(1, "Set", "Paused"), state_event(1, "Running", "Running"),
        {"type": "queue-parameters", "adapter": "eth0", "queue": 1},
        state_event(1, "Paused", "Paused"), state_event(1, "Running", "Running"), state_event(1, "Paused", "Paused"),
        state_event(1, "DmaStopped", "DmaStopped"), state_event(1, "Freeing", "DmaStopped"),
        state_event(1, "Undefined", "Undefined"),
    ]
    assert [event["seq"] for event in follower.seen] == list(range(follower.first + 1, follower.first + 11))


def test_a_refused_request_makes_no_event(lab, quiet):
    quiet.rpc.call("queue.allocate", adapter="eth0")
    follower = follow(lab, quiet)
    for method, params in (("queue.set", dict(id=1, buffers=0)), ("queue.free", dict(id=9)),
                           ("filter.clear", dict(filter=1)),
                           ("queue.complete", dict(ids=[0])), ("filter.set", dict(queue=1, mac=vmq.BROADCAST))):
        with pytest.raises(vmq.Refused):
            quiet.rpc.call(method, adapter="eth0", **params)
    quiet.rpc.call("queue.set", adapter="eth0", id=1, name="x")
    follower.until(type="queue-parameters")
    assert len(follower.seen) == 1 and follower.seen[0]["seq"] == follower.first + 1


def test_adapters_come_and_go(lab, quiet):
    follower = follow(lab, quiet)
    quiet.rpc.call("adapter.add", name="eth1", port=QUIET_PORT.format(1))
    assert follower.until(type="capabilities")["adapter"] == "eth1"
    quiet.rpc.call("queue.allocate", adapter="eth1")
    quiet.rpc.call("adapter.del", name="eth1")
    states = [follower.until(type="queue-state", adapter="eth1")["state"] for _ in range(4)]
    assert states == ["Allocated", "DmaStopped", "Freeing", "Undefined"]


def test_two_followers_see_the_same(lab, quiet):
    one, two = follow(lab, quiet), follow(lab, quiet)
    for i in range(50):
        quiet.rpc.call("queue.allocate", adapter="eth0")
    for follower in (one, two):
        follower.until(queue=50)
    assert one.seen == two.seen and [event["queue"] for event in one.seen] == list(range(1, 51))


def test_answers_and_events_share_a_connection(lab, quiet):
    """One who follows may also ask; its own changes are events too, before their answer or after it."""
    follower = follow(lab, quiet)
    assert follower.rpc.call("queue.allocate", adapter="eth0") == {"id": 1}
    assert follower.rpc.call("queue.show", adapter="eth0", id=1)[0]["state"] == "Allocated"
    quiet.rpc.call("queue.set", adapter="eth0", id=1, name="x")
    follower.until(type="queue-parameters", queue=1)


def test_a_guest_comes_and_goes(lab):
    site = Site(lab, host=False)
    path = site.add_vm("web", guest=False)
    follower = follow(lab, site.vmqd)
    queue = site.vmqd.vm_queue("web")
    for _ in range(2):
        guest = lab.guest(path).wait_ready()
        came = follower.until(type="vm-connected")
        assert (came["vm"], came["adapter"], came["queue"]) == ("web", "eth0", queue)
        guest.kill()
        gone = follower.until(type="vm-disconnected")
        assert (gone["vm"], gone["adapter"], gone["queue"]) == ("web", "eth0", queue)


def test_the_link(lab, quiet):
    """Of a port whose driver tells: DPDK's AF_PACKET and AF_XDP drivers never do."""
    quiet.rpc.call("adapter.add", name="tap0", port="net_tap0,iface=wtap0")
    netns = next(part for part in lab.parts if isinstance(part, vmq.NetNs))
    follower = follow(lab, quiet)
    for state in ("down", "up", "down"):
        netns.run("ip", "link", "set", "dev", "wtap0", state)
        assert follower.until(type="link", adapter="tap0")["link"] == state
        assert quiet.rpc.call("adapter.show", name="tap0")[0]["link"] == state


def test_a_slow_reader_is_told_and_slows_nothing(lab, quiet):
    """One follower stops reading, one goes on. The second gets all; the first learns how many it missed."""
    quiet.rpc.call("queue.allocate", adapter="eth0")
    slow, quick = follow(lab, quiet), follow(lab, quiet)
    for first in range(0, CHANGES, BATCH):
        results(quiet.rpc, [("queue.set", dict(adapter="eth0", id=1, name=f"n{i}")) for i in range(first,
                                                                                                   first + BATCH)])
        while len(quick.seen) < first + BATCH:
            quick.next()
    assert [event["seq"] for event in quick.seen] == list(range(quick.first + 1, quick.first + 1 + CHANGES))
    assert all(event["type"] == "queue-parameters" for event in quick.seen)

    last = quick.seen[-1]["seq"]
    while slow.covered < last - slow.first:
        slow.next()
    missed = [event for event in slow.seen if event["type"] == "missed"]
    assert missed and sum(event["count"] for event in missed) > CHANGES // 2
    assert slow.covered == last - slow.first
    numbers = [event["seq"] for event in slow.seen]
    assert numbers == sorted(numbers)
    quiet.rpc.call("queue.set", adapter="eth0", id=1, name="after")
    assert slow.next()["seq"] == quick.next()["seq"] == last + 1


def test_a_gap_is_exactly_as_long_as_it_says(lab, quiet):
    """After each word of missed events the next number is the one that follows the gap."""
    quiet.rpc.call("queue.allocate", adapter="eth0")
    slow = follow(lab, quiet)
    for _ in range(3):
        for first in range(0, CHANGES // 4, BATCH):
            results(quiet.rpc, [("queue.set", dict(adapter="eth0", id=1, name="x"))] * BATCH)
        last = quiet.rpc.call("events")["seq"]
        while slow.covered < last - slow.first:
            slow.next()
    expected = slow.first
    for event in slow.seen:
        if event["type"] == "missed":
            expected += event["count"]
        else:
            expected += 1
            assert event["seq"] == expected, event


def test_many_followers_that_never_read_cost_nothing(lab, quiet):
    quiet.rpc.call("queue.allocate", adapter="eth0")
    deaf = [follow(lab, quiet) for _ in range(50)]
    for first in range(0, CHANGES // 4, BATCH):
        results(quiet.rpc, [("queue.set", dict(adapter="eth0", id=1, name="x"))] * BATCH)
    for follower in deaf[:25]:
        follower.delete()
    results(quiet.rpc, [("queue.set", dict(adapter="eth0", id=1, name="x"))] * BATCH)
    assert quiet.check()


def test_frees_are_indicated_while_frames_flow(lab):
    """A Running VM's queue, cleared and freed under traffic: DMA stopped, and every frame in one counter."""
    site = Site(lab)
    site.add_vm("web")
    follower = follow(lab, site.vmqd)
    ended = threading.Event()

    def play():
        i = 0
        while not ended.is_set():
            site.wire.send(to("web", i))
            i += 1

    thread = threading.Thread(target=play)
    thread.start()
    try:
        for _ in range(20):
            id = site.vmqd.rpc.call("queue.allocate", adapter="eth0")["id"]
            filter_id = site.vmqd.rpc.call("filter.set", adapter="eth0", queue=id, mac=mac(9), vlan=10)["id"]
            site.vmqd.rpc.call("queue.complete", adapter="eth0", ids=[id])
            site.vmqd.rpc.call("filter.clear", adapter="eth0", filter=filter_id)
            site.vmqd.rpc.call("queue.free", adapter="eth0", id=id)
            states = [follower.until(type="queue-state", queue=id)["state"] for _ in range(6)]
            assert states == ["Allocated", "Set", "Running", "Paused", "DmaStopped", "Freeing"]
            follower.until(type="queue-state", queue=id, state="Undefined")
    finally:
        ended.set()
        thread.join()
    site.vmqd.settled()


def test_what_happened_lately(lab, quiet):
    """Without `follow` the last events come at once, with their times, and that is all."""
    began = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(milliseconds=1)
    quiet.rpc.call("queue.allocate", adapter="eth0")
    answer = quiet.rpc.call("events")
    assert without_number(answer["events"])[-1] == state_event(1, "Allocated", "Paused")
    assert answer["events"][-1]["seq"] == answer["seq"]
    assert began <= datetime.datetime.fromisoformat(answer["events"][-1]["time"].replace("Z", "+00:00"))
    quiet.rpc.call("queue.set", adapter="eth0", id=1, name="x")
    assert [event["seq"] for event in quiet.rpc.call("events")["events"][-2:]] == [answer["seq"], answer["seq"] + 1]
    text = quiet.vmqctl("events")
    assert text.returncode == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z seq \d+ queue-parameters eth0 queue 1",
                        text.stdout.splitlines()[-1])


def test_only_so_many_are_remembered(lab, quiet):
    quiet.rpc.call("queue.allocate", adapter="eth0")
    results(quiet.rpc, [("queue.set", dict(adapter="eth0", id=1, name="x"))] * 1000)
    answer = quiet.rpc.call("events")
    numbers = [event["seq"] for event in answer["events"]]
    assert numbers == list(range(answer["seq"] - 255, answer["seq"] + 1))


@pytest.mark.parametrize("options", [["-j"], []], ids=["JSON", "text"])
def test_vmqctl_follows(lab, quiet, options):
    quiet.rpc.call("queue.allocate", adapter="eth0")
    words = [vmq.program("vmqctl"), "-s", quiet.socket_path, *options, "events", "follow"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        vmq.wait_until(lambda: listening(quiet, child), "vmqctl to follow")
        line = child.stdout.readline()
        if options:
            params = json.loads(line)["params"]
            assert params["type"] == "queue-parameters" and params["queue"] == 1 and params["seq"]
        else:
            assert "queue-parameters" in line and "eth0" in line
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def listening(vmqd, child):
    """Make events until one was printed."""
    vmqd.rpc.call("queue.set", adapter="eth0", id=1, name="x")
    return select.select([child.stdout], [], [], 0.1)[0]
