//! TCP listeners: bound with words for what can go wrong, accepted with keep-alive probes on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::accept::Listener;

/// Connections that wait for the accept, in the kernel.
const BACKLOG: u32 = 1024;
/// A caller that is silent this long is probed: its machine may be gone without a word.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
/// And then this often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A listener could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {at} ({flag}): {source}; {hint}")]
pub struct Error {
    /// The address or path.
    pub at: String,
    /// The flag or key that named it.
    pub flag: &'static str,
    /// Why.
    pub source: io::Error,
    /// What to do.
    pub hint: &'static str,
}

impl Error {
    pub(super) fn new(at: String, flag: &'static str, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another process, or another listener of this server, has it: choose another"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE, a socket file a writable folder"
            }
            io::ErrorKind::AddrNotAvailable => "no interface of this machine has the address",
            io::ErrorKind::NotFound => "its folder does not exist: make it, or choose another path",
            // What std says names a constant of C; `.new` is what `unix` binds first.
            io::ErrorKind::InvalidInput => {
                "the path of a socket has at most 107 bytes, eight of which the name needs under which it is made (`….PID`): choose a shorter one"
            }
            _ => "choose another",
        };
        Self {
            at,
            flag,
            source,
            hint,
        }
    }
}

/// A bound TCP listener.
#[derive(Debug)]
pub struct Tcp {
    listener: TcpListener,
    address: SocketAddr,
}

impl Tcp {
    /// Listens on `address`, where port 0 stands for any free one. Must be called inside a runtime.
    ///
    /// # Errors
    /// The address cannot be had; the text names `flag`, which gave it.
    pub fn bind(address: SocketAddr, flag: &'static str) -> Result<Self, Error> {
        listen(address)
            .and_then(|listener| {
                Ok(Self {
                    address: listener.local_addr()?,
                    listener,
                })
            })
            .map_err(|source| Error::new(address.to_string(), flag, source))
    }

    /// The address it really has.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A restarted server takes its port back while old connections linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Listener for Tcp {
    type Io = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, from) = self.listener.accept().await?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_TIME)
            .with_interval(KEEPALIVE_INTERVAL);
        // Either fails only on a connection that is gone already, which its first read will tell.
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let _ = stream.set_nodelay(true);
        Ok((
            stream,
            Some(SocketAddr::new(from.ip().to_canonical(), from.port())),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_says_which_flag_to_change() {
        let first = Tcp::bind("127.0.0.1:0".parse().unwrap(), "--http-listen").unwrap();
        assert_ne!(first.address().port(), 0);
        let error = Tcp::bind(first.address(), "--http-listen")
            .unwrap_err()
            .to_string();
        let expected = format!("cannot listen on {} (--http-listen): ", first.address());
        assert!(
            error.starts_with(&expected) && error.contains("choose another"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn accepted_sockets_are_probed_and_do_not_wait_to_send() {
        let listener = Tcp::bind("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let client = TcpStream::connect(listener.address()).await.unwrap();
        let (stream, from) = listener.accept().await.unwrap();
        assert_eq!(from, Some(client.local_addr().unwrap()));
        assert!(stream.nodelay().unwrap() && SockRef::from(&stream).keepalive().unwrap());
    }
}
