# SPDX-License-Identifier: BSD-3-Clause
"""
Filters and queues by the thousand while frames flow. Each frame carries its destination and a sequence number, so
that for every single one it is known where it may arrive: before, during and after each change.
"""

import collections
import struct
import time

import pcap
import vmq
from vmq_control import IN_MEMORY, answers, config, mac, results, send_all
from vmq_site import MACS, Site

LAB_FOLDER = IN_MEMORY
ROUNDS = 100
SETS = 110         # filters set in a round; as many are cleared, and a half of them moved
QUEUES = 11        # queues allocated, completed and freed in a round
FRAMES = 500       # sent in a round while the changes are made, and as many after they are answered
SPARE = 40         # first id of the queues that come and go; the guests have lower ones
VLAN = 10
HOST, NOWHERE = "host", "dropped"
BURST = 64         # frames that a worker takes from a source at once
SEQUENCE = struct.Struct("!I")

FULL_RATE_MOVES = 3000
FULL_RATE_CLEARS = 500


class Scene(Site):
    """
    Three guests, each with one filter that stays. What comes and goes: filters on guests' queues and on queues that
    no VM has (their frames are counted as vm_down).
    """

    def __init__(self, lab):
        super().__init__(lab, adapter=("queues", 100, "filters", 4000), memory_mb=512)
        self.rpc = self.vmqd.rpc
        for name in MACS:
            self.add_vm(name, vlan=VLAN)
        self.queue_of = {name: self.vmqd.vm_queue(name) for name in MACS}
        self.name_of = {queue: name for name, queue in self.queue_of.items()}
        self.sent = 0
        self.may = []         # by sequence number: where the frame may arrive
        self.expected = collections.Counter()
        self.count = collections.Counter()
        self.next_mac = 1 << 16

    def place(self, queue):
        return self.name_of.get(queue, NOWHERE)

    def new_mac(self):
        self.next_mac += 1
        return mac(self.next_mac)

    def send(self, address, *places):
        self.wire.send(vmq.frame(address, tags=vmq.tag(VLAN), seq=self.sent))
        self.may.append(places)
        self.sent += 1

    def barrier(self):
        """Everything sent so far has been decided on, and the guests have taken theirs."""
        def taken():
            stats = self.vmqd.stats()
            return stats["entered"]["wire"] >= self.sent and self.caught_up(stats)

        vmq.wait_until(lambda: self.vmqd.check() and taken(), f"{self.sent} frames to be taken")


class Round:
    """Changes of one round. `moves`: {mac: (places before, places after)} while it is not known which holds."""

    def __init__(self, scene, number, standing):
        self.scene, self.number, self.standing = scene, number, standing
        self.requests, self.meanwhile, self.after = [], {}, {}

    def add(self, kind, method, **params):
        self.requests.append((method, dict(adapter="eth0", **params)))
        self.scene.count[kind] += 1

    def change(self, address, before, after):
        self.meanwhile[address] = {*self.meanwhile.get(address, {before}), after}
        self.after[address] = after

    def new_queues(self):
        """Half are completed before they get their filter, half after."""
        queues = []
        for i in range(QUEUES):
            id = SPARE + (self.number % 4) * QUEUES + i
            queues.append(id)
            self.add("allocated", "queue.allocate", id=id, buffers=8)
            if i % 2:
                self.add("completed", "queue.complete", ids=[id])
        return queues

    def set_filters(self, queues):
        """On guests' queues and on the new ones: of these, those not complete yet do not match."""
        scene, targets = self.scene, [*self.scene.name_of, *queues]
        for i in range(SETS):
            queue, id, address = targets[i % len(targets)], 100 + (self.number % 4) * SETS + i, scene.new_mac()
            self.add("set", "filter.set", queue=queue, mac=address, vlan=VLAN, id=id)
            self.change(address, HOST, scene.place(queue))
            self.standing[id] = (address, queue)

    def complete(self, queues):
        late = queues[::2]
        self.add("completed", "queue.complete", ids=late)
        self.scene.count["completed"] += len(late) - 1

    def move_filters(self, ids):
        """To a guest's queue, from wherever: at no moment may a frame find the default queue."""
        targets = list(self.scene.name_of)
        for i, id in enumerate(ids):
            address, queue = self.standing[id]
            to = targets[i % 3]
            if to == queue:
                to = targets[(i + 1) % 3]
            self.add("moved", "filter.move", filter=id, queue=to)
            self.change(address, self.scene.place(queue), self.scene.place(to))
            self.standing[id] = (address, to)

    def clear_filters(self, ids):
        for id in ids:
            address, queue = self.standing.pop(id)
            self.add("cleared", "filter.clear", filter=id)
            self.change(address, self.scene.place(queue), HOST)

    def free(self, queues):
        for id in queues:
            self.add("freed", "queue.free", id=id)


