"""Tables, ratios, and whether the goals are met."""

import json
import statistics
from pathlib import Path

COLUMNS = [
    ("accepted/s", lambda r: r.get("accepted_per_s"), 0),
    ("delivered/s", lambda r: r.get("delivered_per_s"), 0),
    ("CPU s/1000", lambda r: r.get("cpu_s_per_1000"), 2),
    ("PSS MiB", lambda r: r.get("pss_mib"), 0),
    ("RSS MiB", lambda r: r.get("rss_mib"), 0),
    ("p50 ms", lambda r: (r.get("latency_ms") or {}).get("p50"), 1),
    ("p99 ms", lambda r: (r.get("latency_ms") or {}).get("p99"), 1),
]

# Fields that only some kinds of scenarios have.
BEYOND = {
    "pss_full_mib": "PSS MiB with the full queue", "last_s": "seconds until the very last",
    "kib_per_connection": "KiB a connection",
    "pss_growth_mib": "growth of PSS in MiB", "files_growth_mib": "growth of files in MiB",
}

# Medians of fewer pairs are not quoted.
PAIRS_MIN = 3


def line(r):
    """One run in one line, for whoever watches."""
    cells = [f"{r['scenario']:16} {r['target']:16}"]
    for name, key, form in (("in", "accepted_per_s", "8.1f"), ("out", "delivered_per_s", "8.1f"),
                            ("cpu/1000", "cpu_s_per_1000", "6.3f"), ("pss", "pss_mib", "6.1f"),
                            ("load", "load_cpu_s_per_1000", "5.3f"), ("sink", "sink_cpu_s_per_1000", "5.3f"),
                            ("foreign", "foreign_cores", "4.2f")):
        cells.append(f"{name} {r[key]:{form}}" if r.get(key) is not None else "")
    marks = [r["duplicates"] and f"{r['duplicates']} TWICE", r["noisy"] and "NOISY", not r["complete"] and "INCOMPLETE"]
    return "  ".join([*filter(None, cells), *filter(None, marks)])


def spread(values, digits):
    """"min / median / max" of the values there are."""
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    return " / ".join(f"{f(values):.{digits}f}" for f in (min, statistics.median, max))


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def print_beyond(results):
    """What floods, idle connections and soaks show beyond the columns of all."""
    rows = []
    for scenario, targets in results.groups.items():
        for target, runs in targets.items():
            for r in runs:
                shown = [f"{words} {r[key]:.1f}" for key, words in BEYOND.items() if r.get(key) is not None]
                if r.get("tenths_per_s"):
                    shown.append("each tenth of the queue, a second: " + " ".join(map(str, r["tenths_per_s"])))
                if shown:
                    rows.append([scenario, target, "; ".join(shown)])
    if rows:
        print("\n### Beyond rates\n")
        table(["scenario", "target", "measured"], rows)


class Results:
    """All runs that count, by scenario and target."""

    def __init__(self, rows, options):
        self.baseline, self.groups = options.baseline, {}
        for r in rows:
            noisy = r["foreign_cores"] + r["steal_cores"] > options.noise
            if not r["observed"] and r["complete"] and (options.noisy or not noisy):
                self.groups.setdefault(r["scenario"], {}).setdefault(r["target"], []).append(r)

    def runs(self, scenario, target):
        return self.groups.get(scenario, {}).get(target, [])

    def pairs(self, scenario, target):
        """Runs with those of the baseline in the same repetition."""
        base = {(r["label"], r["rep"]): r for r in self.runs(scenario, self.baseline)}
        return [(r, base[key]) for r in self.runs(scenario, target) if (key := (r["label"], r["rep"])) in base]

    def median(self, scenario, target, key):
        values = [r[key] for r in self.runs(scenario, target) if r.get(key) is not None]
        return statistics.median(values) if values else None

    def targets(self):
        return sorted({t for targets in self.groups.values() for t in targets} - {"none"})


def print_runs(results):
    """Each scenario with all its targets, and their ratios to the baseline."""
    names = [name for name, _, _ in COLUMNS]
    for scenario, targets in results.groups.items():
        print(f"\n### {scenario}\n")
        table(["target", "runs", *names],
              [[t, str(len(runs)), *(spread(map(get, runs), digits) for _, get, digits in COLUMNS)]
               for t, runs in targets.items()])
        ratios = []
        for target in targets:
            pairs = results.pairs(scenario, target) if target != results.baseline else []
            columns = ([get(r) / get(b) if get(r) and get(b) else None for r, b in pairs] for _, get, _ in COLUMNS)
            if pairs:
                ratios.append([target, str(len(pairs)), *(spread(column, 2) for column in columns)])
        if ratios:
            print(f"\nDivided by {results.baseline} of the same repetition:\n")
            table(["target", "pairs", *names], ratios)


