#!/usr/bin/env python3
"""Measure policy daemons for Postfix side by side, in one run. Needs root and Debian's nsd, unbound, ldnsutils, openssl.

  bench/policyd/run.py [--targets byrnie,tlspol,resolver,parrot] [--reps 3] [--seconds 5] [--cold 100]

BYRNIE, TLSPOL and RESOLVER name the programs, SMTPBENCH the load client, which is also the parrot: it answers without
looking, and shows what reading and writing costs by itself. Everything runs in network, mount and
process namespaces of its own. Prints a table; its columns are in docs/performance.md.
"""

import argparse
import json
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness.machine import Cgroup, sh  # noqa: E402

RELEASE = HERE.parent.parent / "target" / "release"
SMTPBENCH = os.environ.get("SMTPBENCH", str(RELEASE / "smtpbench"))
PROGRAMS = {
    "byrnie": os.environ.get("BYRNIE", str(RELEASE / "byrnie")),
    "tlspol": os.environ.get("TLSPOL", "postfix-tlspol"),
    "resolver": os.environ.get("RESOLVER", "mta-sts-daemon"),
    "parrot": SMTPBENCH,
}
# Where a daemon listens, if not at a path.
TCP = "127.0.0.2:8461"
# The resolver that answers at once, and the way to it that takes longer.
NEAR, FAR = "127.0.0.1", "127.0.0.3"
POLICY_HOST = "127.0.0.4"
DNS_DELAY = 0.020
# What becomes of a domain: DANE, an MTA-STS policy that is enforced, nothing.
KINDS = ("dane", "sts", "open")
WARM = ((32, 1), (32, 16))
# What the rows about each kind of socket begin with.
DOORS = {"tcp": "", "unix": "unix "}
# What each calls the map that Postfix asks for.
MAPS = {"byrnie": "postfix", "tlspol": "QUERY", "resolver": "postfix", "parrot": "postfix"}
# Domains of each kind that the warm measurement goes round.
WARM_DOMAINS = 10

UNBOUND = """server:
  interface: 127.0.0.1
  num-threads: 1
  username: ""
  chroot: ""
  directory: "{dir}"
  pidfile: "{dir}/unbound.pid"
  use-syslog: no
  logfile: "{dir}/unbound.log"
  do-daemonize: no
  do-not-query-localhost: no
  trust-anchor-file: "{dir}/anchor"
  local-zone: "." static
  local-zone: "bench.test." transparent
remote-control:
  control-enable: no
"""

NSD = """server:
  ip-address: 127.0.0.1@5300
  server-count: 1
  username: ""
  zonesdir: "{dir}"
  database: ""
  pidfile: "{dir}/nsd.pid"
  xfrdfile: "{dir}/xfrd.state"
  zonelistfile: "{dir}/zone.list"
remote-control:
  control-enable: no
"""

BYRNIE = """version = 1
hostname = "relay.bench.test"
[policyd]
socketmap = ["{listen}"]
[dns]
servers = ["{dns}:53"]
trust_anchor_file = "{dir}/anchor"
[tls]
ca_file = "{dir}/ca.pem"
[queue]
spool = "{run}/spool"
[metrics]
listen = "off"
"""

TLSPOL = """server:
  address: {listen}
  log-level: error
  cache-file: {run}/cache.db
dns:
  address: {dns}:53
"""

RESOLVER = """{place}
cache:
  type: internal
  options:
    cache_size: 10000
default_zone:
  strict_testing: false
  timeout: 4
"""


def names(kind, count):
    return [f"d{n}.{kind}.bench.test" for n in range(count)]


def write_zones(work, count):
    """Zones with `count` domains of each kind; all but the open ones are signed."""
    tlsa = "3 1 1 " + "ab" * 32
    anchors = []
    parent = ["$ORIGIN bench.test.", "$TTL 3600", "@ SOA ns hostmaster 1 3600 600 86400 3600", "@ NS ns", "ns A 127.0.0.1"]
    for kind in KINDS:
        zone = [f"$ORIGIN {kind}.bench.test.", "$TTL 3600", "@ SOA ns hostmaster 1 3600 600 86400 3600", "@ NS ns", "ns A 127.0.0.1"]
        for n in range(count):
            zone += [f"d{n} MX 10 mx{n}", f"mx{n} A 127.0.0.1"]
            if kind == "dane":
                zone.append(f"_25._tcp.mx{n} TLSA {tlsa}")
            if kind == "sts":
                zone += [f'_mta-sts.d{n} TXT "v=STSv1; id=1"', f"mta-sts.d{n} A {POLICY_HOST}"]
        (work / f"{kind}.bench.test").write_text("\n".join(zone) + "\n")
        parent += [f"{kind} NS ns.{kind}", f"ns.{kind} A 127.0.0.1"]
        if kind == "dane":
            parent.append(sign(work, f"{kind}.bench.test"))
    (work / "bench.test").write_text("\n".join(parent) + "\n")
    (work / "anchor").write_text(sign(work, "bench.test") + "\n")