def fill(scene, choices, count, at):
    """`count` frames to the addresses of `choices` in turn, from the `at`-th on, among them those that stay."""
    keys = list(choices)
    for i in range(count):
        if i % 5 == 0:
            name = list(MACS)[(at + i) % 3]
            scene.send(MACS[name], name)
        elif keys:
            address = keys[(at + i) % len(keys)]
            places = choices[address]
            scene.send(address, *(places if isinstance(places, (set, tuple, list)) else (places,)))


def play_round(scene, one, stable):
    """Frames before the answers may see each change or not; after the answers there is one place for each."""
    meanwhile = {**stable, **one.meanwhile}
    numbers = send_all(scene.rpc, one.requests)
    fill(scene, meanwhile, FRAMES, one.number * FRAMES)
    for answer, asked in zip(answers(scene.rpc, numbers), one.requests):
        assert "result" in answer, (asked, answer)
    fill(scene, {**stable, **one.after}, FRAMES, one.number * FRAMES)
    scene.barrier()


def check_arrivals(scene):
    """Each frame where it may be, and nowhere twice; each place in order."""
    arrived = {name: [SEQUENCE.unpack_from(content, 14)[0] for content in scene.guests[name].frames()] for name in MACS}
    arrived[HOST] = [SEQUENCE.unpack_from(content,
                                          18)[0] for content in scene.host.received() if content[12:14] == b"\x81\x00"]
    where = {}
    for place, numbers in arrived.items():
        for before, after in zip(numbers, numbers[1:]):
            assert before < after, f"{place} got frame {after} after {before}"
        for number in numbers:
            assert place in scene.may[number], f"frame {number} reached {place}, and belongs to {scene.may[number]}"
            where[number] = place
    for number, places in enumerate(scene.may):
        assert number in where or NOWHERE in places, f"frame {number} for {places} is lost"
    return {place: len(numbers) for place, numbers in arrived.items()}


def test_churn_under_traffic(lab):
    scene = Scene(lab)
    standing, groups, stable = {}, collections.deque(), {}
    began = time.monotonic()
    for number in range(ROUNDS + 3):
        one = Round(scene, number, standing)
        if number < ROUNDS:
            queues = one.new_queues()
            before = set(standing)
            one.set_filters(queues)
            one.complete(queues)
            groups.append((queues, sorted(set(standing) - before)))
        if number >= 2 and len(groups) >= (3 if number < ROUNDS else 1):
            queues, ids = groups.popleft()
            on_spare = [id for id in ids if standing[id][1] in queues]
            one.clear_filters(on_spare)
            one.free(queues)
            one.clear_filters([id for id in ids if id in standing])
        if len(groups) >= 2:
            one.move_filters(groups[-2][1][::2])
        play_round(scene, one, stable)
        stable.update(one.after)
        for address in [address for address, place in stable.items() if place == HOST][:-50]:
            del stable[address]
    seconds = time.monotonic() - began
    changes = sum(scene.count.values())
    print(f"{dict(scene.count)}: {changes} changes in {seconds:.1f} s ({changes / seconds:.0f}/s) "
          f"while {scene.sent} frames flowed ({scene.sent / seconds:.0f}/s)")
    assert scene.count["set"] >= 10_000 and scene.count["freed"] >= 1_000 and not standing

    stats = scene.vmqd.settled()
    scene.host.wait(stats["left"]["host"])
    for name, guest in scene.guests.items():
        guest.wait(scene.vmqd.queue_stats(scene.queue_of[name])["rx_packets"])
    got = check_arrivals(scene)
    drops = {reason: count for reason, count in stats["drops"].items() if count}
    assert set(drops) <= {"vm_down", "filter_cleared", "queue_freed"}, drops
    assert stats["entered"] == {"wire": scene.sent, "host": 0, "vms": 0, "copies": 0} and not stats["missed"]
    assert stats["left"]["host"] == got[HOST] and stats["left"]["queues"] == sum(got[name] for name in MACS)
    assert sum(stats["left"].values()) + sum(drops.values()) == scene.sent
    assert len(config(scene.vmqd)) == 2 + 4 * len(MACS)


