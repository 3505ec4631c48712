# shellcheck shell=bash
# edge-tunnel's own server and agent on the lab. Sourced; needs lab.sh and a lab.
#
# EDGE_TUNNEL_BIN: the folder that holds edge-tunnel-server and edge-tunnel-agent; otherwise target/release, else target/debug.

# tunnel_binaries: sets EDGE_TUNNEL_BIN, or fails and says what is looked for.
tunnel_binaries() {
    local root folder
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    for folder in "${EDGE_TUNNEL_BIN:-}" "${CARGO_TARGET_DIR:-$root/target}/release" "${CARGO_TARGET_DIR:-$root/target}/debug"; do
        if [[ -x $folder/edge-tunnel-server && -x $folder/edge-tunnel-agent ]]; then
            EDGE_TUNNEL_BIN=$folder
            return 0
        fi
        [[ -z ${EDGE_TUNNEL_BIN:-} ]] || break
    done
    note "no edge-tunnel-server and edge-tunnel-agent in ${EDGE_TUNNEL_BIN:-target/release or target/debug}; run cargo build --release"
    return 1
}

SERVER_OPTIONS=()
SERVER_SOURCE=()
# By default open streams get half a minute to end when a process is asked to stop; a test does not wait for that.
DRAIN=2s

tunnel_paths() {
    SERVER_STATE=$LAB_DIR/server
    SERVER_CONFIG=$LAB_DIR/config
    CONNECT_SOCKET=$LAB_DIR/egress.sock
}

# server_start: waits until it is ready. TLS_LISTEN says where the `tls` way in listens; SERVER_OPTIONS is an array of further flags.
# With SERVER_SOURCE, the nodes and the live keys are not those of $SERVER_CONFIG but what these flags say.
server_start() {
    local node source
    tunnel_paths
    mkdir -p "$SERVER_STATE" "$SERVER_CONFIG"
    if [[ ! -e $SERVER_CONFIG/nodes ]]; then
        for node in edge-1 edge-2; do echo "$node ${EDGE_ADDRESS[$node]} lab=yes"; done >"$SERVER_CONFIG/nodes"
    fi
    source=("${SERVER_SOURCE[@]}")
    ((${#source[@]})) || source=(--config-dir "$SERVER_CONFIG")
    spawn_in cloud server "$EDGE_TUNNEL_BIN/edge-tunnel-server" run --state-dir "$SERVER_STATE" "${source[@]}" \
        --agents-listen 0.0.0.0:10262 --tls-listen "${TLS_LISTEN:-0.0.0.0:10263}" --http-listen 127.0.0.1:10264 \
        --connect-listen 0.0.0.0:10271 --connect-uds "$CONNECT_SOCKET" --admin-listen 127.0.0.1:10265 \
        --drain-timeout "$DRAIN" "${SERVER_OPTIONS[@]}"
    wait_for 20 server in_space cloud curl -fsS -m 2 http://127.0.0.1:10265/readyz || die "edge-tunnel-server did not become ready"
}

server_command() { "$EDGE_TUNNEL_BIN/edge-tunnel-server" "$@" --state-dir "$SERVER_STATE"; }

# agent_start NODE [OPTION…]: as the process `agent` on edge-1, and `agent-NODE` on others. A token only the first time, while there
# is no state folder: after that the agent has its certificate.
agent_start() {
    local node=$1 state=$LAB_DIR/$1-agent name
    shift
    name=$(agent_process "$node")
    if [[ ! -d $state ]]; then
        mkdir -p "$state"
        server_command token create --node "$node" >"$LAB_DIR/$node.token" || die "edge-tunnel-server token create failed (above)"
    fi
    spawn_in "$node" "$name" "$EDGE_TUNNEL_BIN/edge-tunnel-agent" run --server "$LB_ADDRESS:10262" --node-name "$node" \
        --token-file "$LAB_DIR/$node.token" --state-dir "$state" \
        --drain-timeout "$DRAIN" "$@"
}

agent_process() { [[ $1 == edge-1 ]] && echo agent || echo "agent-$1"; }

# agent_connected NODE [quic|tls]: does the server say so?
agent_connected() {
    server_command nodes --output json 2>/dev/null | jq -e --arg node "$1" --arg transport "${2:-}" \
        'any(.[]; .node == $node and .session != null and ($transport == "" or .session.transport == $transport))' >/dev/null
}

# tunnel_up: server and the agent of edge-1, connected.
tunnel_up() {
    server_start
    agent_start edge-1
    wait_for 30 agent agent_connected edge-1 || {
        show_log server
        die "the agent of edge-1 did not connect"
    }
}

# issue_client NAME OPTION…: client.crt, client.key and ca.crt in $LAB_DIR/client-NAME.
issue_client() {
    local name=$1
    shift
    server_command issue-client "$name" --out "$LAB_DIR/client-$name" "$@" >/dev/null || die "edge-tunnel-server issue-client $name failed"
}
