# shellcheck shell=bash
# What kube-apiserver dials besides kubelets: Services and pods by its proxies, webhooks and aggregated APIs, each with a pod in the
# cloud and one on the edge. Sourced by runners of the cluster of three nodes; needs cluster.sh and assert.sh.
#
# A webhook's or an aggregated API's Service is dialled by the address of a pod (--enable-aggregator-routing): the Service's own
# address leads to a pod on the edge only where kube-proxy runs.

BACKEND_IMAGE=edge-tunnel.invalid/backend:test

beyond_up() {
    local node
    (cd "$CLUSTER_HERE/backend" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$LAB_DIR/backend" .) || die "the backend of the checks cannot be built"
    image_make backend "$BACKEND_IMAGE" "$LAB_DIR/backend" /bin/backend
    for node in cloud-1 edge-1; do
        node_import "$node" "$LAB_DIR/images/backend.tar"
        pki_sign "backend-$node" kubelet-ca "/CN=backend-$node" serverAuth "DNS:backend-$node.default.svc"
        kubectl create secret tls "backend-$node" --cert "$PKI/backend-$node.crt" --key "$PKI/backend-$node.key" >/dev/null
    done
    kubectl create namespace hooked >/dev/null
    { beyond_web cloud-a cloud-1; beyond_web edge-a edge-1; beyond_backend cloud-1; beyond_backend edge-1; } | kubectl apply -f - >/dev/null
    cluster_pod
    kubectl wait --for=condition=Ready pod/cloud-a pod/edge-a pod/backend-cloud-1 pod/backend-edge-1 --timeout 90s >/dev/null || {
        kubectl get pods -o wide >&2
        die "the pods of the checks did not become ready"
    }
}

# beyond_web NAME NODE: serves its name at port 8080.
beyond_web() {
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1}}
spec:
  nodeName: $2
  terminationGracePeriodSeconds: 0
  tolerations: [{operator: Exists}]
  containers:
    - name: web
      image: $SHELL_IMAGE
      imagePullPolicy: Never
      command: [sh, -c, "echo $1 > /www/index.html; exec httpd -f -p 8080 -h /www"]
---
apiVersion: v1
kind: Service
metadata: {name: $1}
spec: {selector: {app: $1}, ports: [{name: http, port: 80, targetPort: 8080}]}
YAML
}

# beyond_backend NODE: the webhook and the aggregated API of that node.
beyond_backend() {
    local ca
    ca=$(base64 -w0 <"$PKI/kubelet-ca.crt")
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: backend-$1, labels: {app: backend-$1}}
spec:
  nodeName: $1
  terminationGracePeriodSeconds: 0
  tolerations: [{operator: Exists}]
  volumes: [{name: tls, secret: {secretName: backend-$1}}]
  containers:
    - name: backend
      image: $BACKEND_IMAGE
      imagePullPolicy: Never
      args: ["$1"]
      volumeMounts: [{name: tls, mountPath: /tls}]
---
apiVersion: v1
kind: Service
metadata: {name: backend-$1}
spec: {selector: {app: backend-$1}, ports: [{port: 443, targetPort: 8443}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: $1.edge-tunnel.invalid}
webhooks:
  - name: $1.edge-tunnel.invalid
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Fail
    timeoutSeconds: 10
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: hooked}}
    objectSelector: {matchLabels: {hook: $1}}
    rules: [{apiGroups: [""], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}]
    clientConfig: {service: {namespace: default, name: backend-$1, path: /validate}, caBundle: $ca}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.$1.edge-tunnel.invalid}
spec:
  group: $1.edge-tunnel.invalid
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  caBundle: $ca
  service: {namespace: default, name: backend-$1}
YAML
}

service_proxy() { same "through the Service's proxy" "$1" "$(kubectl get --raw "/api/v1/namespaces/default/services/http:$1:http/proxy/")"; }

pod_proxy() { same "through the pod's proxy" "$1" "$(kubectl get --raw "/api/v1/namespaces/default/pods/http:$1:8080/proxy/")"; }

# webhook NODE: it says no, and it says yes.
webhook() {
    local said
    said=$(hooked "$1" "deny-$1" "{deny: please}" 2>&1) && fail "what the webhook denies was created"
    has "why" "denied by $1" "$said"
    hooked "$1" "allow-$1" "{}"
}

# hooked NODE NAME DATA
hooked() {
    kubectl create -f - <<YAML
apiVersion: v1
kind: ConfigMap
metadata: {name: $2, namespace: hooked, labels: {hook: $1}}
data: $3
YAML
}

aggregated() {
    kubectl wait --for=condition=Available "apiservice/v1.$1.edge-tunnel.invalid" --timeout 60s
    same "what the aggregated API says" "from $1" "$(kubectl get --raw "/apis/$1.edge-tunnel.invalid/v1/hello" | jq -r .hello)"
}
