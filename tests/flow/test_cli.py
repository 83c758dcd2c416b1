# SPDX-License-Identifier: BSD-3-Clause
"""vmqctl against a vmqd that answers from a script: exit codes, refusals, tables, files, events, the prompt."""

import json
import os
import pty
import select
import shutil
import socket
import subprocess
import tempfile
import threading

import pytest
import vmq

VMQCTL = os.environ.get("VMQCTL")
EAGAIN_CODE = -11


class FakeVmqd:
    """Answers every request with `answers[method]`: a result, or a Refusal. Keeps the requests that it got."""

    def __init__(self, answers, events=()):
        self.answers, self.events, self.requests = answers, events, []
        self.directory = tempfile.TemporaryDirectory(prefix="vmq-")
        self.path = os.path.join(self.directory.name, "ctl")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        self.directory.cleanup()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rw") as stream:
                for line in stream:
                    if not self.answer(json.loads(line), stream):
                        break

    def answer(self, request, stream):
        assert request["jsonrpc"] == "2.0"
        self.requests.append((request["method"], request.get("params")))
        answer = self.answers.get(request["method"], {})
        if answer is None:
            return False
        stream.write(json.dumps({"jsonrpc": "2.0", "method": "event", "params": {"type": "earlier"}}) + "\n")
        kind = "error" if isinstance(answer, Refusal) else "result"
        content = answer.error if isinstance(answer, Refusal) else answer
        stream.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], kind: content}) + "\n")
        if request["method"] == "events":
            for event in self.events:
                stream.write(json.dumps({"jsonrpc": "2.0", "method": "event", "params": event}) + "\n")
            stream.flush()
            return False
        stream.flush()
        return True


class Refusal:
    def __init__(self, code, message, **data):
        self.error = {"code": code, "message": message, **({"data": data} if data else {})}


def vmqctl(socket_path, *words, text=None):
    words = [VMQCTL or vmq.program("vmqctl"), "-s", socket_path, *words]
    return subprocess.run(words, input=text, stdin=None if text is not None else subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=vmq.LIMIT_S, env=dict(os.environ, LC_ALL="C.UTF-8"))


def call(answers, *words, text=None, events=()):
    with FakeVmqd(answers, events) as daemon:
        done = vmqctl(daemon.path, *words, text=text)
    done.requests = daemon.requests
    return done


QUEUE = {"adapter": "eth0", "id": 1, "name": "", "vm": "web1", "owner": 0, "state": "Running",
         "windows_state": "Running", "affinity": [2], "cpu": 2, "msix": 1, "buffers": 512, "buffers_in_use": 0,
         "lookahead": 0, "per_queue_indication": False,
         "filters": [{"id": 1, "mac": "52:54:00:00:00:01", "vlan": 10},
                     {"id": 2, "mac": "52:54:00:00:00:02", "vlan": 10}],
         "memory": [], "rx_packets": 7, "rx_bytes": 700, "tx_packets": 3, "tx_bytes": 300,
         "drops": {"no_buffer": 2, "ring_full": 10}}
DEFAULT = dict(QUEUE, id=0, vm="", filters=[], drops={"no_buffer": 0})
DROP = dict(DEFAULT, id=0xFFFF)
LONG_PORT = "net_af_packet0,iface=a-name-that-is-long-enough-to-fill-a-terminal-of-eighty-columns"
ADAPTER = {"name": "eth0", "port": LONG_PORT,
           "ndis": "6.30", "link": "up", "speed": 10000, "mac": "52:54:00:00:00:aa", "mtu": 1500, "queues": 64,
           "queues_used": 2, "filters": 4096, "filters_used": 3, "cpus": [0, 1, 2, 5], "vmq": True,
           "lookahead_split": True, "vlan_filtering": True, "offload": "auto", "poll": "adaptive", "host": None,
           "rx_packets": 1, "rx_bytes": 2, "tx_packets": 3, "tx_bytes": 4, "missed": 5, "interface": "nic0", "why": None}
FILTER = {"adapter": "eth0", "id": 7, "queue": 1, "vm": "web1", "mac": "52:54:00:00:00:01", "vlan": "untagged"}
VM = {"name": "web1", "adapter": "eth0", "queue": None, "socket": "/run/web1.sock", "mode": "server", "trunk": False,
      "spoof_check": True, "connected": False, "owner": 0}
