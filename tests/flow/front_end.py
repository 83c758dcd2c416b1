# SPDX-License-Identifier: BSD-3-Clause
"""
A vhost-user front-end with a small virtio-net driver, in this process: for guests that DPDK and QEMU do not play.
Source: vhost-user, "Message format"; VIRTIO 1.2, 2.7 and 5.1.6.
"""

import array
import mmap
import os
import select
import socket
import struct

import vmq

GET_FEATURES, SET_FEATURES, SET_MEM_TABLE = 1, 2, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = 8, 9, 10
SET_VRING_KICK, SET_VRING_CALL, GET_QUEUE_NUM = 12, 13, 17
VERSION_1 = 1 << 32
HAS_NO_FILE = 1 << 8
CTRL_VQ = 1 << 17
RECEIVE, TRANSMIT, CONTROL = 0, 1, 2
CHAINED, WRITABLE = 1, 2

ENTRIES = 64
HEADER = bytes(12)
BUFFER_BYTES = 2048
RING_BYTES = 0x4000     # of guest memory, for each ring: descriptors, available ring and used ring
AVAILABLE_AT, USED_AT = 0x1000, 0x2000
BUFFERS_AT = 3 * RING_BYTES
MEMORY_BYTES = BUFFERS_AT + 3 * ENTRIES * BUFFER_BYTES
USER = 0x7F0000000000


class Signals:
    """How one side wakes the other: (what vmqd gets, what is kept here)."""

    @staticmethod
    def eventfd():
        file = os.eventfd(0, os.EFD_NONBLOCK)
        return file, os.dup(file)

    @staticmethod
    def sockets():
        ours, theirs = socket.socketpair()
        return theirs.detach(), ours.detach()

    @staticmethod
    def pipe_to_vmqd():
        read, write = os.pipe()
        return read, write

    @staticmethod
    def pipe_from_vmqd():
        read, write = os.pipe()
        return write, read

    @staticmethod
    def none():
        return None, None


class FrontEnd:
    """
    @param kick, call  functions of Signals.
    @param memory  an open file for the guest's memory; None: a memfd.
    @param control  it leaves the control queue to the back end.
    """

    def __init__(self, path, kick=Signals.eventfd, call=Signals.eventfd, memory=None, control=False):
        self.memory = os.memfd_create("guest") if memory is None else memory
        os.ftruncate(self.memory, MEMORY_BYTES)
        self.at = mmap.mmap(self.memory, MEMORY_BYTES)
        self.rings = (RECEIVE, TRANSMIT, CONTROL) if control else (RECEIVE, TRANSMIT)
        self.kicks, self.calls = [kick() for _ in self.rings], [call() for _ in self.rings]
        self.taken = self.sent = self.asked = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)

    def say(self, request, payload=b"", files=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        self.socket.sendmsg([struct.pack("<III", request, 1, len(payload)) + payload], rights)

    def ask(self, request, payload=b""):
        self.say(request, payload)
        head = self.socket.recv(12, socket.MSG_WAITALL)
        return struct.unpack("<Q", self.socket.recv(struct.unpack("<III", head)[2], socket.MSG_WAITALL))[0]

    def say_signal(self, request, ring, file):
        if file is None:
            self.say(request, struct.pack("<Q", ring | HAS_NO_FILE))
        else:
            self.say(request, struct.pack("<Q", ring), [file])

    def start(self):
        """All that a device needs; buffers are offered before."""
        for i in range(ENTRIES):
            self.offer(RECEIVE, i, BUFFER_BYTES, WRITABLE)
        self.say(SET_FEATURES, struct.pack("<Q", VERSION_1 | (CTRL_VQ if CONTROL in self.rings else 0)))
        self.say(SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, MEMORY_BYTES, USER, 0), [self.memory])
        for ring in self.rings:
            at = USER + ring * RING_BYTES
            self.say(SET_VRING_NUM, struct.pack("<II", ring, ENTRIES))
            self.say(SET_VRING_BASE, struct.pack("<II", ring, 0))
            self.say(SET_VRING_ADDR, struct.pack("<IIQQQQ", ring, 0, at, at + USED_AT, at + AVAILABLE_AT, 0))
            self.say_signal(SET_VRING_CALL, ring, self.calls[ring][0])
            self.say_signal(SET_VRING_KICK, ring, self.kicks[ring][0])
        return self

    def index(self, ring, at):
        return struct.unpack_from("<H", self.at, ring * RING_BYTES + at + 2)[0]

    @staticmethod
    def buffer(ring, i):
        return BUFFERS_AT + (ring * ENTRIES + i % ENTRIES) * BUFFER_BYTES

    def offer(self, ring, i, length, flags):
        base = ring * RING_BYTES
        struct.pack_into("<QIHH", self.at, base + i % ENTRIES * 16, self.buffer(ring, i), length, flags, 0)
        struct.pack_into("<H", self.at, base + AVAILABLE_AT + 4 + i % ENTRIES * 2, i % ENTRIES)
        memoryview(self.at).cast("H")[(base + AVAILABLE_AT + 2) // 2] = (i + 1) & 0xFFFF

    def wait(self, count):
        """Frames, as many as asked for, that come next."""
        vmq.wait_until(lambda: self.index(RECEIVE, USED_AT) - self.taken & 0xFFFF >= count, f"{count} frames")
        frames = []
        for i in range(self.taken, self.taken + count):
            _, length = struct.unpack_from("<II", self.at, USED_AT + 4 + i % ENTRIES * 8)
            at = self.buffer(RECEIVE, i)
            frames.append(bytes(self.at[at + len(HEADER):at + length]))
        self.taken += count
        return frames

    def transmit(self, content):
        at = self.buffer(TRANSMIT, self.sent)
        self.at[at:at + len(HEADER) + len(content)] = HEADER + content
        self.offer(TRANSMIT, self.sent, len(HEADER) + len(content), 0)
        self.sent += 1
        if self.kicks[TRANSMIT][1] is not None:
            os.write(self.kicks[TRANSMIT][1], struct.pack("<Q", 1))

    def command(self, content):
        """A command on the control queue: whether vmqd agrees."""
        command, answer = self.buffer(CONTROL, 0), self.buffer(CONTROL, 1)
        self.at[command:command + len(content)], self.at[answer] = content, 0xEE
        base = CONTROL * RING_BYTES
        struct.pack_into("<QIHH", self.at, base, command, len(content), CHAINED, 1)
        struct.pack_into("<QIHH", self.at, base + 16, answer, 1, WRITABLE, 0)
        struct.pack_into("<H", self.at, base + AVAILABLE_AT + 4 + self.asked % ENTRIES * 2, 0)
        self.asked += 1
        memoryview(self.at).cast("H")[(base + AVAILABLE_AT + 2) // 2] = self.asked & 0xFFFF
        if self.kicks[CONTROL][1] is not None:
            os.write(self.kicks[CONTROL][1], struct.pack("<Q", 1))
        vmq.wait_until(lambda: self.index(CONTROL, USED_AT) == self.asked & 0xFFFF, "an answer")
        return self.at[answer] == 0

    def is_called(self, ring):
        """Whether vmqd signals this ring within a while."""
        return bool(select.select([self.calls[ring][1]], [], [], 20)[0])

    def is_closed(self):
        if not select.select([self.socket], [], [], 0)[0]:
            return False
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()
        self.at.close()
        for file in {self.memory, *(file for pair in self.kicks + self.calls for file in pair if file is not None)}:
            os.close(file)
