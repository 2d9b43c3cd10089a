"""The world around the relay: certificates, zones, a validating resolver, hosts that never answer."""

import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
import time

from .machine import Cgroup, sh

RELAY = "127.0.0.2:2525"
# First addresses of three kinds of mail hosts; their ports are equal.
SINK = "127.16.0.1:25"
SILENT = "127.32.0.1:25"
REFUSING = "127.48.0.1:25"

# Of ten domains of a zone with dead ones, so many never answer, and so many more refuse.
SILENT_OF_TEN = 2
REFUSING_OF_TEN = 1
# How many addresses never answer.
SILENT_HOSTS = 1000

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
  msg-cache-size: 128m
  rrset-cache-size: 256m
  key-cache-size: 16m
  trust-anchor-file: "{dir}/anchor"
  local-zone: "." static
  local-zone: "bench.test." transparent
remote-control:
  control-enable: no
"""


def host(base, n):
    """The address of host `n` of its kind."""
    return str(ipaddress.ip_address(base.split(":")[0]) + n)


def is_living(n):
    """Whether domain `n` of a zone with dead ones has a mail host that answers."""
    return n % 10 >= SILENT_OF_TEN + REFUSING_OF_TEN


def zone_of(s):
    """The name of the zone that a scenario's recipients are in."""
    if s["route"] != "mx":
        return "bench.test"
    return f"{s['zone']}-{s['hosts']}{'-dead' if s['dead'] else ''}.bench.test"


class World:
    """A signed zone bench.test, and below it those that the scenarios need."""

    def __init__(self, work, smtpbench, scenarios):
        self.dir, self.smtpbench = work / "world", smtpbench
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        self.dir.chmod(0o755)
        self.cgroup = Cgroup("world")
        self.tlsa = json.loads(self.certificate("mx", "mx0.dane-1.bench.test"))["tlsa"]
        self.certificate("relay", "relay.bench.test")
        self.zones = {}
        for s in scenarios:
            if s["route"] == "mx":
                known = self.zones.setdefault(zone_of(s), dict(s))
                known["domains"] = max(known["domains"], s["domains"])
        delegations = [line for name, s in self.zones.items() for line in self.child(name, s)]
        self.parent(delegations)
        self.servers()
        if any(s["dead"] for s in scenarios):
            self.silence()

    def certificate(self, file, name):
        return sh(self.smtpbench, "certificate", "--out", self.dir / file, "--name", name)

    def child(self, name, s):
        """Writes a zone; returns what its parent says of it."""
        zone = [f"$ORIGIN {name}.", "$TTL 3600", "@ SOA ns hostmaster 1 3600 600 86400 3600", "@ NS ns", "ns A 127.0.0.1"]
        for n in range(s["hosts"]):
            zone.append(f"mx{n} A {host(SINK, n)}")
            if s["zone"] == "dane":
                zone.append(f"_{SINK.split(':')[1]}._tcp.mx{n} TLSA {self.tlsa}")
        if s["dead"]:
            zone += [f"silent{n} A {host(SILENT, n)}" for n in range(SILENT_HOSTS)]
        for n in range(s["domains"]):
            zone += self.domain(n, s)
        (self.dir / name).write_text("\n".join(zone) + "\n")
        label = name.split(".")[0]
        delegation = [f"{label} NS ns.{label}", f"ns.{label} A 127.0.0.1"]
        return delegation if s["zone"] == "open" else delegation + [self.sign(name)]

    def domain(self, n, s):
        """The records of one recipients' domain."""
        if not s["dead"] or is_living(n):
            return [f"d{n} MX 10 mx{n % s['hosts']}"]
        if n % 10 < SILENT_OF_TEN:
            return [f"d{n} MX 10 silent{n % SILENT_HOSTS}"]
        # Nobody listens there; each has an address of its own.
        return [f"d{n} MX 10 refusing{n}", f"refusing{n} A {host(REFUSING, n)}"]

    def parent(self, delegations):
        zone = [
            "$ORIGIN bench.test.", "$TTL 3600", "@ SOA ns hostmaster 1 3600 600 86400 3600", "@ NS ns",
            "ns A 127.0.0.1", "client A 127.0.0.1", f"relay A {RELAY.split(':')[0]}", *delegations,
        ]
        (self.dir / "bench.test").write_text("\n".join(zone) + "\n")
        (self.dir / "anchor").write_text(self.sign("bench.test") + "\n")

    def sign(self, name):
        """Signs a zone in its place, and returns its DS record."""
        key = sh("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", name, cwd=self.dir).strip()
        sh("ldns-signzone", "-n", "-f", f"{name}.signed", name, key, cwd=self.dir)
        (self.dir / f"{name}.signed").rename(self.dir / name)
        return (self.dir / f"{key}.ds").read_text().strip()

    def servers(self):
        names = ["bench.test", *self.zones]
        nsd = NSD.format(dir=self.dir) + "".join(f"zone:\n  name: {n}\n  zonefile: {n}\n" for n in names)
        (self.dir / "nsd.conf").write_text(nsd)
        stubs = "".join(f"stub-zone:\n  name: {n}\n  stub-addr: 127.0.0.1@5300\n" for n in names)
        (self.dir / "unbound.conf").write_text(UNBOUND.format(dir=self.dir) + stubs)
        log = open(self.dir / "dns.log", "w")
        self.cgroup.popen(["nsd", "-d", "-c", self.dir / "nsd.conf"], stdout=log, stderr=log)
        self.cgroup.popen(["unbound", "-d", "-c", self.dir / "unbound.conf"], stdout=log, stderr=log)
        resolv = self.dir / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.1\noptions edns0 trust-ad\n")
        sh("mount", "--bind", resolv, os.path.realpath("/etc/resolv.conf"))
        for name in names:
            self.await_zone(name)

    def await_zone(self, name):
        """Waits until the resolver answers from a zone, and with proof where it is signed."""
        signed = not name.startswith("open")
        for _ in range(300):
            time.sleep(0.1)
            asked = subprocess.run(["drill", "-D", name, "SOA"], capture_output=True, text=True).stdout
            if "NOERROR" in asked and "ANSWER: 0" not in asked and bool(re.search(r"flags:.* ad", asked)) == signed:
                return
        sys.exit(f"bench.py: the resolver does not answer for {name}, see {self.dir}")

    def silence(self):
        args = [self.smtpbench, "silent", "--listen", SILENT, "--hosts", SILENT_HOSTS]
        proc = self.cgroup.popen(args, stdout=subprocess.PIPE, text=True)
        if not proc.stdout.readline():
            sys.exit("bench.py: no addresses that are silent")

    def remove(self):
        self.cgroup.remove()
