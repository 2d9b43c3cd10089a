"""Denials that prove less than they should, wildcards at the edges of zones, and names that are hard to write."""

from . import damage, keys
from .plan import ANSWER, INSECURE, NODATA, NXDOMAIN, SECURE
from .zone import Nsec3

WILDCARDS = """
* A 127.0.0.99
* MX 10 mx
*.deep TXT "deep"
a.ent2.deep TXT "a"
there.deep A 127.0.0.1
*.cn CNAME www.insecure.lab.
*.loop CNAME x.loop
star.*.lit A 127.0.0.3
*.lit TXT "lit"
"""

NAMES = r"""
dot\.in\.label A 127.0.0.1
space\032in\032label A 127.0.0.1
nul\000octet A 127.0.0.1
\255\254\253 A 127.0.0.1
\001 A 127.0.0.1
back\\slash A 127.0.0.1
quote\"s A 127.0.0.1
star.\*x A 127.0.0.1
UPPER.CASE A 127.0.0.1
""" + f"""
{"x" * 63} A 127.0.0.1
{".".join([letter * 60 for letter in "abc"])}.{"d" * 45} A 127.0.0.1
types TYPE65534 \\# 4 01020304
types TYPE65280 \\# 0
types HTTPS 1 . alpn=h2
types SVCB 0 www
types SRV 0 0 25 mx
types NAPTR 1 1 "s" "x" "" www
types SSHFP 4 2 {"ab" * 32}
types URI 1 1 "https://www.lab/"
types LOC 52 22 23 N 4 53 32 E -2m
types CDS 1 13 2 {"00" * 32}
types CSYNC 1 3 A
types HINFO "a" "b"
types RP mx www
types AFSDB 1 mx
"""


def plan(bed):
    lying_bitmaps(bed)
    for zone, options in (("wildcards.lab.", {}), ("wildcards3.lab.", {"nsec3": Nsec3()})):
        wildcards(bed, zone, options)
    for zone, options in (("names.lab.", {}), ("names3.lab.", {"nsec3": Nsec3()})):
        names(bed, zone, options)
    repeated(bed)


def lying_bitmaps(bed):
    """NSEC records that the zone itself signed with a wrong list of types."""
    for zone, owner, add, question, rtype, remark, also in [
        ("bitmap-cname.lab.", "onlytxt", "CNAME", "onlytxt", "A", "the NSEC record tells of a CNAME", ""),
        ("bitmap-type.lab.", "onlytxt", "A", "onlytxt", "A", "the NSEC record tells of the type", ""),
        ("bitmap-dname.lab.", "mxnt", "DNAME", "_25._tcp.mxnt", "TLSA", "the NSEC record tells of a DNAME above", ""),
        # It may also count as the proof of an unsigned delegation, as in unbound.
        ("bitmap-ns.lab.", "mxnt", "NS", "_25._tcp.mxnt", "TLSA", "the NSEC record tells of a cut above", "NX/I"),
    ]:
        bed.zone(zone, keys.P256, damage=damage.add_to_nsec(owner, add))
        bed.ask_bogus(f"{zone.rstrip('.')}/{rtype.lower()}", f"{question}.{zone}", rtype, remark, also)


def wildcards(bed, zone, options):
    """A zone with wildcards at its apex, at empty non-terminals and beside delegations."""
    bed.zone(zone, keys.P256, extra=WILDCARDS, **options)
    bed.zone(f"kid.{zone}", keys.P256)
    bed.zone(f"ukid.{zone}")
    label = zone.rstrip(".")
    for owner, rtype, kind, status, remark in [
        ("any", "A", ANSWER, SECURE, "the wildcard at the apex"),
        ("any.thing.at.all", "A", ANSWER, SECURE, "the wildcard at the apex, four labels deep"),
        ("any", "TXT", NODATA, SECURE, "the wildcard has other types"),
        ("any", "DS", NODATA, SECURE, "a wildcard is no delegation"),
        ("*", "A", ANSWER, SECURE, "the wildcard by its name"),
        ("*", "AAAA", NODATA, SECURE, "the wildcard by its name"),
        ("x.*", "A", NXDOMAIN, SECURE, "below the wildcard's name"),
        ("x.mx", "A", NXDOMAIN, SECURE, "a name that exists keeps the wildcard out"),
        ("any.deep", "TXT", ANSWER, SECURE, "a wildcard below an empty non-terminal"),
        ("any.deep", "A", NODATA, SECURE, "the closer wildcard counts"),
        ("there.deep", "TXT", NODATA, SECURE, "beside a wildcard"),
        ("x.there.deep", "TXT", NXDOMAIN, SECURE, "below what stands beside a wildcard"),
        ("ent2.deep", "TXT", NODATA, SECURE, "an empty non-terminal beside a wildcard"),
        ("x.ent2.deep", "TXT", NXDOMAIN, SECURE, "below an empty non-terminal beside a wildcard"),
        ("any.cn", "A", ANSWER, INSECURE, "a wildcard CNAME to insecure"),
        ("any.lit", "TXT", ANSWER, SECURE, "a wildcard with names below it"),
        ("star.*.lit", "A", ANSWER, SECURE, "a name below the name of a wildcard"),
        ("other.*.lit", "A", NXDOMAIN, SECURE, "a name below the name of a wildcard"),
        ("nx.kid", "A", NXDOMAIN, SECURE, "the wildcard ends at a cut"),
        ("nx.ukid", "A", NXDOMAIN, INSECURE, "the wildcard ends at an unsigned cut"),
        ("www.kid", "A", ANSWER, SECURE, "the zone below"),
        ("www.ukid", "A", ANSWER, INSECURE, "the unsigned zone below"),
        ("ukid", "DS", NODATA, SECURE, "the unsigned delegation beside a wildcard"),
        ("akid", "DS", NODATA, SECURE, "the wildcard is no delegation"),
        ("mx.ukid", "AAAA", ANSWER, INSECURE, "the unsigned zone below"),
    ]:
        bed.ask(f"{label}/{owner}-{rtype}", f"{owner}.{zone}", rtype, kind, status, remark)
    bed.ask(f"{label}/loop", f"x.loop.{zone}", "A", "FAIL", "X", "a wildcard CNAME to itself", "FAIL/B")


