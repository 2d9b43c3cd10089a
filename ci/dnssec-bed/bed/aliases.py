"""CNAME and DNAME records, within a zone and across borders of security."""

import base64
import hashlib

from . import damage, keys
from .plan import ANSWER, BOGUS, FAILED, INSECURE, NODATA, NOTHING, NXDOMAIN, SECURE
from .zone import TLSA, Nsec3

ALIASES = f"""
c-sec CNAME www.good-p256.lab.
c-insec CNAME www.insecure.lab.
c-bogus CNAME www.badsig.lab.
c-wrongds CNAME www.wrongds.lab.
c-nx CNAME nx.good-p256.lab.
c-nodata CNAME onlytxt.good-p256.lab.
c-insec-nx CNAME nx.insecure.lab.
c-insec-sec CNAME c-sec.insecure.lab.
c-servfail CNAME www.dead.lab.
c-optnx CNAME nosuch.optleaf.lab.
c-wild CNAME x.wild.good-p256.lab.
c-ent CNAME ent.good-p256.lab.
c-tldnx CNAME www.nosuchtld.
c-root CNAME .
c-unwild CNAME x.wild.insecure.lab.
c-dname CNAME www.dn
c-wc CNAME x.wc
self CNAME self
loop1 CNAME loop2
loop2 CNAME loop1
far CNAME back.good-loop.lab.
ch1 CNAME ch2
ch2 CNAME ch3
ch3 CNAME ch4
ch4 CNAME ch5
ch5 CNAME ch6
ch6 CNAME ch7
ch7 CNAME ch8
ch8 CNAME ch9
ch9 CNAME ch10
ch10 CNAME ch11
ch11 CNAME ch12
ch12 CNAME www
dn DNAME good-p256.lab.
dni DNAME insecure.lab.
dnb DNAME badsig.lab.
dndn DNAME dn.good-rsa.lab.
dnx DNAME nosuch.good-p256.lab.
dnloop DNAME more.dnloop
dnlong DNAME {'a' * 63}.{'b' * 63}.good-p256.lab.
*.wdni CNAME www.insecure.lab.
*.wnx CNAME nx.good-p256.lab.
mxext A 127.0.0.25
_25._tcp.mxext CNAME _25._tcp.mx.good-p256.lab.
mxexti A 127.0.0.25
_25._tcp.mxexti CNAME _25._tcp.mx.insecure.lab.
mxextnx A 127.0.0.25
_25._tcp.mxextnx CNAME _25._tcp.mxnt.good-p256.lab.
mxextb A 127.0.0.25
_25._tcp.mxextb CNAME _25._tcp.mx.badsig.lab.
mxcext CNAME mx.good-p256.lab.
_25._tcp.mxcext TLSA {TLSA}
mxcexti CNAME mx.insecure.lab.
"""

LARGE = "".join(
    [
        "nullmx MX 0 .\ntolist MX 10 mx.insecure.lab.\ntolist MX 20 mx.good-p256.lab.\ntolist MX 30 mx.badsig.lab.\n",
        "MiXeD A 127.0.0.77\n",
        *(f"mxbig._25 TLSA 3 0 0 {hashlib.sha512(b'%d' % number).hexdigest() * 8}\n" for number in range(24)),
        f"bigkey OPENPGPKEY {base64.b64encode(hashlib.sha512(b'k').digest() * 90).decode()}\n",
        "bigtxt TXT " + " ".join(['"' + "x" * 250 + '"'] * 16) + "\n",
        # BIND takes no more than 100 records of a type.
        *(f"many AAAA fd00::{number}\n" for number in range(90)),
    ]
)


