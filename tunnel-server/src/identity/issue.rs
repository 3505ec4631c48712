//! The certificates that the CA signs, each kind with its own times and uses. ECDSA P-256 throughout: every TLS client
//! that may call takes it.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use edge_tunnel_proto::id::{NodeName, RegistrationId};
use edge_tunnel_proto::identity::{BACKDATE, ClientName, Identity, TrustDomain, renewal};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;

/// How long an agent's certificate is valid; it is renewed from a third of that on.
pub const NODE_LIFETIME: Duration = days(30);

/// How long it takes until every agent that is connected has renewed, in whole days: what is above the latest renewal is
/// for those that have to ask again.
pub(super) const ALL_RENEWED: Duration = {
    let day = days(1).as_secs();
    let latest =
        renewal::begins(NODE_LIFETIME).as_secs() + renewal::spread(NODE_LIFETIME).as_secs();
    days(latest / day + 1)
};

/// How long the certificate of a client, or of a TLS service, is valid.
pub const CLIENT_LIFETIME: Duration = days(365);

/// How long a server's certificate is valid. It lives in memory and is made anew after a third of that.
pub(super) const SERVER_LIFETIME: Duration = days(7);

/// How long an embedded CA is valid.
pub(super) const AUTHORITY_LIFETIME: Duration = days(3650);

/// How far back certificates of servers and CAs start. A node without a battery clock boots with the date of its
/// agent's build, or of its own certificate, and must take the server for valid before it has set its clock.
const LONG_BACKDATE: Duration = days(730);

/// The longest common name (RFC 5280, `ub-common-name`).
const COMMON_NAME_MAX: usize = 64;

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

/// What a certificate is issued to.
#[derive(Debug)]
pub(super) enum Subject<'a> {
    /// A node's agent.
    Node(&'a NodeName, RegistrationId),
    /// A caller of the mutual-TLS way in, and its grant in text form.
    Client(&'a ClientName, &'a str),
    /// This server; callers of the mutual-TLS way in dial it by these names and addresses.
    Server(&'a [String]),
    /// A TLS service of these names and addresses, which is nobody in the tunnel.
    Service(&'a [String]),
}

/// Signs a certificate for `key`, valid at `now`, never longer than the CA itself (`ends`).
pub(super) fn leaf(
    subject: &Subject<'_>,
    key: &impl PublicKeyData,
    issuer: &Issuer<'_, KeyPair>,
    trust_domain: &TrustDomain,
    now: SystemTime,
    ends: SystemTime,
) -> Result<(CertificateDer<'static>, SystemTime), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(serial());
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let (lifetime, back) = match subject {
        Subject::Node(node, registration) => {
            name(&mut params, node.as_str());
            let hex = registration.to_string();
            params
                .distinguished_name
                .push(DnType::CustomDnType(vec![2, 5, 4, 5]), hex);
            let identity = Identity::Node {
                name: (*node).clone(),
                registration: *registration,
            };
            uri(&mut params, &identity, trust_domain)?;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            (NODE_LIFETIME, BACKDATE)
        }
        Subject::Client(client, grant) => {
            name(&mut params, client.as_str());
            params
                .distinguished_name
                .push(DnType::CustomDnType(vec![2, 5, 4, 13]), *grant);
            uri(
                &mut params,
                &Identity::Client {
                    name: (*client).clone(),
                },
                trust_domain,
            )?;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            (CLIENT_LIFETIME, BACKDATE)
        }
        Subject::Server(names) => {
            name(&mut params, "edge-tunnel-server");
            uri(&mut params, &Identity::Server, trust_domain)?;
            hosts(&mut params, names)?;
            // Replicas dial one another with it too.
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ];
            (SERVER_LIFETIME, LONG_BACKDATE)
        }
        Subject::Service(names) => {
            name(&mut params, names.first().map_or("service", String::as_str));
            hosts(&mut params, names)?;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            (CLIENT_LIFETIME, BACKDATE)
        }
    };
    let not_after = (now + lifetime).min(ends);
    params.not_before = back_from(now, back).into();
    params.not_after = not_after.into();
    Ok((params.signed_by(key, issuer)?.der().clone(), not_after))
}

/// What a new CA says of itself. The name differs from CA to CA, because chains are built by name.
pub(super) fn authority(trust_domain: &TrustDomain, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let serial = serial();
    let tail: String = serial
        .as_ref()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("edge-tunnel CA {tail}"));
    if trust_domain.as_str().len() <= COMMON_NAME_MAX {
        params
            .distinguished_name
            .push(DnType::OrganizationName, trust_domain.as_str());
    }
    params.serial_number = Some(serial);
    // One below it: its successor, which it signs while the CA is rotated.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = back_from(now, LONG_BACKDATE).into();
    params.not_after = (now + AUTHORITY_LIFETIME).into();
    params
}

/// A successor's CA certificate once more, signed by its predecessor: who knows only the old CA follows it.
pub(super) fn cross(
    mut successor: CertificateParams,
    key: &KeyPair,
    predecessor: &Issuer<'_, KeyPair>,
    ends: SystemTime,
) -> Result<CertificateDer<'static>, rcgen::Error> {
    successor.serial_number = Some(serial());
    successor.use_authority_key_identifier_extension = true;
    successor.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    successor.not_after = successor.not_after.min(ends.into());
    Ok(successor.signed_by(key, predecessor)?.der().clone())
}

/// Random, as RFC 5280 and the CA/Browser Forum want them: positive, and unrelated to the key, which may be certified
/// many times.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn back_from(now: SystemTime, back: Duration) -> SystemTime {
    now.checked_sub(back)
        .filter(|time| *time > SystemTime::UNIX_EPOCH)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn name(params: &mut CertificateParams, name: &str) {
    if name.len() <= COMMON_NAME_MAX {
        params.distinguished_name.push(DnType::CommonName, name);
    }
}

fn uri(
    params: &mut CertificateParams,
    identity: &Identity,
    trust_domain: &TrustDomain,
) -> Result<(), rcgen::Error> {
    params.subject_alt_names.push(SanType::URI(
        identity.uri(trust_domain).as_str().try_into()?,
    ));
    Ok(())
}

fn hosts(params: &mut CertificateParams, names: &[String]) -> Result<(), rcgen::Error> {
    for name in names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        };
        params.subject_alt_names.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_waits_for_longer_than_the_latest_renewal_and_for_as_long_as_the_documents_say() {
        let latest = renewal::begins(NODE_LIFETIME) + renewal::spread(NODE_LIFETIME);
        assert!(ALL_RENEWED > latest, "{ALL_RENEWED:?}, {latest:?}");
        // `ca --help` and docs/identity.md.
        assert_eq!(ALL_RENEWED, days(13));
    }
}
