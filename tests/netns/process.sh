# shellcheck shell=bash
# Starting, watching and ending processes in the network tests and cluster tests. Sourced, never run.
#
# Needs LAB_DIR: NAME's log is in $LAB_DIR/logs/NAME.log, its process id in $LAB_DIR/pids/NAME. Nothing is ever ended by its name:
# a pid is kept together with the start time of its process, so that a pid which the system gave to somebody else is left alone.

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

note() { echo "${0##*/}: $*" >&2; }

# The start time of a process, in clock ticks since boot: with the pid, a name that is never used twice.
process_born() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The second field is the command in parentheses and may hold anything; count from behind its end.
    stat=${stat##*) }
    # shellcheck disable=SC2086
    set -- $stat
    [[ $1 != Z ]] || return 1
    echo "${20}"
}

# process_same PID BORN: is it still that process?
process_same() { [[ -n ${1:-} && $(process_born "$1" || true) == "${2:-none}" ]]; }

# spawn NAME COMMAND…: in the background, in a session of its own (a closed terminal must not take down a lab that is kept).
spawn() {
    local name=$1 pid born
    shift
    mkdir -p "$LAB_DIR/logs" "$LAB_DIR/pids"
    setsid "$@" </dev/null >>"$LAB_DIR/logs/$name.log" 2>&1 &
    pid=$!
    disown "$pid" 2>/dev/null || true
    born=$(process_born "$pid" || echo gone)
    echo "$pid $born" >"$LAB_DIR/pids/$name"
}

# running NAME: did it start, and does it still run?
running() {
    local pid born
    read -r pid born 2>/dev/null <"$LAB_DIR/pids/$1" || return 1
    process_same "$pid" "$born"
}

pid_of() {
    local pid rest
    read -r pid rest <"$LAB_DIR/pids/$1" || die "no process $1 was started in $LAB_DIR"
    echo "$pid"
}

# signal_process NAME SIGNAL
signal_process() { ! running "$1" || kill -"$2" "$(pid_of "$1")" 2>/dev/null || true; }

# stop NAME [SECONDS]: asks it to end, waits (default 10 s), then insists.
stop() {
    local name=$1 left=$((${2:-10} * 10))
    [[ -e $LAB_DIR/pids/$name ]] || return 0
    signal_process "$name" TERM
    while running "$name" && ((left-- > 0)); do sleep 0.1; done
    signal_process "$name" KILL
    while running "$name"; do sleep 0.05; done
    rm -f "$LAB_DIR/pids/$name"
}

stop_all() {
    local file name
    # Newest first: what was started last leans on what was started before.
    while IFS= read -r file; do
        [[ -n $file ]] || continue
        name=${file##*/}
        stop "$name" 5
    done < <(ls -1t "$LAB_DIR"/pids/* 2>/dev/null || true)
}

# show_log NAME [LINES]
show_log() {
    echo "---- the last lines of $LAB_DIR/logs/$1.log" >&2
    tail -n "${2:-15}" "$LAB_DIR/logs/$1.log" >&2 || true
    echo "----" >&2
}

# wait_for SECONDS NAME COMMAND…: until the command succeeds. NAME is the process it waits for; its log is shown if it does not,
# at once if it has ended.
wait_for() {
    local seconds=$1 name=$2 end
    shift 2
    end=$((SECONDS + seconds))
    # In a subshell: a check that fails may call `exit`.
    until ("$@") >/dev/null 2>&1; do
        if [[ -e $LAB_DIR/pids/$name ]] && ! running "$name"; then
            show_log "$name"
            note "$name ended while waiting for: $*"
            return 1
        fi
        if ((SECONDS >= end)); then
            [[ ! -e $LAB_DIR/logs/$name.log ]] || show_log "$name"
            note "$name: not within $seconds s: $*"
            return 1
        fi
        sleep 0.2
    done
}

# wait_until SECONDS COMMAND…: the same with nothing to show.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until ("$@") >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}