# At the full rate of one core: the same few frames for ever


class Torrent:
    """An adapter that replays a capture without end; no host, so what no filter takes is counted as no_consumer."""

    def __init__(self, lab, addresses):
        capture = lab.path("torrent.pcap")
        pcap.write(capture, [vmq.frame(address, tags=vmq.tag(VLAN), seq=i) for i, address in enumerate(addresses)])
        self.vmqd = lab.vmqd(lab.netns("vmqd"))
        self.rpc = self.vmqd.rpc
        self.rpc.call("adapter.add", name="eth0", port=f"net_pcap0,rx_pcap={capture},infinite_rx=1,tx_pcap=/dev/null")

    def queue(self):
        id = self.rpc.call("queue.allocate", adapter="eth0")["id"]
        self.rpc.call("queue.complete", adapter="eth0", ids=[id])
        return id

    def set(self, queue, address):
        return self.rpc.call("filter.set", adapter="eth0", queue=queue, mac=address, vlan=VLAN)["id"]

    def drops(self):
        return self.vmqd.stats()["drops"]

    def flowed(self, more=1000):
        """Some more frames have entered."""
        before = self.vmqd.entered()
        vmq.wait_until(lambda: self.vmqd.entered() >= before + more, "frames to flow")


def test_a_moved_filter_leaves_no_gap(lab):
    """
    The only filter of a queue moves to an empty queue and back: the one stops Running at the moment in which the
    other starts. Not one frame in between finds the default queue.
    """
    torrent = Torrent(lab, [mac(1)])
    queues = [torrent.queue(), torrent.queue()]
    filter_id = torrent.set(queues[0], mac(1))
    torrent.flowed()
    before = torrent.drops()
    moves = [("filter.move", dict(adapter="eth0", filter=filter_id, queue=queues[(i + 1) % 2]))
             for i in range(FULL_RATE_MOVES)]
    for one in moves[:FULL_RATE_MOVES // 3]:
        results(torrent.rpc, [one])
    for at in range(FULL_RATE_MOVES // 3, FULL_RATE_MOVES, 2):
        results(torrent.rpc, moves[at:at + 2])
    torrent.flowed()
    after = torrent.drops()
    assert after["vm_down"] > before["vm_down"]
    gained = {reason: after[reason] - before[reason] for reason in after if after[reason] != before[reason]}
    assert set(gained) == {"vm_down"}, f"frames found no filter while it moved: {gained}"


def test_nothing_is_delivered_after_a_clear_is_answered(lab):
    """The queue's counters stand still from the answer on, at full rate."""
    torrent = Torrent(lab, [mac(1), mac(2), mac(3)])
    queue = torrent.queue()
    for _ in range(FULL_RATE_CLEARS):
        filter_id = torrent.set(queue, mac(1))
        torrent.rpc.call("filter.clear", adapter="eth0", filter=filter_id)
        at_answer = torrent.vmqd.queue_stats(queue)
        torrent.flowed(200)
        assert torrent.vmqd.queue_stats(queue) == at_answer
    assert sum(at_answer["drops"].values()) > 0, "no frame ever reached the queue"


def test_counters_of_freed_queues_are_kept(lab):
    """Queues are freed at full rate: every frame that entered is in exactly one counter still."""
    torrent = Torrent(lab, [mac(i) for i in range(1, 9)])
    for i in range(FULL_RATE_CLEARS):
        queue = torrent.queue()
        filter_id = torrent.set(queue, mac(1 + i % 8))
        requests = [("filter.clear", dict(adapter="eth0", filter=filter_id)),
                    ("queue.free", dict(adapter="eth0", id=queue))]
        results(torrent.rpc, requests)
    dropped = torrent.drops()
    assert dropped["vm_down"] + dropped["filter_cleared"] + dropped["queue_freed"] > 0
    for _ in range(20):
        torrent.flowed()
        stats = torrent.vmqd.stats()
        gap = vmq.on_the_way(stats)
        assert abs(gap) <= 2 * BURST, f"{gap} frames are in no counter: {vmq.balance(stats)}"
