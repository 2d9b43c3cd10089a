#!/usr/bin/env python3
"""An HTTPS server for MTA-STS policies: policy_host.py ADDRESS CERTIFICATE KEY FOLDER; a file for each host."""

import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

address, certificate, key, folder = sys.argv[1:]


class Policy(BaseHTTPRequestHandler):
    def do_GET(self):
        file = Path(folder) / Path(self.headers["Host"]).name
        known = file.is_file() and self.path == "/.well-known/mta-sts.txt"
        body = file.read_bytes() if known else b""
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer((address, 443), Policy)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
