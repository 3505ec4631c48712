//! Where a value came from that cannot be read: whoever set a variable in a unit's file looks for it there, not for a flag
//! that nobody has written.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// `error`, which came of `line` and the environment, with the variable's name where the value is the environment's.
#[must_use]
pub fn explained(mut error: clap::Error, command: &Command, line: &[OsString]) -> clap::Error {
    let of_a_value = matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    );
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if of_a_value => flag.clone(),
        _ => return error,
    };
    if let Some(twin) = twin(command, &flag)
        && std::env::var_os(&twin).is_some()
        && !is_written(line, &flag)
    {
        let tip = format!("the value is that of {twin} in the environment");
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    error
}

/// The variable of a flag, as clap shows that: `--heartbeat <TIME>`.
fn twin(command: &Command, flag: &str) -> Option<String> {
    let name = flag.split(' ').next()?.strip_prefix("--")?;
    let own = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(name));
    match own {
        Some(argument) => Some(argument.get_env()?.to_string_lossy().into_owned()),
        None => command
            .get_subcommands()
            .find_map(|command| twin(command, flag)),
    }
}

fn is_written(line: &[OsString], flag: &str) -> bool {
    let name = flag.split(' ').next().unwrap_or(flag);
    line.iter().any(|word| {
        let word = word.to_string_lossy();
        word == name
            || word
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
    })
}
