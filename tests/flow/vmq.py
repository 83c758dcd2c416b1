# SPDX-License-Identifier: BSD-3-Clause
"""
What the tests stand on: namespaces, veth pairs, guests, vmqd, and frames sent and captured.

Everything belongs to a Lab. A Lab undoes what it made, in reverse order, whatever happened, and shows the end of
every log when a test failed. Nothing waits for a time: every wait is for a condition, with a limit far beyond what
a slow machine needs.
"""

import contextlib
import ctypes
import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import pcap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT_S = float(os.environ.get("VMQ_TEST_LIMIT", "60"))
POLL_S = 0.005
CHUNK_FRAMES = 200
LOG_TAIL_LINES = 40
IDLE_NICE = 10

TPID_8021Q = 0x8100
TPID_8021AD = 0x88A8
ETHERTYPE_TEST = 0x88B5  # for local experiments: no kernel answers it
BROADCAST = "ff:ff:ff:ff:ff:ff"


def wait_until(condition, what, limit_s=LIMIT_S):
    """The first true answer of `condition`; `what` says in the failure what was waited for (text or a function)."""
    end = time.monotonic() + limit_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit_s:.0f} s for {what() if callable(what) else what}")
        time.sleep(POLL_S)


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def program(name):
    """Where the build put vmqd or vmqctl."""
    builds = [os.environ.get("VMQD_BUILD"), os.environ.get("MESON_BUILD_ROOT"), os.path.join(ROOT, "build")]
    for build in filter(None, builds):
        path = os.path.join(build, "src", name)
        if os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise RuntimeError(f"{name} is not built: run make, or name the build directory in VMQD_BUILD")


def testpmd():
    path = os.environ.get("TESTPMD") or shutil.which("dpdk-testpmd")
    if not path:
        raise RuntimeError("dpdk-testpmd is not there: install dpdk-dev, or name the program in TESTPMD")
    return path


# Frames


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def tag(vlan, priority=0, tpid=TPID_8021Q):
    return struct.pack("!HH", tpid, priority << 13 | vlan)


def frame(dst, src="02:00:00:00:00:01", tags=b"", seq=0, size=60, ethertype=ETHERTYPE_TEST):
    """A frame of `size` bytes whose payload starts with a sequence number and goes on with bytes made from it."""
    head = mac_bytes(dst) + mac_bytes(src) + tags + struct.pack("!H", ethertype)
    payload = struct.pack("!I", seq) + bytes((seq + i) & 0xFF for i in range(max(0, size - len(head) - 4)))
    return head + payload


def untagged(content):
    """The frame as a VM in access mode sees it: without its outermost tag."""
    if struct.unpack_from("!H", content, 12)[0] in (TPID_8021Q, TPID_8021AD):
        return content[:12] + content[16:]
    return content


def tagged(content, vlan, tpid=TPID_8021Q):
    return content[:12] + tag(vlan, tpid=tpid) + content[12:]


def difference(got, expected):
    """What is wrong with a sequence of frames, in one line a person can act on; empty if nothing is."""
    for i, (a, b) in enumerate(itertools.zip_longest(got, expected)):
        if a != b:
            shown = ["nothing" if x is None else f"{len(x)} bytes {x[:40].hex()}" for x in (a, b)]
            return f"{len(got)} frames instead of {len(expected)}; frame {i} is {shown[0]}, expected {shown[1]}"
    return ""


# The parts of a lab


class Refused(Exception):
    """vmqd or vmqctl said no."""

    def __init__(self, status, code, message):
        super().__init__(f"exit {status}: {code}: {message}")
        self.status, self.code, self.message = status, code, message