STATS = {"adapters": [{"adapter": "eth0", "entered": {"wire": 10, "host": 2, "vms": 1, "copies": 0},
                       "left": {"queues": 8, "host": 2, "wire": 1}, "drops": {"no_buffer": 2, "ring_full": 0},
                       "missed": 4,
                       "queues": [{"id": 0, "name": "default", "rx_packets": 8, "rx_bytes": 80, "tx_packets": 1,
                                   "tx_bytes": 10, "drops": {"no_buffer": 2}}]}]}
TRACE = {"queue": 1, "filter": 2, "reason": "matched",
         "tested": [{"queue": 1, "filter": 1, "match": False}, {"queue": 1, "filter": 2, "match": True}]}

SHOWN = [
    ("queue show", "queue.show", [DEFAULT, QUEUE, DROP], """\
ADAPTER ID NAME VM   STATE   CPU BUFFERS FILTERS                 RX TX DROPS
eth0     0 -    -    Running   2     512 -                        7  3 0
eth0     1 -    web1 Running   2     512 52:54:00:00:00:01/10 +1  7  3 12 (ring_full)
eth0  drop -    -    Running   2     512 -                        7  3 0
"""),
    ("adapter show", "adapter.show", [ADAPTER], f"""\
NAME PORT {' ' * len(LONG_PORT)} NDIS LINK  MTU QUEUES FILTERS CPUS  HOST RX TX MISSED WHY
eth0 {LONG_PORT} 6.30 up   1500   2/64  3/4096 0-2,5 -     1  3      5 -
"""),
    ("filter show eth0", "filter.show", [FILTER], """\
ADAPTER ID QUEUE VM   MAC               VLAN
eth0     7     1 web1 52:54:00:00:00:01 untagged
"""),
    ("vm show", "vm.show", [VM], """\
NAME ADAPTER QUEUE SOCKET         MODE   TRUNK SPOOF-CHECK CONNECTED WHY
web1 eth0        - /run/web1.sock server off   on          no        -
"""),
    ("stats show", "stats.show", STATS, """\
adapter eth0
  entered   wire 10  host 2  vms 1  copies 0
  left      queues 8  host 2  wire 1
  drops     no_buffer 2
  missed    4
QUEUE NAME    RX RX-BYTES TX TX-BYTES DROPS
    0 default  8       80  1       10 2 (no_buffer)
"""),
    ("trace eth0 dst=m", "trace", TRACE, """\
queue 1: filter 2 matches
QUEUE FILTER MATCH
    1      1 no
    1      2 yes
"""),
    ("trace eth0 dst=p", "trace", dict(TRACE, tested_total=70, tested=TRACE["tested"][:1]), """\
queue 1: filter 2 matches
QUEUE FILTER MATCH
    1      1 no
and 69 filters more
"""),
    ("trace eth0 dst=n", "trace", {"queue": 0, "filter": 0, "reason": "no_match", "tested": []},
     "default queue: no filter matches\n"),
    ("trace eth0 dst=o", "trace", {"queue": "drop", "filter": 3, "reason": "drop_queue", "tested": []},
     "drop queue: filter 3 matches, and the frame is discarded\n"),
    ("adapter capabilities eth0", "adapter.capabilities", {"num_queues": 64, "vmq": True, "headers": ["mac"]}, """\
num_queues                       64
vmq                              on
headers                          mac
"""),
    ("config show", "config.show", {"commands": ["adapter add eth0 port p", "queue allocate eth0"]},
     "adapter add eth0 port p\nqueue allocate eth0\n"),
    ("queue allocate eth0", "queue.allocate", {"id": 1}, "queue 1\n"),
    ("filter set eth0 1 mac m", "filter.set", {"id": 7}, "filter 7\n"),
    ("vm add v adapter eth0 socket s mac m", "vm.add", {"queue": 1, "filters": [1]}, ""),
    ("queue complete eth0 1", "queue.complete", [{"id": 1, "status": "ok"}], ""),
    ("queue show", "queue.show", [], ""),
    ("stats clear", "stats.clear", {}, ""),
]


