# shellcheck shell=bash
# The load balancer of the lab: nginx in `lb`, the only thing in the cloud that an edge node can dial. Sourced by lab.sh.

# TCP and UDP 10262 for agents, TCP 6443 for kubelets. LAB_SERVERS names the server's addresses, if there are several. What else it
# balances is in files of $LAB_DIR/lb.d.
load_balancer() {
    # Built in, where it is no module.
    local server upstreams='' module=/usr/lib/nginx/modules/ngx_stream_module.so
    for server in ${LAB_SERVERS:-$CLOUD_ADDRESS}; do upstreams+="server $server:10262; "; done
    mkdir -p "$LAB_DIR/lb.d"
    cat >"$LAB_DIR/lb.d/agents.conf" <<NGINX
upstream server { $upstreams }
server { listen $LB_ADDRESS:10262; proxy_pass server; proxy_connect_timeout 5s; proxy_timeout 1h; }
server { listen $LB_ADDRESS:10262 udp; proxy_pass server; proxy_timeout 2m; }
NGINX
    [[ ! -e $module ]] || echo "load_module $module;" >"$LAB_DIR/lb.conf"
    cat >>"$LAB_DIR/lb.conf" <<NGINX
daemon off;
worker_processes 1;
pid $LAB_DIR/lb.pid;
error_log stderr warn;
events { worker_connections 4096; }
stream {
    include $LAB_DIR/lb.d/*.conf;
    server { listen $LB_ADDRESS:6443; proxy_pass $CLOUD_ADDRESS:6443; proxy_connect_timeout 5s; proxy_timeout 1h; }
}
NGINX
    spawn_in lb lb nginx -e stderr -c "$LAB_DIR/lb.conf"
    wait_for 10 lb dials nat "$LB_ADDRESS" 6443 || die "the load balancer did not come up"
}
