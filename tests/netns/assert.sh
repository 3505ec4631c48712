# shellcheck shell=bash
# Checks and their count. Sourced by the two run.sh. Needs LAB_DIR.

PASSED=0
FAILED=0

# check NAME COMMAND…: runs it by itself, under errexit, and says `ok NAME` or `FAIL NAME: why`. ONLY=regex picks checks by name.
check() {
    local name=$1 status
    shift
    [[ -z ${ONLY:-} || $name =~ $ONLY ]] || return 0
    # Not `if (…)`: bash switches errexit off for everything inside a condition, subshells too.
    set +e
    (
        set -e
        "$@"
    ) >"$LAB_DIR/logs/check-$name.log" 2>&1
    status=$?
    set -e
    if ((status == 0)); then
        PASSED=$((PASSED + 1))
        echo "ok $name"
    else
        FAILED=$((FAILED + 1))
        # What it printed last is why it failed; errexit alone leaves nothing behind.
        echo "FAIL $name: $(tail -n 3 "$LAB_DIR/logs/check-$name.log" | tr '\n' ' ' | head -c 500)(status $status)"
    fi
}

fail() {
    echo "$*"
    exit 1
}

# same WHAT EXPECTED FOUND
same() { [[ $2 == "$3" ]] || fail "$1: expected '$2', found '$3'"; }

# has WHAT PATTERN TEXT: a pattern as in [[ text == *pattern* ]].
has() {
    # shellcheck disable=SC2053
    [[ $3 == *$2* ]] || fail "$1: '$2' is not in '$(tail -c 300 <<<"$3")'"
}

sum_of() { sha256sum "$1" | cut -d' ' -f1; }

# random_file FILE MEGABYTES: made once for a lab.
random_file() { [[ -e $1 ]] || head -c "$(($2 * 1000000))" /dev/urandom >"$1"; }

# summary: the last line of a run; its status is the run's.
summary() {
    echo "$PASSED passed, $FAILED failed"
    ((FAILED == 0))
}

# A test that cannot run says so; where EDGE_TUNNEL_REQUIRE names it, that is a failure.
skip() {
    local name=$1 why=$2
    if [[ " ${EDGE_TUNNEL_REQUIRE:-} " == *" $name "* || ",${EDGE_TUNNEL_REQUIRE:-}," == *",$name,"* ]]; then
        echo "FAIL $name: $why (and EDGE_TUNNEL_REQUIRE names it)"
        exit 1
    fi
    echo "SKIPPED $name: $why"
    exit 0
}
