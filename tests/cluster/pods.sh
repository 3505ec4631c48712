#!/usr/bin/env bash
# The checks of the cluster of three nodes: that it is what the tests of edge-tunnel in pods take it to be.
#
#   tests/cluster/pods.sh
#   ONLY='service.*' tests/cluster/pods.sh     only checks whose name matches
#   LAB_LOGS=folder …                          keeps the logs of every process
#
# Prints `ok NAME` or `FAIL NAME: why` a check, and last `N passed, N failed`. Needs root, and what tests/setup.sh installs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cluster/cluster.sh
source "$here/cluster.sh"
# shellcheck source=tests/netns/assert.sh
source "$here/../netns/assert.sh"

[[ $(id -u) == 0 ]] || skip pods "network namespaces need root"
missing=$(cluster_has_what_it_needs 2>&1) || skip pods "$missing"
images_static || skip pods "there are no static programs to make images of"

finish() {
    cluster_down
    lab_down
}
trap finish EXIT
trap 'exit 130' INT TERM

# pod NAME [NODE]: serves its name at port 8080. Without a node the scheduler has to find one.
pod() {
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1}}
spec:
  ${2:+nodeName: $2}
  terminationGracePeriodSeconds: 0
  containers:
    - name: web
      image: $SHELL_IMAGE
      imagePullPolicy: Never
      command: [sh, -c, "echo $1 > /www/index.html; exec httpd -f -p 8080 -h /www"]
---
apiVersion: v1
kind: Service
metadata: {name: $1}
spec: {selector: {app: $1}, ports: [{port: 80, targetPort: 8080}]}
YAML
}

# own_pod PROGRAM NODE: our own image, under the rules that Pod Security calls restricted, with a root that cannot be written.
own_pod() {
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1-$2}
spec:
  nodeName: $2
  restartPolicy: Never
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: it
      image: edge-tunnel.invalid/$1:test
      imagePullPolicy: Never
      args: [--version]
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
YAML
}

pod_ip() { kubectl get pod "$1" -o jsonpath='{.status.podIP}' | grep .; }

service_ip() { kubectl get service "$1" -o jsonpath='{.spec.clusterIP}' | grep .; }

# pod_pid NODE NAME: the process id of its container.
pod_pid() {
    local id
    id=$(kubectl get pod "$2" -o jsonpath='{.status.containerStatuses[0].containerID}')
    node_ctr "$1" tasks list | awk -v id="${id#containerd://}" '$1 == id { print $2 }' | grep .
}

# in_pod NODE NAME COMMAND…: a command of this machine on the pod's network.
in_pod() {
    local pid
    pid=$(pod_pid "$1" "$2")
    shift 2
    nsenter --net="/proc/$pid/ns/net" "$@"
}

GET=(curl -sS -m 5)

nodes_ready() {
    local node
    same "nodes" "${THREE_NODES[*]}" "$(kubectl get nodes -o jsonpath='{.items[*].metadata.name}')"
    for node in "${THREE_NODES[@]}"; do node_ready "$node" || fail "$node is not Ready"; done
}

edge_labels() {
    same "by OpenYurt's label" edge-1 "$(kubectl get nodes -l openyurt.io/is-edge-worker=true -o jsonpath='{.items[*].metadata.name}')"
    same "by our label" edge-2 "$(kubectl get nodes -l edge-tunnel.io/enabled=true -o jsonpath='{.items[*].metadata.name}')"
}

# Each node has a range, and its pods have their addresses from it.
ranges_differ() {
    local node ranges=()
    for node in "${THREE_NODES[@]}"; do ranges+=("$(node_range "$node")"); done
    same "different ranges" 3 "$(printf '%s\n' "${ranges[@]}" | sort -u | grep -c /24)"
    same "range of the pod on cloud-1" "${ranges[0]%.*}" "$(pod_ip cloud-a | cut -d. -f1-3)"
    same "range of the pod on edge-1" "${ranges[1]%.*}" "$(pod_ip edge-a | cut -d. -f1-3)"
}

# On the node itself the pod answers, so it is the way that is missing.
edge_pod_cannot_be_dialled() {
    local address
    address=$(pod_ip edge-a)
    same "from its node" edge-a "$(in_space edge-1 "${GET[@]}" "http://$address:8080/")"
    ! dials cloud "$address" 8080 || fail "cloud can dial the pod $address on edge-1"
    ! in_pod cloud-1 cloud-a timeout 1 bash -c "exec 3<>/dev/tcp/$address/8080" 2>/dev/null ||
        fail "a pod in the cloud can dial the pod $address on edge-1"
}

# What every client in a pod does: address from the environment, token and CA from the mounted service account.
api_from_pod() {
    local pid secrets address answer
    pid=$(pod_pid cloud-1 cloud-a)
    secrets=/proc/$pid/root/var/run/secrets/kubernetes.io/serviceaccount
    address=$(tr '\0' '\n' <"/proc/$pid/environ" | sed -n 's/^KUBERNETES_SERVICE_HOST=//p')
    same "address of kube-apiserver in a pod" "$SERVICE_ADDRESS" "$address"
    answer=$(in_pod cloud-1 cloud-a "${GET[@]}" --cacert "$secrets/ca.crt" -H "Authorization: Bearer $(<"$secrets/token")" \
        "https://$address/api/v1/secrets")
    has "who kube-apiserver takes it for" system:serviceaccount:default:default "$answer"
}

