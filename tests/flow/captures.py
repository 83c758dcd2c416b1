# SPDX-License-Identifier: BSD-3-Clause
"""`vmqctl capture` as a process, and what tshark reads of what it wrote."""

import signal
import subprocess

import pcap
import vmq

FIELDS = ("interface_name", "packet_flags_direction", "len", "cap_len", "comment")


class Capture(vmq.Process):
    """`vmqctl capture …` that runs until it ends, or is interrupted; where it writes is a file of the lab's."""

    def __init__(self, lab, site, *words, file=True, **options):
        site.captures = getattr(site, "captures", 0) + 1
        self.out = lab.path(f"capture{site.captures}.pcapng")
        words = [vmq.program("vmqctl"), "-s", site.vmqd.socket_path, "capture", *map(str, words)]
        super().__init__("capture", words + (["-w", self.out] if file else []), lab.path(f"capture{site.captures}.log"),
                         **options)

    def started(self):
        vmq.wait_until(lambda: self.check() and "capturing" in self.log(), "the capture to begin")
        return self

    def end(self):
        self.child.send_signal(signal.SIGINT)
        assert self.wait() == 0, self.log()
        return self

    def missed(self):
        return int(self.log().split(" frames captured, ")[1].split()[0])

    def shown(self, *fields):
        """What tshark reads: a line of fields a frame, of one field its text."""
        words = [word for field in fields or FIELDS for word in ("-e", field if "." in field else f"frame.{field}")]
        done = subprocess.run(["tshark", "-r", self.out, "-T", "fields", *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        lines = [tuple(line.split("\t")) for line in done.stdout.splitlines()]
        return [line[0] for line in lines] if len(fields) == 1 else lines

    def bytes(self):
        """The frames themselves, by way of tshark: [(interface, bytes)]."""
        plain = self.out + ".pcap"
        subprocess.run(["tshark", "-r", self.out, "-F", "nsecpcap", "-w", plain], capture_output=True, check=True)
        return list(zip(self.shown("interface_name"), pcap.read(plain)))
