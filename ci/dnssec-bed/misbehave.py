#!/usr/bin/python3
"""The misbehaving name server: asks the honest one and changes the answer by the rule of the zone.

    misbehave.py DIRECTORY      the directory that make.py has written

The rules are the functions behind `@rule` and `@refuses`; `bed/misbehaviour.py` says which zone has which.
"""

import asyncio
import json
import os
import pathlib
import sys

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import dns.zone

from bed import damage, places
from bed.keys import load_p256
from bed.records import rrsig

RDATATYPE = dns.rdatatype
DENIALS = (RDATATYPE.NSEC, RDATATYPE.NSEC3)
SLOWNESS = 0.7
# Some answers are made with a TTL of their own.
TTL = 300

# Functions (query, zone, over TCP) that answer in place of the honest server, or give None; and functions
# (response, query, zone) that change what it answers, or give another response. By rule.
REFUSALS = {}
CHANGES = {}

# A refusal that is silence.
SILENCE = "silence"


def refuses(*names):
    """Marks a function that answers in place of the honest server."""

    def mark(function):
        REFUSALS.update((name, function) for name in names)
        return function

    return mark


def rule(*names):
    """Marks a function that changes what the honest server answers."""

    def mark(function):
        CHANGES.update((name, function) for name in names)
        return function

    return mark


class Rules:
    """Which zone is answered from where, and how."""

    def __init__(self, directory):
        with open(pathlib.Path(directory) / "conf" / "rules.json") as file:
            read = json.load(file)
        self.rules = {dns.name.from_text(zone): rule for zone, rule in read["rules"].items()}
        self.below = [dns.name.from_text(zone) for zone in read["below"]]
        self.keys = {
            dns.name.from_text(zone): load_p256(path, zone) for zone, path in read["keys"].items()
        }
        self.zones = pathlib.Path(read["zones"])
        self.pid = read["pid"]

    def zone_of(self, name, rtype):
        """The zone that answers a question; a parent answers for the DS records of a cut."""
        zones = [zone for zone in self.rules if name.is_subdomain(zone)]
        if rtype == RDATATYPE.DS and len(zones) > 1:
            zones = [zone for zone in zones if zone != name]
        return max(zones, key=len, default=None)

    def server_of(self, name, rtype):
        """The honest server."""
        below = [zone for zone in self.below if name.is_subdomain(zone)]
        is_cut = rtype == RDATATYPE.DS and name in below
        return places.LEAF_BELOW if below and not is_cut else places.LEAF


RULES = Rules(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)


# Making messages


def response(query, like=None, rcode=0):
    """A response with the records of another, or empty with a code."""
    made = dns.message.make_response(query)
    made.flags |= dns.flags.AA
    made.set_rcode(like.rcode() if like is not None else rcode)
    if like is not None:
        for section, other in zip(_sections(made), _sections(like)):
            section.extend(other)
    return made


def _sections(message):
    return message.answer, message.authority, message.additional


async def ask(name, rtype, server=None):
    """What the honest server says over TCP, with signatures."""
    query = dns.message.make_query(name, rtype, want_dnssec=True)
    reader, writer = await asyncio.open_connection(server or RULES.server_of(name, rtype), 53)
    await send(writer, query.to_wire())
    answer = dns.message.from_wire(await receive(reader))
    writer.close()
    return answer


async def receive(reader):
    length = int.from_bytes(await reader.readexactly(2), "big")
    return await reader.readexactly(length)


async def send(writer, octets):
    writer.write(len(octets).to_bytes(2, "big") + octets)
    await writer.drain()


def below(label, zone):
    return dns.name.from_text(label, zone)


def covered(rrset):
    """The type of a set, or of the set that it signs."""
    return rrset.covers if rrset.rdtype == RDATATYPE.RRSIG else rrset.rdtype


def is_denial(rrset):
    return covered(rrset) in DENIALS


def is_negative(message):
    return all(rrset.rdtype in (RDATATYPE.CNAME, RDATATYPE.RRSIG) for rrset in message.answer)


