//! (being written) One stream: the framing that both transports share.

/// Bytes to and from the other end, `AsyncRead + AsyncWrite`.
#[derive(Debug)]
pub struct Stream {}
