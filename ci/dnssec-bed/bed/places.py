"""Where everything of a bed lies: directories, addresses, dates."""

import pathlib
import time

# The authoritative servers.
ROOT = "127.53.0.1"
TLD = "127.53.0.2"
LEAF = "127.53.0.3"
# Holds the zones below those of MISBEHAVING, which would answer from them in place of their parents.
LEAF_BELOW = "127.53.0.4"
# Forwards to LEAF and LEAF_BELOW, and changes the answers.
MISBEHAVING = "127.53.0.66"
# The same without TCP.
WITHOUT_TCP = "127.53.0.67"
# Takes questions and never answers.
SILENT = "127.53.0.69"

# The resolvers: unbound with and without validation, and BIND on a port of its own.
UNBOUND_VALIDATING = "127.53.0.53"
UNBOUND = "127.53.0.54"
BIND = "127.0.0.1"
BIND_PORT = 5355

NOW = int(time.time())
HOUR = 3600
DAY = 24 * HOUR
YEAR = 365 * DAY


class Directories:
    """The directories of one bed; makes those that are missing."""

    def __init__(self, top):
        self.top = pathlib.Path(top).resolve()
        for name in ("anchors", "conf", "keys", "run", "zones"):
            path = self.top / name
            path.mkdir(parents=True, exist_ok=True)
            setattr(self, name, path)


def file_name(zone):
    """What the files of a zone are called: the name without its last dot."""
    return zone.rstrip(".") or "root"


def timestamp(moment):
    """A moment as RRSIG records and dnssec-signzone write it."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(moment))