def renamed(rrset, name):
    """The set under another name."""
    made = dns.rrset.RRset(name, rrset.rdclass, rrset.rdtype, rrset.covers)
    made.update_ttl(rrset.ttl)
    for record in rrset:
        made.add(record)
    return made


def changed(rrset, change):
    """The set with each record changed."""
    made = dns.rrset.RRset(rrset.name, rrset.rdclass, rrset.rdtype, rrset.covers)
    for record in rrset:
        made.add(change(record), rrset.ttl)
    return made


def signed(rrset, zone):
    """The set and its signature by the zone's key."""
    return [rrset, dns.rrset.from_rdata(rrset.name, rrset.ttl, rrsig(RULES.keys[zone], rrset.name, rrset))]


def drop(section, condition):
    section[:] = [rrset for rrset in section if not condition(rrset)]


# Answers in place of the honest server


@refuses("tlsa-servfail", "tlsa-refused", "tlsa-notimp", "tlsa-formerr", "tlsa-nx", "tlsa-empty", "tlsa-drop")
def refuse_tlsa(query, zone, over_tcp):
    if query.question[0].rdtype != RDATATYPE.TLSA:
        return None
    how = RULES.rules[zone].removeprefix("tlsa-")
    codes = {"servfail": 2, "refused": 5, "notimp": 4, "formerr": 1, "nx": 3, "empty": 0}
    return SILENCE if how == "drop" else response(query, rcode=codes[how])


@refuses("dnskey-servfail", "dnskey-drop")
def refuse_dnskey(query, zone, over_tcp):
    if query.question[0].rdtype != RDATATYPE.DNSKEY:
        return None
    return SILENCE if RULES.rules[zone] == "dnskey-drop" else response(query, rcode=dns.rcode.SERVFAIL)


@refuses("ds-servfail", "ds-fakenx")
def refuse_ds(query, zone, over_tcp):
    if query.question[0].rdtype != RDATATYPE.DS or query.question[0].name == zone:
        return None
    return response(query, rcode=dns.rcode.SERVFAIL if RULES.rules[zone] == "ds-servfail" else dns.rcode.NXDOMAIN)


@refuses("no-edns", "no-edns-drop")
def refuse_edns(query, zone, over_tcp):
    if query.edns < 0:
        return None
    if RULES.rules[zone] == "no-edns-drop":
        return SILENCE
    plain = dns.message.Message(id=query.id)
    plain.flags = dns.flags.QR
    plain.question = query.question
    plain.set_rcode(dns.rcode.FORMERR)
    return plain


@refuses("tc-always")
def truncate(query, zone, over_tcp):
    return None if over_tcp else truncated(query)


def truncated(query):
    made = response(query)
    made.flags |= dns.flags.TC
    return made


# Changes to what the honest server answers


@rule("slow")
async def slow(answer, query, zone):
    await asyncio.sleep(SLOWNESS)


@rule("strip-denial")
async def strip_denial(answer, query, zone):
    if is_negative(answer):
        drop(answer.authority, is_denial)


@rule("strip-sig")
async def strip_signatures(answer, query, zone):
    for section in _sections(answer):
        drop(section, lambda rrset: rrset.rdtype == RDATATYPE.RRSIG and rrset.covers != RDATATYPE.DNSKEY)


@rule("strip-neg-sig")
async def strip_signatures_of_denials(answer, query, zone):
    if is_negative(answer):
        drop(answer.authority, lambda rrset: rrset.rdtype == RDATATYPE.RRSIG and is_denial(rrset))


@rule("corrupt-denial-sig")
async def corrupt_signatures_of_denials(answer, query, zone):
    if is_negative(answer):
        answer.authority[:] = [
            changed(rrset, damage.corrupted) if rrset.rdtype == RDATATYPE.RRSIG and is_denial(rrset) else rrset
            for rrset in answer.authority
        ]


@rule("strip-wild-proof")
async def strip_proof_of_wildcard(answer, query, zone):
    if not is_negative(answer):
        drop(answer.authority, is_denial)


