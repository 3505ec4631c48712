#!/usr/bin/env bash
# A real Kubernetes on the network lab: control plane in `cloud`, and nodes in `edge-1` and `edge-2` that it cannot dial.
#
#   tests/cluster/cluster.sh up [VARIATION]    the control plane and edge-1; prints how to use it; stays until `down`
#   tests/cluster/cluster.sh up three [VARIATION]   with cloud-1, edge-2, Services and a scheduler (see three.sh)
#   tests/cluster/cluster.sh apiserver VARIATION   restarts only kube-apiserver, with another way to its nodes
#   tests/cluster/cluster.sh down
#
# VARIATION, how kube-apiserver reaches a kubelet:
#   direct  it dials (and fails: the node cannot be dialled)
#   uds     egress selector, HTTPConnect over a unix socket; nodes by address
#   mtls    egress selector, HTTPConnect over TCP with client certificates; nodes by name
#   sni     no egress selector; the node's name resolves to the server's `tls` way in; --kubelet-certificate-authority
#
# The kubelet reaches kube-apiserver as an edge node does: out through the NAT, to the load balancer.
# Sourced, it is a library: lab_up, cluster_up or cluster_three_up, then cluster_down and lab_down in a trap.

CLUSTER_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# 198.18.0.0/15 is for tests of networks; half of it for Services, half for pods. The first address is kube-apiserver's own Service.
SERVICE_ADDRESS=198.18.0.1
SERVICE_RANGE=198.18.0.0/16
POD_RANGE=198.19.0.0/16

# shellcheck source=tests/netns/lab.sh
source "$CLUSTER_HERE/../netns/lab.sh"
# shellcheck source=tests/cluster/pki.sh
source "$CLUSTER_HERE/pki.sh"
# shellcheck source=tests/cluster/node.sh
source "$CLUSTER_HERE/node.sh"
# shellcheck source=tests/cluster/images.sh
source "$CLUSTER_HERE/images.sh"
# shellcheck source=tests/cluster/balancer.sh
source "$CLUSTER_HERE/balancer.sh"
# shellcheck source=tests/cluster/three.sh
source "$CLUSTER_HERE/three.sh"

# cluster_up [VARIATION]: the control plane and the one node edge-1, with the pod of the checks.
cluster_up() {
    cluster_control_plane "${1:-uds}"
    nodes_up edge-1
    cluster_pod
}

# cluster_control_plane VARIATION. Needs a lab. Sets KUBE_BIN and KUBECONFIG.
cluster_control_plane() {
    local variation=$1
    cluster_has_what_it_needs
    KUBE_BIN=$("$CLUSTER_HERE/build.sh") || die "there is no Kubernetes to test with (above)"
    echo "$KUBE_BIN" >"$LAB_DIR/kube-bin"
    pki_make
    cluster_paths
    pki_kubeconfig "$KUBECONFIG" "https://$CLOUD_ADDRESS:6443" admin
    pki_kubeconfig "$LAB_DIR/controller-manager.kubeconfig" "https://$CLOUD_ADDRESS:6443" controller-manager

    # A test cluster's data is worth no fsync, which on a busy disk is most of what etcd does.
    spawn_in cloud etcd "$KUBE_BIN/etcd" --data-dir "$LAB_DIR/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster default=http://127.0.0.1:2380
    wait_for 30 etcd dials cloud 127.0.0.1 2379 || die "etcd did not come up"
    cluster_apiserver "$variation"
    spawn_in cloud kube-controller-manager "$KUBE_BIN/kube-controller-manager" --leader-elect=false --use-service-account-credentials \
        --kubeconfig "$LAB_DIR/controller-manager.kubeconfig" --root-ca-file "$PKI/cluster-ca.crt" \
        --service-account-private-key-file "$PKI/service-account.key" --bind-address 127.0.0.1 \
        --allocate-node-cidrs --cluster-cidr "$POD_RANGE" --service-cluster-ip-range "$SERVICE_RANGE"
}

cluster_has_what_it_needs() {
    local tool
    for tool in containerd ctr runc busybox nft nginx openssl python3 jq socat unshare nsenter /usr/lib/cni/ptp; do
        command -v "$tool" >/dev/null || die "$tool is missing; run tests/setup.sh as root"
    done
}

