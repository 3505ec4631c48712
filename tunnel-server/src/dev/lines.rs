//! What `dev` prints: what runs where, and one line to paste for each way in.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use super::NODE;
use super::ports::Ports;
use crate::app::Bound;

pub(super) fn explain(
    out: &mut impl Write,
    dir: &Path,
    bound: &Bound,
    agent_admin: SocketAddr,
    ports: &Ports,
) -> io::Result<()> {
    let dir = dir.display();
    let (node, agents) = (NODE, bound.agents);
    let (http, connect) = (ports.http, ports.connect);
    let (port, target, listen) = (
        agent_admin.port(),
        ports.tls_target_port,
        ports.tls_target_listen,
    );
    write!(
        out,
        "\
edge-tunnel runs here: a server, and an agent that is node {node} and has dialled in.

  agents dial in      {agents} (QUIC and TLS)
  way in  http        127.0.0.1:{http}
  way in  tls         127.0.0.1:{listen}, stands for port {target} of every node
  way in  connect     127.0.0.1:{connect} (client certificate), {dir}/connect.sock
  health, metrics     server http://127.0.0.1:{admin}/  agent http://{agent_admin}/metrics
  state               {dir}

The target of each line is the agent's own /livez, reached through the tunnel. Paste:

  # http, by Host header
  curl -H 'Host: {node}:{port}' http://127.0.0.1:{http}/livez
  # http, as a proxy
  curl -x http://127.0.0.1:{http} http://{node}:{port}/livez
  # tls, passed through: the certificate is the node's own
  curl --cacert {dir}/ca.crt --connect-to {node}:{target}:127.0.0.1:{listen} https://{node}:{target}/livez
  # connect, with a client certificate
  curl -p --proxy https://127.0.0.1:{connect} --proxy-cacert {dir}/ca.crt --proxy-cert {dir}/client.crt \
--proxy-key {dir}/client.key http://{node}:{port}/livez
  # connect, over the unix socket
  curl --unix-socket {dir}/connect.sock -X CONNECT --request-target {node}:{port} -H Content-Length: -H Content-Type: \
--data-binary $'GET /livez HTTP/1.0\\r\\n\\r\\n' http://{node}/
  # who is connected
  cargo run --release -q -p edge-tunnel-server -- nodes --state-dir {dir}/server

Ctrl-C ends it.
",
        admin = ports.admin,
    )
}
