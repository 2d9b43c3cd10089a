#!/bin/bash
# Every scenario of the load bench in small, against byrnie alone: fails if a message is lost, altered or sent
# twice, or if a scenario cannot run. Debian's packages, namespaces of its own; needs root.
#
#     bench/smoke.sh [PROGRAM]     PROGRAM defaults to target/release/byrnie
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
BYRNIE=$(realpath "${1:-$here/../target/release/byrnie}")
export BYRNIE
. "$here/../ci/packages.sh"
install_packages nsd unbound ldnsutils iproute2 util-linux python3
cd "$here/.."
cargo build --quiet --release --locked -p byrnie-bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A relay under test may be another user.
chmod 755 "$work"
(cd bench && python3 -m unittest -q test_harness)
bench/bench.py smoke --work "$work"
