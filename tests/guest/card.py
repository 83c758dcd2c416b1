# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU guest with an emulated network card (Intel 82576) in which vmqd runs; the card's wire is a socket of ours."""

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import threading

import pytest
from guest import QemuGuest, run_script
from vlans import open_tap

import vmq

ADDRESS = "0000:00:04.0"
OTHER_DEVICE = "0000:00:08.0"  # no card, but the kernel has a driver for it
MEMORY_MB = 1024
UNAVAILABLE = 77  # a script's exit: what it wants cannot be had here
WIRE_MAC, WIRE_IP, HOST_IP = "02:00:00:00:00:99", "10.0.0.2", "10.0.0.1"
ETHERTYPE_IP, ETHERTYPE_ARP = 0x0800, 0x0806


def image():
    """The directory with QEMU, kernel and an initramfs that has the programs of this build; skips if there is none."""
    programs = [os.path.realpath(vmq.program(name)) for name in ("vmqd", "vmqctl")]
    done = run_script("mkcard", *programs)
    if done.returncode == UNAVAILABLE:
        pytest.skip(done.stderr.strip())
    if done.returncode:
        raise RuntimeError(f"mkcard: {done.stderr.strip()}")
    return done.stdout.splitlines()[-1]


def checksum(content):
    total = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo(kind, seq, source, destination):
    """An ICMP echo (8: request, 0: reply) in IP, with bytes made from its number."""
    payload = bytes((seq * 7 + i) & 0xFF for i in range(100))
    icmp = bytearray(struct.pack("!BBHHH", kind, 0, 0, 1, seq) + payload)
    struct.pack_into("!H", icmp, 2, checksum(icmp))
    head = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), seq, 0, 64, 1, 0) +
                     socket.inet_aton(source) + socket.inet_aton(destination))
    struct.pack_into("!H", head, 10, checksum(head))
    return bytes(head + icmp)


class CardWire:
    """What is beyond the card: a datagram is a frame. It has an address, and answers who asks for it."""

    def __init__(self, lab, name):
        self.nic, self.mine = lab.path(f"{name}.nic"), lab.path(f"{name}.wire")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.mine)
        self.socket.settimeout(vmq.POLL_S)

    def netdev(self):
        local, remote = f"local.type=unix,local.path={self.nic}", f"remote.type=unix,remote.path={self.mine}"
        return f"dgram,id=w0,{local},{remote}"

    def send(self, content):
        self.socket.sendto(content, self.nic)

    def next(self):
        """The next frame, or nothing if there is none yet; a question for our address is answered on the way."""
        try:
            content = self.socket.recv(65536)
        except TimeoutError:
            return None
        arp, us = content[14:42], socket.inet_aton(WIRE_IP)
        if content[12:14] == struct.pack("!H", ETHERTYPE_ARP) and arp[6:8] == b"\0\1" and arp[24:28] == us:
            mac = vmq.mac_bytes(WIRE_MAC)
            self.send(arp[8:14] + mac + content[12:14] + arp[:6] + b"\0\2" + mac + us + arp[8:18])
        return content

    def delete(self):
        self.socket.close()


class KernelBeyond(threading.Thread):
    """
    A kernel of this machine in place of CardWire's answers: its end is a TAP, and it finishes all that it sends. What
    the other side has no room for is lost, as on a wire: each may be waiting for the other.
    """

    IFNAME = "beyond0"

    def __init__(self, lab, wire):
        super().__init__(daemon=True)
        self.netns, self.ended, self.end = lab.netns("beyond"), *os.pipe()
        self.nic, self.wire = wire.nic, wire.socket.dup()
        self.wire.setblocking(False)
        self.tap = open_tap(self.netns, self.IFNAME)
        self.netns.run("ip", "link", "set", "dev", self.IFNAME, "address", WIRE_MAC)
        self.netns.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
        self.start()

    def run(self):
        while True:
            ready, _, _ = select.select([self.tap, self.wire, self.ended], [], [])
            if self.ended in ready:
                return
            with contextlib.suppress(BlockingIOError):
                if self.wire in ready:
                    os.write(self.tap, self.wire.recv(65536))
                if self.tap in ready:
                    self.wire.sendto(os.read(self.tap, 65536), self.nic)

    def arrived(self):
        """How many frames it got from the card."""
        return int(self.netns.run("cat", f"/sys/class/net/{self.IFNAME}/statistics/rx_packets"))

    def delete(self):
        os.write(self.end, b".")
        self.join()
        self.wire.close()
        for each in (self.tap, self.ended, self.end):
            os.close(each)


