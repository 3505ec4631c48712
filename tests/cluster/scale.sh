#!/usr/bin/env bash
# What 10,000 Nodes cost the server: a real kube-apiserver with as many Node objects of real size, and no kubelets.
#
#   tests/cluster/scale.sh          NODES=10000
#
# Prints `ok NAME` or `FAIL NAME: why` a check with the figures, and last `N passed, N failed`. Needs root.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cluster/cluster.sh
source "$here/cluster.sh"
# shellcheck source=tests/netns/tunnel.sh
source "$here/../netns/tunnel.sh"
# shellcheck source=tests/netns/assert.sh
source "$here/../netns/assert.sh"
# shellcheck source=tests/cluster/rights.sh
source "$here/rights.sh"

NODES=${NODES:-10000}
KEPT_MAX=2048
PEAK_MAX=$((100 * 1024))

[[ $(id -u) == 0 ]] || skip scale "network namespaces need root"
tunnel_binaries || skip scale "there are no binaries to test"
missing=$(cluster_has_what_it_needs 2>&1) || skip scale "$missing"

finish() {
    cluster_down
    lab_down
}
trap finish EXIT
trap 'exit 130' INT TERM

# memory FIELD: VmRSS or VmHWM of the server, in KiB.
memory() { awk -v field="$1:" '$1 == field { print $2 }' "/proc/$(server_pid)/status"; }

# The process that nsenter became.
server_pid() { pid_of server; }

started() {
    server_start
    wait_for 120 server eval "in_space cloud curl -fsS http://127.0.0.1:10265/readyz"
}

# A start with every Node there: the list is the peak.
peak() {
    local kept
    started
    # What is kept on disk is written once more after the list.
    wait_for 60 server test -s "$SERVER_STATE/cluster.json"
    sleep 3
    kept=$((($(memory VmRSS) - EMPTY) * 1024 / NODES))
    echo "resident: $EMPTY KiB with no Node, $(memory VmRSS) KiB with $NODES, $(memory VmHWM) KiB at the peak; $kept bytes a node" | tee "$LAB_DIR/figures"
    ((kept <= KEPT_MAX)) || fail "$kept bytes are kept of a node, at most $KEPT_MAX may be: $(<"$LAB_DIR/figures")"
    (($(memory VmHWM) <= PEAK_MAX)) || fail "a start takes $(memory VmHWM) KiB, at most $PEAK_MAX KiB may be: $(<"$LAB_DIR/figures")"
}

lab_up
cluster_control_plane direct
# It would give each of them a range of pods, and find all of them dead.
stop kube-controller-manager 3
server_rights
SERVER_SOURCE=(--kubernetes "$LAB_DIR/server.kubeconfig")
started
EMPTY=$(memory VmRSS)
stop server
in_space cloud "$here/many_nodes.py" "https://$CLOUD_ADDRESS:6443" "$PKI/cluster-ca.crt" "$PKI/admin.crt" "$PKI/admin.key" "$NODES"
check "start-with-$NODES-nodes" peak
cat "$LAB_DIR/figures" || true
summary
