use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use edge_tunnel_proto::id::RegistrationId;
use edge_tunnel_proto::identity::{Pin, Secret, TokenId};
use edge_tunnel_proto::message::enroll::Refusal;
use rcgen::{
    BasicConstraints, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, SanType,
};
use rustls::pki_types::CertificateSigningRequestDer;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Ahead of every build of this program.
fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_200_000_000)
}

fn open(folder: &Path, clock: &Clock) -> Result<Identity, IdentityError> {
    let trust_domain = TrustDomain::default();
    Identity::open(&Settings {
        state_dir: folder.to_owned(),
        trust_domain,
        clock: clock.clone(),
    })
}

fn token() -> Token {
    Token {
        id: TokenId::random(),
        secret: Secret::random(),
        pin: Pin::of_key(b"ca"),
    }
}

/// A server's side of the matter.
struct Issuing(Issuer<'static, KeyPair>, CertificateDer<'static>);

impl Issuing {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self(Issuer::new(params, key), certificate)
    }

    fn certify(&self, csr: &[u8], uri: &str, at: SystemTime) -> Vec<u8> {
        let csr = CertificateSigningRequestDer::from(csr);
        let public_key = CertificateSigningRequestParams::from_der(&csr)
            .unwrap()
            .public_key;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(
            DnType::CustomDnType(vec![2, 5, 4, 5]),
            RegistrationId(7).to_string(),
        );
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = (at - BACKDATE).into();
        params.not_after = (at + 30 * DAY).into();
        params
            .signed_by(&public_key, &self.0)
            .unwrap()
            .der()
            .to_vec()
    }

    fn answer(&self, csr: &[u8], at: SystemTime) -> Option<Outcome> {
        let chain = vec![self.certify(csr, "spiffe://edge-tunnel/node/edge-1", at)];
        Some(Outcome::Issued(Issued {
            chain,
            bundle: vec![self.1.to_vec()],
        }))
    }
}

#[tokio::test]
async fn a_key_is_made_once_and_a_certificate_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("state"), Clock::fixed(noon()));
    let identity = open(&path, &clock).unwrap();
    assert_eq!(
        (identity.standing(), identity.renew_in()),
        (Standing::Unenrolled, None)
    );
    assert!(matches!(
        identity.session_config(),
        Err(IdentityError::NotEnrolled)
    ));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("key.pem"))), (0o700, 0o600));

    let mut changes = identity.changes();
    let request = identity
        .join_request(&token(), None, &"host".parse().unwrap())
        .unwrap();
    let held = identity
        .take_in(Issuing::new("ca").answer(&request.csr, noon()))
        .await
        .unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(
        (held.node.as_str(), held.registration, held.issued),
        ("edge-1", RegistrationId(7), noon())
    );
    assert_eq!(mode(&path.join("certificate.pem")), 0o600);
    assert!(
        !identity.reload().unwrap() && !changes.has_changed().unwrap(),
        "nothing new"
    );

    let again = open(&path, &clock).unwrap();
    let Standing::Ready(same) = again.standing() else {
        panic!("{:?}", again.standing())
    };
    assert_eq!((same.node, same.not_after), (held.node, held.not_after));
    again.session_config().unwrap();
    clock.set(noon() + 31 * DAY);
    assert!(matches!(again.standing(), Standing::Expired(_)));
    assert_eq!(again.renew_in(), Some(Duration::ZERO));
}

#[tokio::test]
async fn renewal_is_due_after_a_third_and_a_little() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(noon());
    let identity = open(folder.path(), &clock).unwrap();
    let csr = identity.renew_request().unwrap().csr;
    identity
        .take_in(Issuing::new("ca").answer(&csr, noon()))
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..8 {
        seen.push(open(folder.path(), &clock).unwrap().renew_in().unwrap());
    }
    assert!(
        seen.iter()
            .all(|due| (10 * DAY..=10 * DAY + 5 * DAY / 2).contains(due)),
        "{seen:?}"
    );
    seen.dedup();
    assert!(seen.len() > 1, "all at once: {seen:?}");
}

#[tokio::test]
async fn answers_that_do_not_fit_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, ca) = (
        open(folder.path(), &Clock::fixed(noon())).unwrap(),
        Issuing::new("ca"),
    );
    let csr = identity.renew_request().unwrap().csr;
    let other_key = csr_of_another_key();
    let good = || ca.certify(&csr, "spiffe://edge-tunnel/node/edge-1", noon());
    let bundle = || vec![ca.1.to_vec()];
    let client = ca.certify(&csr, "spiffe://edge-tunnel/client/alice", noon());
    let foreign = ca.certify(&csr, "spiffe://elsewhere/node/edge-1", noon());
    let not_ours = ca.certify(&other_key, "spiffe://edge-tunnel/node/edge-1", noon());
    for (chain, bundle, words) in [
        (vec![good()], vec![], "no certificate"),
        (vec![], bundle(), "no certificate"),
        (
            vec![good()],
            vec![Issuing::new("ca").1.to_vec()],
            "leads to no CA",
        ),
        (vec![client], bundle(), "client alice"),
        (vec![foreign], bundle(), "none of the trust domain"),
        (vec![not_ours], bundle(), "another key"),
        (vec![vec![0x30]], bundle(), "X.509"),
    ] {
        let error = identity
            .take_in(Some(Outcome::Issued(Issued { chain, bundle })))
            .await
            .unwrap_err();
        assert!(
            matches!(error, IdentityError::Answer(_)) && error.to_string().contains(words),
            "{error}"
        );
    }
    assert!(matches!(
        identity.take_in(None).await,
        Err(IdentityError::Answer(_))
    ));
    let refusal = Refusal::new(Code::Overloaded, "later", Some(Duration::from_secs(5)));
    let error = identity
        .take_in(Some(Outcome::Refusal(refusal)))
        .await
        .unwrap_err();
    let IdentityError::Refused {
        code,
        message,
        retry_after,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (code, message.as_str(), retry_after),
        (Code::Overloaded, "later", Some(Duration::from_secs(5)))
    );
    assert_eq!(identity.standing(), Standing::Unenrolled);
    assert!(
        !folder.path().join("certificate.pem").exists()
            && !folder.path().join("bundle.pem").exists()
    );
}

