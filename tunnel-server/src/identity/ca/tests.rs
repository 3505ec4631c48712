use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use edge_tunnel_proto::identity::{Bundle, Certificate, Identity, check_client, check_server};
use rustls::pki_types::pem::PemObject as _;

use super::*;
use crate::identity::server_key::ServerKey;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn clock() -> Clock {
    Clock::fixed(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

fn embedded(folder: &std::path::Path, clock: &Clock) -> Arc<Ca> {
    let store = Store::open(folder).unwrap();
    Arc::new(Ca::embedded(store, &TrustDomain::default(), clock, 0).unwrap())
}

fn leaf(files: &Files) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(files.certificate.as_bytes()).unwrap()
}

#[test]
fn the_same_ca_after_reopening_and_for_everyone() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let pins: Vec<_> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| embedded(folder.path(), &clock).pin()))
            .collect();
        openers
            .into_iter()
            .map(|opener| opener.join().unwrap())
            .collect()
    });
    assert!(pins.iter().all(|pin| *pin == pins[0]), "{pins:?}");
    let info = embedded(folder.path(), &clock).show();
    assert_eq!(
        (
            info.phase,
            info.signs,
            info.bundle.pins().collect::<Vec<_>>()
        ),
        (Phase::Steady, pins[0], vec![pins[0]])
    );
}

#[test]
fn a_node_certificate_says_who_and_for_how_long() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let ca = embedded(folder.path(), &clock);
    let key = KeyPair::generate().unwrap();
    // The longest name does not fit a common name, and need not.
    for name in ["edge-1".to_owned(), ["a".repeat(63).as_str(); 3].join(".")] {
        let (node, registration): (NodeName, _) = (name.parse().unwrap(), RegistrationId::random());
        let signed = ca.sign_node(&key, &node, registration).unwrap();
        let chain = [signed.certificate];
        let read = check_client(
            &chain,
            &ca.trust().bundle.get(),
            &TrustDomain::default(),
            &clock,
        )
        .unwrap();
        assert_eq!(
            read.identity,
            Identity::Node {
                name: node,
                registration
            }
        );
        assert_eq!(
            (read.issued(), read.not_after),
            (clock.now(), clock.now() + issue::NODE_LIFETIME)
        );
        assert_eq!(read.key, Pin::of_key(&key.subject_public_key_info()));
    }
}

#[test]
fn no_certificate_outlives_the_ca() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let ca = embedded(folder.path(), &clock);
    let end = ca.show().bundle.authorities()[0].not_after;
    clock.set(end - DAY);
    let signed = ca
        .sign_node(
            &KeyPair::generate().unwrap(),
            &"a".parse().unwrap(),
            RegistrationId(1),
        )
        .unwrap();
    assert_eq!(signed.not_after, end);
    clock.set(end);
    let grant = "nodes=*;ports=all".parse().unwrap();
    assert!(matches!(
        ca.issue_client(&"a".parse().unwrap(), &grant),
        Err(CaError::Expired(_))
    ));
}

#[test]
fn client_and_service_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let ca = embedded(folder.path(), &clock);
    let grant: Grant = "nodes=shop-*;ports=22".parse().unwrap();
    let client = ca.issue_client(&"alice".parse().unwrap(), &grant).unwrap();
    let read = Certificate::read(&leaf(&client), &TrustDomain::default()).unwrap();
    assert_eq!(
        read.identity,
        Identity::Client {
            name: "alice".parse().unwrap()
        }
    );
    assert_eq!(read.grant.unwrap().parse::<Grant>(), Ok(grant));
    assert_eq!(
        read.key,
        Pin::of_key(
            &KeyPair::from_pem(&client.key)
                .unwrap()
                .subject_public_key_info()
        )
    );
    assert_eq!(
        Bundle::from_pem(client.ca.as_bytes()).unwrap(),
        ca.show().bundle
    );
    assert!(!format!("{client:?}").contains("PRIVATE"));

    let service = ca
        .issue_service(&["edge-1".to_owned(), "127.0.0.1".to_owned()])
        .unwrap();
    let der = leaf(&service);
    assert!(
        Certificate::read(&der, &TrustDomain::default()).is_err(),
        "it is nobody in the tunnel"
    );
    let parsed = subject_names(&der);
    assert_eq!(parsed, ["edge-1", "127.0.0.1"]);
}

fn subject_names(der: &CertificateDer<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let (_, parsed) = x509_parser::parse_x509_certificate(der).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress([a, b, c, d]) => format!("{a}.{b}.{c}.{d}"),
        other => panic!("{other:?}"),
    };
    names.value.general_names.iter().map(text).collect()
}

