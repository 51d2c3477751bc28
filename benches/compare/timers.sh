#!/usr/bin/env bash
# How late this machine's timers wake a thread: cyclictest, our ticker, and our ticker in precise mode, in turns on one
# CPU at the same period, priority, memory lock and idle latency. Prints a table of the rounds,
# one of all rounds together, then the ratios ours / cyclictest, the ticker's last.
# Exit status 0: the ticker's p99 is at most cyclictest's (precise mode off), 1: it is not, 2: no figures. Options: benches/compare/timers.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v cyclictest >/dev/null; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rt-tests >/dev/null
fi
cargo build --release --locked --quiet
exec python3 benches/compare/timers.py --unisono "${CARGO_TARGET_DIR:-target}/release/unisono" "$@"
