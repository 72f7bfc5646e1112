//! How many files and connections the server may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit of open descriptors as far as it may: each segment of the log and
/// each connection takes one, and the soft limit of most shells is 1,024. Functions are given a
/// limit of their own.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        let limit = limit.current;
        tracing::warn!(?limit, %error, "keep the limit of open files");
    }
}
