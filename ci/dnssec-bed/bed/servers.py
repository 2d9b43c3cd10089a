"""The configuration of the servers and resolvers."""

import base64
import json

from . import places


def configure(plan, directories):
    """Writes everything below `conf` and `anchors`."""
    write_anchors(plan.zones["."], directories)
    for server, address in (("root", places.ROOT), ("leaf", places.LEAF), ("leaf-below", places.LEAF_BELOW)):
        zones = [zone.name for zone in plan.zones.values() if zone.server == server]
        (directories.conf / f"nsd-{server}.conf").write_text(nsd(server, address, zones, directories))
    registries = [zone.name for zone in plan.zones.values() if zone.server == "registry"]
    (directories.conf / "knot.conf").write_text(knot(registries, directories))
    (directories.conf / "root.hints").write_text(f". 3600000 NS a.root.\na.root. 3600000 A {places.ROOT}\n")
    anchor = f'  trust-anchor-file: "{directories.anchors}/root.key"\n'
    for name, address, modules, more in (
        ("unbound-validating", places.UNBOUND_VALIDATING, "validator iterator", anchor),
        ("unbound", places.UNBOUND, "iterator", ""),
    ):
        (directories.conf / f"{name}.conf").write_text(unbound(name, address, modules, more, directories))
    (directories.conf / "named.conf").write_text(named(directories))
    write_rules(plan, directories)


def write_anchors(root, directories):
    """The root's key, for byrnie and unbound, and for BIND."""
    key = root.key.dnskey
    (directories.anchors / "root.key").write_text(f". 172800 IN DNSKEY {key.to_text()}\n")
    text = base64.b64encode(key.key).decode()
    (directories.anchors / "bind.anchors").write_text(
        f'trust-anchors {{ . static-key {int(key.flags)} 3 {int(key.algorithm)} "{text}"; }};\n'
    )


def write_rules(plan, directories):
    """What the misbehaving server has to know."""
    misbehaving = [zone for zone in plan.zones.values() if zone.rule]
    rules = {
        "rules": {zone.name: zone.rule for zone in misbehaving},
        "below": [zone.name for zone in misbehaving if zone.server == "leaf-below"],
        "zones": str(directories.zones),
        "pid": str(directories.run / "misbehave.pid"),
        "keys": {
            zone.name: str(next((directories.keys / places.file_name(zone.name)).glob("*.private")))[:-8]
            for zone in misbehaving
            if zone.keys
        },
    }
    (directories.conf / "rules.json").write_text(json.dumps(rules, indent=1))


def nsd(server, address, zones, directories):
    run = directories.run
    text = f"""server:
  ip-address: {address}@53
  username: ""
  chroot: ""
  zonesdir: "{directories.zones}"
  database: ""
  pidfile: "{run}/nsd-{server}.pid"
  logfile: "{run}/nsd-{server}.log"
  xfrdfile: "{run}/nsd-{server}.xfrd"
  zonelistfile: "{run}/nsd-{server}.list"
  xfrdir: "{run}"
  server-count: 1
  minimal-responses: no
  rrl-ratelimit: 0
remote-control:
  control-enable: no
"""
    for zone in zones:
        text += f'zone:\n  name: "{zone}"\n  zonefile: "{places.file_name(zone)}.zone"\n'
    return text


def knot(zones, directories):
    """For the registries: NSD 4.6.1 leaves out the NSEC3 record of the next closer name when it is asked for the DS
    record of an empty non-terminal in an opt-out span."""
    run = directories.run
    text = f"""server:
  listen: [ {places.TLD}@53 ]
  rundir: "{run}"
  pidfile: "{run}/knot.pid"
  user: root:root
  background-workers: 1
  udp-workers: 1
  tcp-workers: 1
log:
  - target: "{run}/knot.log"
    any: info
control:
  listen: "{run}/knot.sock"
database:
  storage: "{run}/knotdb"
zone:
"""
    for zone in zones:
        text += f"""  - domain: "{zone}"
    file: "{directories.zones}/{places.file_name(zone)}.zone"
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
"""
    return text


def unbound(name, address, modules, more, directories):
    run = directories.run
    return f"""server:
  directory: "{directories.top}"
  chroot: ""
  username: ""
  pidfile: "{run}/{name}.pid"
  logfile: "{run}/{name}.log"
  use-syslog: no
  verbosity: 1
  val-log-level: 2
  interface: {address}@53
  access-control: 127.0.0.0/8 allow_snoop
  outgoing-interface: {address}
  do-ip6: no
  do-daemonize: yes
  num-threads: 2
  so-reuseport: yes
  outgoing-range: 4096
  num-queries-per-thread: 2048
  jostle-timeout: 2000
  do-not-query-localhost: no
  root-hints: "{directories.conf}/root.hints"
  module-config: "{modules}"
  ede: yes
{more}remote-control:
  control-enable: no
"""


def named(directories):
    run = directories.run
    return f"""options {{
  directory "{run}"; pid-file "{run}/named.pid"; session-keyfile "{run}/named.session";
  listen-on port {places.BIND_PORT} {{ {places.BIND}; }}; listen-on-v6 {{ none; }};
  query-source address {places.BIND};
  recursion yes; allow-query {{ 127.0.0.0/8; }}; dnssec-validation yes; empty-zones-enable no;
  lock-file none; servfail-ttl 1;
}};
logging {{ channel l {{ file "{run}/named.log"; print-time yes; severity info; }}; category default {{ l; }}; }};
controls {{ }};
zone "." {{ type hint; file "{directories.conf}/root.hints"; }};
include "{directories.anchors}/bind.anchors";
"""