@rule("strip-star-denial", "strip-name-denial", "strip-encloser")
async def strip_one_denial(answer, query, zone):
    """The names asked for are `nx` and below: the zone itself is the closest encloser."""
    if answer.rcode() != dns.rcode.NXDOMAIN:
        return
    kind = RULES.rules[zone]
    star, name = below("*", zone), below("nx", zone)
    target = {"strip-star-denial": star, "strip-name-denial": name, "strip-encloser": zone}[kind]
    owners = {
        rrset.name
        for rrset in answer.authority
        if rrset.rdtype in DENIALS and (matches if kind == "strip-encloser" else spans)(rrset, target, zone)
    }
    drop(answer.authority, lambda rrset: is_denial(rrset) and rrset.name in owners)


def matches(rrset, name, zone):
    """Whether an NSEC3 record is that of a name."""
    return rrset.name == below(hashed(rrset, name), zone)


def spans(rrset, name, zone):
    """Whether a name lies in the span of an NSEC or NSEC3 record."""
    if rrset.rdtype == RDATATYPE.NSEC:
        return rrset.name < name and (name < rrset[0].next or rrset[0].next == zone)
    start = rrset.name.labels[0].decode().upper()
    end = rrset[0].to_text().split()[4].upper()
    at = hashed(rrset, name).upper()
    return start < at < end if start < end else at > start or at < end


def hashed(rrset, name):
    record = rrset[0]
    return dns.dnssec.nsec3_hash(name, record.salt, record.iterations, record.algorithm)


@rule("nsec3-hash", "nsec3-flag", "nsec3-salt")
async def change_nsec3(answer, query, zone):
    kind = RULES.rules[zone]
    fields = {"nsec3-hash": {"algorithm": 2}, "nsec3-flag": {"flags": 0x80}, "nsec3-salt": {"salt": b"\x01"}}[kind]
    authority = []
    for rrset in answer.authority:
        if rrset.rdtype == RDATATYPE.NSEC3 and (kind != "nsec3-salt" or spans(rrset, below("nx", zone), zone)):
            authority += signed(changed(rrset, lambda record: record.replace(**fields)), zone)
            dropped = rrset.name
            drop(answer.authority, lambda other: other.rdtype == RDATATYPE.RRSIG and other.name == dropped)
    if authority:
        names = {rrset.name for rrset in authority}
        drop(answer.authority, lambda rrset: is_denial(rrset) and rrset.name in names)
        answer.authority.extend(authority)


@rule("replay-wild")
async def replay_wildcard(answer, query, zone):
    name = query.question[0].name
    if query.question[0].rdtype != RDATATYPE.A or not name.is_subdomain(below("tl.wild", zone)):
        return None
    wildcard = await ask(below("xyz.wild", zone), RDATATYPE.A)
    made = response(query)
    made.answer = [renamed(rrset, name) for rrset in wildcard.answer]
    made.authority = wildcard.authority
    return made


@rule("expand-nsec")
async def expand_denial(answer, query, zone):
    name = query.question[0].name
    if query.question[0].rdtype != RDATATYPE.TLSA or not name.is_subdomain(below("tl.wild", zone)):
        return None
    literal = await ask(below("*.wild", zone), RDATATYPE.TLSA)
    made = response(query)
    made.authority = [renamed(rrset, name) if is_denial(rrset) else rrset for rrset in literal.authority]
    return made


@rule("forge-nodata")
async def forge_nodata(answer, query, zone):
    if query.question[0].rdtype == RDATATYPE.TLSA:
        return response(query, await ask(query.question[0].name, RDATATYPE.SRV))
    return None


@rule("forge-nx")
async def forge_nxdomain(answer, query, zone):
    if query.question[0].rdtype == RDATATYPE.TLSA:
        return response(query, await ask(below("aaaa", zone), RDATATYPE.TLSA))
    return None


@rule("nodata-as-nx", "nx-as-nodata")
async def swap_codes(answer, query, zone):
    if query.question[0].rdtype == RDATATYPE.TLSA and is_negative(answer):
        answer.set_rcode(dns.rcode.NXDOMAIN if RULES.rules[zone] == "nodata-as-nx" else dns.rcode.NOERROR)


