//! Which faults strike, when and for how long: all of it follows from the seed.

use std::time::Duration;

use edge_tunnel_tests::link::{End, Forgotten, Way};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// How many nodes there are.
pub(super) const SITES: usize = 3;

/// Which protocols of a link a fault is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Tcp,
    Udp,
    Both,
}

/// What goes wrong at one node, or on its link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Local {
    Cut(Over),
    Freeze(Over),
    Block(Over),
    OneWay(Over, Way),
    HalfOpen(Over, End),
    HalfClose(Way),
    Forget(Over, Forgotten),
    Flap(Over),
    Delay(Over, Duration),
    Lossy(u32, u32),
    Narrow,
    Rebind,
    AgentStands,
    AgentDies,
    AgentWithoutFiles,
}

/// What goes wrong at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Central {
    Stands,
    Dies,
    WithoutFiles,
    KeysRewritten,
    /// Of this node.
    Revoked(usize),
}

impl Local {
    /// Its name in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cut(_) => "link cut",
            Self::Freeze(_) => "link frozen",
            Self::Block(_) => "link stalled",
            Self::OneWay(..) => "link one way",
            Self::HalfOpen(..) => "half-open",
            Self::HalfClose(_) => "half-closed",
            Self::Forget(..) => "link forgotten",
            Self::Flap(_) => "flapping",
            Self::Delay(..) => "delay",
            Self::Lossy(..) => "loss and reordering",
            Self::Narrow => "narrow path",
            Self::Rebind => "port changed",
            Self::AgentStands => "agent frozen",
            Self::AgentDies => "agent killed",
            Self::AgentWithoutFiles => "agent out of files",
        }
    }

    /// Which protocols it strikes; none where it strikes the agent.
    pub(super) const fn over(self) -> Option<Over> {
        match self {
            Self::Cut(over)
            | Self::Freeze(over)
            | Self::Block(over)
            | Self::OneWay(over, _)
            | Self::HalfOpen(over, _)
            | Self::Forget(over, _)
            | Self::Flap(over)
            | Self::Delay(over, _) => Some(over),
            Self::HalfClose(_) => Some(Over::Tcp),
            Self::Lossy(..) | Self::Narrow | Self::Rebind => Some(Over::Udp),
            Self::AgentStands | Self::AgentDies | Self::AgentWithoutFiles => None,
        }
    }

    /// Whether it slows requests at most.
    pub(super) const fn harmless(self) -> bool {
        matches!(
            self,
            Self::Delay(..) | Self::Lossy(..) | Self::Narrow | Self::Rebind
        )
    }

    /// One of each kind, where and how at random.
    fn each(rng: &mut SmallRng) -> Vec<Self> {
        let over = |rng: &mut SmallRng| match rng.random_range(0..3) {
            0 => Over::Tcp,
            1 => Over::Udp,
            _ => Over::Both,
        };
        let way = |rng: &mut SmallRng| if rng.random() { Way::Up } else { Way::Down };
        let told = if rng.random() {
            End::Agent
        } else {
            End::Server
        };
        let then = if rng.random() {
            Forgotten::Silent
        } else {
            Forgotten::Reset
        };
        vec![
            Self::Cut(over(rng)),
            Self::Freeze(over(rng)),
            Self::Block(over(rng)),
            Self::OneWay(over(rng), way(rng)),
            Self::HalfOpen(over(rng), told),
            Self::HalfClose(way(rng)),
            Self::Forget(over(rng), then),
            Self::Flap(over(rng)),
            Self::Delay(over(rng), Duration::from_millis(rng.random_range(5..100))),
            Self::Lossy(rng.random_range(1..30), rng.random_range(0..300)),
            Self::Narrow,
            Self::Rebind,
            Self::AgentStands,
            Self::AgentDies,
            Self::AgentWithoutFiles,
        ]
    }
}

impl Central {
    /// Its name in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stands => "server frozen",
            Self::Dies => "server killed",
            Self::WithoutFiles => "server out of files",
            Self::KeysRewritten => "keys rewritten",
            Self::Revoked(_) => "node revoked",
        }
    }

    fn each(rng: &mut SmallRng) -> Vec<Self> {
        vec![
            Self::Stands,
            Self::Dies,
            Self::WithoutFiles,
            Self::KeysRewritten,
            Self::Revoked(rng.random_range(0..SITES)),
        ]
    }
}

/// A fault, how long nothing is struck before it, and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Strike<F> {
    pub(super) fault: F,
    pub(super) pause: Duration,
    pub(super) lasts: Duration,
}

/// What strikes in a round.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) sites: [Vec<Strike<Local>>; SITES],
    pub(super) server: Vec<Strike<Central>>,
    /// Of the callers in this round.
    pub(super) seed: u64,
}

/// How many strikes a round has, at each node and at the server; how long the pause before one at a node may be, and
/// three times as long at the server; and how long one may last. In ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) local: usize,
    pub(super) central: usize,
    pub(super) pause: u64,
    pub(super) lasts: u64,
}

/// Deals faults: none comes again before each of the others did.
#[derive(Debug)]
pub(super) struct Deck {
    rng: SmallRng,
    local: Vec<Local>,
    central: Vec<Central>,
}

impl Deck {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            local: Vec::new(),
            central: Vec::new(),
        }
    }

    /// The next round. Programs that die do so early in it: who is new has had no time to leak.
    pub(super) fn deal(&mut self, shape: Shape) -> Plan {
        let Self {
            rng,
            local,
            central,
        } = self;
        let mut sites: [Vec<_>; SITES] = Default::default();
        for _ in 0..shape.local {
            for site in &mut sites {
                let fault = deal(local, Local::each, rng);
                site.push(strike(fault, shape.pause, shape.lasts, rng));
            }
        }
        for site in &mut sites {
            site.sort_by_key(|strike| strike.fault != Local::AgentDies);
        }
        let mut server: Vec<_> = (0..shape.central)
            .map(|_| {
                let fault = deal(central, Central::each, rng);
                strike(fault, 3 * shape.pause, shape.lasts, rng)
            })
            .collect();
        server.sort_by_key(|strike| strike.fault != Central::Dies);
        Plan {
            sites,
            server,
            seed: rng.random(),
        }
    }
}

fn deal<F>(deck: &mut Vec<F>, each: impl Fn(&mut SmallRng) -> Vec<F>, rng: &mut SmallRng) -> F {
    loop {
        if let Some(fault) = deck.pop() {
            return fault;
        }
        *deck = each(rng);
        deck.shuffle(rng);
    }
}

fn strike<F>(fault: F, pause: u64, lasts: u64, rng: &mut SmallRng) -> Strike<F> {
    Strike {
        fault,
        pause: Duration::from_millis(rng.random_range(pause / 8..=pause)),
        lasts: Duration::from_millis(rng.random_range(200..=lasts)),
    }
}

#[test]
fn a_seed_makes_the_schedule() {
    let shape = Shape {
        local: 5,
        central: 5,
        pause: 1000,
        lasts: 1000,
    };
    let (mut one, mut other) = (Deck::new(1), Deck::new(1));
    let rounds: Vec<_> = (0..10).map(|_| one.deal(shape)).collect();
    assert!(rounds.iter().all(|round| *round == other.deal(shape)));
    assert_ne!(Deck::new(2).deal(shape), rounds[0]);
    // 15 kinds for three nodes, 5 strikes each: every round has each of them.
    for round in rounds {
        let mut names: Vec<_> = round
            .sites
            .iter()
            .flatten()
            .map(|strike| strike.fault.name())
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 15, "{names:?}");
    }
}
