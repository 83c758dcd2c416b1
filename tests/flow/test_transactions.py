# SPDX-License-Identifier: BSD-3-Clause
"""All or nothing: `vm add` at every point where it can fail, `-f` up to the first refused line, `--atomic`."""

import json
import os
import random
import socket
import threading

import pytest
import vmq
from vmq_control import IN_MEMORY, QUIET_PORT, Follower, call_whole, config, mac, model, results
from vmq_site import Site, to

LAB_FOLDER = IN_MEMORY
QUEUES, FILTERS = 16, 48
GENERATED = 600
FRAMES_AROUND = 50


class Hall:
    """
    A quiet adapter beside one that carries traffic: VM `web` on eth0 with a guest, whose frames go on all the time.
    On q0: queue 1 Running with filters 1 and 2, 2 Set with filter 3, 3 Allocated, 4 Paused, VM `old` on queue 1.
    """

    def __init__(self, lab):
        self.lab = lab
        self.site = Site(lab, host=False)
        self.vmqd = self.site.vmqd
        self.site.add_vm("web")
        call = self.vmqd.rpc.call
        call("adapter.add", name="q0", port=QUIET_PORT.format(0), queues=QUEUES, filters=FILTERS)
        for _ in range(4):
            call("queue.allocate", adapter="q0", buffers=16)
        for queue, address in ((1, 1), (1, 2), (2, 3)):
            call("filter.set", adapter="q0", queue=queue, mac=mac(address), vlan=10)
        call("queue.complete", adapter="q0", ids=[1, 4])
        self.old_socket = lab.path("old.sock")
        call("vm.attach", name="old", adapter="q0", queue=1, socket=self.old_socket)
        self.sent = 0

    def clean_up(self):
        """What a test that failed left on q0, so that it fails alone."""
        rpc = self.vmqd.rpc
        for one in rpc.call("vm.show"):
            if one["name"] not in ("web", "old"):
                rpc.call("vm.del", name=one["name"])
        for one in rpc.call("queue.show", adapter="q0"):
            for filter in one["filters"]:
                if filter["id"] > 3:
                    rpc.call("filter.clear", adapter="q0", filter=filter["id"])
            if 4 < one["id"] <= QUEUES:
                rpc.call("queue.free", adapter="q0", id=one["id"])

    def traffic_goes_on(self, follower):
        """The untouched VM gets every frame, and was connected all the time."""
        frames = [to("web", self.sent + i) for i in range(FRAMES_AROUND)]
        self.sent += FRAMES_AROUND
        self.site.play(frames)
        got = self.site.guests["web"].wait(self.sent)
        assert not vmq.difference(got[-FRAMES_AROUND:], [vmq.untagged(content) for content in frames])
        assert self.vmqd.vm("web")["connected"]
        self.vmqd.rpc.call("stats.clear")
        assert not [event for event in follower.seen if event.get("vm") == "web"]


@pytest.fixture(scope="module")
def hall():
    with vmq.Lab(IN_MEMORY) as lab:
        yield Hall(lab)


@pytest.fixture
def untouched(hall):
    """Whatever the test does, the model is the same after it."""
    before = model_without_counters(hall.vmqd)
    yield hall
    left = difference(before["config.show"]["commands"], config(hall.vmqd))
    hall.clean_up()
    assert not left
    assert model_without_counters(hall.vmqd) == before


def model_without_counters(vmqd):
    shown = model(vmqd)
    for one in shown["queue.show"] + shown["adapter.show"]:
        for counter in ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "drops", "buffers_in_use", "missed"):
            one.pop(counter, None)
    return shown


# vm add


def vm_add(hall, **change):
    request = dict(name="new", adapter="q0", socket=hall.lab.path("new.sock"), mac=[mac(50), mac(51), mac(52)], vlan=10)
    request.update(change)
    return call_whole(hall.vmqd.rpc, "vm.add", **{key: value for key, value in request.items() if value is not None})


