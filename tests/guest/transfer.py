# SPDX-License-Identifier: BSD-3-Clause
"""
TCP and datagrams between any two hosts of a test, checked end to end. `transfer.py receive ADDRESS PORT` says
`listening`, takes one connection and prints how many bytes came and their digest; `transfer.py send ADDRESS PORT BYTES`
sends and prints the same of what it sent. `answer` says `listening` and sends back each datagram up to an empty one;
`ask` sends datagrams of many lengths and prints how many came back as they were. With a word more, `options`, both that
send put an extension header before TCP or UDP over IPv6.
"""

import contextlib
import hashlib
import random
import socket
import sys

LIMIT_S = 60
PIECE_BYTES = 1 << 16
ANSWER_LIMIT_S = 2
TRIES = 10
LENGTHS = (*range(1, 64), *range(64, 1452, 37), 1452, 1472, 4000, 9000)
IPV6_DSTOPTS = 59
PADDING = bytes((0, 0, 1, 4, 0, 0, 0, 0))


def receive(address, port):
    digest, count = hashlib.sha256(), 0
    with socket.create_server((address, port), family=family(address)) as listener:
        listener.settimeout(LIMIT_S)
        print("listening", flush=True)
        connection, _ = listener.accept()
    with connection:
        connection.settimeout(LIMIT_S)
        while piece := connection.recv(PIECE_BYTES):
            digest.update(piece)
            count += len(piece)
    return count, digest.hexdigest()


def send(address, port, count, options):
    digest, source = hashlib.sha256(), random.Random(port)
    with socket.socket(family(address), socket.SOCK_STREAM) as connection:
        prepare(connection, LIMIT_S, options)
        connection.connect((address, port))
        for at in range(0, count, PIECE_BYTES):
            piece = source.randbytes(min(PIECE_BYTES, count - at))
            connection.sendall(piece)
            digest.update(piece)
    return count, digest.hexdigest()


def answer(address, port):
    with socket.socket(family(address), socket.SOCK_DGRAM) as end:
        end.bind((address, port))
        end.settimeout(LIMIT_S)
        print("listening", flush=True)
        content = True
        while content:
            content, asker = end.recvfrom(PIECE_BYTES)
            end.sendto(content, asker)


def ask(address, port, options):
    source, whole = random.Random(port), 0
    with socket.socket(family(address), socket.SOCK_DGRAM) as end:
        prepare(end, ANSWER_LIMIT_S, options)
        end.connect((address, port))
        for length in LENGTHS:
            whole += is_answered(end, source.randbytes(length))
        end.send(b"")
    return whole, len(LENGTHS)


def is_answered(end, content):
    """One may be lost like any datagram; one whose checksum is wrong is lost each time."""
    for _ in range(TRIES):
        end.send(content)
        with contextlib.suppress(TimeoutError):
            while len(came := end.recv(PIECE_BYTES)) != len(content):
                pass
            return came == content
    return False


def prepare(end, limit_s, options):
    end.settimeout(limit_s)
    if options:
        end.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, PADDING)


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


if __name__ == "__main__":
    act, where, number, *rest = sys.argv[1:]
    with_options = "options" in rest
    print(*{
        "receive": lambda: receive(where, int(number)),
        "send": lambda: send(where, int(number), int(rest[0]), with_options),
        "answer": lambda: answer(where, int(number)) or (),
        "ask": lambda: ask(where, int(number), with_options),
    }[act]())
