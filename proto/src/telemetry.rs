//! What a process tells about itself: logs to stderr, its version, whether it is ready ([`health`]), and the
//! same to systemd ([`systemd`]), and how busy it is ([`process`]).

use std::error::Error;
use std::fmt;
use std::io::IsTerminal as _;
use std::str::FromStr;
use std::sync::LazyLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub mod health;
mod lines;
mod panics;
pub mod process;
pub mod systemd;

/// Why logging cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// Neither format.
    #[error("{0:?} is no log format: use human or json")]
    Format(String),
    /// Not a filter.
    #[error(
        "{0:?} is no log level: use off, error, warn, info, debug or trace, or a comma-separated list such as \
         info,quinn=warn"
    )]
    Filter(String),
    /// Something else in this process logs already.
    #[error("logging is already set up in this process")]
    AlreadySet,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people: one line, coloured where stderr is a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            other => Err(TelemetryError::Format(other.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Human => "human",
            Self::Json => "json",
        })
    }
}

/// Which log lines are written: a level, or `target=level` directives, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl FromStr for LogFilter {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        let bad = || TelemetryError::Filter(text.to_owned());
        // A bare word that is no level would be taken for a target, everything in it at TRACE and all else
        // silent: "inof" must be an error, not a log that stays empty.
        let plain = |part: &str| {
            part.contains('=') || (!part.is_empty() && part.parse::<LevelFilter>().is_ok())
        };
        if !text.split(',').all(plain) {
            return Err(bad());
        }
        EnvFilter::builder()
            .parse(text)
            .map_err(|_unreadable| bad())?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sends the process's log lines to stderr from now on, those of panics included.
///
/// # Errors
/// [`TelemetryError::AlreadySet`] when called a second time in one process.
pub fn init(format: LogFormat, filter: &LogFilter) -> Result<(), TelemetryError> {
    let directives = EnvFilter::builder().parse(&filter.0);
    let directives = directives.map_err(|_unreadable| TelemetryError::Filter(filter.0.clone()))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(directives)
        // A line that cannot be written is lost. Complaining of it on stderr, which is what failed, would panic
        // whichever task had something to say.
        .log_internal_errors(false)
        .with_writer(lines::Lines)
        .with_ansi(std::io::stderr().is_terminal());
    let set = match format {
        LogFormat::Human => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    set.map_err(|_a_subscriber_is_there| TelemetryError::AlreadySet)?;
    panics::log();
    Ok(())
}

/// The version that both ends show: the crate's, and the commit where the build named one in
/// `EDGE_TUNNEL_GIT_HASH`.
#[must_use]
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        describe(
            env!("CARGO_PKG_VERSION"),
            option_env!("EDGE_TUNNEL_GIT_HASH"),
        )
    });
    &VERSION
}

/// An error and what caused it in one line, for the end of a program: `cannot listen on 0.0.0.0:1: permission denied`.
/// A cause that the text before it tells already is not told again.
#[must_use]
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line.replace(['\r', '\n'], " ")
}

fn describe(version: &str, commit: Option<&str>) -> String {
    match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_and_directives() {
        for good in [
            "info",
            "off",
            "WARN",
            "info,hyper=debug",
            "edge_tunnel_agent::uplink=trace",
        ] {
            assert!(good.parse::<LogFilter>().is_ok(), "{good:?} was refused");
        }
        for bad in ["", "inof", "info,", "hyper", "hyper=loud", "info,dbug"] {
            let error = bad.parse::<LogFilter>().unwrap_err().to_string();
            assert!(error.contains("debug or trace"), "{error}");
        }
    }

    #[test]
    fn formats() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert!(
            "xml"
                .parse::<LogFormat>()
                .unwrap_err()
                .to_string()
                .contains("human or json")
        );
        for format in [LogFormat::Human, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
    }

    #[test]
    fn an_error_ends_in_one_line_without_saying_a_cause_twice() {
        #[derive(Debug, thiserror::Error)]
        enum Failed {
            #[error("cannot listen:\n{0}")]
            Tells(#[source] std::io::Error),
            #[error("cannot start")]
            Hides(#[source] Box<Failed>),
        }
        let cause = Failed::Tells(std::io::Error::other("port taken"));
        assert_eq!(one_line(&cause), "cannot listen: port taken");
        let outer = Failed::Hides(Box::new(cause));
        assert_eq!(one_line(&outer), "cannot start: cannot listen: port taken");
    }

    #[test]
    fn a_version_names_its_commit_where_known() {
        assert_eq!(describe("1.2.3", Some("abc1234")), "1.2.3 (abc1234)");
        assert_eq!(describe("1.2.3", Some("")), "1.2.3");
        assert_eq!(describe("1.2.3", None), "1.2.3");
        assert!(version().starts_with(env!("CARGO_PKG_VERSION")));
    }
}
