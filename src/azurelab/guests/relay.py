"""Connects stdin and stdout to a unix socket: QEMU starts one per connection of its guest to the metadata service.

Run as a file with `python -I -S`. A unix socket, because it stays private and is found again after a restart of
azurelab.
"""

import os
import select
import socket
import sys


def main(path: str) -> None:
    service = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    service.connect(path)
    open_ends = [0, service.fileno()]
    while service.fileno() in open_ends:
        for end in select.select(open_ends, [], [])[0]:
            block = os.read(end, 65536)
            if end == 0 and block:
                service.sendall(block)
            elif end == 0:
                open_ends.remove(0)
                service.shutdown(socket.SHUT_WR)
            elif block:
                os.write(1, block)
            else:
                open_ends.remove(end)


if __name__ == "__main__":
    main(sys.argv[1])
