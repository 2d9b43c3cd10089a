"""Signatures that are expired, early, missing, corrupt, or made by or for somebody else."""

from . import damage, keys
from .places import DAY, HOUR, NOW, YEAR
from .plan import ANSWER, BOGUS, NXDOMAIN, SECURE
from .records import EXPIRATION

# The two sets of a zone that are harmed where not all are.
LEAVES = (("www", "A"), ("_25._tcp.mx", "TLSA"))


def plan(bed):
    whole_zones(bed)
    single_sets(bed)
    odd_fields(bed)
    foreign_signers(bed)


def whole_zones(bed):
    """Zones in which nothing validates, or everything although the clock is a little off."""
    for zone, options, remark in [
        ("expired.lab.", {"validity": (NOW - YEAR, NOW - 30 * DAY)}, "expired a month ago"),
        ("expired2d.lab.", {"validity": (NOW - YEAR, NOW - 2 * DAY)}, "expired two days ago"),
        ("expired-short.lab.", {"validity": (NOW - 5 * HOUR, NOW - 3 * HOUR)}, "valid for hours, expired hours ago"),
        ("future.lab.", {"validity": (NOW + 30 * DAY, NOW + YEAR)}, "valid in a month"),
        ("future3d.lab.", {"validity": (NOW + 3 * DAY, NOW + YEAR)}, "valid in three days"),
        ("nosig.lab.", {"damage": damage.strip_dnssec}, "a DS record, and nothing is signed"),
        ("badkey.lab.", {"damage": damage.corrupt(("@", "DNSKEY"))}, "the signature of the keys is corrupt"),
        ("nokeysig.lab.", {"damage": damage.drop_signatures(("@", "DNSKEY"))}, "the keys are not signed"),
    ]:
        bed.zone(zone, keys.P256, **options)
        bed.ask_few(zone, BOGUS, remark)
    for zone, validity, remark in [
        ("expired-now.lab.", (NOW - YEAR, NOW - HOUR // 6), "expired ten minutes ago: within the allowance"),
        ("future-now.lab.", (NOW + HOUR // 6, NOW + YEAR), "valid in ten minutes: within the allowance"),
        ("forever.lab.", (NOW - 20 * YEAR, NOW + 40 * YEAR), "valid for sixty years"),
    ]:
        bed.zone(zone, keys.P256, validity=validity)
        bed.ask_few(zone, SECURE, remark)


def single_sets(bed):
    """Zones of which two sets do not validate."""
    for zone, harm, remark in [
        ("expired-leaf.lab.", damage.expire(*LEAVES), "the signature is expired"),
        ("nosig-leaf.lab.", damage.drop_signatures(*LEAVES), "the signature is missing"),
        ("badsig.lab.", damage.corrupt(*LEAVES, ("alias", "CNAME")), "the signature is corrupt"),
        ("backwards.lab.", damage.sign_again(*LEAVES, inception=NOW + DAY // 2, expiration=NOW - DAY // 2),
         "the signature ends before it begins"),
        ("labels-more.lab.", damage.sign_again(*LEAVES, labels=9), "the signature counts more labels than there are"),
        ("labels-star.lab.", damage.sign_again(*LEAVES, labels=2),
         "the signature is that of a wildcard, and nothing denies the name"),
        ("labels-above.lab.", damage.sign_again(*LEAVES, labels=1),
         "the signature is that of a wildcard above the zone"),
        ("labels-zero.lab.", damage.sign_again(*LEAVES, labels=0), "the signature is that of a wildcard at the root"),
        ("wrongtag.lab.", damage.sign_again(*LEAVES, key_tag=4711), "the signature names a key that is not there"),
        ("ttl-lie.lab.", damage.all_of(damage.sign_again(*LEAVES, original_ttl=60), damage.corrupt(*LEAVES)),
         "another original TTL, and corrupt"),
    ]:
        bed.zone(zone, keys.P256, damage=harm)
        label = zone.rstrip(".")
        bed.ask(f"{label}/mx", zone, "MX", ANSWER, SECURE, remark)
        bed.ask(f"{label}/a", f"mx.{zone}", "A", ANSWER, SECURE, remark)
        bed.ask_bogus(f"{label}/www", f"www.{zone}", "A", remark)
        bed.ask_bogus(f"{label}/tlsa", f"_25._tcp.mx.{zone}", "TLSA", remark)
        bed.ask(f"{label}/tlsa-nx", f"_25._tcp.mxnt.{zone}", "TLSA", NXDOMAIN, SECURE, remark)
    bed.ask_bogus("badsig.lab/cname", "alias.badsig.lab.", "A", "the signature of the CNAME is corrupt")


def odd_fields(bed):
    """Signatures that are unusual and good."""
    for zone, harm, remark in [
        ("ttl-more.lab.", damage.set_ttl(7200, *LEAVES), "a TTL above the one that was signed"),
        ("ttl-less.lab.", damage.set_ttl(60, *LEAVES), "a TTL below the one that was signed"),
        ("ttl-zero.lab.", damage.set_ttl(0, *LEAVES), "a TTL of zero"),
        ("ttl-signed.lab.", damage.sign_again(*LEAVES, original_ttl=60), "an original TTL below the TTL"),
        ("bad-and-good.lab.", damage.add_corrupted(3, *LEAVES), "three corrupt signatures before a good one"),
        ("stranger.lab.", damage.sign_again(*LEAVES, key=lambda zone: zone.spare[0], beside=True),
         "a signature by a key that is not there beside a good one"),
        ("soon.lab.", damage.sign_again(*LEAVES, inception=NOW - DAY, expiration=NOW + HOUR), "expires in an hour"),
        ("late.lab.", damage.sign_again(*LEAVES, inception=NOW - 60, expiration=EXPIRATION), "valid since a minute"),
    ]:
        bed.zone(zone, keys.P256, damage=harm, spare=[keys.Key(zone, keys.P256)])
        label = zone.rstrip(".")
        bed.ask(f"{label}/www", f"www.{zone}", "A", ANSWER, SECURE, remark)
        bed.ask(f"{label}/tlsa", f"_25._tcp.mx.{zone}", "TLSA", ANSWER, SECURE, remark)


def foreign_signers(bed):
    """Signatures by keys that have no say.

    Unbound takes the parent's signature below a cut. RFC 4035, Section 5.3.1 does not; but the parent could
    just as well delegate to keys of its own, so that nothing is lost.
    """
    foreign = "good-p256.lab."
    bed.zone("crosssign.lab.", keys.P256, damage=damage.sign_again(
        ("www", "A"), key=lambda zone: bed.zones[foreign].key))
    bed.ask_bogus("crosssign.lab/www", "www.crosssign.lab.", "A", "signed by another secure zone")
    bed.ask("crosssign.lab/a", "mx.crosssign.lab.", "A", ANSWER, SECURE, "the zone's own signature")
    bed.zone("signer-above.lab.", keys.P256, damage=damage.sign_again(
        ("www", "A"), key=lambda zone: bed.zones["lab."].key))
    bed.ask_bogus("signer-above.lab/www", "www.signer-above.lab.", "A", "signed by the parent, below the cut", "OK/S")
    bed.zone("signer-below.lab.", keys.P256, damage=damage.sign_again(
        ("www", "A"), signer=damage.name_of("www.signer-below.lab.")))
    bed.ask_bogus("signer-below.lab/www", "www.signer-below.lab.", "A", "signed in the name of a zone below")
    bed.zone("signer-root.lab.", keys.P256, damage=damage.sign_again(
        ("www", "A"), signer=damage.name_of(".")))
    bed.ask_bogus("signer-root.lab/www", "www.signer-root.lab.", "A", "signed in the name of the root")
    bed.zone("signer-insecure.lab.", keys.P256, damage=damage.sign_again(
        ("www", "A"), signer=damage.name_of("insecure.lab.")))
    bed.ask_bogus("signer-insecure.lab/www", "www.signer-insecure.lab.", "A", "signed in the name of an insecure zone")
    bed.zone("kid.nested.lab.", keys.P256)
    bed.zone("nested.lab.", keys.P256)
    bed.ask_few("kid.nested.lab.", SECURE, "a signed zone in a signed zone")
    bed.zone("badkid.nested.lab.", keys.P256, damage=damage.sign_again(
        ("www", "A"), key=lambda zone: bed.zones["nested.lab."].key))
    bed.ask_bogus("badkid.nested.lab/www", "www.badkid.nested.lab.", "A", "signed by the parent on the same server",
                  "OK/S")
