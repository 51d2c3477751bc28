#!/usr/bin/env bash
# MeetMe on our library beside ConfBridge with timerfd, in the same Asterisk (Debian's, in target/peers/asterisk), in turns: CPU per
# participant and 20 ms frame, and delay from mouth to ear, at 10, 50 and 100 callers. Prints a table, keeps all figures in
# target/compare/meetme.json, and with --write-docs writes the table of docs/dahdi.md. Takes 9 to 11 minutes. Needs root, as Asterisk
# runs in a folder of its own. Exit status 0: measured, 1: somebody heard himself, 2: no figures. Options: benches/compare/meetme.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."

case " $* " in
    *" --help "* | *" -h "* | *" --no-measure "*) ;;
    *)
        tests/install
        cargo build --release --locked --quiet -p unisono-dahdi-preload
        ;;
esac
exec python3 benches/compare/meetme.py --library "${CARGO_TARGET_DIR:-target}/release/libunisono_dahdi.so" "$@"
