# SPDX-License-Identifier: BSD-3-Clause
"""
A byte there and a byte back, one after the other: `turns.py answer ADDRESS PORT` serves one connection;
`turns.py ask ADDRESS PORT SECONDS` prints the mean and the 99th percentile of a turn, in microseconds.
"""

import socket
import sys
import time

LIMIT_S = 60


def answer(address, port):
    with socket.create_server((address, port)) as listener:
        listener.settimeout(LIMIT_S)
        connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while byte := connection.recv(1):
            connection.sendall(byte)


def ask(address, port, seconds):
    turns, clock = [], time.perf_counter_ns
    with socket.create_connection((address, port), LIMIT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = clock() + seconds * 1e9
        while (start := clock()) < end:
            connection.sendall(b"?")
            connection.recv(1)
            turns.append(clock() - start)
    turns.sort()
    return sum(turns) / len(turns) / 1e3, turns[len(turns) * 99 // 100] / 1e3


if __name__ == "__main__":
    act, where, number, *rest = sys.argv[1:]
    if act == "answer":
        answer(where, int(number))
    else:
        print(*ask(where, int(number), float(rest[0])))
