#!/usr/bin/env bash
# The network checks: our server and agent between namespaces, without Kubernetes.
#
#   tests/netns/run.sh
#   ONLY='ssh|scp' tests/netns/run.sh      only checks whose name matches
#   LAB_LOGS=folder …                      keeps the logs of every process
#
# Prints `ok NAME` or `FAIL NAME: why` a check, and last `N passed, N failed`. Needs root, and what tests/setup.sh installs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/netns/lab.sh
source "$here/lab.sh"
# shellcheck source=tests/netns/tunnel.sh
source "$here/tunnel.sh"
# shellcheck source=tests/netns/assert.sh
source "$here/assert.sh"
# shellcheck source=tests/netns/services.sh
source "$here/services.sh"
# shellcheck source=tests/netns/checks.sh
source "$here/checks.sh"

[[ $(id -u) == 0 ]] || skip netns "network namespaces need root"
tunnel_binaries || skip netns "there are no binaries to test"
for tool in nginx nft socat ssh scp curl openssl wrk /usr/sbin/sshd; do
    command -v "$tool" >/dev/null || skip netns "$tool is missing; run tests/setup.sh as root"
done

trap lab_down EXIT
trap 'exit 130' INT TERM

lab_up
tunnel_paths
mkdir -p "$SERVER_CONFIG"
echo 9051 >"$SERVER_CONFIG/http-proxy-ports"
echo 9052 >"$SERVER_CONFIG/https-proxy-ports"
services_up edge-1
check edge-cannot-be-dialled lab_check edge-1 8080
tunnel_up
issue_client person --nodes 'edge-*' --ports 22,8080,10250
bridges_up

check connect-mtls connect_mtls
check connect-socket connect_socket
check connect-refuses connect_refuses
check http http_way
check http-refuses http_refuses
check tls tls_way
check tls-port tls_port
check tls-refuses tls_refuses
check ssh-mtls ssh_over 10281
check ssh-socket ssh_over 10282
check scp-mtls scp_over 10281
check scp-socket scp_over 10282
check download big_download
check slow-readers slow_readers
check load load
check two-nodes two_nodes
check slow-link-quic slow_link
check udp-blocked udp_blocked
check starts-without-udp starts_without_udp
check slow-link-tls slow_link
check udp-unblocked udp_unblocked
check address-changes address_changes
check link-cut link_cut
check link-cut-under-load link_cut_under_load
check server-restarts server_restarts
check server-killed server_killed
check agent-restarts agent_restarts
check agent-killed agent_killed
summary
