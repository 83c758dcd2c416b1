# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the control plane share: requests in both forms, users, the model as vmqd shows it, restarts."""

import contextlib
import json
import os
import subprocess
import time

import vmq

IN_MEMORY = "/dev/shm"  # for the files of tests that would wait a thousand times for a disk that others use too
QUIET_PORT = "net_null{},no-rx=1"  # a port on which nothing ever arrives
POSITIONAL = {
    "adapter.add": ("name",), "adapter.del": ("name",), "adapter.show": ("name",),
    "adapter.capabilities": ("name", "which"), "adapter.parameters": ("name",),
    "queue.allocate": ("adapter",), "queue.complete": ("adapter", "ids"), "queue.free": ("adapter", "id"),
    "queue.set": ("adapter", "id"), "queue.show": ("adapter", "id"),
    "filter.set": ("adapter", "queue"), "filter.clear": ("adapter", "filter"),
    "filter.move": ("adapter", "filter", "queue"), "filter.show": ("adapter", "queue"),
    "vm.attach": ("name",), "vm.detach": ("name",), "vm.add": ("name",), "vm.del": ("name",), "vm.show": ("name",),
    "host.add": ("adapter",), "host.del": ("adapter",), "stats.show": ("adapter", "id"), "events": ("mode",),
}


def mac(number, prefix="52:54"):
    return f"{prefix}:" + ":".join(f"{number:08x}"[i:i + 2] for i in range(0, 8, 2))


def request(number, method, params):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def word(value):
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def words_of(method, params):
    """The same request as a person types it."""
    params = dict(params)
    words = method.split(".")
    for name in POSITIONAL.get(method, ()):
        if name in params:
            value = params.pop(name)
            words += [",".join(map(str, value)) if isinstance(value, list) else word(value)]
    for name, value in params.items():
        words += [name, *map(word, value if isinstance(value, list) else [value])]
    return words


class Raw:
    """Requests over the socket itself."""

    def __init__(self, vmqd):
        self.vmqd = vmqd

    def call(self, method, **params):
        return self.vmqd.rpc.call(method, **params)


class Typed:
    """The same through vmqctl."""

    def __init__(self, vmqd):
        self.vmqd = vmqd

    def call(self, method, **params):
        return self.vmqd.ctl(*words_of(method, params))


TRANSPORTS = {"raw": Raw, "vmqctl": Typed}


def errno_of(rpc, method, /, **params):
    """The refusal of a request: (errno by name, sentence); it fails if vmqd accepts."""
    message = call_whole(rpc, method, **params)
    assert "error" in message, f"{method} {params} was accepted: {message}"
    return message["error"].get("data", {}).get("errno"), message["error"]["message"]


def call_whole(rpc, method, /, caller=None, **params):
    """The whole answer to a request, made under a caller's name if there is one."""
    number = next(rpc.ids)
    line = request(number, method, params)
    if caller is not None:
        line["as"] = caller
    rpc.send(json.dumps(line).encode() + b"\n")
    return rpc.answer(number)


def pipeline(rpc, requests):
    """Send all [(method, params)], then read all answers, in the order of the requests."""
    return answers(rpc, send_all(rpc, requests))


def send_all(rpc, requests):
    numbers = [next(rpc.ids) for _ in requests]
    lines = [json.dumps(request(number, *one)) for number, one in zip(numbers, requests)]
    rpc.send("".join(line + "\n" for line in lines).encode())
    return numbers


def answers(rpc, numbers):
    """A free is answered after requests that came later."""
    found, wanted = {}, set(numbers)
    while wanted:
        line = rpc.line()
        assert line is not None, "vmqd closed the connection"
        message = json.loads(line)
        if message.get("id") in wanted:
            wanted.discard(message["id"])
            found[message["id"]] = message
    return [found[number] for number in numbers]


def results(rpc, requests):
    """As pipeline(), all accepted."""
    got = pipeline(rpc, requests)
    for message, asked in zip(got, requests):
        assert "result" in message, f"{asked}: {message}"
    return [message["result"] for message in got]


def config(vmqd):
    return vmqd.rpc.call("config.show")["commands"]


def model(vmqd):
    """Everything that a refused request must leave as it was. Of a quiet adapter: counters too."""
    return {method: vmqd.rpc.call(method)
            for method in ("config.show", "adapter.show", "queue.show", "filter.show", "vm.show")}


def state_of(vmqd, id, adapter="eth0"):
    return vmqd.rpc.call("queue.show", adapter=adapter, id=id)[0]["state"]


# Users


@contextlib.contextmanager
def acting_as(uid, gid=None, groups=()):
    """Sockets connected now belong to this user."""
    home = os.getgroups()
    os.setgroups(list(groups))
    os.setegid(uid if gid is None else gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(home)


def open_to_all(lab, vmqd):
    """Let every user reach the socket, so that vmqd alone decides."""
    os.chmod(lab.directory, 0o755)
    os.chmod(vmqd.directory, 0o755)
    os.chmod(vmqd.socket_path, 0o666)


def rpc_as(lab, vmqd, uid, gid=None, groups=()):
    with acting_as(uid, gid, groups):
        return lab.rpc(vmqd)


class GroupNs:
    """A namespace whose /etc/group has one more group; nobody else sees it."""

    def __init__(self, lab, netns, name, gid):
        self.netns, self.file = netns, lab.path("group")
        with open("/etc/group") as old, open(self.file, "w") as new:
            new.write(old.read() + f"{name}:x:{gid}:\n")

    def words(self, *words):
        return self.netns.words("sh", "-c", 'mount --bind "$0" /etc/group && exec "$@"', self.file, *words)


# Ends and starts


def launch(vmqd, wait=True):
    """Start a vmqd again that has ended, with the same words."""
    assert not vmqd.alive()
    if vmqd.rpc:
        vmqd.rpc.delete()
        vmqd.rpc = None
    with open(vmqd.log_path, "ab") as file:
        vmqd.child = subprocess.Popen(vmqd.child.args, stdout=file, stderr=subprocess.STDOUT,
                                      env=dict(os.environ, RUNTIME_DIRECTORY=vmqd.directory))
    if wait:
        vmqd.wait_ready()


def kill_and_launch(vmqd):
    vmqd.kill()
    launch(vmqd)


# Events


class Follower:
    """A connection that follows events."""

    def __init__(self, vmqd):
        self.rpc = vmq.Rpc(vmqd.socket_path)
        self.first = self.rpc.call("events", mode="follow")["seq"]
        self.seen, self.covered = [], 0

    def next(self):
        line = self.rpc.line()
        assert line is not None, "vmqd closed a follower's connection"
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0" and message["method"] == "event" and "id" not in message
        event = message["params"]
        self.seen.append(event)
        self.covered += event["count"] if event["type"] == "missed" else 1
        return event

    def until(self, **wanted):
        """The next event that has all of `wanted`."""
        end = time.monotonic() + vmq.LIMIT_S
        while time.monotonic() < end:
            event = self.next()
            if all(event.get(key) == value for key, value in wanted.items()):
                return event
        raise TimeoutError(f"no event {wanted} in {self.seen[-20:]}")

    def delete(self):
        self.rpc.delete()