FAILURES = [
    pytest.param("EEXIST", dict(mac=[mac(50), mac(51), mac(1)]), id="last filter taken"),
    pytest.param("EEXIST", dict(mac=[mac(1), mac(51)]), id="first filter taken"),
    pytest.param("EEXIST", dict(mac=[mac(50), mac(51), mac(50)]), id="an address twice"),
    pytest.param("EINVAL", dict(mac=[mac(50), "01:00:5e:00:00:01"]), id="group address"),
    pytest.param("EINVAL", dict(mac=[mac(50), "nonsense"]), id="no address"),
    pytest.param("EINVAL", dict(mac=[]), id="no addresses"),
    pytest.param("EINVAL", dict(vlan=4095), id="vlan"),
    pytest.param("EEXIST", dict(name="old"), id="name taken"),
    pytest.param("EEXIST", dict(name="web"), id="name taken on another adapter"),
    pytest.param("EINVAL", dict(name="a b"), id="name that is none"),
    pytest.param("EIO", dict(socket="/nowhere/at/all/x.sock"), id="socket in no folder"),
    pytest.param("EINVAL", dict(socket="relative.sock"), id="relative socket"),
    pytest.param("EINVAL", dict(socket="/" + "x" * 120), id="socket too long"),
    pytest.param("EINVAL", dict(affinity="99"), id="affinity"),
    pytest.param("EINVAL", dict(buffers=0), id="no buffers"),
    pytest.param("EINVAL", dict(buffers=1 << 20), id="absurd buffers"),
    pytest.param("EOPNOTSUPP", dict(lookahead=128), id="lookahead"),
    pytest.param("EINVAL", dict(mode="both"), id="mode"),
    pytest.param("ENOENT", dict(adapter="nobody"), id="adapter"),
    pytest.param("ENOSPC", dict(mac=[mac(100 + i) for i in range(FILTERS - 2)]),
                 id="more filters than there is room for"),
]


@pytest.mark.parametrize("errno, change", FAILURES)
def test_vm_add_that_fails_leaves_nothing(untouched, errno, change):
    answer = vm_add(untouched, **change)
    assert answer["error"]["data"]["errno"] == errno and answer["error"]["message"], answer
    assert not os.path.exists(untouched.lab.path("new.sock"))


@pytest.mark.parametrize("kind", ["another VM's", "a stranger's", "a file", "a folder", "an unwritable folder"])
def test_vm_add_with_a_socket_that_cannot_be(untouched, kind):
    path = untouched.lab.path("taken.sock")
    stranger = socket.socket(socket.AF_UNIX)
    if kind == "another VM's":
        path = untouched.old_socket
    elif kind == "a stranger's":
        stranger.bind(path)
        stranger.listen()
    elif kind == "a file":
        open(path, "w").close()
    elif kind == "a folder":
        os.mkdir(path)
    else:
        path = "/proc/x.sock"
    try:
        answer = vm_add(untouched, socket=path)
        assert path in answer["error"]["message"], answer
        assert os.path.exists(path) or path.startswith("/proc")
    finally:
        stranger.close()
        if kind == "a folder":
            os.rmdir(path)
        elif kind in ("a file", "a stranger's"):
            os.unlink(path)


def test_vm_add_without_a_free_id(untouched):
    rpc = untouched.vmqd.rpc
    extra = [rpc.call("queue.allocate", adapter="q0")["id"] for _ in range(QUEUES - 4)]
    before = model_without_counters(untouched.vmqd)
    answer = vm_add(untouched)
    assert answer["error"]["data"]["errno"] == "ENOSPC"
    assert model_without_counters(untouched.vmqd) == before
    results(rpc, [("queue.free", dict(adapter="q0", id=id)) for id in extra])


