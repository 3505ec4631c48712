#!/usr/bin/env bash
# The network lab: edge nodes behind a NAT that nobody can dial, and a cloud behind a load balancer, in network namespaces.
#
#     edge-1 .141 ─┐           198.51.100.64/26             198.51.100.0/26
#                  ├─ nat .129 │ .65 ───────── .66 │ lb nginx │ .2 ───────── .10 cloud (.11, .12 to spare)
#     edge-2 .142 ─┘ masquerade                      TCP+UDP
#     198.51.100.128/26
#
#   tests/netns/lab.sh up                      makes one and prints its name; it stays until `down`
#   tests/netns/lab.sh exec cloud CMD…         runs CMD in a namespace: cloud, lb, nat, edge-1 or edge-2
#   tests/netns/lab.sh udp drop|undrop         UDP between edge and load balancer
#   tests/netns/lab.sh cut [NODE] | slow NODE  drops everything from and to the edge (or one node); a slow way out of a node
#   tests/netns/lab.sh heal                    ends every fault
#   tests/netns/lab.sh renumber                gives the router another address outside
#   tests/netns/lab.sh check | list | down
#
# With several labs, LAB=name says which. Sourced, it is a library: lab_up, then lab_down in a trap.
#
# No namespace has a link to the machine's own network, so whatever addresses the machine has, nothing here shadows them.

LAB_ROOT=/run/edge-tunnel-lab
# Folders that nodes of a cluster made on this machine, whatever lab they were of.
LAB_MADE=$LAB_ROOT/.made
LAB_SPACES=(cloud lb nat edge-1 edge-2)
LB_ADDRESS=198.51.100.66
CLOUD_ADDRESS=198.51.100.10
# A second address in the cloud: what an edge node's name resolves to where traffic is captured by DNS.
# shellcheck disable=SC2034
CAPTURE_ADDRESS=198.51.100.11
declare -A EDGE_ADDRESS=([edge-1]=198.51.100.141 [edge-2]=198.51.100.142)

# shellcheck source=tests/netns/process.sh
source "$(dirname "${BASH_SOURCE[0]}")/process.sh"
# shellcheck source=tests/netns/load_balancer.sh
source "$(dirname "${BASH_SOURCE[0]}")/load_balancer.sh"

# in_space SPACE COMMAND…. Not `ip netns exec`: that mounts a new /sys, which hides the cgroups from a kubelet.
in_space() {
    local space=$1
    shift
    nsenter --net="/run/netns/$LAB-$space" "$@"
}

# spawn_in SPACE NAME COMMAND…
spawn_in() {
    local space=$1 name=$2
    shift 2
    spawn "$name" nsenter --net="/run/netns/$LAB-$space" "$@"
}

# lab_up [kept]: sets LAB and LAB_DIR. A kept lab outlives the script that made it.
lab_up() {
    local space
    [[ $(id -u) == 0 ]] || die "network namespaces need root"
    lab_remove_stale
    LAB=et$$
    [[ ! -e $LAB_ROOT/$LAB && ! -e /run/netns/$LAB-cloud ]] || LAB=et$$x$RANDOM
    LAB_DIR=$(mktemp -d "${TMPDIR:-/tmp}/edge-tunnel-lab.XXXXXX")
    mkdir -p "$LAB_ROOT" "$LAB_DIR/logs" "$LAB_DIR/pids"
    if [[ ${1:-} == kept ]]; then
        echo "kept kept $LAB_DIR" >"$LAB_ROOT/$LAB"
    else
        echo "$$ $(process_born $$) $LAB_DIR" >"$LAB_ROOT/$LAB"
    fi

    for space in "${LAB_SPACES[@]}"; do
        ip netns add "$LAB-$space"
        in_space "$space" ip link set lo up
    done
    cable cloud eth0 "$CLOUD_ADDRESS/26" lb cloud0 198.51.100.2/26
    in_space cloud ip address add "$CAPTURE_ADDRESS/26" dev eth0
    in_space cloud ip address add 198.51.100.12/26 dev eth0
    cable lb eth0 "$LB_ADDRESS/26" nat eth0 198.51.100.65/26
    in_space nat ip link add edge type bridge
    in_space nat ip address add 198.51.100.129/26 dev edge
    in_space nat ip link set edge up
    for space in "${!EDGE_ADDRESS[@]}"; do
        cable "$space" eth0 "${EDGE_ADDRESS[$space]}/26" nat "$space" ""
        in_space nat ip link set "$space" master edge
        in_space "$space" ip route add default via 198.51.100.129
        wall_in "$space"
    done
    masquerade
    load_balancer
}

