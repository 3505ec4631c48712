//! Readiness and watchdog for systemd (`sd_notify(3)`, `Type=notify`, `WatchdogSec=`). Where the process was not
//! started by systemd all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells systemd that the service works.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd that the service is shutting down.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Pings systemd's watchdog twice per interval (`WATCHDOG_USEC`) for as long as this future is polled; returns
/// at once where there is none. Run it on the runtime that does the work: a runtime that is stuck stops pinging.
pub async fn watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    // A period of zero would panic.
    let mut ticks = tokio::time::interval((interval / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be notified; check NOTIFY_SOCKET");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Stdio};

    use super::*;

    /// Not a test of its own: [`what_systemd_hears`] runs it in a process that has systemd's variables, which no
    /// process can set for itself without `unsafe`.
    #[tokio::test]
    #[ignore = "run by what_systemd_hears"]
    async fn a_service() {
        ready();
        let _elapsed = tokio::time::timeout(Duration::from_millis(500), watchdog()).await;
        stopping();
    }

    #[test]
    fn what_systemd_hears() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut service = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "telemetry::systemd::tests::a_service",
                "--ignored",
            ])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "100000")
            .env_remove("WATCHDOG_PID")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut heard: Vec<String> = Vec::new();
        let mut buffer = [0; 256];
        while heard.last().is_none_or(|said| said != "STOPPING=1") {
            let length = socket
                .recv(&mut buffer)
                .expect("the service says something");
            heard.push(String::from_utf8_lossy(&buffer[..length]).trim().to_owned());
        }
        assert!(service.wait().unwrap().success());
        assert_eq!(heard.first().map(String::as_str), Some("READY=1"));
        let pings = heard.iter().filter(|said| *said == "WATCHDOG=1").count();
        assert!(pings >= 3, "{heard:?}");
        assert_eq!(pings, heard.len() - 2, "{heard:?}");
    }
}
