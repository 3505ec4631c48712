# shellcheck shell=bash
# A user for a server that runs outside of pods: it may do what the documentation says that it needs, and no more. Sourced by runners;
# needs cluster.sh.

CONFIG_MAP=edge-tunnel-server-cfg

# server_rights: its kubeconfig is $LAB_DIR/server.kubeconfig.
server_rights() {
    kubectl apply -f - >/dev/null <<YAML
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: edge-tunnel-server}
rules:
  - {apiGroups: [""], resources: [nodes], verbs: [get, list, watch]}
  - {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: edge-tunnel-server}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edge-tunnel-server}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: edge-tunnel-server}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: edge-tunnel-server, namespace: kube-system}
rules:
  - {apiGroups: [""], resources: [configmaps], resourceNames: [$CONFIG_MAP], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: edge-tunnel-server, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: edge-tunnel-server}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: edge-tunnel-server}]
YAML
    kubectl apply -f - >/dev/null <<YAML
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: edge-tunnel-server, namespace: default}
rules:
  - {apiGroups: [""], resources: [services], verbs: [get, list, watch]}
  - {apiGroups: [""], resources: [configmaps], verbs: [create]}
  - {apiGroups: [""], resources: [configmaps], resourceNames: [edge-tunnel-endpoints], verbs: [get, list, watch, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: edge-tunnel-server, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: edge-tunnel-server}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: edge-tunnel-server}]
YAML
    pki_sign edge-tunnel-server cluster-ca "/CN=edge-tunnel-server" clientAuth
    pki_kubeconfig "$LAB_DIR/server.kubeconfig" "https://$CLOUD_ADDRESS:6443" edge-tunnel-server
}
