#!/usr/bin/env bash
# The server with --kubernetes, on the cluster of three nodes: Nodes, labels and addresses, the ConfigMap, and all that
# kube-apiserver dials by its egress selector, wherever it runs. Server and agents are processes here, with join tokens.
#
#   tests/cluster/nodes.sh
#   ONLY='webhook.*' tests/cluster/nodes.sh     only checks whose name matches
#   AWAY_SECONDS=90                             how long kube-apiserver is away under traffic
#   LAB_LOGS=folder …                           keeps the logs of every process
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
# shellcheck source=tests/cluster/beyond.sh
source "$here/beyond.sh"
# shellcheck source=tests/cluster/rights.sh
source "$here/rights.sh"

AWAY_SECONDS=${AWAY_SECONDS:-90}

[[ $(id -u) == 0 ]] || skip nodes "network namespaces need root"
tunnel_binaries || skip nodes "there are no binaries to test"
missing=$(cluster_has_what_it_needs 2>&1) || skip nodes "$missing"

finish() {
    cluster_down
    lab_down
}
trap finish EXIT
trap 'exit 130' INT TERM

# keys KEY=TEXT…: the ConfigMap says this and nothing else.
keys() {
    local arguments=() pair
    for pair in "$@"; do arguments+=("--from-literal=$pair"); done
    kubectl -n kube-system create configmap "$CONFIG_MAP" "${arguments[@]}" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
}

# by_http HOST:PORT PATH: the status, through the http way in.
by_http() { in_space cloud curl -s -m 5 -o "$LAB_DIR/answer" -w '%{http_code}' -H "Host: $1" "http://127.0.0.1:10264$2"; }

answers() { [[ $(by_http "$1" "$2") == "$3" ]]; }

# The agent's own health, on its loopback: any port will do that the keys open.
HEALTH=10266

logs_by_address() { has "logs" "tick" "$(kubectl logs web -c web --tail 3)"; }

exec_by_address() { same "exec" out "$(kubectl exec web -c web -- echo out)"; }

exec_on_cloud_node() { same "exec on a node that is dialled directly" cloud-a "$(kubectl exec cloud-a -- cat /www/index.html)"; }

readiness() { same "/readyz" ready "$(in_space cloud curl -s http://127.0.0.1:10265/readyz)"; }

