//! What the system lets one process have.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::wait::give_up;

/// Sees to it that this process may have `count` files open.
///
/// # Panics
/// When the system does not let it.
pub fn open_files(count: u64) {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).expect("a process may ask for its limits");
    if soft >= count {
        return;
    }
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, count, hard.max(count)) {
        give_up(format!(
            "{count} open files are needed, {hard} are allowed (ulimit -n): {error}"
        ));
    }
}
