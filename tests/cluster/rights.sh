# shellcheck shell=bash
# A user for a server that runs outside of pods: it may do what the example for that says, and no more. Sourced by runners; needs
# cluster.sh.

CONFIG_MAP=edge-tunnel-server-cfg

# server_rights: its kubeconfig is $LAB_DIR/server.kubeconfig.
server_rights() {
    kubectl apply -f "$CLUSTER_HERE/../../deploy/examples/kubernetes/server-rights.yaml" >/dev/null
    pki_sign edge-tunnel-server cluster-ca "/CN=edge-tunnel-server" clientAuth
    pki_kubeconfig "$LAB_DIR/server.kubeconfig" "https://$CLOUD_ADDRESS:6443" edge-tunnel-server
}
