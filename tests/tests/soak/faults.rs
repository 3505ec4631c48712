//! What goes wrong.

use std::time::Duration;

use edge_tunnel_tests::link::{End, Forgotten, Link, Path, Way};
use nix::sys::signal::Signal;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::process::Command;
use tokio::time::sleep;

use super::world::World;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Cut,
    Freeze,
    Block,
    OneWay,
    Delay,
    HalfOpen,
    HalfClose,
    Idle,
    Lossy,
    Narrow,
    Rebind,
    Flap,
    NoUdp,
    AgentStands,
    AgentDies,
    AgentWithoutFiles,
    ServerStands,
    ServerDies,
    ServerWithoutFiles,
    KeysRewritten,
}

const ALL: [Fault; 20] = [
    Fault::Cut,
    Fault::Freeze,
    Fault::Block,
    Fault::OneWay,
    Fault::Delay,
    Fault::HalfOpen,
    Fault::HalfClose,
    Fault::Idle,
    Fault::Lossy,
    Fault::Narrow,
    Fault::Rebind,
    Fault::Flap,
    Fault::NoUdp,
    Fault::AgentStands,
    Fault::AgentDies,
    Fault::AgentWithoutFiles,
    Fault::ServerStands,
    Fault::ServerDies,
    Fault::ServerWithoutFiles,
    Fault::KeysRewritten,
];

impl Fault {
    /// One of all, or of those that let the programs live.
    pub(super) fn draw(rng: &mut SmallRng, deadly: bool) -> Self {
        loop {
            let fault = ALL[rng.random_range(0..ALL.len())];
            if deadly || !matches!(fault, Self::AgentDies | Self::ServerDies) {
                return fault;
            }
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Freeze => "freeze",
            Self::Block => "block",
            Self::OneWay => "one way",
            Self::Delay => "delay",
            Self::HalfOpen => "half-open",
            Self::HalfClose => "half-close",
            Self::Idle => "idle",
            Self::Lossy => "lossy",
            Self::Narrow => "narrow",
            Self::Rebind => "rebind",
            Self::Flap => "flap",
            Self::NoUdp => "no UDP",
            Self::AgentStands => "agent stopped",
            Self::AgentDies => "agent killed",
            Self::AgentWithoutFiles => "agent out of files",
            Self::ServerStands => "server stopped",
            Self::ServerDies => "server killed",
            Self::ServerWithoutFiles => "server out of files",
            Self::KeysRewritten => "keys rewritten",
        }
    }

    /// Happens, for a while, and is over when everything is back.
    pub(super) async fn strike(self, world: &mut World, rng: &mut SmallRng) {
        let a_while = Duration::from_millis(rng.random_range(200..6000));
        let site = rng.random_range(0..world.sites.len());
        let all: Vec<usize> = (0..world.sites.len()).collect();
        match self {
            // These break nothing: no request may fail.
            Self::KeysRewritten => {
                let key = world.cloud.config_dir().join("http-proxy-ports");
                let text = std::fs::read_to_string(&key).unwrap();
                let fresh = world.cloud.config_dir().join(".fresh");
                std::fs::write(&fresh, text + "\n").unwrap();
                std::fs::rename(fresh, key).unwrap();
            }
            Self::Rebind => world.sites[site].link.udp().rebind(),
            Self::ServerStands => {
                world.begin(&all);
                world.cloud.daemon().signal(Signal::SIGSTOP);
                sleep(a_while).await;
                world.cloud.daemon().signal(Signal::SIGCONT);
                world.end(&all).await;
            }
            Self::ServerDies => {
                world.begin(&all);
                world.cloud.kill().await;
                sleep(a_while / 4).await;
                world.cloud.start_again().await;
                world.end(&all).await;
            }
            Self::ServerWithoutFiles => {
                world.begin(&all);
                let pid = world.cloud.daemon().pid();
                open_files(pid, "10").await;
                sleep(a_while).await;
                open_files(pid, "4096").await;
                world.end(&all).await;
            }
            Self::AgentStands => {
                world.begin(&[site]);
                let daemon = world.sites[site].edge.daemon();
                daemon.signal(Signal::SIGSTOP);
                sleep(a_while).await;
                daemon.signal(Signal::SIGCONT);
                world.end(&[site]).await;
            }
            Self::AgentDies => {
                world.begin(&[site]);
                world.sites[site].edge.kill().await;
                sleep(a_while / 4).await;
                world.sites[site].edge.start_again();
                world.end(&[site]).await;
            }
            Self::AgentWithoutFiles => {
                world.begin(&[site]);
                let pid = world.sites[site].edge.daemon().pid();
                open_files(pid, "8").await;
                sleep(a_while).await;
                open_files(pid, "4096").await;
                world.end(&[site]).await;
            }
            of_the_link => {
                world.begin(&[site]);
                of_the_link.on(&world.sites[site].link, a_while, rng).await;
                world.sites[site].link.mend();
                world.end(&[site]).await;
            }
        }
    }

    async fn on(self, link: &Link, a_while: Duration, rng: &mut SmallRng) {
        let each = |what: &dyn Fn(&Path)| {
            what(link.tcp());
            what(link.udp());
        };
        let (way, told, then) = if rng.random() {
            (Way::Up, End::Agent, Forgotten::Silent)
        } else {
            (Way::Down, End::Server, Forgotten::Reset)
        };
        match self {
            Self::Cut => each(&Path::cut),
            Self::Freeze => each(&Path::freeze),
            Self::Block => link.block(),
            Self::OneWay => each(&|path| path.stall(way)),
            Self::Delay => each(&|path| path.delay(a_while / 40)),
            Self::HalfOpen => each(&|path| path.half_open(told)),
            Self::HalfClose => each(&|path| path.half_close(way)),
            Self::Idle => each(&|path| path.forget(Duration::from_millis(700), then)),
            Self::Lossy => link
                .udp()
                .lose(rng.random_range(0..50), rng.random_range(0..300)),
            Self::Narrow => link.udp().narrow(1280),
            Self::NoUdp => link.udp().block(),
            _flap => {
                for _ in 0..3 {
                    link.block();
                    sleep(a_while / 6).await;
                    each(&Path::cut);
                    link.unblock();
                    sleep(a_while / 6).await;
                }
            }
        }
        sleep(a_while).await;
    }
}

/// Lets a process have so many open files, from now on.
async fn open_files(pid: u32, count: &str) {
    let (pid, limit) = (pid.to_string(), format!("--nofile={count}:"));
    let done = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status()
        .await;
    assert!(
        done.is_ok_and(|done| done.success()),
        "prlimit {pid} {limit}"
    );
}
