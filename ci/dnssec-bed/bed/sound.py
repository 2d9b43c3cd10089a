"""Zones in which nothing is wrong: of each algorithm, each kind of denial, each way to be insecure."""

from . import keys, places
from .plan import INSECURE, NODATA, NXDOMAIN, SECURE, ANSWER
from .zone import Nsec3, registry_text, root_text

# Answers that lie in a span of hashes with the opt-out bit: RFC 5155, Section 9.2.
OPTED_OUT = ["tlsa-nx", "nx", "wild-a", "wild-nodata", "wild-tlsa", "wild-cname"]


def plan(bed):
    registries(bed)
    full_zones(bed)
    algorithms(bed)
    hashed_denials(bed)
    empty_non_terminals(bed)


def registries(bed):
    """The root, a top-level domain with NSEC, one with opt-out and one without signatures."""
    bed.zone(".", keys.RSASHA256, zsk_bits=2048, server="root", address=places.ROOT, text=root_text())
    bed.zone("lab.", keys.P256, server="registry", address=places.TLD, text=registry_text("lab."))
    bed.zone(
        "opt.", keys.RSASHA256, zsk_bits=2048, nsec3=Nsec3(opt_out=True),
        server="registry", address=places.TLD, text=registry_text("opt."),
    )
    bed.zone("un.", server="registry", address=places.TLD, text=registry_text("un."))
    bed.ask("lab/ds-good", "good-p256.lab.", "DS", ANSWER, SECURE)
    bed.ask("lab/ds-insecure", "insecure.lab.", "DS", NODATA, SECURE)
    bed.ask("opt/ds-insecure", "insecure.opt.", "DS", NODATA, INSECURE, "opt-out: nothing denies it securely")
    bed.ask("opt/nx", "nosuchdomain.opt.", "MX", NXDOMAIN, INSECURE, "opt-out")
    bed.ask("lab/nx", "nosuchdomain.lab.", "MX", NXDOMAIN, SECURE)
    bed.ask("root/nx", "nosuchtld.", "A", NXDOMAIN, SECURE)
    bed.ask("un/nx", "nosuchdomain.un.", "MX", NXDOMAIN, INSECURE)
    bed.ask("root/ds-un", "un.", "DS", NODATA, SECURE)
    bed.ask("root/ns", ".", "NS", ANSWER, SECURE)
    bed.ask("root/soa", ".", "SOA", ANSWER, SECURE)
    bed.ask("root/dnskey", ".", "DNSKEY", ANSWER, SECURE)
    bed.ask("root/ds", ".", "DS", NODATA, SECURE, "the root has no parent")
    bed.ask("root/nodata", ".", "MX", NODATA, SECURE)
    bed.ask("root/nsec", ".", "NSEC", ANSWER, SECURE)
    bed.ask("root/nx-below", "a.b.c.nosuchtld.", "A", NXDOMAIN, SECURE)
    bed.ask("root/ent", "root.", "A", NODATA, SECURE, "an empty non-terminal at the top")
    bed.ask("lab/dnskey", "lab.", "DNSKEY", ANSWER, SECURE)
    bed.ask("lab/soa", "lab.", "SOA", ANSWER, SECURE)
    bed.ask("lab/ds", "lab.", "DS", ANSWER, SECURE)
    bed.ask("lab/nx-below", "a.b.nosuchdomain.lab.", "TLSA", NXDOMAIN, SECURE)
    bed.ask("opt/soa", "opt.", "SOA", ANSWER, SECURE)
    bed.ask("opt/nsec3param", "opt.", "NSEC3PARAM", ANSWER, SECURE)
    bed.ask("opt/nodata-apex", "opt.", "MX", NODATA, SECURE)
    bed.ask("un/soa", "un.", "SOA", ANSWER, INSECURE)
    bed.ask("un/dnskey", "un.", "DNSKEY", NODATA, INSECURE)


