//! The agent's state folder: `key.pem` (made here, never leaves), `certificate.pem`, `bundle.pem`. All of mode 0600,
//! each replaced in one step.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_tunnel_proto::files::{self, Unread};
use edge_tunnel_proto::id::excerpt;
use edge_tunnel_proto::identity::{
    BUNDLE_MAX, Bundle, Certificate, Identity, Pin, TrustDomain, certificates_to_pem, provider,
    write_private,
};
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{Held, IdentityError, folder};

/// The largest file that is read here, in bytes.
const FILE_MAX: usize = BUNDLE_MAX;

/// The folder.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
    trust_domain: TrustDomain,
}

/// What stands in the folder.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) key: KeyPair,
    pub(super) bundle: Option<Bundle>,
    pub(super) certificate: Option<(Held, Arc<CertifiedKey>)>,
    /// The texts themselves, to see whether another reading found something new.
    texts: [Option<Vec<u8>>; 3],
}

impl Loaded {
    pub(super) fn differs(&self, other: &Self) -> bool {
        self.texts != other.texts
    }
}

impl State {
    /// Opens the folder; makes it, and the key, where they are missing.
    pub(super) fn open(folder: &Path, trust_domain: &TrustDomain) -> Result<Self, IdentityError> {
        folder::make(folder)?;
        let state = Self {
            folder: folder.to_owned(),
            trust_domain: trust_domain.clone(),
        };
        if state.read("key.pem")?.is_none() {
            let key = KeyPair::generate().map_err(IdentityError::Crypto)?;
            state.write("key.pem", key.serialize_pem().as_bytes())?;
        }
        Ok(state)
    }

    /// Reads all three.
    pub(super) fn load(&self) -> Result<Loaded, IdentityError> {
        let texts = [
            self.read("key.pem")?,
            self.read("bundle.pem")?,
            self.read("certificate.pem")?,
        ];
        let [key, bundle, certificate] = &texts;
        let key = key
            .as_deref()
            .ok_or_else(|| self.unusable("key.pem", &"it is gone"))?;
        self.warn_if_open("key.pem");
        let key = read_key(key).map_err(|error| self.unusable("key.pem", &error))?;
        let bundle = bundle
            .as_deref()
            .map(|pem| Bundle::from_pem(pem).map_err(|error| self.unusable("bundle.pem", &error)))
            .transpose()?;
        let certificate = certificate
            .as_deref()
            .map(|pem| {
                read_chain(pem)
                    .and_then(|chain| held(chain, &key, &self.trust_domain))
                    .map_err(|error| self.unusable("certificate.pem", &error))
            })
            .transpose()?;
        Ok(Loaded {
            key,
            bundle,
            certificate,
            texts,
        })
    }

    /// Keeps a new certificate. The bundle first: should the power fail in between, the old certificate still fits it.
    pub(super) fn keep(
        &self,
        chain: &[CertificateDer<'_>],
        bundle: &Bundle,
    ) -> Result<(), IdentityError> {
        self.write("bundle.pem", bundle.to_pem().as_bytes())?;
        self.write("certificate.pem", certificates_to_pem(chain).as_bytes())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, IdentityError> {
        let path = self.folder.join(name);
        match files::read(&path, FILE_MAX as u64) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_missing() => Ok(None),
            Err(Unread::Io(error)) => Err(IdentityError::Folder { path, error }),
            // A folder, say, is no matter of its mode.
            Err(error) => Err(self.unusable(name, &error)),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), IdentityError> {
        let path = self.folder.join(name);
        write_private(&path, bytes).map_err(|error| IdentityError::Folder { path, error })
    }

    fn warn_if_open(&self, name: &str) {
        let path = self.folder.join(name);
        let mode = path
            .metadata()
            .map(|metadata| metadata.permissions().mode())
            .unwrap_or_default();
        if mode & 0o077 != 0 {
            let path = path.display();
            tracing::warn!("{path} can be read by other users of this machine; give it mode 0600");
        }
    }

    fn unusable(&self, name: &str, reason: &dyn std::fmt::Display) -> IdentityError {
        IdentityError::Unusable {
            path: self.folder.join(name),
            reason: reason.to_string(),
        }
    }
}

/// The key in the text of `key.pem`.
pub(super) fn read_key(pem: &[u8]) -> Result<KeyPair, String> {
    let pem = std::str::from_utf8(pem).map_err(|error| error.to_string())?;
    // The parser's own words may hold a part of the key.
    KeyPair::from_pem(pem).map_err(|_unreadable| "it is no PKCS #8 key in PEM".to_owned())
}

/// The certificates in the text of `certificate.pem`, leaf first.
pub(super) fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    chain.map_err(|error| excerpt(&error.to_string()))
}

/// Makes of a chain (leaf first) what a handshake shows; it must be a node's, and of this key.
pub(super) fn held(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    trust_domain: &TrustDomain,
) -> Result<(Held, Arc<CertifiedKey>), String> {
    let leaf = chain.first().ok_or("it holds no certificate")?;
    let certificate = Certificate::read(leaf, trust_domain).map_err(|error| error.to_string())?;
    let Identity::Node { name, registration } = &certificate.identity else {
        return Err(format!(
            "it is the certificate of {}, not of a node",
            certificate.identity
        ));
    };
    if certificate.key != Pin::of_key(&key.subject_public_key_info()) {
        return Err("it belongs to another key than the one in key.pem".to_owned());
    }
    let held = Held::new(name.clone(), *registration, &certificate);
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let private = provider()
        .key_provider
        .load_private_key(private)
        .map_err(|error| error.to_string())?;
    Ok((held, Arc::new(CertifiedKey::new(chain, private))))
}
