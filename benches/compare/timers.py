"""Runs cyclictest and `unisono jitter` in turns and holds their lateness against each other. Called by timers.sh."""

import argparse
import collections
import csv
import json
import os
import re
import statistics
import subprocess
import tempfile

from script import fail, run_script

# A plain timerfd, which waits as cyclictest does; our ticker as it is, which does not; and our ticker in precise mode.
NAMES = {
    "cyclictest": "cyclictest",
    "timerfd": "a plain timerfd",
    "ticker": "ticker (wakes ahead)",
    "precise": "ticker, precise",
}
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
COLUMNS = (*QUANTILES, "max")
# With fewer wake-ups the 99.9th percentile is the latest of them.
ENOUGH_FOR_P999 = 1000


def main():
    options = arguments()
    rounds = collections.defaultdict(list)
    together = collections.defaultdict(collections.Counter)
    print(
        f"{options.rounds} rounds of {options.seconds} s each for cyclictest, timerfd, ticker and precise;"
        f" period {options.period / 1000:g} ms, SCHED_FIFO {options.priority}, memory locked, CPU {options.cpu}",
        flush=True,
    )
    before = steal()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            # Nobody is always first.
            turn = list(NAMES)
            turn = turn[number % len(turn) :] + turn[: number % len(turn)]
            for name in turn:
                file = os.path.join(folder, f"{name}-{number}.json")
                measure = cyclictest if name == "cyclictest" else unisono
                lateness, cpu = measure(options, name, file)
                rounds[name].append(figures(lateness, cpu))
                together[name] += lateness
            seen = "   ".join(f"{name} {rounds[name][-1]['p99'] / 1000:.1f}" for name in sorted(turn))
            print(f"round {number + 1}: p99 us   {seen}", flush=True)
    print(f"\nsteal meanwhile: {100 * (steal() - before):.0f} ticks of 10 ms\n")
    table(rounds)
    print()
    table_of_all(together)
    print()
    notes(rounds)
    if options.json:
        with open(options.json, "w") as out:
            json.dump(rounds, out, indent=1)
    print()
    for name, what in (("timerfd", "a plain timerfd"), ("precise", "precise"), ("ticker", "precise mode off")):
        ratios = {key: ratio(rounds, name, key) for key in QUANTILES}
        print(f"ours / cyclictest, median of the rounds' ratios ({what})")
        print("  ".join(f"{key} {value:.3f}" for key, value in ratios.items()))
    # Those of the ticker, which stand last, for whoever reads only that line.
    return 0 if ratios["p99"] <= 1.0 else 1


