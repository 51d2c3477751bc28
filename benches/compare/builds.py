"""Runs builds of the server in turns, and tells the processor time of each by that of the first. Called by builds.sh."""

import argparse
import os
import re
import subprocess

import scenarios
import servers
from documents import spread
from load import TROUBLE, Generator, prefer, window_words
from script import fail, run_script

# Where commits are built, each in a folder of its own that stays, as it is likely to be wanted again.
FOLDER = "target/compare/builds"


def main():
    options = arguments()
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        fail("two processors are needed: one for the server, one for the load")
    builds = [Build(text, options.load) for text in options.build]
    server_cpu, generator = processors[-1], Generator(options.load, processors[0])
    scenario = scenarios.FULL[options.scenario]
    print(f"{scenario.title}: {options.callers} callers, {'one shared port' if options.shared else 'a port each'}, {options.rounds} rounds", flush=True)
    # A list of rounds, each the windows of all builds.
    rounds = []
    for number in range(options.rounds):
        # Nobody is always first.
        order = builds if number % 2 == 0 else builds[::-1]
        rounds.append({build: window(generator, server_cpu, build, options, number) for build in order})
    table(builds, rounds)


def arguments():
    parser = argparse.ArgumentParser(prog="builds.sh", description=__doc__)
    parser.add_argument("build", nargs="+", metavar="BUILD", help="a program's path, '.' for what lies here, or a commit; then ,NAME=VALUE ...")
    parser.add_argument("--shared", action="store_true", help="all audio on one port")
    parser.add_argument("--callers", type=int, default=1000, help="1000 if not said; with few, 10 ms of processor time are seen as steps")
    parser.add_argument("--rounds", type=int, default=5, help="5 if not said")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a window; 3 if not said")
    parser.add_argument("--scenario", choices=scenarios.FULL, default="one", help="as in capacity.sh; 'one' if not said")
    parser.add_argument("--load", default="target/release/unisono", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 1 or not 2 <= options.seconds <= 600 or not 1 <= options.callers <= 10_000:
        parser.error("at least 1 round, windows of 2 to 600 s, and 1 to 10,000 callers")
    return options


class Build:
    """A server's program, and the environment in which it runs."""

    def __init__(self, text, here):
        self.name = text
        what, *settings = text.split(",")
        if not all("=" in setting for setting in settings):
            fail(f"{text}: after the comma a setting is wanted, NAME=VALUE")
        self.environment = dict(setting.split("=", 1) for setting in settings)
        if what == ".":
            self.program = here
        elif os.path.isfile(what):
            self.program = os.path.abspath(what)
        else:
            self.program = built(what)

    def start(self, cpu, shared):
        server = servers.Unisono(self.program, cpu, shared=shared, refusing=False, environment=self.environment)
        prefer(server.pid)
        return server


def built(commit):
    """The program of a commit, built if it is not there yet."""
    parsed = subprocess.run(["git", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"], capture_output=True, text=True)
    if parsed.returncode != 0:
        fail(f"{commit}: neither a program nor a commit; give a path, '.', or what git knows")
    folder = os.path.join(FOLDER, parsed.stdout.strip()[:12])
    program = os.path.join(folder, "target/release/unisono")
    if not os.path.exists(program):
        print(f"building {commit} in {folder}", flush=True)
        if not os.path.exists(folder):
            # Also where git remembers one that was removed with all that is built.
            subprocess.run(["git", "worktree", "add", "--force", "--quiet", "--detach", folder, parsed.stdout.strip()], check=True)
        # Wherever this build's own artefacts are.
        environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--bin", "unisono"], cwd=folder, env=environment, check=True)
    return program


def window(generator, server_cpu, build, options, number):
    """The figures of one window, or None if they are worth nothing."""
    try:
        start = lambda: build.start(server_cpu, options.shared)
        figures = generator.measure(start, scenarios.FULL[options.scenario], options.callers, options.seconds)
    except TROUBLE as error:
        print(f"round {number + 1}, {build.name}: FAILED: {error}", flush=True)
        return None
    why = f" ({figures['why']})" if figures["why"] else ""
    print(f"round {number + 1}, {build.name}: {window_words(figures)}{why}", flush=True)
    spoilt = figures["left_out"] or figures["why"] or None in (figures["cpu_us"], figures["memory_kib"])
    return None if spoilt else figures


def table(builds, rounds):
    """Medians, and from least to most; ratios only of windows of the same round."""
    print(f"\n{'':24}{'us a frame':>24}{'by the first':>24}{'KiB each':>25}{'windows':>9}")
    for build in builds:
        pairs = [(figures[build], figures[builds[0]]) for figures in rounds if figures[build]]
        cells = (
            [figures["cpu_us"] for figures, _ in pairs],
            [figures["cpu_us"] / first["cpu_us"] for figures, first in pairs if first],
            [figures["memory_kib"] for figures, _ in pairs],
        )
        us, ratio, memory = (spread(values, 2) for values in cells)
        print(f"{short(build.name):24}{us:>24}{ratio:>24}{memory:>25}{len(pairs):>9}")


def short(name):
    """Of a path in a setting, the last part."""
    name = re.sub(r"/[^,]*/", "", name)
    return name if len(name) < 24 else name[:22] + "…"


if __name__ == "__main__":
    run_script(main)
