"""Where a relay's processor time goes: by crate, by system call, by function."""

import re
import subprocess
from collections import Counter

# Samples a second. The event is a timer of the kernel's: virtual machines often lack the hardware's own.
FREQUENCY = 1999
EVENT = "cpu-clock"
# Rows of a table.
TOP = 30

# Library names of std's own parts.
STD = {"core", "alloc", "std", "hashbrown", "compiler_builtins", "__rustc"}
# One frame of a stack: address, function, module.
FRAME = re.compile(r"^\s*[0-9a-f]+ (.*) \((\S+)\)$")


class Profiler:
    """perf over one cgroup for as long as a run lasts."""

    def __init__(self, cgroup, data):
        self.data = data
        args = ["perf", "record", "-q", "-a", "-g", "-e", EVENT, "-F", str(FREQUENCY), "-G", cgroup.name, "-o", str(data)]
        # perf records for as long as its command runs, and cat runs until we close its input.
        self.proc = subprocess.Popen([*args, "--", "cat"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stop(self):
        """Ends it; returns how many samples each owner and each function has."""
        self.proc.stdin.close()
        said = self.proc.stderr.read()
        if self.proc.wait():
            raise RuntimeError(f"perf record: {said.strip()}")
        script = ["perf", "script", "-i", str(self.data), "--no-inline", "-F", "ip,sym,dso"]
        return count(subprocess.run(script, check=True, capture_output=True, text=True).stdout)


def count(script):
    """Counts stacks as perf prints them, innermost frame first, with an empty line after each."""
    owners, functions = Counter(), Counter()
    for stack in script.split("\n\n"):
        frames = [m.groups() for line in stack.splitlines() if (m := FRAME.match(line))]
        if frames:
            owner = owner_of(frames)
            owners[owner] += 1
            functions[f"{owner}: `{frames[0][0]}`"] += 1
    return {"owners": owners, "functions": functions}


def owner_of(frames):
    """To whom a sample belongs: a crate, a library in C, or what the kernel does it for."""
    name, module = frames[0]
    if module.startswith("[kernel") or module.startswith("[guest.kernel"):
        return f"kernel, {kernel_work([symbol for symbol, _ in frames])}"
    # `<a::B as c::D>::e` is of a; so is `core::ptr::drop_in_place<a::B>`.
    first = re.search(r"drop_in_place<\W*([a-z]\w*)::", name) or re.search(r"([a-z_]\w*)::", name)
    if first:
        return "std" if first[1] in STD else first[1]
    if name.startswith("aws_lc"):
        return "aws-lc"
    module = module.rsplit("/", 1)[-1].split(".so")[0]
    # What else is in C within byrnie.
    return "SQLite" if module.startswith("byrnie") else module


def kernel_work(symbols):
    """The system call that a stack in the kernel is about, or what else led there."""
    for symbol in symbols:
        if call := re.fullmatch(r"__x64_sys_(\w+)|__do_sys_(\w+)", symbol):
            return call[1] or call[2]
        if "page_fault" in symbol:
            return "page faults"
    return "interrupts and threads of its own" if "ret_from_fork" in symbols else "other"


def show(found):
    """Prints a profile."""
    for title, counts in found.items():
        total = sum(counts.values())
        print(f"\n| % | {title} |\n|---|---|")
        for name, samples in counts.most_common(TOP):
            print(f"| {100 * samples / total:.1f} | {name} |")