def test_vm_add_without_packet_memory(untouched):
    """The queue's buffers are the last thing that can be short, after its id and filters."""
    rpc = untouched.vmqd.rpc
    rpc.call("adapter.add", name="small0", port=QUIET_PORT.format(7), queues=1, filters=8)
    rpc.call("adapter.del", name="small0")
    hogs = []
    while True:
        id = rpc.call("queue.allocate", adapter="q0", buffers=65536)["id"]
        hogs.append(id)
        if "error" in call_whole(rpc, "queue.complete", adapter="q0", ids=[id]):
            break
    before = model_without_counters(untouched.vmqd)
    answer = vm_add(untouched)
    assert answer["error"]["data"]["errno"] == "ENOMEM" and "memory" in answer["error"]["message"]
    assert model_without_counters(untouched.vmqd) == before and not os.path.exists(untouched.lab.path("new.sock"))
    results(rpc, [("queue.free", dict(adapter="q0", id=id)) for id in hogs])


def test_vm_add_and_vm_del_are_inverse(untouched):
    for _ in range(20):
        assert "result" in vm_add(untouched)
        untouched.vmqd.rpc.call("vm.del", name="new")
        assert not os.path.exists(untouched.lab.path("new.sock"))


# Files


def file_of(lab, lines):
    path = lab.path("commands")
    with open(path, "w") as file:
        file.write("".join(line + "\n" for line in lines))
    return path


GOOD = ["queue allocate q0 id 10 name \"a b\"", "# a comment", "", f"filter set q0 10 mac {mac(60)} vlan 10",
        "queue complete q0 10"]
BAD = [("queue free q0 10", 1), ("filter clear q0 40", 1), ("nonsense here", 2), ("queue allocate q0 buffers 0", 1),
       (f"filter set q0 3 mac {mac(1)} vlan 10", 1), ('queue allocate q0 name "open', 2),
       ("queue allocate q0 colour 1", 2)]


@pytest.mark.parametrize("bad, status", BAD)
def test_a_file_stops_at_the_first_refused_line(untouched, bad, status):
    path = file_of(untouched.lab, [*GOOD, bad, "queue allocate q0 id 11"])
    done = untouched.vmqd.vmqctl("-f", path)
    assert done.returncode == status and f"{path}:{len(GOOD) + 1}:" in done.stderr, done
    shown = untouched.vmqd.rpc.call("queue.show", adapter="q0")
    assert [one["id"] for one in shown if one["id"] > 9] == [10, 65535]
    untouched.clean_up()


@pytest.mark.parametrize("bad, status", BAD)
def test_an_atomic_file_undoes_what_it_did(untouched, bad, status):
    path = file_of(untouched.lab, [*GOOD, bad, "queue allocate q0 id 11"])
    done = untouched.vmqd.vmqctl("-f", path, "--atomic")
    assert done.returncode == status and f"{path}:{len(GOOD) + 1}:" in done.stderr, done
    done = untouched.vmqd.vmqctl("-j", "-f", path, "--atomic")
    error = json.loads(done.stdout or done.stderr)["error"]
    assert f"{path}:{len(GOOD) + 1}:" in error["message"], error


def test_an_atomic_file_that_is_good_is_done(untouched):
    done = untouched.vmqd.vmqctl("-f", file_of(untouched.lab, GOOD), "--atomic")
    assert done.returncode == 0, done
    assert untouched.vmqd.rpc.call("queue.show", adapter="q0", id=10)[0]["state"] == "Running"
    untouched.clean_up()
    assert "queue 10" in done.stdout, "the answers of a transaction are not shown"


def test_a_batch_that_is_refused_in_part_undoes_an_atomic_file(untouched):
    """Without --atomic the good part of a batch stands; with it, all or nothing is all or nothing."""
    lines = ["queue allocate q0", "queue complete q0 5,9", "filter set q0 3 mac 52:54:00:00:00:77 vlan 10"]
    path = file_of(untouched.lab, lines)
    before = config(untouched.vmqd)
    done = untouched.vmqd.vmqctl("-f", path, "--atomic")
    assert done.returncode == 1 and f"{path}:2:" in done.stderr and "no queue 9" in done.stderr, done
    assert config(untouched.vmqd) == before


