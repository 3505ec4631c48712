#!/usr/bin/env bash
# Installs what the tests need and a fresh Debian 12 lacks; says what it installs. Quick when all is there.
#
#   tests/setup.sh            install what is missing (root)
#   SETUP=no tests/setup.sh   only say what is missing, and what will be skipped for it (the same without root)
#
# It starts no service and leaves none enabled that was not there before. A machine's own docker or containerd stays as it is.
set -euo pipefail

# what to look for | Debian package | what is skipped without it
# A word is a command; a path is a file; two things are looked at more closely, see `there`.
table='
cmake|cmake|building (aws-lc-rs compiles C)
gcc|gcc|building (aws-lc-rs compiles C)
make|make|make targets
musl-gcc|musl-tools|cluster tests (our programs as pods)
curl|curl|network tests
openssl|openssl|network tests, cluster tests
python3|python3|network tests, cluster tests
jq|jq|cluster tests
ip|iproute2|network tests, cluster tests
nsenter|util-linux|network tests, cluster tests
nft|nftables|network tests, cluster tests
iptables|iptables|cluster tests (kube-proxy), packet-filter capture tests
nginx|nginx-light|network tests, cluster tests (load balancer)
nginx-stream|libnginx-mod-stream|network tests, cluster tests (load balancer)
ssh|openssh-client|network tests (ssh, scp)
/usr/sbin/sshd|openssh-server|network tests (ssh, scp)
socat|socat|network tests (ssh over CONNECT)
wrk|wrk|network tests (load)
script|bsdutils|cluster tests (exec with a terminal)
containerd|containerd|cluster tests
runc|runc|cluster tests
static-busybox|busybox-static|cluster tests (the pod image)
/usr/lib/cni/ptp|containernetworking-plugins|cluster tests (pod network)
'

# Debian keeps sbin out of an ordinary user's PATH.
PATH=$PATH:/usr/sbin:/sbin

there() {
    case $1 in
        # Debian's is a module of its own; nginx.org builds it in.
        nginx-stream)
            [[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]] || { nginx -V 2>&1 | grep -qE -- '--with-stream( |$)'; }
            ;;
        # The image holds this one file and no libraries.
        static-busybox) command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1 ;;
        /*) [[ -e $1 ]] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

missing=()
report=()
while IFS='|' read -r probe package purpose; do
    [[ -n $probe ]] || continue
    there "$probe" && continue
    missing+=("$package")
    report+=("  $package (${probe##*/}): without it these are skipped: $purpose")
done <<<"$table"

# Toolchains are the user's own business: several versions side by side are normal, and a download is large.
if ! command -v go >/dev/null; then
    echo "setup: Go is missing; the cluster tests need Go 1.26 or newer (https://go.dev/dl), or KUBE_BIN=folder with Kubernetes binaries"
else
    version=$(go env GOVERSION)
    if [[ $(printf '%s\n1.26\n' "${version#go}" | sort -V | head -n 1) != 1.26 ]]; then
        echo "setup: Go is ${version#go}; the cluster tests need 1.26 or newer (https://go.dev/dl), or KUBE_BIN=folder"
    fi
fi
if ! command -v cargo >/dev/null; then
    echo "setup: cargo is missing; install Rust (https://rustup.rs)"
fi

if ((${#missing[@]} == 0)); then
    echo "setup: every package the tests need is there"
    exit 0
fi

stay() {
    echo "setup: missing, and not installed because $1:"
    printf '%s\n' "${report[@]}"
    exit 0
}
[[ ${SETUP:-yes} != no ]] || stay "SETUP=no"
[[ $(id -u) == 0 ]] || stay "this is not root (run it once as root: sudo tests/setup.sh)"
there apt-get || stay "this machine has no apt-get (the names are Debian 12's)"

mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
echo "setup: installing ${missing[*]}"

# Debian starts a daemon when its package is configured, unless this file says no. One that is there already stays.
policy=/usr/sbin/policy-rc.d
ours=no
log=$(mktemp)
cleanup() {
    [[ $ours == no ]] || rm -f "$policy"
    rm -f "$log"
}
trap cleanup EXIT
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=yes
fi

export DEBIAN_FRONTEND=noninteractive
if ! { apt-get -q update && apt-get -q -y --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "setup: apt-get could not install ${missing[*]} (above); tests that need them will be skipped" >&2
    exit 1
fi

# Not started now, and not at the next boot either: what we brought is for the tests to start themselves.
for unit in nginx:nginx-light ssh:openssh-server containerd:containerd; do
    if [[ " ${missing[*]} " == *" ${unit#*:} "* ]] && there systemctl; then
        systemctl disable "${unit%%:*}" >/dev/null 2>&1 || true
    fi
done
echo "setup: installed ${missing[*]}"
