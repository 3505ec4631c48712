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