# cable SPACE LINK ADDRESS SPACE LINK ADDRESS
cable() {
    ip link add "$2" netns "$LAB-$1" type veth peer name "$5" netns "$LAB-$4"
    [[ -z $3 ]] || in_space "$1" ip address add "$3" dev "$2"
    [[ -z $6 ]] || in_space "$4" ip address add "$6" dev "$5"
    in_space "$1" ip link set "$2" up
    in_space "$4" ip link set "$5" up
}

# What makes an edge node an edge node: it may dial out, and nobody may dial in, not even its neighbours.
wall_in() {
    in_space "$1" nft -f - <<'NFT'
table inet wall {
    chain input {
        type filter hook input priority filter; policy accept;
        ct state established,related accept
        iifname "eth0" meta l4proto { tcp, udp } drop
    }
}
NFT
}

masquerade() {
    in_space nat sysctl -qw net.ipv4.ip_forward=1
    # `faults` is where lab_udp_drop and lab_cut put their rules; it comes before everything else.
    in_space nat nft -f - <<'NFT'
table ip router {
    chain faults {
        type filter hook forward priority -10; policy accept;
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        iifname "edge" accept
        ct state established,related accept
    }
    chain outward {
        type nat hook postrouting priority srcnat;
        oifname "eth0" masquerade
    }
}
NFT
}

# dials SPACE ADDRESS PORT: does a TCP connection come about, within a second? (timeout: bash itself has no limit.)
dials() {
    # shellcheck disable=SC2016
    in_space "$1" timeout 1 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$2" "$3" 2>/dev/null
}

# lab_check [NODE] [PORT]: fails if anybody can dial the edge. Without a port something is made to listen first, because a dial
# to a port where nobody listens proves nothing.
lab_check() {
    local node=${1:-edge-1} port=${2:-} space
    if [[ -z $port ]]; then
        port=4711
        spawn_in "$node" check-listener socat "TCP-LISTEN:$port,fork,reuseaddr" /dev/null
        wait_for 5 check-listener dials "$node" 127.0.0.1 "$port" || return 1
    fi
    dials "$node" "${EDGE_ADDRESS[$node]}" "$port" || { note "$node itself does not reach its own port $port"; return 1; }
    for space in cloud lb nat; do
        if dials "$space" "${EDGE_ADDRESS[$node]}" "$port"; then
            note "$space can dial ${EDGE_ADDRESS[$node]}:$port on $node; the lab is not what it should be"
            return 1
        fi
    done
    stop check-listener
}

faults() { in_space nat nft add rule ip router faults "$@"; }

lab_udp_drop() { faults meta l4proto udp drop; }

# Silence, as when a cable is pulled: no reset, no ICMP. With a node's name, only that node's packets.
lab_cut() {
    if [[ -z ${1:-} ]]; then
        faults drop
    else
        faults ip saddr "${EDGE_ADDRESS[$1]}" drop
        faults ip daddr "${EDGE_ADDRESS[$1]}" drop
    fi
}

# The router gets another address outside, as a provider does it at night: what it had masqueraded is forgotten.
lab_renumber() {
    local old=198.51.100.65 new=198.51.100.67
    in_space nat ip -brief address show eth0 | grep -q "$old/" || { old=$new new=198.51.100.65; }
    in_space nat ip address delete "$old/26" dev eth0
    in_space nat ip address add "$new/26" dev eth0
}

# A slow way out of the edge, with a router that queues for seconds, as cheap ones do.
lab_slow() { in_space "$1" tc qdisc replace dev eth0 root tbf rate 1mbit burst 16kb limit 600kb; }

lab_heal() {
    local space
    in_space nat nft flush chain ip router faults
    for space in "${!EDGE_ADDRESS[@]}"; do in_space "$space" tc qdisc delete dev eth0 root 2>/dev/null || true; done
}

