//! A root that comes with the job, in the place of this machine's programs.
//!
//! It is bound read-only over a place of the root that is there already, and what every sandbox has is
//! bound into it from there: `/dev`, `/proc`, and what `/etc` says of hosts. Then it becomes the root of
//! all, and the one that was there goes with this machine's.

use std::path::{Path, PathBuf};

use super::show::{HARMLESS, Root};
use super::{At, Failure};

/// Where it is put together, within the root that is there.
const PLACE: &str = "/own";

/// What it gets, with everything mounted below. That has been restricted already, and so has `/proc`.
const GIVEN: [(&str, u64); 4] = [
    ("/dev", HARMLESS),
    ("/etc/hosts", HARMLESS),
    ("/etc/resolv.conf", HARMLESS),
    ("/proc", 0),
];

/// Shows the folder `from` below `root`, whose path is `at`, and in it what every sandbox has. Returns where,
/// for what is still to come.
pub(super) fn show<'a>(
    root: &Root<'a>,
    at: &Path,
    from: &Path,
) -> Result<(Root<'a>, PathBuf), Failure> {
    root.bind(from, Path::new(PLACE))?;
    let at = at.join(&PLACE[1..]);
    let own = root.at(&at)?;
    for (name, attributes) in GIVEN {
        let shown = own.show_again(root, Path::new(name), attributes);
        shown.at(format_args!("show {name} in the root"))?;
    }
    Ok((own, at))
}
