"""Zones whose server misbehaves: `misbehave.py` changes the answers by the rule of the zone."""

from . import keys, places
from .plan import ANSWER, BOGUS, FAILED, INSECURE, NODATA, NOTHING, NXDOMAIN, SECURE
from .zone import Nsec3


def plan(bed):
    refusals(bed)
    stripped(bed)
    forged(bed)
    partial_denials(bed)
    odd_nsec3(bed)
    parents(bed)
    transports(bed)
    made_on_the_fly(bed)


def _misbehaving(bed, name, rule, algorithm=keys.P256, address=places.MISBEHAVING, **options):
    bed.zone(name, algorithm, rule=rule, address=address, **options)


def refusals(bed):
    """TLSA questions end in an error, silence or emptiness."""
    for how in ("servfail", "drop", "refused", "notimp", "formerr", "nx", "empty"):
        is_forged = how in ("nx", "empty")
        zone = f"tlsa{how}.lab."
        _misbehaving(bed, zone, f"tlsa-{how}")
        bed.ask(f"tlsa{how}.lab/a", f"mx.{zone}", "A", ANSWER, SECURE, "signed")
        status = BOGUS if is_forged else FAILED
        bed.ask(f"tlsa{how}.lab/tlsa", f"_25._tcp.mx.{zone}", "TLSA", NOTHING, status, f"signed, TLSA: {how}")
        zone = f"tlsa{how}-u.lab."
        _misbehaving(bed, zone, f"tlsa-{how}", algorithm=None)
        bed.ask(f"tlsa{how}-u.lab/a", f"mx.{zone}", "A", ANSWER, INSECURE, "unsigned")
        kind = {"nx": NXDOMAIN, "empty": NODATA}.get(how, NOTHING)
        status = INSECURE if is_forged else FAILED
        bed.ask(f"tlsa{how}-u.lab/tlsa", f"_25._tcp.mx.{zone}", "TLSA", kind, status, f"unsigned, TLSA: {how}")


def stripped(bed):
    """Signatures or denials are left out."""
    _misbehaving(bed, "stripsig.lab.", "strip-sig")
    bed.ask_few("stripsig.lab.", BOGUS, "the server leaves signatures out")
    for zone, rule, nsec3, remark in [
        ("stripnsec.lab.", "strip-denial", None, "NSEC left out"),
        ("stripnsec3.lab.", "strip-denial", Nsec3(), "NSEC3 left out"),
        ("stripnegsig.lab.", "strip-neg-sig", None, "signatures of NSEC left out"),
        ("badnsec3.lab.", "corrupt-denial-sig", Nsec3(), "signatures of NSEC3 corrupt"),
    ]:
        _misbehaving(bed, zone, rule, nsec3=nsec3)
        label = zone.rstrip(".")
        bed.ask(f"{label}/a", f"mx.{zone}", "A", ANSWER, SECURE, remark)
        bed.ask_bogus(f"{label}/tlsa-nx", f"_25._tcp.mxnt.{zone}", "TLSA", remark)
        bed.ask_bogus(f"{label}/tlsa-nodata", f"_25._tcp.mxnd.{zone}", "TLSA", remark)
    for zone, nsec3 in (("nowildproof.lab.", None), ("nowildproof3.lab.", Nsec3())):
        _misbehaving(bed, zone, "strip-wild-proof", nsec3=nsec3)
        bed.ask_bogus(f"{zone.rstrip('.')}/wild", f"x.wild.{zone}", "A", "a wildcard answer without denial")


