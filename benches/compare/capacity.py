"""Runs unisono, Asterisk ConfBridge and Janus AudioBridge in turns under the load of `unisono load`. Called by capacity.sh."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import capacity_docs
import documents
import scenarios
import servers
from scenarios import ASTERISK, JANUS, SHARED, UNISONO

# Beyond this, percent of all processor time, a window's steal makes it worthless.
MOST_STEAL = 1.5
# What a participant can bear: 99th percentile of the deviation from the packet time, and loss.
MOST_DEVIATION_MS, MOST_LOSS = 10.0, 0.1
# A window that was spoilt is tried again so often.
TRIES = 3
LISTENERS = 10
SHORT = {"unisono": UNISONO, "shared": SHARED, "asterisk": ASTERISK, "janus": JANUS}
# Weight of the groups of server and generator against whatever else runs.
GROUP_NICE = -10


def main():
    options = arguments()
    if options.write_docs and not options.measure:
        return write_docs(options.json)
    if os.geteuid() != 0:
        fail("run it as root: Asterisk runs in a folder of its own")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        fail("two processors are needed: one for the server, one for the load")
    bench = Bench(options, server_cpu=processors[-1], generator_cpu=processors[0])
    print(
        f"{options.rounds} rounds; servers on CPU {bench.server_cpu}, load on CPU {bench.generator_cpu};"
        f" {', '.join(options.scenario)}; {', '.join(options.contestant)}",
        flush=True,
    )
    for number in range(options.rounds):
        # Nobody is always first.
        turn = number % len(options.contestant)
        order = options.contestant[turn:] + options.contestant[:turn]
        bench.kernel(number)
        for key in options.scenario:
            for name in order:
                bench.turn(number, key, name)
        bench.mixing(number)
    print(f"\n{bench.data['seconds']:.0f} s; figures in {options.json}\n")
    print(capacity_docs.terminal(bench.data))
    if options.write_docs:
        write_docs(options.json)


def arguments():
    parser = argparse.ArgumentParser(prog="capacity.sh", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--aims", action="store_true", help="only what the table of aims needs: at most 12 minutes for 3 rounds")
    mode.add_argument("--quick", action="store_true", help="one short round of everything, to see that it runs: about 5 minutes")
    parser.add_argument("--rounds", type=int, help="default 3, with --quick 1")
    parser.add_argument("--seconds", type=float, help="of each window, default 5, with --aims 4, with --quick 2")
    parser.add_argument("--scenario", nargs="+", choices=list(scenarios.FULL), help="default all of the mode")
    parser.add_argument("--contestant", nargs="+", choices=list(SHORT), help="default all")
    parser.add_argument("--json", metavar="FILE", default="target/compare/capacity.json", help="where figures are kept")
    parser.add_argument("--write-docs", action="store_true", help="then write the tables of docs/capacity.md")
    parser.add_argument("--no-measure", dest="measure", action="store_false", help="with --write-docs: from the figures kept")
    parser.add_argument("--unisono", default="target/release/unisono", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.plan = scenarios.QUICK if options.quick else scenarios.AIMS if options.aims else scenarios.FULL
    options.mode = "quick" if options.quick else "aims" if options.aims else "full"
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or {"quick": 2.0, "aims": 4.0, "full": 5.0}[options.mode]
    options.scenario = [key for key in options.plan if key in (options.scenario or options.plan)]
    options.contestant = [name for short, name in SHORT.items() if short in (options.contestant or SHORT)]
    if options.rounds < 1 or not 2 <= options.seconds <= 600:
        parser.error("at least 1 round, and windows of 2 to 600 s")
    return options


class Bench:
    def __init__(self, options, server_cpu, generator_cpu):
        self.options, self.server_cpu, self.generator_cpu = options, server_cpu, generator_cpu
        self.begun = time.monotonic()
        self.data = {
            "schema": "unisono-capacity/1",
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "mode": options.mode,
            "rounds": options.rounds,
            "window_seconds": options.seconds,
            "machine": documents.machine(),
            "versions": {
                UNISONO: servers.Unisono.version(options.unisono),
                ASTERISK: servers.Asterisk.version() if ASTERISK in options.contestant else None,
                JANUS: servers.Janus.version() if JANUS in options.contestant else None,
            },
            "limits": {"steal_percent": MOST_STEAL, "deviation_ms": MOST_DEVIATION_MS, "loss_percent": MOST_LOSS},
            "scenarios": {key: options.plan[key].title for key in options.scenario},
            "windows": [],
            "ramps": [],
            "kernel": [],
            "mixing": [],
            "failures": [],
            "seconds": 0.0,
        }

    def turn(self, number, key, name):
        scenario = self.options.plan[key]
        wanted = scenario.turns.get(name)
        if wanted is None:
            return
        about = {"round": number + 1, "scenario": key, "contestant": name}
        try:
            for callers in wanted.callers:
                self.windows(about, scenario, name, callers)
            if wanted.ramp:
                self.ramp(about, scenario, name, *wanted.ramp)
        except (OSError, RuntimeError, ValueError, KeyError, subprocess.SubprocessError) as error:
            self.data["failures"].append(about | {"why": f"{type(error).__name__}: {error}"})
            self.tell(about, f"FAILED: {error}")
        self.save()

    def windows(self, about, scenario, name, callers):
        """One window that counts, of a server begun for it; those that were stolen from are kept and marked."""
        for _ in range(TRIES):
            server = self.start(name, scenario)
            try:
                before = resident_kib(server.pid)
                figures = self.load(server, scenario, callers, self.options.seconds)
            finally:
                server.stop()
            figures |= about | {"callers": callers, "left_out": figures["steal_percent"] > MOST_STEAL}
            if figures["resident_kib"] and figures["connected"]:
                figures["memory_kib"] = (figures["resident_kib"] - before) / figures["connected"]
            self.data["windows"].append(figures)
            self.tell(about, window_words(figures))
            if not figures["left_out"]:
                return

    def ramp(self, about, scenario, name, first, last, factor):
        """More and more callers, until they are too many twice in succession."""
        # Janus sends no more to whom it once sent in vain, as it does between two steps: there everybody joins a new one each time.
        server = None if name == JANUS else self.start(name, scenario)
        record = about | {"held": None, "broke": None, "why": None, "by_generator": False, "left_out": False, "steps": []}
        try:
            for callers in steps(first, last, factor):
                found = self.worst_of_two(server, name, scenario, callers, record)
                if found["why"] is None:
                    record["held"] = callers
                    continue
                record |= {"broke": callers, "why": found["why"], "left_out": found["steal_percent"] > MOST_STEAL}
                record["by_generator"] = found["criterion"] == "generator"
                break
        finally:
            if server:
                server.stop()
        self.data["ramps"].append(record)
        end = f"broke at {record['broke']}: {record['why']}" if record["broke"] else "did not break"
        self.tell(about, f"held {record['held']}, {end}")

    def worst_of_two(self, server, name, scenario, callers, record):
        """A step; one that is too much is tried again, as any machine stalls at times."""
        for trial in range(TRIES):
            called = server or self.start(name, scenario)
            try:
                figures = self.load(called, scenario, callers, max(self.options.seconds - 1, 2))
            except (RuntimeError, subprocess.SubprocessError) as error:
                # So many cannot even be connected.
                figures = {"why": str(error), "steal_percent": 0.0, "criterion": "calls"}
            else:
                figures["why"] = too_much(figures)
            finally:
                if called is not server:
                    called.stop()
            record["steps"].append(figures | {"callers": callers})
            if figures["why"] is None or (trial > 0 and figures["steal_percent"] <= MOST_STEAL):
                break
        return figures

    def start(self, name, scenario):
        if name in (UNISONO, SHARED):
            server = servers.Unisono(self.options.unisono, self.server_cpu, shared=name == SHARED)
        elif name == ASTERISK:
            server = servers.Asterisk(self.server_cpu, scenario.codec)
        else:
            server = servers.Janus(self.server_cpu, scenario.codec)
        prefer(server.pid)
        return server

    def load(self, server, scenario, callers, seconds):
        """Calls the server, and returns the figures of the report's only step."""
        if isinstance(server, servers.Janus):
            server.gather(callers, scenario.size, scenario.codecs())
        with tempfile.TemporaryDirectory() as folder:
            report = os.path.join(folder, "report.json")
            command = [
                *("setpriv", "--pdeathsig", "KILL", "--", "taskset", "-c", str(self.generator_cpu)),
                *(self.options.unisono, "load", server.target, "--callers", str(callers)),
                *(("--per-conference", str(scenario.size)) if scenario.size else ("--conferences", "1")),
                *("--codec", scenario.codec, "--talk", scenario.talk, "--listen-to", str(LISTENERS)),
                *("--seconds", str(seconds), "--warm-up", "2", "--pid", str(server.pid), "--json", report),
                *("--threads", "1", "--cpus", str(self.generator_cpu)),
            ]
            run = subprocess.Popen(
                ["sh", "-c", 'ulimit -S -n "$(ulimit -H -n)"; exec "$0" "$@"', *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            prefer(run.pid)
            try:
                _, said = run.communicate(timeout=60 + seconds + callers / 20)
            except BaseException:
                run.kill()
                run.communicate()
                raise
            if not server.alive():
                raise RuntimeError(f"{server.name} ended by itself")
            if not os.path.exists(report):
                raise RuntimeError(f"unisono load: {said.strip()[-300:]}")
            with open(report) as source:
                found = json.load(source)
            return flat(found["steps"][-1], found["verdict"])

    def kernel(self, number):
        """The bare loops: what the system calls alone cost."""
        if UNISONO not in self.options.contestant:
            return
        pins = ["--server-cpu", str(self.server_cpu), "--generator-cpu", str(self.generator_cpu)]
        rounds = "1" if self.options.quick else "3"
        command = ["cargo", "bench", "--quiet", "--bench", "sockets", "--", "--json", "--rounds", rounds, *pins]
        found = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if found.returncode != 0:
            self.data["failures"].append({"round": number + 1, "contestant": "kernel", "why": found.stderr.strip()[-300:]})
            return
        text = found.stdout[found.stdout.index("{") :]
        for result in json.loads(text)["results"]:
            self.data["kernel"].append(result | {"round": number + 1})
            print(f"round {number + 1}, {result['name']}: {result['ns_per_frame'] / 1000:.2f} us a frame", flush=True)
        self.save()

    def mixing(self, number):
        """What a tick of the mixer alone takes: 1,000 legs, 3 talkers, the others noise below the gate."""
        if UNISONO not in self.options.contestant:
            return
        command = ["taskset", "-c", str(self.server_cpu), "cargo", "bench", "--quiet", "-p", "unisono-mixer", "--bench", "mix"]
        command += ["--", "--warm-up-time", "0.5", "--measurement-time", "1", "tick/8000/3-talk-.*/1000"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=300)
        units = {"ns": 1e-3, "us": 1.0, "µs": 1.0, "ms": 1e3}
        line = r"(\S*3-talk-(\w+)/1000)\s+time:\s+\[\S+ \S+ (\S+) (\S+) \S+ \S+\]"
        for _, others, value, unit in re.findall(line, found.stdout):
            self.data["mixing"].append({"round": number + 1, "others": others, "us": float(value) * units[unit]})
        if not re.search(line, found.stdout):
            self.data["failures"].append({"round": number + 1, "contestant": "mixing", "why": found.stderr.strip()[-300:]})
        self.save()

    def tell(self, about, words):
        print(f"round {about['round']}, {about['scenario']}, {about['contestant']}: {words}", flush=True)

    def save(self):
        self.data["seconds"] = time.monotonic() - self.begun
        os.makedirs(os.path.dirname(self.options.json) or ".", exist_ok=True)
        with open(self.options.json, "w") as out:
            json.dump(self.data, out, indent=1)


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


def steps(first, last, factor):
    callers = first
    while callers < last:
        yield callers
        callers = min(max(round(callers * factor), callers + 1), last)
    yield last


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


def write_docs(figures):
    with open(figures) as source:
        data = json.load(source)
    capacity_docs.write("docs/capacity.md", data)
    print("docs/capacity.md: tables written")


def fail(reason):
    print(f"capacity.sh: {reason}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        fail(error)
