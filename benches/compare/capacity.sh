#!/usr/bin/env bash
# How many participants one core carries, and at which price: unisono, Asterisk's ConfBridge and Janus' AudioBridge in turns under the
# same load, each server on one CPU and `unisono load` on another, beside the bare system calls in the same run. Prints tables, keeps
# all figures in target/compare/capacity.json, and with --write-docs writes the tables of docs/capacity.md and docs/overload.md. Needs
# root, as Asterisk runs in a folder of its own. With --tables about half an hour, with --aims a quarter, with --quick some minutes, else
# two to four hours. Options: benches/compare/capacity.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."

case " $* " in
    *" --help "* | *" -h "* | *" --no-measure "* | *" --estimate "*) ;;
    *)
        benches/compare/install
        cargo build --release --locked --quiet
        # Built before anything is measured.
        cargo bench --locked --quiet --no-run --bench sockets
        cargo bench --locked --quiet --no-run -p unisono-mixer --bench mix
        ;;
esac
exec python3 benches/compare/capacity.py --unisono "${CARGO_TARGET_DIR:-target}/release/unisono" "$@"
