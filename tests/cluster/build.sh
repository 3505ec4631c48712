#!/usr/bin/env bash
# Builds the Kubernetes that the cluster tests use, once, and prints the folder that holds it.
#
#   tests/cluster/build.sh            about five minutes the first time on two cores, nothing after that
#   KUBE_BIN=folder …                 use these binaries instead; nothing is built
#
# In that folder: etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=1.36.3
names=(etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl)

die() { echo "tests/cluster/build.sh: $*" >&2; exit 1; }

if [[ -n ${KUBE_BIN:-} ]]; then
    for name in "${names[@]}"; do
        # Only the cluster of three nodes schedules pods and has Services, and a real installation may keep these two elsewhere.
        [[ $name == kube-scheduler || $name == kube-proxy || -x $KUBE_BIN/$name ]] ||
            die "KUBE_BIN=$KUBE_BIN holds no executable $name; put it there, or unset KUBE_BIN to have one built"
    done
    echo "$KUBE_BIN"
    exit 0
fi

# The name carries a hash of the sources, so that a changed version or main.go can never meet an old binary.
hash=$(cat "$here"/kubernetes/{go.mod,go.sum,main.go} | sha256sum | cut -c1-12)
cache=${EDGE_TUNNEL_CACHE:-$HOME/.cache/edge-tunnel}
out=$cache/kubernetes-$version-$hash
if [[ -x $out/kubectl ]]; then
    echo "$out"
    exit 0
fi

command -v go >/dev/null || die "go is missing; install Go 1.26 or newer (https://go.dev/dl), or set KUBE_BIN=folder"
have=$(go env GOVERSION)
have=${have#go}
[[ $(printf '%s\n1.26\n' "$have" | sort -V | head -n 1) == 1.26 ]] ||
    die "go is $have, but Kubernetes $version needs 1.26 or newer (https://go.dev/dl), or set KUBE_BIN=folder"

mkdir -p "$cache"
# Two runs at once would each take both cores for five minutes to write the same file.
exec 9>"$out.lock"
flock -n 9 || { echo "waiting for another build of Kubernetes $version" >&2; flock 9; }
if [[ ! -x $out/kubectl ]]; then
    echo "building Kubernetes $version into $out (about five minutes the first time)" >&2
    work=$(mktemp -d "$out.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    stamp=k8s.io/component-base/version
    (cd "$here/kubernetes" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$work/kubernetes" -ldflags "-s -w \
        -X $stamp.gitVersion=v$version -X $stamp.gitMajor=${version%%.*} -X $stamp.gitMinor=$(cut -d. -f2 <<<"$version")" .) >&2 ||
        die "go build failed in $here/kubernetes (see above)"
    for name in "${names[@]}"; do ln -s kubernetes "$work/$name"; done
    chmod 755 "$work"
    mv -T "$work" "$out"
fi
echo "$out"
