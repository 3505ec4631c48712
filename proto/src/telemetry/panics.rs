//! A panic is a fault of edge-tunnel. It ends the task that it happens in and nothing else, so its line in the log is
//! all that anybody sees of it: one line, in the format of the others, with the span that says for whom it worked.

use std::panic::PanicHookInfo;

use tracing::error;

/// Has panics logged from now on, in place of the lines that Rust writes to stderr by itself.
pub(super) fn log() {
    std::panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let what = info.payload_as_str().unwrap_or("no words").escape_debug();
    error!(
        at,
        "panic: {what}. What it worked on has ended, the rest goes on. This is a fault of edge-tunnel: please report it, \
         with the log lines before this one"
    );
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use crate::telemetry::{LogFormat, init};

    /// Not a test of its own: [`a_panic_is_a_line_of_the_log`] runs it in a process whose log nobody else writes.
    #[tokio::test]
    #[ignore = "run by a_panic_is_a_line_of_the_log"]
    async fn a_process() {
        init(LogFormat::Json, &"info".parse().unwrap()).unwrap();
        let task = async { panic!("two\nlines") };
        let task =
            tracing::Instrument::instrument(task, tracing::info_span!("stream", node = "edge-1"));
        assert!(tokio::spawn(task).await.unwrap_err().is_panic());
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let done = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "telemetry::panics::tests::a_process",
                "--ignored",
                "--nocapture",
            ])
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{log}");
        let lines: Vec<&str> = log.lines().collect();
        let [line] = lines[..] else {
            panic!("{log}");
        };
        for word in [
            r#""level":"ERROR""#,
            r"two\\nlines",
            r#""node":"edge-1""#,
            "panics.rs:",
            "please report",
        ] {
            assert!(line.contains(word), "{word} is not in {line}");
        }
    }
}
