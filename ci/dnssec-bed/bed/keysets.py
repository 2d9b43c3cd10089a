"""DS records and key sets: mixed, wrong, unknown, and while keys are being rolled."""

import hashlib

import dns.rdata

from . import damage, keys
from .plan import BOGUS, INSECURE, SECURE


def plan(bed):
    delegations(bed)
    unknown_algorithms(bed)
    rollovers(bed)
    odd_keys(bed)


def invented_ds(zone, algorithm, digest):
    """A DS record with the tag of the zone's key and a digest of nothing."""
    return f"{zone.key.tag} {algorithm} {digest} {hashlib.sha256(zone.name.encode()).hexdigest()}"


def wrong_digest(ds):
    """The DS record with another first digit in its digest."""
    tag, algorithm, digest, text = ds.split()
    return f"{tag} {algorithm} {digest} {'1' if text[0] == '0' else '0'}{text[1:]}"


def other_fields(ds, **fields):
    """The DS record with other fields."""
    parts = dict(zip(("tag", "algorithm", "digest", "text"), ds.split()), **fields)
    return " ".join(str(part) for part in parts.values())


def delegations(bed):
    """One zone, one key; what differs is the parent's DS set."""
    for zone, ds, status, remark, also in [
        ("wrongds.lab.", lambda z: [z.spare[0].ds()], BOGUS, "DS of a key that is not there", ""),
        ("badds.opt.", lambda z: [z.spare[0].ds()], BOGUS, "the same below opt-out", ""),
        ("ds-unkalg.lab.", lambda z: [invented_ds(z, 200, 2)], INSECURE, "DS with an unknown algorithm", ""),
        ("ds-unkdig.lab.", lambda z: [invented_ds(z, 13, 200)], INSECURE, "DS with an unknown digest", ""),
        ("ds-dig3.lab.", lambda z: [invented_ds(z, 13, 3)], INSECURE, "DS with GOST's digest", ""),
        ("ds-alg1.lab.", lambda z: [invented_ds(z, 1, 2)], INSECURE, "DS with RSAMD5", ""),
        ("ds-alg3.lab.", lambda z: [invented_ds(z, 3, 2)], INSECURE, "DS with DSA", ""),
        ("ds-alg12.lab.", lambda z: [invented_ds(z, 12, 2)], INSECURE, "DS with GOST", ""),
        ("ds-unkboth.lab.", lambda z: [invented_ds(z, 200, 2), invented_ds(z, 13, 200)], INSECURE,
         "DS with an unknown algorithm, another with an unknown digest", ""),
        ("ds-mix.lab.", lambda z: [invented_ds(z, 13, 200), invented_ds(z, 200, 2), z.key.ds()], SECURE,
         "unknown DS beside a good one", ""),
        ("ds-mixbad.lab.", lambda z: [invented_ds(z, 200, 2), invented_ds(z, 13, 2)], BOGUS,
         "unknown DS beside a wrong one", ""),
        ("ds-sha1.lab.", lambda z: [z.key.ds(1)], SECURE, "DS with SHA-1 alone", ""),
        ("ds-sha384.lab.", lambda z: [z.key.ds(4)], SECURE, "DS with SHA-384 alone", ""),
        ("ds-all.lab.", lambda z: [z.key.ds(1), z.key.ds(2), z.key.ds(4)], SECURE, "DS with three digests", ""),
        ("ds-sha1bad.lab.", lambda z: [wrong_digest(z.key.ds(1)), z.key.ds()], SECURE,
         "a wrong DS with SHA-1, a good one with SHA-256", ""),
        ("ds-sha256bad.lab.", lambda z: [z.key.ds(1), wrong_digest(z.key.ds())], BOGUS,
         "a good DS with SHA-1, a wrong one with SHA-256: RFC 4509, Section 3", SECURE),
        ("ds-256bad384.lab.", lambda z: [wrong_digest(z.key.ds(2)), z.key.ds(4)], SECURE,
         "a wrong DS with SHA-256, a good one with SHA-384", ""),
        ("ds-384bad256.lab.", lambda z: [z.key.ds(2), wrong_digest(z.key.ds(4))], SECURE,
         "a good DS with SHA-256, a wrong one with SHA-384", BOGUS),
        ("ds-sha1unk.lab.", lambda z: [z.key.ds(1), invented_ds(z, 13, 200)], SECURE,
         "a good DS with SHA-1, one with an unknown digest", ""),
        ("ds-tag.lab.", lambda z: [other_fields(z.key.ds(), tag=(z.key.tag + 1) % 65536)], BOGUS,
         "the digest of the key and another tag", ""),
        ("ds-alg.lab.", lambda z: [other_fields(z.key.ds(), algorithm=8)], BOGUS,
         "the digest of the key and another algorithm", ""),
        ("standby.lab.", lambda z: [z.key.ds(), z.spare[0].ds()], SECURE, "DS of a standby key", ""),
        ("halfalg.lab.", lambda z: [z.key.ds(), invented_ds(z, 8, 2)], SECURE,
         "DS for two algorithms, keys of one", ""),
        ("ds-foreign.lab.", lambda z: [z.key.ds(zone="lab.")], BOGUS, "the digest of the key as another zone's", ""),
        ("ds-many.lab.", lambda z: [wrong_digest(z.key.ds(2)), *(other_fields(z.key.ds(), tag=tag)
                                    for tag in range(1, 20)), z.key.ds()], SECURE, "21 DS, one of them good", ""),
    ]:
        bed.zone(zone, keys.P256, ds=ds, spare=[keys.Key(zone, keys.P256)])
        bed.ask_few(zone, status, remark, also=also)


