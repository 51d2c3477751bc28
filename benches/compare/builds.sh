#!/usr/bin/env bash
# Whether a change of the server is worth it: two or more builds of it in turns under the same load, and the processor time of each by that
# of the first. A build is a program's path or a commit, which is built in a folder of its own; NAME=VALUE after a comma is set for it:
#
#   benches/compare/builds.sh main .                       the last commit of main, and what lies here
#   benches/compare/builds.sh --shared v1 v2 main          with all audio on one port
#   benches/compare/builds.sh . .,LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2
#
# The load comes from what lies here. Needs no root. Options: benches/compare/builds.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."

case " $* " in
    *" --help "* | *" -h "*) ;;
    *) cargo build --release --locked --quiet ;;
esac
exec python3 benches/compare/builds.py --load "${CARGO_TARGET_DIR:-target}/release/unisono" "$@"
