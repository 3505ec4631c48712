//! The policy file: one rule a line, the same as the flags: `allow RULE`, `deny RULE`, `loopback-ports LIST`. `#`
//! starts a comment. What the file says is added to what the flags say; its loopback ports replace theirs.

use std::path::{Path, PathBuf};

use edge_tunnel_proto::files::{self, Unread};
use edge_tunnel_proto::id::excerpt;

use super::Rules;
use super::rule::RuleError;

/// The largest policy file, in bytes: some thousand rules.
pub const FILE_MAX: u64 = 64 * 1024;

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not there, no file, no text, or not readable.
    #[error("the policy file {0} (--policy-file) cannot be read: {1}")]
    Read(PathBuf, #[source] Unread),
    /// Longer than [`FILE_MAX`].
    #[error(
        "the policy file {0} (--policy-file) is larger than {FILE_MAX} bytes; join its rules into networks and port ranges"
    )]
    TooLarge(PathBuf),
    /// A line is wrong; no line of the file counts then, since the wrong one may be a `deny`.
    #[error("line {1} of the policy file {0} (--policy-file) is wrong: {2}")]
    Line(PathBuf, usize, #[source] LineError),
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Starts with none of the three words.
    #[error("{0:?} is not known: start with allow, deny or loopback-ports")]
    Word(String),
    /// The rest is no rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

/// The rules of `flags` and of the file at `path` together.
///
/// # Errors
/// When the file cannot be read or any line of it is wrong.
pub async fn read(flags: &Rules, path: &Path) -> Result<Rules, FileError> {
    let read = files::read_beside(path, FILE_MAX).await;
    let text = read
        .and_then(|bytes| files::text(&bytes))
        .map_err(|error| match error {
            Unread::TooLarge(_) => FileError::TooLarge(path.to_owned()),
            error => FileError::Read(path.to_owned(), error),
        })?;
    parse(flags, &text).map_err(|(line, error)| FileError::Line(path.to_owned(), line, error))
}

pub(super) fn parse(flags: &Rules, text: &str) -> Result<Rules, (usize, LineError)> {
    let mut rules = flags.clone();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            parse_line(&mut rules, line).map_err(|error| (index + 1, error))?;
        }
    }
    Ok(rules)
}

fn parse_line(rules: &mut Rules, line: &str) -> Result<(), LineError> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match word {
        "allow" => rules.allow.push(rest.parse()?),
        "deny" => rules.deny.push(rest.parse()?),
        "loopback-ports" => rules.loopback_ports = rest.parse()?,
        other => return Err(LineError::Word(excerpt(other))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_adds_to_the_flags() {
        let flags = Rules {
            allow: vec!["node:80".parse().unwrap()],
            ..Rules::default()
        };
        let text = "# our cameras\nallow 192.0.2.0/24:554   # rtsp\n\n  deny\tnode:22\nloopback-ports 9100\n";
        let rules = parse(&flags, text).unwrap();
        let shown = |rules: &[super::super::Rule]| {
            rules.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown(&rules.allow), ["node:80", "192.0.2.0/24:554"]);
        assert_eq!(shown(&rules.deny), ["node:22"]);
        assert_eq!(rules.loopback_ports.to_string(), "9100");
    }

    #[tokio::test]
    async fn a_wrong_line_is_named_and_voids_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy");
        let error = async || {
            read(&Rules::default(), &path)
                .await
                .unwrap_err()
                .to_string()
        };

        std::fs::write(&path, "allow node:80\ndney node:22\n").unwrap();
        assert!(error().await.contains("line 2"), "{}", error().await);
        assert!(
            error().await.contains("\"dney\" is not known"),
            "{}",
            error().await
        );
        std::fs::write(&path, "deny\n").unwrap();
        assert!(error().await.contains("line 1"), "{}", error().await);
        std::fs::write(&path, "#".repeat(64 * 1024 + 1)).unwrap();
        assert!(error().await.contains("larger than"), "{}", error().await);
        std::fs::write(&path, "\u{feff}deny node:22\nallow node:\u{fffd}\n").unwrap();
        assert!(error().await.contains("line 2"), "{}", error().await);
        for unusable in ["no file", "NUL", "cannot be read"] {
            std::fs::remove_file(&path).unwrap();
            match unusable {
                // Nobody writes to it; to wait for that would be to wait for ever.
                "no file" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                "NUL" => std::fs::write(&path, "d\0e\0n\0y\0").unwrap(),
                _ => {}
            }
            assert!(error().await.contains(unusable), "{}", error().await);
        }
    }
}