def unknown_algorithms(bed):
    """Keys of algorithms that nobody knows beside those that count."""

    def with_unknown(zone):
        unknown = keys.dnskey(keys.KSK, keys.UNKNOWN_ALGORITHM, b"x" * 64)
        return [zone.key.dnskey, unknown]

    bed.zone("key-unkalg.lab.", keys.P256, damage=damage.publish_keys(with_unknown, lambda zone: [zone.key]))
    bed.ask_few("key-unkalg.lab.", SECURE, "a key of an unknown algorithm beside the good one")
    # RFC 6840, Section 5.11: one algorithm that leads to the records is enough.
    for name, harm in [
        ("twoalg-nosig.lab.", lambda rrsigs: [rrsig for rrsig in rrsigs if rrsig.algorithm == keys.P256]),
        ("twoalg-badsig.lab.", lambda rrsigs: [rrsig if rrsig.algorithm == keys.P256 else damage.corrupted(rrsig)
                                               for rrsig in rrsigs]),
    ]:
        bed.zone(name, keys.P256, own_keys=[keys.Key(name, keys.RSASHA256)], damage=damage.each_signature_set(harm))
        bed.ask_few(name, SECURE, "two algorithms, one of them broken everywhere")


def rollovers(bed):
    """Keys that come and go: RFC 6781 and RFC 7583."""
    for zone, ds, pick, signers, remark in [
        ("roll-prepublish.lab.", None, lambda z: [z.key.dnskey, z.spare[1].dnskey], lambda z: [z.key],
         "the next ZSK is published"),
        ("roll-double-old.lab.", lambda z: [z.key.ds()], lambda z: [z.key.dnskey, z.spare[0].dnskey],
         lambda z: [z.key, z.spare[0]], "two KSKs sign, DS of the old one"),
        ("roll-double-new.lab.", lambda z: [z.spare[0].ds()], lambda z: [z.key.dnskey, z.spare[0].dnskey],
         lambda z: [z.key, z.spare[0]], "two KSKs sign, DS of the new one"),
        ("roll-double-ds.lab.", lambda z: [z.key.ds(), z.spare[0].ds()], lambda z: [z.key.dnskey],
         lambda z: [z.key], "DS of both, the old KSK is published"),
        ("roll-double-ds2.lab.", lambda z: [z.key.ds(), z.spare[0].ds()],
         lambda z: [z.key.dnskey, z.spare[0].dnskey], lambda z: [z.spare[0]], "DS of both, the new KSK signs"),
        ("roll-retired.lab.", lambda z: [z.spare[0].ds()], lambda z: [z.key.dnskey, z.spare[0].dnskey],
         lambda z: [z.spare[0]], "the KSK with the DS signs the keys, another key all else"),
        ("roll-revoked.lab.", lambda z: [z.key.ds()], lambda z: [z.key.dnskey, z.spare[2].dnskey],
         lambda z: [z.key, z.spare[2]], "a revoked KSK beside the good one"),
    ]:
        spare = [keys.Key(zone, keys.P256), keys.Key(zone, keys.P256, keys.ZSK),
                 keys.Key(zone, keys.P256, keys.KSK | keys.REVOKED)]
        bed.zone(zone, keys.P256, ds=ds, spare=spare, damage=damage.publish_keys(pick, signers))
        bed.ask_few(zone, SECURE, remark)
    for zone, ds, pick, signers, remark in [
        ("roll-lost.lab.", lambda z: [z.key.ds()], lambda z: [z.key.dnskey, z.spare[0].dnskey],
         lambda z: [z.spare[0]], "the KSK with the DS does not sign the keys"),
        ("roll-gone.lab.", lambda z: [z.spare[0].ds()], lambda z: [z.spare[0].dnskey], lambda z: [z.spare[0]],
         "the key that signed the records is gone"),
    ]:
        bed.zone(zone, keys.P256, ds=ds, spare=[keys.Key(zone, keys.P256)], damage=damage.publish_keys(pick, signers))
        bed.ask_few(zone, BOGUS, remark)


