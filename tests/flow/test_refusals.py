# SPDX-License-Identifier: BSD-3-Clause
"""What vmqd refuses, it refuses with one sentence, and nothing else changes."""

import json
import os
import re
import socket

import pytest
import vmq
from vmq_site import MACS, Site

HUGE_LINE_BYTES = 8 << 20


def refuse_to_start(lab, config="", options=(), eal=()):
    """vmqd's whole output, after it ended with exit 1 and left nothing behind."""
    netns = lab.netns("vmqd")
    vmqd = lab.vmqd(netns, config, options=options, eal=eal, wait=False)
    assert vmqd.wait() == 1, vmqd.log_tail()
    assert not os.path.exists(vmqd.socket_path)
    assert "dtap" not in netns.run("ip", "-o", "link")
    return vmqd, [line for line in vmqd.log().splitlines() if line.startswith("vmqd: ")]


@pytest.mark.parametrize("line", [
    pytest.param("adapter destroy eth0", id="unknown command"),
    pytest.param("adapter add eth0", id="word missing"),
    pytest.param("adapter add eth0 port net_null0 mtu many", id="number"),
    pytest.param("adapter add eth0 port net_null0 mtu 70000", id="range"),
    pytest.param("adapter add eth0 port if=", id="port that names nothing"),
    pytest.param("filter set eth0 1 mac 52:54:00:00:00:01", id="no such adapter"),
    pytest.param('adapter add "eth0', id="open quote"),
])
def test_a_bad_configuration_names_file_and_line(lab, line):
    vmqd, said = refuse_to_start(lab, f"# a comment\n\n{line}\n")
    assert len(said) == 1 and re.match(rf"vmqd: {re.escape(vmqd.config_path)}:3: \S", said[0]), vmqd.log_tail()


def test_a_bad_line_undoes_the_lines_before(lab):
    vmqd, said = refuse_to_start(lab, "adapter add eth0 port net_null0\nhost add eth0 tap host0\nnonsense\n")
    assert len(said) == 1 and ":3: " in said[0], vmqd.log_tail()


@pytest.mark.parametrize("options", [["--nonsense"], ["--memory", "some"], ["--huge", "perhaps"], ["--cpus", "x"],
                                     ["--cpus", "4000"], ["-c"], ["word"], ["-c", "/nowhere/vmq.conf"]],
                         ids=" ".join)
def test_a_bad_option_is_named(lab, options):
    vmqd, said = refuse_to_start(lab, options=options)
    assert len(said) == 1, vmqd.log_tail()
    assert any(word.lstrip("-") in said[0] for word in options), said[0]


def test_a_bad_eal_option_ends_it(lab):
    refuse_to_start(lab, eal=["--no-such-eal-option"])


def test_a_served_socket_is_not_taken_over(lab):
    first = lab.vmqd(lab.netns("first"))
    words = [vmq.program("vmqd"), "-s", first.socket_path, "-c", os.devnull, "--state", lab.path("other.conf"),
             "--memory", "128", "--huge", "off"]
    second = lab.process("second", *words, env=dict(os.environ, RUNTIME_DIRECTORY=lab.directory))
    assert second.wait() == 1
    assert f"vmqd: {first.socket_path}" in second.log() or first.socket_path in second.log(), second.log_tail()
    assert first.check() and first.ctl("adapter", "show") == []


def test_a_file_in_the_socket_s_place_is_kept(lab):
    """`-s` where `-c` was meant must not cost the configuration."""
    path = lab.path("precious.conf")
    with open(path, "w") as file:
        file.write("precious")
    vmqd = lab.vmqd(lab.netns("vmqd"), options=["-s", path], wait=False)
    assert vmqd.wait() == 1 and f"vmqd: socket {path}: a file that is no socket has this name" in vmqd.log()
    with open(path) as file:
        assert file.read() == "precious"


def test_a_state_that_cannot_be_kept_is_one_line(lab):
    vmqd, said = refuse_to_start(lab, options=["--state", lab.path("nowhere/at/all/state.conf")])
    assert vmqd.log().splitlines() == said and len(said) == 1 and "nowhere/at/all/state.conf" in said[0], vmqd.log_tail()


