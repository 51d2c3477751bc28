"""Runs cyclictest and `unisono jitter` in turns and holds their lateness against each other. Called by timers.sh."""

import argparse
import collections
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile

# A plain timerfd, our ticker as it is (it ends its sleep ahead by what every wake-up costs), and our ticker in precise mode.
NAMES = ("cyclictest", "timerfd", "ticker", "precise")
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
# Beyond this, ns, cyclictest counts but does not tell how late.
HIGHEST_NS = 2_000_000


def main():
    options = arguments()
    rounds = collections.defaultdict(list)
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
                rounds[name].append(measure(options, name, file))
            seen = "   ".join(f"{name} {rounds[name][-1]['p99'] / 1000:.1f}" for name in sorted(turn))
            print(f"round {number + 1}: p99 us   {seen}", flush=True)
    print(f"\nsteal meanwhile: {100 * (steal() - before):.0f} ticks of 10 ms\n")
    table(rounds)
    if options.json:
        with open(options.json, "w") as out:
            json.dump(rounds, out, indent=1)
    print("\nours / cyclictest, median of the rounds' ratios (precise)")
    print("  ".join(f"{key} {ratio(rounds, 'precise', key):.3f}" for key in QUANTILES))
    print("ours / cyclictest, median of the rounds' ratios (precise mode off)")
    ratios = {key: ratio(rounds, "ticker", key) for key in QUANTILES}
    print("  ".join(f"{key} {value:.3f}" for key, value in ratios.items()))
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
    run(
        ["cyclictest", "-q", "-m", "-N", f"-p{options.priority}", f"-a{options.cpu}", f"-i{options.period}"]
        + [f"-l{loops}", f"-h{HIGHEST_NS}", f"--json={file}"],
        options,
    )
    with open(file) as source:
        thread = json.load(source)["thread"]["0"]
    values = sorted((int(nanos), count) for nanos, count in thread["histogram"].items())
    # Those beyond the histogram are at most as late as the latest.
    missing = thread["cycles"] - sum(count for _, count in values)
    if missing > 0:
        values.append((thread["max"], missing))
    figures = {key: quantile(values, share) for key, share in QUANTILES.items()}
    return figures | {"max": thread["max"]}


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
    counts = collections.Counter()
    with open(ticks) as source:
        for tick in csv.DictReader(source):
            # As cyclictest does: a wake-up's lateness is that of the first deadline it serves.
            counts[int(tick["lateness_ns"]) + int(tick["missed"]) * int(tick["period_ns"])] += 1
    os.remove(ticks)
    values = sorted(counts.items())
    figures = {key: quantile(values, share) for key, share in QUANTILES.items()}
    return figures | {"max": values[-1][0], "cpu": record["cpu_share"]}


def run(command, options):
    # A verdict on the machine (status 1) is no failure here.
    done = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds + 120)
    if done.returncode not in (0, 1):
        fail(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")


def fail(reason):
    print(f"timers.sh: {reason}", file=sys.stderr)
    sys.exit(2)


def quantile(values, share):
    wanted = share * sum(count for _, count in values)
    seen = 0
    for value, count in values:
        seen += count
        if seen >= wanted:
            return value
    return values[-1][0]


def table(rounds):
    columns = [*QUANTILES, "max"]
    print(f"{'us: median (range)':12}" + "".join(f"{key:>28}" for key in columns) + f"{'CPU':>8}")
    for name in NAMES:
        cells = []
        for key in columns:
            values = [figures[key] / 1000 for figures in rounds[name]]
            cells.append(f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
        shares = [figures["cpu"] for figures in rounds[name] if "cpu" in figures]
        cpu = f"{100 * statistics.median(shares):.2f} %" if shares else "-"
        print(f"{name:18}" + "".join(f"{cell:>28}" for cell in cells) + f"{cpu:>8}")


def ratio(rounds, name, key):
    pairs = zip(rounds[name], rounds["cyclictest"])
    return statistics.median(ours[key] / theirs[key] for ours, theirs in pairs)


def steal():
    """Seconds that the hypervisor took from all CPUs since boot."""
    with open("/proc/stat") as source:
        return int(source.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        fail(error)
