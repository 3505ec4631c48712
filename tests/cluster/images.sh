# shellcheck shell=bash
# The images of the cluster tests, made of static programs and imported into nodes without a registry. Sourced by cluster.sh.
#
# EDGE_TUNNEL_STATIC_BIN: the folder that holds edge-tunnel-server and edge-tunnel-agent, built for a musl target; otherwise
# target/MACHINE-unknown-linux-musl/release, else …/debug.

SHELL_IMAGE=edge-tunnel.invalid/busybox:test
# Not PAUSE:latest: kubelet would want to pull what has no tag of its own.
PAUSE_IMAGE=edge-tunnel.invalid/pause:test
SERVER_IMAGE=edge-tunnel.invalid/edge-tunnel-server:test
AGENT_IMAGE=edge-tunnel.invalid/edge-tunnel-agent:test
# Nobody's on the machine; a number, because kubelet cannot tell from a name that it is not root's.
IMAGE_USER=65532:65532

# images_base NODE: a shell, and what holds a pod's namespaces.
images_base() {
    local busybox
    busybox=$(command -v busybox)
    image_make shell "$SHELL_IMAGE" "$busybox"
    image_make pause "$PAUSE_IMAGE" "$busybox" /bin/sleep 1000000000
    node_import "$1" "$LAB_DIR/images/shell.tar"
    node_import "$1" "$LAB_DIR/images/pause.tar"
}

# cluster_images NODE…: our own server and agent.
cluster_images() {
    local node program
    images_static || die "there are no static programs to make images of (above)"
    image_make server --user "$IMAGE_USER" "$SERVER_IMAGE" "$EDGE_TUNNEL_STATIC_BIN/edge-tunnel-server" /bin/edge-tunnel-server
    image_make agent --user "$IMAGE_USER" "$AGENT_IMAGE" "$EDGE_TUNNEL_STATIC_BIN/edge-tunnel-agent" /bin/edge-tunnel-agent
    for node in "$@"; do
        for program in server agent; do node_import "$node" "$LAB_DIR/images/$program.tar"; done
    done
}

# images_static: sets EDGE_TUNNEL_STATIC_BIN, or fails and says what is looked for.
images_static() {
    local root folder target
    root=$(cd "$CLUSTER_HERE/../.." && pwd)
    target=${CARGO_TARGET_DIR:-$root/target}/$(uname -m)-unknown-linux-musl
    for folder in "${EDGE_TUNNEL_STATIC_BIN:-}" "$target/release" "$target/debug"; do
        if [[ -x $folder/edge-tunnel-server && -x $folder/edge-tunnel-agent ]]; then
            EDGE_TUNNEL_STATIC_BIN=$folder
            return 0
        fi
        [[ -z ${EDGE_TUNNEL_STATIC_BIN:-} ]] || break
    done
    note "no edge-tunnel-server and edge-tunnel-agent in ${EDGE_TUNNEL_STATIC_BIN:-$target/release or debug};" \
        "run cargo build --target ${target##*/}"
    return 1
}

# image_make NAME [--user UID:GID] NAME:TAG PROGRAM [ENTRYPOINT…]: once a lab.
image_make() {
    local archive=$LAB_DIR/images/$1.tar
    shift
    [[ ! -e $archive ]] || return 0
    mkdir -p "$LAB_DIR/images"
    "$CLUSTER_HERE/image.py" "$archive" "$@" || die "image.py could not make $archive (above)"
}
