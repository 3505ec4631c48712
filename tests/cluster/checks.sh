# shellcheck shell=bash
# What a person does with kubectl, and what a monitoring system reads, through the tunnel. Sourced by run.sh.
#
# Each function is one check: it ends with a status, and what it printed last says why. Sizes can be lowered for a slow machine.

CP_MEGABYTES=${CP_MEGABYTES:-200}
FORWARD_MEGABYTES=${FORWARD_MEGABYTES:-20}
EXECS=${EXECS:-50}
QUIET_SECONDS=${QUIET_SECONDS:-360}

# kubectl_for SECONDS ARGUMENT…: status 124 where it had to be ended.
kubectl_for() {
    local seconds=$1
    shift
    HOME=$LAB_DIR KUBECONFIG=$KUBECONFIG in_space cloud timeout "$seconds" "$KUBE_BIN/kubectl" "$@"
}

logs() { has "logs" "tick" "$(kubectl logs web -c web --tail 3)"; }

# Lines have to keep coming, not arrive together at the end.
logs_follow() {
    local first second
    follow_start "$LAB_DIR/follow.txt"
    sleep 3
    first=$(wc -l <"$LAB_DIR/follow.txt")
    sleep 4
    second=$(wc -l <"$LAB_DIR/follow.txt")
    stop follow
    ((first >= 1)) || fail "no line in 3 s"
    ((second >= first + 3)) || fail "$first lines after 3 s, only $second after 7 s"
}

# follow_start FILE: `logs -f` in the background, as the process `follow`.
follow_start() {
    : >"$1"
    # shellcheck disable=SC2016
    HOME=$LAB_DIR KUBECONFIG=$KUBECONFIG spawn_in cloud follow bash -c 'exec "$0/kubectl" logs -f web -c web --tail 1 >"$1"' "$KUBE_BIN" "$1"
}

exec_plain() {
    same "stdout" out "$(kubectl exec web -c web -- sh -c 'echo out; echo err >&2' 2>"$LAB_DIR/stderr.txt")"
    same "stderr" err "$(<"$LAB_DIR/stderr.txt")"
}

exec_tty() {
    local output status=0
    # What is typed waits until the shell has its terminal.
    # shellcheck disable=SC2016
    output=$({ sleep 2; printf 'echo answer $((6*7))\ntest -t 0 && echo it is a terminal\nexit 3\n'; sleep 5; } |
        HOME=$LAB_DIR KUBECONFIG=$KUBECONFIG in_space cloud timeout 30 script -qec "$KUBE_BIN/kubectl exec -it web -c web -- sh" /dev/null) || status=$?
    has "a terminal's output" "answer 42" "$output"
    has "a terminal" "it is a terminal" "${output//$'\r'/}"
    same "exit code through a terminal" 3 "$status"
}

exec_stdin() {
    local file=$LAB_DIR/stdin.bin
    random_file "$file" 20
    same "sum of what arrived" "$(sum_of "$file")" "$(kubectl exec -i web -c web -- sha256sum <"$file" | cut -d' ' -f1)"
    same "sum of what came back" "$(sum_of "$file")" "$(kubectl exec -i web -c web -- cat <"$file" | sha256sum | cut -d' ' -f1)"
}

exec_exit_code() {
    local status=0
    kubectl exec web -c web -- sh -c 'exit 7' || status=$?
    same "exit code" 7 "$status"
}

# Since 1.31 kubectl speaks WebSocket; older ones, and many libraries, still speak SPDY.
exec_spdy() {
    local file=$LAB_DIR/stdin.bin
    random_file "$file" 20
    export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false
    same "sum of what came back" "$(sum_of "$file")" "$(kubectl exec -i web -c web -- cat <"$file" | sha256sum | cut -d' ' -f1)"
}

attach() {
    local output
    # kubectl has no reason to end by itself: the pod goes on counting. `timeout` is the one that ends it.
    output=$(kubectl_for 5 attach web -c web 2>/dev/null || true)
    has "attached to a counter" "tick" "$output"
    output=$({ sleep 1; echo marker; sleep 3; } | kubectl_for 8 attach -i web -c echo 2>/dev/null || true)
    has "attached to cat" "marker" "$output"
}

