"""The plan of a bed: its zones, and the questions with their right answers."""

import re

from .zone import MAILBOX, Zone

SECURE, INSECURE, BOGUS, FAILED = "S", "I", "B", "X"
ANSWER, NODATA, NXDOMAIN, NOTHING = "OK", "NODATA", "NX", "FAIL"


class Plan:
    """Collects zones and questions."""

    def __init__(self):
        self.zones = {}
        self.questions = {}

    def zone(self, name, *arguments, **options):
        """Adds a zone; see `Zone`."""
        if name in self.zones:
            raise ValueError(f"the zone {name} is planned twice")
        self.zones[name] = Zone(name, *arguments, **options)

    def ask(self, label, name, rtype, kind, status, remark="", also=""):
        """Adds a question and what it ends in.

        also    other right endings, such as `OK/I,FAIL/X`
        """
        if label in self.questions:
            raise ValueError(f"the question {label} is planned twice")
        self.questions[label] = (label, name, rtype, kind, status, remark, also)

    def ask_bogus(self, label, name, rtype, remark, also=""):
        self.ask(label, name, rtype, NOTHING, BOGUS, remark, also)

    def ask_few(self, zone, status, remark="", denied=None, also=""):
        """Asks for each kind of answer once: records, a name and a type that do not exist.

        denied  the status of the last two, if it is another
        also    another right status
        """
        label = zone.rstrip(".")
        for short, prefix, rtype, kind in FEW:
            is_denial = kind != ANSWER
            expected = denied if denied and is_denial else status
            others = f"{NOTHING if also in (BOGUS, FAILED) else kind}/{also}" if also else ""
            kind = NOTHING if expected in (BOGUS, FAILED) else kind
            self.ask(f"{label}/{short}", prefix + zone, rtype, kind, expected, remark, others)

    def ask_all(self, zone, status, remark="", other=()):
        """Asks for everything that `usual_text` holds and for what it does not hold.

        other   the status of questions for which it is not `status`, by their short labels
        """
        label = zone.rstrip(".")
        for short, prefix, rtype, kind in ALL:
            expected = dict(other).get(short, status)
            self.ask(f"{label}/{short}", prefix + zone, rtype, kind, expected, remark)

    def delegate(self):
        """Puts each delegation into the closest zone above it. The keys are made by now."""
        for zone in self.zones.values():
            if zone.name == ".":
                continue
            above = [name for name in self.zones if name != zone.name and _is_below(zone.name, name)]
            parent = self.zones[max(above, key=len)]
            parent.text += zone.delegation()


def _is_below(name, above):
    return above == "." or re.search(rf"(^|\.){re.escape(above)}$", name) is not None


# The short label of a question, what to put before the zone, the type, the kind of the answer.
FEW = [
    ("mx", "", "MX", ANSWER),
    ("a", "mx.", "A", ANSWER),
    ("tlsa", "_25._tcp.mx.", "TLSA", ANSWER),
    ("tlsa-nx", "_25._tcp.mxnt.", "TLSA", NXDOMAIN),
    ("tlsa-nodata", "_25._tcp.mxnd.", "TLSA", NODATA),
]
ALL = [
    ("mx", "", "MX", ANSWER),
    ("soa-txt", "", "TXT", ANSWER),
    ("caa", "", "CAA", ANSWER),
    ("a", "mx.", "A", ANSWER),
    ("aaaa", "mx.", "AAAA", ANSWER),
    ("tlsa", "_25._tcp.mx.", "TLSA", ANSWER),
    ("mxcname", "mxcn.", "A", ANSWER),
    ("tlsa-cname", "_25._tcp.mxct.", "TLSA", ANSWER),
    ("openpgp", f"{MAILBOX}._openpgpkey.", "OPENPGPKEY", ANSWER),
    ("smimea", f"{MAILBOX}._smimecert.", "SMIMEA", ANSWER),
    ("tlsa-nx", "_25._tcp.mxnt.", "TLSA", NXDOMAIN),
    ("tlsa-nodata", "_25._tcp.mxnd.", "TLSA", NODATA),
    ("tlsa-ent", "_25._tcp.mxent.", "TLSA", NODATA),
    ("nodata-apex", "", "SRV", NODATA),
    ("nx", "nx.", "A", NXDOMAIN),
    ("cname-nodata", "alias.", "TLSA", NODATA),
    ("wild-a", "x.wild.", "A", ANSWER),
    ("wild-nodata", "x.wild.", "TLSA", NODATA),
    ("wild-tlsa", "_25._tcp.mxw.", "TLSA", ANSWER),
    ("wild-cname", "x.wc.", "A", ANSWER),
    ("wild-lit", "*.wild.", "A", ANSWER),
]
