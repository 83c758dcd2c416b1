# SPDX-License-Identifier: BSD-3-Clause
"""TCP between kernels, checked from end to end: those of guests, and this machine's own."""

import os
import re

from guest import HERE

import vmq

TRANSFER = os.path.join(HERE, "transfer.py")
TRANSFER_BYTES = 20 << 20
SEGMENTS = TRANSFER_BYTES // 1500
PYTHON = "/usr/bin/python3"


def wrong_checksums(snmp):
    """How many segments and datagrams a kernel threw away for theirs, by its /proc/net/snmp."""
    count = 0
    for protocol in ("Tcp", "Udp"):
        names, values = re.findall(rf"^{protocol}: (.*)$", snmp, re.M)
        count += int(dict(zip(names.split(), values.split()))["InCsumErrors"])
    return count


def listen(end, act, address, port, log):
    """`transfer.py` is ready there, and writes to this file of the end's what comes."""
    end.run(f"{PYTHON} {TRANSFER} {act} {address} {port} >{log} 2>&1 &")
    vmq.wait_until(lambda: "listening" in end.run(f"cat {log}")[1], f"{address} to listen")


def received(end, log):
    """What came, once it has come: bytes and digest."""
    vmq.wait_until(lambda: len(end.run(f"cat {log}")[1].splitlines()) > 1, "the other end to have it all")
    return end.run(f"cat {log}")[1].splitlines()[1]


class Transfers:
    """Ends by name, each with its address; guests can write nowhere but in /run."""

    def __init__(self, lab, site):
        self.lab, self.site = lab, site
        self.ends, self.addresses, self.guests = {}, {}, set()
        self.ports = iter(range(5001, 6000))

    def add(self, name, end, address, guest):
        self.ends[name], self.addresses[name] = end, address
        if guest:
            self.guests.add(name)

    def command(self, name, text):
        status, said = self.ends[name].run(text)
        assert status == 0, said
        return said

    def listen(self, name, act, address):
        """The port, and where it says what came."""
        port = next(self.ports)
        log = f"/run/{port}.log" if name in self.guests else self.lab.path(f"{port}.log")
        listen(self.ends[name], act, address, port, log)
        return port, log

    def transfer(self, source, target, to=None, *options):
        """What was sent, and what arrived: bytes and digest. To another address of the target's, if one is given."""
        to = to or self.addresses[target]
        port, log = self.listen(target, "receive", to)
        sent = self.command(source, f"{PYTHON} {TRANSFER} send {to} {port} {TRANSFER_BYTES} {' '.join(options)}")
        return sent.strip(), received(self.ends[target], log)

    def counted_transfer(self, source, target, *to):
        """One that arrived as it was sent. How many frames came in for it, and how many vmqd made of these."""
        before = self.site.vmqd.settled()["entered"]
        sent, got = self.transfer(source, target, *to)
        assert got == sent and got.startswith(str(TRANSFER_BYTES))
        after = self.site.vmqd.settled()["entered"]
        made = after["copies"] - before["copies"]
        return sum(after.values()) - sum(before.values()) - made, made

    def datagrams(self, source, target, to, *options):
        """How many of how many came back as they had been sent."""
        port, _ = self.listen(target, "answer", to)
        return tuple(map(int, self.command(source, f"{PYTHON} {TRANSFER} ask {to} {port} {' '.join(options)}").split()))

    def wrong_checksums(self, name):
        return wrong_checksums(self.command(name, "cat /proc/net/snmp"))
