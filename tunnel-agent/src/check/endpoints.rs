//! The steps that look into the folder of `--endpoints-dir`.

use std::io::{self, Write};

use super::{Outcome, Report};
use crate::config::Uplink;
use crate::endpoints::{Endpoints, shown};

const CONFIG_MAP: &str = "the edge-tunnel server publishes both files in ConfigMap edge-tunnel-endpoints of its namespace, \
                          which is to be mounted there";

/// Tries them, where there is such a folder.
pub(super) async fn check(
    uplink: &Uplink,
    endpoints: &Endpoints,
    report: &mut Report<impl Write>,
) -> io::Result<()> {
    let Some(bundle) = endpoints.bundle().await else {
        return Ok(());
    };
    report.add("servers", servers(uplink, endpoints).await)?;
    let bundle = match bundle {
        Ok(bundle) => {
            let pins: Vec<_> = bundle.pins().map(|pin| pin.to_string()).collect();
            Outcome::Passed(format!("believes {}", pins.join(", ")))
        }
        Err(error) => {
            let remedy =
                format!("{CONFIG_MAP}; a node that has a certificate or a join token does without");
            Outcome::warning(error.to_string(), remedy)
        }
    };
    report.add("ca bundle", bundle)
}

async fn servers(uplink: &Uplink, endpoints: &Endpoints) -> Outcome {
    if !uplink.server.is_empty() {
        return Outcome::Skipped("--server overrides those of --endpoints-dir".to_owned());
    }
    let servers = endpoints.servers().await;
    match endpoints.complaint() {
        None => Outcome::Passed(shown(&servers).join(", ")),
        Some(complaint) if servers.is_empty() => Outcome::failed(
            complaint,
            format!("{CONFIG_MAP}; run waits for it, and --server overrides it"),
        ),
        Some(complaint) => Outcome::warning(complaint, CONFIG_MAP),
    }
}
