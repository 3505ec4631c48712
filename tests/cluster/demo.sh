#!/usr/bin/env bash
# Shows edge-tunnel at work: a real Kubernetes, with a node that nobody can dial, on this one machine.
#
#   tests/cluster/demo.sh           about a minute, once Kubernetes is built
#   KEEP=1 tests/cluster/demo.sh    leaves it up and says how to use it and how to end it
#
# Needs root, and what tests/setup.sh installs. Ends what it started.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cluster/cluster.sh
source "$here/cluster.sh"
# shellcheck source=tests/netns/tunnel.sh
source "$here/../netns/tunnel.sh"

bold='' dim='' plain=''
if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi

heading() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }

say() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }

# show COMMAND…: prints it as a person would type it, runs it, and lets it fail.
show() {
    local word line='$'
    for word in "$@"; do
        if [[ $word == *[!A-Za-z0-9_./:=@%,+-]* ]]; then line+=" '$word'"; else line+=" $word"; fi
    done
    printf '\n%s%s%s\n' "$bold" "$line" "$plain"
    # Not sed: what ends without a newline gets one.
    "$@" 2>&1 | awk '{ print "    " $0 }' || true
}

finish() {
    cluster_down
    lab_down
}

[[ $(id -u) == 0 ]] || die "network namespaces need root; try: sudo make demo"
cluster_has_what_it_needs
if ! tunnel_binaries 2>/dev/null; then
    heading "Building edge-tunnel"
    (cd "$here/../.." && cargo build --release -p edge-tunnel-server -p edge-tunnel-agent)
    tunnel_binaries
fi
KUBE_BIN=$("$here/build.sh")

trap finish EXIT
trap 'exit 130' INT TERM
heading "Bringing up a cloud, an edge node behind a NAT, a load balancer between them, and Kubernetes"
if [[ -n ${KEEP:-} ]]; then lab_up kept; else lab_up; fi
cat <<'PICTURE'

    edge-1 198.51.100.141          nginx 198.51.100.66         cloud 198.51.100.10
    kubelet, containerd,  ── NAT ──> TCP and UDP 10262  ─────>  edge-tunnel-server
    edge-tunnel-agent                                           kube-apiserver
PICTURE
server_start
cluster_up uds
cluster_on_loopback
# From here on as a person would: kubectl and our binaries found by name.
export KUBECONFIG=$HOST_KUBECONFIG HOME=$LAB_DIR
unset -f kubectl
PATH=$KUBE_BIN:$EDGE_TUNNEL_BIN:$PATH
say "done in $SECONDS s"

heading "The node is there and healthy, for it can dial out"
show kubectl get nodes -o wide
show kubectl get pods -o wide

heading "But nobody can dial it: not from the cloud, and not even from the router in front of it"
show nsenter "--net=/run/netns/$LAB-cloud" curl -sS -m 3 -k https://198.51.100.141:10250/healthz
show nsenter "--net=/run/netns/$LAB-nat" curl -sS -m 3 -k https://198.51.100.141:10250/healthz
show kubectl logs web -c web

heading "One token, one agent on the node, which dials out"
show edge-tunnel-server token create --node edge-1 --state-dir "$SERVER_STATE" | tee "$LAB_DIR/shown"
tail -n 1 "$LAB_DIR/shown" | tr -d ' ' >"$LAB_DIR/edge-1.token"
say "The node gets the token, and runs:"
say "edge-tunnel-agent run --server $LB_ADDRESS:10262 --node-name edge-1 --token-file token --state-dir /var/lib/edge-tunnel-agent"
mkdir "$LAB_DIR/edge-1-agent"
agent_start edge-1
wait_for 30 agent agent_connected edge-1 || die "the agent did not connect"
show edge-tunnel-server nodes --state-dir "$SERVER_STATE"

heading "kubectl works as on any node"
show kubectl logs web -c web --tail 3
# shellcheck disable=SC2016
show kubectl exec web -c web -- sh -c 'echo "I am $(hostname) at $(hostname -i)"'
show kubectl get --raw /api/v1/nodes/edge-1/proxy/healthz
port=18080
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
spawn port-forward kubectl port-forward pod/web "$port:8080"
printf '\n%s$ kubectl port-forward pod/web %s:8080 &%s\n' "$bold" "$port" "$plain"
wait_for 20 port-forward bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" || die "port-forward did not come up"
show curl -sS -m 10 "http://127.0.0.1:$port/"
stop port-forward

heading "Now UDP is dropped on the way, as many firewalls do"
follow=$LAB_DIR/demo-follow
# Whoever has a stream open notices at once; a quiet session does with its next heartbeat.
# shellcheck disable=SC2016
spawn follow bash -c 'exec kubectl logs -f web -c web --tail 1 >"$0"' "$follow"
wait_for 20 follow grep -q tick "$follow" || die "logs -f gave no line"
lab_udp_drop
start=$SECONDS
wait_for 40 agent agent_connected edge-1 tls || die "the agent did not come back over TLS"
stop follow
say "over TLS after $((SECONDS - start)) s; QUIC is tried again after a minute"
show edge-tunnel-server nodes --state-dir "$SERVER_STATE"
show kubectl exec web -c web -- echo still here
lab_heal

if [[ -n ${KEEP:-} ]]; then
    trap - EXIT
    heading "It stays up"
    cat <<KEPT

    export KUBECONFIG=$HOST_KUBECONFIG
    $KUBE_BIN/kubectl logs -f web -c web
    $EDGE_TUNNEL_BIN/edge-tunnel-server nodes --state-dir $SERVER_STATE
    LAB=$LAB $(dirname "$here")/netns/lab.sh udp drop     watch the transport change; then the same with \`heal\`

    end it with: LAB=$LAB $here/cluster.sh down
KEPT
else
    heading "Ending what was started (KEEP=1 leaves it up)"
fi
