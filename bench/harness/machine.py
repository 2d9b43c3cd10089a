"""What the kernel says about processes and the machine."""

import json
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

MIB = 1 << 20

# Calls that change what is on the disk, counted on demand.
COUNTED = ["fsync", "fdatasync", "sync_file_range", "msync", "rename", "renameat2", "unlink", "unlinkat"]


def sh(*args, **kw):
    """Runs a command that must succeed, and returns what it prints."""
    return subprocess.run(args, check=True, text=True, stdout=subprocess.PIPE, **kw).stdout


class Cgroup:
    """A cgroup v2 directory: exact processor time of its processes, ended ones included."""

    root = None
    token = secrets.token_hex(3)

    @classmethod
    def find_root(cls, own_mount):
        """Uses the machine's cgroup v2, or mounts one of our own."""
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        cls.root = next((Path(m[1]) for m in mounts if m[2] == "cgroup2" and "rw" in m[3].split(",")), None)
        if not cls.root:
            own_mount.mkdir(parents=True, exist_ok=True)
            sh("mount", "-t", "cgroup2", "none", own_mount)
            cls.root = own_mount

    def __init__(self, name):
        self.name = f"smtpbench-{self.token}-{name}"
        self.path = self.root / self.name
        self.path.mkdir()

    def popen(self, args, **kw):
        procs = str(self.path / "cgroup.procs")

        def enter():
            with open(procs, "w") as f:
                f.write(str(os.getpid()))

        return subprocess.Popen([str(arg) for arg in args], preexec_fn=enter, start_new_session=True, **kw)

    def pids(self):
        # A process of another namespace shows as 0.
        return [int(p) for p in (self.path / "cgroup.procs").read_text().split() if p != "0"]

    def cpu(self):
        stat = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return {k: int(stat[f"{k}_usec"]) / 1e6 for k in ("usage", "user", "system")}

    def end(self, grace=5):
        """Ends the processes in this group, which are all our own."""
        for sig, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, grace)):
            for pid in self.pids():
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
            deadline = time.time() + wait
            while self.pids() and time.time() < deadline:
                time.sleep(0.05)

    def remove(self):
        if not self.path.exists():
            return
        self.end()
        for _ in range(50):
            try:
                return self.path.rmdir()
            except OSError:
                time.sleep(0.1)


def machine_cpu():
    """Seconds of all processors together since boot."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, idle, iowait, irq, softirq, steal = (int(f) / 100 for f in fields[:8])
    return {"busy": user + nice + system + irq + softirq, "iowait": iowait, "steal": steal}


def own_cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def raise_open_files(wanted):
    """Lets us and all that we start open so many files, or as many as we may; returns how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
        except ValueError:
            # Not ours to raise.
            wanted = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def disk(path):
    """Cumulative counters of the block device under a path, where there is one."""
    dev = os.stat(path).st_dev
    try:
        f = Path(f"/sys/dev/block/{os.major(dev)}:{os.minor(dev)}/stat").read_text().split()
    except OSError:
        return {"writes": 0, "written_mib": 0, "flushes": 0}
    return {"writes": int(f[4]), "written_mib": int(f[6]) / 2048, "flushes": int(f[15]) if len(f) > 15 else 0}


def memory(pids, proportional):
    """MiB of resident memory; the proportional set size counts shared pages once."""
    total = 0
    for pid in pids:
        try:
            if proportional:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) / 1024
            else:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / MIB
        except (OSError, TypeError):
            # It has ended meanwhile.
            pass
    return total


def files_mib(folder):
    """MiB on the disk of all files below a folder but logs."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                if not name.endswith(".log"):
                    total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                pass
    return total / MIB


def slope(points):
    """By how much the second number of a point grows with the first, by least squares."""
    if len(points) < 2:
        return 0.0
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


class Sampler(threading.Thread):
    """Memory and processes of a cgroup over time; peaks each quarter of a second, a series less often."""

    def __init__(self, cgroup, folder, every):
        super().__init__(daemon=True)
        self.cgroup, self.folder, self.every, self.stopped = cgroup, folder, every, threading.Event()
        self.rss = self.pss = self.procs = 0
        self.series = []

    def run(self):
        begun, tick, noted = time.time(), 0, -self.every
        while not self.stopped.wait(0.25):
            try:
                pids = self.cgroup.pids()
            except FileNotFoundError:
                return
            self.procs = max(self.procs, len(pids))
            self.rss = max(self.rss, memory(pids, False))
            if tick % 4 == 0:
                pss, age = memory(pids, True), time.time() - begun
                self.pss = max(self.pss, pss)
                if age >= noted + self.every:
                    noted = age
                    self.series.append({"s": round(age, 1), "pss_mib": pss, "files_mib": files_mib(self.folder)})
            tick += 1

    def stop(self):
        self.stopped.set()
        self.join()


class SyscallCount:
    """Counts system calls of one cgroup with perf's tracepoints."""

    def __init__(self, cgroup, out):
        self.out = out
        events = [f"syscalls:sys_enter_{name}" for name in COUNTED]
        args = ["perf", "stat", "-a", "-x", ",", "-o", str(out)]
        for event in events:
            args += ["-e", event]
        # perf counts for as long as its command runs, and cat runs until we close its input.
        args += ["-G", ",".join([cgroup.name] * len(events)), "--", "cat"]
        self.proc = subprocess.Popen(args, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        time.sleep(1)

    def stop(self):
        self.proc.stdin.close()
        self.proc.wait()
        counts = {}
        for line in self.out.read_text().splitlines():
            f = line.split(",")
            if len(f) > 2 and f[2].startswith("syscalls:"):
                counts[f[2].removeprefix("syscalls:sys_enter_")] = int(f[0]) if f[0].isdigit() else None
        return counts


def wait_quiet(limit, most):
    """Waits until other work leaves the machine alone; returns how many cores it saw busy."""
    deadline = time.time() + most
    while True:
        before, start = machine_cpu()["busy"], time.time()
        time.sleep(3)
        cores = (machine_cpu()["busy"] - before) / (time.time() - start)
        if cores <= limit or time.time() > deadline:
            return cores


def cpu_score(smtpbench):
    """TLS handshakes a second of processor time: how fast a core is just now."""
    return json.loads(sh(smtpbench, "tlsrate", "--seconds", "0.3"))["full"]["both_per_s"]


def isolate(address):
    """Puts this program into network, mount and process namespaces of its own, with one more loopback address."""
    if os.environ.get("SMTPBENCH_ISOLATED"):
        sh("ip", "link", "set", "lo", "up")
        # All of 127.0.0.0/8 can be bound, but Postfix looks for its own among the interface's.
        sh("ip", "address", "add", f"{address}/8", "dev", "lo")
        # The first process of a namespace has no default for it.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        return
    os.environ["SMTPBENCH_ISOLATED"] = "1"
    flags = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])
