# SPDX-License-Identifier: BSD-3-Clause
"""This machine's kernel as one of those that talk with guests."""

import subprocess

from guest import COMMAND_LIMIT_S


class Kernel:
    """An interface of a namespace gets an address; commands run there, as in a guest."""

    def __init__(self, netns, ifname, address, prefix_length=24):
        self.netns, self.ifname, self.address = netns, ifname, address
        netns.run("ip", "address", "add", f"{address}/{prefix_length}", "dev", ifname, *(["nodad"] if ":" in address else []))

    def run(self, command):
        done = subprocess.run(self.netns.words("sh", "-c", command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=COMMAND_LIMIT_S)
        return done.returncode, done.stdout

    def pings(self, address):
        return self.run(f"busybox ping -c 3 -w 20 {address}")[0] == 0
