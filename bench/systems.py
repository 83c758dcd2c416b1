# SPDX-License-Identifier: BSD-3-Clause
"""
The systems that are measured side by side, and the guests behind them. Each forwards from one wire port to guests on
one data-path processor, each takes the same Plan, and each says what that processor did in a window of time.
"""

import collections
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

BENCH = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(BENCH), "tests", "guest"))

import arena
from arena import vmq

GUEST_CPU, DATA_CPU = 0, 1
RING_ENTRIES = 1024
PORTS_PER_GUEST = 30  # DPDK has 32 ports in a process
SYSTEM_MB, OVS_MB, GUEST_MB = 1024, 1536, 512
OVS_PROGRAM = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"

Plan = collections.namedtuple("Plan", "wire macs vms size mtu ndis lookahead vlan offload",
                              defaults=(1500, "6.30", 0, "any", "on"))
"""
What a system shall do: `wire` is the DPDK device in front, `macs` one (MAC, VM index) a filter, `vms` how many guests,
`size` the bytes of a frame without FCS, `mtu` what the device in front can take; the rest only vmqd knows.
"""

Work = collections.namedtuple("Work", "taken_pps frame_ns")
"""Of the data-path processor, in a window: frames that it took in per second, its time for each of them."""


def processor_seconds(pid):
    """Of all threads; the scheduler's own nanoseconds."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


class Memory:
    """How DPDK programs get their memory: the same way for every system of a run."""

    huge = False

    @classmethod
    @contextlib.contextmanager
    def ordinary(cls):
        """Without huge pages for now: then every page counts that is used, and no other."""
        before, cls.huge = cls.huge, False
        try:
            yield
        finally:
            cls.huge = before

    @classmethod
    def eal(cls, megabytes):
        return ["-m", str(megabytes)] + (["--in-memory"] if cls.huge else ["--no-huge", "--no-shconf"])


def on_guest_cpu(*words):
    return ("taskset", "-c", str(GUEST_CPU), *words)


class Testpmd(vmq.Process):
    """A testpmd that is talked to through its prompt."""

    def __init__(self, lab, name, words):
        super().__init__(name, ["stdbuf", "-oL", *words], lab.path(f"{name}.log"), stdin=subprocess.PIPE,
                         env=dict(os.environ, RUNTIME_DIRECTORY=lab.directory))

    def ask(self, text, pattern, count=1):
        """Type a command; the first `count` matches in what it answers."""
        before = len(self.log())
        self.child.stdin.write(text.encode() + b"\n")
        self.child.stdin.flush()

        def answer():
            found = re.findall(pattern, self.log()[before:])
            return found if len(found) >= count else None

        return vmq.wait_until(lambda: self.check() and answer(), f"{self.name} to answer: {text}")

    def wait_ready(self):
        vmq.wait_until(lambda: self.check() and "testpmd> " in self.log(), f"{self.name} to be ready")
        return self

    def kill(self):
        super().kill()
        self.child.stdin.close()


def program_words(lcores, memory_mb, vdevs, options):
    devices = [word for vdev in vdevs for word in ("--vdev", vdev)]
    prefix = f"--file-prefix=bench{os.getpid()}.{next(vmq.Lab.numbers)}"
    return [f"--lcores={lcores}", *Memory.eal(memory_mb), "--single-file-segments", "--no-pci", "--no-telemetry",
            prefix, *devices, "--", *options]


def guest_vdev(number, path):
    return f"net_virtio_user{number},path={path},queues=1,queue_size={RING_ENTRIES}"


class Guest(Testpmd):
    """One process on the guests' processor that is several guests: a virtio-user port each."""

    def __init__(self, lab, sockets, forward=True):
        self.ports = len(sockets)
        vdevs = [guest_vdev(i, path) for i, path in enumerate(sockets)]
        options = ["-i", "--nb-cores=1", f"--total-num-mbufs={16384 + 1280 * len(sockets)}", "--disable-link-check",
                   "--no-flush-rx", "--forward-mode=rxonly", *(["--auto-start"] if forward else [])]
        words = program_words(f"(0,1)@{GUEST_CPU}", GUEST_MB, vdevs, options)
        super().__init__(lab, f"guest{next(vmq.Lab.numbers)}", [*on_guest_cpu(vmq.testpmd()), *words])
        self.wait_ready()

    def all_reached(self):
        """Whether a frame has come to every port."""
        return all(map(int, self.ask("show port stats all", r"RX-packets: (\d+) ", self.ports)))

    def rate_since_last(self):
        """Frames received per second since this was asked before, over all ports; testpmd's own clock."""
        return sum(map(int, self.ask("show port stats all", r"Rx-pps:\s+(\d+)[^\n]*\n[^\n]*\n\s+#{10}", self.ports)))


def guests_for(lab, sockets, **options):
    return [lab.make(Guest, lab, sockets[at:at + PORTS_PER_GUEST], **options)
            for at in range(0, len(sockets), PORTS_PER_GUEST)]


