"""The load of capacity.py and builds.py: what is asked of `unisono load`, what its report says, and how much is too much."""

import json
import os
import subprocess
import tempfile
import time

import servers

# Beyond this, percent of all processor time, a window's steal makes it worthless.
MOST_STEAL = 1.5
# What a participant can bear: 99th percentile of the deviation from the packet time, and loss.
MOST_DEVIATION_MS, MOST_LOSS = 10.0, 0.1
LISTENERS = 10
# What goes wrong outside of this program, and costs a window but not the run.
TROUBLE = (OSError, RuntimeError, ValueError, LookupError, subprocess.SubprocessError)
# Weight of the groups of server and generator against whatever else runs.
GROUP_NICE = -10


class Generator:
    """`unisono load` by the program at this path, on one CPU."""

    def __init__(self, program, cpu):
        self.program, self.cpu = program, cpu

    def measure(self, start, scenario, callers, seconds):
        """One window of a server begun for it by `start`: the figures, what memory each took, and whether they are worth something."""
        server = start()
        try:
            before = resident_kib(server.pid)
            figures = self.window(server, scenario, callers, seconds)
        finally:
            server.stop()
        figures |= {"callers": callers, "left_out": figures["steal_percent"] > MOST_STEAL, "why": too_much(figures)}
        if figures["resident_kib"] and figures["connected"]:
            figures["memory_kib"] = (figures["resident_kib"] - before) / figures["connected"]
        return figures

    def window(self, server, scenario, callers, seconds):
        """Calls the server, and returns the figures of the report's only step."""
        if isinstance(server, servers.Janus):
            server.gather(callers, scenario.size, scenario.codecs())
        sharers = Sharers(server, callers) if getattr(server, "shared", False) else None
        how = ["--callers", str(callers), "--listen-to", str(LISTENERS), "--seconds", str(seconds), "--warm-up", "2"]
        found = self.call(server, scenario, how, 60 + seconds + callers / 50, sharers)
        figures = flat(found["steps"][-1], found["verdict"])
        if sharers and (sharers.legs == 0 or sharers.shared < sharers.legs):
            raise LookupError(f"{sharers.shared:.0f} of {sharers.legs:.0f} callers were on the shared port: it is another server that was measured")
        return figures

    def call(self, server, scenario, how, most_seconds, watch=None):
        """Runs `unisono load` against the server, calls `watch` meanwhile, and returns the report."""
        with tempfile.TemporaryDirectory() as folder:
            report, said = os.path.join(folder, "report.json"), os.path.join(folder, "said")
            command = [
                *("setpriv", "--pdeathsig", "KILL", "--", "taskset", "-c", str(self.cpu)),
                *(self.program, "load", server.target, *how),
                *(("--per-conference", str(scenario.size)) if scenario.size else ("--conferences", "1")),
                *("--codec", scenario.codec, "--talk", scenario.talk, *(("--noise",) if scenario.noise else ())),
                *("--pid", str(server.pid), "--json", report, "--threads", "1", "--cpus", str(self.cpu)),
            ]
            with open(said, "w") as log:
                run = subprocess.Popen(
                    ["sh", "-c", 'ulimit -S -n "$(ulimit -H -n)"; exec "$0" "$@"', *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,
                )
            prefer(run.pid)
            try:
                wait(run, most_seconds, watch)
            finally:
                if run.poll() is None:
                    run.kill()
                    run.wait()
            if not server.alive():
                raise RuntimeError(f"{server.name} ended by itself")
            if not os.path.exists(report):
                with open(said) as log:
                    raise RuntimeError(f"unisono load: {log.read().strip()[-300:]}")
            with open(report) as source:
                return json.load(source)


class Sharers:
    """Sees who is on the shared port, until all have called: a server asked while it is measured would be disturbed. One that is full
    may have no time to answer; then what it said before holds."""

    def __init__(self, server, callers):
        self.server, self.callers = server, callers
        self.legs, self.shared = 0, 0

    def __call__(self):
        if self.legs < self.callers:
            self.legs, self.shared = self.server.metrics("unisono_legs", "unisono_shared_port_legs") or (self.legs, self.shared)


def wait(run, most_seconds, watch):
    """Until the process ends; `watch` is called four times a second."""
    deadline = time.monotonic() + most_seconds
    while run.poll() is None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise subprocess.TimeoutExpired("unisono load", most_seconds)
        try:
            run.wait(min(left, 0.25) if watch else left)
        except subprocess.TimeoutExpired:
            if watch:
                watch()


def flat(step, verdict):
    """The figures of a report's step that tables have."""
    streams, generator = step["streams"], step["generator"]
    packets, process, ear, hearing = streams["packets"], step["process"], step["mouth_to_ear"], step["hearing"]
    expected = packets["received"] + packets["lost"]
    connected = step["callers"]["connected"]
    right = hearing and not (hearing["missing"] or hearing["strangers"] or hearing["own_voice"])
    return {
        "connected": connected,
        "asked": step["callers"]["asked"],
        "failed": "; ".join(f"{failure['count']} x {failure['reason']}" for failure in step["callers"]["failed"]),
        "cpu_us": process and process["cpu_us_per_participant_frame"],
        "cpu_percent": process and process["cpu_percent"],
        "resident_kib": process and process["rss_kib"],
        "memory_kib": None,
        "threads": process and process["threads"],
        "deviation_p50_ms": streams["deviation_us"]["p50"] / 1000,
        "deviation_p99_ms": streams["deviation_us"]["p99"] / 1000,
        "deviation_max_ms": streams["deviation_us"]["max"] / 1000,
        "loss_percent": 100 * packets["lost"] / expected if expected else 100.0,
        "silent": streams["silent"],
        "ear_p50_ms": ear["delay_ms"]["p50"] if ear and ear["delay_ms"]["count"] else None,
        "ear_p99_ms": ear["delay_ms"]["p99"] if ear and ear["delay_ms"]["count"] else None,
        "heard_right": bool(right) if hearing else None,
        "wrong": "; ".join(hearing["wrong"][:3]) if hearing else "",
        "missing": hearing["missing"] if hearing else None,
        "expected": hearing["expected"] if hearing else None,
        "generator_late_p99_ms": generator["lateness_us"]["p99"] / 1000,
        "generator_cpu_percent": generator["cpu_percent"],
        "generator_drops": generator["receive_drops"],
        "steal_percent": generator["steal_percent"],
        "criterion": verdict.get("criterion"),
        "verdict": verdict.get("sentence"),
    }


def too_much(figures):
    """Why a step is too much, or None."""
    if figures["criterion"] == "generator":
        return figures["verdict"]
    if figures["connected"] < figures["asked"]:
        return f"{figures['asked'] - figures['connected']} calls failed ({figures['failed']})"
    if figures["loss_percent"] > MOST_LOSS:
        return f"loss {figures['loss_percent']:.2f} %"
    if figures["deviation_p99_ms"] > MOST_DEVIATION_MS:
        return f"p99 deviation {figures['deviation_p99_ms']:.1f} ms"
    return None


def window_words(figures):
    said = f"{figures['callers']} callers"
    if figures["left_out"]:
        return f"{said}: left out, steal {figures['steal_percent']:.1f} %"
    for name, key, unit in (
        ("", "cpu_us", "us a frame"),
        ("deviation p99 ", "deviation_p99_ms", "ms"),
        ("mouth to ear p99 ", "ear_p99_ms", "ms"),
        ("", "memory_kib", "KiB each"),
    ):
        if figures[key] is not None:
            said += f", {name}{figures[key]:.2f} {unit}"
    if figures["loss_percent"]:
        said += f", loss {figures['loss_percent']:.2f} %"
    if figures["heard_right"] is False:
        said += f", heard wrong ({figures['wrong']})"
    return said


def prefer(pid):
    """Gives a session's processes weight against whatever else runs, where the kernel groups them."""
    try:
        with open(f"/proc/{pid}/autogroup", "w") as group:
            group.write(str(GROUP_NICE))
    except OSError:
        # Not every kernel does; CPUs of their own are what counts.
        pass


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as source:
        return next(int(line.split()[1]) for line in source if line.startswith("VmRSS:"))