def sign(work, name):
    """Signs a zone in its place, and returns its DS record."""
    key = sh("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", name, cwd=work).strip()
    sh("ldns-signzone", "-n", "-f", f"{name}.signed", name, key, cwd=work)
    (work / f"{name}.signed").rename(work / name)
    return (work / f"{key}.ds").read_text().strip()


def write_certificates(work, count):
    """A root of our own, and one certificate for all policy hosts."""
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    sh("openssl", "req", "-x509", *ec, "-days", "2", "-subj", "/CN=bench root", "-keyout", "ca.key", "-out", "ca.pem",
       cwd=work, stderr=subprocess.DEVNULL)
    sh("openssl", "req", *ec, "-subj", "/CN=policy host", "-keyout", "web.key", "-out", "web.csr", cwd=work, stderr=subprocess.DEVNULL)
    (work / "web.ext").write_text("subjectAltName=" + ",".join(f"DNS:mta-sts.{name}" for name in names("sts", count)) + "\n")
    sh("openssl", "x509", "-req", "-in", "web.csr", "-days", "2", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
       "-extfile", "web.ext", "-out", "web.pem", cwd=work, stderr=subprocess.DEVNULL)


class PolicyPage(BaseHTTPRequestHandler):
    """The same kind of policy for every domain."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        domain = self.headers["Host"].removeprefix("mta-sts.")
        mx = domain.replace("d", "mx", 1)
        body = f"version: STSv1\r\nmode: enforce\r\nmx: {mx}\r\nmax_age: 864000\r\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class PolicyServer(ThreadingHTTPServer):
    """Shakes hands in the thread of each connection, so that none holds up the others."""

    request_queue_size = 128
    daemon_threads = True
    context = None

    def finish_request(self, request, client_address):
        try:
            super().finish_request(self.context.wrap_socket(request, server_side=True), client_address)
        except OSError:
            # The client went away.
            pass


def serve_policies(work):
    server = PolicyServer((POLICY_HOST, 443), PolicyPage)
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(work / "web.pem", work / "web.key")
    threading.Thread(target=server.serve_forever, daemon=True).start()


def relay_queries():
    """Hands each DNS query to the resolver after the delay, as if it were that far away."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind((FAR, 53))

    def pass_on(query, client):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
            near.settimeout(5)
            near.sendto(query, (NEAR, 53))
            try:
                listening.sendto(near.recv(65535), client)
            except TimeoutError:
                pass

    def go_on():
        while True:
            query, client = listening.recvfrom(65535)
            timer = threading.Timer(DNS_DELAY, pass_on, (query, client))
            timer.daemon = True
            timer.start()

    threading.Thread(target=go_on, daemon=True).start()


def connect(listen):
    if listen.startswith("unix:"):
        family, place = socket.AF_UNIX, listen.removeprefix("unix:")
    else:
        host, port = listen.split(":")
        family, place = socket.AF_INET, (host, int(port))
    client = socket.socket(family, socket.SOCK_STREAM)
    client.connect(place)
    return client


class Target:
    """One policy daemon, started afresh."""

    def __init__(self, name, work, dns, door="tcp"):
        self.run = work / "run"
        shutil.rmtree(self.run, ignore_errors=True)
        self.run.mkdir()
        (self.run / "spool").mkdir()
        path, (host, port) = self.run / "socket", TCP.split(":")
        self.listen, place = {
            "tcp": (TCP, f"host: {host}\nport: {port}\nreuse_port: true"),
            "unix": (f"unix:{path}", f"path: {path}"),
        }[door]
        words = {"dir": work, "run": self.run, "dns": dns, "listen": self.listen, "place": place}
        file = self.run / "config"
        config, args = {
            "parrot": ("", ["parrot", "--listen", self.listen]),
            "byrnie": (BYRNIE, ["serve", "--only", "policyd", "--config", file]),
            "tlspol": (TLSPOL, ["-config", file]),
            "resolver": (RESOLVER, ["-c", file]),
        }[name]
        file.write_text(config.format(**words))
        # The one that does not say which resolver it asks takes the system's.
        (work / "resolv.conf").write_text(f"nameserver {dns}\n")
        self.map, self.cgroup = MAPS[name], Cgroup(name)
        self.log = self.run / "log"
        env = os.environ | {"SSL_CERT_FILE": str(work / "ca.pem"), "HOME": str(self.run)}
        with self.log.open("w") as log:
            self.process = self.cgroup.popen([PROGRAMS[name], *args], stdout=log, stderr=log, env=env)
        self.wait()

    def wait(self):
        deadline = time.time() + 20
        while True:
            try:
                return connect(self.listen).close()
            except OSError:
                if self.process.poll() is not None or time.time() > deadline:
                    sys.exit(f"cannot start: {self.log.read_text()}")
                time.sleep(0.1)

    def ask(self, keys, connections, pipeline, seconds=0.0):
        """Runs the load client; returns what it measured, with the daemon's processor time."""
        file = self.run / "keys"
        file.write_text("\n".join(keys) + "\n")
        before = self.cgroup.cpu()["usage"]
        row = json.loads(sh(
            SMTPBENCH, "socketmap", "--to", self.listen, "--keys", file, "--map", self.map, "--connections", str(connections),
            "--pipeline", str(pipeline), "--seconds", str(seconds),
        ))
        return row | {"cpu_s": self.cgroup.cpu()["usage"] - before}

    def end(self):
        self.cgroup.remove()