class Attacker(arena.Hostile):
    """A guest that attacks, on the guests' processor."""

    def __init__(self, lab, attack, path):
        super().__init__(lab, attack, path, attack)
        self.wait_ready()
        for task in os.listdir(f"/proc/{self.pid}/task"):
            os.sched_setaffinity(int(task), {GUEST_CPU})

    @staticmethod
    def endless():
        return [name for name, _ in arena.attacks() if name.endswith("-without-end")]


class Ours(vmq.Vmqd):
    """vmqd with one adapter, p0."""

    title = "vmqd"

    def __init__(self, lab, plan, queues=64, netns=None):
        self.lab, self.plan = lab, plan
        self.directory = lab.path("vmqd")
        os.mkdir(self.directory)
        self.socket_path = os.path.join(self.directory, "ctl")
        self.config_path = os.path.join(self.directory, "vmq.conf")
        self.sockets = [lab.path(f"vm{i}") for i in range(plan.vms)]
        with open(self.config_path, "w") as file:
            file.writelines(f"{line}\n" for line in self.config(plan, queues))
        words = [vmq.program("vmqd"), "-c", self.config_path, "-s", self.socket_path, "--state",
                 os.path.join(self.directory, "state.conf"), "--memory", str(SYSTEM_MB), "--cpus", str(DATA_CPU),
                 "--huge", "on" if Memory.huge else "off", "--", "--no-pci", "--no-telemetry"]
        words = netns.words(*words) if netns else words
        self.rpc = None
        vmq.Process.__init__(self, "vmqd", words, os.path.join(self.directory, "log"),
                             env=dict(os.environ, RUNTIME_DIRECTORY=self.directory))
        self.wait_ready()

    def config(self, plan, queues):
        rules = f"ndis {plan.ndis} " + ("lookahead-split on " if plan.lookahead else "")
        filters = max(1024, len(plan.macs) + 64)
        yield f"adapter add p0 port {plan.wire} mtu {plan.mtu} {rules}queues {queues} filters {filters}"
        for vm in range(plan.vms):
            yield "queue allocate p0" + (f" lookahead {plan.lookahead}" if plan.lookahead else "")
        for mac, vm in plan.macs:
            yield f"filter set p0 {vm + 1} mac {mac} vlan {plan.vlan}"
        for vm, path in enumerate(self.sockets):
            yield f"queue complete p0 {vm + 1}"
            offload = "" if plan.offload == "on" else f" offload {plan.offload}"
            yield f"vm attach vm{vm} adapter p0 queue {vm + 1} socket {path}{offload}"

    def mark(self):
        self.marked = time.monotonic(), sum(self.stats("p0")["entered"].values())

    def work(self):
        """The processor never idles behind a saturating source, so all of its time is the frames'."""
        since, before = self.marked
        seconds, frames = time.monotonic() - since, sum(self.stats("p0")["entered"].values()) - before
        return Work(frames / seconds, seconds * 1e9 / frames if frames else None)


class Switch(Testpmd):
    """testpmd as a switch without any look-up: from the wire port to one vhost port."""

    title = "testpmd io"

    def __init__(self, lab, plan, netns=None):
        self.sockets = [lab.path("vm0")]
        vdevs = [plan.wire, f"net_vhost0,iface={self.sockets[0]},queues=1"]
        options = ["-i", "--nb-cores=1", "--total-num-mbufs=32768", "--forward-mode=io", "--record-core-cycles",
                   "--no-lsc-interrupt", "--disable-link-check", "--no-flush-rx", "--auto-start"]
        words = program_words(f"0@{GUEST_CPU},1@{DATA_CPU}", SYSTEM_MB, vdevs, options)
        super().__init__(lab, "switch", [vmq.testpmd(), *words])
        self.wait_ready()

    def mark(self):
        self.ask("clear fwd stats all", "testpmd> ")
        self.marked = time.monotonic()

    def work(self):
        pattern = r"CPU cycles/packet=([\d.]+) \([^\n]* packets=(\d+)\) at (\d+) MHz"
        cycles, frames, megahertz = map(float, self.ask("show fwd stats all", pattern)[0])
        return Work(frames / (time.monotonic() - self.marked), cycles * 1e3 / megahertz)


