"""Signatures made by hand: right ones, and those that no signer makes."""

import struct

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.RRSIG

from .places import DAY, NOW, YEAR

INCEPTION = NOW - 10 * DAY
EXPIRATION = NOW + 10 * YEAR


def rrsig(key, owner, rdataset, **fields):
    """The RRSIG record's data over a set of records; `fields` replace what would be right.

    They may be `signer`, `labels`, `original_ttl`, `inception`, `expiration` and `key_tag`.
    """
    parts = {
        "signer": dns.name.from_text(key.zone),
        "labels": len(owner.labels) - 1 - (owner.labels[0] == b"*"),
        "original_ttl": rdataset.ttl,
        "inception": INCEPTION,
        "expiration": EXPIRATION,
        "key_tag": key.tag,
    }
    parts.update(fields)
    unsigned = _rrsig(key, rdataset.rdtype, parts, b"")
    # RFC 4034, Section 3.1.8.1: the RRSIG record without the signature, then the records in order.
    octets = unsigned.to_wire(origin=dns.name.root)
    signed_labels = owner.labels[-parts["labels"] - 1 :]
    if len(signed_labels) < len(owner.labels):
        signed_labels = (b"*",) + signed_labels
    head = dns.name.Name(signed_labels).canonicalize().to_wire()
    head += struct.pack("!HHI", rdataset.rdtype, dns.rdataclass.IN, parts["original_ttl"])
    for data in sorted(record.to_digestable(dns.name.root) for record in rdataset):
        octets += head + struct.pack("!H", len(data)) + data
    return _rrsig(key, rdataset.rdtype, parts, key.sign(octets))


def _rrsig(key, covered, parts, signature):
    return dns.rdtypes.ANY.RRSIG.RRSIG(
        dns.rdataclass.IN,
        dns.rdatatype.RRSIG,
        covered,
        key.algorithm,
        parts["labels"],
        parts["original_ttl"],
        parts["expiration"],
        parts["inception"],
        parts["key_tag"],
        parts["signer"].canonicalize(),
        signature,
    )
