"""A zone: what it holds, its keys, how it is signed and what is then done to it."""

import base64
import hashlib
import subprocess
import sys

import dns.zone

from . import keys, places
from .records import EXPIRATION, INCEPTION

TLSA = "3 1 1 " + hashlib.sha256(b"leaf").hexdigest()
TLSA_OF_AUTHORITY = "2 0 1 " + hashlib.sha256(b"authority").hexdigest()

# The hash of a local part that RFC 7929 and RFC 8162 put before the name of a mail domain.
MAILBOX = "0123456789abcdef0123456789abcdef0123456789abcdef01234567"


class Nsec3:
    """Denial by hashes: RFC 5155."""

    def __init__(self, salt="-", iterations=0, opt_out=False):
        self.salt = salt
        self.iterations = iterations
        self.opt_out = opt_out


class Zone:
    """A zone of the bed.

    ds       gives the DS records of the zone as text when asked with it; None: one for each key that is an
             entry point
    spare    further keys, which sign nothing unless `damage` has them do so
    damage   is called with the signed records and the zone; changes the records
    rule     what the misbehaving server does with answers from this zone
    signer   "bind" or "ldns"; the latter makes chains that BIND refuses to
    """

    def __init__(
        self, name, algorithm=None, *, bits=2048, zsk_bits=None, exponent=65537, own_keys=None, spare=(),
        nsec3=None, signer="bind", validity=(INCEPTION, EXPIRATION), ds=None, damage=None,
        server="leaf", address=places.LEAF, rule=None, extra="", text=None,
    ):
        self.name = name
        self.keys = list(own_keys or ())
        if algorithm:
            self.keys.insert(0, keys.Key(name, algorithm, keys.KSK, bits, exponent))
        if zsk_bits:
            self.keys.append(keys.Key(name, algorithm, keys.ZSK, zsk_bits))
        self.spare = list(spare)
        self.nsec3 = nsec3
        self.signer = signer
        self.validity = validity
        self.damage = damage
        self.server = server
        self.address = address
        self.rule = rule
        self.text = text or usual_text(name, address, extra)
        self._ds = ds

    @property
    def key(self):
        """The key that signs, or the first of those that do."""
        return self.keys[0]

    @property
    def ds(self):
        """The DS records as text; there are keys by now."""
        if self._ds:
            return self._ds(self)
        return [key.ds() for key in self.keys if key.flags & keys.ENTRY_POINT]

    def delegation(self):
        """What the parent has to say about the zone."""
        lines = [f"{self.name} NS ns1.{self.name}", f"ns1.{self.name} A {self.address}"]
        lines += [f"{self.name} DS {ds}" for ds in self.ds]
        return "\n".join(lines) + "\n"

    def build(self, directories):
        """Writes the zone file, signed if the zone has keys."""
        path = directories.zones / f"{places.file_name(self.name)}.zone"
        if not self.keys:
            path.write_text(self.text)
            return
        work = directories.keys / places.file_name(self.name)
        work.mkdir()
        self._sign(work, path)
        if self.damage:
            records = dns.zone.from_file(str(path), origin=self.name, relativize=False, check_origin=False)
            self.damage(records, self)
            with open(path, "w") as file:
                records.to_file(file, sorted=True, relativize=False)

    def _sign(self, work, path):
        paths = [key.write(work) for key in self.keys]
        text = self.text
        start, end = (places.timestamp(moment) for moment in self.validity)
        if self.signer == "bind":
            text += "".join(f"{self.name} DNSKEY {key.dnskey.to_text()}\n" for key in self.keys)
            # -P: some zones shall be wrong. -z: a key may be both key-signing and zone-signing.
            command = ["dnssec-signzone", "-P", "-q", "-n", "1", "-s", start, "-e", end, "-o", self.name]
            if all(key.flags & keys.ENTRY_POINT for key in self.keys):
                command.append("-z")
            if self.nsec3:
                command += ["-3", self.nsec3.salt, "-H", str(self.nsec3.iterations)]
                command += ["-A"] if self.nsec3.opt_out else []
        else:
            command = ["ldns-signzone", "-i", start, "-e", end, "-o", self.name]
            if self.nsec3:
                command += ["-n", "-s", self.nsec3.salt, "-t", str(self.nsec3.iterations)]
        (work / "unsigned").write_text(text)
        command += ["-f", str(path), "unsigned", *paths]
        signing = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if signing.returncode:
            sys.exit(f"the zone {self.name} cannot be signed: {' '.join(command)}\n{signing.stdout}")


def usual_text(zone, address, extra=""):
    """What every zone holds: one name for each shape of an answer."""
    certificate = base64.b64encode(b"\x99" + hashlib.sha512(zone.encode()).digest() * 4).decode()
    return f"""$ORIGIN {zone}
$TTL 3600
@ SOA ns1 hostmaster 1 7200 3600 1209600 300
@ NS ns1
ns1 A {address}
@ A 127.0.0.80
@ MX 10 mx
@ TXT "v=spf1 mx -all"
@ CAA 0 issue "ca.lab"
_mta-sts TXT "v=STSv1; id=1"
mx A 127.0.0.25
mx AAAA ::1
_25._tcp.mx TLSA {TLSA}
_25._tcp.mx TLSA {TLSA_OF_AUTHORITY}
mxcn CNAME mx
mxct A 127.0.0.25
_25._tcp.mxct CNAME _dane
_dane TLSA {TLSA}
mxnt A 127.0.0.25
mxnd A 127.0.0.25
_25._tcp.mxnd TXT "no TLSA record here"
mxent A 127.0.0.25
x._25._tcp.mxent TXT "an empty non-terminal above"
mxw A 127.0.0.25
*._tcp.mxw TLSA {TLSA}
www A 127.0.0.80
www AAAA ::1
onlytxt TXT "txt"
alias CNAME www
*.wild A 127.0.0.99
*.wild TXT "wild"
tl.wild TLSA {TLSA}
*.wc CNAME www
a.ent TXT "a"
{MAILBOX}._openpgpkey OPENPGPKEY {certificate}
{MAILBOX}._smimecert SMIMEA {TLSA}
ttl5 5 TXT "five"
ttl86400 86400 TXT "day"
{extra}
"""


def registry_text(zone):
    """What a top-level domain holds besides delegations."""
    return f"""$ORIGIN {zone}
$TTL 86400
@ SOA ns1 hostmaster 1 7200 3600 1209600 900
@ NS ns1
ns1 A {places.TLD}
"""


def root_text():
    """What the root holds besides delegations."""
    return f"""$ORIGIN .
$TTL 86400
. SOA a.root. hostmaster.root. 1 1800 900 604800 86400
. NS a.root.
a.root. A {places.ROOT}
"""
