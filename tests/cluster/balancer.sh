# shellcheck shell=bash
# What a cloud does for Services of type LoadBalancer: the lab's load balancer passes their ports, TCP and UDP, to the node ports of
# cloud-1, and the Service learns the address. Sourced by cluster.sh.
#
# LB_IP_MODE=VIP: as clouds do it that do not know the field. Then kube-proxy on every node, edges too, takes the load balancer's
# address for the Service's own and sends what is dialled there straight to the pods, which an edge node does not reach.
# Proxy (the default): traffic from nodes, too, goes through the load balancer.
LB_IP_MODE=${LB_IP_MODE:-Proxy}

# balancer_up: from now on, until the lab goes. The agents' port is a Service's now.
balancer_up() {
    rm "$LAB_DIR/lb.d/agents.conf"
    signal_process lb HUP
    LB_IP_MODE=$LB_IP_MODE spawn balancer bash -c 'source "$0/cluster.sh"; LAB=$1 LAB_DIR=$2; cluster_paths; balancer_run' "$CLUSTER_HERE" "$LAB" "$LAB_DIR"
}

# For every change of a Service, and again after kube-apiserver was away.
balancer_run() {
    while true; do
        kubectl get services -A --watch -o name | while read -r _; do balancer_apply || true; done
        sleep 1
    done
}

balancer_apply() {
    local services file=$LAB_DIR/lb.d/services.conf
    services=$(kubectl get services -A -o json) || return 1
    jq -r --arg lb "$LB_ADDRESS" --arg node "$CLOUD_ADDRESS" '
        .items[] | select(.spec.type == "LoadBalancer") | .spec.ports[] | select(.nodePort)
        | (if .protocol == "UDP" then " udp" else "" end) as $udp
        | "server { listen \($lb):\(.port)\($udp); proxy_pass \($node):\(.nodePort); proxy_connect_timeout 5s; proxy_timeout \(
            if $udp == "" then "1h" else "2m" end); }"' <<<"$services" >"$file.new"
    if ! cmp -s "$file.new" "$file"; then
        mv "$file.new" "$file"
        signal_process lb HUP
    fi
    # Only after nginx has been told: who reads the address may dial it at once.
    jq -r '.items[] | select(.spec.type == "LoadBalancer" and .status.loadBalancer.ingress == null)
        | "\(.metadata.namespace) \(.metadata.name)"' <<<"$services" |
        while read -r namespace name; do
            kubectl -n "$namespace" patch service "$name" --subresource status --type merge \
                -p "{\"status\": {\"loadBalancer\": {\"ingress\": [{\"ip\": \"$LB_ADDRESS\", \"ipMode\": \"$LB_IP_MODE\"}]}}}"
        done
}
