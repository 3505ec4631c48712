//! What a process takes of the machine.

use std::time::Duration;

/// What a process has of the machine's memory, in bytes (proc_pid_status(5)).
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now.
    pub now: usize,
    /// The most so far.
    pub peak: usize,
}

impl Memory {
    /// Of a process.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .expect("a process that runs has a status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib: usize = line
                .and_then(|rest| rest.trim().strip_suffix(" kB"))
                .and_then(|number| number.trim().parse().ok())
                .expect("the kernel writes so many kB");
            kib * 1024
        };
        Self {
            now: field("VmRSS:"),
            peak: field("VmHWM:"),
        }
    }
}

/// How long a process has kept a core busy, its work in the kernel included; in steps of 10 ms (proc_pid_stat(5)).
///
/// # Panics
/// When it does not run.
#[must_use]
pub fn worked(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .expect("a process that runs has a status");
    // Behind the name, which may hold anything: utime and stime are the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(10 * ticks)
}