def test_parameters_are_set_back_without_a_guest_noticing(untouched):
    """A queue whose parameters were changed by a transaction that failed is not made anew."""
    site, vmqd = untouched.site, untouched.vmqd
    queue = vmqd.vm_queue("web")
    before, shown = config(vmqd), vmqd.rpc.call("queue.show", adapter="eth0", id=queue)[0]
    change = dict(adapter="eth0", id=queue, name="other", buffers=64, storm=7,
                  **{"coalesce-usecs": 7, "coalesce-frames": 3, "rate-rx": 10 ** 9, "rate-tx": 10 ** 6})
    with pytest.raises(vmq.Refused):
        vmqd.rpc.call("transaction", commands=[{"method": "queue.set", "params": change},
                                               {"method": "queue.free", "params": {"adapter": "eth0", "id": 0}}])
    assert config(vmqd) == before
    after = vmqd.rpc.call("queue.show", adapter="eth0", id=queue)[0]
    assert after == shown and vmqd.vm("web")["connected"]


def test_a_large_model_is_undone_at_once(lab):
    """Thousands of lines, and a transaction that is refused: it is undone in no more than a look at each."""
    vmqd = lab.vmqd(lab.netns("vmqd"), f"adapter add q0 port {QUIET_PORT.format(0)} queues 1000 filters 8000\n",
                    memory_mb=512)
    commands = [{"method": "queue.allocate", "params": {"adapter": "q0", "buffers": 8}} for _ in range(1000)]
    commands += [{"method": "filter.set", "params": {"adapter": "q0", "queue": 1 + i % 1000, "mac": mac(i), "vlan": 10}}
                 for i in range(5000)]
    vmqd.rpc.call("transaction", commands=commands)
    before = config(vmqd)
    refused = {"method": "queue.free", "params": {"adapter": "q0", "id": 0}}
    for few in ([], [{"method": "queue.set", "params": {"adapter": "q0", "id": 500, "name": "x"}}],
                [{"method": "filter.clear", "params": {"adapter": "q0", "filter": 4000}}],
                [{"method": "queue.complete", "params": {"adapter": "q0", "ids": [700]}}]):
        with pytest.raises(vmq.Refused):
            vmqd.rpc.call("transaction", commands=[*few, refused])
        assert sorted(config(vmqd)) == sorted(before)  # a filter that was cleared is set again, behind the others


# Generated transactions

REFUSED = [("queue.free", dict(adapter="q0", id=0)), ("filter.clear", dict(adapter="q0", filter=47)),
           ("queue.allocate", dict(adapter="q0", buffers=1)), ("vm.del", dict(name="nobody")),
           ("adapter.add", dict(name="q0", port=QUIET_PORT.format(5))),
           ("vm.add", dict(name="bad", adapter="q0", socket="/nowhere/x.sock", mac=[mac(90)], vlan=10)),
           ("host.add", dict(adapter="nobody", tap="tap9"))]


