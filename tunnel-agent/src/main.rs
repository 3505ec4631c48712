//! The agent's command line.

use std::process::ExitCode;

use edge_tunnel_agent::app::App;
use edge_tunnel_agent::check;
use edge_tunnel_agent::config::{Cli, Command};
use edge_tunnel_proto::shutdown::told_to_stop;
use edge_tunnel_proto::telemetry;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match run(cli).await {
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
            App::bind(*config).await?.run(told_to_stop()).await;
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
    }
}
