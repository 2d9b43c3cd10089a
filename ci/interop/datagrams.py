"""Sends each argument behind the first as a datagram to the Unix socket that the first one names."""

import socket
import sys

sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sender.connect(sys.argv[1])
for text in sys.argv[2:]:
    sender.send(text.encode())
