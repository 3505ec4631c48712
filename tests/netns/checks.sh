# shellcheck shell=bash
# The ways in without Kubernetes: ssh, scp, curl, openssl and wrk through the tunnel. Sourced by run.sh.

SCP_MEGABYTES=${SCP_MEGABYTES:-200}

cloud_curl() { in_space cloud curl -sS --max-time 60 "$@"; }

# Through mTLS CONNECT; the certificate is that of the caller `person`.
mtls_curl() {
    cloud_curl --proxytunnel --proxy https://127.0.0.1:10271 --proxy-cert "$LAB_DIR/client-person/client.crt" \
        --proxy-key "$LAB_DIR/client-person/client.key" --proxy-cacert "$LAB_DIR/client-person/ca.crt" "$@"
}

# ssh and scp know no proxies. socat speaks TLS with a client certificate (or a unix socket) on one side, CONNECT on the other.
bridges_up() {
    local client=$LAB_DIR/client-person
    spawn_in cloud bridge-mtls socat TCP-LISTEN:10281,bind=127.0.0.1,fork,reuseaddr \
        "OPENSSL:127.0.0.1:10271,cert=$client/client.crt,key=$client/client.key,cafile=$client/ca.crt"
    spawn_in cloud bridge-socket socat TCP-LISTEN:10282,bind=127.0.0.1,fork,reuseaddr "UNIX-CONNECT:$CONNECT_SOCKET"
    wait_for 5 bridge-mtls dials cloud 127.0.0.1 10281
    wait_for 5 bridge-socket dials cloud 127.0.0.1 10282
}

# over BRIDGE-PORT ssh|scp ARGUMENT…
over() {
    local port=$1 program=$2
    shift 2
    in_space cloud "$program" -q -F /dev/null -i "$LAB_DIR/edge-1-services/key" -o IdentitiesOnly=yes -o BatchMode=yes \
        -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=20 \
        -o "ProxyCommand=socat - PROXY:127.0.0.1:%h:%p,proxyport=$port" "$@"
}

ssh_over() { same "what the node said" "it is $LAB" "$(over "$1" ssh root@edge-1 "echo it is $LAB")"; }

# scp_over BRIDGE-PORT: there and back, with its sum.
scp_over() {
    local file=$LAB_DIR/scp.bin there=$LAB_DIR/edge-1-services/scp.there back=$LAB_DIR/scp.back
    random_file "$file" "$SCP_MEGABYTES"
    rm -f "$there" "$back"
    over "$1" scp "$file" "root@edge-1:$there"
    same "sum on the node" "$(sum_of "$file")" "$(sum_of "$there")"
    over "$1" scp "root@edge-1:$there" "$back"
    same "sum of what came back" "$(sum_of "$file")" "$(sum_of "$back")"
    rm -f "$there" "$back"
}

connect_mtls() {
    has "by name" "hello from edge-1" "$(mtls_curl http://edge-1:8080/)"
    has "by address" "hello from edge-1" "$(mtls_curl "http://${EDGE_ADDRESS[edge-1]}:8080/")"
    has "TLS inside" "hello from edge-1" \
        "$(mtls_curl --cacert "$LAB_DIR/edge-1-services/node.crt" --resolve edge-1:10250:"${EDGE_ADDRESS[edge-1]}" https://edge-1:10250/)"
}

