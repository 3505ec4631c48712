//! The steps of a rotation, and the CA as people see it.

use std::str::FromStr;
use std::time::SystemTime;

use clap::ValueEnum;
use edge_tunnel_proto::identity::{Bundle, Pin};

use crate::identity::issue::ALL_RENEWED;

/// Where a rotation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// One CA.
    Steady,
    /// The next CA is believed, the old one signs.
    Introduced,
    /// The next CA signs, the old one is believed.
    Signing,
}

/// A step of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// Make the next CA and believe it beside the old one, which goes on signing; agents learn of it as they renew
    Introduce,
    /// Have the next CA sign; the old one is still believed
    Sign,
    /// Drop the old CA, and with it every certificate that it signed
    Finish,
}

impl Step {
    /// The step's name, as it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Introduce => "introduce",
            Self::Sign => "sign",
            Self::Finish => "finish",
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false)
    }
}

impl Phase {
    /// The phase's name, as people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Introduced => "introduced",
            Self::Signing => "signing",
        }
    }

    /// The step that may come next.
    #[must_use]
    pub const fn next(self) -> Step {
        match self {
            Self::Steady => Step::Introduce,
            Self::Introduced => Step::Sign,
            Self::Signing => Step::Finish,
        }
    }
}

/// The CA as `ca show` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaInfo {
    /// Where a rotation stands; an operator's CA is always steady.
    pub phase: Phase,
    /// Since when; unknown for an operator's CA.
    pub since: Option<SystemTime>,
    /// The pin of the CA that signs: what join tokens carry.
    pub signs: Pin,
    /// All that is believed.
    pub bundle: Bundle,
}

impl CaInfo {
    /// When the next step is due: once every connected agent has renewed since the last. `None`: any time will do.
    #[must_use]
    pub fn ready(&self) -> Option<SystemTime> {
        match self.phase {
            Phase::Steady => None,
            Phase::Introduced | Phase::Signing => Some(self.since? + ALL_RENEWED),
        }
    }
}
