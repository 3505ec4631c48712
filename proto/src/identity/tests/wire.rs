//! A whole TLS handshake over two buffers.

use std::io;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

/// Which side gave up, and its words.
#[derive(Debug)]
pub(super) enum Failed {
    Client(String),
    Server(String),
}

/// Runs the handshake, and moves what follows it (tickets), until both are silent.
pub(super) fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Failed> {
    let dialled = "lb.example".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), dialled).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    loop {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let sent = !wire.is_empty();
        deliver(&wire, |rest| server.read_tls(rest));
        server
            .process_new_packets()
            .map_err(|error| Failed::Server(error.to_string()))?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        if !sent && wire.is_empty() {
            return Ok((client, server));
        }
        deliver(&wire, |rest| client.read_tls(rest));
        client
            .process_new_packets()
            .map_err(|error| Failed::Client(error.to_string()))?;
    }
}

fn deliver(mut wire: &[u8], mut read: impl FnMut(&mut dyn io::Read) -> io::Result<usize>) {
    while !wire.is_empty() {
        read(&mut wire).unwrap();
    }
}
