#!/usr/bin/env bash
# What takes too long for every change: about an hour and a half. `make test-long` runs it.
#
#   QUIET_SECONDS=360            how long connections on the real cluster are quiet
#   EDGE_TUNNEL_SOAK_MINUTES=30  how long every fault strikes at random
#   EDGE_TUNNEL_SOAK_SEED=1      in which order; else one that is drawn, and printed
set -euo pipefail
cd "$(dirname "$0")/.."

export EDGE_TUNNEL_REQUIRE=${EDGE_TUNNEL_REQUIRE-netns,cluster,nodes,pods,scale}
cargo build --workspace --locked
export EDGE_TUNNEL_BIN=${EDGE_TUNNEL_BIN:-${CARGO_TARGET_DIR:-target}/debug}

# Thousands of QUIC sockets in one process would take 30 GiB otherwise (tests/tests/mass.rs).
export MALLOC_MMAP_THRESHOLD_=1048576

status=0
# One at a time: each of them measures something, or fills the machine.
cargo test -p edge-tunnel-tests --locked --no-fail-fast -- --ignored --nocapture --test-threads 1 || status=1
LONG=yes tests/cluster/run.sh || status=1
AWAY_SECONDS=600 ONLY=apiserver-away tests/cluster/nodes.sh || status=1
tests/cluster/scale.sh || status=1
# Programs of one file each, for images.
musl=$(uname -m)-unknown-linux-musl
rustup target add "$musl"
cargo build --locked --target "$musl" -p edge-tunnel-server -p edge-tunnel-agent || status=1
tests/cluster/pods.sh || status=1
exit "$status"