def odd_keys(bed):
    """Keys with other flags, of other protocols, with equal tags, and very many of them."""
    bed.zone("zskonly.lab.", own_keys=[keys.Key("zskonly.lab.", keys.P256, keys.ZSK)], ds=lambda z: [z.key.ds()])
    bed.ask_few("zskonly.lab.", SECURE, "DS of a key that is no entry point: the flag means nothing to validators")
    for zone, dnskey, remark in [
        ("nozonekey.lab.", lambda z: keys.dnskey(keys.ENTRY_POINT, keys.P256, z.key.dnskey.key),
         "the key is no zone key: RFC 4034, Section 2.1.1"),
        ("protocol.lab.", lambda z: keys.dnskey(keys.KSK, keys.P256, z.key.dnskey.key, protocol=2),
         "the protocol of the key is not 3"),
    ]:
        bed.zone(zone, keys.P256, ds=lambda z, dnskey=dnskey: [keys.ds_of(z.name, dnskey(z))],
                 damage=damage.publish_keys_as(lambda z, dnskey=dnskey: [dnskey(z)]))
        bed.ask_few(zone, BOGUS, remark)
    zone = "collision.lab."
    bed.zone(zone, keys.P256, spare=[keys.Twin(zone)], damage=damage.publish_keys(
        lambda z: [z.key.dnskey, z.spare[0].dnskey], lambda z: [z.key]))
    bed.zones[zone].spare[0].of = bed.zones[zone].key
    bed.ask_few(zone, SECURE, "two keys with one tag")
    zone = "manykeys.lab."
    bed.zone(zone, keys.P256, spare=[keys.Key(zone, keys.P256, keys.ZSK) for _ in range(20)],
             damage=damage.publish_keys(lambda z: [key.dnskey for key in [z.key, *z.spare]], lambda z: [z.key]))
    bed.ask_few(zone, SECURE, "21 keys")
    zone = "revokedds.lab."
    bed.zone(zone, own_keys=[keys.Key(zone, keys.P256, keys.KSK | keys.REVOKED)], ds=lambda z: [z.key.ds()])
    bed.ask_few(zone, BOGUS, "DS of a revoked key: RFC 5011 speaks of trust anchors alone", also=SECURE)
