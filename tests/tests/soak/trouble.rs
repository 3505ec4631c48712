//! What is wrong on the way to a node, and when: what a request that fails is held against.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::sync::Mutex;
use tokio::time::Instant;

/// What a fault may do to requests to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: they are slower.
    None,
    /// Nothing, unless the node's session moves to where the fault is, which only another fault makes it do.
    IfMoved,
    /// It may break them.
    Breaks,
}

/// A fault, from when it struck until the node was back by every way.
#[derive(Debug, Clone)]
struct Wrong {
    fault: &'static str,
    /// Where and how.
    detail: String,
    effect: Effect,
    from: Instant,
    to: Option<Instant>,
}

/// What was ever wrong with a node.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    began: Instant,
    all: Arc<Mutex<Vec<Wrong>>>,
}

/// A fault that lasts.
#[derive(Debug)]
#[must_use]
pub(super) struct Lasting(usize);

impl Trouble {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            all: Arc::default(),
        }
    }

    /// A fault strikes.
    pub(super) fn begin(
        &self,
        fault: &'static str,
        detail: impl fmt::Debug,
        effect: Effect,
    ) -> Lasting {
        let mut all = self.all.lock();
        if effect == Effect::Breaks {
            for other in all.iter_mut().filter(|other| other.to.is_none()) {
                if other.effect == Effect::IfMoved {
                    other.effect = Effect::Breaks;
                }
            }
        }
        let open = |wrong: &Wrong| wrong.to.is_none() && wrong.effect == Effect::Breaks;
        let moving = effect == Effect::IfMoved && all.iter().any(open);
        all.push(Wrong {
            fault,
            detail: format!("{detail:?}"),
            effect: if moving { Effect::Breaks } else { effect },
            from: Instant::now(),
            to: None,
        });
        Lasting(all.len() - 1)
    }

    /// It is over, and the node is back.
    #[expect(clippy::needless_pass_by_value, reason = "it ends once")]
    pub(super) fn end(&self, lasting: Lasting) {
        self.all.lock()[lasting.0].to = Some(Instant::now());
    }

    /// Which fault may have broken a request that began `then` and has ended now: the last that struck before or while
    /// it was under way and was not over when it began.
    pub(super) fn blame(&self, then: Instant) -> Option<&'static str> {
        let all = self.all.lock();
        let breaks =
            |wrong: &&Wrong| wrong.effect == Effect::Breaks && wrong.to.is_none_or(|to| to >= then);
        all.iter().rev().find(breaks).map(|wrong| wrong.fault)
    }

    /// The last faults, whatever they may do, for words about a failure that none of them explains.
    pub(super) fn lately(&self) -> String {
        let all = self.all.lock();
        let since = |at: Instant| at.duration_since(self.began).as_secs_f32();
        let mut words = format!("now {:.1} s", since(Instant::now()));
        for wrong in all.iter().rev().take(4) {
            let to = wrong
                .to
                .map_or_else(|| "now".to_owned(), |to| format!("{:.1}", since(to)));
            let Wrong {
                detail,
                effect,
                from,
                ..
            } = wrong;
            let _ = write!(words, "; {detail} ({effect:?}) {:.1} to {to}", since(*from));
        }
        words
    }

    /// When the last fault that may have ended the node's session was over.
    pub(super) fn over(&self) -> Option<Instant> {
        let all = self.all.lock();
        let breaks = all.iter().filter(|wrong| wrong.effect != Effect::None);
        breaks.filter_map(|wrong| wrong.to).max()
    }

    /// For how long anything that breaks requests was wrong, up to now.
    pub(super) fn lasted(&self) -> Duration {
        let all = self.all.lock();
        let (mut sum, mut counted) = (Duration::ZERO, self.began);
        for wrong in all.iter().filter(|wrong| wrong.effect == Effect::Breaks) {
            let to = wrong.to.unwrap_or_else(Instant::now);
            sum += to.saturating_duration_since(wrong.from.max(counted));
            counted = counted.max(to);
        }
        sum
    }
}

#[tokio::test]
async fn a_failure_is_blamed_on_what_was_wrong_on_its_way_at_its_time_and_on_nothing_else() {
    let wait = || tokio::time::sleep(Duration::from_millis(10));
    let trouble = Trouble::new();
    let before = Instant::now();
    wait().await;
    assert_eq!(trouble.blame(before), None, "nothing was wrong yet");
    let slow = trouble.begin("delay", "", Effect::None);
    let other = trouble.begin("tcp", "", Effect::IfMoved);
    assert_eq!(trouble.blame(before), None, "neither breaks anything");
    wait().await;
    let cut = trouble.begin("cut", "", Effect::Breaks);
    assert_eq!(trouble.blame(before), Some("cut"));
    wait().await;
    let within = Instant::now();
    wait().await;
    trouble.end(cut);
    wait().await;
    let after = Instant::now();
    assert_eq!(trouble.blame(within), Some("cut"));
    assert_eq!(
        trouble.blame(after),
        Some("tcp"),
        "the session may have moved there"
    );
    trouble.end(other);
    trouble.end(slow);
    wait().await;
    assert_eq!(trouble.blame(Instant::now()), None, "all of it is over");
    assert!(trouble.lasted() >= Duration::from_millis(20));
}
