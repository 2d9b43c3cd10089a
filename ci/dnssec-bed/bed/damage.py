"""What is done to zones after they were signed. Each function gives one that fits `Zone(damage=…)`.

Owners are relative to the zone; @ is its apex. Signatures made here are ECDSA P-256.
"""

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from .places import DAY, NOW
from .records import rrsig

RRSIG = dns.rdatatype.RRSIG
DNSSEC_TYPES = {
    dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3, dns.rdatatype.NSEC3PARAM, dns.rdatatype.DNSKEY,
}


def all_of(*damages):
    """One after the other."""

    def apply(records, zone):
        for damage in damages:
            damage(records, zone)

    return apply


def drop_signatures(*sets):
    """Takes the signatures of these sets away."""

    def apply(records, zone):
        for owner, covered in sets:
            node = records.find_node(_name(owner, zone))
            node.delete_rdataset(dns.rdataclass.IN, RRSIG, dns.rdatatype.from_text(covered))

    return apply


def corrupt(*sets):
    """Changes one octet in each signature of these sets."""

    def apply(records, zone):
        for owner, covered in sets:
            rdataset = _signatures(records, _name(owner, zone), covered)
            _replace(rdataset, [corrupted(signature) for signature in rdataset])

    return apply


def corrupted(signature):
    """The signature with one octet changed."""
    octets = bytearray(signature.signature)
    octets[len(octets) // 2] ^= 0x55
    return signature.replace(signature=bytes(octets))


def sign_again(*sets, key=None, beside=False, **fields):
    """Signs these sets with a key that `key` picks, and with fields that are not what they should be.

    `beside` leaves the signatures that are there.
    """

    def apply(records, zone):
        for owner, covered in sets:
            name = _name(owner, zone)
            rdataset = records.find_rdataset(name, covered)
            signature = rrsig(key(zone) if key else zone.key, name, rdataset, **fields)
            signatures = _signatures(records, name, covered)
            _replace(signatures, [*signatures, signature] if beside else [signature])

    return apply


def expire(*sets):
    """Signs these sets so that the signatures ended a month ago."""
    return sign_again(*sets, inception=NOW - 60 * DAY, expiration=NOW - 30 * DAY)


def add_corrupted(number, *sets):
    """Puts corrupted signatures, each another one, beside the good ones."""

    def apply(records, zone):
        for owner, covered in sets:
            signatures = _signatures(records, _name(owner, zone), covered)
            good = list(signatures)
            wrong = []
            for place in range(number):
                octets = bytearray(good[0].signature)
                octets[place] ^= 0x55
                wrong.append(good[0].replace(signature=bytes(octets)))
            _replace(signatures, wrong + good)

    return apply


def set_ttl(ttl, *sets):
    """Gives these sets, and their signatures, a TTL other than what was signed."""

    def apply(records, zone):
        for owner, covered in sets:
            name = _name(owner, zone)
            records.find_rdataset(name, covered).ttl = ttl
            _signatures(records, name, covered).ttl = ttl

    return apply


def publish_keys(pick, signers):
    """Replaces the DNSKEY set by the records that `pick` gives, signed by the keys that `signers` gives."""

    def apply(records, zone):
        name = _name("@", zone)
        rdataset = records.find_rdataset(name, "DNSKEY")
        _replace(rdataset, pick(zone))
        signatures = [rrsig(key, name, rdataset) for key in signers(zone)]
        _replace(_signatures(records, name, "DNSKEY"), signatures)

    return apply


def publish_keys_as(pick):
    """Replaces the DNSKEY set; the signature names the first record and is made with the zone's key."""

    def apply(records, zone):
        name = _name("@", zone)
        rdataset = records.find_rdataset(name, "DNSKEY")
        _replace(rdataset, pick(zone))
        tag = dns.dnssec.key_id(rdataset[0])
        for node in list(records.nodes):
            for signed in list(records.nodes[node].rdatasets):
                if signed.rdtype == RRSIG:
                    sign_again((node.to_text(), dns.rdatatype.to_text(signed.covers)), key_tag=tag)(records, zone)

    return apply


def each_signature_set(change):
    """Replaces each set of signatures by what `change` makes of it."""

    def apply(records, zone):
        for node in records.nodes.values():
            for rdataset in node.rdatasets:
                if rdataset.rdtype == RRSIG:
                    _replace(rdataset, change(list(rdataset)))

    return apply


def add_to_nsec(owner, rtype):
    """Adds a type to the list of an NSEC record, and signs it."""

    def apply(records, zone):
        rdataset = records.find_rdataset(_name(owner, zone), "NSEC")
        text = f"{rdataset[0].to_text()} {rtype}"
        _replace(rdataset, [dns.rdata.from_text("IN", "NSEC", text)])
        sign_again((owner, "NSEC"))(records, zone)

    return apply


def strip_dnssec(records, zone):
    """Takes away everything that DNSSEC has added."""
    for name in list(records.nodes):
        node = records.nodes[name]
        node.rdatasets = [rdataset for rdataset in node.rdatasets if rdataset.rdtype not in DNSSEC_TYPES]
        if not node.rdatasets:
            del records.nodes[name]


def name_of(text):
    """A name from text."""
    return dns.name.from_text(text)


def _name(owner, zone):
    apex = dns.name.from_text(zone.name)
    return apex if owner == "@" else dns.name.from_text(owner, apex)


def _signatures(records, name, covered):
    return records.find_node(name).find_rdataset(
        dns.rdataclass.IN, RRSIG, dns.rdatatype.from_text(covered), create=True
    )


def _replace(rdataset, records):
    """Replaces the records of a set and leaves its TTL."""
    ttl = rdataset.ttl or 3600
    rdataset.clear()
    for record in records:
        rdataset.add(record)
    rdataset.ttl = ttl