class Ovs:
    """
    OVS with DPDK and a database of its own; one flow a filter. Stock settings: no option that its documentation
    offers for speed is set, none is taken away.
    """

    title = "OVS-DPDK"

    @staticmethod
    def missing():
        """Why it cannot be measured; empty if it can."""
        if not os.access(OVS_PROGRAM, os.X_OK):
            return "OVS-DPDK is not installed (package openvswitch-switch-dpdk)"
        return ""

    def __init__(self, lab, plan, netns=None):
        self.lab = lab
        self.directory = lab.path("ovs")
        os.mkdir(self.directory)
        self.environment = dict(os.environ, **{f"OVS_{kind}DIR": self.directory for kind in ("RUN", "DB", "LOG")})
        self.prefix = netns.words() if netns else ()
        self.sockets = [os.path.join(self.directory, f"vm{i}") for i in range(plan.vms)]
        self.start_database()
        self.start_switch()
        self.add_ports(plan)
        self.add_flows(plan)

    def delete(self):
        """Its processes are parts of the lab."""

    def path(self, name):
        return os.path.join(self.directory, name)

    def tool(self, *words):
        done = subprocess.run(words, capture_output=True, text=True, env=self.environment, timeout=vmq.LIMIT_S)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)[:200]}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def vsctl(self, *words):
        return self.tool("ovs-vsctl", f"--db=unix:{self.path('db.sock')}", *words)

    def appctl(self, *words):
        return self.tool("ovs-appctl", "-t", self.path("ctl"), *words)

    def start_database(self):
        self.tool("ovsdb-tool", "create", self.path("conf.db"), OVS_SCHEMA)
        socket = self.path("db.sock")
        words = on_guest_cpu("ovsdb-server", self.path("conf.db"), f"--remote=punix:{socket}")
        database = self.lab.process("ovsdb", *words, env=self.environment)
        vmq.wait_until(lambda: database.check() and os.path.exists(socket), "the database of OVS")
        self.vsctl("--no-wait", "init")

    def start_switch(self):
        # Without --legacy-mem OVS adds --in-memory itself, which DPDK refuses together with --no-huge.
        extra = "--no-pci --no-telemetry "
        extra += "--in-memory" if Memory.huge else f"--no-huge --no-shconf --legacy-mem -m {OVS_MB}"
        settings = ["dpdk-init=true", f"dpdk-extra={extra}", f"pmd-cpu-mask={1 << DATA_CPU:#x}",
                    f"dpdk-lcore-mask={1 << GUEST_CPU:#x}"]
        settings += [f"dpdk-socket-mem={OVS_MB}"] if Memory.huge else []
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                   *(f'other_config:{key}="{value}"' for key, _, value in (text.partition("=") for text in settings)))
        self.process = self.lab.process("ovs-vswitchd", *self.prefix, OVS_PROGRAM, f"unix:{self.path('db.sock')}",
                                        f"--unixctl={self.path('ctl')}", env=self.environment)
        vmq.wait_until(lambda: self.process.check() and os.path.exists(self.path("ctl")), "OVS to answer")

    def add_ports(self, plan):
        words = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"]
        if plan.wire:
            words += ["--", "add-port", "br0", "p0", "--", "set", "Interface", "p0", "type=dpdk", "ofport_request=1000",
                      f"mtu_request={plan.mtu}", f'options:dpdk-devargs="{plan.wire}"']
        for i in range(plan.vms):
            words += ["--", "add-port", "br0", f"vm{i}", "--", "set", "Interface", f"vm{i}", "type=dpdkvhostuser",
                      f"ofport_request={i + 1}"]
        self.vsctl(*words)
        failed = self.vsctl("--columns=error", "--bare", "list", "Interface").strip()
        if failed:
            raise RuntimeError(f"OVS: {failed}")

    def add_flows(self, plan):
        with open(self.path("flows"), "w") as file:
            for mac, vm in plan.macs:
                file.write(f"priority=10,dl_dst={mac},actions=output:{vm + 1}\n")
        management = f"unix:{self.path('br0.mgmt')}"
        self.tool("ovs-ofctl", "del-flows", management)
        self.tool("ovs-ofctl", "add-flows", management, self.path("flows"))

    def mark(self):
        self.appctl("dpif-netdev/pmd-stats-clear")

    def work(self):
        """`pmd-perf-show`: what it received, and the cycles of the iterations that received anything."""
        text = self.appctl("dpif-netdev/pmd-perf-show")
        seconds = re.search(r"Measurement duration: ([\d.]+) s", text)
        used = re.search(r"Used TSC cycles:\s+(\d+)\s+\(\s*([\d.]+) %", text)
        received = re.search(r"Rx packets:\s+(\d+)\s+\(\d+ Kpps, (\d+) cycles/pkt\)", text)
        if not seconds or not used or not received:
            raise RuntimeError(f"pmd-perf-show of OVS is not as expected:\n{text}")
        hertz = float(used[1]) / float(used[2]) * 100 / float(seconds[1])
        return Work(float(received[1]) / float(seconds[1]), float(received[2]) * 1e9 / hertz)


def probe(lab, *words, vdevs=(), netns=None, limit_s=60):
    """Run bench_probe and return what it found."""
    done = lab.path(f"probe{next(vmq.Lab.numbers)}.json")
    program = os.path.join(os.environ["VMQD_BUILD"], "bench", "bench_probe")
    command = on_guest_cpu(program, *program_words(f"0@{GUEST_CPU}", GUEST_MB, vdevs, map(str, words)))
    process = lab.process("probe", *(netns.words(*command) if netns else command),
                          env=dict(os.environ, RUNTIME_DIRECTORY=lab.directory))
    if process.wait(limit_s):
        raise RuntimeError(f"the probe ended with {process.child.returncode}:\n{process.log_tail()}")
    return json.loads(next(line for line in process.log().splitlines() if line.startswith("{")))