def test_a_socket_path_that_is_too_long_is_refused(lab):
    vmqd, said = refuse_to_start(lab, options=["-s", lab.path("s" * 120)])
    assert len(said) == 1 and "at most 107 bytes" in said[0], vmqd.log_tail()


def test_a_stale_socket_is_replaced(lab):
    path = lab.path("stale")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    lab.vmqd(lab.netns("vmqd"), options=["-s", path], wait=False)
    vmq.wait_until(lambda: answers(path), "vmqd on a stale socket's path")


def answers(path):
    try:
        rpc = vmq.Rpc(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    rpc.call("adapter.show")
    rpc.delete()
    return True


def request():
    return {"jsonrpc": "2.0", "id": 1, "method": "adapter.show", "params": {}}


def line_of(method, **params):
    return json.dumps(dict(request(), method=method, params=params)).encode()


NEW = {"name": "eth0", "port": "net_null0"}
WRONG_LINES = {
    "not JSON": b"nonsense",
    "empty": b"",
    "truncated": b"{",
    "truncated in a word": b'{"jsonrpc":"2.0","id":1,"method":"adapter.sh',
    "batch": b"[]",
    "number": b"17",
    "null": b"null",
    "no UTF-8": b"\xff\xfe\x00",
    "NUL": b'{"a":1}\x00{"b":2}',
    "deep": b"[" * 100000,
    "method unknown": line_of("adapter.destroy"),
    "method is a number": line_of(5),
    "params is a list": json.dumps(dict(request(), params=[1])).encode(),
    "another version": json.dumps(dict(request(), jsonrpc="1.0")).encode(),
    "id is an object": json.dumps(dict(request(), id={"a": 1})).encode(),
    "argument missing": line_of("adapter.add", name="eth0"),
    "argument of another type": line_of("adapter.add", name="eth0", port=5),
    "argument unknown": line_of("adapter.add", **NEW, colour=1),
    "long name": line_of("adapter.add", **dict(NEW, name="x" * 100000)),
    "control character": line_of("adapter.add", **dict(NEW, name="x\n")),
    "negative id": line_of("queue.complete", adapter="eth0", ids=[-1]),
    "enormous number": line_of("queue.free", adapter="eth0", id=1 << 70),
}


@pytest.fixture(scope="module")
def quiet():
    """One vmqd without an adapter for all wrong requests: what they leave behind would show."""
    with vmq.Lab() as lab:
        yield lab, lab.vmqd(lab.netns("vmqd"))


@pytest.mark.parametrize("line", WRONG_LINES.values(), ids=WRONG_LINES.keys())
def test_a_wrong_request_gets_an_error_and_the_connection_lives(quiet, line):
    lab, vmqd = quiet
    rpc = vmq.Rpc(vmqd.socket_path)
    rpc.send(line + b"\n")
    if line:
        answer = json.loads(rpc.line())
        assert answer["error"]["message"] and isinstance(answer["error"]["code"], int), answer
        assert "result" not in answer
    assert rpc.call("adapter.show") == []
    rpc.delete()


def test_an_oversized_request_costs_at_most_its_connection(quiet):
    lab, vmqd = quiet
    rpc = vmq.Rpc(vmqd.socket_path)
    try:
        rpc.send(b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * HUGE_LINE_BYTES + b'"}\n')
        answer = rpc.line()
        assert answer is None or b"error" in answer
    except (BrokenPipeError, ConnectionResetError):
        pass
    rpc.delete()
    assert vmqd.check() and vmqd.rpc.call("adapter.show") == []


def test_a_client_that_leaves_in_the_middle_costs_nothing(quiet):
    lab, vmqd = quiet
    for _ in range(50):
        rpc = vmq.Rpc(vmqd.socket_path)
        rpc.send(b'{"jsonrpc":"2.0","id":1,"meth')
        rpc.delete()
    assert vmqd.rpc.call("adapter.show") == []


OTHER = "vm add other adapter eth0"
REFUSED = [
    pytest.param("adapter add eth0 port net_null0", id="name taken"),
    pytest.param("adapter add eth1 port net_af_packet9,iface=nobody", id="port does not open"),
    pytest.param("adapter add eth1 port net_nonsense0", id="no such driver"),
    pytest.param("adapter del eth9", id="no such adapter"),
    pytest.param("queue free eth0 1", id="filters stand"),
    pytest.param("queue free eth0 0", id="default queue"),
    pytest.param("queue free eth0 9", id="no such queue"),
    pytest.param("queue complete eth0 1", id="complete twice"),
    pytest.param("queue allocate eth0 affinity 200", id="processor that is not there"),
    pytest.param("queue allocate eth0 lookahead 128", id="lookahead on 6.30"),
    pytest.param(f"filter set eth0 1 mac {MACS['web']} vlan 10", id="identical filter, same queue"),
    pytest.param(f"filter set eth0 default mac {MACS['web']} vlan 10", id="identical filter, other queue"),
    pytest.param("filter set eth0 1 mac 01:00:5e:00:00:01 vlan 10", id="group address"),
    pytest.param("filter set eth0 1 mac 00:00:00:00:00:00 vlan 10", id="zero address"),
    pytest.param("filter set eth0 1 mac 52:54:00:00:00:09 vlan 0", id="vlan 0"),
    pytest.param("filter set eth0 1 mac 52:54:00:00:00:09 vlan 4095", id="vlan 4095"),
    pytest.param("filter clear eth0 9", id="no such filter"),
    pytest.param(f"vm add web adapter eth0 socket /tmp/x mac {MACS['dev']}", id="VM name taken"),
    pytest.param(f"{OTHER} socket /tmp/x mac {MACS['dev']} {MACS['web']} vlan 10", id="second address taken"),
    pytest.param(f"{OTHER} socket /nowhere/x mac {MACS['dev']}", id="socket path"),
    pytest.param(f"{OTHER} socket /{'x' * 200} mac {MACS['dev']}", id="socket path too long"),
    pytest.param("vm del other", id="no such VM"),
    pytest.param("host add eth0 tap host1", id="second host"),
]


@pytest.fixture(scope="module")
def busy():
    with vmq.Lab() as lab:
        site = Site(lab)
        site.add_vm("web", guest=False)
        yield site


def whole_state(vmqd):
    return [vmqd.ctl(*words) for words in (("adapter", "show"), ("queue", "show"), ("filter", "show"), ("vm", "show"),
                                           ("config", "show"))]


@pytest.mark.parametrize("command", REFUSED)
def test_a_refused_command_changes_nothing(busy, command):
    before = whole_state(busy.vmqd)
    with pytest.raises(vmq.Refused) as refused:
        busy.vmqd.ctl(*command.split())
    assert refused.value.status in (1, 2) and refused.value.message, refused.value
    assert whole_state(busy.vmqd) == before


def test_a_vm_socket_path_in_use_is_refused(busy):
    path = busy.lab.path("busy.sock")
    other = socket.socket(socket.AF_UNIX)
    other.bind(path)
    other.listen()
    before = whole_state(busy.vmqd)
    with pytest.raises(vmq.Refused):
        busy.vmqd.ctl("vm", "add", "other", "adapter", "eth0", "socket", path, "mac", MACS["dev"])
    assert whole_state(busy.vmqd) == before and os.path.exists(path)
    other.close()


def test_ids_of_refused_requests_are_not_used_up(busy):
    with pytest.raises(vmq.Refused):
        busy.vmqd.ctl("vm", "add", "other", "adapter", "eth0", "socket", "/nowhere/x", "mac", MACS["dev"])
    assert busy.vmqd.vm_queue("web") == 1
    busy.add_vm("dev", guest=False)
    assert busy.vmqd.vm_queue("dev") == 2
    busy.vmqd.ctl("vm", "del", "dev")


def test_vmqctl_without_vmqd_exits_3(lab):
    words = [vmq.program("vmqctl"), "-s", lab.path("nobody"), "adapter", "show"]
    nobody = lab.process("vmqctl", *words)
    assert nobody.wait() == 3 and nobody.log().strip()