def squeezed(text):
    """Columns are as wide as they need to be; how wide is libsmartcols' affair."""
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("line, method, result, shown", SHOWN, ids=[row[0] for row in SHOWN])
def test_answer_is_printed(line, method, result, shown):
    done = call({method: result}, *line.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert squeezed(done.stdout) == squeezed(shown)
    assert done.requests[0][0] == method


@pytest.mark.parametrize("line, method, result, shown", SHOWN, ids=[row[0] for row in SHOWN])
def test_json_is_the_answer_itself(line, method, result, shown):
    done = call({method: result}, "-j", *line.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == result


def test_every_command_that_shows_prints_something():
    methods = {row[1] for row in SHOWN if row[3]}
    shows = {"adapter.show", "adapter.capabilities", "queue.show", "filter.show", "vm.show", "trace", "stats.show",
             "config.show"}
    assert shows <= methods


def test_words_become_params():
    done = call({"queue.allocate": {"id": 1}}, "queue", "allocate", "eth0", "vm", "web1", "affinity", "2")
    assert done.requests == [("queue.allocate", {"adapter": "eth0", "vm": "web1", "affinity": "2"})]


REFUSED = {"queue.free": Refusal(EAGAIN_CODE, "queue 1 has filters")}


def test_refusal_is_exit_1_with_the_reason():
    done = call(REFUSED, "queue", "free", "eth0", "1")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "vmqctl: queue 1 has filters\n")


def test_refusal_in_json():
    done = call(REFUSED, "-j", "queue", "free", "eth0", "1")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout) == {"error": {"code": EAGAIN_CODE, "message": "queue 1 has filters"}}


def test_queue_that_does_not_complete_is_exit_1():
    answer = [{"id": 1, "status": "ok"}, {"id": 2, "status": "ENOMEM", "message": "no memory for 512 buffers"}]
    done = call({"queue.complete": answer}, "queue", "complete", "eth0", "1,2")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "vmqctl: queue 2: no memory for 512 buffers\n")


USAGE = [
    ("queue",), ("queue", "allocate"), ("foo",), ("queue", "show", "-x"), ("--atomic", "queue", "show"),
    ("-f", "/nonexistent"), ("-f", "/dev/null", "queue", "show"), ("help", "foo"), ("filter", "set", "e", "1", "mac"),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_usage_is_exit_2_without_a_request(words):
    done = call({}, *words)
    assert (done.returncode, done.stdout, done.requests) == (2, "", [])
    assert done.stderr


def test_usage_in_json():
    done = call({}, "-j", "queue", "allocate")
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout)["error"]["message"] == "queue allocate needs adapter"


@pytest.mark.parametrize("words", [("queue", "show"), ("-j", "queue", "show")], ids=" ".join)
def test_no_vmqd_is_exit_3(words, tmp_path):
    done = vmqctl(str(tmp_path / "none"), *words)
    assert done.returncode == 3
    assert f"no vmqd at {tmp_path}/none: No such file or directory" in done.stdout + done.stderr


def test_vmqd_that_goes_away_is_exit_3():
    done = call({"queue.show": None}, "queue", "show")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "vmqctl: vmqd closed the connection\n")


