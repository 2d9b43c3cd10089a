#!/usr/bin/env python3
"""Measure mail relays side by side on one machine. See README.md.

  bench.py run --targets byrnie,postfix:tuned --scenarios plain-1k --reps 3
  bench.py profile --targets byrnie --scenarios plain-1k
  bench.py limits
  bench.py report
  bench.py smoke

What starts a relay needs root: it goes into network, mount and process namespaces
of its own, so that nothing can reach, or be reached from, anything but its own
loopback interface.
"""

import argparse
import json
import os
import sys
import time
import tomllib
from pathlib import Path

from harness import machine, measure, profile, report
from harness.world import RELAY, World

HERE = Path(__file__).resolve().parent
# Enough for the connections of any scenario.
OPEN_FILES = 65536
# What a relay opens beside its connections.
SPARE_FILES = 500

# What a smoke run takes in the place of a scenario's own numbers, by kind.
SMOKE = {
    "flow": {"messages": 300},
    "flood": {"messages": 1000, "domains": 100, "hosts": 10},
    "idle": {"messages": 50, "connections": 300, "seconds": 1},
    "soak": {"messages": 300, "seconds": 3, "sample_seconds": 1},
}


def read_scenarios():
    scenarios = tomllib.loads((HERE / "scenarios.toml").read_text())
    default = scenarios.pop("default")
    return {name: default | s for name, s in scenarios.items()}


def choose(options):
    """The scenarios asked for, with what the command line changes about them."""
    known, chosen = read_scenarios(), {}
    names = list(known) if options.scenarios == "all" else options.scenarios.split(",")
    given = {k: getattr(options, k) for k in ("messages", "domains", "seconds") if getattr(options, k)}
    for name in names:
        if name not in known:
            sys.exit(f"bench.py: no scenario {name!r}; there are {', '.join(known)}")
        chosen[name] = known[name] | (SMOKE[known[name]["kind"]] if options.smoke else {}) | given
    return chosen


def run(options):
    """Each repetition measures all targets one after the other, so that slow changes of the machine hit all alike."""
    machine.isolate(RELAY.split(":")[0])
    files = machine.raise_open_files(OPEN_FILES)
    work = Path(options.work)
    machine.Cgroup.find_root(work / "cgroup")
    chosen = choose(options)
    for s in chosen.values():
        s["connections"] = min(s["connections"], files - SPARE_FILES)
    world = World(work, options.smtpbench, chosen.values())
    failed = 0
    try:
        for rep in range(options.reps):
            for name, s in chosen.items():
                # A scenario without a relay needs one row only, not one per target.
                for spec in ["none"] if s["direct"] else options.targets.split(","):
                    failed += not run_one(spec, name, s, rep, world, work, options)
    finally:
        world.remove()
    sys.exit(1 if failed else 0)


def run_one(spec, name, s, rep, world, work, options):
    """One row of the results, with another try if the machine was noisy; false if it failed."""
    for attempt in range(options.retries + 1):
        when = time.strftime("%FT%TZ", time.gmtime())
        try:
            result = measure.measure(spec, s, world, work, options)
        except Exception as e:  # noqa: BLE001: one bad run must not end the series
            print(f"{name:16} {spec:16} failed: {e!r}", flush=True)
            return False
        found = result.pop("profile", None)
        result |= {"target": spec, "scenario": name, "when": when, "rep": rep, "label": options.label,
                   "messages": s["messages"], "connections": s["connections"], "observed": options.count or options.profile}
        result["noisy"] = result["foreign_cores"] + result["steal_cores"] > options.noise
        with open(options.out, "a") as f:
            f.write(json.dumps(rounded(result)) + "\n")
        print(report.line(result), flush=True)
        if found:
            profile.show(found)
        if not result["noisy"]:
            break
    return result["complete"] and not (options.smoke and result["duplicates"])


def rounded(x):
    if isinstance(x, float):
        return round(x, 4 if abs(x) < 10 else 1)
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


def limits(options):
    """Durable writes and TLS handshakes; the null-* scenarios give the rest."""
    work = Path(options.work)
    commands = [["fsync", "--dir", str(work / "fsync")], ["tlsrate", "--kx", "x25519"],
                ["tlsrate", "--kx", "x25519mlkem768"]]
    for rep in range(options.reps):
        for command in commands:
            before = machine.wait_quiet(options.quiet, options.quiet_wait)
            for out in machine.sh(options.smtpbench, *command).splitlines():
                row = json.dumps({"limit": command[0], "rep": rep, "cores_before": round(before, 2)} | json.loads(out))
                with open(options.out, "a") as f:
                    f.write(row + "\n")
                print(row, flush=True)


def add_running(sub, name, about, **defaults):
    """A command that starts relays."""
    p = sub.add_parser(name, help=about)
    p.add_argument("--targets", default="byrnie", help="comma-separated NAME[:VARIANT] of targets/")
    p.add_argument("--scenarios", default="plain-1k", help="comma-separated names of scenarios.toml, or all")
    p.add_argument("--reps", type=int, default=1)
    p.add_argument("--messages", type=int, help="instead of the scenario's number")
    p.add_argument("--domains", type=int, help="instead of the scenario's number")
    p.add_argument("--seconds", type=int, help="instead of the scenario's length")
    p.add_argument("--label", default="", help="noted in each result")
    p.add_argument("--count", action="store_true", help="count fsync and other calls with perf (not for timing)")
    p.add_argument("--noise", type=float, default=0.25, help="cores of other work or steal that make a run noisy")
    p.add_argument("--retries", type=int, default=1, help="times to repeat a noisy run")
    p.add_argument("--stall", type=float, default=120, help="seconds without a message that end a run")
    p.set_defaults(call=run, profile=False, smoke=False, out="results.jsonl", **defaults)
    add_machine(p)


def add_machine(p):
    """What all that measures needs."""
    built = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    p.add_argument("--work", default="/var/tmp/smtpbench", help="scratch directory on the disk under test")
    p.add_argument("--out", help="file that results are added to")
    p.add_argument("--smtpbench", default=str(built / "release/smtpbench"), help="the program of src/")
    p.add_argument("--quiet", type=float, default=0.15, help="cores of other work to wait to go below")
    p.add_argument("--quiet-wait", type=float, default=300, help="seconds to wait for that at most")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="command", required=True)
    add_running(sub, "run", "measure")
    add_running(sub, "profile", "measure with perf, and show where the processor time goes")
    add_running(sub, "smoke", "run everything in small, and fail if a message is lost, altered or doubled")
    sub.choices["profile"].set_defaults(profile=True, retries=0, out="profiles.jsonl")
    sub.choices["smoke"].set_defaults(smoke=True, scenarios="all", retries=0, noise=99, stall=30,
                                      out="/dev/null")
    p = sub.add_parser("limits", help="measure the machine itself")
    p.add_argument("--reps", type=int, default=3)
    add_machine(p)
    p.set_defaults(call=limits, out="limits.jsonl")
    p = sub.add_parser("report", help="print tables, limits and goals")
    p.add_argument("results", nargs="*", default=["results.jsonl"])
    p.add_argument("--limits", default="limits.jsonl")
    p.add_argument("--baseline", default="postfix:tuned")
    p.add_argument("--noise", type=float, default=0.25, help="cores of other work or steal that make a run noisy")
    p.add_argument("--noisy", action="store_true", help="include noisy runs")
    p.set_defaults(call=lambda options: report.report(options, read_scenarios()))
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
