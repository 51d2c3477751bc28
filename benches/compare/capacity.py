"""Runs unisono, Asterisk ConfBridge and Janus AudioBridge in turns under the load of `unisono load`. Called by capacity.sh."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

import capacity_docs
import documents
import scenarios
import servers
from load import LISTENERS, MOST_DEVIATION_MS, MOST_LOSS, MOST_STEAL, TROUBLE, Generator, flat, prefer, resident_kib, too_much, window_words
from scenarios import ASTERISK, EXTRAS, IDLE, JANUS, MODES, OVERLOAD, REFUSAL, SHARED, UNISONO, steps
from script import fail, run_script

# A window that was spoilt is tried again so often.
TRIES = 3
SHORT = {"unisono": UNISONO, "shared": SHARED, "asterisk": ASTERISK, "janus": JANUS}


def main():
    options = arguments()
    if options.write_docs and not options.measure:
        return write_docs(options.json)
    if options.estimate:
        return print(f"at most about {scenarios.seconds_of(options.mode, options) / 60:.0f} min")
    if os.geteuid() != 0:
        fail("run it as root: Asterisk runs in a folder of its own")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        fail("two processors are needed: one for the server, one for the load")
    bench = Bench(options, server_cpu=processors[-1], generator_cpu=processors[0])
    print(
        f"{options.rounds} rounds; servers on CPU {bench.server_cpu}, load on CPU {bench.generator.cpu};"
        f" {', '.join([*options.scenario, *options.extras])}; {', '.join(options.contestant)}\n"
        f"At most about {scenarios.seconds_of(options.mode, options) / 60:.0f} min, unless windows have to be repeated.",
        flush=True,
    )
    for number in range(bench.first_round, bench.first_round + options.rounds):
        # Nobody is always first.
        turn = number % len(options.contestant)
        order = options.contestant[turn:] + options.contestant[:turn]
        bench.attempt(number, "the kernel alone", bench.kernel)
        for key in options.scenario:
            for name in order:
                bench.turn(number, key, name)
        bench.attempt(number, "the mixer alone", bench.mixing)
        if number == bench.first_round and UNISONO in options.contestant:
            for key in options.extras:
                bench.attempt(number, key, {IDLE: bench.idle, REFUSAL: bench.refusal, OVERLOAD: bench.overload}[key])
    print(f"\n{bench.data['seconds']:.0f} s; figures in {options.json}\n")
    print(capacity_docs.terminal(bench.data))
    if options.write_docs:
        write_docs(options.json)


def arguments():
    parser = argparse.ArgumentParser(prog="capacity.sh", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--aims", action="store_true", help="only what the table of aims needs")
    mode.add_argument("--tables", action="store_true", help="every table, from one round with coarser ramps: about half an hour")
    mode.add_argument("--quick", action="store_true", help="one short round of everything, to see that it runs")
    parser.add_argument("--rounds", type=int, help="default 3, with --tables and --quick 1")
    parser.add_argument("--seconds", type=float, help="of each window, default 5, with --aims 4, with --tables 3, with --quick 2")
    parser.add_argument("--scenario", nargs="+", choices=[*scenarios.FULL, *EXTRAS], help="default all of the mode")
    parser.add_argument("--contestant", nargs="+", choices=list(SHORT), help="default all")
    parser.add_argument("--estimate", action="store_true", help="only say how long it takes")
    parser.add_argument("--json", metavar="FILE", default="target/compare/capacity.json", help="where figures are kept")
    parser.add_argument("--add", action="store_true", help="more rounds to those that are kept there, such as --aims after --tables")
    parser.add_argument("--write-docs", action="store_true", help="then write the tables of docs/capacity.md")
    parser.add_argument("--no-measure", dest="measure", action="store_false", help="with --write-docs: from the figures kept")
    parser.add_argument("--unisono", default="target/release/unisono", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.mode_name = next((name for name in ("quick", "tables", "aims") if getattr(options, name)), "full")
    options.mode = MODES[options.mode_name]
    options.plan = options.mode.plan
    options.rounds = options.mode.rounds if options.rounds is None else options.rounds
    options.seconds = options.mode.seconds if options.seconds is None else options.seconds
    options.extras = [key for key in options.mode.extras if key in (options.scenario or EXTRAS)]
    options.scenario = [key for key in options.plan if key in (options.scenario or options.plan)]
    options.contestant = [name for short, name in SHORT.items() if short in (options.contestant or SHORT)]
    if options.rounds < 1 or not 2 <= options.seconds <= 600:
        parser.error("at least 1 round, and windows of 2 to 600 s")
    if not options.scenario and not options.extras:
        parser.error(f"--{options.mode_name} has none of these scenarios")
    return options


class Bench:
    def __init__(self, options, server_cpu, generator_cpu):
        self.options, self.server_cpu = options, server_cpu
        self.generator = Generator(options.unisono, generator_cpu)
        self.begun = time.monotonic()
        self.data = {
            "schema": "unisono-capacity/1",
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "mode": options.mode_name,
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
            "idle": [],
            "refusal": [],
            "overload": [],
            "failures": [],
            "durations": [],
            "seconds": 0.0,
        }
        self.first_round, self.seconds_before = 0, 0.0
        if options.add:
            self.go_on(options)

    def go_on(self, options):
        """Figures of this machine that were kept, to which more rounds are added."""
        with open(options.json) as source:
            kept = json.load(source)
        # Who is not called this time has no version.
        known = {name: version for name, version in self.data["versions"].items() if version}
        for key, now in (self.data | {"versions": kept["versions"] | known}).items():
            if key in ("schema", "machine", "versions", "limits") and kept[key] != now:
                raise ValueError(f"{options.json} is of another {key}: {kept[key]}; leave --add out, or name another file with --json")
        self.first_round, self.seconds_before = kept["rounds"], kept["seconds"]
        kept["rounds"] += options.rounds
        kept["added"] = kept.get("added", "") + f" (of which {options.rounds} of the mode --{options.mode_name})"
        self.data = kept | {"scenarios": kept["scenarios"] | self.data["scenarios"]}

    def turn(self, number, key, name):
        scenario = self.options.plan[key]
        wanted = scenario.turns.get(name)
        if wanted is None:
            return
        about = {"round": number + 1, "scenario": key, "contestant": name}
        # A window that fails takes nothing from the others.
        for callers in wanted.callers:
            self.guard(about, lambda: self.windows(about, scenario, name, callers))
        if wanted.ramp:
            self.guard(about, lambda: self.ramp(about, scenario, name, *wanted.ramp))

    def attempt(self, number, what, measure):
        """Something that is no scenario's."""
        self.guard({"round": number + 1, "contestant": what}, lambda: measure(number))

    def guard(self, about, measure):
        """Whatever goes wrong is told and kept; the run goes on."""
        begun = time.monotonic()
        try:
            measure()
        except TROUBLE as error:
            self.failed(about, f"{type(error).__name__}: {error}")
        self.data["durations"].append(about | {"seconds": round(time.monotonic() - begun, 1)})
        self.save()

    def failed(self, about, why):
        self.data["failures"].append(about | {"why": why[-300:]})
        self.tell(about, f"FAILED: {why}")

    def windows(self, about, scenario, name, callers):
        """One window that counts, of a server begun for it; those that were stolen from are kept and marked."""
        for _ in range(TRIES):
            start = lambda: self.start(name, scenario, refusing=callers < scenarios.REFUSES_BELOW)
            figures = self.generator.measure(start, scenario, callers, self.options.seconds) | about
            self.data["windows"].append(figures)
            self.tell(about, window_words(figures))
            if not figures["left_out"]:
                return

    def ramp(self, about, scenario, name, first, last, factor):
        """More and more callers, until they are too many twice in succession."""
        # Janus sends no more to whom it once sent in vain, as it does between two steps: there everybody joins a new one each time.
        server = None if name == JANUS else self.start(name, scenario, refusing=False)
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
                figures = self.generator.window(called, scenario, callers, max(self.options.seconds - 1, 2))
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

    def start(self, name, scenario, refusing=True):
        """Where it is to be seen how many are too many, ours must not refuse calls before it is full, as others do not."""
        if name in (UNISONO, SHARED):
            server = servers.Unisono(self.options.unisono, self.server_cpu, shared=name == SHARED, refusing=refusing)
        elif name == ASTERISK:
            server = servers.Asterisk(self.server_cpu, scenario.codec)
        else:
            server = servers.Janus(self.server_cpu, scenario.codec)
        prefer(server.pid)
        return server

    def kernel(self, number):
        """Bare loops and the like: what the system calls alone cost."""
        if UNISONO not in self.options.contestant:
            return
        pins = ["--server-cpu", str(self.server_cpu), "--generator-cpu", str(self.generator.cpu)]
        rounds = "1" if self.options.quick else "3"
        command = ["cargo", "bench", "--quiet", "--bench", "sockets", "--", "--json", "--rounds", rounds, *pins]
        found = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if found.returncode != 0:
            raise RuntimeError(found.stderr.strip() or f"cargo bench ended with status {found.returncode}")
        text = found.stdout[found.stdout.index("{") :]
        for result in json.loads(text)["results"]:
            about = {"round": number + 1, "contestant": result["name"]}
            if result.get("refused"):
                print(f"round {number + 1}, {result['name']}: {result['refused']}", flush=True)
                continue
            if result["ns_per_frame"] is None:
                self.failed(about, "datagrams were missing in every round: the generator was kept from sending them in time")
                continue
            self.data["kernel"].append(result | {"round": number + 1})
            print(f"round {number + 1}, {result['name']}: {result['ns_per_frame'] / 1000:.2f} us a frame", flush=True)

    def mixing(self, number):
        """What a tick of the mixer alone takes: 1,000 legs, 3 talkers, and what the others do."""
        if UNISONO not in self.options.contestant:
            return
        command = ["taskset", "-c", str(self.server_cpu), "cargo", "bench", "--quiet", "-p", "unisono-mixer", "--bench", "mix"]
        command += ["--", "--warm-up-time", "0.5", "--measurement-time", "1", "tick/8000/3-talk-.*/1000"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=300)
        units = {"ns": 1e-3, "us": 1.0, "µs": 1.0, "ms": 1e3}
        line = r"(\S*3-talk-(\w+)/1000)\s+time:\s+\[\S+ \S+ (\S+) (\S+) \S+ \S+\]"
        for _, others, value, unit in re.findall(line, found.stdout):
            self.data["mixing"].append({"round": number + 1, "others": others, "us": float(value) * units[unit]})
            print(f"round {number + 1}, mixing alone, {others}: {value} {unit} a tick", flush=True)
        if not re.search(line, found.stdout):
            raise RuntimeError(found.stderr.strip() or "the benchmark gave no figures")

    def idle(self, number):
        """What conferences of nobody take."""
        server = servers.Unisono(self.options.unisono, self.server_cpu, conferences=scenarios.IDLE_CONFERENCES)
        try:
            # What it does once, such as writing its log, is over.
            time.sleep(1)
            before, begun = processor_seconds(server.pid), time.monotonic()
            time.sleep(scenarios.IDLE_SECONDS)
            used, passed = processor_seconds(server.pid) - before, time.monotonic() - begun
            kib = resident_kib(server.pid)
        finally:
            server.stop()
        found = {"round": number + 1, "conferences": scenarios.IDLE_CONFERENCES, "cpu_percent": 100 * used / passed, "resident_kib": kib}
        self.data["idle"].append(found)
        print(f"round {number + 1}, {found['conferences']} idle conferences: {found['cpu_percent']:.2f} % of a core, {kib} KiB", flush=True)

    def refusal(self, number):
        """From how many callers on a server refuses calls that has no configuration for that, and how those fare who are in."""
        server = servers.Unisono(self.options.unisono, self.server_cpu)
        prefer(server.pid)
        try:
            step, verdict = self.grow(server, scenarios.FULL["one"], self.options.mode.refusal, "p99-ms=100000,loss=100")
        finally:
            server.stop()
        found = flat(step, verdict) | {"round": number + 1}
        found["refused"] = bool(step["callers"]["failed"])
        self.data["refusal"].append(found)
        print(f"round {number + 1}, as configured by default: {found['connected']} in, {found['failed'] or 'nobody refused'}", flush=True)

    def overload(self, number):
        """More than the server can do, with and without what it gives up then."""
        scenario = scenarios.SPEECH
        server = self.unbound()
        try:
            step, verdict = self.grow(server, scenario, self.options.mode.overload, "p99-ms=10,loss=0.1")
        finally:
            server.stop()
        held = verdict.get("held_callers") or verdict["callers"]
        for share in scenarios.OVERLOAD_SHARES:
            for measures in (False, True):
                # Whole conferences.
                callers = round(held * share / scenario.size) * scenario.size
                self.overloaded(number, scenario, held, callers, share, measures)
        print(f"round {number + 1}, overload: {held} held, {verdict.get('sentence', 'did not break')}", flush=True)

    def overloaded(self, number, scenario, held, callers, share, measures):
        server = self.unbound()
        watch = Overload(server, callers, measures)
        how = ["--callers", str(callers), "--listen-to", str(LISTENERS), "--until", "p99-ms=100000,loss=100"]
        how += ["--warm-up", str(scenarios.OVERLOAD_SETTLE), "--seconds", str(scenarios.OVERLOAD_WINDOW)]
        try:
            found = self.generator.call(server, scenario, how, 120 + callers / 50, watch)
        finally:
            server.stop()
        figures = flat(found["steps"][-1], found["verdict"])
        figures |= {"round": number + 1, "held": held, "callers": callers, "share": share, "measures": measures, "course": watch.course}
        self.data["overload"].append(figures)
        end = watch.course[-1] if watch.course else None
        said = f"{end['level']} at a load of {100 * end['load']:.0f} %" if end else "the server did not say how it is"
        with_ = "with" if measures else "without"
        print(f"round {number + 1}, overload, {callers} callers {with_} measures: {said}, loss {figures['loss_percent']:.2f} %", flush=True)

    def unbound(self):
        """A server of which only the media worker is kept to its CPU, so that calls are answered while that is full; it refuses none."""
        server = servers.Unisono(self.options.unisono, self.server_cpu, refusing=False, control_cpu=self.generator.cpu)
        prefer(server.pid)
        return server

    def grow(self, server, scenario, ramp, until):
        """More and more callers who stay, until something breaks: the last step, and the verdict."""
        first, last, factor = ramp
        how = ["--ramp", f"{first}:{last}:x{factor}", "--listen-to", "0", "--until", until]
        how += ["--warm-up", str(scenarios.RAMP_SETTLE), "--seconds", str(scenarios.RAMP_WINDOW)]
        found = self.generator.call(server, scenario, how, 300 + last / 50)
        return found["steps"][-1], found["verdict"]

    def tell(self, about, words):
        where = ", ".join(str(about[key]) for key in ("scenario", "contestant") if key in about)
        print(f"round {about['round']}, {where}: {words}", flush=True)

    def save(self):
        self.data["seconds"] = self.seconds_before + time.monotonic() - self.begun
        os.makedirs(os.path.dirname(self.options.json) or ".", exist_ok=True)
        with open(self.options.json, "w") as out:
            json.dump(self.data, out, indent=1)


class Overload:
    """Waits until everybody has called, sets the usual thresholds if wanted, and notes what the worker gives up."""

    THRESHOLDS = {"refuse_above": 80, "trim_above": 90, "shed_above": 97}

    def __init__(self, server, callers, measures):
        self.server, self.callers, self.measures = server, callers, measures
        self.begun = None
        # Since everybody was there: s, level, load, legs that are decoded now and then only.
        self.course = []

    def __call__(self):
        now = self.server.overload()
        if now is None or not now["workers"]:
            return
        worker = now["workers"][0]
        if self.begun is None and worker["legs"] < self.callers:
            return
        if self.begun is None:
            self.begun = time.monotonic()
            if self.measures:
                self.server.overload(self.THRESHOLDS)
        # When callers leave, it is over.
        if worker["legs"] >= self.callers:
            seconds = time.monotonic() - self.begun
            self.course.append({"seconds": seconds, "level": worker["level"], "load": worker["load"], "dozing": worker["dozing_legs"]})


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as source:
        fields = source.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write_docs(figures):
    with open(figures) as source:
        data = json.load(source)
    for path in capacity_docs.write(data):
        print(f"{path}: tables written")


if __name__ == "__main__":
    run_script(main)