def forged(bed):
    """Denials and answers put together from true records."""
    for zone, rule, nsec3, remark in [
        ("wrongnsec.lab.", "forge-nodata", None, "NODATA with the NSEC of the name, which tells of TLSA"),
        ("wrongnsec3.lab.", "forge-nodata", Nsec3(), "the same with NSEC3"),
        ("forgednx.lab.", "forge-nx", None, "NXDOMAIN with the denial of another name"),
        ("forgednx3.lab.", "forge-nx", Nsec3(), "the same with NSEC3"),
    ]:
        _misbehaving(bed, zone, rule, nsec3=nsec3)
        bed.ask_bogus(f"{zone.rstrip('.')}/tlsa", f"_25._tcp.mx.{zone}", "TLSA", remark)
    _misbehaving(bed, "replaywild.lab.", "replay-wild")
    bed.ask_bogus("replaywild.lab/tl", "tl.wild.replaywild.lab.", "A",
                  "a wildcard answer for a name that exists without the type")
    _misbehaving(bed, "expnsec.lab.", "expand-nsec")
    bed.ask_bogus("expnsec.lab/tl", "tl.wild.expnsec.lab.", "TLSA",
                  "the NSEC of a wildcard expanded to a name that exists: CVE-2017-15105")
    _misbehaving(bed, "swapnx.lab.", "nodata-as-nx")
    bed.ask_bogus("swapnx.lab/nodata", "_25._tcp.mxnd.swapnx.lab.", "TLSA", "NODATA called NXDOMAIN", "NODATA/S")
    _misbehaving(bed, "swapnodata.lab.", "nx-as-nodata")
    bed.ask_bogus("swapnodata.lab/nx", "_25._tcp.mxnt.swapnodata.lab.", "TLSA", "NXDOMAIN called NODATA", "NX/S")
    _misbehaving(bed, "injectcname.lab.", "inject-cname")
    bed.ask_bogus("injectcname.lab/a", "www.injectcname.lab.", "A", "an unsigned CNAME to a secure name")
    bed.ask_bogus("injectcname.lab/tlsa", "_25._tcp.mx.injectcname.lab.", "TLSA", "an unsigned CNAME to secure TLSA")
    _misbehaving(bed, "child.anc.lab.", "ancestor-nsec", server="leaf-below")
    bed.zone("anc.lab.", keys.P256)
    bed.ask_bogus("anc/child-nodata", "child.anc.lab.", "A", "NODATA with the parent's NSEC of the cut")
    bed.ask_bogus("anc/child-below", "mx.child.anc.lab.", "A", "NXDOMAIN with the parent's NSEC of the cut")
    _misbehaving(bed, "baddnametarget.lab.", "dname-elsewhere", extra="dn DNAME good-p256.lab.\n")
    bed.ask("baddnametarget.lab/www", "www.dn.baddnametarget.lab.", "A", ANSWER, SECURE,
            "the CNAME beside a DNAME leads elsewhere: the DNAME counts", "FAIL/B,FAIL/X")


def partial_denials(bed):
    """NXDOMAIN and wildcard answers with a part of their proof."""
    for zone, rule, nsec3, remark in [
        ("nostar.lab.", "strip-star-denial", None, "nothing denies the wildcard"),
        ("noname.lab.", "strip-name-denial", None, "nothing denies the name"),
        ("nostar3.lab.", "strip-star-denial", Nsec3(), "nothing denies the wildcard"),
        ("noname3.lab.", "strip-name-denial", Nsec3(), "nothing denies the next closer name"),
        ("noencloser3.lab.", "strip-encloser", Nsec3(), "nothing shows the closest encloser"),
    ]:
        _misbehaving(bed, zone, rule, nsec3=nsec3)
        label = zone.rstrip(".")
        bed.ask_bogus(f"{label}/nx", f"nx.{zone}", "A", remark)
        bed.ask_bogus(f"{label}/nx-deep", f"a.b.nx.{zone}", "TLSA", remark)
        bed.ask(f"{label}/a", f"mx.{zone}", "A", ANSWER, SECURE, remark)


def odd_nsec3(bed):
    """NSEC3 records with parameters that nobody knows, or not those of the others; signed again."""
    for zone, rule, remark in [
        ("n3-hash2.lab.", "nsec3-hash", "an unknown hash algorithm: RFC 5155, Section 8.1"),
        ("n3-flag.lab.", "nsec3-flag", "an unknown flag: RFC 5155, Section 8.2"),
        ("n3-salts.lab.", "nsec3-salt", "one of the records has another salt: RFC 5155, Section 8.2"),
    ]:
        _misbehaving(bed, zone, rule, nsec3=Nsec3())
        label = zone.rstrip(".")
        bed.ask_bogus(f"{label}/nx", f"nx.{zone}", "A", remark)
        bed.ask(f"{label}/a", f"mx.{zone}", "A", ANSWER, SECURE, remark)


