"""Runs DAHDI's dahdi_test under `unisono dahdi` some times, idle and with every processor busy. Called by dahdi_test.sh."""

import argparse
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

import documents
from documents import spread
from script import fail, run_script

TOOL = "target/peers/dahdi/usr/sbin/dahdi_test"
DOCUMENT = "docs/dahdi.md"
# What dahdi_test measures at a time, s: 8192 samples.
PASS = 1.024
FIGURES = ("best", "worst", "average", "cumulative")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments()
    if not options.measure:
        return write_docs(options.json)
    data = {
        "schema": "unisono-dahdi_test/1",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": " ".join(["benches/compare/dahdi_test.sh", *sys.argv[3:]]),
        "machine": documents.machine(),
        "passes": options.passes,
        "grant": None,
        "runs": [],
    }
    for number in range(options.runs):
        for busy in (False, True):
            run = measure(options, data, busy)
            data["runs"].append(run)
            seen = ", ".join(f"{key} {run[key]:.3f}" for key in FIGURES)
            print(f"run {number + 1}, {state(busy)}: {seen}; steal {run['steal_percent']:.2f} %", flush=True)
    os.makedirs(os.path.dirname(options.json) or ".", exist_ok=True)
    with open(options.json, "w") as out:
        json.dump(data, out, indent=1)
    print(f"\n{words(data)}\n\nfigures in {options.json}")
    if options.write_docs:
        write_docs(options.json)


def arguments():
    parser = argparse.ArgumentParser(prog="dahdi_test.sh", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each kind, default 5")
    parser.add_argument("--passes", type=int, default=20, help="of each run, of about a second, default 20")
    parser.add_argument("--json", metavar="FILE", default="target/compare/dahdi_test.json", help="where figures are kept")
    parser.add_argument("--write-docs", action="store_true", help=f"then write the table of {DOCUMENT}")
    parser.add_argument("--no-measure", dest="measure", action="store_false", help="with --write-docs: from the figures kept")
    parser.add_argument("--built", default="target/release", help=argparse.SUPPRESS)
    options = parser.parse_args()
    # The first pass is not counted.
    if options.runs < 1 or options.passes < 4:
        parser.error("at least 1 run of 4 passes")
    if not options.measure and not options.write_docs:
        parser.error("--no-measure without --write-docs does nothing")
    return options


def measure(options, data, busy):
    """One run, with what the host stole and how a sleeping thread fared meanwhile."""
    load = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count() if busy else 0)]
    for process in load:
        process.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return run(options, data, folder) | {"busy": busy}
    finally:
        for process in load:
            process.kill()
            process.join()


def run(options, data, folder):
    unisono = os.path.abspath(f"{options.built}/unisono")
    environment = os.environ | {
        "UNISONO_DAHDI_DIR": folder,
        "UNISONO_DAHDI_LIBRARY": os.path.abspath(f"{options.built}/libunisono_dahdi.so"),
    }
    sleeper = Sleeper()
    stolen, total = documents.processor_ticks()
    sleeper.start()
    test = subprocess.Popen(
        [unisono, "dahdi", "--", TOOL, "-v", "-c", str(options.passes)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Weighed by the scheduler as a group of its own.
        start_new_session=True,
    )
    try:
        time.sleep(2 * PASS)
        data["grant"] = data["grant"] or grant(unisono, environment)
        printed, _ = test.communicate(timeout=3 * PASS * options.passes + 60)
    except subprocess.TimeoutExpired:
        fail("dahdi_test does not end")
    finally:
        test.kill()
        sleeper.wanted = False
        sleeper.join()
    stolen_now, total_now = documents.processor_ticks()
    if test.returncode != 0:
        fail(f"dahdi_test ended with status {test.returncode}:\n{printed}")
    found = re.search(r"Best: ([\d.]+)% -- Worst: (-?[\d.]+)% -- Average: (-?[\d.]+)%\s+Cumulative Accuracy \(not per pass\): (-?[\d.]+)", printed)
    if not found:
        fail(f"dahdi_test printed no results:\n{printed}")
    return dict(zip(FIGURES, map(float, found.groups()))) | {
        "sleeper_worst": min(sleeper.found),
        "sleeper_average": sum(sleeper.found) / len(sleeper.found),
        "steal_percent": 100 * (stolen_now - stolen) / max(total_now - total, 1),
        "printed": printed,
    }


class Sleeper(threading.Thread):
    """A thread of normal priority that sleeps from one moment to the next and measures its seconds as dahdi_test does."""

    def __init__(self):
        super().__init__(daemon=True)
        self.wanted = True
        self.found = []

    def run(self):
        before = time.monotonic()
        due = before
        while self.wanted:
            due += PASS
            time.sleep(max(due - time.monotonic(), 0))
            now = time.monotonic()
            self.found.append(100 * (1 - abs(now - before - PASS) / PASS))
            before = now


def spin():
    """Until its parent has gone, however that ended."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = os.getppid()
    while os.getppid() == parent:
        for _ in range(100_000):
            pass


def grant(unisono, environment):
    """What the system gave the library's threads, as `unisono dahdi status` says."""
    asked = subprocess.run([unisono, "dahdi", "status", "--json"], capture_output=True, text=True, env=environment, timeout=30)
    processes = json.loads(asked.stdout)["directories"][0]["processes"]
    return processes[0]["grant"] if processes else None


def words(data):
    facts = [
        f"{data['date']}; {documents.machine_words(data['machine'])}.",
        f"`{data['command']}`: {len(data['runs'])} runs of `unisono dahdi -- dahdi_test -v -c {data['passes']}`.",
        f"The library's threads: {data['grant'] or 'not asked'}; dahdi_test and the sleeping thread: normal priority.",
    ]
    titles = ["percent", *FIGURES, "a sleeping thread: worst", "its average", "steal"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for busy in (False, True):
        runs = [run for run in data["runs"] if run["busy"] == busy]
        cells = [spread([run[key] for run in runs], 3) for key in (*FIGURES, "sleeper_worst", "sleeper_average")]
        cells.append(spread([run["steal_percent"] for run in runs], 2))
        lines.append(f"| {state(busy)} | " + " | ".join(cells) + " |")
    return "\n".join(f"* {fact}" for fact in facts) + "\n\n" + "\n".join(lines)


def state(busy):
    return "every processor busy" if busy else "idle"


def write_docs(figures):
    with open(figures) as source:
        documents.replace(DOCUMENT, {"dahdi_test": words(json.load(source))})
    print(f"{DOCUMENT}: table written")


if __name__ == "__main__":
    run_script(main)
