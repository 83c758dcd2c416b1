# SPDX-License-Identifier: BSD-3-Clause
"""Metrics for Prometheus: what `stats show` says, by HTTP on the loopback or a UNIX socket, to anybody's collector."""

import contextlib
import http.client
import json
import os
import re
import socket
import stat
import subprocess
import urllib.parse

import pytest
import vmq
from guest import made
from vmq_control import kill_and_launch
from vmq_site import MACS, WIRE_IF, Site, to

FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "dist")
FRAMES = 300
PORT = 9720
CONNECTIONS_MAX = 16
SAMPLE = re.compile(r'([a-z][a-z0-9_]*)\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (\d+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
COUNTERS = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")


class Connection(http.client.HTTPConnection):
    """HTTP over a UNIX socket, or to (address, port) in a namespace."""

    def __init__(self, where, netns=None):
        super().__init__("vmqd", timeout=vmq.LIMIT_S)
        self.where, self.netns = where, netns

    def connect(self):
        family = socket.AF_UNIX if isinstance(self.where, str) else \
            socket.AF_INET6 if ":" in self.where[0] else socket.AF_INET
        with self.netns.entered() if self.netns else contextlib.nullcontext():
            self.sock = socket.socket(family)
        self.sock.settimeout(vmq.LIMIT_S)
        self.sock.connect(self.where)


def ask(where, netns=None, method="GET", url="/metrics"):
    """(status, type, text)"""
    connection = Connection(where, netns)
    connection.request(method, url)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, response.headers["Content-Type"], text


def samples(text):
    """{(name, labels): value}; every family is told before its samples, and no sample comes twice."""
    found, families = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in families and name.endswith("_total") == (kind == "counter")
            families[name] = kind
        elif not line.startswith("# HELP "):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            assert name in families, line
            key = name, frozenset(LABEL.findall(labels))
            assert key not in found, line
            found[key] = int(value)
    return found


def labelled(found, metric, **labels):
    """The values of a metric's samples that have these labels."""
    wanted = {(key, str(value)) for key, value in labels.items()}
    return [value for (which, all_of_them), value in found.items() if which == metric and wanted <= all_of_them]


def value(found, metric, **labels):
    only, = labelled(found, metric, **labels)
    return only


@pytest.fixture
def site(lab):
    site = Site(lab, options=("--metrics", lab.path("metrics")))
    site.where = lab.path("metrics")
    return site


def test_every_counter_is_the_one_of_stats_show(site):
    for name in MACS:
        site.add_vm(name)
    site.play([to(name, seq) for seq in range(FRAMES) for name in MACS])
    stats, adapter = site.vmqd.stats(), site.vmqd.ctl("adapter", "show")[0]
    status, kind, text = ask(site.where)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = samples(text)
    for queue in stats["queues"]:
        labels = {"adapter": "eth0", "queue": queue["id"], "vm": queue["vm"]}
        for counter in COUNTERS:
            assert value(found, f"vmq_queue_{counter}_total", **labels) == queue[counter]
        for reason, count in queue["drops"].items():
            assert value(found, "vmq_queue_dropped_total", reason=reason, **labels) == count
    for counter in COUNTERS:
        assert value(found, f"vmq_adapter_wire_{counter}_total", adapter="eth0") == adapter[counter]
    assert value(found, "vmq_adapter_copies_total") == stats["entered"]["copies"]
    assert sum(labelled(found, "vmq_worker_received_packets_total")) >= FRAMES * len(MACS)
    assert sum(labelled(found, "vmq_worker_busy_cycles_total")) > 0


def test_states_are_told(site):
    site.add_vm("web")
    site.add_vm("db", guest=False)
    found = samples(ask(site.where)[2])
    assert value(found, "vmq_adapter_link_up", adapter="eth0") == 1
    assert value(found, "vmq_vm_connected", vm="web") == 1 and value(found, "vmq_vm_connected", vm="db") == 0
    queue, = (each for each in site.vmqd.ctl("queue", "show", "eth0") if each["vm"] == "web")
    assert value(found, "vmq_queue_info", vm="web", state=queue["state"], cpu=queue["cpu"], name=queue["name"]) == 1
    assert value(found, "vmq_queue_buffers", vm="web") == queue["buffers"]
    assert value(found, "vmq_queue_buffers_in_use", vm="web") == 0
    assert value(found, "vmq_filter_info", vm="web", mac=MACS["web"], hardware="no") == 1
    site.outside.run("ip", "link", "set", WIRE_IF, "down")
    vmq.wait_until(lambda: value(samples(ask(site.where)[2]), "vmq_adapter_link_up") == 0, "the link to be down")


def test_what_freed_queues_counted_stays(site):
    site.add_vm("web")
    site.play([to("web", seq) for seq in range(FRAMES)])
    site.vmqd.ctl("vm", "del", "web")
    vmq.wait_until(lambda: len(site.vmqd.stats()["queues"]) == 2, "the queue to be gone")
    found = samples(ask(site.where)[2])
    assert value(found, "vmq_queue_rx_packets_total", queue="freed") == FRAMES
    assert labelled(found, "vmq_queue_rx_packets_total", vm="web") == []


def test_a_name_cannot_write_samples(site):
    name = 'a"} 1 \\ b'
    site.vmqd.ctl("queue", "allocate", "eth0", "name", name)
    found = samples(ask(site.where)[2])
    assert name in {dict(labels).get("name", "").replace('\\"', '"').replace("\\\\", "\\") for _, labels in found}


class Prometheus(vmq.Process):
    """The real one, that collects every second and has our rules."""

    CONFIG = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
              "rule_files": [os.path.abspath(os.path.join(FOLDER, "prometheus", "vmq.rules.yml"))],
              "scrape_configs": [{"job_name": "vmq", "static_configs": [{"targets": [f"127.0.0.1:{PORT}"]}]}]}
    PORT = 9090

    def __init__(self, lab, netns):
        self.netns = netns
        config = lab.path("prometheus.yml")
        with open(config, "w") as file:
            json.dump(self.CONFIG, file)
        words = [prometheus_program("prometheus"), f"--config.file={config}", f"--web.listen-address=127.0.0.1:{self.PORT}",
                 f"--storage.tsdb.path={lab.path('prometheus')}"]
        super().__init__("prometheus", netns.words(*words), lab.path("prometheus.log"))
        vmq.wait_until(lambda: self.check() and self.answers(), "prometheus to answer")

    def answers(self):
        with contextlib.suppress(ConnectionRefusedError):
            return self.ask("/-/ready")[0] == 200

    def ask(self, url):
        return ask(("127.0.0.1", self.PORT), self.netns, url=url)

    def query(self, expression):
        """[(labels, value)]"""
        found = json.loads(self.ask(f"/api/v1/query?query={urllib.parse.quote(expression)}")[2])["data"]["result"]
        return [(each["metric"], each["value"][1]) for each in found]