class NetNs:
    """A network namespace in which no kernel speaks unasked."""

    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")
        for which in ("all", "default"):
            self.run("sysctl", "-qw", f"net.ipv6.conf.{which}.disable_ipv6=1")

    def words(self, *words):
        return ("ip", "netns", "exec", self.name, *words)

    def run(self, *words):
        return run(*self.words(*words))

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace: sockets made now belong to it."""
        libc = ctypes.CDLL(None, use_errno=True)
        clone_newnet = 0x40000000
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            if libc.setns(there.fileno(), clone_newnet):
                raise OSError(ctypes.get_errno(), f"cannot enter {self.name}")
            try:
                yield
            finally:
                if libc.setns(home.fileno(), clone_newnet):
                    raise OSError(ctypes.get_errno(), "cannot leave a namespace")

    def up(self, ifname, mtu=None):
        """Up, with whatever offloads the kernel gives to it."""
        if mtu:
            self.run("ip", "link", "set", "dev", ifname, "mtu", str(mtu))
        self.run("ip", "link", "set", "dev", ifname, "up", "promisc", "on")

    def delete(self):
        run("ip", "netns", "del", self.name)


class Wire:
    """One interface as a place to send frames from and to capture what arrives, tags and all."""

    SOL_PACKET = 263
    PACKET_AUXDATA = 8
    PACKET_IGNORE_OUTGOING = 23
    TP_STATUS_VLAN_VALID = 1 << 4
    TP_STATUS_VLAN_TPID_VALID = 1 << 6
    SO_RCVBUFFORCE = 33
    SO_SNDBUFFORCE = 32
    BUFFER_BYTES = 256 << 20
    BUFFER_FRAMES = BUFFER_BYTES // 512  # more than it can hold: the kernel counts its own bytes beside each frame's
    AUXDATA = struct.Struct("=IIIHHHH")

    def __init__(self, netns, ifname):
        self.frames = []
        with netns.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, self.SO_RCVBUFFORCE, self.BUFFER_BYTES)
            self.socket.setsockopt(socket.SOL_SOCKET, self.SO_SNDBUFFORCE, 8 << 20)
            self.socket.setsockopt(self.SOL_PACKET, self.PACKET_AUXDATA, 1)
            self.socket.setsockopt(self.SOL_PACKET, self.PACKET_IGNORE_OUTGOING, 1)
            self.socket.bind((ifname, 3))

    def send(self, content):
        self.socket.send(content)

    def play(self, frames, taken=None, chunk=CHUNK_FRAMES):
        """Send all; after each chunk wait until `taken(n)` says that the first n frames arrived."""
        for at in range(0, len(frames), chunk):
            for content in frames[at:at + chunk]:
                self.socket.send(content)
            sent = min(at + chunk, len(frames))
            if taken:
                wait_until(lambda: taken(sent), f"{sent} frames of {len(frames)} to be taken")

    def received(self):
        """All frames that arrived from the start until this call, in order; it ends whatever goes on arriving."""
        for _ in range(self.BUFFER_FRAMES):
            try:
                content, ancillary, _, _ = self.socket.recvmsg(65536, 256, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            self.frames.append(self.with_tag(content, ancillary))
        return self.frames

    def with_tag(self, content, ancillary):
        """The kernel takes the outermost tag out of the bytes and tells it beside them."""
        for level, kind, value in ancillary:
            if level == self.SOL_PACKET and kind == self.PACKET_AUXDATA:
                status, _, _, _, _, tci, tpid = self.AUXDATA.unpack(value)
                if status & self.TP_STATUS_VLAN_VALID:
                    tpid = tpid if status & self.TP_STATUS_VLAN_TPID_VALID else TPID_8021Q
                    return content[:12] + struct.pack("!HH", tpid, tci) + content[12:]
        return content

    def wait(self, count, what="frames on the wire", limit_s=LIMIT_S):
        wait_until(lambda: len(self.received()) >= count, lambda: f"{count} {what}, {len(self.frames)} came", limit_s)
        return self.frames

    def delete(self):
        self.socket.close()


class Process:
    """A program with a log, that this lab started and ends by its id; it ends with the tests, however they end."""

    PR_SET_PDEATHSIG = 1

    def __init__(self, name, words, log, **options):
        self.name, self.log_path = name, log
        libc = ctypes.CDLL(None)
        with open(log, "ab") as file:
            self.child = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, **options,
                                          preexec_fn=lambda: libc.prctl(self.PR_SET_PDEATHSIG, signal.SIGKILL))

    @property
    def pid(self):
        return self.child.pid

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def log_tail(self):
        return "\n".join(self.log().splitlines()[-LOG_TAIL_LINES:])

    def alive(self):
        return self.child.poll() is None

    def check(self):
        if not self.alive():
            raise RuntimeError(f"{self.name} ended with {self.child.returncode}:\n{self.log_tail()}")
        return True

    def kill(self):
        if self.alive():
            self.child.kill()
        self.child.wait(LIMIT_S)

    def wait(self, limit_s=LIMIT_S):
        try:
            return self.child.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} did not end in {limit_s:.0f} s:\n{self.log_tail()}") from None

    def delete(self):
        self.kill()


class Rpc:
    """One connection to the control socket, one JSON object a line."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(path)
        self.unread = b""
        self.ids = itertools.count(1)

    def send(self, content):
        self.socket.sendall(content)

    def line(self):
        """The next line from vmqd, without its end; None once vmqd has closed the connection."""
        while b"\n" not in self.unread:
            more = self.socket.recv(65536)
            if not more:
                return None
            self.unread += more
        line, self.unread = self.unread.split(b"\n", 1)
        return line

    def answer(self, id):
        while True:
            line = self.line()
            if line is None:
                raise ConnectionError("vmqd closed the connection")
            message = json.loads(line)
            if message.get("id") == id:
                return message

    def call(self, method, **params):
        id = next(self.ids)
        self.send(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode() + b"\n")
        message = self.answer(id)
        if "error" in message:
            raise Refused(1, message["error"].get("code"), message["error"].get("message"))
        return message.get("result")

    def delete(self):
        self.socket.close()


