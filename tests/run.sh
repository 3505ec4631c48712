#!/usr/bin/env bash
# Every test, one stage after the other, and one count at the end. A stage that fails does not keep the next from running.
#
#   tests/run.sh                            all stages
#   EDGE_TUNNEL_REQUIRE=netns,cluster,nodes  a stage that cannot run here is a failure, not a skip
set -euo pipefail
cd "$(dirname "$0")/.."

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0 failed=0 skipped=0 broken=()

# stage NAME COMMAND…: runs it, shows it, and adds what it counted.
stage() {
    local name=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@" 2>&1 | tee "$logs/$name" || broken+=("$name")
    printf '=== %s took %d s\n' "$name" $((SECONDS - start))
}

add() {
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# First the programs themselves, which some scenarios and the later stages run.
cargo build --workspace --locked
stage cargo cargo test --workspace --locked --no-fail-fast
read -r -a counted < <(awk '/^test result:/ { p += $4; f += $6; s += $8 } END { print p + 0, f + 0, s + 0 }' "$logs/cargo")
add "${counted[@]}"

export EDGE_TUNNEL_BIN=${EDGE_TUNNEL_BIN:-${CARGO_TARGET_DIR:-target}/debug}

# shell_stage NAME SCRIPT: its last line is its count.
shell_stage() {
    local line counted
    stage "$1" "$2"
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$logs/$1" | tail -n 1 || true)
    read -r -a counted < <(tr -dc '0-9 \n' <<<"${line:-0 0 1}" | awk '{ print $1 + 0, $2 + 0, $3 + 0 }')
    add "${counted[@]}"
}

shell_stage netns tests/netns/run.sh
shell_stage cluster tests/cluster/run.sh
shell_stage nodes tests/cluster/nodes.sh

printf '\n'
if ((${#broken[@]} > 0)); then
    printf 'stages that failed: %s\n' "${broken[*]}"
    ((failed > 0)) || failed=${#broken[@]}
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
