# SPDX-License-Identifier: BSD-3-Clause
"""Filters come, go and move while frames flow: no frame is lost, goes astray or changes its place in the order."""

import threading

import vmq
from vmq_site import MACS, Site, to

FRAMES = 20_000
CHANGES = 300


class Churn(threading.Thread):
    """Makes changes on a connection of its own until told to end."""

    def __init__(self, vmqd, change):
        super().__init__()
        self.rpc, self.change = vmq.Rpc(vmqd.socket_path), change
        self.count, self.ended, self.error = 0, threading.Event(), None

    def run(self):
        try:
            while not self.ended.is_set() or self.count < CHANGES:
                self.change(self.rpc, self.count)
                self.count += 1
        except Exception as error:
            self.error = error
        self.rpc.delete()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, trace):
        self.ended.set()
        self.join()
        if self.error and not kind:
            raise self.error


def play(site, frames):
    site.play(frames)
    return site.vmqd.settled()


def test_other_filters_come_and_go(lab):
    """Thousands of changes beside a VM's filter do not touch what the VM gets."""
    site = Site(lab)
    site.add_vm("web")
    site.vmqd.ctl("queue", "allocate", "eth0")

    def change(rpc, count):
        answer = rpc.call("filter.set", adapter="eth0", queue=2, mac=f"52:54:00:01:00:{count % 256:02x}", vlan=10)
        rpc.call("filter.clear", adapter="eth0", filter=answer["id"])

    frames = [to("web", i) for i in range(FRAMES)]
    with Churn(site.vmqd, change):
        stats = play(site, frames)
    assert not vmq.difference(site.guests["web"].wait(FRAMES), [vmq.untagged(content) for content in frames])
    assert stats["left"]["queues"] == FRAMES and not any(stats["drops"].values())


def test_a_filter_moves_between_two_vms(lab):
    """Every frame reaches one of the two, none the default queue, and each sees its own in order."""
    site = Site(lab)
    site.add_vm("web")
    site.add_vm("db")
    filter_id = site.vmqd.ctl("queue", "show", "eth0", site.vmqd.vm_queue("web"))[0]["filters"][0]["id"]
    queues = [site.vmqd.vm_queue("db"), site.vmqd.vm_queue("web")]
    site.vmqd.ctl("filter", "set", "eth0", queues[1], "mac", "52:54:00:00:02:01", "vlan", 10)

    def change(rpc, count):
        rpc.call("filter.move", adapter="eth0", filter=filter_id, queue=queues[count % 2])

    frames = [to("web", i) for i in range(FRAMES)]
    with Churn(site.vmqd, change):
        stats = play(site, frames)
    assert stats["left"] == {"queues": FRAMES, "host": 0, "wire": 0} and not any(stats["drops"].values())
    got = {name: site.guests[name] for name in ("web", "db")}
    vmq.wait_until(lambda: sum(len(guest.frames()) for guest in got.values()) >= FRAMES, "all frames in the two guests")
    place = {vmq.untagged(content): i for i, content in enumerate(frames)}
    places = {name: [place[content] for content in guest.frames()] for name, guest in got.items()}
    for name, order in places.items():
        assert order == sorted(order), f"{name} got frames out of order"
    assert sorted(places["web"] + places["db"]) == list(range(FRAMES))


def test_set_and_clear_of_the_vms_own_filter(lab):
    """While it is gone the host gets the frames; every frame is in one of the two, or counted."""
    site = Site(lab)
    site.add_vm("web")
    queue = site.vmqd.vm_queue("web")
    site.vmqd.ctl("filter", "set", "eth0", queue, "mac", "52:54:00:00:02:01", "vlan", 10)
    shown = site.vmqd.ctl("queue", "show", "eth0", queue)[0]["filters"]
    current = {"id": next(one["id"] for one in shown if one["mac"] == MACS["web"])}

    def change(rpc, count):
        rpc.call("filter.clear", adapter="eth0", filter=current["id"])
        current["id"] = rpc.call("filter.set", adapter="eth0", queue=queue, mac=MACS["web"], vlan=10)["id"]

    frames = [to("web", i) for i in range(FRAMES)]
    with Churn(site.vmqd, change):
        stats = play(site, frames)
    assert sum(stats["left"].values()) + sum(stats["drops"].values()) == FRAMES
    assert not any(stats["drops"].values())
    host = site.host.wait(stats["left"]["host"])
    guest = site.guests["web"].wait(stats["left"]["queues"])
    place = {content: i for i, content in enumerate(frames)}
    place.update({vmq.untagged(content): i for i, content in enumerate(frames)})
    for name, got in (("host", host), ("guest", guest)):
        order = [place[content] for content in got]
        assert order == sorted(order), f"{name} got frames out of order"
    assert sorted(place[content] for content in host + guest) == list(range(FRAMES))


def test_not_one_frame_after_the_answer(lab):
    """After `filter clear` has answered, nothing that is sent reaches the VM."""
    site = Site(lab)
    site.add_vm("web")
    queue = site.vmqd.vm_queue("web")
    for i in range(20):
        filter_id = site.vmqd.rpc.call("queue.show", adapter="eth0", id=queue)[0]["filters"][0]["id"]
        site.play([to("web", 2 * i)])
        site.guests["web"].wait(i + 1)
        site.vmqd.rpc.call("filter.clear", adapter="eth0", filter=filter_id)
        site.play([to("web", 2 * i + 1)])
        site.host.wait(i + 1)
        site.vmqd.rpc.call("filter.set", adapter="eth0", queue=queue, mac=MACS["web"], vlan=10)
    assert not vmq.difference(site.guests["web"].frames(), [vmq.untagged(to("web", 2 * i)) for i in range(20)])
    assert not vmq.difference(site.host.received(), [to("web", 2 * i + 1) for i in range(20)])
