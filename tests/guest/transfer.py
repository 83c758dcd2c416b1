# SPDX-License-Identifier: BSD-3-Clause
"""
TCP between any two hosts of a test, checked end to end: `transfer.py receive ADDRESS PORT` says `listening`, takes one
connection and prints how many bytes came and their digest; `transfer.py send ADDRESS PORT BYTES` sends and prints the
same of what it sent.
"""

import hashlib
import random
import socket
import sys

LIMIT_S = 60
PIECE_BYTES = 1 << 16


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


def send(address, port, count):
    digest, source = hashlib.sha256(), random.Random(port)
    with socket.create_connection((address, port), LIMIT_S) as connection:
        for at in range(0, count, PIECE_BYTES):
            piece = source.randbytes(min(PIECE_BYTES, count - at))
            connection.sendall(piece)
            digest.update(piece)
    return count, digest.hexdigest()


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


if __name__ == "__main__":
    act, where, number, *size = sys.argv[1:]
    print(*(receive(where, int(number)) if act == "receive" else send(where, int(number), int(size[0]))))