#[test]
fn steps_have_an_order_and_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let ca = embedded(folder.path(), &clock);
    let old = ca.pin();
    assert!(matches!(
        ca.rotate(Step::Sign),
        Err(CaError::WrongStep {
            next: Step::Introduce,
            ..
        })
    ));
    assert_eq!(ca.rotate(Step::Introduce).unwrap(), Phase::Introduced);
    assert!(matches!(
        ca.rotate(Step::Introduce),
        Err(CaError::WrongStep {
            next: Step::Sign,
            ..
        })
    ));
    let info = ca.show();
    assert_eq!(
        (info.signs, info.since, info.bundle.pins().count()),
        (old, Some(clock.now()), 2)
    );
    assert!(ca.rotate(Step::Finish).is_err());

    let again = embedded(folder.path(), &clock);
    assert_eq!(again.show(), info);
    assert_eq!(again.rotate(Step::Sign).unwrap(), Phase::Signing);
    assert_ne!(again.pin(), old);
    // The first process learns of it.
    assert_eq!(ca.pin(), old);
    ca.reload().unwrap();
    assert_eq!(ca.show(), again.show());
    assert_eq!(ca.rotate(Step::Finish).unwrap(), Phase::Steady);
    assert!(ca.show().bundle.pins().all(|pin| pin != old));
}

#[test]
fn a_server_is_known_by_either_ca_while_it_rotates() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let ca = embedded(folder.path(), &clock);
    let key = ServerKey::new(&ca, &[]).unwrap();
    let old = ca.show().bundle;
    let known = |bundle: &Bundle| {
        check_server(&key.current().cert, bundle, &TrustDomain::default(), &clock)
    };
    assert!(known(&old).is_ok());
    ca.rotate(Step::Introduce).unwrap();
    assert!(known(&old).is_ok());
    ca.rotate(Step::Sign).unwrap();
    let both = ca.show().bundle;
    assert!(known(&old).is_ok() && known(&both).is_ok());
    ca.rotate(Step::Finish).unwrap();
    let new = ca.show().bundle;
    assert!(known(&old).is_err());
    assert!(known(&both).is_ok() && known(&new).is_ok());
}

#[test]
fn the_servers_certificate_is_made_anew_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let ca = embedded(folder.path(), &clock);
    let key = ServerKey::new(&ca, &["server.example".to_owned()]).unwrap();
    let first = key.current();
    clock.set(clock.now() + 2 * DAY);
    assert_eq!(key.current().cert, first.cert);
    clock.set(clock.now() + 30 * DAY);
    let second = key.current();
    assert_ne!(second.cert, first.cert);
    let read = Certificate::read(&second.cert[0], &TrustDomain::default()).unwrap();
    assert_eq!(read.not_after, clock.now() + issue::SERVER_LIFETIME);
    assert!(
        read.not_before < clock.now() - 365 * DAY,
        "for nodes whose clock stands at their build's date"
    );
    // Its clock was years ahead, and was set right.
    clock.set(clock.now() + 1100 * DAY);
    key.current();
    clock.set(clock.now() - 1100 * DAY);
    let third = key.current();
    let read = Certificate::read(&third.cert[0], &TrustDomain::default()).unwrap();
    assert!(read.not_before < clock.now(), "nobody would take it");
}

#[test]
fn an_operators_ca_is_used_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let made = |name: &str| {
        let mut params = issue::authority(&TrustDomain::default(), clock.now());
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let files = OperatorCa {
        certificate: folder.path().join("ca.crt"),
        key: folder.path().join("ca.key"),
    };
    let open = || Ca::operator(files.clone(), &TrustDomain::default(), &clock);
    let words = open().unwrap_err().to_string();
    assert!(words.contains("ca.crt cannot be read"), "{words}");
    let (one, two) = (made("one"), made("two"));
    fs::write(&files.certificate, &one.0).unwrap();
    fs::write(&files.key, &two.1).unwrap();
    let words = open().unwrap_err().to_string();
    assert!(
        words.contains("ca.key") && words.contains("does not belong"),
        "{words}"
    );

    fs::write(&files.key, &one.1).unwrap();
    let ca = open().unwrap();
    let old = ca.pin();
    assert!(matches!(
        ca.rotate(Step::Introduce),
        Err(CaError::Operators)
    ));
    // The operator's own rotation: the new one first, the old one still believed.
    fs::write(&files.certificate, format!("{}{}", two.0, one.0)).unwrap();
    assert!(ca.reload().is_err(), "the key is still the old one");
    assert_eq!(ca.pin(), old);
    fs::write(&files.key, &two.1).unwrap();
    ca.reload().unwrap();
    assert_ne!(ca.pin(), old);
    assert_eq!(ca.show().bundle.pins().count(), 2);
    let grant = "nodes=*;ports=all".parse().unwrap();
    let client = ca.issue_client(&"alice".parse().unwrap(), &grant).unwrap();
    assert!(
        check_client(
            &[leaf(&client)],
            &ca.show().bundle,
            &TrustDomain::default(),
            &clock
        )
        .is_ok()
    );
}

#[test]
fn a_damaged_ca_is_named() {
    let folder = tempfile::tempdir().unwrap();
    embedded(folder.path(), &clock());
    fs::write(folder.path().join("ca"), "{}").unwrap();
    let store = Store::open(folder.path()).unwrap();
    let words = Ca::embedded(store, &TrustDomain::default(), &clock(), 0)
        .unwrap_err()
        .to_string();
    assert!(words.contains("/ca is damaged"), "{words}");
}