def measure(name, work, options):
    """One repetition of one target: rows by what was measured."""
    rows = {}
    warm = [key for kind in KINDS for key in names(kind, WARM_DOMAINS)]
    for door, words in DOORS.items():
        target = Target(name, work, NEAR, door)
        said = target.ask(warm, 1, 1)
        rows[f"{words}says"] = f"{said['ok']} OK, {said['not_found']} NOTFOUND, {said['other']} other"
        for connections, pipeline in WARM:
            row = target.ask(warm, connections, pipeline, options.seconds)
            rows[f"{words}{connections}x{pipeline} /s"] = row["lookups_per_s"]
            rows[f"{words}{connections}x{pipeline} /CPU s"] = row["lookups"] / max(row["cpu_s"], 1e-6)
        target.end()
    for kind in KINDS if name != "parrot" else ():
        target = Target(name, work, FAR)
        # The first names of each kind were asked before, by others; all of these are in the resolver's memory.
        row = target.ask(names(kind, options.cold), 1, 1)
        rows[f"cold {kind} ms"] = row["batch_ms"]["p50"]
        rows[f"cold {kind} says"] = f"{row['ok']}/{row['not_found']}/{row['other']}"
        target.end()
    return rows


def table(results):
    """Medians of all repetitions, and ratios to byrnie's."""
    columns = list(results)
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for what in results[columns[0]][0]:
        cells = []
        values = {name: [rep[what] for rep in reps if what in rep] for name, reps in results.items()}
        own = values.get("byrnie")
        for name in columns:
            if not values[name] or isinstance(values[name][0], str):
                cells.append("; ".join(dict.fromkeys(values[name])))
                continue
            cell = f"{statistics.median(values[name]):,.1f}"
            if own and name != "byrnie":
                cell += f" ({statistics.median(a / b for a, b in zip(own, values[name])):.1f})"
            cells.append(cell)
        print(f"| {what} | " + " | ".join(cells) + " |")


def inside(options):
    sh("ip", "link", "set", "lo", "up")
    work = Path(tempfile.mkdtemp(prefix="policyd-bench-"))
    work.chmod(0o755)
    Cgroup.find_root(work / "cgroup")
    (work / "resolv.conf").write_text(f"nameserver {NEAR}\n")
    sh("mount", "--bind", work / "resolv.conf", os.path.realpath("/etc/resolv.conf"))
    count = max(options.cold, WARM_DOMAINS)
    write_zones(work, count)
    write_certificates(work, count)
    zones = ["bench.test", *(f"{kind}.bench.test" for kind in KINDS)]
    (work / "nsd.conf").write_text(NSD.format(dir=work) + "".join(f"zone:\n  name: {z}\n  zonefile: {z}\n" for z in zones))
    stubs = "".join(f"stub-zone:\n  name: {z}\n  stub-addr: 127.0.0.1@5300\n" for z in zones)
    (work / "unbound.conf").write_text(UNBOUND.format(dir=work) + stubs)
    world, log = Cgroup("world"), open(work / "dns.log", "w")
    world.popen(["nsd", "-d", "-c", work / "nsd.conf"], stdout=log, stderr=log)
    world.popen(["unbound", "-d", "-c", work / "unbound.conf"], stdout=log, stderr=log)
    serve_policies(work)
    relay_queries()
    time.sleep(2)
    results = {name: [] for name in options.targets.split(",")}
    try:
        for rep in range(options.reps):
            # Each begins once, so that slow changes of the machine hit all alike.
            order = list(results)
            order = order[rep % len(order):] + order[:rep % len(order)]
            for name in order:
                results[name].append(measure(name, work, options))
                print(json.dumps({"rep": rep, "target": name} | results[name][-1]), file=sys.stderr)
        table(results)
    finally:
        for group in list(Cgroup.root.glob(f"smtpbench-{Cgroup.token}-*")):
            end = Cgroup.__new__(Cgroup)
            end.name, end.path = group.name, group
            end.remove()
        sh("umount", os.path.realpath("/etc/resolv.conf"))
        shutil.rmtree(work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default="byrnie,tlspol,resolver,parrot")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--cold", type=int, default=100, help="names of each kind that nobody has asked about")
    options = parser.parse_args()
    if os.environ.get("POLICYD_BENCH") != "inside":
        os.environ["POLICYD_BENCH"] = "inside"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", sys.executable, *sys.argv])
    inside(options)


if __name__ == "__main__":
    main()
