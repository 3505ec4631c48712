//! Join tokens as people see them: what has become of each, and what a new one will be worth.

use std::time::SystemTime;

use edge_tunnel_proto::identity::rfc3339;

use crate::admin::control::{TokenState, TokenStatus, TokenSubject};
use crate::identity::{Registrations, Scope, TokenInfo};

/// All of them; the one that ends last comes last, where a long list leaves the eye.
pub(super) fn listed(mut tokens: Vec<TokenInfo>, now: SystemTime) -> Vec<TokenStatus> {
    tokens.sort_unstable_by_key(|token| (token.expires, token.id.to_string()));
    let status = |token| status(token, now);
    tokens.into_iter().map(status).collect()
}

/// Why a token of this scope would open nothing, where that is known before it is made.
pub(super) fn warning(scope: &Scope, registrations: &Registrations) -> Option<String> {
    let Scope::Node {
        node,
        replace: false,
    } = scope
    else {
        return None;
    };
    let registration = registrations.get(node)?;
    if registration.revoked().is_some() {
        return None;
    }
    let since = rfc3339(registration.since());
    Some(format!(
        "node {node} is registered already (since {since}), and this token may not replace it: whoever shows it is refused, \
         also after a later `nodes revoke`. If the node was reinstalled, make a token with --replace; if this is another \
         machine, give it another name"
    ))
}

fn status(token: TokenInfo, now: SystemTime) -> TokenStatus {
    let (state, uses_left) = (state(&token, now), token.uses_left());
    let subject = match token.scope {
        Scope::Node { node, replace } => TokenSubject::Node {
            name: node,
            replace,
        },
        Scope::Pattern { pattern, uses } => TokenSubject::Pattern {
            pattern: pattern.to_string(),
            uses,
        },
    };
    TokenStatus {
        id: token.id,
        subject,
        state,
        uses_left,
        used_by: token.used_by,
        expires: token.expires,
    }
}

fn state(token: &TokenInfo, now: SystemTime) -> TokenState {
    if token.revoked.is_some() {
        TokenState::Revoked
    } else if token.uses_left() == 0 {
        TokenState::Used
    } else if token.expires <= now {
        TokenState::Expired
    } else {
        TokenState::Usable
    }
}
