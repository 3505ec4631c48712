//! A join token where none belongs: on the command line, where every user of the machine reads it, or in the place of
//! a file's name. Found before anybody else looks at these words, so that no error and no log repeats it.

use std::ffi::{OsStr, OsString};

use clap::Command;
use clap::error::{Error, ErrorKind};

/// How every join token begins. A file that is called so is given as `./et1.…`.
const PREFIX: &str = "et1.";

/// The one variable that a token belongs into.
const TOKEN: &str = "EDGE_TUNNEL_TOKEN";

const WHERE: &str = "put it into a file (--token-file FILE), the environment (EDGE_TUNNEL_TOKEN) or standard input \
                     (--token-file -)";

/// Refuses a token among the arguments, and in the environment as the value of another flag.
pub(super) fn refuse(
    command: &mut Command,
    line: &[OsString],
    environment: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<(), Error> {
    if line.iter().any(|word| is_token(word)) {
        return Err(argument(command));
    }
    let twins = command.get_subcommands().flat_map(Command::get_arguments);
    let misplaced = twins
        .filter_map(clap::Arg::get_env)
        .filter(|name| *name != TOKEN)
        .find(|name| environment(name).is_some_and(|value| is_token(&value)));
    let Some(name) = misplaced.map(|name| name.to_string_lossy().into_owned()) else {
        return Ok(());
    };
    let words = format!("{name} holds a join token, which is no value of that flag; {WHERE}");
    Err(command.error(ErrorKind::ValueValidation, words))
}

/// What is said of a token among the arguments.
pub(super) fn argument(command: &mut Command) -> Error {
    let words = format!(
        "a join token is not taken as an argument, since every user of this machine can read it in the process list; {WHERE}"
    );
    command.error(ErrorKind::ArgumentConflict, words)
}

/// Whether a word is a token, or a flag with one (`--token-file=et1.…`).
fn is_token(word: &OsStr) -> bool {
    let word = word.to_string_lossy();
    let value = match word.split_once('=') {
        Some((flag, value)) if flag.starts_with('-') => value,
        _ => &word,
    };
    value.trim_start().starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::Cli;

    fn refused(words: &[&str], name: &str, value: &str) -> Option<String> {
        let line: Vec<OsString> = words.iter().map(OsString::from).collect();
        let environment = |asked: &OsStr| (asked == name).then(|| value.into());
        let refused = refuse(&mut Cli::command(), &line, environment);
        refused.err().map(|error| error.to_string())
    }

    #[test]
    fn a_token_in_the_place_of_a_value_is_refused_and_not_repeated() {
        for words in [
            ["--token-file", "et1.secret"],
            ["--token-file=et1.secret", ""],
            ["--state-dir", " et1.secret\n"],
            ["--policy-file", "et1.secret"],
            ["--server", "et1.secret"],
            ["et1.secret", ""],
        ] {
            let said = refused(&words, "", "").unwrap_or_else(|| panic!("{words:?} was taken"));
            assert!(
                said.contains("process list") && said.contains("--token-file FILE"),
                "{words:?}: {said}"
            );
            assert!(!said.contains("secret"), "{said}");
        }
        for words in [
            ["--token-file", "./et1.secret"],
            ["--token-file", "/run/et1.secret"],
        ] {
            assert_eq!(refused(&words, "", ""), None, "{words:?}");
        }
    }

    #[test]
    fn a_token_in_another_variable_than_its_own_is_refused_and_not_repeated() {
        for name in [
            "EDGE_TUNNEL_TOKEN_FILE",
            "EDGE_TUNNEL_STATE_DIR",
            "EDGE_TUNNEL_POLICY_FILE",
            "EDGE_TUNNEL_NODE_NAME",
        ] {
            let said = refused(&[], name, "et1.secret").unwrap_or_else(|| panic!("{name}"));
            assert!(said.contains(name) && said.contains(TOKEN), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
        assert_eq!(refused(&[], TOKEN, "et1.secret"), None);
        assert_eq!(refused(&[], "HOME", "et1.secret"), None);
    }
}
