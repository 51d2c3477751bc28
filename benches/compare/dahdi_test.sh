#!/usr/bin/env bash
# The usual proof that there is a good clock, some times over: Debian's dahdi_test (in target/peers/dahdi) under `unisono dahdi`, as a user
# starts it. Prints a table with what the host stole meanwhile and what a sleeping thread makes of the same time, keeps the figures in
# target/compare/dahdi_test.json, and with --write-docs writes the table of docs/dahdi.md. As root or with the right to SCHED_FIFO, as for
# use. Takes about 4 minutes. Exit status 0: measured, 2: no figures. Options: benches/compare/dahdi_test.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."

case " $* " in
    *" --help "* | *" -h "* | *" --no-measure "*) ;;
    *)
        tests/install
        cargo build --release --locked --quiet -p unisono -p unisono-dahdi-preload
        ;;
esac
exec python3 benches/compare/dahdi_test.py --built "${CARGO_TARGET_DIR:-target}/release" "$@"
