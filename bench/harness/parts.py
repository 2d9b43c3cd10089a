"""The three programs of a run: who sends, the relay, who receives."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from .machine import Cgroup, sh
from .world import RELAY, SINK, zone_of

HERE = Path(__file__).resolve().parent.parent
# How long a relay may take to greet.
START_SECONDS = 120


def wait_banner(addr, proc):
    """Waits until a server greets, which `proc` is, or starts."""
    host, port = addr.split(":")
    deadline = time.time() + START_SECONDS
    while time.time() < deadline:
        if proc.poll():
            raise RuntimeError(f"the relay ended with {proc.returncode}, see its logs")
        try:
            with socket.create_connection((host, int(port)), 5) as s:
                if s.recv(3) == b"220":
                    s.sendall(b"QUIT\r\n")
                    s.recv(100)
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"no 220 from {addr}")


class Sink:
    """The next hop: `smtpbench sink`."""

    def __init__(self, smtpbench, s, world, out, expect):
        self.cgroup, self.out, self.events, self.offset = Cgroup("sink"), out, [], 0
        args = [smtpbench, "sink", "--listen", SINK, "--hosts", s["hosts"], "--progress",
                "--expect", expect, "--ids", s["messages"]]
        if s["kind"] == "flood":
            args += ["--closed"]
        if s["tls_out"] != "none":
            args += ["--certificate", world.dir / "mx.crt", "--key", world.dir / "mx.key"]
        self.proc = self.cgroup.popen(args, stdout=open(out, "w"), stderr=subprocess.STDOUT)
        self.event("progress")

    def read(self):
        """Takes in what the sink has said since."""
        with open(self.out) as f:
            f.seek(self.offset)
            for line in iter(f.readline, ""):
                if not line.endswith("\n"):
                    break
                self.offset += len(line)
                if not line.startswith("{"):
                    raise RuntimeError(line.strip())
                self.events.append(json.loads(line))

    def event(self, name):
        """Waits for the first event of a kind."""
        deadline = time.time() + START_SECONDS
        while time.time() < deadline:
            self.read()
            for event in self.events:
                if event["event"] == name:
                    return event
            time.sleep(0.01)
        raise TimeoutError(f"the sink did not say {name!r}")

    def done(self):
        """Nanoseconds of the last message when all are in, else None."""
        self.read()
        return next((e["last_ns"] for e in self.events if e["event"] == "complete"), None)

    def open(self):
        """Opens a sink that was started closed; returns nanoseconds when it did."""
        self.proc.send_signal(signal.SIGUSR1)
        return self.event("opened")["now_ns"]

    def wait(self, stall):
        """Nanoseconds of the last message; None if none has come for `stall` seconds."""
        last, deadline = -1, 0
        while (done := self.done()) is None:
            now = self.events[-1]["distinct"]
            if now != last:
                last, deadline = now, time.time() + stall
            if time.time() > deadline:
                return None
            time.sleep(0.02)
        return done

    def stop(self):
        """Ends it; returns its processor time and last counts."""
        self.cgroup.end()
        self.proc.wait()
        cpu = self.cgroup.cpu()
        self.cgroup.remove()
        self.read()
        return cpu, self.events[-1]


def load_args(smtpbench, s, to, rate):
    """The command that sends a scenario's messages."""
    args = [smtpbench, "load", "--to", to, "--messages", s["messages"], "--sessions", s["sessions"],
            "--size", s["size"], "--per-connection", s["per_connection"], "--rate", rate, "--domain", zone_of(s)]
    if s["route"] == "mx":
        args += ["--domains", s["domains"]]
    return args + (["--starttls"] if s["tls_in"] else [])


class Relay:
    """The program under test, driven through targets/NAME/ctl."""

    def __init__(self, spec, s, world, run, trust_anchor):
        name, _, variant = spec.partition(":")
        self.ctl = HERE / "targets" / name / "ctl"
        self.run_dir, self.mounts = run, mount_points()
        self.env = os.environ | {
            "RUN": str(run), "VARIANT": variant or "default", "LISTEN": RELAY, "SINK": SINK,
            "ROUTE": s["route"], "TLS_OUT": s["tls_out"], "TLS_IN": "1" if s["tls_in"] else "0",
            "CERT": str(world.dir / "relay.crt"), "KEY": str(world.dir / "relay.key"),
            "CONNECTIONS": str(max(s["sessions"], s["connections"])), "KIND": s["kind"],
            "TRUST_ANCHOR": str(trust_anchor),
        }
        self.version = self.call("version").strip()
        try:
            self.call("prepare")
        except subprocess.CalledProcessError:
            self.unmount()
            raise
        self.cgroup = Cgroup("relay")

    def call(self, verb):
        return sh(self.ctl, verb, env=self.env, cwd=self.run_dir)

    def start(self):
        log = open(self.run_dir / "start.log", "w")
        proc = self.cgroup.popen([self.ctl, "start"], env=self.env, cwd=self.run_dir, stdout=log, stderr=log)
        wait_banner(RELAY, proc)
        # What a daemon does after its first greeting is over by then.
        time.sleep(1)

    def queued(self):
        return int(self.call("queued"))

    def stop(self):
        stopper = self.cgroup.popen([self.ctl, "stop"], env=self.env, cwd=self.run_dir)
        try:
            stopper.wait(20)
        except subprocess.TimeoutExpired:
            pass
        self.cgroup.remove()
        self.unmount()

    def unmount(self):
        """Undoes what `ctl prepare` mounted."""
        for point in reversed(mount_points()[len(self.mounts):]):
            subprocess.run(["umount", "-l", point])


def mount_points():
    return [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