def names(bed, zone, options):
    """Names with every kind of octet, long ones, and types without a mnemonic."""
    bed.zone(zone, keys.P256, extra=NAMES, **options)
    label = zone.rstrip(".")
    long = ".".join([letter * 60 for letter in "abc"])
    for number, (owner, kind) in enumerate([
        (r"dot\.in\.label", ANSWER),
        (r"dot.in.label", NXDOMAIN),
        (r"space\032in\032label", ANSWER),
        (r"nul\000octet", ANSWER),
        (r"nul\001octet", NXDOMAIN),
        (r"\255\254\253", ANSWER),
        (r"\255\254", NXDOMAIN),
        (r"\001", ANSWER),
        (r"\000", NXDOMAIN),
        (r"\255", NXDOMAIN),
        (r"back\\slash", ANSWER),
        (r"star.\*x", ANSWER),
        (r"UPPER.CASE", ANSWER),
        (r"upper.case", ANSWER),
        (r"UpPeR.cAsE", ANSWER),
        (r"UPPERER.CASE", NXDOMAIN),
        (r"\085PPER.case", ANSWER),
        ("x" * 63, ANSWER),
        ("x" * 62, NXDOMAIN),
        ("X" * 63, ANSWER),
        (f"{long}.{'d' * 45}", ANSWER),
        (f"{long}.{'d' * 46}", NXDOMAIN),
        (long, NXDOMAIN),
        (f"{'b' * 60}.{'c' * 60}.{'d' * 45}", NODATA),
    ]):
        bed.ask(f"{label}/name{number}", f"{owner}.{zone}", "A", kind, SECURE, "an odd name")
    for rtype, kind in [
        ("TYPE65534", ANSWER), ("TYPE65280", ANSWER), ("TYPE65281", NODATA), ("TYPE1", NODATA), ("HTTPS", ANSWER),
        ("TYPE64", ANSWER), ("SRV", ANSWER), ("TYPE33", ANSWER), ("NAPTR", ANSWER), ("SSHFP", ANSWER),
        ("URI", ANSWER), ("LOC", ANSWER), ("CDS", ANSWER), ("CSYNC", ANSWER), ("HINFO", ANSWER), ("RP", ANSWER),
        ("AFSDB", ANSWER), ("CDNSKEY", NODATA), ("DNSKEY", NODATA), ("SOA", NODATA), ("NS", NODATA),
        ("TYPE11", NODATA), ("TYPE32769", NODATA),
    ]:
        bed.ask(f"{label}/{rtype}", f"types.{zone}", rtype, kind, SECURE, "an odd type")
    denial = "NSEC3PARAM" if options else "NSEC"
    bed.ask(f"{label}/{denial}", zone, denial, ANSWER, SECURE, "the denial itself")


def repeated(bed):
    """Many names of one zone, so that denials which are known already answer for some: RFC 8198.

    Some of the names exist, some are wildcards' and some do not; none may change by what was asked before.
    """
    extra = "".join(f"n{number:02} A 127.0.0.{number}\n" for number in range(0, 60, 3))
    extra += "*.w A 127.0.0.9\nb.w TXT \"b\"\nx.y.w TXT \"y\"\n"
    for zone, status, options in [
        ("again.lab.", SECURE, {"algorithm": keys.P256}),
        ("again3.lab.", SECURE, {"algorithm": keys.P256, "nsec3": Nsec3()}),
        ("againopt.lab.", INSECURE, {"algorithm": keys.P256, "nsec3": Nsec3(opt_out=True)}),
        ("again.opt.", INSECURE, {}),
    ]:
        bed.zone(zone, extra=extra, **options)
        sure = SECURE if options else INSECURE
        label = zone.rstrip(".")
        for number in range(30):
            kind, expected = (ANSWER, sure) if number % 3 == 0 else (NXDOMAIN, status)
            bed.ask(f"{label}/n{number}", f"n{number:02}.{zone}", "A", kind, expected, "one of many names")
            if number % 3 == 0:
                bed.ask(f"{label}/n{number}-mx", f"n{number:02}.{zone}", "MX", NODATA, sure, "one of many types")
        for owner, rtype, kind, expected in [
            ("a.w", "A", ANSWER, status), ("b.w", "A", NODATA, sure), ("c.w", "A", ANSWER, status),
            ("c.w", "TXT", NODATA, status), ("d.w", "A", ANSWER, status), ("y.w", "A", NODATA, sure),
            ("z.y.w", "A", NXDOMAIN, status), ("y.w", "TXT", NODATA, sure), ("e.f.w", "A", ANSWER, status),
        ]:
            bed.ask(f"{label}/{owner}-{rtype}", f"{owner}.{zone}", rtype, kind, expected, "a wildcard among many")
