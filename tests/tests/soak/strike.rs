//! Faults as they strike, each with what it may do to whom, and over when everything is back.

use std::time::Duration;

use edge_tunnel_tests::link::{Link, Path};
use edge_tunnel_tests::programs::Cloud;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::schedule::{Central, Local, Over, Plan, Strike};
use super::trouble::Effect;
use super::world::{Reach, Site, World};

/// After which a balancer of these tests forgets; shorter than the heartbeat.
const IDLE: Duration = Duration::from_millis(700);

/// Carries a plan out: at every node and at the server at the same time.
pub(super) async fn carry_out(world: &mut World, plan: &Plan) {
    let all: Vec<Reach> = world.sites.iter().map(|site| site.reach.clone()).collect();
    let [one, two, three] = &mut world.sites[..] else {
        unreachable!("the world has this many nodes")
    };
    tokio::join!(
        at_server(&mut world.cloud, &all, &plan.server),
        at_site(one, &plan.sites[0]),
        at_site(two, &plan.sites[1]),
        at_site(three, &plan.sites[2]),
    );
}

async fn at_site(site: &mut Site, strikes: &[Strike<Local>]) {
    for strike in strikes {
        sleep(strike.pause).await;
        let fault = strike.fault;
        let effect = effect(fault, site).await;
        let lasting = site.reach.trouble.begin(fault.name(), fault, effect);
        match fault {
            Local::AgentStands => {
                site.edge.daemon().signal(Signal::SIGSTOP);
                sleep(strike.lasts).await;
                site.edge.daemon().signal(Signal::SIGCONT);
            }
            Local::AgentDies => {
                site.edge.kill().await;
                sleep(strike.lasts / 4).await;
                site.edge.start_again();
            }
            Local::AgentWithoutFiles => {
                let pid = site.edge.daemon().pid();
                without_files(pid, 8, strike.lasts).await;
            }
            of_the_link => {
                on(&site.link, of_the_link, strike.lasts).await;
                site.link.mend();
            }
        }
        if effect == Effect::Breaks {
            site.reach.recovers().await;
        }
        site.reach.trouble.end(lasting);
    }
}

/// What a fault may do to requests to a node.
async fn effect(fault: Local, site: &Site) -> Effect {
    if fault.harmless() {
        return Effect::None;
    }
    let carries = match (site.reach.dial, fault.over()) {
        (_, None | Some(Over::Both)) => true,
        ("quic", Some(over)) => over == Over::Udp,
        ("tls", Some(over)) => over == Over::Tcp,
        (_any, Some(Over::Udp)) => true,
        (_any, Some(Over::Tcp)) => {
            return if site.quic_alone().await {
                Effect::IfMoved
            } else {
                Effect::Breaks
            };
        }
    };
    if carries {
        Effect::Breaks
    } else {
        Effect::None
    }
}

async fn on(link: &Link, fault: Local, lasts: Duration) {
    let each = |over: Over, what: &dyn Fn(&Path)| {
        if over != Over::Udp {
            what(link.tcp());
        }
        if over != Over::Tcp {
            what(link.udp());
        }
    };
    match fault {
        Local::Cut(over) => each(over, &Path::cut),
        Local::Freeze(over) => each(over, &Path::freeze),
        Local::Block(over) => each(over, &Path::block),
        Local::OneWay(over, way) => each(over, &|path| path.stall(way)),
        Local::HalfOpen(over, told) => each(over, &|path| path.half_open(told)),
        Local::HalfClose(way) => link.tcp().half_close(way),
        Local::Forget(over, then) => each(over, &|path| path.forget(IDLE, then)),
        Local::Delay(over, delay) => each(over, &|path| path.delay(delay)),
        Local::Lossy(lost, reordered) => link.udp().lose(lost, reordered),
        Local::Narrow => link.udp().narrow(1280),
        Local::Rebind => link.udp().rebind(),
        Local::Flap(over) => {
            for _ in 0..3 {
                each(over, &Path::block);
                sleep(lasts / 6).await;
                each(over, &Path::cut);
                each(over, &Path::unblock);
                sleep(lasts / 6).await;
            }
            return;
        }
        Local::AgentStands | Local::AgentDies | Local::AgentWithoutFiles => {
            unreachable!("these are none of the link's")
        }
    }
    sleep(lasts).await;
}

async fn at_server(cloud: &mut Cloud, all: &[Reach], strikes: &[Strike<Central>]) {
    for strike in strikes {
        sleep(strike.pause).await;
        let (fault, lasts) = (strike.fault, strike.lasts);
        let (whom, effect) = match fault {
            Central::KeysRewritten => (all, Effect::None),
            Central::Revoked(site) => (&all[site..=site], Effect::Breaks),
            _everybody => (all, Effect::Breaks),
        };
        let begin = |reach: &Reach| reach.trouble.begin(fault.name(), fault, effect);
        let lasting: Vec<_> = whom.iter().map(begin).collect();
        match fault {
            Central::KeysRewritten => rewrite(cloud, lasts).await,
            Central::Stands => {
                cloud.daemon().signal(Signal::SIGSTOP);
                sleep(lasts).await;
                cloud.daemon().signal(Signal::SIGCONT);
            }
            Central::Dies => {
                cloud.kill().await;
                sleep(lasts / 4).await;
                cloud.start_again().await;
            }
            Central::WithoutFiles => without_files(cloud.pid(), 10, lasts).await,
            Central::Revoked(site) => {
                let node = &all[site].name;
                let done = cloud.command(&["nodes", "revoke", node]).await;
                assert!(done.status.success(), "{done:?}");
                sleep(lasts).await;
                // Into the file that its agent reads.
                cloud.token(node).await;
            }
        }
        // Each is over when its own node is back: another that takes longer excuses nothing.
        let back = whom.iter().zip(lasting).map(async |(reach, lasting)| {
            if effect == Effect::Breaks {
                reach.recovers().await;
            }
            reach.trouble.end(lasting);
        });
        join_all(back).await;
    }
}

/// Has live keys be read anew, again and again: what they say stays.
async fn rewrite(cloud: &Cloud, lasts: Duration) {
    let key = cloud.config_dir().join("http-proxy-ports");
    let fresh = cloud.config_dir().join(".fresh");
    let text = std::fs::read_to_string(&key).expect("the key is there");
    let again = async {
        for spaces in (1..10).cycle() {
            let text = format!("{}{}", text.trim_end(), "\n".repeat(spaces));
            std::fs::write(&fresh, text).expect("a key can be written");
            std::fs::rename(&fresh, &key).expect("a key can be replaced");
            sleep(Duration::from_millis(100)).await;
        }
    };
    let _ = timeout(lasts, again).await;
}

/// Lets a process have no more open files than it has already.
async fn without_files(pid: u32, count: u32, lasts: Duration) {
    let before = soft(pid);
    limit(pid, &count.to_string()).await;
    sleep(lasts).await;
    limit(pid, &before).await;
}

/// How many open files a process may have (proc_pid_limits(5)).
fn soft(pid: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"));
    let limits = limits.expect("a process that runs has limits");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.expect("the kernel writes so").to_owned()
}

async fn limit(pid: u32, soft: &str) {
    let (pid, limit) = (pid.to_string(), format!("--nofile={soft}:"));
    let done = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    let done = done.await.expect("util-linux is installed");
    assert!(done.success(), "prlimit --pid {pid} {limit}");
}