port_forward() {
    local file=$LAB_DIR/forward.bin back=$LAB_DIR/forward.back url=http://127.0.0.1:18080
    random_file "$file" "$FORWARD_MEGABYTES"
    HOME=$LAB_DIR KUBECONFIG=$KUBECONFIG spawn_in cloud port-forward "$KUBE_BIN/kubectl" port-forward pod/web 18080:8080
    wait_for 20 port-forward dials cloud 127.0.0.1 18080
    has "a page" "hello from edge-1" "$(in_space cloud curl -sS --max-time 20 $url/)"
    # Busybox knows no `Expect: 100-continue`, and curl would wait a second for it.
    has "sum of a POST" "$(sum_of "$file")" \
        "$(in_space cloud curl -sS --max-time 60 -H Expect: --data-binary "@$file" $url/cgi-bin/sum)"
    # `; true` keeps the shell, and with it stdout: containerd 1.6 ends an exec's stdin when its stdout is closed, tunnel or not.
    kubectl exec -i web -c web -- sh -c 'cat > /www/big; true' <"$file"
    in_space cloud curl -sS --max-time 60 -o "$back" $url/big
    same "sum of a GET" "$(sum_of "$file")" "$(sum_of "$back")"
    # One forward carries many connections; a closed one must not take the others along.
    # shellcheck disable=SC2016
    same "20 at once" 20 "$(in_space cloud bash -c 'for _ in {1..20}; do curl -sS --max-time 20 "$0/" & done; wait' $url | grep -c hello)"
    stop port-forward
}

cp_both_ways() {
    local file=$LAB_DIR/cp.bin back=$LAB_DIR/cp.back
    random_file "$file" "$CP_MEGABYTES"
    kubectl cp "$file" web:/root/cp.bin -c web
    same "sum on the node" "$(sum_of "$file")" "$(kubectl exec web -c web -- sha256sum /root/cp.bin | cut -d' ' -f1)"
    kubectl cp web:/root/cp.bin "$back" -c web
    same "sum of what came back" "$(sum_of "$file")" "$(sum_of "$back")"
    kubectl exec web -c web -- rm /root/cp.bin
    rm -f "$back"
}

metrics_resource() {
    local metrics
    metrics=$(kubectl get --raw /api/v1/nodes/edge-1/proxy/metrics/resource)
    has "metrics/resource" "node_cpu_usage_seconds_total" "$metrics"
    has "metrics/resource" "node_memory_working_set_bytes" "$metrics"
    has "metrics/resource" "scrape_error 0" "$metrics"
}

stats_summary() {
    kubectl get --raw /api/v1/nodes/edge-1/proxy/stats/summary >"$LAB_DIR/summary.json"
    same "node of stats/summary" edge-1 "$(jq -r .node.nodeName "$LAB_DIR/summary.json")"
    jq -e '.node.cpu.time and .node.memory.workingSetBytes and (.pods | map(.podRef.name) | index("web") != null)' \
        "$LAB_DIR/summary.json" >/dev/null || fail "stats/summary lacks cpu, memory, or the pod web"
}

nodes_proxy() {
    same "nodes/proxy/healthz" ok "$(kubectl get --raw /api/v1/nodes/edge-1/proxy/healthz)"
    has "nodes/proxy/pods" '"name":"web"' "$(kubectl get --raw /api/v1/nodes/edge-1/proxy/pods)"
    has "nodes/proxy/containerLogs" tick "$(kubectl get --raw '/api/v1/nodes/edge-1/proxy/containerLogs/default/web/web?tailLines=1')"
}

execs_at_once() {
    local i pids=() failed=0
    rm -rf "$LAB_DIR/execs"
    mkdir -p "$LAB_DIR/execs"
    for ((i = 0; i < EXECS; i++)); do
        kubectl exec web -c web -- sh -c "sleep 1; echo answer $i" >"$LAB_DIR/execs/$i" 2>&1 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || failed=$((failed + 1)); done
    for ((i = 0; i < EXECS; i++)); do
        [[ $(<"$LAB_DIR/execs/$i") == "answer $i" ]] || fail "exec $i of $EXECS said '$(head -c 200 "$LAB_DIR/execs/$i")'; $failed failed"
    done
}

