//! A root that comes with the job, in the place of this machine's programs.
//!
//! It is bound read-only over a place of the root that is there already, and what every sandbox has is
//! bound into it from there: `/dev`, `/proc`, and what `/etc` says of hosts. Then it becomes the root of
//! all, and the one that was there goes with this machine's.

use std::path::{Path, PathBuf};

use super::{At, Failure, show};
use crate::spawner::terms::Heir;

/// Where it is put together, within the root that is there.
const PLACE: &str = "/own";

/// What it gets, with everything mounted below. That has been restricted already, and of the three that are
/// part of the root that was there, nobody is to write to what stays of it.
const SHOWN: [(&str, u64); 4] = [
    ("/dev", RESTRICTED),
    ("/etc/hosts", RESTRICTED),
    ("/etc/resolv.conf", RESTRICTED),
    ("/proc", 0),
];
const RESTRICTED: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// Shows the folder `from` and in it what every sandbox has. Returns where, for what is still to come.
pub(super) fn show(at: &Path, from: &Path, heir: Option<&Heir>) -> Result<PathBuf, Failure> {
    show::bind(at, from, Path::new(PLACE), heir)?;
    let own = at.join(&PLACE[1..]);
    for (name, attributes) in SHOWN {
        let shown = show::again(at, &own, Path::new(name), attributes);
        shown.at(format_args!("show {name} in the root"))?;
    }
    Ok(own)
}
