"""Opens, uses once and closes many listeners on a port: `junk.py FIRST PORT COUNT`.

Each has an address of its own, 127.FIRST.y.z. Writes how many connections were accepted.
"""

import socket
import struct
import sys

AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: reset, so that no port stays in TIME_WAIT


def main() -> None:
    first, port, count = map(int, sys.argv[1:])
    taken = 0
    for number in range(count):
        address = (f"127.{first}.{number >> 8}.{number & 255}", port)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
        client = socket.create_connection(address)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        accepted = listener.accept()[0]
        taken += 1
        client.close()
        accepted.close()
        listener.close()
    print(taken)


main()
