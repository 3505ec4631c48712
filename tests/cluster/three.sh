# shellcheck shell=bash
# The cluster of three nodes, on which pods run as they do anywhere: cloud-1 beside the control plane, edge-1 and edge-2 out of its
# reach, each with its own range of pod addresses; kube-proxy for Services on all of them, and a scheduler. Sourced by cluster.sh.
#
# From the cloud there is a way to the pods of cloud-1 and to Services, and none to the pods of an edge node.

THREE_NODES=(cloud-1 edge-1 edge-2)
# Not nftables: Kubernetes 1.20 knows only this one and ipvs.
PROXY_MODE=iptables

# cluster_three_up [VARIATION]. Needs a lab. Sets KUBE_BIN and KUBECONFIG.
cluster_three_up() {
    local node
    cluster_control_plane "${1:-direct}"
    for node in kube-scheduler kube-proxy; do
        [[ -x $KUBE_BIN/$node ]] ||
            die "KUBE_BIN=$KUBE_BIN holds no executable $node, which three nodes need; unset KUBE_BIN to have one built"
    done
    # Where nothing leads to a Service's address the kernel refuses before kube-proxy's rules are asked. The load balancer forwards
    # nothing, so what goes out here and is no Service is lost, as it is in a cloud's network.
    in_space cloud ip route replace default via 198.51.100.2
    pki_kubeconfig "$LAB_DIR/scheduler.kubeconfig" "${NODE_API[cloud-1]}" scheduler
    spawn_in cloud kube-scheduler "$KUBE_BIN/kube-scheduler" --kubeconfig "$LAB_DIR/scheduler.kubeconfig" --leader-elect=false \
        --bind-address 127.0.0.1
    balancer_up
    nodes_up "${THREE_NODES[@]}"
    for node in "${THREE_NODES[@]}"; do node_proxy "$node"; done
    for node in "${THREE_NODES[@]}"; do
        wait_for 60 "$node-kube-proxy" in_space "${NODE_SPACE[$node]}" curl -fsS -m 2 http://127.0.0.1:10256/healthz ||
            die "kube-proxy of $node did not become ready"
    done
    # A pod is refused until its namespace has its service account, and does not start without the CA's ConfigMap.
    wait_for 60 kube-controller-manager kubectl get serviceaccount/default configmap/kube-root-ca.crt ||
        die "the controller manager made no default service account or no kube-root-ca.crt"
}

# node_proxy NODE. The settings of connection tracking are the machine's: 0 leaves them as they are.
node_proxy() {
    local node=$1 folder=$LAB_DIR/$1
    pki_kubeconfig "$folder/kube-proxy.kubeconfig" "${NODE_API[$node]}" proxy
    node_spawn "$node" kube-proxy "$KUBE_BIN/kube-proxy" --kubeconfig "$folder/kube-proxy.kubeconfig" --hostname-override "$node" \
        --proxy-mode "$PROXY_MODE" --cluster-cidr "$POD_RANGE" --conntrack-max-per-core 0 --conntrack-min 0 \
        --conntrack-tcp-timeout-established 0s --conntrack-tcp-timeout-close-wait 0s
}