@rule("inject-cname")
async def inject_cname(answer, query, zone):
    name, rtype = query.question[0].name, query.question[0].rdtype
    if rtype not in (RDATATYPE.A, RDATATYPE.TLSA) or name in (zone, below("ns1", zone)):
        return None
    target = dns.name.from_text(("_25._tcp.mx" if rtype == RDATATYPE.TLSA else "www") + ".good-p256.lab.")
    made = response(query)
    made.answer = [dns.rrset.from_text(name, 3600, "IN", "CNAME", str(target))]
    made.answer += (await ask(target, rtype)).answer
    return made


@rule("dname-elsewhere")
async def lead_elsewhere(answer, query, zone):
    target = dns.rdata.from_text("IN", "CNAME", "www.insecure.lab.")
    answer.answer[:] = [
        changed(rrset, lambda record: target) if rrset.rdtype == RDATATYPE.CNAME else rrset
        for rrset in answer.answer
    ]


@rule("ancestor-nsec")
async def deny_with_parents_nsec(answer, query, zone):
    """The parent's NSEC record of the cut for the cut itself and for names below it."""
    name = query.question[0].name
    if query.question[0].rdtype != RDATATYPE.A or name not in (zone, below("mx", zone)):
        return None
    parent = zone.parent()
    path = RULES.zones / f"{places.file_name(parent.to_text())}.zone"
    records = dns.zone.from_file(str(path), origin=parent, relativize=False)
    made = response(query, rcode=dns.rcode.NOERROR if name == zone else dns.rcode.NXDOMAIN)
    for owner, rtype in ((parent, RDATATYPE.SOA), (zone, RDATATYPE.NSEC)):
        for rdataset in records.find_node(owner).rdatasets:
            if covered(rdataset) == rtype:
                made.authority.append(dns.rrset.from_rdata_list(owner, rdataset.ttl, list(rdataset)))
    return made


@rule("strip-ds-proof", "ds-servfail", "ds-fakenx")
async def strip_proof_of_delegation(answer, query, zone):
    if query.question[0].name.is_subdomain(below("c", zone)):
        drop(answer.authority, is_denial)


@rule("ds-from-child")
async def deny_ds_with_childs_nsec(answer, query, zone):
    name = query.question[0].name
    if query.question[0].rdtype == RDATATYPE.DS and name != zone:
        return response(query, await ask(name, RDATATYPE.DS, places.LEAF_BELOW))
    return None


@rule("lowercase")
async def answer_in_lower_case(answer, query, zone):
    name = dns.name.from_text(query.question[0].name.to_text().lower())
    answer.question = [dns.rrset.RRset(name, query.question[0].rdclass, query.question[0].rdtype)]
    for section in (answer.answer, answer.authority):
        section[:] = [renamed(rrset, name) if rrset.name == name else rrset for rrset in section]


@rule("black-lies")
async def deny_compactly(answer, query, zone):
    """RFC 9824: every name exists, and those that do not have the type NXNAME."""
    name, rtype = query.question[0].name, query.question[0].rdtype
    if not is_negative(answer) or answer.answer or rtype == RDATATYPE.DNSKEY:
        return None
    types = ["RRSIG", "NSEC"]
    if answer.rcode() == dns.rcode.NXDOMAIN:
        types.append("TYPE128")
    else:
        for present in (RDATATYPE.A, RDATATYPE.AAAA, RDATATYPE.MX, RDATATYPE.TXT, RDATATYPE.TLSA):
            if any(rrset.rdtype == present for rrset in (await ask(name, present)).answer):
                types.append(RDATATYPE.to_text(present))
    return with_nsec(answer, query, zone, [(name, dns.name.Name((b"\x00",) + name.labels), types)])


@rule("white-lies")
async def deny_minimally(answer, query, zone):
    """RFC 4470: spans that hold the name asked for, or the wildcard, and nothing else."""
    name = query.question[0].name
    if answer.rcode() != dns.rcode.NXDOMAIN:
        return None
    next_closer = name
    while not await exists(next_closer.parent()):
        next_closer = next_closer.parent()
    return with_nsec(answer, query, zone, [around(next_closer), around(below("*", next_closer.parent()))])