service_from_cloud() { same "answer" cloud-a "$(in_space cloud "${GET[@]}" "http://$(service_ip cloud-a)/")"; }

# A neighbour on the same node, and the pod itself: both answers have to find their way back through kube-proxy.
service_from_pod() {
    local address
    address=$(service_ip cloud-a)
    same "answer to its neighbour" cloud-a "$(in_pod cloud-1 cloud-b "${GET[@]}" "http://$address/")"
    same "answer to itself" cloud-a "$(in_pod cloud-1 cloud-a "${GET[@]}" "http://$address/")"
}

# The edge's own kube-proxy has it from kube-apiserver through the load balancer.
service_on_edge() { same "answer" edge-a "$(in_space edge-1 "${GET[@]}" "http://$(service_ip edge-a)/")"; }

# What a cloud gives a Service of type LoadBalancer, over TCP and UDP, seen from an edge node; LB_IP_MODE=VIP breaks it there.
load_balancer_from_edge() {
    kubectl patch service cloud-a --type merge -p '{"spec": {"type": "LoadBalancer", "ports": [
        {"name": "tcp", "port": 80, "targetPort": 8080}, {"name": "udp", "protocol": "UDP", "port": 81, "targetPort": 8081}]}}'
    wait_for 30 balancer eval "kubectl get service cloud-a -o jsonpath='{.status.loadBalancer.ingress[*].ip}' | grep -x $LB_ADDRESS"
    wait_for 20 balancer eval "in_space edge-1 ${GET[*]} http://$LB_ADDRESS/ | grep -x cloud-a"
    spawn udp-echo nsenter --net="/proc/$(pod_pid cloud-1 cloud-a)/ns/net" socat UDP-LISTEN:8081,fork PIPE
    wait_for 20 udp-echo eval "echo over udp | in_space edge-1 socat -t 2 - UDP:$LB_ADDRESS:81 | grep -x 'over udp'"
    stop udp-echo
}

# What kube-apiserver publishes of its CAs, for whoever serves behind it or knows its kubelets.
published_cas() {
    local key name
    for key in client-ca-file=cluster-ca requestheader-client-ca-file=front-proxy-ca; do
        name=${key#*=}
        same "$name" "$(<"$PKI/$name.crt")" "$(kubectl -n kube-system get configmap extension-apiserver-authentication \
            -o "jsonpath={.data.${key%=*}}")"
    done
}

# On every node, because each imports for itself. What an edge node's pod printed cannot be read from here: how it ended says enough.
own_images() {
    local program node
    for program in edge-tunnel-server edge-tunnel-agent; do
        for node in "${THREE_NODES[@]}"; do own_pod "$program" "$node"; done
    done | kubectl apply -f - >/dev/null
    for program in edge-tunnel-server edge-tunnel-agent; do
        for node in "${THREE_NODES[@]}"; do
            kubectl wait --for=jsonpath='{.status.phase}'=Succeeded "pod/$program-$node" --timeout 60s ||
                fail "$program on $node: $(kubectl get pod "$program-$node" -o jsonpath='{.status.containerStatuses[0].state}')"
        done
        has "its version" "$program " "$(kubectl logs "$program-cloud-1")"
    done
}

scheduler_places() {
    local node
    node=$(kubectl get pod anywhere -o jsonpath='{.spec.nodeName}')
    [[ " ${THREE_NODES[*]} " == *" $node "* ]] || fail "the pod is on '$node'"
    same "who placed it" default-scheduler "$(kubectl get events --field-selector reason=Scheduled,involvedObject.name=anywhere \
        -o jsonpath='{.items[*].reportingComponent}')"
}

exec_on_cloud_node() {
    same "exec" cloud-a "$(kubectl exec cloud-a -- cat /www/index.html)"
}

lab_up
cluster_three_up direct
cluster_images "${THREE_NODES[@]}"
{ pod cloud-a cloud-1; pod cloud-b cloud-1; pod edge-a edge-1; pod anywhere; } | kubectl apply -f - >/dev/null
for name in cloud-a cloud-b edge-a anywhere; do
    kubectl wait --for=condition=Ready "pod/$name" --timeout 90s >/dev/null || {
        kubectl describe pod "$name" | tail -n 15 >&2
        die "the pod $name did not become ready"
    }
done

check nodes-ready nodes_ready
check edge-labels edge_labels
check pod-ranges-differ ranges_differ
for node in edge-1 edge-2; do check "$node-cannot-be-dialled" lab_check "$node" 10250; done
check edge-pod-cannot-be-dialled edge_pod_cannot_be_dialled
check exec-on-cloud-node exec_on_cloud_node
check api-from-pod api_from_pod
check service-from-cloud service_from_cloud
check service-from-pod service_from_pod
check service-on-edge service_on_edge
check load-balancer-from-edge load_balancer_from_edge
check published-cas published_cas
check own-images own_images
check scheduler-places-pod scheduler_places
summary