ports_are_live() {
    keys "http-proxy-ports=$HEALTH, nonsense"
    wait_for 10 server answers "edge-1:$HEALTH" /livez 200
    wait_for 20 server eval "kubectl -n kube-system get events.events.k8s.io -o json | jq -e '
        any(.items[]; .regarding.name == \"$CONFIG_MAP\" and .reason == \"BadEntry\" and (.note | contains(\"nonsense\")))'"
    in_space cloud curl -s http://127.0.0.1:10265/metrics | grep -q 'config_bad_entries{key="http-proxy-ports"} 1' || fail "the metric has no bad entry"
    keys http-proxy-ports=9999
    wait_for 10 server answers "edge-1:$HEALTH" /livez 403
    keys "http-proxy-ports=$HEALTH"
    wait_for 10 server answers "edge-1:$HEALTH" /livez 200
    kubectl -n kube-system delete configmap "$CONFIG_MAP" >/dev/null
    wait_for 10 server answers "edge-1:$HEALTH" /livez 403
}

# An https port: its listener comes, and goes with the entry, while a connection that is open stays.
listeners_are_live() {
    local port=10443
    keys "https-proxy-ports=9446=$port" "localhost-proxy-ports=9446"
    wait_for 10 server dials cloud 127.0.0.1 $port
    keys http-proxy-ports=1
    wait_for 10 server eval "! dials cloud 127.0.0.1 $port"
}

by_label() {
    keys "http-proxy-ports=$HEALTH"
    wait_for 10 server answers "${EDGE_ADDRESS[edge-2]}:$HEALTH" /livez 200
    kubectl label node edge-2 edge-tunnel.io/enabled- >/dev/null
    # Its address is a plain node's now, and its name leads to the session that it has all the same.
    wait_for 10 server answers "${EDGE_ADDRESS[edge-2]}:$HEALTH" /livez 503
    has "why" "not tunnelled" "$(<"$LAB_DIR/answer")"
    answers "edge-2:$HEALTH" /livez 200 || fail "the name of a node with a session does not lead there: $(<"$LAB_DIR/answer")"
    kubectl label node edge-2 edge-tunnel.io/enabled=true >/dev/null
    wait_for 10 server answers "${EDGE_ADDRESS[edge-2]}:$HEALTH" /livez 200
}

# claims NODE ADDRESS HOSTNAME: what a kubelet with a mind of its own would report. Its next status takes it back.
claims() {
    kubectl patch node "$1" --subresource=status --type=merge -p "{\"status\": {\"addresses\": [
        {\"type\": \"InternalIP\", \"address\": \"$2\"}, {\"type\": \"Hostname\", \"address\": \"$3\"}]}}" >/dev/null
}

# An edge node that reports the control plane's address and name as its own diverts nothing and cuts nothing.
impersonation() {
    local i
    stop edge-2-kubelet 5
    claims edge-2 "$CLOUD_ADDRESS" cloud-1
    wait_for 10 server eval "in_space cloud curl -s http://127.0.0.1:10265/metrics | grep -q 'config_bad_entries{key=\"nodes\"} [1-9]'"
    for ((i = 0; i < 5; i++)); do
        same "exec on cloud-1" cloud-a "$(kubectl exec cloud-a -- cat /www/index.html)"
        same "exec on edge-1" out "$(kubectl exec web -c web -- echo out)"
    done
    answers "edge-2:$HEALTH" /livez 200 || fail "edge-2 is not reached by its name: $(<"$LAB_DIR/answer")"
    # And one that reports another edge node's address: the address leads nowhere, and the names do not suffer.
    claims edge-2 "${EDGE_ADDRESS[edge-1]}" edge-2
    wait_for 10 server answers "${EDGE_ADDRESS[edge-1]}:$HEALTH" /livez 503
    has "why" "edge-1 and edge-2 claim" "$(<"$LAB_DIR/answer")"
    answers "edge-1:$HEALTH" /livez 200 || fail "edge-1 is not reached by its name: $(<"$LAB_DIR/answer")"
    # A node's address changes: it is followed.
    claims edge-2 198.51.100.150 edge-2
    wait_for 10 server answers "${EDGE_ADDRESS[edge-1]}:$HEALTH" /livez 200
    wait_for 10 server answers "198.51.100.150:$HEALTH" /livez 200
    node_kubelet edge-2
    wait_for 60 edge-2-kubelet answers "${EDGE_ADDRESS[edge-2]}:$HEALTH" /livez 200
}

# Its registration is the Node's: it ends with that, and a Node that is made anew is another one.
node_made_anew() {
    local before after
    before=$(kubectl get node edge-2 -o jsonpath='{.metadata.uid}')
    keys "http-proxy-ports=$HEALTH"
    wait_for 10 server answers "edge-2:$HEALTH" /livez 200
    stop edge-2-kubelet 5
    kubectl delete node edge-2 >/dev/null
    wait_for 5 server eval "! agent_connected edge-2"
    answers "edge-2:$HEALTH" /livez 503 || fail "a deleted Node is still reached: $(<"$LAB_DIR/answer")"
    # Its token was used up by the Node that is gone, and opens nothing for another.
    node_kubelet edge-2
    wait_for 60 edge-2-kubelet eval "kubectl get node edge-2"
    kubectl label --overwrite node edge-2 edge-tunnel.io/enabled=true >/dev/null
    node_join edge-2
    after=$(kubectl get node edge-2 -o jsonpath='{.metadata.uid}')
    [[ $after != "$before" ]] || fail "the Node is the same one"
    sleep 5
    ! agent_connected edge-2 || fail "an old registration came back"
    server_command token create --node edge-2 >"$LAB_DIR/edge-2.token"
    wait_for 90 agent-edge-2 agent_connected edge-2
    answers "edge-2:$HEALTH" /livez 200 || fail "edge-2 is not reached: $(<"$LAB_DIR/answer")"
}

revoked() {
    server_command nodes revoke edge-2
    wait_for 3 server eval "! agent_connected edge-2"
    stop agent-edge-2
    agent_start edge-2 --allow "$POD_RANGE:*"
    sleep 5
    ! agent_connected edge-2 || fail "a revoked node came back"
    answers "edge-1:$HEALTH" /livez 200 || fail "edge-1 suffered: $(<"$LAB_DIR/answer")"
}

# Where agents find the server: a Service of two balancers' kinds, then its annotation; and an agent that goes by it.
endpoints() {
    local folder=$LAB_DIR/endpoints
    kubectl create -f - >/dev/null <<YAML
apiVersion: v1
kind: Service
metadata: {name: edge-tunnel-agents}
spec:
  type: LoadBalancer
  ports:
    - {name: tcp, port: 10300, protocol: TCP}
    - {name: udp, port: 10300, protocol: UDP}
YAML
    wait_for 30 server published "$LB_ADDRESS:10300"
    kubectl annotate service edge-tunnel-agents "x-tunnel-server-external-addr=$LB_ADDRESS:10262" >/dev/null
    wait_for 10 server published "$LB_ADDRESS:10262"
    mkdir -p "$folder"
    kubectl get configmap edge-tunnel-endpoints -o 'jsonpath={.data.ca\.crt}' >"$folder/ca.crt"
    openssl x509 -in "$folder/ca.crt" -noout -checkend 3600
    kubectl get configmap edge-tunnel-endpoints -o 'jsonpath={.data.servers}' >"$folder/servers"
    stop agent
    spawn_in edge-1 agent "$EDGE_TUNNEL_BIN/edge-tunnel-agent" run --endpoints-dir "$folder" --node-name edge-1 \
        --state-dir "$LAB_DIR/edge-1-agent" --drain-timeout "$DRAIN" --allow "$POD_RANGE:*"
    wait_for 30 agent exec_by_address
}

published() { [[ $(kubectl get configmap edge-tunnel-endpoints -o 'jsonpath={.data.servers}') == "$1" ]]; }

# kube-apiserver away under 10 requests a second to a port by name: none fails, and a server and an agent that are restarted
# meanwhile are back without it.
apiserver_away() {
    local end failed=0 count=0 status
    keys "http-proxy-ports=$HEALTH"
    wait_for 10 server answers "edge-1:$HEALTH" /livez 200
    # What is known is kept 5 s after it changed.
    wait_for 20 server grep -q "$HEALTH" "$SERVER_STATE/cluster.json"
    stop kube-apiserver 3
    end=$((SECONDS + AWAY_SECONDS))
    while ((SECONDS < end)); do
        status=$(by_http "edge-1:$HEALTH" /livez)
        [[ $status == 200 ]] || failed=$((failed + 1))
        count=$((count + 1))
        sleep 0.1
    done
    same "failures of $count requests" 0 "$failed"
    stop agent
    agent_start edge-1
    wait_for 20 agent answers "edge-1:$HEALTH" /livez 200
    stop server
    kubernetes_server
    has "/readyz" "by what was last known" "$(in_space cloud curl -s http://127.0.0.1:10265/readyz)"
    wait_for 40 agent answers "edge-1:$HEALTH" /livez 200
    wait_for 20 agent answers "${EDGE_ADDRESS[edge-1]}:$HEALTH" /livez 200
    cluster_apiserver uds
    wait_for 60 server readiness
    wait_for 30 server exec_by_address
}

kubernetes_server() {
    SERVER_SOURCE=(--kubernetes "$LAB_DIR/server.kubeconfig" --service-cidrs "$SERVICE_RANGE")
    server_start
}

lab_up
APISERVER_OPTIONS=(--enable-aggregator-routing)
agents=$(<"$LAB_DIR/lb.d/agents.conf")
cluster_three_up uds
# The server is no Service here.
echo "$agents" >"$LAB_DIR/lb.d/agents.conf"
signal_process lb HUP
server_rights
kubernetes_server
for node in edge-1 edge-2; do
    agent_start "$node" --allow "$POD_RANGE:*"
    wait_for 30 "$(agent_process "$node")" agent_connected "$node" || die "the agent of $node did not connect"
done
beyond_up

for node in edge-1 edge-2; do check "$node-cannot-be-dialled" lab_check "$node" 10250; done
check readiness readiness
check logs-by-address logs_by_address
check exec-by-address exec_by_address
check exec-on-cloud-node exec_on_cloud_node
check service-proxy-cloud service_proxy cloud-a
check service-proxy-edge service_proxy edge-a
check pod-proxy-cloud pod_proxy cloud-a
check pod-proxy-edge pod_proxy edge-a
check webhook-cloud webhook cloud-1
check webhook-edge webhook edge-1
check aggregated-api-cloud aggregated cloud-1
check aggregated-api-edge aggregated edge-1
check ports-are-live ports_are_live
check listeners-are-live listeners_are_live
check by-label by_label
check impersonation impersonation
check endpoints endpoints
check node-made-anew node_made_anew
check revoked revoked
check apiserver-away apiserver_away
summary
