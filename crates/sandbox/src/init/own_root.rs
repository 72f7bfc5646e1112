//! A root that comes with the job, in the place of this machine's programs.
//!
//! It is bound read-only over a place of the root that is there already, and what every sandbox has is
//! bound into it from there: `/dev`, `/proc`, and what `/etc` says of hosts. Then it becomes the root of
//! all, and the one that was there goes with this machine's.

use std::fs;
use std::path::{Path, PathBuf};

use super::root::{self, HARMLESS_BIND};
use super::{At, Failure};

/// Where it is put together, within the root that is there.
const PLACE: &str = "own";

/// What it gets, with everything mounted below.
const SHOWN: [&str; 4] = ["dev", "proc", "etc/hosts", "etc/resolv.conf"];

/// Shows the folder `from` and in it what every sandbox has. Returns where, for what is still to come.
pub(super) fn show(at: &Path, from: &Path) -> Result<PathBuf, Failure> {
    let own = at.join(PLACE);
    fs::create_dir(&own).at("make a place for the root")?;
    root::bind(from, &own)?;
    for name in SHOWN {
        let (here, there) = (at.join(name), own.join(name));
        let shown = rustix::mount::mount_bind_recursive(&here, &there);
        shown.at(format_args!("show /{name} in the root"))?;
    }
    // What is mounted below has been restricted already.
    for name in ["dev", "etc/hosts", "etc/resolv.conf"] {
        let restricted = rustix::mount::mount_remount(own.join(name), HARMLESS_BIND, c"");
        restricted.at(format_args!("make /{name} read-only"))?;
    }
    Ok(own)
}
