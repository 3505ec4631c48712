//! A node's HTTP service that reads by the letter, keeps what it read as it was on the wire, and answers with whatever
//! bytes a test wants; and a caller that reads by the letter, too.

use std::io;
use std::sync::Arc;

use edge_tunnel_proto::sync::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What the service says to a request, given its first line: bytes, and whether it then closes.
type Says = dyn Fn(&str) -> (Vec<u8>, bool) + Send + Sync;

/// The service. Dropping it ends its connections.
#[derive(Debug)]
pub struct Raw {
    port: u16,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    _tasks: JoinSet<()>,
}

impl Raw {
    /// On a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(says: impl Fn(&str) -> (Vec<u8>, bool) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (says, seeing): (Arc<Says>, _) = (Arc::new(says), Arc::clone(&seen));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((io, _)) = listener.accept().await {
                connections.spawn(serve(io, Arc::clone(&says), Arc::clone(&seeing)));
            }
        });
        Self {
            port,
            seen,
            _tasks: tasks,
        }
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The whole requests since the last time that this was asked, as they were on the wire.
    #[must_use]
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.seen.lock())
    }
}

async fn serve(mut io: TcpStream, says: Arc<Says>, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    // What is not whole is not kept.
    while let Ok(request) = message(&mut io, false).await {
        let line = String::from_utf8_lossy(&request.raw);
        let (answer, close) = says(line.lines().next().unwrap_or_default());
        seen.lock().push(request.raw);
        if io.write_all(&answer).await.is_err() || close {
            return;
        }
    }
}

/// A message as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// All of it.
    pub raw: Vec<u8>,
    /// Its body, without chunks.
    pub body: Vec<u8>,
}

impl Message {
    /// Its status, if it is a response.
    #[must_use]
    pub fn status(&self) -> u16 {
        let line = String::from_utf8_lossy(&self.raw);
        let status = line.split(' ').nth(1).map(str::parse);
        status.and_then(Result::ok).unwrap_or_default()
    }

    /// Its lines, the headers sorted, then its body as it was on the wire, all with `|` between; without what the
    /// server adds.
    #[must_use]
    pub fn form(raw: &[u8]) -> String {
        let text = String::from_utf8_lossy(raw);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines: Vec<_> = head
            .split("\r\n")
            .filter(|line| !line.starts_with("x-request-id: ") && !line.starts_with("x-forwarded-"))
            .collect();
        lines[1..].sort_unstable();
        format!("{}||{body}", lines.join("|"))
    }
}

/// Reads a request, or a `response`. One that breaks off is an error, and so is one that reads in two ways.
///
/// # Errors
/// When it is not whole, or not by the letter.
pub async fn message(io: &mut (impl AsyncRead + Unpin), response: bool) -> io::Result<Message> {
    let mut raw = Vec::new();
    while !raw.ends_with(b"\r\n\r\n") {
        raw.push(io.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&raw).to_ascii_lowercase();
    let value = |name: &str| {
        let mut values = head
            .split("\r\n")
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        (values.next().map(str::trim), values.next())
    };
    let mut body = Vec::new();
    match (value("content-length"), value("transfer-encoding")) {
        ((None, _), (Some("chunked"), None)) => loop {
            let line = line(io, &mut raw).await?;
            let size = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
            if size == 0 {
                while !line_is_empty(io, &mut raw).await? {}
                break;
            }
            take(io, size, &mut raw).await?;
            body.extend_from_slice(&raw[raw.len() - size..]);
            if !line_is_empty(io, &mut raw).await? {
                return Err(io::Error::other("a chunk is longer than its size"));
            }
        },
        ((Some(length), None), (None, _)) => {
            let length = length.parse().map_err(io::Error::other)?;
            take(io, length, &mut raw).await?;
            body.extend_from_slice(&raw[raw.len() - length..]);
        }
        ((None, _), (None, _)) => {
            let bodiless = [" 204 ", " 304 ", " 1"]
                .iter()
                .any(|s| head.get(8..).is_some_and(|rest| rest.starts_with(s)));
            if response && !bodiless {
                io.read_to_end(&mut body).await?;
                raw.extend_from_slice(&body);
            }
        }
        both => return Err(io::Error::other(format!("two lengths: {both:?}"))),
    }
    Ok(Message { raw, body })
}

async fn take(
    io: &mut (impl AsyncRead + Unpin),
    count: usize,
    raw: &mut Vec<u8>,
) -> io::Result<()> {
    let start = raw.len();
    raw.resize(start + count, 0);
    io.read_exact(&mut raw[start..]).await.map(|_| ())
}

async fn line(io: &mut (impl AsyncRead + Unpin), raw: &mut Vec<u8>) -> io::Result<String> {
    let start = raw.len();
    while !raw[start..].ends_with(b"\r\n") {
        raw.push(io.read_u8().await?);
    }
    let line = &raw[start..raw.len() - 2];
    String::from_utf8(line.to_vec()).map_err(io::Error::other)
}

async fn line_is_empty(io: &mut (impl AsyncRead + Unpin), raw: &mut Vec<u8>) -> io::Result<bool> {
    line(io, raw).await.map(|line| line.is_empty())
}
