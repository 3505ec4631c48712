# shellcheck shell=bash
# A node: its own containerd and its own kubelet, inside the namespace of an edge or of the cloud. Sourced by cluster.sh.
#
# Everything runs in a mount namespace that is the node's own, with folders of the lab over the paths which containerd, kubelet
# and CNI have wired in, and with files over the kernel settings that a kubelet writes: the machine keeps none of it.

# cloud-1 stands beside the control plane and is reached directly; the others are edge nodes, which nobody can dial.
declare -A NODE_SPACE=([cloud-1]=cloud [edge-1]=edge-1 [edge-2]=edge-2)
declare -A NODE_ADDRESS=([cloud-1]=$CLOUD_ADDRESS [edge-1]=${EDGE_ADDRESS[edge-1]} [edge-2]=${EDGE_ADDRESS[edge-2]})
# Two of the ways in which a node is said to be an edge node.
declare -A NODE_LABELS=([cloud-1]='' [edge-1]=openyurt.io/is-edge-worker=true [edge-2]=edge-tunnel.io/enabled=true)
# Where a node reaches kube-apiserver: an edge node through the load balancer, like everything that it dials.
declare -A NODE_API=([cloud-1]=https://$CLOUD_ADDRESS:6443 [edge-1]=https://$LB_ADDRESS:6443 [edge-2]=https://$LB_ADDRESS:6443)

# The kernel settings that a kubelet sets for the whole machine, and what it wants to find there.
NODE_SYSCTLS=(vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000)
NODE_FOLDERS=(/run/containerd /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers)

# nodes_up NODE…: starts them all, then waits until each is Ready.
nodes_up() {
    local node
    for node in "$@"; do node_up "$node"; done
    for node in "$@"; do node_join "$node"; done
}

# node_up NODE: containerd, the images and the kubelet; node_join has to follow.
node_up() {
    local node=$1 folder=$LAB_DIR/$1
    mkdir -p "$folder/cni"
    pki_node "$node" "${NODE_ADDRESS[$node]}"
    node_mounts "$node"
    node_cgroups "$node"

    node_containerd_config "$node" >"$folder/containerd.toml"
    node_spawn "$node" containerd containerd --config "$folder/containerd.toml"
    wait_for 30 "$node-containerd" node_ctr "$node" version || die "containerd of $node did not come up"
    images_base "$node"

    pki_kubeconfig "$folder/kubeconfig" "${NODE_API[$node]}" "$node"
    node_kubelet_config "$node" >"$folder/kubelet.yaml"
    node_kubelet "$node"
}

# node_kubelet NODE: starts it; after a `stop NODE-kubelet`, starts it again.
node_kubelet() {
    local node=$1 folder=$LAB_DIR/$1
    node_spawn "$node" kubelet "$KUBE_BIN/kubelet" --config "$folder/kubelet.yaml" --kubeconfig "$folder/kubeconfig" \
        --hostname-override "$node" --node-ip "${NODE_ADDRESS[$node]}" --node-labels "${NODE_LABELS[$node]}" \
        --root-dir /var/lib/kubelet --cert-dir "$folder/cert" --v 2
}

# node_join NODE: gives it the pod network of the range that the controller manager chose for it, and waits until it is Ready.
# Again after its Node was deleted and made anew: then it has another range.
node_join() {
    local node=$1 config=$LAB_DIR/$1/cni/10-pods.conflist
    wait_for 60 "$node-kubelet" node_range "$node" || die "$node has no range of pod addresses"
    # In one step: containerd reads whatever it finds there as soon as it appears.
    node_cni_config "$(node_range "$node")" >"$config.new"
    mv "$config.new" "$config"
    wait_for 90 "$node-kubelet" node_ready "$node" || die "$node did not become ready"
}

# node_range NODE: prints its range of pod addresses, or fails where it has none yet.
node_range() { kubectl get node "$1" -o jsonpath='{.spec.podCIDR}' | grep .; }

node_ready() {
    [[ $(kubectl get node "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}') == True ]]
}

# node_spawn NODE NAME COMMAND…: as the process NODE-NAME, in the node's namespaces.
node_spawn() {
    local node=$1 name=$2
    shift 2
    spawn "$node-$name" nsenter --mount="/proc/$(pid_of "$node-mounts")/ns/mnt" --net="/run/netns/$LAB-${NODE_SPACE[$node]}" "$@"
}

# node_import NODE ARCHIVE: makes an image known to the node, as a pull would.
node_import() { node_ctr "$1" images import --snapshotter native "$2" >/dev/null || die "$1 could not import the image $2"; }

node_ctr() {
    local node=$1
    shift
    nsenter --mount="/proc/$(pid_of "$node-mounts")/ns/mnt" ctr -a "$LAB_DIR/$node/containerd.sock" -n k8s.io "$@"
}

# A process that holds the node's mount namespace, with everything mounted that belongs there.
node_mounts() {
    local node=$1 folder=$LAB_DIR/$1 setting path script=
    for path in "${NODE_FOLDERS[@]}"; do
        # Something has to be there to mount over. What the machine did not have before, the last lab's lab_down removes.
        [[ -d $path ]] || echo "$path" >>"$LAB_MADE"
        mkdir -p "$path" "$folder$path"
        script+="mount --bind '$folder$path' '$path'; "
    done
    mkdir -p "$folder/sysctl"
    for setting in "${NODE_SYSCTLS[@]}"; do
        path=$folder/sysctl/$(tr / - <<<"${setting%=*}")
        echo "${setting#*=}" >"$path"
        script+="mount --bind '$path' '/proc/sys/${setting%=*}'; "
    done
    spawn "$node-mounts" unshare --mount --propagation private \
        bash -ec "$script : >'$folder/mounted'; exec sleep infinity"
    wait_for 10 "$node-mounts" test -e "$folder/mounted" || die "$node: could not make its mounts"
}

# A cgroup of its own in every hierarchy, so that two nodes on one machine do not fight over /kubepods. lab_end_cgroups removes it.
node_cgroups() {
    local top hierarchies=(/sys/fs/cgroup/*)
    [[ ! -e /sys/fs/cgroup/cgroup.controllers ]] || hierarchies=(/sys/fs/cgroup)
    for top in "${hierarchies[@]}"; do
        [[ -e $top/cgroup.procs && ! -L $top ]] || continue
        mkdir -p "$top/$LAB-$1"
        # In version 1 a new cpuset is empty, and then takes no process.
        if [[ -e $top/$LAB-$1/cpuset.mems ]]; then
            cat "$top/cpuset.mems" >"$top/$LAB-$1/cpuset.mems"
            cat "$top/cpuset.cpus" >"$top/$LAB-$1/cpuset.cpus"
        fi
    done
}

node_containerd_config() {
    local folder=$LAB_DIR/$1
    cat <<TOML
version = 2
root = "$folder/containerd"
state = "/run/containerd"
[grpc]
address = "$folder/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "$folder/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "$PAUSE_IMAGE"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$folder/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
# Copies instead of overlays: works wherever the lab's folder is, and the images are small.
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
TOML
}

# node_cni_config RANGE. Every pod has a cable of its own to the node (no bridge): pods of one node that talk to each other by a
# Service's address have to pass through the node on their way back too, or the answer comes from an address that nobody asked.
node_cni_config() {
    cat <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
  "type": "ptp", "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "/var/lib/cni/networks",
           "ranges": [[{"subnet": "$1"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
}

node_kubelet_config() {
    local folder=$LAB_DIR/$1
    cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$folder/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$LAB-$1
cgroupsPerQOS: true
enforceNodeAllocatable: []
failSwapOn: false
failCgroupV1: false
evictionHard: {memory.available: 50Mi, nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
readOnlyPort: 10255
resolvConf: ""
volumePluginDir: $folder/volume-plugins
tlsCertFile: $PKI/$1-serving.crt
tlsPrivateKeyFile: $PKI/$1-serving.key
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/cluster-ca.crt}}
authorization: {mode: Webhook}
nodeStatusUpdateFrequency: 5s
YAML
}

# node_down NODE: the pods with it. Every process that is ended here runs in the node's own cgroup or in its own mount namespace.
node_down() {
    local node=$1 holder task pid ours
    [[ -e $LAB_DIR/pids/$node-mounts ]] || return 0
    stop "$node-kube-proxy" 5
    stop "$node-kubelet" 5
    if running "$node-containerd"; then
        for task in $(timeout 10 nsenter --mount="/proc/$(pid_of "$node-mounts")/ns/mnt" \
            ctr -a "$LAB_DIR/$node/containerd.sock" -n k8s.io tasks list -q 2>/dev/null || true); do
            timeout 10 nsenter --mount="/proc/$(pid_of "$node-mounts")/ns/mnt" \
                ctr -a "$LAB_DIR/$node/containerd.sock" -n k8s.io tasks delete --force "$task" >/dev/null 2>&1 || true
        done
    fi
    stop "$node-containerd"
    if running "$node-mounts"; then
        holder=$(pid_of "$node-mounts")
        ours=$(readlink "/proc/$holder/ns/mnt")
        for pid in /proc/[0-9]*; do
            if [[ $(readlink "$pid/ns/mnt" 2>/dev/null || true) == "$ours" && ${pid#/proc/} != "$holder" ]]; then
                kill -KILL "${pid#/proc/}" 2>/dev/null || true
            fi
        done
    fi
    lab_end_cgroups "$node"
    stop "$node-mounts"
}