connect_refuses() {
    local status
    # A port that this certificate may not reach.
    status=$(mtls_curl -o /dev/null -w '%{http_connect}' http://edge-1:9999/ 2>/dev/null || true)
    same "a port that the caller may not reach" 403 "$status"
    # No certificate at all.
    if cloud_curl --proxytunnel --proxy https://127.0.0.1:10271 --proxy-insecure http://edge-1:8080/ >/dev/null 2>&1; then
        fail "CONNECT worked without a client certificate"
    fi
    # A node that nobody knows, by the unix socket, which may reach all there is.
    status=$(cloud_curl --proxytunnel --proxy http://127.0.0.1:10282 -o /dev/null -w '%{http_connect}' http://nowhere:8080/ 2>/dev/null || true)
    [[ $status == 4?? || $status == 5?? ]] || fail "CONNECT to an unknown node was answered with '$status'"
    # A node that is known, but away.
    status=$(cloud_curl --proxytunnel --proxy http://127.0.0.1:10282 -o /dev/null -w '%{http_connect}' http://edge-2:8080/ 2>/dev/null || true)
    same "a node without an agent" 503 "$status"
}

connect_socket() { has "by the unix socket" "hello from edge-1" "$(cloud_curl --proxytunnel --proxy http://127.0.0.1:10282 http://edge-1:8080/)"; }

http_way() {
    has "by Host" "hello from edge-1" "$(cloud_curl -H 'Host: edge-1:9051' http://127.0.0.1:10264/)"
    has "as a proxy" "hello from edge-1" "$(cloud_curl -x http://127.0.0.1:10264 http://edge-1:9051/)"
    has "a loopback port" "hello from edge-1" "$(cloud_curl -x http://127.0.0.1:10264 http://edge-1:10255/)"
    local headers
    headers=$(cloud_curl -x http://127.0.0.1:10264 http://edge-1:9051/headers)
    has "x-forwarded-for" "forwarded-for=127.0.0.1" "$headers"
    [[ $headers != *"request-id= "* ]] || fail "no x-request-id: $headers"
}

http_refuses() {
    same "a port that is not configured" 403 "$(cloud_curl -o /dev/null -w '%{http_code}' -x http://127.0.0.1:10264 http://edge-1:8080/)"
    same "a node without an agent" 503 "$(cloud_curl -o /dev/null -w '%{http_code}' -x http://127.0.0.1:10264 http://edge-2:9051/)"
}

# The certificate seen has to be the node's own: nobody in between ended the TLS.
tls_way() {
    local seen
    seen=$(in_space cloud timeout 10 openssl s_client -servername edge-1 -connect 127.0.0.1:10263 </dev/null 2>/dev/null |
        openssl x509 -noout -fingerprint -sha256)
    same "the node's certificate" "$(openssl x509 -in "$LAB_DIR/edge-1-services/node.crt" -noout -fingerprint -sha256)" "$seen"
    has "HTTPS" "hello from edge-1" "$(cloud_curl --cacert "$LAB_DIR/edge-1-services/node.crt" --connect-to edge-1:10250:127.0.0.1:10263 https://edge-1:10250/)"
}

# SNI carries no port, so each port of https-proxy-ports has a listener of its own.
tls_port() {
    has "HTTPS on 9052" "hello from edge-1" \
        "$(cloud_curl --cacert "$LAB_DIR/edge-1-services/node.crt" --connect-to edge-1:9052:127.0.0.1:9052 https://edge-1:9052/)"
}

tls_refuses() {
    local output
    output=$(in_space cloud timeout 10 openssl s_client -noservername -connect 127.0.0.1:10263 </dev/null 2>&1 || true)
    has "no server name" "unrecognized name" "$output"
}

big_download() {
    local back=$LAB_DIR/big.back
    mtls_curl -o "$back" http://edge-1:8080/big
    same "sum of $BIG_MEGABYTES MB" "$(sum_of "$LAB_DIR/edge-1-services/www/big")" "$(sum_of "$back")"
    rm -f "$back"
}

# Readers that do not read: their streams fill up, and nobody else's may.
slow_readers() {
    local i took pids=()
    for i in {1..8}; do
        mtls_curl --limit-rate 20k --max-time 15 -o /dev/null http://edge-1:8080/big 2>/dev/null &
        pids+=($!)
    done
    sleep 3
    SECONDS=0
    for i in {1..20}; do works; done
    took=$SECONDS
    for i in "${pids[@]}"; do wait "$i" || true; done
    ((took <= 5)) || fail "20 small requests beside 8 slow readers took $took s"
}

# Each name leads to its own node, at the same time and over the same server.
two_nodes() {
    local node
    services_up edge-2
    agent_start edge-2
    wait_until 30 agent_connected edge-2 || fail "edge-2 did not connect: $(server_command nodes)"
    for node in edge-1 edge-2 edge-1 edge-2; do
        has "$node by CONNECT" "hello from $node" "$(mtls_curl "http://$node:8080/")"
        has "$node by HTTP" "hello from $node" "$(cloud_curl -x http://127.0.0.1:10264 "http://$node:9051/")"
        has "$node by address" "hello from $node" "$(mtls_curl "http://${EDGE_ADDRESS[$node]}:8080/")"
    done
}

# Not a benchmark: under load nothing may fail.
load() {
    local output
    output=$(in_space cloud wrk -t 2 -c 32 -d 5s -H 'Host: edge-1:9051' http://127.0.0.1:10264/)
    echo "$output"
    [[ $output != *"Socket errors"* && $output != *"Non-2xx"* ]] || fail "wrk: $(grep -E 'Socket errors|Non-2xx' <<<"$output")"
    has "wrk" "Requests/sec" "$output"
    echo "$output" | grep Requests/sec
}

works() { connect_socket; }

udp_blocked() {
    agent_connected edge-1 quic || fail "not on QUIC to begin with: $(server_command nodes)"
    lab_udp_drop
    wait_until 60 agent_connected edge-1 tls || fail "no TLS session 60 s after UDP was dropped: $(server_command nodes)"
    wait_until 10 works || fail "edge-1 is on TLS, but does not answer"
}

# UDP that was never there must not cost a start more than the race between the two.
starts_without_udp() {
    lab_udp_drop
    stop agent
    agent_start edge-1
    wait_until 15 agent_connected edge-1 tls || fail "not connected 15 s after a start without UDP: $(server_command nodes)"
    wait_until 5 works || fail "edge-1 is on TLS, but does not answer"
}

udp_unblocked() {
    lab_heal
    wait_until "${QUIC_BACK_SECONDS:-120}" agent_connected edge-1 quic ||
        fail "not back on QUIC ${QUIC_BACK_SECONDS:-120} s after UDP came back: $(server_command nodes)"
    wait_until 10 works || fail "edge-1 is back on QUIC, but does not answer"
}

# What is open goes on: QUIC knows a connection by its number, not by its address (RFC 9000 section 9).
address_changes() {
    local back=$LAB_DIR/moved.back download
    agent_connected edge-1 quic || fail "not on QUIC to begin with: $(server_command nodes)"
    rm -f "$back"
    mtls_curl --limit-rate 20M -o "$back" http://edge-1:8080/big &
    download=$!
    wait_until 10 test -s "$back" || fail "the download did not begin"
    lab_renumber
    wait "$download" || fail "what was open when its router got another address broke off"
    same "sum" "$(sum_of "$LAB_DIR/edge-1-services/www/big")" "$(sum_of "$back")"
    rm -f "$back"
    wait_until 60 works || fail "edge-1 does not answer 60 s after its router got another address: $(server_command nodes)"
}

# Answers come seconds late. Nobody may take that for a dead link, and break off all that uses it.
slow_link() {
    local download
    head -c 1500000 "$LAB_DIR/edge-1-services/www/big" >"$LAB_DIR/edge-1-services/www/slow"
    lab_slow edge-1 || fail "tc cannot make a slow link"
    mtls_curl -o /dev/null http://edge-1:8080/slow &
    download=$!
    sleep 3
    works || fail "a request beside a download on a slow link failed: $(server_command nodes)"
    wait "$download" || fail "a download on a slow link broke off: $(server_command nodes)"
    lab_heal
}

# A cable that is pulled and put back: no packet says so.
link_cut() {
    lab_cut edge-1
    wait_until 60 not works_quickly || fail "edge-1 still answers through a cut link"
    lab_heal
    wait_until 90 works || fail "edge-1 does not answer 90 s after the link came back: $(server_command nodes)"
}

works_quickly() { cloud_curl --max-time 3 --proxytunnel --proxy http://127.0.0.1:10282 -o /dev/null http://edge-1:8080/; }

not() { ! "$@"; }

server_restarts() {
    stop server
    server_start
    wait_until 90 works || fail "edge-1 does not answer 90 s after the server's restart: $(server_command nodes)"
}

agent_restarts() {
    stop agent
    agent_start edge-1
    wait_until 30 works || fail "edge-1 does not answer 30 s after the agent's restart: $(server_command nodes)"
}

# upload_begin: an scp in the background that runs for a while; sets UPLOAD.
upload_begin() {
    local there=$LAB_DIR/edge-1-services/scp.there
    random_file "$LAB_DIR/scp.bin" "$SCP_MEGABYTES"
    rm -f "$there"
    over 10281 scp -l 80000 "$LAB_DIR/scp.bin" "root@edge-1:$there" &
    UPLOAD=$!
    wait_until 20 test -s "$there" || fail "the upload did not begin"
}

# upload_breaks SECONDS: whoever is in the middle of something learns that it is over.
upload_breaks() {
    SECONDS=0
    if wait "$UPLOAD"; then fail "scp ended well, without the other side"; fi
    ((SECONDS <= $1)) || fail "scp ended only after $SECONDS s"
}

server_killed() {
    upload_begin
    signal_process server KILL
    stop server
    upload_breaks 5
    server_start
    wait_until 60 works || fail "edge-1 does not answer 60 s after the server was killed: $(server_command nodes)"
}

agent_killed() {
    upload_begin
    signal_process agent KILL
    stop agent
    upload_breaks 15
    agent_start edge-1
    wait_until 60 works || fail "edge-1 does not answer 60 s after the agent was killed: $(server_command nodes)"
}

link_cut_under_load() {
    upload_begin
    lab_cut edge-1
    upload_breaks 15
    lab_heal
    wait_until 60 works || fail "edge-1 does not answer 60 s after the link came back: $(server_command nodes)"
}