def parents(bed):
    """Servers that hide or forge DS records of the zones below."""
    for zone, rule, nsec3, remark, also in [
        ("evilparent.lab.", "strip-ds-proof", None, "nothing proves that there is no DS record", ""),
        ("evilparent3.lab.", "strip-ds-proof", Nsec3(), "the same with NSEC3", ""),
        ("dsservfail.lab.", "ds-servfail", None, "DS questions get SERVFAIL", "FAIL/X"),
        ("dsnx.lab.", "ds-fakenx", None, "DS questions get an unsigned NXDOMAIN", ""),
    ]:
        _misbehaving(bed, zone, rule, nsec3=nsec3)
        bed.zone(f"c.{zone}", server="leaf-below", address=places.LEAF_BELOW)
        bed.ask_bogus(zone.replace(".lab.", "/a"), f"www.c.{zone}", "A", remark, also)
    _misbehaving(bed, "dschild.lab.", "ds-from-child")
    _misbehaving(bed, "c.dschild.lab.", "none", server="leaf-below")
    bed.ask_bogus("dschild/a", "www.c.dschild.lab.", "A", "the child itself denies its DS record", "OK/S")
    for zone, rule, remark in [
        ("dnskeyfail.lab.", "dnskey-servfail", "DNSKEY questions get SERVFAIL"),
        ("dnskeydrop.lab.", "dnskey-drop", "DNSKEY questions get no answer"),
    ]:
        _misbehaving(bed, zone, rule)
        bed.ask_bogus(f"{zone.rstrip('.')}/a", f"mx.{zone}", "A", remark, "FAIL/X")
        bed.ask_bogus(f"{zone.rstrip('.')}/tlsa", f"_25._tcp.mx.{zone}", "TLSA", remark, "FAIL/X")


def transports(bed):
    """Servers that are slow, dead, old, or have trouble with large answers."""
    _misbehaving(bed, "tconly.lab.", "tc-always")
    bed.ask_few("tconly.lab.", SECURE, "always truncated over UDP")
    _misbehaving(bed, "slow.lab.", "slow")
    bed.ask_few("slow.lab.", SECURE, "0.7 s for each answer")
    _misbehaving(bed, "lower.lab.", "lowercase")
    bed.ask_few("lower.lab.", SECURE, "the server puts the question in lower case", also=FAILED)
    for zone, rule, remark, also in [
        ("noedns-u.lab.", "no-edns", "FORMERR on EDNS, unsigned", ""),
        ("noednsdrop-u.lab.", "no-edns-drop", "no answer to EDNS, unsigned", FAILED),
    ]:
        _misbehaving(bed, zone, rule, algorithm=None)
        bed.ask_few(zone, INSECURE, remark, also=also)
    for zone, rule, address, remark in [
        ("dead.lab.", "none", places.SILENT, "a dead server"),
        ("tcfail.lab.", "tc-always", places.WITHOUT_TCP, "truncated, and no TCP"),
    ]:
        _misbehaving(bed, zone, rule, address=address)
        label = zone.rstrip(".")
        bed.ask(f"{label}/a", f"mx.{zone}", "A", NOTHING, FAILED, remark)
        bed.ask(f"{label}/tlsa", f"_25._tcp.mx.{zone}", "TLSA", NOTHING, FAILED, remark)
    _misbehaving(bed, "dead-u.lab.", "none", algorithm=None, address=places.SILENT)
    bed.ask("dead-u.lab/a", "mx.dead-u.lab.", "A", NOTHING, FAILED, "a dead server, unsigned")


def made_on_the_fly(bed):
    """Servers that sign denials when they are asked."""
    _misbehaving(bed, "blacklies.lab.", "black-lies")
    bed.ask_few("blacklies.lab.", SECURE, "compact denial: RFC 9824")
    # It says that the name exists without records.
    label, name, rtype, _, status, remark, also = bed.questions["blacklies.lab/tlsa-nx"]
    bed.questions[label] = (label, name, rtype, NODATA, status, remark, also)
    _misbehaving(bed, "whitelies.lab.", "white-lies")
    bed.ask_few("whitelies.lab.", SECURE, "minimal spans: RFC 4470")
    for number in range(6):
        bed.ask(f"whitelies.lab/nx{number}", f"nx{number}.whitelies.lab.", "A", NXDOMAIN, SECURE, "minimal spans")