class Composer:
    """Draws commands that are valid one after the other, from a sketch of what stands on q0."""

    def __init__(self, lab, seed):
        self.random, self.lab = random.Random(seed), lab
        self.queues = {1: [1, 2], 2: [3], 3: [], 4: []}
        self.complete = {1, 4}
        self.vms = {"old": 1}
        self.made, self.touched = 0, set()

    def owner_of(self, filter_id):
        return next(queue for queue, filters in self.queues.items() if filter_id in filters)

    def lowest_filter(self):
        used = {id for filters in self.queues.values() for id in filters}
        return next(id for id in range(1, FILTERS) if id not in used)

    def filters(self):
        return [id for filters in self.queues.values() for id in filters]

    def one(self):
        return self.random.choice([self.allocate, self.allocate, self.set_filter, self.set_filter, self.clear,
                                   self.move, self.finish,
                                   self.free, self.change, self.attach, self.detach, self.add, self.adapter])()

    def allocate(self):
        id = next(id for id in range(1, QUEUES + 1) if id not in self.queues)
        self.queues[id] = []
        return "queue.allocate", dict(adapter="q0", name=self.random.choice(("", "a b", 'quo"te', "back\\slash",
                                                                             "ünï")))

    def set_filter(self):
        queue, id = self.random.choice(list(self.queues)), self.lowest_filter()
        self.queues[queue].append(id)
        return "filter.set", dict(adapter="q0", queue=queue, mac=mac(self.random.randrange(1000, 1 << 30)),
                                  vlan=self.random.choice((10, 20, "untagged", "any")))

    def clear(self):
        if not self.filters():
            return None
        id = self.random.choice(self.filters())
        self.queues[self.owner_of(id)].remove(id)
        return "filter.clear", dict(adapter="q0", filter=id)

    def move(self):
        if not self.filters():
            return None
        id = self.random.choice(self.filters())
        to = [queue for queue in self.queues if queue != self.owner_of(id)]
        if not to:
            return None
        queue = self.random.choice(to)
        self.queues[self.owner_of(id)].remove(id)
        self.queues[queue].append(id)
        return "filter.move", dict(adapter="q0", filter=id, queue=queue)

    def finish(self):
        open_ones = [queue for queue in self.queues if queue not in self.complete]
        if not open_ones:
            return None
        self.complete.update(open_ones)
        return "queue.complete", dict(adapter="q0", ids=open_ones)

    def free(self):
        empty = [queue for queue, filters in self.queues.items()
                 if (not filters) and queue not in self.vms.values()]
        if not empty:
            return None
        queue = self.random.choice(empty)
        del self.queues[queue]
        self.complete.discard(queue)
        return "queue.free", dict(adapter="q0", id=queue)

    def change(self):
        return "queue.set", dict(adapter="q0", id=self.random.choice(list(self.queues)),
                                 name=f"n{self.random.random()}")

    def attach(self):
        alone = [queue for queue in self.queues if queue not in self.vms.values()]
        if not alone or len(self.vms) > 3:
            return None
        name = self.new_name()
        self.vms[name] = self.random.choice(alone)
        return "vm.attach", dict(name=name, adapter="q0", queue=self.vms[name], socket=self.lab.path(name + ".sock"))

    def detach(self):
        if not self.vms:
            return None
        name = self.random.choice(list(self.vms))
        del self.vms[name]
        return "vm.detach", dict(name=name)

    def add(self):
        if len(self.queues) == QUEUES:
            return None
        name = self.new_name()
        queue, id = next(id for id in range(1, QUEUES + 1) if id not in self.queues), self.lowest_filter()
        self.queues[queue] = [id]
        self.complete.add(queue)
        self.vms[name] = queue
        return "vm.add", dict(name=name, adapter="q0", socket=self.lab.path(name + ".sock"), vlan=10,
                              mac=[mac(self.random.randrange(1000, 1 << 30))])

    def new_name(self):
        """Each VM of a transaction has a socket of its own."""
        self.made += 1
        return f"vm{self.made}"

    def adapter(self):
        if "extra" in self.touched:
            return None
        self.touched.add("extra")
        return "adapter.add", dict(name="extra", port=QUIET_PORT.format(6), queues=2, filters=2)

    def commands(self, count):
        drawn = []
        while len(drawn) < count:
            one = self.one()
            if one:
                drawn.append(one)
        return drawn


def as_transaction(commands):
    return dict(commands=[{"method": method, "params": params} for method, params in commands])


def test_generated_transactions_are_all_or_nothing(hall):
    """Each ends with a refused command and must leave no trace; the VM beside them gets its frames all the time."""
    rpc, before = hall.vmqd.rpc, config(hall.vmqd)
    follower = Follower(hall.vmqd)
    for seed in range(GENERATED):
        composer = Composer(hall.lab, seed)
        commands = composer.commands(composer.random.randrange(1, 20))
        bad = composer.random.choice(REFUSED)
        answer = call_whole(rpc, "transaction", **as_transaction([*commands, bad]))
        assert "error" in answer and answer["error"]["data"]["index"] == len(commands), (seed, commands, bad, answer)
        assert sorted(config(hall.vmqd)) == sorted(before), (seed, commands, bad, difference(before, config(hall.vmqd)))
        if seed % 100 == 0:
            hall.traffic_goes_on(follower)
    until = rpc.call("events")["seq"]
    while follower.first + follower.covered < until:
        follower.next()
    hall.traffic_goes_on(follower)
    follower.delete()


