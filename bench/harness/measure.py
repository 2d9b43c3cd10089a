"""One run of one scenario against one relay."""

import json
import os
import shutil
import subprocess
import time

from . import profile
from .machine import Cgroup, Sampler, SyscallCount, cpu_score, disk, machine_cpu, own_cpu, slope, wait_quiet
from .parts import Relay, Sink, load_args
from .world import RELAY, SINK, is_living

# Part of a soak that passes before growth is looked at.
WARM_UP = 0.2


class Trial:
    """What is started for a run, and what it costs."""

    def __init__(self, spec, s, world, work, options):
        self.s, self.options, self.work, self.smtpbench = s, options, work, options.smtpbench
        self.run = work / "run"
        shutil.rmtree(self.run, ignore_errors=True)
        self.run.mkdir(parents=True)
        os.sync()
        self.world, self.relay = world, None
        self.expect = expected(s)
        self.sink = Sink(self.smtpbench, s, world, work / "sink.out", self.expect)
        self.loader = Cgroup("load")
        try:
            if not s["direct"]:
                self.relay = Relay(spec, s, world, self.run, world.dir / "anchor")
                self.relay.start()
        except BaseException:
            self.keep_logs()
            self.end()
            raise

    def begin(self):
        """From here on costs count."""
        o = self.options
        self.result = {}
        if not o.smoke:
            self.result = {"cores_before": round(wait_quiet(o.quiet, o.quiet_wait), 2),
                           "cpu_score": cpu_score(self.smtpbench)}
        relay = self.relay and self.relay.cgroup
        self.counter = SyscallCount(relay, self.work / "perf.out") if o.count and relay else None
        self.profiler = profile.Profiler(relay, self.work / "perf.data") if o.profile and relay else None
        self.sampler = Sampler(relay, self.run, self.s["sample_seconds"]) if relay else None
        if self.sampler:
            self.sampler.start()
        self.groups = [g for g in (relay, self.sink.cgroup, self.loader, self.world.cgroup) if g]
        self.cpu0 = {g.name: g.cpu() for g in self.groups}
        self.own0, self.disk0, self.machine0, self.start = own_cpu(), disk(self.run), machine_cpu(), time.time()

    def load(self, to=None, rate=0, **changes):
        """Sends the scenario's messages, and returns what the load generator says."""
        args = load_args(self.smtpbench, self.s | changes, to or (SINK if self.s["direct"] else RELAY), rate)
        with open(self.work / "load.err", "w") as err:
            out = self.loader.popen(args, stdout=subprocess.PIPE, stderr=err, text=True).communicate()[0]
        return json.loads(out)

    def finish(self, messages):
        """Ends the counting, and notes what `messages` messages have cost."""
        # Let those who have just ended be accounted for.
        time.sleep(0.2)
        wall = time.time() - self.start
        machine1, disk1, own1 = machine_cpu(), disk(self.run), own_cpu()
        cpu = {g.name: {k: v - self.cpu0[g.name][k] for k, v in g.cpu().items()} for g in self.groups}
        self.stop_observers()
        ours = sum(c["usage"] for c in cpu.values()) + (own1 - self.own0)
        if self.relay:
            spent = cpu[self.relay.cgroup.name]
            self.result |= {
                "version": self.relay.version,
                "queued_after": self.relay.queued(),
                "cpu_s_per_1000": spent["usage"] * 1000 / messages,
                "cpu_user_s_per_1000": spent["user"] * 1000 / messages,
                "relay_cores": spent["usage"] / wall,
                "rss_mib": self.sampler.rss, "pss_mib": self.sampler.pss, "processes": self.sampler.procs,
            }
        self.result |= {
            "load_cpu_s_per_1000": cpu[self.loader.name]["usage"] * 1000 / messages,
            "sink_cpu_s_per_1000": cpu[self.sink.cgroup.name]["usage"] * 1000 / messages,
            "dns_cpu_s": cpu[self.world.cgroup.name]["usage"],
            "foreign_cores": (machine1["busy"] - self.machine0["busy"] - ours) / wall,
            "iowait_cores": (machine1["iowait"] - self.machine0["iowait"]) / wall,
            "steal_cores": (machine1["steal"] - self.machine0["steal"]) / wall,
            "disk": {k: round(disk1[k] - self.disk0[k], 1) for k in self.disk0},
        }

    def note(self, load, done, since):
        """Notes the rates: what the load generator says, and what arrived between `since` and `done`."""
        seconds = ((done or time.time_ns()) - since) / 1e9
        self.result |= {
            "accepted_per_s": load["accepted_per_s"], "latency_ms": load["latency_ms"], "load": load,
            "delivered_per_s": self.sink.events[-1]["distinct"] / seconds, "seconds": seconds,
            "complete": done is not None and load["accepted"] == self.s["messages"],
        }

    def stop_observers(self):
        if self.sampler:
            self.sampler.stop()
        if self.counter:
            self.result["syscalls"] = self.counter.stop()
        if self.profiler:
            self.result["profile"] = self.profiler.stop()

    def close(self):
        """Stops everything; returns the result with what the sink says last."""
        if self.relay:
            self.relay.stop()
        self.result["sink"] = self.sink.stop()[1]
        self.sink = None
        self.end()
        return self.result

    def end(self):
        """Stops whatever still runs."""
        if self.relay and self.relay.cgroup.path.exists():
            self.relay.stop()
        if self.sink:
            self.sink.stop()
        self.loader.remove()

    def keep_logs(self):
        """Puts what the relay wrote aside, without its spool."""
        keep = self.work / "failed"
        shutil.rmtree(keep, ignore_errors=True)
        shutil.copytree(self.run, keep, symlinks=True, ignore_dangling_symlinks=True,
                        ignore=lambda _, names: [n for n in names if n in ("spool", "public", "private")])