def full_zones(bed):
    """Zones that are asked for every kind of answer."""
    # good-rsa.lab is planned with the aliases that it holds.
    bed.ask_all("good-rsa.lab.", SECURE, "RSASHA256, KSK and ZSK of 2048 bits, NSEC")
    bed.zone("good-p256.lab.", keys.P256, nsec3=Nsec3())
    bed.ask_all("good-p256.lab.", SECURE, "ECDSA P-256, NSEC3 without iterations")
    bed.zone("good-ed.lab.", keys.ED25519)
    bed.ask_all("good-ed.lab.", SECURE, "Ed25519, NSEC")
    bed.zone("sub.good-rsa.lab.", keys.P256, nsec3=Nsec3())
    bed.ask_all("sub.good-rsa.lab.", SECURE, "a signed child on the server of its parent")
    bed.zone("secure.opt.", keys.P256)
    bed.ask_all("secure.opt.", SECURE, "below an opt-out registry")
    bed.zone("optleaf.lab.", keys.P256, nsec3=Nsec3(opt_out=True))
    bed.ask_all("optleaf.lab.", SECURE, "opt-out itself", other=[(short, INSECURE) for short in OPTED_OUT])
    bed.zone(
        "insecure.lab.",
        extra="c-sec CNAME www.good-p256.lab.\n_25._tcp.mxs CNAME _25._tcp.mx.good-p256.lab.\n",
    )
    bed.ask_all("insecure.lab.", INSECURE, "NSEC proves that there is no DS record")
    bed.zone("usub.good-rsa.lab.")
    bed.ask_all("usub.good-rsa.lab.", INSECURE, "an unsigned child on the server of its parent")
    bed.zone("insecure.opt.")
    bed.ask_all("insecure.opt.", INSECURE, "opt-out leaves it out")
    bed.zone("deep.ent.opt.")
    bed.ask_all("deep.ent.opt.", INSECURE, "opt-out, below an empty non-terminal")
    bed.zone("signednods.lab.", keys.P256, ds=lambda zone: [])
    bed.ask_all("signednods.lab.", INSECURE, "signed, without DS record")
    bed.zone("plain.un.")
    bed.ask_all("plain.un.", INSECURE, "below an unsigned registry")
    bed.zone("island.un.", keys.P256, ds=lambda zone: [])
    bed.ask_all("island.un.", INSECURE, "a signed island below an unsigned registry")


def algorithms(bed):
    """Each algorithm, and RSA keys of each kind."""
    for zone, options, remark in [
        ("good-p384.lab.", {"algorithm": keys.P384, "nsec3": Nsec3()}, "ECDSA P-384"),
        ("rsa512.lab.", {"algorithm": keys.RSASHA512}, "RSASHA512"),
        ("rsa1024.lab.", {"algorithm": keys.RSASHA256, "zsk_bits": 1024}, "ZSK of 1024 bits"),
        ("rsa1024k.lab.", {"algorithm": keys.RSASHA256, "bits": 1024}, "1024 bits"),
        ("rsa1280.lab.", {"algorithm": keys.RSASHA256, "zsk_bits": 1280}, "ZSK of 1280 bits"),
        ("rsa4096.lab.", {"algorithm": keys.RSASHA256, "bits": 4096}, "4096 bits"),
        ("rsa-e3.lab.", {"algorithm": keys.RSASHA256, "exponent": 3}, "exponent 3"),
        ("rsa-e33.lab.", {"algorithm": keys.RSASHA256, "exponent": 2**32 + 1}, "exponent of 33 bits"),
    ]:
        bed.zone(zone, **options)
        bed.ask_few(zone, SECURE, remark)
    for zone, options, remark in [
        ("ed448.lab.", {"algorithm": keys.ED448}, "Ed448"),
        ("rsasha1.lab.", {"algorithm": keys.RSASHA1}, "RSASHA1"),
        ("nsec3rsasha1.lab.", {"algorithm": keys.NSEC3RSASHA1, "nsec3": Nsec3()}, "NSEC3RSASHA1"),
    ]:
        bed.zone(zone, **options)
        bed.ask_few(zone, SECURE, f"{remark}; insecure if not supported", also=INSECURE)
    bed.zone("twoalg.lab.", keys.P256, own_keys=[keys.Key("twoalg.lab.", keys.RSASHA256)])
    bed.ask_few("twoalg.lab.", SECURE, "two algorithms")
    bed.zone("ed448-p256.lab.", keys.P256, own_keys=[keys.Key("ed448-p256.lab.", keys.ED448)])
    bed.ask_few("ed448-p256.lab.", SECURE, "Ed448 and P-256: secure even without Ed448")