def plan(bed):
    bed.zone("good-rsa.lab.", keys.RSASHA256, zsk_bits=2048, extra=ALIASES + LARGE)
    bed.zone("good-loop.lab.", keys.P256, extra="back CNAME far.good-rsa.lab.\n")
    for owner, rtype, kind, status, remark in [
        ("c-sec", "A", ANSWER, SECURE, "secure to secure"),
        ("c-insec", "A", ANSWER, INSECURE, "secure to insecure"),
        ("c-bogus", "A", NOTHING, BOGUS, "secure to bogus records"),
        ("c-wrongds", "A", NOTHING, BOGUS, "secure to a bogus zone"),
        ("c-nx", "A", NXDOMAIN, SECURE, "secure to a secure denial"),
        ("c-nodata", "A", NODATA, SECURE, "secure to a secure denial"),
        ("c-insec-nx", "A", NXDOMAIN, INSECURE, "secure to an insecure denial"),
        ("c-insec-sec", "A", ANSWER, INSECURE, "secure to insecure to secure"),
        ("c-servfail", "A", NOTHING, FAILED, "secure to a dead server"),
        ("c-optnx", "A", NXDOMAIN, INSECURE, "secure to an opt-out denial"),
        ("c-wild", "A", ANSWER, SECURE, "secure to a wildcard"),
        ("c-ent", "A", NODATA, SECURE, "secure to an empty non-terminal"),
        ("c-tldnx", "A", NXDOMAIN, SECURE, "secure to a top-level domain that does not exist"),
        ("c-unwild", "A", ANSWER, INSECURE, "secure to an insecure wildcard"),
        ("c-dname", "A", ANSWER, SECURE, "CNAME to what a DNAME covers"),
        ("c-wc", "A", ANSWER, SECURE, "CNAME to a wildcard CNAME"),
        ("x.wdni", "A", ANSWER, INSECURE, "wildcard CNAME to insecure"),
        ("x.wnx", "A", NXDOMAIN, SECURE, "wildcard CNAME to a secure denial"),
        ("x.wnx", "CNAME", ANSWER, SECURE, "the wildcard CNAME itself"),
        ("ch12", "A", ANSWER, SECURE, "1 CNAME"),
        ("ch6", "A", ANSWER, SECURE, "7 CNAMEs"),
        ("ch5", "A", ANSWER, SECURE, "8 CNAMEs"),
        ("www.dn", "A", ANSWER, SECURE, "DNAME to secure"),
        ("www.dni", "A", ANSWER, INSECURE, "DNAME to insecure"),
        ("nx.dni", "A", NXDOMAIN, INSECURE, "DNAME to an insecure denial"),
        ("mx.dnb", "A", ANSWER, SECURE, "DNAME to a good name of a broken zone"),
        ("www.dnb", "A", NOTHING, BOGUS, "DNAME to bogus"),
        ("www.dndn", "A", ANSWER, SECURE, "DNAME to DNAME"),
        ("www.dnx", "A", NXDOMAIN, SECURE, "DNAME to a name that does not exist"),
        ("dn", "DNAME", ANSWER, SECURE, "the DNAME itself"),
        ("dn", "A", NODATA, SECURE, "what a DNAME stands at"),
        ("nx.dn", "A", NXDOMAIN, SECURE, "DNAME to a secure denial"),
        ("onlytxt.dn", "A", NODATA, SECURE, "DNAME to a secure denial"),
        ("x.wild.dn", "A", ANSWER, SECURE, "DNAME to a wildcard"),
        ("_25._tcp.mx.dn", "TLSA", ANSWER, SECURE, "TLSA over a DNAME"),
        ("_25._tcp.mxext", "TLSA", ANSWER, SECURE, "TLSA in another secure zone"),
        ("_25._tcp.mxexti", "TLSA", ANSWER, INSECURE, "TLSA in an insecure zone"),
        ("_25._tcp.mxextnx", "TLSA", NXDOMAIN, SECURE, "TLSA that is not there"),
        ("_25._tcp.mxextb", "TLSA", NOTHING, BOGUS, "TLSA that is bogus"),
        ("mxcext", "A", ANSWER, SECURE, "a mail host that is an alias in a secure zone"),
        ("mxcexti", "A", ANSWER, INSECURE, "a mail host that is an alias in an insecure zone"),
        ("mxcexti", "CNAME", ANSWER, SECURE, "the alias itself: RFC 7672, Section 2.1.3"),
        ("c-insec", "CNAME", ANSWER, SECURE, "the alias itself"),
        ("c-bogus", "CNAME", ANSWER, SECURE, "the alias itself"),
        ("_25._tcp.mxcext", "TLSA", ANSWER, SECURE, "TLSA at the name before the alias"),
        ("nullmx", "MX", ANSWER, SECURE, "no mail: RFC 7505"),
        ("tolist", "MX", ANSWER, SECURE, "several hosts"),
        ("mxbig._25", "TLSA", ANSWER, SECURE, "12 kB, over TCP"),
        ("bigkey", "OPENPGPKEY", ANSWER, SECURE, "6 kB, over TCP"),
        ("bigtxt", "TXT", ANSWER, SECURE, "4 kB, over TCP"),
        ("many", "AAAA", ANSWER, SECURE, "90 records, over TCP"),
        ("mixed", "A", ANSWER, SECURE, "another case"),
        ("MIXED", "A", ANSWER, SECURE, "another case"),
        ("ttl5", "TXT", ANSWER, SECURE, "a short TTL"),
        ("ttl86400", "TXT", ANSWER, SECURE, "a long TTL"),
        ("sub", "DS", ANSWER, SECURE, "parent and child on one server"),
        ("usub", "DS", NODATA, SECURE, "parent and child on one server"),
    ]:
        _ask(bed, owner, rtype, kind, status, remark)
    for owner in ("ch3", "ch1"):
        _ask(bed, owner, "A", ANSWER, SECURE, "10 or 12 CNAMEs", "FAIL/X")
    for owner, remark in [
        ("loop1", "two CNAMEs in a circle"),
        ("self", "a CNAME to itself"),
        ("far", "two CNAMEs of two zones in a circle"),
        ("x.dnloop", "a DNAME into itself"),
        (f"{'c' * 60}.{'d' * 60}.dnlong", "what the DNAME makes of it is too long"),
    ]:
        _ask(bed, owner, "A", NOTHING, FAILED, remark, "FAIL/B")
    # No host can be called so; byrnie says that and no more.
    _ask(bed, "c-root", "A", NODATA, SECURE, "CNAME to the root", "FAIL/X")
    bed.ask("insecure.lab/c-sec", "c-sec.insecure.lab.", "A", ANSWER, INSECURE, "insecure to secure")
    bed.ask("insecure.lab/tlsa-sec", "_25._tcp.mxs.insecure.lab.", "TLSA", ANSWER, INSECURE, "insecure to secure")
    broken_aliases(bed)


def broken_aliases(bed):
    """DNAME and CNAME records whose signatures are not right."""
    bed.zone("baddname.lab.", keys.P256, nsec3=Nsec3(), extra="dn DNAME good-p256.lab.\n",
             damage=damage.corrupt(("dn", "DNAME")))
    bed.ask_bogus("baddname.lab/www", "www.dn.baddname.lab.", "A", "the signature of the DNAME is corrupt")
    bed.zone("nodname.lab.", keys.P256, extra="dn DNAME good-p256.lab.\n",
             damage=damage.drop_signatures(("dn", "DNAME")))
    bed.ask_bogus("nodname.lab/www", "www.dn.nodname.lab.", "A", "the DNAME is not signed")
    bed.zone("badwc.lab.", keys.P256, damage=damage.corrupt(("*.wc", "CNAME")))
    bed.ask_bogus("badwc.lab/wild-cname", "x.wc.badwc.lab.", "A", "the signature of the wildcard CNAME is corrupt")


def _ask(bed, owner, rtype, kind, status, remark, also=""):
    label = f"good-rsa.lab/{owner}"
    if label in bed.questions:
        label += f"-{rtype}"
    bed.ask(label, f"{owner}.good-rsa.lab.", rtype, kind, status, remark, also)
