//! Decoders under a million inputs each. A crate lists its own in its module `fuzzing`; its tests feed them from here,
//! and the fuzzer (`fuzz/`) feeds the same ones.

use std::collections::HashSet;
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::Mutator;
use super::pieces::fingerprint;
use crate::sync::Mutex;

/// How many inputs each decoder gets, where `EDGE_TUNNEL_FUZZ_INPUTS` does not say otherwise.
const INPUTS: u64 = 1_000_000;

/// What the inputs depend on, where `EDGE_TUNNEL_FUZZ_SEED` does not say otherwise.
const SEED: u64 = 1;

/// How many inputs a thread makes before it looks for more work.
const BLOCK: u64 = 5_000;

/// The longest message of an error about a text of outsiders, in bytes. It goes into a log line.
const MESSAGE_MAX: usize = 2048;

/// Something that reads what outsiders wrote.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    /// What it is called; names its folder of samples, too.
    pub name: &'static str,
    /// Feeds it these bytes. Panics when it breaks a promise.
    pub check: fn(&[u8]),
    /// What it accepts, made by what writes it.
    pub samples: fn() -> Vec<Vec<u8>>,
}

/// An input for which a decoder broke a promise.
#[derive(Debug, Clone)]
struct Finding {
    decoder: &'static str,
    seed: u64,
    number: u64,
    input: Vec<u8>,
    said: String,
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: String = self.input.iter().map(|b| format!("{b:02x}")).collect();
        let Self {
            decoder,
            seed,
            number,
            said,
            ..
        } = self;
        write!(
            f,
            "{decoder}: {said}\n  at input {number} of EDGE_TUNNEL_FUZZ_SEED={seed}, in hexadecimal: {hex}"
        )
    }
}

/// Has each decoder keep its promises under [`hammer`], and prints the time that each took.
///
/// # Panics
/// When one does not, with the inputs.
#[expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "this is the body of a test, whose failure is a panic and whose figures are for whoever reads"
)]
pub fn promises_are_kept(decoders: &[Decoder]) {
    match hammer(decoders) {
        Ok(spent) => println!("{spent:?}"),
        Err(found) => panic!("{found}"),
    }
}

/// Has each decoder accept its own samples, of which it has some, under a name of its own.
///
/// # Panics
/// When one does not.
pub fn samples_pass(decoders: &[Decoder]) {
    let mut names = HashSet::new();
    for decoder in decoders {
        assert!(names.insert(decoder.name), "{} twice", decoder.name);
        let samples = (decoder.samples)();
        assert!(!samples.is_empty(), "{}", decoder.name);
        samples.iter().for_each(|sample| (decoder.check)(sample));
    }
}

/// Feeds each decoder its inputs, on all processors; one that breaks a promise gets no more. The inputs are the same in
/// every run with the same seed, as far as the samples are: keys and certificates are new in each. Gives the time that
/// each took.
///
/// # Errors
/// For each decoder that broke a promise the input that did it, a line or two each.
///
/// # Panics
/// When one of the two variables of the environment is no number.
fn hammer(decoders: &[Decoder]) -> Result<Vec<(&'static str, Duration)>, String> {
    let (seed, inputs) = (
        setting("EDGE_TUNNEL_FUZZ_SEED", SEED),
        setting("EDGE_TUNNEL_FUZZ_INPUTS", INPUTS),
    );
    let jobs: Vec<_> = decoders.iter().map(Job::new).collect();
    let blocks = inputs.div_ceil(BLOCK);
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let which = usize::try_from(number / blocks).unwrap_or(usize::MAX);
            let Some(job) = jobs.get(which) else {
                return;
            };
            let start = number % blocks * BLOCK;
            job.feed(seed, start..inputs.min(start + BLOCK));
        }
    };
    thread::scope(|scope| {
        for _ in 1..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
        work();
    });
    let (mut spent, mut found) = (Vec::new(), Vec::new());
    for job in jobs {
        let done = job.done.lock();
        spent.push((job.decoder.name, done.0));
        found.extend(done.1.as_ref().map(Finding::to_string));
    }
    if found.is_empty() {
        Ok(spent)
    } else {
        Err(found.join("\n"))
    }
}

/// One decoder, its samples, and what has come of it so far.
struct Job {
    decoder: Decoder,
    samples: Vec<Vec<u8>>,
    done: Mutex<(Duration, Option<Finding>)>,
}

impl Job {
    fn new(decoder: &Decoder) -> Self {
        Self {
            decoder: *decoder,
            samples: (decoder.samples)(),
            done: Mutex::default(),
        }
    }

    fn feed(&self, seed: u64, numbers: std::ops::Range<u64>) {
        if self.done.lock().1.is_some() {
            return;
        }
        let start = Instant::now();
        let outcome = block(&self.decoder, &self.samples, seed, numbers);
        let mut done = self.done.lock();
        done.0 += start.elapsed();
        if let Err(finding) = outcome {
            done.1.get_or_insert(finding);
        }
    }
}

fn block(
    decoder: &Decoder,
    samples: &[Vec<u8>],
    seed: u64,
    numbers: std::ops::Range<u64>,
) -> Result<(), Finding> {
    let mut input = Vec::new();
    for number in numbers {
        let mut source = Mutator::new(seed ^ fingerprint(decoder.name.as_bytes()));
        let start = source.number().wrapping_add(number);
        Mutator::new(Mutator::new(start).number()).fill(samples, &mut input);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (decoder.check)(&input))) {
            let said = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied());
            return Err(Finding {
                decoder: decoder.name,
                seed,
                number,
                input,
                said: said.unwrap_or("a panic without words").to_owned(),
            });
        }
    }
    Ok(())
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| unreachable!("{name} is {text:?}, which is no number"))
    })
}

/// Reads `bytes` as the text of a `T`. What is read survives its own text form; what is not is refused in words that
/// fit a log line. Gives what was read.
///
/// # Panics
/// When one of these is not so.
pub fn round_trip<T>(bytes: &[u8]) -> Option<T>
where
    T: FromStr<Err: Display> + Display + PartialEq,
{
    match String::from_utf8_lossy(bytes).parse::<T>() {
        Ok(read) => {
            let text = read.to_string();
            assert!(
                text.parse::<T>().is_ok_and(|again| again == read),
                "{text:?} does not survive its text form"
            );
            Some(read)
        }
        Err(error) => {
            // To put it into words takes longer than to find it.
            if bytes.len().is_multiple_of(4) {
                said(&error);
            }
            None
        }
    }
}

/// That a refusal says something, on one line that fits a log.
///
/// # Panics
/// When it does not.
pub fn said(error: &impl Display) {
    let text = error.to_string();
    assert!(
        !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains(['\n', '\r', '\0']),
        "{text:?} is no message for a log"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_a_promise_is_shown_with_what_did_it() {
        let decoder = Decoder {
            name: "example",
            check: |input| assert!(!input.starts_with(b"ab\x80"), "taken"),
            samples: || vec![b"ab\x01".to_vec()],
        };
        let finding = hammer(&[decoder]).unwrap_err();
        assert!(
            finding.starts_with("example: taken\n") && finding.contains("hexadecimal: 616280"),
            "{finding}"
        );
    }
}
