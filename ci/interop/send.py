"""A client for messages that ordinary clients do not send; for ci/interop.sh.

    send.py make                              prints a body of 1 MiB in lines of 998 octets
    send.py data|bdat|utf8 TO SUBJECT BODY    hands a message to byrnie on 127.0.0.30:25
"""

import socket
import sys


class Session:
    """An SMTP session that fails loudly."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.30", 25), timeout=60)
        self.replies = self.socket.makefile("rb")
        self.expect(220)

    def send(self, octets):
        self.socket.sendall(octets)

    def expect(self, code):
        """Reads one reply, of several lines perhaps, and gives its text."""
        lines = []
        while True:
            line = self.replies.readline().decode("utf-8")
            lines.append(line.rstrip())
            if line[3:4] != "-":
                break
        if not line.startswith(str(code)):
            sys.exit(f"expected {code}: {' / '.join(lines)}")
        return lines


def make():
    """A body with every printable character, dots at the start of lines, and long lines."""
    alphabet = bytes(range(33, 127))
    line = (alphabet * 11)[:997]
    body = b""
    count = 0
    while len(body) < 1024 * 1024:
        # Each line begins with another character, a dot now and then.
        start = count % len(alphabet)
        first = b"." if count % 7 == 0 else alphabet[start : start + 1]
        body += first + line + b"\n"
        count += 1
    sys.stdout.buffer.write(body)


def head(subject, to):
    return (
        f"From: <sender@client.test>\r\nTo: <{to}>\r\nSubject: {subject}\r\n"
        "Message-ID: <interop@client.test>\r\n\r\n"
    ).encode()


def wire(path):
    with open(path, "rb") as file:
        return file.read().replace(b"\n", b"\r\n")


def data(to, subject, path):
    """RFC 5321: DATA with dot-stuffing."""
    session = Session()
    session.send(b"EHLO client.test\r\n")
    session.expect(250)
    message = head(subject, to) + wire(path)
    session.send(f"MAIL FROM:<sender@client.test> SIZE={len(message)}\r\n".encode())
    session.expect(250)
    session.send(f"RCPT TO:<{to}>\r\n".encode())
    session.expect(250)
    session.send(b"DATA\r\n")
    session.expect(354)
    stuffed = b"".join(
        b"." + line if line.startswith(b".") else line for line in message.splitlines(True)
    )
    session.send(stuffed + b".\r\n")
    session.expect(250)
    session.send(b"QUIT\r\n")
    session.expect(221)


def bdat(to, subject, path):
    """RFC 3030: the message in chunks that do not end where lines do, pipelined."""
    session = Session()
    session.send(b"EHLO client.test\r\n")
    if not any("CHUNKING" in line for line in session.expect(250)):
        sys.exit("CHUNKING is not offered")
    session.send(
        b"MAIL FROM:<sender@client.test> BODY=8BITMIME\r\n" + f"RCPT TO:<{to}>\r\n".encode()
    )
    session.expect(250)
    session.expect(250)
    message = head(subject, to) + wire(path)
    size = 99_991
    chunks = [message[at : at + size] for at in range(0, len(message), size)]
    for chunk in chunks[:-1]:
        session.send(f"BDAT {len(chunk)}\r\n".encode() + chunk)
    session.send(f"BDAT {len(chunks[-1])} LAST\r\n".encode() + chunks[-1])
    for _ in chunks:
        session.expect(250)
    session.send(b"QUIT\r\n")
    session.expect(221)


def utf8(to, subject, _path):
    """RFC 6531 in one go: everything up to DATA in one segment."""
    session = Session()
    session.send(b"EHLO client.test\r\n")
    offered = " ".join(session.expect(250))
    if "SMTPUTF8" not in offered or "PIPELINING" not in offered:
        sys.exit("SMTPUTF8 or PIPELINING is not offered")
    session.send(
        b"MAIL FROM:<sender@client.test> BODY=8BITMIME SMTPUTF8\r\n"
        + f"RCPT TO:<{to}>\r\n".encode()
        + b"DATA\r\n"
    )
    session.expect(250)
    session.expect(250)
    session.expect(354)
    session.send(head(f"{subject} grüße", to) + b"hello\r\n.\r\nQUIT\r\n")
    session.expect(250)
    session.expect(221)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make()
    else:
        {"data": data, "bdat": bdat, "utf8": utf8}[sys.argv[1]](*sys.argv[2:])
