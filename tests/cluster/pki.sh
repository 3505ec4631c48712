# shellcheck shell=bash
# The keys and certificates of a cluster, with openssl only. Sourced by cluster.sh; needs LAB_DIR.

# Everything is in $PKI: NAME.crt and NAME.key.
pki_make() {
    PKI=$LAB_DIR/pki
    mkdir -p "$PKI"
    # Two CAs for kubelets, as in a real cluster: who signs a kubelet's serving certificate (--kubelet-certificate-authority) is not always who
    # signs its client certificate.
    pki_ca cluster-ca
    pki_ca kubelet-ca
    # And one for what kube-apiserver says of a caller to an aggregated API.
    pki_ca front-proxy-ca

    pki_sign kube-apiserver cluster-ca "/CN=kube-apiserver" serverAuth \
        "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:$SERVICE_ADDRESS,IP:$CLOUD_ADDRESS,IP:$LB_ADDRESS"
    pki_sign apiserver-kubelet-client cluster-ca "/O=system:masters/CN=kube-apiserver-kubelet-client" clientAuth
    pki_sign front-proxy-client front-proxy-ca "/CN=front-proxy-client" clientAuth
    pki_sign admin cluster-ca "/O=system:masters/CN=admin" clientAuth
    pki_sign controller-manager cluster-ca "/CN=system:kube-controller-manager" clientAuth
    pki_sign scheduler cluster-ca "/CN=system:kube-scheduler" clientAuth
    pki_sign proxy cluster-ca "/CN=system:kube-proxy" clientAuth

    openssl genrsa -out "$PKI/service-account.key" 2048 2>/dev/null
    openssl rsa -in "$PKI/service-account.key" -pubout -out "$PKI/service-account.pub" 2>/dev/null
}

# pki_node NODE ADDRESS
pki_node() {
    pki_sign "$1" cluster-ca "/O=system:nodes/CN=system:node:$1" clientAuth
    pki_sign "$1-serving" kubelet-ca "/O=system:nodes/CN=system:node:$1" serverAuth "DNS:$1,IP:$2"
}

pki_ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
        -addext "keyUsage=critical,keyCertSign,cRLSign,digitalSignature" -keyout "$PKI/$1.key" -out "$PKI/$1.crt" 2>/dev/null ||
        die "openssl could not make $PKI/$1.crt"
}

# pki_sign NAME CA SUBJECT USAGE [SUBJECT-ALTERNATIVE-NAMES]
pki_sign() {
    local extensions="extendedKeyUsage=$4"
    [[ -z ${5:-} ]] || extensions+=$'\n'"subjectAltName=$5"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$3" -keyout "$PKI/$1.key" -out "$PKI/$1.csr" 2>/dev/null ||
        die "openssl could not make $PKI/$1.csr"
    openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/$2.crt" -CAkey "$PKI/$2.key" -CAcreateserial -days 30 \
        -extfile <(echo "$extensions") -out "$PKI/$1.crt" 2>/dev/null || die "openssl could not make $PKI/$1.crt"
}

# pki_kubeconfig FILE SERVER CERTIFICATE-NAME
pki_kubeconfig() {
    cat >"$1" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "$2", certificate-authority: "$PKI/cluster-ca.crt"}}]
users: [{name: $3, user: {client-certificate: "$PKI/$3.crt", client-key: "$PKI/$3.key"}}]
contexts: [{name: lab, context: {cluster: lab, user: $3}}]
current-context: lab
YAML
    chmod 600 "$1"
}
