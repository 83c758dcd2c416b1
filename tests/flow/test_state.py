# SPDX-License-Identifier: BSD-3-Clause
"""What survives the end of vmqd: every change that was answered, whole, and whatever happens to the file."""

import json
import os
import random
import re
import shlex
import signal
import threading

import pytest
import vmq
from vmq_control import (IN_MEMORY, QUIET_PORT, Follower, call_whole, config, errno_of, kill_and_launch, launch, mac,
                         model, open_to_all,
                         results, rpc_as, send_all)
from vmq_site import Site, to

LAB_FOLDER = IN_MEMORY
ADAPTER = f"adapter add eth0 port {QUIET_PORT.format(0)} queues 80 filters 2000\n"
KILLS = 50
TRAFFIC_EVERY = 10
LONGEST_LIFE_S = 0.2
ALICE = 61001
FRAMES = 100


@pytest.fixture
def quiet(lab):
    return lab.vmqd(lab.netns("vmqd"), ADAPTER, memory_mb=512)


def lasting(vmqd):
    """All of the model but what counts, what a port says of itself, and who is there just now."""
    shown = model(vmqd)
    for one in shown["adapter.show"] + shown["queue.show"]:
        for name in ("mac", "rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "missed", "drops"):
            one.pop(name, None)
    for one in shown["vm.show"]:
        for name in ("connected", "why", "features"):
            one.pop(name)
    shown["vm.show"].sort(key=lambda one: one["name"])
    return shown


def populate(lab, vmqd):
    """Something of everything: every state, owners, names that need quotes, default and drop, two adapters, VMs."""
    open_to_all(lab, vmqd)
    call = vmqd.rpc.call
    call("adapter.add", name="old0", port=QUIET_PORT.format(1), ndis="6.20", queues=4, filters=9, mtu=1600, poll="busy",
         **{"vlan-filtering": True, "lookahead-split": False, "offload": "off"})
    call("adapter.add", name="off0", port=QUIET_PORT.format(2), vmq=False, queues=4, filters=4)
    call("host.add", adapter="eth0", tap="lasting0")
    call("queue.allocate", adapter="eth0", name='a "quoted" # name', vm="back\\slash", buffers=99)
    call("queue.allocate", adapter="eth0", id=77, name="ünï cödé", affinity="auto", **{"per-queue-indication": True})
    call("filter.set", adapter="eth0", queue=77, mac=mac(3), vlan="untagged", id=1500)
    call("queue.allocate", adapter="eth0", id=5, owner=ALICE, **{"owner-name": 'the "red" one', "coalesce-usecs": 30})
    call("filter.set", adapter="eth0", queue=5, mac=mac(1), vlan=10)
    call("filter.set", adapter="eth0", queue=5, mac=mac(1), vlan="any")
    call("queue.complete", adapter="eth0", ids=[5])
    call("filter.move", adapter="eth0", filter=1, queue=77)
    call("queue.allocate", adapter="eth0", id=6, **{"coalesce-frames": 4})
    call("queue.complete", adapter="eth0", ids=[6])
    call("filter.set", adapter="eth0", queue="default", mac=mac(4), vlan=4094)
    call("filter.set", adapter="eth0", queue="drop", mac=mac(5), vlan="any")
    call("queue.allocate", adapter="old0")
    call("filter.set", adapter="old0", queue=1, mac=mac(1), vlan=10)
    call("vm.add", name="web", adapter="eth0", socket=lab.path("web.sock"), mac=[mac(20), mac(21)], vlan=7, buffers=50)
    call("vm.add", name="db", adapter="old0", socket=lab.path("db.sock"), mac=mac(22), vlan=7, mode="client",
         trunk=True,
         **{"spoof-check": False})
    call("vm.attach", name="plain", adapter="eth0", queue=5, socket=lab.path("plain.sock"), owner=ALICE,
         **{"owner-name": 'the "red" one'})
    call("vm.attach", name="roots", adapter="eth0", queue=6, socket=lab.path("roots.sock"))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_everything_that_stands_stands_again(lab, quiet, end):
    populate(lab, quiet)
    before = lasting(quiet)
    for _ in range(2):
        quiet.child.send_signal(end)
        quiet.child.wait(vmq.LIMIT_S)
        launch(quiet)
        assert lasting(quiet) == before
    quiet.rpc.call("vm.del", name="web")
    assert "web" not in [one["vm"] for one in quiet.rpc.call("queue.show")], "its queue did not end with it"


def test_a_vm_that_lost_its_queue_stands_again(lab, quiet):
    quiet.rpc.call("queue.allocate", adapter="eth0")
    quiet.rpc.call("vm.attach", name="web", adapter="eth0", queue=1, socket=lab.path("web.sock"))
    quiet.rpc.call("queue.free", adapter="eth0", id=1)
    before = lasting(quiet)
    assert before["vm.show"][0]["queue"] is None
    kill_and_launch(quiet)
    assert lasting(quiet) == before


def test_a_vm_on_anothers_queue_stands_again(lab, quiet):
    """Alice's VM lost its queue, and root gave it one of its own."""
    call, path = quiet.rpc.call, lab.path("web.sock")
    call("queue.allocate", adapter="eth0", owner=ALICE)
    call("vm.attach", name="web", adapter="eth0", queue=1, socket=path, owner=ALICE)
    call("queue.free", adapter="eth0", id=1)
    call("queue.allocate", adapter="eth0", id=2)
    call("vm.attach", name="web", adapter="eth0", queue=2, socket=path)
    before = lasting(quiet)
    kill_and_launch(quiet)
    assert lasting(quiet) == before, quiet.log_tail()


def test_the_state_wins_over_the_configuration_file(quiet):
    quiet.rpc.call("adapter.del", name="eth0")
    kill_and_launch(quiet)
    assert config(quiet) == []


def lines_on_disk(vmqd):
    with open(vmqd.state_path) as file:
        lines = file.read().splitlines()
    assert lines[-1] == "# whole"
    return [line for line in lines if not line.startswith("#")]


def test_a_change_is_on_disk_when_it_is_answered(quiet):
    ledger = Ledger(1)
    for _ in range(300):
        results(quiet.rpc, ledger.draw(1))
        assert facts(lines_on_disk(quiet)) == ledger.facts()
    assert lines_on_disk(quiet) == config(quiet)


def test_a_change_that_cannot_be_kept_is_not_answered_as_done(quiet):
    """The state file cannot be written: the request is refused, and nothing stands that is not on disk."""
    before = lines_on_disk(quiet)
    os.mkdir(quiet.state_path + ".new")
    answer = call_whole(quiet.rpc, "queue.allocate", adapter="eth0")
    assert "error" in answer, f"answered as done, and on disk is {lines_on_disk(quiet)}: {answer}"
    assert lines_on_disk(quiet) == before == config(quiet)
    os.rmdir(quiet.state_path + ".new")
    quiet.rpc.call("queue.allocate", adapter="eth0")
    assert lines_on_disk(quiet) == config(quiet) != before


def test_a_name_cannot_write_lines_into_the_state(lab, quiet):
    """A caller's own name is kept with its queue; whatever is in it, it stays a name."""
    answer = call_whole(quiet.rpc, "queue.allocate", caller='x"\nadapter del eth0\n#', adapter="eth0")
    before = lasting(quiet)
    kill_and_launch(quiet)
    assert lasting(quiet) == before, answer


# Guests


def deliver(site, name, sent):
    frames = [to(name, sent + i) for i in range(FRAMES)]
    before = len(site.guests[name].frames())
    site.play(frames)
    got = site.guests[name].wait(before + FRAMES)
    assert not vmq.difference(got[before:], [vmq.untagged(content) for content in frames])


def test_guests_come_back_after_a_kill(lab):
    """One guest waits on its own socket and is found again; one starts anew on vmqd's socket, which is there again."""
    site = Site(lab)
    paths = {"web": site.add_vm("web", mode="client"), "db": site.add_vm("db", mode="server")}
    for name in paths:
        deliver(site, name, 0)
    before = lasting(site.vmqd)
    for round in (1, 2):
        kill_and_launch(site.vmqd)
        site.inside.up("host0")
        site.vmqd.wait_connected("web")
        site.guests["db"].kill()
        site.boot("db", paths["db"])
        site.follow("web")
        for name in paths:
            deliver(site, name, round * FRAMES)
    assert lasting(site.vmqd) == before


# Damage


def lines_of(content):
    return content.splitlines(keepends=True)


def without_line(pattern):
    def cut(content):
        return b"".join(line for line in lines_of(content) if not re.search(pattern, line))
    return cut


def with_line(number, line):
    def put(content):
        lines = lines_of(content)
        return b"".join([*lines[:number - 1], line + b"\n", *lines[number - 1:]])
    return put


DAMAGES = [
    pytest.param(lambda content: content[:len(content) // 2], None, id="truncated in a line"),
    pytest.param(lambda content: b"".join(lines_of(content)[:4]), 4, id="truncated after a line"),
    pytest.param(without_line(b"^# whole"), None, id="end missing"),
    pytest.param(lambda content: content[:-1], None, id="last byte missing"),
    pytest.param(lambda content: content + b"# more\n", None, id="more after the end"),
    pytest.param(lambda content: b"", None, id="empty"),
    pytest.param(lambda content: b"\0" * len(content), None, id="zeros"),
    pytest.param(lambda content: content.replace(b"buffers 16", b"buffers \x00\xff"), 3, id="bytes that are no text"),
    pytest.param(with_line(3, b"nonsense"), 3, id="garbage line"),
    pytest.param(with_line(5, b"queue allocate eth0 id 1"), 5, id="line twice"),
    pytest.param(with_line(3, b"queue allocate eth9"), 3, id="adapter that is not there"),
    pytest.param(without_line(b"queue allocate eth0 id 1 "), 3, id="line missing"),
    pytest.param(lambda content: content.replace(b"vlan 10", b"vlan 0", 1), 4, id="value out of range"),
]


@pytest.mark.parametrize("damage, line", DAMAGES)
def test_a_damaged_state_is_put_aside(lab, damage, line):
    vmqd = lab.vmqd(lab.netns("vmqd"), f"adapter add safe0 port {QUIET_PORT.format(5)}\n")
    fresh = config(vmqd)
    vmqd.rpc.call("adapter.del", name="safe0")
    vmqd.rpc.call("adapter.add", name="eth0", port=QUIET_PORT.format(0))
    for queue in (1, 2):
        vmqd.rpc.call("queue.allocate", adapter="eth0", buffers=16)
        vmqd.rpc.call("filter.set", adapter="eth0", queue=queue, mac=mac(queue), vlan=10)
    vmqd.rpc.call("queue.complete", adapter="eth0", ids=[1, 2])
    vmqd.kill()
    with open(vmqd.state_path, "rb") as file:
        damaged = damage(file.read())
    with open(vmqd.state_path, "wb") as file:
        file.write(damaged)
    said_before = len(vmqd.log())
    launch(vmqd)
    assert config(vmqd) == fresh
    assert lines_on_disk(vmqd) == fresh
    with open(vmqd.state_path + ".damaged", "rb") as file:
        assert file.read() == damaged
    said = [one for one in vmqd.log()[said_before:].splitlines() if one.startswith("vmqd: ")]
    number = line if line is not None else r"\d+"
    assert len(said) == 1 and re.match(rf"vmqd: {re.escape(vmqd.state_path)}:{number}: \S", said[0]), said
    assert ".damaged" in said[0]


def test_a_machine_that_is_not_ready_is_no_damage(lab, quiet):
    """The folder of a VM's socket is not there yet: vmqd says so and ends, and starts again once it is there."""
    folder = lab.path("later")
    os.mkdir(folder)
    quiet.rpc.call("vm.add", name="web", adapter="eth0", socket=f"{folder}/web.sock", mac=mac(1), vlan=10)
    before = lasting(quiet)
    quiet.kill()
    os.unlink(f"{folder}/web.sock")
    os.rmdir(folder)
    said_before = len(quiet.log())
    launch(quiet, wait=False)
    assert quiet.wait() == 1
    said = quiet.log()[said_before:]
    assert re.search(rf"^vmqd: {re.escape(quiet.state_path)}:\d+: .*{folder}", said, re.M), said
    os.mkdir(folder)
    launch(quiet)
    assert lasting(quiet) == before


@pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="needs processors 0 and 1")
def test_other_processors_are_no_damage(quiet):
    """What was given no processors has those of the new start; what was given one that is gone keeps vmqd from starting."""
    words = list(quiet.child.args)

    def launch_on(cpus, wait=True):
        quiet.kill()
        quiet.child.args = [*words, "--cpus", cpus]
        launch(quiet, wait)

    launch_on("1")
    quiet.rpc.call("queue.allocate", adapter="eth0")
    assert quiet.rpc.call("adapter.show")[0]["cpus"] == [1]
    before = config(quiet)
    launch_on("0")
    assert config(quiet) == before and quiet.rpc.call("adapter.show")[0]["cpus"] == [0]
    quiet.rpc.call("queue.set", adapter="eth0", id=1, affinity="0")
    launch_on("1", wait=False)
    assert quiet.wait() == 1 and "processor 0 is not one of" in quiet.log(), quiet.log_tail()
    assert not os.path.exists(f"{quiet.state_path}.damaged")


def test_a_half_written_new_file_is_no_matter(quiet):
    """vmqd was killed while it wrote the next state beside the old one."""
    quiet.rpc.call("queue.allocate", adapter="eth0")
    before = lasting(quiet)
    quiet.kill()
    with open(quiet.state_path + ".new", "w") as file:
        file.write("adapter add eth0 port net_nu")
    launch(quiet)
    assert lasting(quiet) == before
    quiet.rpc.call("queue.allocate", adapter="eth0")
    assert lines_on_disk(quiet) == config(quiet)


# Churn


def facts(lines):
    """The lines of one adapter's queues as a set of what they say."""
    said = set()
    for line in lines:
        words = shlex.split(line)
        if words[:3] == ["queue", "allocate", "eth0"]:
            said.add(("queue", int(words[words.index("id") + 1]),
                      words[words.index("name") + 1] if "name" in words else ""))
        elif words[:3] == ["queue", "complete", "eth0"]:
            said.add(("complete", int(words[3])))
        elif words[:3] == ["filter", "set", "eth0"]:
            said.add(("filter", int(words[words.index("id") + 1]), int(words[3]), words[words.index("mac") + 1]))
    return said


class Ledger:
    """Draws changes that are valid one after the other, with ids of its own choice, and knows what each leads to."""

    QUEUE_IDS, QUEUES, FILTER_IDS, FILTERS = 64, 40, 2000, 500

    def __init__(self, seed, first_queue=1, first_filter=1):
        self.random = random.Random(seed)
        self.queues, self.filters = {}, {}  # id: [name, complete]; id: [queue, mac]
        self.first_queue, self.next_queue = first_queue, first_queue
        self.first_filter, self.next_filter, self.next_mac = first_filter, first_filter, 1 << 20
        self.freed = set()

    def facts(self):
        said = {("queue", id, name) for id, (name, _) in self.queues.items()}
        said |= {("complete", id) for id, (_, complete) in self.queues.items() if complete}
        return said | {("filter", id, queue, address) for id, (queue, address) in self.filters.items()}

    def draw(self, count, steps=None):
        """`count` changes; the facts after each are added to `steps`. An id that is freed is not used again here."""
        self.freed.clear()
        drawn = []
        while len(drawn) < count:
            one = self.random.choice([self.allocate, self.set_filter, self.set_filter, self.clear, self.move,
                                      self.finish, self.rename,
                                      self.free])()
            if one:
                drawn.append(one)
                if steps is not None:
                    steps.append(self.facts())
        return drawn

    def allocate(self):
        if len(self.queues) >= self.QUEUES:
            return None
        while self.next_queue in self.queues or self.next_queue in self.freed:
            self.next_queue = self.next_queue + 1 if self.next_queue < self.QUEUE_IDS else self.first_queue
        self.queues[self.next_queue] = [f"n{self.random.randrange(1000)}", False]
        return "queue.allocate", dict(adapter="eth0", id=self.next_queue, name=self.queues[self.next_queue][0],
                                      buffers=8)

    def set_filter(self):
        if not self.queues or len(self.filters) >= self.FILTERS:
            return None
        while self.next_filter in self.filters:
            self.next_filter = self.next_filter + 1 if self.next_filter < self.FILTER_IDS else self.first_filter
        self.next_mac += 1
        queue = self.random.choice(list(self.queues))
        self.filters[self.next_filter] = [queue, mac(self.next_mac)]
        return "filter.set", dict(adapter="eth0", queue=queue, mac=mac(self.next_mac), vlan=10, id=self.next_filter)

    def clear(self):
        if not self.filters:
            return None
        id = self.random.choice(list(self.filters))
        del self.filters[id]
        return "filter.clear", dict(adapter="eth0", filter=id)

    def move(self):
        id = self.random.choice(list(self.filters)) if self.filters else None
        others = [queue for queue in self.queues if id is not None and queue != self.filters[id][0]]
        if not others:
            return None
        self.filters[id][0] = self.random.choice(others)
        return "filter.move", dict(adapter="eth0", filter=id, queue=self.filters[id][0])

    def finish(self):
        open_ones = [id for id, (_, complete) in self.queues.items() if not complete]
        if not open_ones:
            return None
        id = self.random.choice(open_ones)
        self.queues[id][1] = True
        return "queue.complete", dict(adapter="eth0", ids=[id])

    def rename(self):
        if not self.queues:
            return None
        id = self.random.choice(list(self.queues))
        self.queues[id][0] = f"n{self.random.randrange(1000)}"
        return "queue.set", dict(adapter="eth0", id=id, name=self.queues[id][0])

    def free(self):
        used = {queue for queue, _ in self.filters.values()}
        empty = [id for id in self.queues if id not in used]
        if not empty:
            return None
        id = self.random.choice(empty)
        del self.queues[id]
        self.freed.add(id)
        return "queue.free", dict(adapter="eth0", id=id)


def churn_until_killed(vmqd, ledger):
    """Changes, some at a time, until the connection ends: what may stand then, and how many changes were answered."""
    rpc, answered = vmqd.rpc, 0
    while True:
        steps = [ledger.facts()]
        changes = ledger.draw(ledger.random.choice((1, 1, 2, 20)), steps)
        done = 0
        try:
            numbers = send_all(rpc, changes)
            for _ in numbers:
                line = rpc.line()
                if line is None:
                    raise ConnectionError
                message = json.loads(line)
                assert "result" in message, (changes, message)
                done = max(done, numbers.index(message["id"]) + 1)
                answered += 1
        except ConnectionError:
            return steps[done:], answered


def test_killed_in_the_middle_of_churn(lab):
    """After each restart the state is that after the last answered change, or a change that was on its way."""
    site = Site(lab, host=False, adapter=("queues", 64, "filters", 2000))
    site.add_vm("web", mode="client")
    vmqd, random_life = site.vmqd, random.Random(1)
    ledger, answered, others = Ledger(2, first_queue=2, first_filter=2), 0, facts(config(vmqd))
    for kill in range(KILLS):
        killer = threading.Timer(random_life.uniform(0, LONGEST_LIFE_S), vmqd.child.kill)
        killer.start()
        allowed, count = churn_until_killed(vmqd, ledger)
        killer.join()
        answered += count
        vmqd.child.wait(vmq.LIMIT_S)
        launch(vmqd)
        stands = facts(config(vmqd)) - others
        assert stands in allowed, f"kill {kill}: {[stands ^ one for one in allowed]}"
        take_over(ledger, stands)
        if kill % TRAFFIC_EVERY == 0:
            vmqd.wait_connected("web")
            site.follow("web")
            deliver(site, "web", kill * FRAMES)
    assert answered > KILLS
    print(f"{KILLS} kills, {answered} changes answered")
    assert others <= facts(config(vmqd)) and "damaged" not in vmqd.log()


def take_over(ledger, stands):
    """The ledger goes on from what stands."""
    ledger.queues = {id: [name, ("complete", id) in stands] for kind, id,
                     *rest in stands if kind == "queue" for name in rest}
    ledger.filters = {fact[1]: [fact[2], fact[3]] for fact in stands if fact[0] == "filter"}


def test_events_start_anew_after_a_restart(quiet):
    kill_and_launch(quiet)
    follower = Follower(quiet)
    quiet.rpc.call("queue.allocate", adapter="eth0")
    assert follower.until(type="queue-state")["queue"] == 1
    follower.delete()


def test_owners_are_owners_after_a_restart(lab, quiet):
    quiet.rpc.call("queue.allocate", adapter="eth0", owner=ALICE, **{"owner-name": "red"})
    kill_and_launch(quiet)
    open_to_all(lab, quiet)
    alice = rpc_as(lab, quiet, ALICE)
    assert errno_of(alice, "queue.complete", adapter="eth0", ids=[1])[0] == "EPERM"
    assert "result" in call_whole(alice, "queue.complete", caller="red", adapter="eth0", ids=[1])