# lab_end_cgroups NODE|'*': ends what runs in the cgroups of the lab's nodes, which is their pods, and removes them.
lab_end_cgroups() {
    local group pid
    while IFS= read -r group; do
        [[ -n $group ]] || continue
        while IFS= read -r pid; do
            [[ -z $pid ]] || kill -KILL "$pid" 2>/dev/null || true
        done < <(find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null)
        # A killed process leaves its cgroup a moment later.
        wait_until 5 eval "! find '$group' -name cgroup.procs -exec cat {} + | grep -q ." || true
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done < <(find /sys/fs/cgroup -maxdepth 2 -type d -name "$LAB-$1" 2>/dev/null)
}

# lab_end_folders: what the labs made on the machine to mount over. Not while another lab is up: removing a folder that is mounted
# over in another mount namespace unmounts it there.
lab_end_folders() {
    [[ -e $LAB_MADE ]] && ! compgen -G "$LAB_ROOT/*" >/dev/null || return 0
    xargs rmdir --ignore-fail-on-non-empty <"$LAB_MADE" 2>/dev/null || true
    rm -f "$LAB_MADE"
}

lab_down() {
    local space pid
    [[ -n ${LAB:-} && -e $LAB_ROOT/$LAB ]] || return 0
    stop_all
    for space in "${LAB_SPACES[@]}"; do
        [[ -e /run/netns/$LAB-$space ]] || continue
        # The namespace is ours alone, so whatever still runs in it is ours: a container's shim, a child of a test.
        for pid in $(ip netns pids "$LAB-$space"); do kill -KILL "$pid" 2>/dev/null || true; done
        ip netns delete "$LAB-$space"
    done
    lab_end_cgroups '*'
    if [[ -n ${LAB_LOGS:-} ]]; then
        mkdir -p "$LAB_LOGS"
        cp -r "$LAB_DIR/logs/." "$LAB_LOGS/"
    fi
    rm -rf --one-file-system "$LAB_DIR"
    rm -f "$LAB_ROOT/$LAB"
    lab_end_folders
}

# A script that was killed leaves its lab behind. Only labs that this file made are listed in LAB_ROOT.
lab_remove_stale() {
    local file pid born dir
    for file in "$LAB_ROOT"/*; do
        [[ -e $file ]] || continue
        read -r pid born dir <"$file"
        [[ $pid != kept ]] || continue
        process_same "$pid" "$born" && continue
        note "removing lab ${file##*/}, whose script has ended"
        (LAB=${file##*/} LAB_DIR=$dir LAB_LOGS='' lab_down)
    done
}

# Sets LAB_DIR for the lab that LAB names, or for the only one there is.
lab_find() {
    local all=("$LAB_ROOT"/*) rest
    if [[ -z ${LAB:-} ]]; then
        [[ -e ${all[0]} ]] || die "there is no lab; make one with: $0 up"
        ((${#all[@]} == 1)) || die "there are several labs (${all[*]##*/}); say which with LAB=name"
        LAB=${all[0]##*/}
    fi
    [[ -e $LAB_ROOT/$LAB ]] || die "there is no lab $LAB; see: $0 list"
    read -r rest rest LAB_DIR <"$LAB_ROOT/$LAB"
}

lab_main() {
    local command=${1:-help}
    shift || true
    case $command in
        up)
            trap lab_down EXIT
            trap 'exit 130' INT TERM
            lab_up kept
            trap - EXIT
            echo "$LAB"
            ;;
        list) ls -1 "$LAB_ROOT" 2>/dev/null || true ;;
        exec) lab_find && in_space "$@" ;;
        udp)
            lab_find
            case ${1:-} in
                drop) lab_udp_drop ;;
                undrop) lab_heal ;;
                *) die "udp drop, or udp undrop" ;;
            esac
            ;;
        cut) lab_find && lab_cut "$@" ;;
        slow) lab_find && lab_slow "${1:?which node?}" ;;
        heal) lab_find && lab_heal ;;
        renumber) lab_find && lab_renumber ;;
        check) lab_find && lab_check "$@" && echo "nobody can dial ${1:-edge-1}" ;;
        down) lab_find && lab_down ;;
        *) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" ;;
    esac
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
    lab_main "$@"
fi