cluster_paths() {
    PKI=$LAB_DIR/pki
    KUBECONFIG=$LAB_DIR/kubeconfig
    EGRESS_SOCKET=$LAB_DIR/egress.sock
    # What `edge-tunnel-server issue-client` writes for kube-apiserver: client.crt, client.key, ca.crt.
    EGRESS_CLIENT=$LAB_DIR/apiserver-client
    [[ ! -e $LAB_DIR/kube-bin ]] || KUBE_BIN=$(<"$LAB_DIR/kube-bin")
}

# cluster_apiserver VARIATION: starts it, or ends the running one and starts another. APISERVER_OPTIONS is an array of further flags.
APISERVER_OPTIONS=()
cluster_apiserver() {
    local variation=$1 node capture='' options=()
    case $variation in
        direct) options=(--kubelet-preferred-address-types=InternalIP) ;;
        uds)
            # As kubeadm sets it up: addresses, and no CA for kubelets.
            options=("--kubelet-preferred-address-types=InternalIP,Hostname" "--egress-selector-config-file=$LAB_DIR/egress-uds.yaml")
            egress_selector "uds: {udsName: $EGRESS_SOCKET}" >"$LAB_DIR/egress-uds.yaml"
            ;;
        mtls)
            options=(--kubelet-preferred-address-types=Hostname "--kubelet-certificate-authority=$PKI/kubelet-ca.crt"
                "--egress-selector-config-file=$LAB_DIR/egress-mtls.yaml")
            egress_selector "tcp: {url: 'https://127.0.0.1:10271', tlsConfig: {caBundle: $EGRESS_CLIENT/ca.crt,
          clientCert: $EGRESS_CLIENT/client.crt, clientKey: $EGRESS_CLIENT/client.key}}" >"$LAB_DIR/egress-mtls.yaml"
            ;;
        sni)
            options=(--kubelet-preferred-address-types=Hostname "--kubelet-certificate-authority=$PKI/kubelet-ca.crt")
            # Never a loopback address: kube-apiserver refuses to proxy to a node whose name resolves to one.
            capture=$CAPTURE_ADDRESS
            ;;
        *) die "no variation $variation; there are direct, uds, mtls and sni" ;;
    esac
    # It would wait for every watch to end.
    stop kube-apiserver 3
    {
        echo "127.0.0.1 localhost"
        echo "$CLOUD_ADDRESS cloud-1"
        for node in "${!EDGE_ADDRESS[@]}"; do echo "${capture:-${EDGE_ADDRESS[$node]}} $node"; done
    } >"$LAB_DIR/hosts"
    # Nobody answers there: a name that hosts does not know fails at once, instead of after a resolver's timeout.
    echo "nameserver 127.0.0.1" >"$LAB_DIR/resolv.conf"
    # shellcheck disable=SC2016
    spawn_in cloud kube-apiserver unshare --mount --propagation private bash -ec '
        mount --bind "$0/hosts" /etc/hosts
        mount --bind "$0/resolv.conf" /etc/resolv.conf
        exec "$@"' "$LAB_DIR" \
        "$KUBE_BIN/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --secure-port 6443 --advertise-address "$CLOUD_ADDRESS" \
        --tls-cert-file "$PKI/kube-apiserver.crt" --tls-private-key-file "$PKI/kube-apiserver.key" \
        --client-ca-file "$PKI/cluster-ca.crt" --cert-dir "$LAB_DIR/apiserver" \
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
        --kubelet-client-certificate "$PKI/apiserver-kubelet-client.crt" --kubelet-client-key "$PKI/apiserver-kubelet-client.key" \
        --service-account-key-file "$PKI/service-account.pub" --service-account-signing-key-file "$PKI/service-account.key" \
        --service-account-issuer https://kubernetes.default.svc \
        --requestheader-client-ca-file "$PKI/front-proxy-ca.crt" --requestheader-allowed-names front-proxy-client \
        --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
        --requestheader-extra-headers-prefix X-Remote-Extra- --enable-aggregator-routing \
        --proxy-client-cert-file "$PKI/front-proxy-client.crt" --proxy-client-key-file "$PKI/front-proxy-client.key" \
        --service-cluster-ip-range "$SERVICE_RANGE" "${options[@]}" "${APISERVER_OPTIONS[@]}"
    wait_for 120 kube-apiserver kubectl get --raw /readyz || die "kube-apiserver ($variation) did not become ready"
}

