# SPDX-License-Identifier: BSD-3-Clause
"""A real QEMU guest behind a vhost-user socket, driven over its second serial port."""

import fcntl
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "flow"))

import vmq

BOOT_LIMIT_S = 180
COMMAND_LIMIT_S = 120
MEMORY_MB = 128


def run_script(script, *words):
    """A script of this folder that makes what guests are made of. One at a time: tests may run side by side."""
    folder = os.open(HERE, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        return subprocess.run([os.path.join(HERE, script), *words], capture_output=True, text=True)
    finally:
        os.close(folder)


def made(script, *words):
    """The last line that it prints: the directory of what it made, if it was not there."""
    done = run_script(script, *words)
    if done.returncode:
        raise RuntimeError(f"{script}: {done.stderr.strip()}")
    return done.stdout.splitlines()[-1]


class Guest(vmq.Process):
    """A guest that answers commands on `serial`, a stream socket."""

    numbers = itertools.count(1)
    serial = None

    def begin(self):
        """Nothing was said yet."""
        self.unread, self.ids = "", itertools.count(1)

    def __init__(self, name, words, log, **options):
        self.begin()
        super().__init__(name, words, log, stdin=subprocess.DEVNULL, **options)

    def line(self, limit_s):
        """The next line that it says."""

        def arrived():
            self.check()
            try:
                self.unread += self.serial.recv(4096).decode(errors="replace")
            except TimeoutError:
                pass
            return "\n" in self.unread

        if "\n" not in self.unread:
            vmq.wait_until(arrived, f"a line from {self.name}", limit_s)
        line, self.unread = self.unread.split("\n", 1)
        return line.strip()

    def wait_ready(self):
        while self.line(BOOT_LIMIT_S) != "ready":
            pass
        return self

    def run(self, command):
        """(exit status, output) of a command in the guest."""
        id = next(self.ids)
        self.serial.sendall(f"{id} {command}\n".encode())
        output = []
        while True:
            line = self.line(COMMAND_LIMIT_S)
            if line.startswith(f"{id} exit "):
                return int(line.split()[2]), "\n".join(output)
            output.append(line)

    def pings(self, address):
        """Whether three of three echoes come back."""
        return self.run(f"ping -c 3 -w 20 {address}")[0] == 0

    def reaches(self, address):
        """Whether anything answers at all, within a short time: for what must not be reached."""
        return self.run(f"ping -c 2 -w 3 {address}")[0] == 0

    def delete(self):
        if self.serial:
            self.serial.close()
        super().delete()


class QemuGuest(Guest):
    """
    @param netdev  a complete -netdev option with id=n0; None: vhost-user on `socket_path`.
    @param mode  vmqd's mode of the socket: `server` (vmqd listens) or `client` (the guest listens).
    """

    def __init__(self, lab, name, mac, address, socket_path=None, mode="server", netdev=None):
        directory = made("mkguest")
        number = next(self.numbers)
        self.serial_path, self.qmp_path = (lab.path(f"{name}.{number}.{what}") for what in ("serial", "qmp"))
        qemu = shutil.which("qemu-system-x86_64")
        if not qemu:
            raise RuntimeError("qemu-system-x86_64 is not there: install qemu-system-x86")
        side = ",server=on,wait=off" if mode == "client" else ",reconnect=1"
        net = ["-netdev", netdev] if netdev else [
            "-chardev", f"socket,id=c0,path={socket_path}{side}", "-netdev", "vhost-user,id=n0,chardev=c0"]
        words = [qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", str(MEMORY_MB),
                 "-machine", f"pc,accel={os.environ.get('VMQ_GUEST_ACCEL', 'tcg')},memory-backend=memory",
                 "-object", f"memory-backend-memfd,id=memory,size={MEMORY_MB}M,share=on", *net,
                 "-device", f"virtio-net-pci,netdev=n0,mac={mac},vectors=0,romfile=",
                 "-serial", "stdio", "-serial", f"unix:{self.serial_path},server=on,wait=off",
                 "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
                 "-kernel", os.path.join(directory, "vmlinuz"), "-initrd", os.path.join(directory, "initramfs.gz"),
                 "-append", f"console=ttyS0 quiet panic=-1 ip={address}"]
        super().__init__(name, words, lab.path(f"{name}.{number}.log"))
        vmq.wait_until(lambda: self.check() and self.connect(), f"the serial port of {name}")

    def connect(self):
        """Whether the second serial port is ours now."""
        serial = socket.socket(socket.AF_UNIX)
        serial.settimeout(vmq.POLL_S)
        try:
            serial.connect(self.serial_path)
        except (FileNotFoundError, ConnectionRefusedError):
            serial.close()
            return False
        self.serial = serial
        return True

    def qmp(self, command, **arguments):
        """Have QEMU itself do something."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(self.qmp_path)
            lines = monitor.makefile("rw")
            lines.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(request) + "\n")
                lines.flush()
                answer = json.loads(lines.readline())
                while "event" in answer:
                    answer = json.loads(lines.readline())
                assert "return" in answer, answer