fn csr_of_another_key() -> Vec<u8> {
    csr(&KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test]
async fn files_put_there_by_others_come_into_force() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = Clock::fixed(noon());
    let (identity, donor) = (
        open(folder.path(), &clock).unwrap(),
        open(other.path(), &clock).unwrap(),
    );
    let csr = donor.renew_request().unwrap().csr;
    donor
        .take_in(Issuing::new("ca").answer(&csr, noon()))
        .await
        .unwrap();
    let copy = |name: &str| fs::copy(other.path().join(name), folder.path().join(name)).unwrap();
    copy("bundle.pem");
    copy("certificate.pem");
    let words = identity.reload().unwrap_err().to_string();
    assert!(
        words.contains("certificate.pem") && words.contains("another key"),
        "{words}"
    );
    assert_eq!(
        identity.standing(),
        Standing::Unenrolled,
        "half of a change is none"
    );
    copy("key.pem");
    assert!(identity.reload().unwrap());
    assert!(matches!(identity.standing(), Standing::Ready(_)));
    identity.session_config().unwrap();
}

#[test]
fn damaged_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(noon());
    open(folder.path(), &clock).unwrap();
    for name in ["bundle.pem", "certificate.pem", "key.pem"] {
        fs::write(folder.path().join(name), "junk").unwrap();
        let words = open(folder.path(), &clock).unwrap_err().to_string();
        assert!(
            words.contains(&format!("/{name} cannot be used")),
            "{words}"
        );
        fs::write(folder.path().join(name), vec![b'x'; 100_000]).unwrap();
        let words = open(folder.path(), &clock).unwrap_err().to_string();
        assert!(words.contains("larger than"), "{words}");
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("file"), "").unwrap();
    let words = open(&folder.path().join("file"), &clock)
        .unwrap_err()
        .to_string();
    assert!(words.contains("--state-dir"), "{words}");
}

#[tokio::test]
async fn the_advice_about_a_file_that_cannot_be_used_helps() {
    let clock = Clock::fixed(noon());
    for name in ["bundle.pem", "certificate.pem", "key.pem"] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let identity = open(folder.path(), &clock).unwrap();
        let csr = identity.renew_request().unwrap().csr;
        identity
            .take_in(Issuing::new("ca").answer(&csr, noon()))
            .await
            .unwrap();
        fs::remove_file(at(name)).unwrap();
        if name == "certificate.pem" {
            fs::create_dir(at(name)).unwrap();
        } else {
            fs::write(at(name), "").unwrap();
        }
        let words = open(folder.path(), &clock).unwrap_err().to_string();
        assert!(
            words.contains(&format!("/{name} cannot be used")) && !words.contains("writable"),
            "{words}"
        );
        // What the text says, word for word.
        let (_, advice) = words.split_once("or remove ").unwrap();
        let (files, rest) = advice.split_once(" from that folder").unwrap();
        assert!(
            rest.contains("token create --node NAME --replace"),
            "{words}"
        );
        for file in files.split(" and ") {
            let path = at(file);
            if path.is_dir() {
                fs::remove_dir(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
        let again = open(folder.path(), &clock).unwrap();
        assert_eq!(again.standing(), Standing::Unenrolled, "{words}");
    }
}

#[tokio::test]
async fn a_lost_bundle_says_how_to_enrol_anew() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(noon());
    let identity = open(folder.path(), &clock).unwrap();
    let csr = identity.renew_request().unwrap().csr;
    identity
        .take_in(Issuing::new("ca").answer(&csr, noon()))
        .await
        .unwrap();
    fs::remove_file(folder.path().join("bundle.pem")).unwrap();
    let words = open(folder.path(), &clock)
        .unwrap()
        .session_config()
        .unwrap_err()
        .to_string();
    assert!(
        words.contains("remove certificate.pem") && words.contains("join token"),
        "{words}"
    );
}

#[test]
fn the_clock_is_not_before_the_build() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(UNIX_EPOCH);
    open(folder.path(), &clock).unwrap();
    assert_eq!(clock.now(), build_date());
    assert!(clock.now() > UNIX_EPOCH + 50 * 365 * DAY);
}

#[test]
fn requests_name_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let identity = open(folder.path(), &Clock::fixed(noon())).unwrap();
    let (token, node) = (token(), "edge-1".parse().unwrap());
    let request = identity.join_request(&token, Some(&node), &node).unwrap();
    assert_eq!(request.node, "edge-1");
    let csr = CertificateSigningRequestParams::from_der(&request.csr.as_slice().into()).unwrap();
    assert_eq!(csr.params.distinguished_name.iter().count(), 0);
    assert!(csr.params.subject_alt_names.is_empty());
    let again = CertificateSigningRequestParams::from_der(
        &identity.renew_request().unwrap().csr.as_slice().into(),
    );
    assert_eq!(
        again.unwrap().public_key,
        csr.public_key,
        "one key for all requests"
    );
    assert!(matches!(
        identity.renew_config(),
        Err(IdentityError::NotEnrolled)
    ));
}
