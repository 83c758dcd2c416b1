# SPDX-License-Identifier: BSD-3-Clause
"""Captures, read and written with nothing but struct: a test compares a hundred thousand frames byte for byte."""

import os
import struct

FILE_HEADER = struct.Struct("<IHHiIII")
FRAME_HEADER = struct.Struct("<IIII")
MAGIC_MICROSECONDS = 0xA1B2C3D4
MAGIC_NANOSECONDS = 0xA1B23C4D


def write(path, frames):
    with open(path, "wb") as file:
        file.write(FILE_HEADER.pack(MAGIC_MICROSECONDS, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            file.write(FRAME_HEADER.pack(0, 0, len(frame), len(frame)) + frame)


class Reader:
    """Follows a capture that is still being written."""

    def __init__(self, path):
        self.path, self.at, self.frames = path, 0, []

    def read(self):
        """All frames that are whole by now; the list grows from call to call."""
        if not os.path.exists(self.path):
            return self.frames
        with open(self.path, "rb") as file:
            file.seek(self.at)
            content = file.read()
        at = 0 if self.at else self.skip_header(content)
        while at + FRAME_HEADER.size <= len(content):
            end = at + FRAME_HEADER.size + FRAME_HEADER.unpack_from(content, at)[2]
            if end > len(content):
                break
            self.frames.append(content[at + FRAME_HEADER.size:end])
            at = end
        self.at += min(at, len(content))
        return self.frames

    def skip_header(self, content):
        if len(content) < FILE_HEADER.size:
            return 0
        magic = FILE_HEADER.unpack_from(content)[0]
        assert magic in (MAGIC_MICROSECONDS, MAGIC_NANOSECONDS), f"{self.path} is no capture"
        return FILE_HEADER.size


def read(path):
    return Reader(path).read()