def print_goals(results, scenarios, target):
    """What was wanted of a relay, and what was measured."""
    rows = []
    for name, s in scenarios.items():
        for key, wanted in s["goal"].items():
            rows += goal_row(results, name, target, key, wanted)
    if rows:
        print(f"\n### Goals for {target}\n")
        table(["scenario", "goal", "measured (median)", "runs", ""], rows)


# Goals that are relative to the baseline: what is compared, and whether more or less of it is better.
RELATIVE = {
    "delivered_times": ("delivered_per_s", "delivered a second, {:g} times the baseline's", 1),
    "cpu_part": ("cpu_s_per_1000", "CPU, 1/{:g} of the baseline's", -1),
    "pss_part": ("pss_mib", "PSS, 1/{:g} of the baseline's", -1),
}


def goal_row(results, scenario, target, key, wanted):
    """One goal as a row; none if nothing was measured."""
    if key in RELATIVE:
        field, words, sign = RELATIVE[key]
        pairs = [(r, b) for r, b in results.pairs(scenario, target) if r.get(field) and b.get(field)]
        # Both ways round, more is better.
        factors = [(r[field] / b[field]) ** sign for r, b in pairs]
        reached = lambda value: value >= wanted
        shown = "{:.2f} times" if sign > 0 else "1/{:.2f}"
    elif key == "rate_of":
        other, words = results.median(wanted, target, "delivered_per_s"), f"delivered a second, 9/10 of {wanted}'s"
        factors = [r["delivered_per_s"] / other for r in results.runs(scenario, target)] if other else []
        reached, shown = (lambda value: value >= 0.9), "{:.2f}"
    else:
        # An upper bound of the field itself.
        words, reached, shown = f"{key} under {{:g}}", (lambda value: value < wanted), "{:.1f}"
        factors = [r[key] for r in results.runs(scenario, target) if r.get(key) is not None]
    if not factors:
        return []
    median = statistics.median(factors)
    verdict = "met" if reached(median) else "NOT met"
    if key in RELATIVE and len(factors) < PAIRS_MIN:
        verdict += f", with fewer than {PAIRS_MIN} pairs"
    words = words.format(wanted) if "{" in words else words
    return [[scenario, words, shown.format(median), str(len(factors)), verdict]]


def print_limits(results, limits, scenarios, target):
    """What the machine can do at most, and how far a relay is from that."""
    if limits:
        print("\n### Limits of the machine\n")
        table(["limit", "median a second"], [[k, f"{v:.0f}"] for k, v in limits.items()])
    rows = []
    for name, s in scenarios.items():
        delivered = results.median(name, target, "delivered_per_s")
        null = results.median(s["null"], "none", "delivered_per_s") if s["null"] else None
        if delivered and null:
            load, sink = (results.median(name, target, f"{who}_cpu_s_per_1000") for who in ("load", "sink"))
            appends = limits.get("append by 16")
            rows.append([name, f"{delivered:.0f}", f"{null:.0f}", f"{100 * delivered / null:.0f} %",
                         f"{100 * delivered / appends:.0f} %" if appends else "-", f"{load:.3f}", f"{sink:.3f}"])
    if rows:
        print(f"\n### {target} and the limits\n")
        table(["scenario", "delivered/s", "without a relay", "of that", "of 16 writers' appends",
               "load's CPU s/1000", "sink's CPU s/1000"], rows)


def read_limits(path):
    """Medians of the machine's limits, by what they are called."""
    found = {}
    for row in read(path):
        if row["limit"] == "fsync":
            found.setdefault(f"{row['mode']} by {row['threads']}", []).append(row["per_s"])
        else:
            for kind in ("full", "resumed"):
                found.setdefault(f"{kind} handshakes, both ends, {row['kx']}", []).append(row[kind]["both_per_s"])
    return {name: statistics.median(values) for name, values in found.items()}


def read(path):
    """The rows of a file of JSON lines; none if there is no file."""
    return [json.loads(row) for row in Path(path).read_text().splitlines()] if Path(path).exists() else []


def report(options, scenarios):
    rows = [row for path in options.results for row in read(path)]
    results, limits = Results(rows, options), read_limits(options.limits)
    print_runs(results)
    print_beyond(results)
    for target in results.targets():
        if target != options.baseline:
            print_limits(results, limits, scenarios, target)
            print_goals(results, scenarios, target)