class CardGuest(QemuGuest):
    """
    The guest: one card, an IOMMU that leaves alone what is not under vfio, vmqd when it is started. One processor: with
    two, QEMU before 10.1 may read a memory map that it has freed and end at an assertion, when the guest sets up PCI.
    """

    def __init__(self, lab, name="card"):
        directory = image()
        self.wire = lab.keep(CardWire(lab, name))
        self.serial_path, self.qmp_path = lab.path(f"{name}.serial"), lab.path(f"{name}.qmp")
        self.serial, self.unread, self.ids = None, "", iter(range(1, 1 << 30))
        qemu = os.path.join(directory, "qemu", "usr")
        words = [f"{qemu}/bin/qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                 "-L", f"{qemu}/share/qemu", "-L", f"{qemu}/share/seabios", "-machine", "q35,accel=tcg", "-cpu", "max",
                 "-m", str(MEMORY_MB), "-device", "intel-iommu,intremap=on",
                 "-netdev", self.wire.netdev(), "-device", "igb,netdev=w0,addr=4",
                 "-device", "virtio-rng-pci,addr=8",
                 "-serial", "stdio", "-chardev", f"socket,id=s0,path={self.serial_path},server=on,wait=on",
                 "-device", "virtio-serial-pci,addr=7", "-device", "virtserialport,chardev=s0",
                 "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
                 "-kernel", os.path.join(directory, "vmlinuz"), "-initrd", os.path.join(directory, "card.initramfs"),
                 "-append", "console=ttyS0 quiet panic=-1 mitigations=off intel_iommu=on iommu=pt port=vport0p1"]
        modules = os.path.join(qemu, "lib", "x86_64-linux-gnu", "qemu")
        vmq.Process.__init__(self, name, words, lab.path(f"{name}.log"), stdin=subprocess.DEVNULL,
                             env=dict(os.environ, QEMU_MODULE_DIR=modules))
        vmq.wait_until(lambda: self.check() and self.connect(), f"the serial port of {name}")
        self.wait_ready()
        self.sh("mkdir -p /dev/shm /dev/hugepages /run /var/run /var/lib && mount -t tmpfs tmpfs /dev/shm "
                "&& mount -t hugetlbfs nodev /dev/hugepages && insmod /modules/tun.ko")

    def sh(self, command):
        status, output = self.run(command)
        assert status == 0, f"{command}: exit {status}: {output}"
        return output

    def insert(self, *modules):
        for module in modules:
            self.sh(f"insmod /modules/{module}.ko")

    def bind(self, driver):
        """The card to a driver, from whatever it had; the kernel waits for who still uses it."""
        device = f"/sys/bus/pci/devices/{ADDRESS}"
        self.sh(f"[ ! -e {device}/driver ] || echo {ADDRESS} >{device}/driver/unbind;"
                f" echo {driver} >{device}/driver_override;"
                f" echo {ADDRESS} >/sys/bus/pci/drivers_probe; readlink {device}/driver | grep -q {driver}")

    def set_link(self, up):
        self.qmp("set_link", name="w0", up=up)

    # vmqd in the guest

    def start(self, *options):
        self.sh(f"vmqd --memory 256 --cpus 0 {' '.join(options)} >>/tmp/vmqd.log 2>&1 & echo $! >/tmp/pid")
        vmq.wait_until(lambda: self.check() and self.run("vmqctl adapter show || ! kill -0 $(cat /tmp/pid)")[0] == 0,
                       "vmqd to answer")
        assert self.run("kill -0 $(cat /tmp/pid)")[0] == 0, self.sh("cat /tmp/vmqd.log")

    def end(self, signal="TERM"):
        self.sh(f"kill -{signal} $(cat /tmp/pid)")
        vmq.wait_until(lambda: self.run("kill -0 $(cat /tmp/pid)")[0] != 0, f"vmqd to end on SIG{signal}")

    def ctl(self, *words):
        output = self.sh(f"vmqctl -j {' '.join(map(str, words))}")
        return json.loads(output) if output.strip() else None

    def refusal(self, *words):
        """The sentence that a command is refused with."""
        status, output = self.run(f"vmqctl {' '.join(map(str, words))}")
        assert status == 1, f"{words}: exit {status}: {output}"
        return output.strip()

    def stats(self):
        return self.ctl("stats", "show", "eth0")["adapters"][0]

    def wait_link(self, link):
        vmq.wait_until(lambda: self.check() and self.ctl("adapter", "show")[0]["link"] == link,
                       f"the link to be {link}")

    def host_up(self):
        """The host's interface with its address; its MAC."""
        self.sh(f"ip address replace {HOST_IP}/24 dev host0 && ip link set host0 up")
        return self.sh("cat /sys/class/net/host0/address").strip()

    def echoes(self, count):
        """So many echoes from the wire through the card to the host's interface and back, one after the other."""
        mac = vmq.mac_bytes(self.host_up())
        head = mac + vmq.mac_bytes(WIRE_MAC) + struct.pack("!H", ETHERTYPE_IP)
        for seq in range(count):
            wanted = echo(0, seq, HOST_IP, WIRE_IP)
            self.wire.send(head + echo(8, seq, WIRE_IP, HOST_IP))

            def answered():
                self.check()
                got = self.wire.next()
                # The kernel chooses id and checksum of the IP header: what comes after it must be the same.
                return got and got[:12] == vmq.mac_bytes(WIRE_MAC) + mac and got[34:] == wanted[20:]

            vmq.wait_until(answered, f"the answer to echo {seq}")