def hashed_denials(bed):
    """NSEC3 with iterations and salts."""
    for iterations in (10, 50, 100):
        bed.zone(f"n3-it{iterations}.lab.", keys.P256, nsec3=Nsec3("aabbccdd", iterations))
        bed.ask_few(f"n3-it{iterations}.lab.", SECURE, f"{iterations} iterations and a salt")
    # RFC 9276, Section 3.2 lets validators choose where they stop.
    for iterations, signer, also in ((120, "bind", SECURE), (200, "ldns", ""), (600, "ldns", BOGUS_TOO)):
        zone = f"n3-it{iterations}.lab."
        bed.zone(zone, keys.P256, nsec3=Nsec3("aabbccdd", iterations), signer=signer)
        remark = f"{iterations} iterations: denials are insecure"
        for short, prefix, rtype, kind in [
            ("mx", "", "MX", ANSWER),
            ("a", "mx.", "A", ANSWER),
            ("tlsa", "_25._tcp.mx.", "TLSA", ANSWER),
        ]:
            bed.ask(f"n3-it{iterations}.lab/{short}", prefix + zone, rtype, kind, SECURE, remark)
        for short, prefix, kind in [
            ("tlsa-nx", "_25._tcp.mxnt.", NXDOMAIN),
            ("tlsa-nodata", "_25._tcp.mxnd.", NODATA),
            ("wild-tlsa", "_25._tcp.mxw.", ANSWER),
        ]:
            others = f"{kind}/{also}" if also == SECURE else also
            bed.ask(f"n3-it{iterations}.lab/{short}", prefix + zone, "TLSA", kind, INSECURE, remark, others)
    bed.zone("n3-salt.lab.", keys.P256, nsec3=Nsec3("ab" * 255))
    bed.ask_few("n3-salt.lab.", SECURE, "a salt of 255 octets")


def empty_non_terminals(bed):
    """Zones below names that hold nothing, and below opt-out."""
    bed.zone("signednods.opt.", keys.P256, ds=lambda zone: [])
    bed.ask_few("signednods.opt.", INSECURE, "signed, without DS record, below opt-out")
    for zone, options, status, remark in [
        ("sdeep.sent.opt.", {"algorithm": keys.P256}, SECURE, "below an empty non-terminal of opt-out"),
        ("sdeep2.sent.opt.", {"algorithm": keys.P256}, SECURE, "a second zone below the same"),
        ("one.co.lab.", {"algorithm": keys.P256}, SECURE, "below an empty non-terminal, as in co.jp"),
        ("two.co.lab.", {"algorithm": keys.P256, "nsec3": Nsec3()}, SECURE, "a second zone below the same"),
        ("three.co.lab.", {}, INSECURE, "an unsigned zone below the same"),
        ("u.mixed.opt.", {}, INSECURE, "opt-out, unsigned, below the same name as a signed one"),
        ("s.mixed.opt.", {"algorithm": keys.P256}, SECURE, "opt-out, signed, below the same name"),
        ("a.b.c.d.opt.", {}, INSECURE, "opt-out, below three empty non-terminals"),
        ("uchild.optleaf.lab.", {}, INSECURE, "an unsigned child of an opt-out zone"),
        ("u.ent.optleaf.lab.", {}, INSECURE, "an unsigned child below a name that another record makes"),
        ("schild.optleaf.lab.", {"algorithm": keys.P256}, SECURE, "a signed child of an opt-out zone"),
    ]:
        bed.zone(zone, **options)
        bed.ask_few(zone, status, remark)
    bed.ask("co.lab/nodata", "co.lab.", "A", NODATA, SECURE, "the empty non-terminal")
    bed.ask("co.lab/ds", "co.lab.", "DS", NODATA, SECURE, "the empty non-terminal")
    bed.ask("co.lab/nx", "four.co.lab.", "A", NXDOMAIN, SECURE, "a zone that does not exist below it")
    bed.ask("sent.opt/nodata", "sent.opt.", "A", NODATA, SECURE, "above signed zones it has a hash", "NODATA/I")
    bed.ask("mixed.opt/nodata", "mixed.opt.", "A", NODATA, SECURE, "above a signed zone it has a hash", "NODATA/I")
    bed.ask("ent.opt/nodata", "ent.opt.", "A", NODATA, INSECURE, "opted out with all below it", "NX/I")
    bed.ask("c.d.opt/nodata", "c.d.opt.", "DS", NODATA, INSECURE, "opted out with all below it", "NX/I")
    bed.ask("mixed.opt/nx", "nosuch.mixed.opt.", "A", NXDOMAIN, INSECURE, "opt-out")


# A validator may also take denials with very many iterations for bogus.
BOGUS_TOO = "FAIL/B"