# agent_restarts SIGNAL: whoever follows a log or sits in an exec sees soon that it ended, and the next call works.
#
# Only exec has to end with an error: kube-apiserver ignores it when a kubelet's log breaks off (StreamObject in
# responsewriters/writers.go), so `logs -f` ends with 0 there, tunnel or not.
agent_restarts() {
    local follow exec status=0 took
    : >"$LAB_DIR/restart.txt"
    kubectl_for 60 logs -f web -c web --tail 1 >"$LAB_DIR/restart.txt" 2>&1 &
    follow=$!
    kubectl_for 60 exec web -c web -- sh -c 'echo tick; exec sleep 300' >"$LAB_DIR/restart-exec.txt" 2>&1 &
    exec=$!
    wait_until 15 grep -q tick "$LAB_DIR/restart.txt" || fail "logs -f gave no line before the restart: $(<"$LAB_DIR/restart.txt")"
    wait_until 15 grep -q tick "$LAB_DIR/restart-exec.txt" || fail "exec gave no line before the restart: $(<"$LAB_DIR/restart-exec.txt")"
    SECONDS=0
    signal_process agent "$1"
    stop agent
    agent_start edge-1
    wait "$follow" || true
    wait "$exec" || status=$?
    took=$SECONDS
    wait_until 30 logs || fail "logs do not work 30 s after the agent's restart: $(kubectl logs web -c web --tail 1 2>&1)"
    ((took <= 20)) || fail "logs -f and exec ended only $took s after the agent got $1"
    ((status != 0)) || fail "exec ended with status 0 after the agent got $1: $(tail -n 1 "$LAB_DIR/restart-exec.txt")"
}

# Without the agent: an answer at once that names the node and says why, instead of a hang.
agent_away() {
    local output
    stop agent
    SECONDS=0
    output=$(kubectl_for 60 exec web -c web -- true 2>&1) && fail "exec worked without an agent"
    ((SECONDS <= 15)) || fail "without an agent, exec took $SECONDS s to say: $output"
    agent_start edge-1
    wait_until 30 logs || fail "logs do not work 30 s after the agent came back"
    echo "$output"
    [[ $VARIATION == sni ]] || has "the reason" edge-1 "$output"
}

# quiet: `logs -f` and `exec` that say nothing for minutes, at the same time. Whoever ends quiet connections on the way (a
# balancer, a NAT, a limit of ours) would end them here.
quiet() {
    local follow exec status=0 marker=awake-$VARIATION
    : >"$LAB_DIR/quiet-logs.txt"
    kubectl_for $((QUIET_SECONDS + 60)) logs -f web -c echo --tail 0 >"$LAB_DIR/quiet-logs.txt" 2>&1 &
    follow=$!
    kubectl_for $((QUIET_SECONDS + 60)) exec web -c web -- sh -c "sleep $QUIET_SECONDS; echo awake; exit 5" \
        >"$LAB_DIR/quiet-exec.txt" 2>&1 &
    exec=$!
    wait "$exec" || status=$?
    has "exec after $QUIET_SECONDS quiet seconds" awake "$(<"$LAB_DIR/quiet-exec.txt")"
    same "its exit code" 5 "$status"
    kill -0 "$follow" || fail "logs -f ended meanwhile: $(<"$LAB_DIR/quiet-logs.txt")"
    same "what logs -f gave while nothing was said" "" "$(<"$LAB_DIR/quiet-logs.txt")"
    { sleep 1; echo "$marker"; sleep 3; } | kubectl_for 10 attach -i web -c echo >/dev/null 2>&1 || true
    wait_until 15 grep -q "$marker" "$LAB_DIR/quiet-logs.txt" || fail "logs -f gave nothing after $QUIET_SECONDS quiet seconds"
    kill "$follow"
}
