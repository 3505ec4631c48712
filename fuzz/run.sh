#!/usr/bin/env bash
# Fuzzes every decoder for a while, one after the other, and says how many inputs each had.
#
#   fuzz/run.sh [DECODER…]    those alone
#   FUZZ_SECONDS=20           for how long each
#   FUZZ_TOOLCHAIN=nightly    which Rust; libFuzzer's instruments need a nightly one
#
# What was found interesting is kept in fuzz/corpus, inputs that broke a promise are in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo "+${FUZZ_TOOLCHAIN:-nightly}" fuzz build
target=$(rustc "+${FUZZ_TOOLCHAIN:-nightly}" -vV | awk '/^host:/ { print $2 }')
fuzzer=fuzz/target/$target/release/decoders

mapfile -t decoders < <(SEEDS=fuzz/corpus "$fuzzer")
if (($# > 0)); then
    decoders=("$@")
fi
broken=()
for decoder in "${decoders[@]}"; do
    artifacts=fuzz/artifacts/$decoder
    mkdir -p "$artifacts"
    log=$artifacts/log
    # The limits are the promise that memory is bounded by input: no decoder needs a tenth of them.
    if DECODER=$decoder "$fuzzer" "fuzz/corpus/$decoder" -artifact_prefix="$artifacts/" \
        -max_total_time="${FUZZ_SECONDS:-20}" -max_len=131072 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64 \
        -print_final_stats=1 >"$log" 2>&1; then
        awk -v name="$decoder" '
            /^stat::number_of_executed_units:/ { count = $2 }
            /^stat::peak_rss_mb:/ { peak = $2 }
            END { printf "%-20s %10d inputs, at most %d MiB\n", name, count, peak }' "$log"
    else
        broken+=("$decoder")
        printf '%s broke a promise; its last words, of %s:\n' "$decoder" "$log"
        grep -vE '^(#|stat::)' "$log" | tail -n 40
    fi
done
if ((${#broken[@]} > 0)); then
    printf 'broken: %s. Feed an input again with\n  DECODER=NAME %s FILE\n' "${broken[*]}" "$fuzzer"
    exit 1
fi
