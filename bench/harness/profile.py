"""Where a relay's processor time goes, by function and by crate."""

import re
import subprocess

# Samples a second. The event is a timer of the kernel: virtual machines often lack the hardware's own.
FREQUENCY = 1999
EVENT = "cpu-clock"
TOP = 40

# C libraries inside the program, by how their functions are called.
C_PREFIXES = {"aws_lc": "aws-lc", "sqlite3": "SQLite", "mi_": "mimalloc"}
# What std's own parts are called in symbols.
STD = {"core", "alloc", "std", "hashbrown", "compiler_builtins"}


class Profiler:
    """perf over one cgroup for as long as a run lasts."""

    def __init__(self, cgroup, data):
        self.data = data
        args = ["perf", "record", "-q", "-a", "-e", EVENT, "-F", str(FREQUENCY), "-G", cgroup.name, "-o", str(data)]
        # perf records for as long as its command runs, and cat runs until we close its input.
        self.proc = subprocess.Popen([*args, "--", "cat"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stop(self):
        """Ends it; returns rows of percent, module and function, most first."""
        self.proc.stdin.close()
        said = self.proc.stderr.read()
        if self.proc.wait() not in (0, 130):
            raise RuntimeError(f"perf record: {said.strip()}")
        args = ["perf", "report", "-i", str(self.data), "--stdio", "--no-children", "--sort", "dso,sym", "-t", "\x01"]
        return rows(subprocess.run(args, check=True, capture_output=True, text=True).stdout)


def rows(report):
    """Reads what perf prints."""
    found = []
    for line in report.splitlines():
        fields = [f.strip() for f in line.split("\x01")]
        if len(fields) == 3 and re.fullmatch(r"[\d.]+%", fields[0]):
            found.append([float(fields[0][:-1]), fields[1], fields[2]])
    return found


def crate(dso, symbol):
    """To what a function belongs: the kernel, a crate, a library in C."""
    if symbol.startswith("[k]") or dso.startswith("[kernel"):
        return "kernel"
    name = symbol.removeprefix("[.] ")
    if "::" in name:
        # `<a::B as c::D>::e` is of a, `core::ptr::drop_in_place<a::B>` of a.
        inner = re.search(r"drop_in_place<\W*([a-z]\w*)::", name) or re.search(r"^[<&\[(*]*(?:dyn |mut |const )?([a-z]\w*)::", name)
        first = inner[1] if inner else name.split("::")[0]
        return "std" if first in STD else first
    if dso.startswith(("libc", "libm", "ld-")):
        return dso.split(".")[0].split("-")[0]
    return next((crate for prefix, crate in C_PREFIXES.items() if name.startswith(prefix)), f"C in {dso}")


def show(found):
    """Prints a profile by crate and by function."""
    crates = {}
    for percent, dso, symbol in found:
        owner = crate(dso, symbol)
        crates[owner] = crates.get(owner, 0) + percent
    print("\n| % of the relay's processor time | crate |\n|---|---|")
    for owner, percent in sorted(crates.items(), key=lambda item: -item[1])[:20]:
        print(f"| {percent:.1f} | {owner} |")
    print("\n| % | of | function |\n|---|---|---|")
    for percent, dso, symbol in found[:TOP]:
        print(f"| {percent:.2f} | {crate(dso, symbol)} | `{symbol}` |")
