# SPDX-License-Identifier: BSD-3-Clause
"""
A real Linux guest that needs no hypervisor: user-mode Linux, with the kernel's own virtio-net and TCP. It is a
vhost-user front-end itself, and its root is the machine's own, read-only: what is installed here it has too.
"""

import glob
import os
import signal
import socket

import vmq
from guest import HERE, Guest, made

MEMORY_MB = 128
SHARED_MEMORY = "/dev/shm"  # its memory is a file there


class UmlGuest(Guest):
    """
    @param address  with its length, as for `ip address add`; empty: none.
    @param tap  an interface of `netns` that is the guest's, with all offloads, in place of vhost-user on `socket_path`.
    """

    def __init__(self, lab, name, mac, address, socket_path=None, mtu=1500, tap=None, netns=None):
        directory = made("mkpackage", "user-mode-linux")
        modules, = glob.glob(os.path.join(directory, "usr/lib/uml/modules/*"))
        self.serial, end = socket.socketpair()
        self.serial.settimeout(vmq.POLL_S)
        device = "vec0" if tap else "eth0"
        way = f"vec0:transport=tap,ifname={tap},depth=128,gro=1,mtu={mtu}" if tap else f"virtio_uml.device={socket_path}:1"
        words = [os.path.join(directory, "usr/bin/linux.uml"), f"mem={MEMORY_MB}M", "root=/dev/root", "rootfstype=hostfs",
                 "rootflags=/", "ro", "con=null", "con0=null,fd:1", f"con1=fd:{end.fileno()}", "ssl=null", "quiet",
                 way, f"UML_DEVICE={device}", f"UML_MODULES={modules}", f"UML_MAC={mac}", f"UML_MTU={mtu}",
                 f"UML_ADDRESS={address}", f"init={os.path.join(HERE, 'uml-init')}"]
        with end:
            super().__init__(name, netns.words(*words) if netns else words, lab.path(f"{name}.{next(self.numbers)}.log"), pass_fds=[end.fileno()],
                             start_new_session=True, env=dict(os.environ, TMPDIR=SHARED_MEMORY, HOME=lab.directory,
                                                          LD_PRELOAD=made("mkxstate")))

    def kill(self):
        """Its processes are processes here, in a group of their own."""
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
        self.child.wait(vmq.LIMIT_S)