async def exists(name):
    return (await ask(name, RDATATYPE.SRV)).rcode() == dns.rcode.NOERROR


def around(name):
    """The smallest span around a name whose first label ends neither in \\000 nor in \\255."""
    first = name.labels[0]
    before = first[:-1] + bytes([first[-1] - 1]) + b"\xff"
    parent = name.labels[1:]
    return dns.name.Name((before,) + parent), dns.name.Name((first + b"\x00",) + parent), ["RRSIG", "NSEC"]


def with_nsec(answer, query, zone, spans_):
    """An empty response with the start of authority and these NSEC records."""
    is_compact = len(spans_) == 1
    made = response(query, rcode=dns.rcode.NOERROR if is_compact else dns.rcode.NXDOMAIN)
    made.authority = [rrset for rrset in answer.authority if covered(rrset) == RDATATYPE.SOA]
    for owner, following, types in spans_:
        data = dns.rdata.from_text("IN", "NSEC", f"{following.to_text()} {' '.join(types)}")
        made.authority += signed(dns.rrset.from_rdata(owner, TTL, data), zone)
    return made


# Serving


async def handle(query, over_tcp, address):
    """The response, or SILENCE."""
    name, rtype = query.question[0].name, query.question[0].rdtype
    zone = RULES.zone_of(name, rtype)
    if address == places.SILENT:
        return SILENCE
    if zone is None:
        return response(query, rcode=dns.rcode.REFUSED)
    kind = RULES.rules[zone]
    refusal = REFUSALS[kind](query, zone, over_tcp) if kind in REFUSALS else None
    if refusal is not None:
        return refusal
    answer = response(query, await ask(name, rtype))
    if kind in CHANGES:
        answer = await CHANGES[kind](answer, query, zone) or answer
    is_referral = not answer.answer and all(rrset.rdtype != RDATATYPE.SOA for rrset in answer.authority)
    if is_referral and any(rrset.rdtype == RDATATYPE.NS for rrset in answer.authority):
        answer.flags &= ~dns.flags.AA
    if not query.ednsflags & dns.flags.DO:
        for section in _sections(answer):
            drop(section, lambda rrset: rrset.rdtype in (RDATATYPE.RRSIG, *DENIALS))
    return answer


def datagram(answer, query):
    """The octets of a response, truncated if they are more than was asked for."""
    size = 512 if query.edns < 0 else max(512, query.payload)
    try:
        return answer.to_wire(max_size=min(size, 4096))
    except dns.exception.TooBig:
        return truncated(query).to_wire()


class Datagrams(asyncio.DatagramProtocol):
    """One address over UDP."""

    def __init__(self, address):
        self.address = address
        self.tasks = set()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, octets, peer):
        task = asyncio.ensure_future(self.answer(octets, peer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self, octets, peer):
        query = dns.message.from_wire(octets)
        answer = await handle(query, False, self.address)
        if answer is not SILENCE:
            self.transport.sendto(datagram(answer, query), peer)


async def serve_connection(reader, writer):
    """One connection: questions one after the other."""
    try:
        while True:
            query = dns.message.from_wire(await receive(reader))
            answer = await handle(query, True, places.MISBEHAVING)
            if answer is not SILENCE:
                await send(writer, answer.to_wire(max_size=65535))
    except (asyncio.IncompleteReadError, ConnectionError):
        # The peer has asked all it wanted.
        pass
    finally:
        writer.close()


async def main():
    loop = asyncio.get_running_loop()
    for address in (places.MISBEHAVING, places.WITHOUT_TCP, places.SILENT):
        await loop.create_datagram_endpoint(lambda address=address: Datagrams(address), local_addr=(address, 53))
    await asyncio.start_server(serve_connection, places.MISBEHAVING, 53)
    pathlib.Path(RULES.pid).write_text(str(os.getpid()))
    await asyncio.Event().wait()


asyncio.run(main())
