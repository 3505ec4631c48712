//! Whether a caller may go where its wish leads: the ports that the keys open, what a certificate was issued for, what a
//! line of `callers` says.

use edge_tunnel_proto::id::{NodeName, Port};

use super::Table;
use crate::identity::PortsGrant;
use crate::inbound::{Caller, Inbound, Way};
use crate::refusal::{Kind, Refusal};
use crate::route::callers::Rule;

/// The certificate of the one caller that may reach what is no tunnelled node's without being told so: what comes by the
/// egress selector is all that kube-apiserver dials.
const KUBE_APISERVER: &str = "kube-apiserver";

impl Table {
    pub(super) fn allow(
        &self,
        inbound: &Inbound,
        node: &NodeName,
        port: Port,
    ) -> Result<(), Refusal> {
        match inbound.way {
            Way::Http if self.ports.http(port) => Ok(()),
            Way::Http if self.ports.https(port) => Err(port_refused(format!(
                "node {node}: port {port} is reached over TLS, by the tls or the connect way in, not over plain HTTP"
            ))),
            Way::Http => Err(not_open(&format!("node {node}"), port, "http-proxy-ports")),
            Way::Tls if self.ports.https(port) => Ok(()),
            Way::Tls => Err(not_open(&format!("node {node}"), port, "https-proxy-ports")),
            Way::Connect => self.allow_caller(inbound, node, port),
        }
    }

    fn allow_caller(&self, inbound: &Inbound, node: &NodeName, port: Port) -> Result<(), Refusal> {
        let caller = &inbound.caller;
        let rule = self.rule(inbound)?;
        let grant = inbound.grant.as_deref();
        let node_allowed = match rule.and_then(|rule| rule.nodes.as_ref()) {
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(node)),
            None => grant.is_none_or(|grant| grant.allows_node(node)),
        };
        if !node_allowed {
            let message = format!(
                "{caller} may not reach node {node}: see nodes= of {}",
                source(rule)
            );
            return Err(Refusal::new(Kind::Forbidden, "node_not_allowed", message));
        }
        self.allow_port(inbound, rule, port, &format!("node {node}"))
    }

    /// Whether the caller may reach what is no tunnelled node's.
    pub(super) fn allow_beyond(&self, inbound: &Inbound) -> Result<(), Refusal> {
        let (caller, destination) = (&inbound.caller, &inbound.destination);
        let rule = self.rule(inbound)?;
        let built_in = match caller {
            Caller::UnixSocket => true,
            Caller::Certificate(name) => &**name == KUBE_APISERVER,
            Caller::Anyone => false,
        };
        if !rule.and_then(|rule| rule.direct).unwrap_or(built_in) {
            let message = format!(
                "{destination} is no tunnelled node, and {caller} may reach nothing else: give it direct=yes in callers"
            );
            return Err(Refusal::new(Kind::Forbidden, "direct_not_allowed", message));
        }
        self.allow_port(
            inbound,
            rule,
            destination.port,
            &destination.host.to_string(),
        )
    }

    /// The caller's line, if it has one. Without a line and without a grant a certificate may reach nothing.
    fn rule(&self, inbound: &Inbound) -> Result<Option<&Rule>, Refusal> {
        let caller = &inbound.caller;
        if let Some(reason) = self.callers.why_unread() {
            let message = format!(
                "the callers key of this server cannot be read, and until it can, nobody may reach anything by connect: \
                 {reason}"
            );
            return Err(caller_refused(message));
        }
        match self.callers.rule(caller) {
            Some(Ok(rule)) => Ok(Some(rule)),
            Some(Err(reason)) => {
                let message = format!("the line of {caller} in callers cannot be read: {reason}");
                Err(caller_refused(message))
            }
            None if *caller == Caller::UnixSocket || inbound.grant.is_some() => Ok(None),
            None => {
                let message =
                    format!("{caller} may reach nothing by connect: give it a line in callers");
                Err(caller_refused(message))
            }
        }
    }

    fn allow_port(
        &self,
        inbound: &Inbound,
        rule: Option<&Rule>,
        port: Port,
        of: &str,
    ) -> Result<(), Refusal> {
        let caller = &inbound.caller;
        let built_in = match caller {
            Caller::UnixSocket => PortsGrant::All,
            Caller::Certificate(_) | Caller::Anyone => PortsGrant::Configured,
        };
        let ports = rule
            .and_then(|rule| rule.ports.as_ref())
            .or(inbound.grant.as_deref().map(|grant| &grant.ports))
            .unwrap_or(&built_in);
        match ports {
            PortsGrant::All => Ok(()),
            PortsGrant::Configured if self.ports.http(port) || self.ports.https(port) => Ok(()),
            PortsGrant::Configured => {
                Err(not_open(of, port, "http-proxy-ports or https-proxy-ports"))
            }
            PortsGrant::List(ports) if ports.contains(&port) => Ok(()),
            PortsGrant::List(_) => Err(port_refused(format!(
                "{caller} may not reach port {port} of {of}: see ports= of {}",
                source(rule)
            ))),
        }
    }
}

fn source(rule: Option<&Rule>) -> &'static str {
    match rule {
        Some(_) => "its line in callers",
        None => "its certificate, or give it a line in callers",
    }
}

fn not_open(of: &str, port: Port, key: &str) -> Refusal {
    port_refused(format!("{of}: port {port} is not open; add it to {key}"))
}

fn port_refused(message: String) -> Refusal {
    Refusal::new(Kind::Forbidden, "port_not_open", message)
}

fn caller_refused(message: String) -> Refusal {
    Refusal::new(Kind::Forbidden, "caller_not_allowed", message)
}