HELP = [("help",), ("--help",), ("help", "queue"), ("help", "queue", "allocate")]


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_needs_no_vmqd(words, tmp_path):
    done = vmqctl(str(tmp_path / "none"), *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "queue allocate ADAPTER" in done.stdout


def test_version(tmp_path):
    done = vmqctl(str(tmp_path / "none"), "--version")
    assert done.returncode == 0 and done.stdout.startswith("vmqctl ")


COMMANDS = "# made by hand\nqueue allocate eth0\n\nqueue free eth0 1\nqueue show\n"


@pytest.mark.parametrize("words, name", [(("-f", "FILE"), "FILE"), (("-f", "-"), "stdin"), ((), "stdin")], ids=str)
def test_file_stops_at_the_first_refused_line(words, name, tmp_path):
    path = tmp_path / "commands"
    path.write_text(COMMANDS)
    words = [str(path) if word == "FILE" else word for word in words]
    done = call(dict(REFUSED, **{"queue.allocate": {"id": 1}}), *words, text=COMMANDS)
    where = str(path) if name == "FILE" else name
    assert (done.returncode, done.stdout) == (1, "queue 1\n")
    assert done.stderr == f"vmqctl: {where}:4: queue 1 has filters\n"
    assert [method for method, _ in done.requests] == ["queue.allocate", "queue.free"]


def test_file_with_a_wrong_line_is_exit_2():
    done = call({}, "-f", "-", text="queue show\nqueue foo\n")
    assert done.returncode == 2
    assert done.stderr.startswith('vmqctl: stdin:2: unknown word "foo"')


def test_transaction_is_one_request():
    lines = "\nqueue allocate eth0\nqueue free eth0 1\n"
    done = call({"transaction": [{"id": 1}, {}]}, "-f", "-", "--atomic", text=lines)
    assert (done.returncode, done.stdout, done.stderr) == (0, "queue 1\n", "")
    commands = [{"method": "queue.allocate", "params": {"adapter": "eth0"}},
                {"method": "queue.free", "params": {"adapter": "eth0", "id": 1}}]
    assert done.requests == [("transaction", {"commands": commands})]


def test_refused_transaction_names_the_line():
    done = call({"transaction": Refusal(-1, "queue 1 has filters", index=1)}, "-f", "-", "--atomic", text=COMMANDS)
    assert (done.returncode, done.stderr) == (1, "vmqctl: stdin:4: queue 1 has filters\n")


def test_transaction_with_a_wrong_line_sends_nothing():
    done = call({}, "-f", "-", "--atomic", text="queue show\nqueue foo\n")
    assert (done.returncode, done.requests) == (2, [])


EVENTS = [{"type": "queue-state", "adapter": "eth0", "queue": 1, "state": "Running"},
          {"type": "vm-connected", "vm": "web1"}]


def test_events_are_lines_until_vmqd_ends():
    done = call({}, "events", "follow", events=EVENTS)
    assert done.stdout == "queue-state eth0 queue 1 Running\nvm-connected vm web1\n"
    assert done.returncode == 3


def test_events_in_json():
    done = call({}, "-j", "events", "follow", events=EVENTS)
    *events, end = map(json.loads, done.stdout.splitlines())
    assert [event["params"] for event in events] == EVENTS
    assert end["error"]["message"] == "vmqd closed the connection"


def test_the_last_events_are_lines():
    done = call({"events": {"seq": 2, "events": EVENTS}}, "events")
    assert done.stdout == "queue-state eth0 queue 1 Running\nvm-connected vm web1\n"
    assert done.returncode == 0


def test_no_permission_is_not_no_vmqd():
    """As a user who may not open the socket, with a program that it may read."""
    with FakeVmqd({}) as daemon:
        program = os.path.join(os.path.dirname(daemon.path), "vmqctl")
        shutil.copy(VMQCTL or vmq.program("vmqctl"), program)
        os.chmod(os.path.dirname(daemon.path), 0o755)
        os.chmod(daemon.path, 0o600)
        words = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", program, "-s", daemon.path, "queue",
                 "show"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=vmq.LIMIT_S)
    assert done.returncode == 1
    assert done.stderr == f"vmqctl: no permission to use {daemon.path}: be root, or a member of group vmq\n"


def test_full_disk_is_not_success():
    with FakeVmqd({"queue.show": [QUEUE]}) as daemon, open("/dev/full", "w") as full:
        words = [VMQCTL or vmq.program("vmqctl"), "-s", daemon.path, "queue", "show"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=vmq.LIMIT_S)
    assert (done.returncode, done.stderr) == (1, "vmqctl: cannot write the answer\n")


class Prompt:
    """vmqctl at a terminal."""

    def __init__(self, socket_path, home):
        self.master, slave = pty.openpty()
        words = [VMQCTL or vmq.program("vmqctl"), "-s", socket_path]
        self.child = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                      env=dict(os.environ, HOME=home, TERM="dumb", LC_ALL="C.UTF-8"))
        os.close(slave)
        self.output = ""

    def expect(self, text):
        """Read up to `text`."""
        def there():
            if select.select([self.master], [], [], 0)[0]:
                self.output += os.read(self.master, 4096).decode()
            return text in self.output

        vmq.wait_until(there, lambda: f"{text!r} in {self.output!r}")
        before, self.output = self.output.split(text, 1)
        return before

    def type(self, text):
        os.write(self.master, text.encode())

    def close(self):
        try:
            return self.child.wait(vmq.LIMIT_S)
        finally:
            self.child.kill()
            os.close(self.master)


def test_prompt_completes_and_goes_on_after_a_refusal(tmp_path):
    with FakeVmqd(dict(REFUSED, **{"queue.allocate": {"id": 42}})) as daemon:
        prompt = Prompt(daemon.path, str(tmp_path))
        prompt.expect("vmq> ")
        prompt.type("queue free eth0 1\n")
        prompt.expect("vmqctl: queue 1 has filters")
        prompt.expect("vmq> ")
        prompt.type("que\tallo\teth0 aff\tau\t\n")
        prompt.expect("queue 42")
        prompt.expect("vmq> ")
        prompt.type("quit\n")
        assert prompt.close() == 0
    assert daemon.requests[1] == ("queue.allocate", {"adapter": "eth0", "affinity": "auto"})
    assert "queue free eth0 1" in (tmp_path / ".vmqctl_history").read_text().replace("\\040", " ")