def prometheus_program(name):
    return os.path.join(made("mkpackage", "prometheus"), "usr", "bin", name)


def test_prometheus_collects_them(lab):
    netns = lab.netns("vmqd")
    netns.run("ip", "link", "set", "lo", "up")
    vmqd = lab.vmqd(netns, options=("--metrics", f"127.0.0.1:{PORT}"))
    vmqd.ctl("adapter", "add", "eth0", "port", "vdev=net_null0")
    vmqd.add_vm(lab, "web", MACS["web"], 10)
    prometheus = lab.make(Prometheus, lab, netns)
    vmq.wait_until(lambda: prometheus.query("up == 1"), "prometheus to have collected")
    (labels, connected), = prometheus.query("vmq_vm_connected")
    assert (labels["adapter"], labels["vm"], connected) == ("eth0", "web", "0")
    vmq.wait_until(lambda: prometheus.query('ALERTS{alertname="VmqGuestNotConnected"}'), "an alert")


def test_promtool_finds_nothing_amiss(site):
    site.add_vm("web")
    promtool = prometheus_program("promtool")
    checked = subprocess.run([promtool, "check", "metrics"], input=ask(site.where)[2], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    rules = os.path.join(FOLDER, "prometheus", "vmq.rules.yml")
    checked = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_rules_and_dashboard_use_what_there_is(site):
    names = set(re.findall(r"^# TYPE (\S+)", ask(site.where)[2], re.M))
    for path in (("prometheus", "vmq.rules.yml"), ("grafana", "vmq.json")):
        with open(os.path.join(FOLDER, *path)) as file:
            text = file.read()
        used = set(re.findall(r"\bvmq_[a-z_]+(?=[{\[) ])", text))
        assert used and used <= names
    assert json.loads(text)["panels"]


@pytest.mark.parametrize("address,host", [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")])
def test_on_the_loopback(lab, address, host):
    netns = lab.netns("vmqd")
    netns.run("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0")
    netns.run("ip", "link", "set", "lo", "up")
    lab.vmqd(netns, options=("--metrics", f"{address}:{PORT}"))
    assert "vmq_worker_clock_hertz" in ask((host, PORT), netns)[2]


@pytest.mark.parametrize("where,sentence", [
    ("0.0.0.0:9720", "only an address of this host's loopback"),
    ("[::]:9720", "only an address of this host's loopback"),
    ("9720", "must be ADDRESS:PORT"),
    ("localhost:9720", "no numeric address"),
    ("127.0.0.1:port", "no numeric address"),
    ("/nowhere/metrics", "No such file"),
    ("/" + "x" * 120, "too long"),
])
def test_where_it_cannot_be_is_refused(lab, where, sentence):
    vmqd = lab.vmqd(lab.netns("vmqd"), options=("--metrics", where), wait=False)
    vmq.wait_until(lambda: not vmqd.alive(), "vmqd to give up")
    with open(vmqd.log_path) as log:
        text = log.read()
    assert vmqd.child.returncode == 1 and "--metrics" in text and sentence in text


def test_only_metrics_are_served(site):
    assert ask(site.where, url="/")[0] == 404
    status, _, text = ask(site.where, method="POST")
    assert status == 405 and "GET" in text
    assert ask(site.where, method="HEAD")[::2] == (200, "")


def test_who_says_nothing_stands_in_nobody_s_way(site):
    """More connections than are served, each silent or in the middle of a request: vmqctl is answered all the same."""
    held = []
    for number in range(2 * CONNECTIONS_MAX):
        held.append(socket.socket(socket.AF_UNIX))
        held[-1].connect(site.where)
        if number % 2:
            held[-1].send(b"GET /metrics HTTP/1.1\r\nHost: ")
    assert site.vmqd.ctl("adapter", "show")[0]["name"] == "eth0"
    for each in held:
        each.close()
    vmq.wait_until(lambda: ask(site.where)[0] == 200, "room for who asks")


def test_its_socket_is_the_group_s_and_goes_with_vmqd(site):
    assert stat.S_IMODE(os.stat(site.where).st_mode) == 0o660
    kill_and_launch(site.vmqd)
    assert ask(site.where)[0] == 200
    site.vmqd.child.terminate()
    site.vmqd.wait()
    assert not os.path.exists(site.where)
