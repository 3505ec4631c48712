# shellcheck shell=bash
# The images of the cluster tests, made of static programs and imported into nodes without a registry. Sourced by cluster.sh.
#
# EDGE_TUNNEL_STATIC_BIN: the folder that holds edge-tunnel-server and edge-tunnel-agent, built for a musl target.

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
    images_static
    image_make server --user "$IMAGE_USER" "$SERVER_IMAGE" "$EDGE_TUNNEL_STATIC_BIN/edge-tunnel-server" /bin/edge-tunnel-server
    image_make agent --user "$IMAGE_USER" "$AGENT_IMAGE" "$EDGE_TUNNEL_STATIC_BIN/edge-tunnel-agent" /bin/edge-tunnel-agent
    for node in "$@"; do
        for program in server agent; do node_import "$node" "$LAB_DIR/images/$program.tar"; done
    done
}

images_static() {
    local program
    for program in edge-tunnel-server edge-tunnel-agent; do
        [[ -x ${EDGE_TUNNEL_STATIC_BIN:-}/$program ]] ||
            die "no $program in EDGE_TUNNEL_STATIC_BIN=${EDGE_TUNNEL_STATIC_BIN:-}; build both for a musl target and name their folder"
    done
}

# image_make NAME [--user UID:GID] NAME:TAG PROGRAM [ENTRYPOINT…]: once a lab.
image_make() {
    local archive=$LAB_DIR/images/$1.tar
    shift
    [[ ! -e $archive ]] || return 0
    mkdir -p "$LAB_DIR/images"
    "$CLUSTER_HERE/image.py" "$archive" "$@" || die "image.py could not make $archive (above)"
}
