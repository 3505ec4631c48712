//! What to do about what failed: chosen here alone, by the kind of the failure. An error that says itself what to do is
//! left its word.

use std::io::{self, ErrorKind};

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::files::Unread;
use edge_tunnel_proto::transport::{Closed, HandshakeError, Transport};

use super::Outcome;
use super::enrolment::Believes;
use crate::config::TokenError;
use crate::identity::IdentityError;
use crate::identity::folder::{Unusable, user};
use crate::policy::file::FileError;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The machine answers, the port does not.
    Refused,
    /// There is no way to the address.
    NoRoute,
    /// Nothing came back.
    Silence,
    /// The connection was ended in the middle of the handshake.
    HungUp,
    /// Something else than TLS came back.
    NoTls,
    /// What answers takes the server name for one that it should know: the way in by TLS.
    CallersPort,
    /// What answers speaks TLS, but none of our protocols.
    OtherService,
    /// What answers cannot read what we say: there is something before it.
    Garbled,
    /// This node's clock is ahead of the server's certificate.
    ClockAhead,
    /// This node's clock is behind the server's certificate.
    ClockBehind,
    /// The server's certificate is of another trust domain.
    TrustDomain,
    /// The server's certificate is nobody's that is believed here.
    Stranger,
    /// The server took the connection, and said that this node's registration is over.
    Revoked,
    /// The server took the connection, and ended it with a word.
    Ended,
    /// The server took the connection, and it broke.
    Broken,
    /// None of these: this machine's own doing.
    Own,
}

/// Where it failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) transport: Transport,
    pub(super) port: u16,
    pub(super) believes: Believes,
    /// What became of a TCP connection to the same port, if one was tried.
    pub(super) tcp: Option<Result<(), Kind>>,
}

impl Kind {
    pub(super) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::NoRoute,
            ErrorKind::TimedOut => Self::Silence,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Self::HungUp,
            _ => Self::Own,
        }
    }

    pub(super) fn of_handshake(error: &HandshakeError) -> Self {
        match error {
            HandshakeError::NoTls(_) => Self::NoTls,
            HandshakeError::TurnedAway => Self::HungUp,
            HandshakeError::Timeout(_) => Self::Silence,
            HandshakeError::Certificate(said) => Self::of_words(said),
            HandshakeError::Alert(number) => Self::of_alert(*number),
            // What rustls could make no sense of: another version, another protocol.
            HandshakeError::Io(io) if is_tls(io) => Self::OtherService,
            HandshakeError::Io(io) => Self::of_connect(io),
            HandshakeError::Quic(error) => match error.to_string() {
                words if words.contains("timed out") => Self::Silence,
                words if words.contains("by peer") => Self::Ended,
                _ => Self::OtherService,
            },
            HandshakeError::QuicConnect(_) | HandshakeError::NoMemory => Self::Own,
        }
    }

    /// By the numbers of RFC 8446, section 6.
    fn of_alert(number: u8) -> Self {
        match number {
            112 => Self::CallersPort,
            // unexpected_message, record_overflow, decode_error.
            10 | 22 | 50 => Self::Garbled,
            // bad_certificate to certificate_unknown, unknown_ca, certificate_required.
            42..=46 | 48 | 116 => Self::Broken,
            _ => Self::OtherService,
        }
    }

    /// By the words of a certificate that is not believed: QUIC passes on nothing else.
    pub(super) fn of_words(words: &str) -> Self {
        let kinds = [
            ("this node's clock is ahead", Self::ClockAhead),
            ("this node's clock is behind", Self::ClockBehind),
            ("--trust-domain differs", Self::TrustDomain),
        ];
        let said = kinds.into_iter().find(|(part, _)| words.contains(part));
        said.map_or(Self::Stranger, |(_, kind)| kind)
    }

    pub(super) fn of_end(closed: &Closed) -> Self {
        match closed {
            Closed::There {
                code: Code::Revoked,
                ..
            } => Self::Revoked,
            Closed::There { .. } => Self::Ended,
            Closed::Here { .. } | Closed::Lost(_) => Self::Broken,
        }
    }

    /// What to do about it.
    pub(super) fn remedy(self, place: &Place) -> String {
        let port = place.port;
        match self {
            Self::Refused => format!(
                "the machine is there but nothing listens on port {port}: is the server (or the balancer's listener) up, and \
                 is this the port of its --agents-listen?"
            ),
            Self::NoRoute => {
                "there is no way from here to there: look at this node's routes and uplink".to_owned()
            }
            Self::Silence => silence(place),
            Self::HungUp => format!(
                "something hung up during the handshake: does the server run with --agents-proxy-protocol, while nothing \
                 before it sends that header; has the balancer a live server behind port {port}; does a firewall between \
                 inspect TLS?"
            ),
            Self::NoTls => format!(
                "agents dial the port of the server's --agents-listen, 10262 if nothing else is said; port {port} is \
                 another one, or a balancer's that does not pass TLS on as it is"
            ),
            Self::CallersPort => format!(
                "port {port} looks like the server's tls way in (--tls-listen, 10263), which is for callers; agents dial the \
                 port of --agents-listen, 10262 if nothing else is said"
            ),
            Self::OtherService => format!(
                "what answers on port {port} speaks TLS, but is no agents' port: agents dial the port of the server's \
                 --agents-listen, 10262 if nothing else is said; a firewall or balancer that ends TLS must pass it on as it is"
            ),
            Self::Garbled => "the server cannot read what comes to it: does a balancer put a PROXY protocol header before it, \
                              while the server runs without --agents-proxy-protocol?"
                .to_owned(),
            Self::ClockAhead | Self::ClockBehind => SET_CLOCK.to_owned(),
            Self::TrustDomain => SAME_TRUST_DOMAIN.to_owned(),
            Self::Stranger => stranger(place.believes),
            Self::Revoked => {
                "give the agent a new join token (--token-file, or EDGE_TUNNEL_TOKEN), if the node is still meant to be reached"
                    .to_owned()
            }
            Self::Ended => "the server says why, and its log says more".to_owned(),
            Self::Broken => {
                "look into the server's log: it may not take this node's certificate, or something between ends what it does \
                 not know"
                    .to_owned()
            }
            Self::Own => "this machine itself could not do it: look at the agent's limits and the node's network".to_owned(),
        }
    }
}

