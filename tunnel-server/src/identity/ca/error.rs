//! Why the CA could not do something.

use std::path::PathBuf;

use super::{Phase, Step};
use crate::identity::grant::GrantError;
use crate::identity::store::StoreError;

/// Why the CA could not do something.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are nodes, and the CA that signed their certificates is gone.
    #[error(
        "there is no `ca` in {} although {nodes} nodes are registered there: it was lost, or another folder is meant (--state-dir). \
         Restore it from a backup; without one, move `registrations` and `tokens` away, and a new CA is made: every node \
         must then enrol anew, and every client be issued anew", folder.display()
    )]
    Lost {
        /// The state folder.
        folder: PathBuf,
        /// How many nodes are registered.
        nodes: usize,
    },
    /// What stands in the store, or in the operator's files, is no CA.
    #[error("{0}")]
    Unusable(String),
    /// The operator's CA is the operator's to change.
    #[error(
        "this CA was given by the operator and is rotated by its files: append the new CA certificate to the file \
         first; once agents have renewed, put it first and replace the key; at last remove the old one"
    )]
    Operators,
    /// Steps have an order.
    #[error(
        "the change of the CA stands at {}; the step that may come now is `ca rotate {}`. `ca rotate` alone says what that \
         does", phase.name(), next.name()
    )]
    WrongStep {
        /// Where it stands.
        phase: Phase,
        /// What may come next.
        next: Step,
    },
    /// Its time is over.
    #[error("the CA's own certificate expired at {0}; rotate the CA and enrol the nodes anew")]
    Expired(String),
    /// The grant does not fit a certificate.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// Building or signing a certificate failed.
    #[error("a certificate could not be made: {0}")]
    Sign(#[from] rcgen::Error),
    /// The TLS library takes the key for unusable.
    #[error("a key that was just made cannot be used: {0}")]
    Key(#[from] rustls::Error),
}
