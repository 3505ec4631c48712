//! The server's command line.

use std::process::ExitCode;

use edge_tunnel_proto::shutdown::told_to_stop;
use edge_tunnel_proto::telemetry;
use edge_tunnel_server::app::App;
use edge_tunnel_server::config::{Cli, Command};
use edge_tunnel_server::{cli, dev};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse_all().unwrap_or_else(|error| error.exit());
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may be what failed.
            #[expect(
                clippy::print_stderr,
                reason = "the one line that says why nothing was done"
            )]
            {
                eprintln!(
                    "edge-tunnel-server: {}",
                    telemetry::one_line(error.as_ref())
                );
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match cli.command {
        Command::Dev(config) => {
            telemetry::init(config.log.log_format, &config.log.log_level)?;
            dev::run(config, &mut out, told_to_stop()).await?;
        }
        Command::Run(config) => {
            telemetry::init(config.log.log_format, &config.log.log_level)?;
            let stop = told_to_stop();
            App::bind(*config).await?.run(stop).await?;
        }
        Command::Token(command) => {
            cli::token(&command, &mut out, &mut std::io::stderr()).await?;
        }
        Command::Nodes(command) => cli::nodes(&command, &mut out).await?,
        Command::IssueClient(command) => cli::issue_client(&command, &mut out).await?,
        Command::Ca(command) => cli::ca(&command, &mut out).await?,
    }
    Ok(())
}
