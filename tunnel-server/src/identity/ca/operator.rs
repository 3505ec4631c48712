//! A CA that the operator gives as two files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use edge_tunnel_proto::identity::{BUNDLE_MAX, Bundle};

use super::record::{Material, Signer};
use super::{CaError, Phase};

/// The largest key file, in bytes.
const KEY_MAX: usize = 16 * 1024;

/// Where the operator's CA stands.
#[derive(Debug, Clone)]
pub struct OperatorCa {
    /// PEM: first the CA certificate that signs, then others that are believed too.
    pub certificate: PathBuf,
    /// PEM: the private key of the first.
    pub key: PathBuf,
}

impl OperatorCa {
    pub(super) fn material(&self) -> Result<Material, CaError> {
        let pem = read(&self.certificate, BUNDLE_MAX)?;
        let named = |path: &Path, error: &dyn std::fmt::Display| {
            CaError::Unusable(format!("the CA in {}: {error}", path.display()))
        };
        let bundle = Bundle::from_pem(&pem).map_err(|error| named(&self.certificate, &error))?;
        let key = String::from_utf8(read(&self.key, KEY_MAX)?)
            .map_err(|error| named(&self.key, &error))?;
        // All are shown: in the operator's own rotation a join token may carry the pin of either.
        let shown = bundle.certificates().to_vec();
        let signer = Signer::new(&bundle.certificates()[0], &key, shown)
            .map_err(|error| named(&self.key, &error))?;
        Ok(Material {
            phase: Phase::Steady,
            since: None,
            bundle,
            signer,
        })
    }
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, CaError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            CaError::Unusable(format!("{} cannot be read: {error}", path.display()))
        })?;
    if bytes.len() > limit {
        return Err(CaError::Unusable(format!(
            "{} is larger than {limit} bytes; is it the right file?",
            path.display()
        )));
    }
    Ok(bytes)
}