def expected(s):
    """How many of a scenario's messages can arrive."""
    if not s["dead"]:
        return s["messages"]
    return sum(is_living(n % s["domains"]) for n in range(s["messages"]))


def measure(spec, s, world, work, options):
    """Runs a scenario against a relay; returns the result."""
    if s["kind"] == "soak":
        fast = measure(spec, s | {"kind": "flow"}, world, work, options)
        if not fast["complete"]:
            return fast
        rate = fast["delivered_per_s"] / 2
        s = s | {"rate": rate, "messages": int(rate * s["seconds"])}
    trial = Trial(spec, s, world, work, options)
    try:
        {"flow": flow, "flood": flood, "idle": idle, "soak": soak}[s["kind"]](trial)
        result = trial.close()
        sink = result["sink"]
        intact = not (sink["altered"] or sink["foreign"])
        result |= {"complete": result["complete"] and intact, "duplicates": sink["duplicates"]}
        if not result["complete"]:
            trial.keep_logs()
        return result
    except Exception:
        trial.keep_logs()
        raise
    finally:
        trial.end()


def flow(trial):
    """As many messages as go, from the first connection until the last has arrived."""
    s = trial.s
    trial.begin()
    load = trial.load()
    done = trial.sink.wait(trial.options.stall)
    trial.finish(s["messages"])
    trial.note(load, done, load["start_ns"])


def flood(trial):
    """Fills the queue while no host answers, then lets those that live take their mail."""
    s = trial.s
    trial.begin()
    load = trial.load()
    full_pss = trial.sampler.pss
    opened = trial.sink.open()
    done = trial.sink.wait(trial.options.stall)
    trial.finish(s["messages"])
    trial.note(load, done, opened)
    drained = drain(trial.sink.events, opened, trial.expect)
    trial.result |= {
        "pss_full_mib": full_pss, "series": trial.sampler.series, "tenths_per_s": tenths(drained),
        "delivered_per_s": per_second(drained[0], drained[-1]), "last_s": trial.result["seconds"],
    }


# How much of a queue counts as drained. Whatever was being tried as the hosts opened waits for its next
# try, by the times between retries: that says nothing about how fast the rest goes.
DRAINED = 0.99


def drain(events, opened, expect):
    """When each tenth of a queue had arrived, the last one up to DRAINED, as (nanoseconds, messages)."""
    points = [(e["now_ns"], e["distinct"]) for e in events if e["now_ns"] > opened]
    marks = [expect * part / 10 for part in range(1, 10)] + [expect * DRAINED]
    reached = (next((p for p in points if p[1] >= mark), None) for mark in marks)
    return [(opened, 0), *(p for p in reached if p)]


def tenths(drained):
    """Messages a second in each tenth of a queue; tenths that ended at one moment count as one."""
    return [round(per_second(a, b)) for a, b in zip(drained, drained[1:]) if a != b]


def per_second(earlier, later):
    """Messages a second between two points."""
    return (later[1] - earlier[1]) / ((later[0] - earlier[0]) / 1e9) if later != earlier else 0.0


def idle(trial):
    """Many connections that say nothing, and beside them a little mail."""
    s = trial.s
    trial.begin()
    time.sleep(2)
    before = trial.sampler.pss
    args = [trial.smtpbench, "idle", "--to", RELAY, "--connections", s["connections"]]
    args += ["--starttls"] if s["tls_in"] else []
    holder = trial.loader.popen(args, stdout=subprocess.PIPE, text=True)
    held = json.loads(holder.stdout.readline())
    time.sleep(s["seconds"])
    during = trial.sampler.pss
    load = trial.load()
    done = trial.sink.wait(trial.options.stall)
    trial.finish(s["messages"])
    holder.terminate()
    end = json.loads(holder.communicate()[0])
    trial.result |= {
        "held": held, "held_end": end, "kib_per_connection": (during - before) * 1024 / s["connections"],
        "complete": held["open"] == s["connections"] and not end["closed"] and done is not None
                    and load["accepted"] == s["messages"],
    }


def soak(trial):
    """Half of what the relay can do, for long; memory and files must stay as they are."""
    s = trial.s
    trial.begin()
    load = trial.load(rate=s["rate"])
    done = trial.sink.wait(trial.options.stall)
    trial.finish(s["messages"])
    late = [p for p in trial.sampler.series if p["s"] >= s["seconds"] * WARM_UP]
    trial.note(load, done, load["start_ns"])
    trial.result |= {
        "series": trial.sampler.series,
        "pss_growth_mib": growth(late, "pss_mib"), "files_growth_mib": growth(late, "files_mib"),
    }


def growth(series, key):
    """By how much a straight line through a series rises from its first point to its last."""
    return slope([(p["s"], p[key]) for p in series]) * (series[-1]["s"] - series[0]["s"]) if series else 0.0
