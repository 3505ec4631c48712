//! Answers in HTTP/1.1 that are written as bytes, without an HTTP stack behind them.

use std::fmt::Write as _;
use std::time::Duration;

use crate::refusal::Refusal;

/// The longest reason phrase, in bytes: a status line is read by tools with small buffers.
const PHRASE_MAX: usize = 400;

/// Why what came is no request that can be served: it never got as far as a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unservable {
    pub(super) status: u16,
    /// For logs and metrics, out of the same closed set as a refusal's.
    pub(super) reason: &'static str,
    /// One line for a person.
    pub(super) text: String,
}

impl Unservable {
    /// Its head says nothing that can be served, or two things at once.
    pub(super) fn bad(why: &str) -> Self {
        let text = format!("not a request that can be served: {why}");
        Self::new(400, "bad_request", text)
    }

    /// Its head is larger than `limit` bytes.
    pub(super) fn head_too_large(limit: usize) -> Self {
        let text = format!("the request's head is larger than {limit} bytes");
        Self::new(431, "head_too_large", text)
    }

    /// Its head was not whole within `limit`.
    pub(super) fn head_timeout(limit: Duration) -> Self {
        let text = format!("no whole request within {} s", limit.as_secs());
        Self::new(408, "head_timeout", text)
    }

    pub(super) const fn new(status: u16, reason: &'static str, text: String) -> Self {
        Self {
            status,
            reason,
            text,
        }
    }
}

/// A failure as kube-apiserver's HTTPConnect client shows it to a person: of all that we say it shows the
/// status line alone (kubernetes/apiserver `pkg/server/egressselector/egress_selector.go`), so the message
/// is the reason phrase, and the body repeats it for everybody else.
pub(super) fn refusal(refusal: &Refusal) -> Vec<u8> {
    let retry = refusal.retry_after.map(|after| after.as_secs().max(1));
    let extra = retry
        .map(|seconds| format!("Retry-After: {seconds}\r\n"))
        .unwrap_or_default();
    failure(refusal.kind.status(), &refusal.message, &extra)
}

/// A failure with this status, text, and header lines besides, each with its line end.
pub(super) fn failure(status: u16, message: &str, extra: &str) -> Vec<u8> {
    let phrase = phrase(message);
    let length = message.len() + 1;
    let mut answer = format!("HTTP/1.1 {status} {phrase}\r\n{extra}");
    // Writing to a String cannot fail.
    let _ = write!(
        answer,
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{message}\n"
    );
    answer.into_bytes()
}

/// A text as a reason phrase: one bounded line of printable ASCII (RFC 9112, 4).
pub(super) fn phrase(message: &str) -> String {
    let printable = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    message.chars().map(printable).take(PHRASE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Kind;

    #[test]
    fn the_status_line_carries_the_reason() {
        let text = Refusal {
            retry_after: Some(Duration::from_millis(10)),
            ..Refusal::new(Kind::Unavailable, "x", "node edge-1: away")
        };
        let answer = String::from_utf8(refusal(&text)).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 503 node edge-1: away\r\nRetry-After: 1\r\n"),
            "{answer}"
        );
        assert!(
            answer
                .contains("\r\nContent-Length: 18\r\nConnection: close\r\n\r\nnode edge-1: away\n"),
            "{answer}"
        );
    }

    #[test]
    fn nothing_breaks_or_stretches_the_status_line() {
        let answer =
            String::from_utf8(failure(400, &format!("a\r\nb: ö{}", "x".repeat(1000)), "")).unwrap();
        let line = answer.split("\r\n").next().unwrap();
        assert!(
            line.starts_with("HTTP/1.1 400 a??b: ?xxx") && line.len() <= PHRASE_MAX + 20,
            "{line}"
        );
    }
}