# egress_selector TRANSPORT
egress_selector() {
    cat <<YAML
apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
  - name: cluster
    connection:
      proxyProtocol: HTTPConnect
      transport:
        $1
YAML
}

# kubectl, from the cloud. HOME is the lab's: its caches are of a cluster that is gone tomorrow.
kubectl() { HOME=$LAB_DIR KUBECONFIG=$KUBECONFIG in_space cloud "$KUBE_BIN/kubectl" "$@"; }

# The pod of the checks: `web` serves HTTP and counts on stdout, `echo` returns what it is attached to.
cluster_pod() {
    # A pod is refused until its namespace has its service account, and does not start (and is tried ever more seldom) without
    # the CA's ConfigMap; the controller manager makes both.
    wait_for 60 kube-controller-manager kubectl get serviceaccount/default configmap/kube-root-ca.crt ||
        die "the controller manager made no default service account or no kube-root-ca.crt"
    kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: edge-1
  terminationGracePeriodSeconds: 0
  tolerations: [{operator: Exists}]
  containers:
    - name: web
      image: $SHELL_IMAGE
      imagePullPolicy: Never
      ports: [{containerPort: 8080}]
      command: [sh, -c]
      args:
        - |
          mkdir -p /www/cgi-bin
          echo hello from edge-1 > /www/index.html
          printf '#!/bin/sh\necho "Content-Type: text/plain"; echo; head -c "\$CONTENT_LENGTH" | sha256sum\n' > /www/cgi-bin/sum
          chmod 755 /www/cgi-bin/sum
          httpd -p 8080 -h /www
          n=0; while true; do echo "tick \$n"; n=\$((n+1)); sleep 1; done
    - name: echo
      image: $SHELL_IMAGE
      imagePullPolicy: Never
      stdin: true
      command: [cat]
YAML
    wait_for 90 edge-1-kubelet cluster_pod_ready || {
        kubectl describe pod web | tail -n 15 >&2
        die "the pod web did not become ready on edge-1"
    }
}

cluster_pod_ready() {
    [[ $(kubectl get pod web -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}') == True ]]
}

# cluster_on_loopback: sets HOST_KUBECONFIG, which works outside the lab. From this machine's loopback by a unix socket, which knows
# no network namespaces, into the cloud.
cluster_on_loopback() {
    local port=16443
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    spawn_in cloud api-inside socat "UNIX-LISTEN:$LAB_DIR/api.sock,fork,mode=600" "TCP:$CLOUD_ADDRESS:6443"
    wait_for 5 api-inside test -S "$LAB_DIR/api.sock" || die "no unix socket to kube-apiserver"
    spawn api-outside socat "TCP-LISTEN:$port,bind=127.0.0.1,fork,reuseaddr" "UNIX-CONNECT:$LAB_DIR/api.sock"
    HOST_KUBECONFIG=$LAB_DIR/kubeconfig-host
    pki_kubeconfig "$HOST_KUBECONFIG" "https://127.0.0.1:$port" admin
}

cluster_down() {
    [[ -n ${LAB_DIR:-} && -e $LAB_DIR ]] || return 0
    local node
    for node in "${!NODE_SPACE[@]}"; do node_down "$node"; done
    stop balancer 3
    stop kube-scheduler 3
    stop kube-controller-manager 3
    stop kube-apiserver 3
    stop etcd 5
}

cluster_main() {
    local command=${1:-help}
    shift || true
    case $command in
        up)
            trap '{ cluster_down; lab_down; }' EXIT
            trap 'exit 130' INT TERM
            lab_up kept
            if [[ ${1:-} == three ]]; then cluster_three_up "${2:-direct}"; else cluster_up "${1:-direct}"; fi
            trap - EXIT
            cluster_on_loopback
            echo "lab $LAB is up; try: KUBECONFIG=$HOST_KUBECONFIG $KUBE_BIN/kubectl get nodes"
            ;;
        apiserver)
            lab_find
            cluster_paths
            cluster_apiserver "${1:?which variation?}"
            ;;
        down)
            lab_find
            cluster_down
            lab_down
            ;;
        *) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" ;;
    esac
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
    cluster_main "$@"
fi