def arguments():
    parser = argparse.ArgumentParser(prog="timers.sh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="default 7")
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement, default 10")
    parser.add_argument("--period", type=int, default=20000, metavar="US", help="default 20000")
    parser.add_argument("--priority", type=int, default=80, help="SCHED_FIFO, default 80")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="default the last one allowed")
    parser.add_argument("--json", metavar="FILE", help="keep the rounds' figures, ns")
    parser.add_argument("--unisono", default="target/release/unisono", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 1 or not 1000 <= options.period <= 60000:
        parser.error("at least 1 round of 1 s; a period of 1000 to 60000 us")
    return options


def cyclictest(options, _, file):
    """Locks memory and holds idle states at 0 us by itself."""
    loops = options.seconds * 1_000_000 // options.period
    # Its histogram ends somewhere and only counts what is later; with -v it tells every wake-up, to the nanosecond.
    said = run(
        ["cyclictest", "-q", "-v", "-m", "-N", f"-p{options.priority}", f"-a{options.cpu}", f"-i{options.period}"]
        + [f"-l{loops}", f"--json={file}"],
        options,
    )
    lateness = collections.Counter(int(line[2]) for line in re.findall(r"^ *(\d+): *(\d+): *(-?\d+)$", said, re.M))
    with open(file) as source:
        thread = json.load(source)["thread"]["0"]
    told = (lateness.total(), max(lateness, default=0))
    # The last one may come between its last look and its end.
    if told != (thread["cycles"], thread["max"]) and told[0] != thread["cycles"] - 1:
        fail(f"cyclictest told wake-ups and their latest as {told}, and counted {thread['cycles']} and {thread['max']}")
    return lateness, None


def unisono(options, method, file):
    ticks = f"{file}.csv"
    run(
        [options.unisono, "jitter", "--method", method, "--period", f"{options.period / 1000}ms"]
        + ["--duration", f"{options.seconds}s", "--policy", f"fifo:{options.priority}", "--cpu", str(options.cpu)]
        + ["--json", file, "--csv", ticks],
        options,
    )
    with open(file) as source:
        record = json.load(source)["runs"][0]
    refused = [part for part in record["grant"] if not part["granted"] and part["part"] in ("scheduling", "memory lock")]
    if refused:
        fail(f"not comparable, as the system refused: {refused}")
    lateness = collections.Counter()
    with open(ticks) as source:
        for tick in csv.DictReader(source):
            # As cyclictest does: a wake-up's lateness is that of the first deadline it serves.
            lateness[int(tick["lateness_ns"]) + int(tick["missed"]) * int(tick["period_ns"])] += 1
    os.remove(ticks)
    return lateness, record["cpu_share"]


def run(command, options):
    # A verdict on the machine (status 1) is no failure here.
    done = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds + 120)
    if done.returncode not in (0, 1):
        fail(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def figures(lateness, cpu):
    """Of how often each lateness, ns, was seen, and the share of a CPU that was used."""
    values = sorted(lateness.items())
    found = {key: quantile(values, share) for key, share in QUANTILES.items()}
    return found | {"max": values[-1][0], "wake_ups": lateness.total(), "cpu": cpu}


def quantile(values, share):
    wanted = share * sum(count for _, count in values)
    seen = 0
    for value, count in values:
        seen += count
        if seen >= wanted:
            return value
    return values[-1][0]


def table(rounds):
    marked = "*" if few(rounds) else ""
    heads = [key + (marked if key == "p99.9" else "") for key in COLUMNS]
    print(f"{'us: median (range)':20}" + "".join(f"{head:>28}" for head in heads) + f"{'CPU':>8}")
    for name, label in NAMES.items():
        cells = []
        for key in COLUMNS:
            values = [one[key] for one in rounds[name]]
            cells.append(f"{us(statistics.median(values))} ({us(min(values))} to {us(max(values))})")
        shares = [one["cpu"] for one in rounds[name] if one["cpu"] is not None]
        cpu = f"{100 * statistics.median(shares):.2f} %" if shares else "-"
        print(f"{label:20}" + "".join(f"{cell:>28}" for cell in cells) + f"{cpu:>8}")


def table_of_all(together):
    """Every wake-up of all rounds in one heap: the long tail has more to stand on than in a round, and less to compare."""
    theirs = figures(together["cyclictest"], None)
    print(f"{'us: all rounds':20}{'wake-ups':>10}" + "".join(f"{key:>26}" for key in COLUMNS))
    for name, label in NAMES.items():
        ours = figures(together[name], None)
        cells = [f"{us(ours[key])} ({ours[key] / theirs[key]:.3f} of theirs)" for key in COLUMNS]
        if name == "cyclictest":
            cells = [us(theirs[key]) for key in COLUMNS]
        few_of_all = "  p99.9 is the latest" if ours["wake_ups"] < ENOUGH_FOR_P999 else ""
        print(f"{label:20}{ours['wake_ups']:>10}" + "".join(f"{cell:>26}" for cell in cells) + few_of_all)


def us(nanos):
    return f"{nanos / 1000:.{2 if nanos < 1000 else 1}f}"


def notes(rounds):
    print("wakes ahead: the ticker ends its sleep before the deadline, by what wake-ups cost here, and waits for the rest;")
    print("cyclictest and a plain timerfd sleep until the deadline, so these two compare like with like.")
    if few(rounds):
        print(f"* of fewer than {ENOUGH_FOR_P999} wake-ups in a round: the latest of each, not a percentile. --seconds makes more.")


def few(rounds):
    return any(one["wake_ups"] < ENOUGH_FOR_P999 for name in NAMES for one in rounds[name])


def ratio(rounds, name, key):
    pairs = zip(rounds[name], rounds["cyclictest"])
    return statistics.median(ours[key] / theirs[key] for ours, theirs in pairs)


def steal():
    """Seconds that the hypervisor took from all CPUs since boot."""
    with open("/proc/stat") as source:
        return int(source.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    run_script(main)
