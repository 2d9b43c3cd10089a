#!/usr/bin/python3
"""Makes a DNSSEC bed: keys, signed zones, configurations, and the questions with their right answers.

    make.py DIRECTORY       the directory must be new or empty; everything is written below it

Dates are relative to now, so make a bed anew each time.
"""

import concurrent.futures
import os
import sys

from bed import aliases, denials, keys, keysets, misbehaviour, servers, signatures, sound
from bed.places import Directories
from bed.plan import Plan


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if os.path.isdir(sys.argv[1]) and os.listdir(sys.argv[1]):
        sys.exit(f"{sys.argv[1]} is not empty: name another directory, or remove it")
    directories = Directories(sys.argv[1])
    plan = Plan()
    for topic in (sound, aliases, keysets, signatures, denials, misbehaviour):
        topic.plan(plan)
    zones = plan.zones.values()
    # Keys and signatures are made outside of Python's lock.
    with concurrent.futures.ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        made = [key for zone in zones for key in zone.keys + zone.spare]
        list(pool.map(lambda key: key.make(), (key for key in made if not isinstance(key, keys.Twin))))
        list(pool.map(lambda key: key.make(), (key for key in made if isinstance(key, keys.Twin))))
        plan.delegate()
        list(pool.map(lambda zone: zone.build(directories), zones))
    servers.configure(plan, directories)
    with open(directories.top / "cases.tsv", "w") as file:
        file.writelines("\t".join(question) + "\n" for question in plan.questions.values())
    print(f"{len(zones)} zones, {len(plan.questions)} questions")


main()