def difference(before, after):
    return [f"- {line}" for line in before if line not in after] + [f"+ {line}" for line in after if line not in before]


def test_generated_good_transactions_are_done(lab):
    """The same commands without a bad end: what stands is what the commands one by one would have made."""
    vmqd = lab.vmqd(lab.netns("vmqd"))
    for seed in range(30):
        shown = []
        for together in (True, False):
            for one in vmqd.rpc.call("adapter.show"):
                vmqd.rpc.call("adapter.del", name=one["name"])
            results(vmqd.rpc, [("adapter.add", dict(name="q0", port=QUIET_PORT.format(0), queues=QUEUES,
                                                    filters=FILTERS))])
            results(vmqd.rpc, [("queue.allocate", dict(adapter="q0"))] * 4)
            results(vmqd.rpc, [("filter.set", dict(adapter="q0", queue=queue, mac=mac(i), vlan=10)) for i,
                               queue in ((1, 1), (2, 1), (3, 2))])
            vmqd.rpc.call("queue.complete", adapter="q0", ids=[1, 4])
            vmqd.rpc.call("vm.attach", name="old", adapter="q0", queue=1, socket=lab.path("old.sock"))
            commands = Composer(lab, seed).commands(10)
            if together:
                answer = vmqd.rpc.call("transaction", **as_transaction(commands))
                assert answer is not None
            else:
                for one in commands:
                    results(vmqd.rpc, [one])
            shown.append(config(vmqd))
        assert shown[0] == shown[1], seed


def test_a_transaction_answers_for_each_command(untouched):
    rpc = untouched.vmqd.rpc
    answer = rpc.call("transaction", **as_transaction([("queue.allocate", dict(adapter="q0")),
                                                       ("queue.set", dict(adapter="q0", id=5, name="x")),
                                                       ("filter.set", dict(adapter="q0", queue=5, mac=mac(70),
                                                                           vlan=10))]))
    untouched.clean_up()
    assert isinstance(answer, list) and answer[0] == {"id": 5} and answer[2] == {"id": 4}, answer


def test_transactions_while_others_change(untouched):
    """Others see all of it or nothing: never the first half of a transaction that fails."""
    vmqd, seen, ended = untouched.vmqd, [], threading.Event()

    def watch():
        rpc = vmq.Rpc(vmqd.socket_path)
        while not ended.is_set():
            seen.append(len(rpc.call("queue.show", adapter="q0")))
        rpc.delete()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _ in range(100):
            call_whole(vmqd.rpc, "transaction", **as_transaction([("queue.allocate",
                                                                   dict(adapter="q0"))] * 5 + [REFUSED[0]]))
    finally:
        ended.set()
        thread.join()
    assert seen and set(seen) == {6}


@pytest.mark.parametrize("how", ["pipelined", "transaction"])
def test_a_vm_changes_its_queue_at_once(untouched, how):
    """Detached and attached again on the same socket, with no pause between the two requests."""
    rpc = untouched.vmqd.rpc
    other = rpc.call("queue.allocate", adapter="q0")["id"]
    move = [("vm.detach", dict(name="old")), ("vm.attach", dict(name="old", adapter="q0", queue=other,
                                                                socket=untouched.old_socket))]
    try:
        if how == "pipelined":
            results(rpc, move)
        else:
            rpc.call("transaction", **as_transaction(move))
        assert rpc.call("vm.show", name="old")[0]["queue"] == other
    finally:
        call_whole(rpc, "vm.detach", name="old")
        rpc.call("vm.attach", name="old", adapter="q0", queue=1, socket=untouched.old_socket)
        rpc.call("queue.free", adapter="q0", id=other)
