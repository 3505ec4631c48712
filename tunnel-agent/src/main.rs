//! The agent's command line.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use edge_tunnel_agent::app::App;
use edge_tunnel_agent::check;
use edge_tunnel_agent::config::{Cli, Command, Prepare};
use edge_tunnel_agent::prepare::prepare;
use edge_tunnel_proto::shutdown::told_to_stop;
use edge_tunnel_proto::telemetry;
use tokio::runtime::Runtime;

/// How long threads that block may take to end once nothing needs them: enough for a file that is being written. One
/// that waits for a name server, or for somebody to type a token, is left behind.
const BLOCKED: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let ended = Runtime::new()
        .context("no threads can be had from the system")
        .and_then(|runtime| {
            let ended = runtime.block_on(run(cli));
            runtime.shutdown_timeout(BLOCKED);
            ended
        });
    match ended {
        Ok(code) => code,
        Err(error) => {
            // Logging may be what failed.
            #[expect(
                clippy::print_stderr,
                reason = "the one line that says why the agent does not run"
            )]
            {
                eprintln!("edge-tunnel-agent: {}", telemetry::one_line(error.as_ref()));
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(config) => {
            telemetry::init(config.log_format, &config.log_level)?;
            let mut stop = pin!(told_to_stop());
            let app = tokio::select! {
                app = App::bind(*config) => app?,
                () = &mut stop => return Ok(ExitCode::SUCCESS),
            };
            let broken = app.broken();
            app.run(stop).await;
            // The log has said which part.
            anyhow::ensure!(
                !broken.is_cancelled(),
                "stopped, since a part of it had died"
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(config) => {
            let passed = check::check(&config, std::io::stdout().lock()).await?;
            Ok(if passed {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Prepare(Prepare { state_dir, owner }) => {
            prepare(&state_dir, owner)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
