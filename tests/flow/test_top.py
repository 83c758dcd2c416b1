# SPDX-License-Identifier: BSD-3-Clause
"""vmqctl top: what passes by queue, as tables, objects, and on terminals of any size. Arithmetic: unit/test_rates.c."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios

import pytest
import vmq
from vmq_site import Site, to

STEP = re.compile(rb"\x1b[\[(][0-9;?]*[A-Za-z@]|\x1b[=>]|\x0f")


class Terminal:
    """`vmqctl top …` at a terminal of a size that can change."""

    def __init__(self, site, *words, lines=24, columns=80, term="vt100"):
        self.master, slave = pty.openpty()
        self.resize(lines, columns)
        words = [vmq.program("vmqctl"), "-s", site.vmqd.socket_path, "top", *words]
        self.child = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                      env=dict(os.environ, TERM=term))
        os.close(slave)
        self.raw = b""

    def resize(self, lines, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def output(self):
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.raw += os.read(self.master, 65536)
            except OSError:
                break
        return STEP.sub(b" ", self.raw).decode(errors="replace")

    def expect(self, text):
        """Wait for it, and look from here on at what comes."""
        vmq.wait_until(lambda: text in self.output(), lambda: f"{text!r} in {self.output()!r}")
        self.raw = b""
        return self

    def expect_drawn(self, text):
        """The same of the whole screen: what changes is drawn by its letters else."""
        def drawn():
            self.type("\x0c")
            return text in self.output()

        vmq.wait_until(drawn, lambda: f"{text!r} in {self.output()!r}")
        self.raw = b""
        return self

    def type(self, keys):
        os.write(self.master, keys.encode())
        return self

    def end(self):
        self.type("q")
        return self.wait()

    def wait(self):
        vmq.wait_until(lambda: self.output() is None or self.child.poll() is not None, "top to end")
        return self.child.returncode

    def delete(self):
        self.child.kill()
        self.child.wait()
        os.close(self.master)


@pytest.fixture
def site(lab):
    site = Site(lab)
    site.add_vm("web")
    site.add_vm("db", guest=False)
    return site


@pytest.fixture
def terminal(lab, site):
    return lambda *words, **options: lab.make(Terminal, site, *words, **options)


def samples(lab, site, *words):
    """Rows of each sample as long as frames come, by queue id."""
    site.tops = getattr(site, "tops", 0) + 1
    log = lab.path(f"top{site.tops}.log")
    child = lab.make(vmq.Process, "top", [vmq.program("vmqctl"), "-s", site.vmqd.socket_path, "-j", "top", *words], log)
    seen = 0
    for round in range(100000):
        child.check()
        site.play([to("web", round), to("web", round), to("db", round)])
        lines = child.log().splitlines()
        for line in lines[seen:len(lines) - (not child.log().endswith("\n"))]:
            seen += 1
            yield {row["id"]: row for row in json.loads(line)}


def test_what_passes_is_shown(lab, site):
    for rows in samples(lab, site):
        if rows[1]["rx_packets_per_s"]:
            break
    assert rows[1]["rx_bits_per_s"] / rows[1]["rx_packets_per_s"] == pytest.approx(8 * 56, rel=0.2)
    assert rows[2]["drops_per_s"].keys() == {"vm_down"} and rows[2]["rx_packets_per_s"] == 0
    assert (rows[1]["vm"], rows[1]["cpu"], rows[1]["buffers"]) == ("web", 1, 512)
    assert rows[0]["rx_packets_per_s"] == rows[1]["tx_packets_per_s"] == 0


@pytest.mark.parametrize("by, first", [("rx", 1), ("drops", 2), ("id", 0)])
def test_rows_are_in_order(lab, site, by, first):
    for rows in samples(lab, site, "sort", by):
        if rows[1]["rx_packets_per_s"] and rows[2]["drops_per_s"]:
            break
    assert next(iter(rows)) == first


def test_a_table_for_pipes(site):
    done = site.vmqd.vmqctl("top", "eth0", "count", "2")
    tables = done.stdout.split("\n\n")
    assert done.returncode == 0 and len(tables) == 2
    heads, *rows = tables[0].splitlines()
    assert heads.split() == ["ADAPTER", "ID", "VM", "CPU", "BUFFERS", "RX/S", "RX-BITS/S", "TX/S", "TX-BITS/S", "DROPS/S"]
    assert [row.split()[:3] for row in rows] == [["eth0", "0", "-"], ["eth0", "1", "web"], ["eth0", "2", "db"],
                                                 ["eth0", "drop", "-"]]


def test_a_pipe_that_closes_ends_it(site):
    done = subprocess.run(f"{vmq.program('vmqctl')} -s {site.vmqd.socket_path} top | head -1", shell=True,
                          capture_output=True, text=True, timeout=vmq.LIMIT_S)
    assert done.stdout.startswith("ADAPTER")


@pytest.mark.parametrize("words, status, sentence", [
    (("eth9",), 1, "there is no adapter eth9"),
    (("sort", "name"), 2, 'sort must be rx|tx|drops|id, not "name"'),
    (("interval", "0"), 2, "interval must be from 1 to 3600 seconds"),
    (("interval", "3601"), 2, "interval must be from 1 to 3600 seconds"),
    (("count", "0"), 2, "count must be 1 or more, not 0"),
])
def test_what_is_wrong_is_said(site, words, status, sentence):
    done = site.vmqd.vmqctl("top", *words)
    assert done.returncode == status and sentence in done.stderr


def test_vmqd_has_no_such_method(site):
    with pytest.raises(vmq.Refused, match="top"):
        site.vmqd.rpc.call("top")
    assert site.vmqd.check()


def test_everyone_may_look(site):
    os.chmod(site.lab.directory, 0o755)
    os.chmod(site.vmqd.directory, 0o755)
    os.chmod(site.vmqd.socket_path, 0o666)
    done = subprocess.run([vmq.program("vmqctl"), "-s", site.vmqd.socket_path, "top", "count", "1"], capture_output=True,
                          text=True, user="nobody", extra_groups=[], timeout=vmq.LIMIT_S)
    assert done.returncode == 0 and "web" in done.stdout


# On a terminal


def test_keys(terminal):
    screen = terminal("eth0").expect("vmqctl top eth0  every 1 s, by rx")
    screen.type("i").expect("id")
    screen.type("d").expect("drops")
    screen.type("p").expect("held")
    screen.type("p")
    screen.type("i").expect("id")
    screen.type("j\n").expect("drops_per_s")
    screen.type("\x1b").expect("RX-BITS/S")
    assert screen.end() == 0


def test_one_queue_is_looked_into(terminal):
    screen = terminal("sort", "id").expect("web")
    screen.type("\x1bOB\n").expect("rx_packets_per_s")
    screen.type("j" * 100 + "k" * 9).expect_drawn("52:54:00:00:00:01")
    assert screen.end() == 0


@pytest.mark.parametrize("lines, columns", [(1, 1), (2, 5), (3, 200), (4, 20), (300, 500)])
def test_terminals_of_any_size(terminal, lines, columns):
    screen = terminal(lines=lines, columns=columns).expect("v")
    screen.type("jjjjkd\n\x1bijjjjjjjjj")
    screen.resize(30, 100)
    os.kill(screen.child.pid, signal.SIGWINCH)
    screen.expect_drawn("web")
    screen.resize(lines, columns)
    os.kill(screen.child.pid, signal.SIGWINCH)
    assert screen.end() == 0


def test_queues_come_and_go_under_it(lab, site, terminal):
    screen = terminal("sort", "id").expect("web")
    screen.type("jjj")
    site.vmqd.ctl("vm", "del", "db")
    site.guests["web"].kill()
    site.vmqd.ctl("vm", "del", "web")
    screen.expect_drawn("2 queues")
    site.vmqd.ctl("host", "del", "eth0")
    site.vmqd.ctl("adapter", "del", "eth0")
    screen.expect_drawn("0 queues")
    screen.type("jk\n")
    assert screen.end() == 0


def test_vmqd_goes_away(site, terminal):
    screen = terminal().expect("web")
    site.vmqd.child.send_signal(signal.SIGTERM)
    assert screen.wait() == 3
    assert "vmqd closed the connection" in screen.output()
    site.vmqd.wait()


def test_a_terminal_that_is_unknown(terminal):
    screen = terminal(term="no-such-terminal")
    assert screen.wait() == 1 and "TERM names no terminal that is known here" in screen.output()


def test_a_terminal_that_goes_away(site):
    screen = Terminal(site).expect("web")
    os.close(screen.master)
    screen.child.wait(vmq.LIMIT_S)
