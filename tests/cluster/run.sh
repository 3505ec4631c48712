#!/usr/bin/env bash
# The cluster checks: kubectl and monitoring against a node that cannot be dialled, through edge-tunnel.
#
#   tests/cluster/run.sh [VARIATION…]      default: uds mtls sni (see cluster.sh)
#   ONLY='exec.*' tests/cluster/run.sh uds     only checks whose name matches
#   LAB_LOGS=folder …                      keeps the logs of every process
#
# Prints `ok NAME` or `FAIL NAME: why` a check, and last `N passed, N failed`. Needs root, and what tests/setup.sh installs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cluster/cluster.sh
source "$here/cluster.sh"
# shellcheck source=tests/netns/tunnel.sh
source "$here/../netns/tunnel.sh"
# shellcheck source=tests/netns/assert.sh
source "$here/../netns/assert.sh"
# shellcheck source=tests/cluster/checks.sh
source "$here/checks.sh"

[[ $(id -u) == 0 ]] || skip cluster "network namespaces need root"
tunnel_binaries || skip cluster "there are no binaries to test"
missing=$(cluster_has_what_it_needs 2>&1) || skip cluster "$missing"

variations=("$@")
((${#variations[@]})) || variations=(uds mtls sni)

finish() {
    cluster_down
    lab_down
}
trap finish EXIT
trap 'exit 130' INT TERM

all_checks() {
    check "$VARIATION-logs" logs
    check "$VARIATION-logs-follow" logs_follow
    check "$VARIATION-exec" exec_plain
    check "$VARIATION-exec-tty" exec_tty
    check "$VARIATION-exec-stdin" exec_stdin
    check "$VARIATION-exec-exit-code" exec_exit_code
    check "$VARIATION-exec-spdy" exec_spdy
    check "$VARIATION-attach" attach
    check "$VARIATION-port-forward" port_forward
    check "$VARIATION-cp" cp_both_ways
    check "$VARIATION-metrics-resource" metrics_resource
    check "$VARIATION-stats-summary" stats_summary
    check "$VARIATION-nodes-proxy" nodes_proxy
    check "$VARIATION-execs-at-once" execs_at_once
    check "$VARIATION-agent-stopped" agent_restarts TERM
    check "$VARIATION-agent-killed" agent_restarts KILL
    check "$VARIATION-agent-away" agent_away
}

lab_up
# `sni`: kube-apiserver dials the kubelet's own port at the address that the node's name resolves to.
TLS_LISTEN=$CAPTURE_ADDRESS:10250
tunnel_up
# The certificate has to be there before kube-apiserver starts with it.
issue_client apiserver --nodes '*' --ports 10250
ln -s "$LAB_DIR/client-apiserver" "$LAB_DIR/apiserver-client"
cluster_up "${variations[0]}"
check edge-cannot-be-dialled lab_check edge-1 10250

for VARIATION in "${variations[@]}"; do
    [[ $VARIATION == "${variations[0]}" ]] || cluster_apiserver "$VARIATION"
    if [[ ${LONG:-} == yes ]]; then
        check "$VARIATION-quiet" quiet
    else
        all_checks
    fi
done
summary