/// Whether it was TLS that failed, and not the connection under it.
fn is_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
}

/// What to do about a clock.
pub(super) const SET_CLOCK: &str = "set this machine's clock, or let NTP do it (timedatectl set-ntp true); a box without a \
                                    battery needs it at every start";

const SAME_TRUST_DOMAIN: &str = "give the agent and the server the same --trust-domain; where they have it, one of the two \
                                 is of another installation";

fn silence(place: &Place) -> String {
    let port = place.port;
    match (place.transport, place.tcp) {
        (Transport::Tls, None | Some(Err(_))) => {
            format!("let TCP port {port} out of the site's firewall, and into the balancer")
        }
        (Transport::Tls, Some(Ok(()))) => format!(
            "something takes the connection and says nothing: is port {port} the server's --agents-listen, and does the \
             server expect a PROXY protocol header (--agents-proxy-protocol) that the balancer does not send?"
        ),
        (Transport::Quic, Some(Ok(()))) => format!(
            "let UDP port {port} out of the site's firewall, and into the balancer; without it TLS is used"
        ),
        (Transport::Quic, Some(Err(_))) => {
            "see to TCP first: neither gets an answer, so it is hardly UDP alone".to_owned()
        }
        (Transport::Quic, None) => format!(
            "is the server up, and {port} the port of its --agents-listen? If so, let UDP port {port} out of the site's \
             firewall, and into the balancer"
        ),
    }
}

fn stranger(believes: Believes) -> String {
    let not = match believes {
        Believes::Bundle => "not the server that this node knows",
        Believes::Token => "not the server that the join token is of",
        Believes::Nothing(_) => "no edge-tunnel server",
    };
    format!(
        "what answers there is {not}: compare with `edge-tunnel-server ca show`; a firewall that inspects TLS must leave this \
         address alone"
    )
}

/// What to do about a token that is not to be had.
pub(super) fn token(error: &TokenError) -> Outcome {
    let what = error.to_string();
    match error {
        TokenError::Read(_, io) => Outcome::failed(
            what,
            file(io, "make one: edge-tunnel-server token create --node NAME"),
        ),
        _ => its_own(
            &what,
            "make another: edge-tunnel-server token create --node NAME",
        ),
    }
}

/// What to do about a policy file that is not to be had.
pub(super) fn policy(error: &FileError) -> Outcome {
    let what = error.to_string();
    match error {
        FileError::Read(_, Unread::Io(io)) => {
            Outcome::failed(what, file(io, "or leave --policy-file out"))
        }
        FileError::Read(..) => its_own(&what, "give --policy-file a file that holds lines of text"),
        FileError::Line(..) => Outcome::failed(
            what,
            "mend that line: the agent does not start on a policy with a wrong one",
        ),
        FileError::TooLarge(_) => its_own(&what, "make it shorter"),
    }
}

/// What to do about an identity that is there and cannot be used.
pub(super) fn identity(error: &IdentityError) -> Outcome {
    let what = error.to_string();
    match Kind::of_words(&what) {
        Kind::TrustDomain => Outcome::failed(what, SAME_TRUST_DOMAIN),
        _ => its_own(&what, "look at the files in the state folder"),
    }
}

/// What to do about a file that cannot be read.
fn file(error: &io::Error, else_do: &str) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("look for a typing error in its path; {else_do}"),
        ErrorKind::PermissionDenied => {
            format!("let user {} read it, whom this runs as", user())
        }
        _ => format!("look at the file; {else_do}"),
    }
}

/// What to do about a state folder that this user cannot use.
pub(super) fn folder(unusable: &Unusable) -> Outcome {
    let remedy = match (&unusable.owner, unusable.error.kind()) {
        (_, ErrorKind::NotADirectory) => "give --state-dir a folder".to_owned(),
        (_, ErrorKind::ReadOnlyFilesystem) => {
            "give --state-dir a folder on a disk that can be written".to_owned()
        }
        (Some(owner), _) => format!(
            "run this, and the agent, as the folder's own user (sudo -u {owner} …), or give the agent another --state-dir; a \
             folder that systemd makes is there from its unit's first start on"
        ),
        (None, _) => "run this as the agent's own user, with its --state-dir".to_owned(),
    };
    Outcome::failed(unusable.to_string(), remedy)
}

/// An error that says what to do does so after its first `; `.
pub(super) fn its_own(error: &impl ToString, else_do: &str) -> Outcome {
    let text = error.to_string();
    match text.split_once("; ") {
        Some((what, remedy)) => Outcome::failed(what, remedy),
        None => Outcome::failed(text, else_do),
    }
}

#[cfg(test)]
mod tests;