class Vmqd(Process):
    """vmqd in the foreground, with socket, state and configuration of its own."""

    def __init__(self, lab, netns, config="", cpus=None, memory_mb=256, options=(), eal=(), wait=True):
        self.directory = lab.path("vmqd")
        os.mkdir(self.directory)
        self.socket_path = os.path.join(self.directory, "ctl")
        self.state_path = os.path.join(self.directory, "state.conf")
        self.config_path = os.path.join(self.directory, "vmq.conf")
        with open(self.config_path, "w") as file:
            file.write(config)
        words = [program("vmqd"), "-c", self.config_path, "-s", self.socket_path, "--state", self.state_path,
                 "--memory", str(memory_mb), "--huge", "off"]
        words += ["--cpus", cpus] if cpus else []
        words += [*options, *(["--", *eal] if eal else [])]
        self.rpc = None
        super().__init__("vmqd", netns.words(*words), os.path.join(self.directory, "log"),
                         env=dict(os.environ, RUNTIME_DIRECTORY=self.directory))
        if wait:
            self.wait_ready()

    def wait_ready(self):
        wait_until(lambda: self.check() and self.answers(), "vmqd to answer on its socket")

    def answers(self):
        try:
            self.rpc = Rpc(self.socket_path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        self.rpc.call("adapter.show")
        return True

    def vmqctl(self, *words):
        """vmqctl as a person calls it: the finished process, whatever its exit."""
        return subprocess.run([program("vmqctl"), "-s", self.socket_path, *map(str, words)], capture_output=True,
                              text=True, timeout=LIMIT_S)

    def ctl(self, *words):
        """`vmqctl -j`: what it printed, as an object; Refused if it exits with anything but 0."""
        done = self.vmqctl("-j", *words)
        if done.returncode == 0:
            return json.loads(done.stdout) if done.stdout.strip() else None
        self.check()
        try:
            error = json.loads(done.stdout or done.stderr)["error"]
        except (ValueError, KeyError, TypeError):
            error = {"code": None, "message": done.stderr.strip()}
        raise Refused(done.returncode, error["code"], error["message"])

    def stats(self, adapter="eth0"):
        answer = self.rpc.call("stats.show", adapter=adapter)
        return next(one for one in answer["adapters"] if one["adapter"] == adapter)

    def queue_stats(self, id, adapter="eth0"):
        return next(queue for queue in self.stats(adapter)["queues"] if queue["id"] == id)

    def entered(self, where="wire", adapter="eth0"):
        return self.stats(adapter)["entered"][where]

    def settled(self, adapter="eth0"):
        """The counters once every frame that entered is in exactly one of them."""
        stats = {}

        def adds_up():
            stats.update(self.stats(adapter))
            return not on_the_way(stats)

        wait_until(lambda: self.check() and adds_up(), lambda: f"counters to add up: {balance(stats)}")
        return stats

    def add_vm(self, lab, name, mac, vlan=None, adapter="eth0", mode="server", **words):
        """`vm add` with a socket of its own; the path of the socket."""
        path = lab.path(f"{name}.sock")
        macs = [mac] if isinstance(mac, str) else list(mac)
        command = ["vm", "add", name, "adapter", adapter, "socket", path, "mode", mode, "mac", *macs]
        command += [] if vlan is None else ["vlan", vlan]
        for key, value in words.items():
            command += [key.replace("_", "-"), value]
        self.ctl(*command)
        return path

    def vm(self, name):
        answer = self.ctl("vm", "show", name)
        return answer[0] if isinstance(answer, list) else answer

    def vm_queue(self, name):
        return self.vm(name)["queue"]

    def wait_connected(self, name, connected=True):
        state = "connected" if connected else "gone"
        wait_until(lambda: self.check() and bool(self.vm(name)["connected"]) == connected, f"{name} to be {state}")

    def stop(self):
        """SIGTERM must end it with exit 0 and leave no socket behind."""
        if self.rpc:
            self.rpc.delete()
        self.check()
        self.child.send_signal(signal.SIGTERM)
        status = self.wait()
        assert status == 0, f"vmqd ended with {status} on SIGTERM:\n{self.log_tail()}"
        assert not os.path.exists(self.socket_path), "vmqd left its socket behind"

    def delete(self):
        try:
            if self.alive():
                self.stop()
        finally:
            self.kill()


def on_the_way(stats):
    """How many frames entered and are in no counter of those that left or were dropped."""
    return sum(stats["entered"].values()) - sum(stats["left"].values()) - sum(stats["drops"].values())


def balance(stats):
    return {name: stats.get(name) for name in ("entered", "left", "drops", "missed")}


class TestpmdGuest(Process):
    """
    A guest: virtio-user over vhost-user, without hugepages.

    It records every frame that it gets into a capture, in order, and may send another capture (once start() is
    called). With record=False it only counts.

    @param mode  vmqd's mode of the same socket: `server` (vmqd listens, the guest connects) or `client`.
    """

    __test__ = False
    names = itertools.count(1)

    def __init__(self, lab, socket_path, mode="server", send=None, record=True, mtu=1500, queue_size=1024, cpus=None,
                 device=""):
        name = f"guest{next(self.names)}"
        capture = lab.path(f"{name}.pcap")
        self.capture = pcap.Reader(capture)
        virtio = f"net_virtio_user0,path={socket_path},queues=1,queue_size={queue_size}"
        virtio += ",server=1" if mode == "client" else ""
        virtio += f",{device}" if device else ""
        self.started, self.records = send is None, bool(record or send)
        devices = ["--vdev", virtio]
        if self.records:
            rx = f",rx_pcap={send}" if send else ""
            devices += ["--vdev", f"net_pcap0{rx},tx_pcap={capture}"]
        words = ["stdbuf", "-oL", testpmd(), "--no-huge", "--no-shconf", "--no-telemetry", "--no-pci", "-m", "96",
                 f"--file-prefix={name}.{os.getpid()}", f"--lcores=(0,1)@({cpus or cpu_list()})", *devices, "--", "-i",
                 "--nb-cores=1", "--total-num-mbufs=16384" if mtu <= 1500 else "--total-num-mbufs=6000",
                 "--disable-link-check", "--no-flush-rx", "--forward-mode=" + ("io" if self.records else "rxonly")]
        words += ["--auto-start"] if self.started else []
        words += [f"--max-pkt-len={mtu + 22}", "--mbuf-size=10240"] if mtu > 1500 else []
        super().__init__(name, words, lab.path(f"{name}.log"), stdin=subprocess.PIPE,
                         env=dict(os.environ, RUNTIME_DIRECTORY=lab.directory))

    def wait_ready(self):
        """Forwarding, or ready to be told to."""
        mark = "forwards packets on" if self.started else "testpmd>"
        wait_until(lambda: self.check() and mark in self.log(), f"{self.name} to be ready")
        self.give_way()
        return self

    def give_way(self):
        """One thread polls its ring without end: what is not idle comes first on a machine with few processors."""
        for task in os.listdir(f"/proc/{self.child.pid}/task"):
            with open(f"/proc/{self.child.pid}/task/{task}/comm") as file:
                if "worker" in file.read():
                    os.setpriority(os.PRIO_PROCESS, int(task), IDLE_NICE)

    def command(self, text):
        self.child.stdin.write(text.encode() + b"\n")
        self.child.stdin.flush()

    def start(self):
        self.wait_ready()
        self.command("set fwd io retry")
        self.command("set burst tx delay 50 retry 20000")
        self.command("start")
        self.started = True

    def counters(self):
        """Frames that it received and sent, as its driver counts them."""
        before = len(self.log())
        self.command("show port stats 0")

        def answer():
            return re.search(r"RX-packets: (\d+)[^#]*TX-packets: (\d+)[^#]*Tx-pps", self.log()[before:])

        found = wait_until(lambda: self.check() and answer(), f"counters of {self.name}")
        return {"rx": int(found[1]), "tx": int(found[2])}

    def frames(self):
        return self.capture.read()

    def pause(self):
        """Take nothing any more: the ring fills up."""
        before = len(self.log())
        self.command("stop")
        wait_until(lambda: self.check() and "Forward statistics" in self.log()[before:], f"{self.name} to stop")
        self.started = False

    def resume(self):
        self.command("start")
        self.started = True

    def wait(self, count, limit_s=LIMIT_S):
        """Its frames, once there are `count` of them."""
        wait_until(lambda: self.check() and len(self.frames()) >= count,
                   lambda: f"{count} frames in {self.name}, {len(self.frames())} came", limit_s)
        return self.frames()

    def stop(self):
        self.check()
        self.command("quit")
        Process.wait(self)

    def kill(self):
        if self.alive():
            self.child.kill()
        self.child.wait(LIMIT_S)
        self.child.stdin.close()


def cpu_list():
    return ",".join(map(str, sorted(os.sched_getaffinity(0))))


class Lab:
    """Makes the parts and unmakes them."""

    numbers = itertools.count(1)

    def __init__(self, folder=None):
        self.parts = []
        self.prefix = f"vmq{os.getpid()}"
        self.directory = tempfile.mkdtemp(prefix="vmq-", dir=folder)

    def path(self, name):
        return os.path.join(self.directory, name)

    def keep(self, part):
        self.parts.append(part)
        return part

    def make(self, kind, *arguments, **options):
        """Keep a part from before it begins, so that it is undone even if it fails half-way."""
        part = self.keep(kind.__new__(kind))
        part.__init__(*arguments, **options)
        return part

    def netns(self, name="ns"):
        return self.keep(NetNs(f"{self.prefix}-{next(self.numbers)}-{name}"))

    def veth(self, a, b, mtu=1500):
        """A cable between two namespaces: (namespace, ifname) twice. It goes with the namespaces."""
        (ns_a, if_a), (ns_b, if_b) = a, b
        peer = ("peer", "name", if_b, "netns", ns_b.name)
        run("ip", "link", "add", "name", if_a, "netns", ns_a.name, "type", "veth", *peer)
        ns_a.up(if_a, mtu)
        ns_b.up(if_b, mtu)

    def wire(self, netns, ifname):
        return self.keep(Wire(netns, ifname))

    def vmqd(self, netns, *arguments, **options):
        return self.make(Vmqd, self, netns, *arguments, **options)

    def rpc(self, vmqd):
        return self.keep(Rpc(vmqd.socket_path))

    def guest(self, socket_path, **options):
        return self.make(TestpmdGuest, self, socket_path, **options)

    def process(self, name, *words, **options):
        return self.keep(Process(name, words, self.path(f"{name}.log"), **options))

    def logs(self):
        for part in self.parts:
            if isinstance(part, Process) and hasattr(part, "child"):
                yield f"--- end of the log of {part.name}\n{part.log_tail()}"

    def close(self):
        errors = []
        for part in reversed(self.parts):
            try:
                if not isinstance(part, Process) or hasattr(part, "child"):
                    part.delete()
            except (AssertionError, OSError, RuntimeError) as error:
                errors.append(error)
        shutil.rmtree(self.directory, ignore_errors=True)
        if errors:
            raise errors[0]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind:
            print(*self.logs(), sep="\n")
        try:
            self.close()
        except (AssertionError, OSError, RuntimeError) as second:
            if not kind:
                raise
            print(f"while cleaning up: {second}")
