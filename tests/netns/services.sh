# shellcheck shell=bash
# What runs on an edge node in the network tests: sshd, and nginx with plain and TLS ports. Sourced; needs lab.sh and a lab.

BIG_MEGABYTES=${BIG_MEGABYTES:-100}

# services_up NODE: 22 ssh; 8080 and 9051 HTTP; 10250 and 9052 TLS; on 10255 HTTP on loopback only.
services_up() {
    local node=$1 folder=$LAB_DIR/$1-services
    mkdir -p "$folder/www"
    echo "hello from $node" >"$folder/www/index.html"
    random_file "$folder/www/big" "$BIG_MEGABYTES"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$node" \
        -addext "subjectAltName=DNS:$node,IP:${EDGE_ADDRESS[$node]}" \
        -keyout "$folder/node.key" -out "$folder/node.crt" 2>/dev/null
    services_nginx "$node" >"$folder/nginx.conf"
    spawn_in "$node" "$node-nginx" nginx -e stderr -c "$folder/nginx.conf"

    ssh-keygen -q -t ed25519 -N '' -f "$folder/host-key"
    ssh-keygen -q -t ed25519 -N '' -f "$folder/key"
    cp "$folder/key.pub" "$folder/authorized"
    # sshd insists on this folder; Debian's service makes it at its start.
    mkdir -p /run/sshd
    spawn_in "$node" "$node-sshd" /usr/sbin/sshd -D -e -f /dev/null -h "$folder/host-key" -o PidFile=none -o Port=22 \
        -o UsePAM=no -o StrictModes=no -o PasswordAuthentication=no -o PermitRootLogin=prohibit-password \
        -o "AuthorizedKeysFile=$folder/authorized" -o Subsystem='sftp internal-sftp'
    wait_for 10 "$node-nginx" dials "$node" 127.0.0.1 8080 || die "nginx on $node did not come up"
    wait_for 10 "$node-sshd" dials "$node" 127.0.0.1 22 || die "sshd on $node did not come up"
}

services_nginx() {
    local folder=$LAB_DIR/$1-services
    cat <<NGINX
daemon off;
worker_processes 1;
user root;
pid $folder/nginx.pid;
error_log stderr warn;
events { worker_connections 2048; }
http {
    access_log $folder/access.log;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    keepalive_requests 1000000;
    server {
        listen 8080;
        listen 9051;
        listen 127.0.0.1:10255;
        listen 10250 ssl;
        listen 9052 ssl;
        ssl_certificate $folder/node.crt;
        ssl_certificate_key $folder/node.key;
        root $folder/www;
        add_header x-node $1;
        location = /headers {
            default_type text/plain;
            return 200 "host=\$host forwarded-for=\$http_x_forwarded_for request-id=\$http_x_request_id dest=\$http_x_tunnel_proxy_dest\n";
        }
    }
}
NGINX
}
