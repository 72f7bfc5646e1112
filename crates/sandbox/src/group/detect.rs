//! Finding out at start whether memory groups can be made, and where.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Group, Groups, Interface, MemoryLimit, write};

/// Groups of ours are named by the server that made them.
const PREFIX: &str = "tidemill-";

/// Where a hierarchy is mounted, and the server's own group in it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    interface: Interface,
    own: PathBuf,
}

/// Finds the memory controller and tries a group out.
pub(crate) fn detect() -> (MemoryLimit, Option<Groups>) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let Some(place) = locate(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup")) else {
        return (
            not_enforced("no control group file system is mounted"),
            None,
        );
    };
    match prepare(&place) {
        Ok(groups) => (MemoryLimit::Enforced, Some(groups)),
        Err(error) => {
            let own = place.own.display();
            let reason = format!("no group for memory can be made below {own}: {error}");
            (not_enforced(&reason), None)
        }
    }
}

fn not_enforced(reason: &str) -> MemoryLimit {
    MemoryLimit::NotEnforced(reason.to_owned())
}

/// The hierarchy that has the memory controller: version 1 if it is there, else version 2. A
/// controller is in one hierarchy only, so a mounted version 1 means version 2 lacks it.
fn locate(mountinfo: &str, own_groups: &str) -> Option<Place> {
    let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
    let own = |controllers: &str| {
        own_groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (names, path) = (parts.next()?, parts.next()?);
            names
                .split(',')
                .any(|name| name == controllers)
                .then_some(path)
        })
    };
    let v1 = mounts
        .iter()
        .find(|mount| mount.kind == "cgroup" && mount.options.split(',').any(|o| o == "memory"))
        .and_then(|mount| Some((Interface::V1, mount.below(own("memory")?)?)));
    let v2 = || {
        let mount = mounts.iter().find(|mount| mount.kind == "cgroup2")?;
        Some((Interface::V2, mount.below(own("")?)?))
    };
    v1.or_else(v2)
        .map(|(interface, own)| Place { interface, own })
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// One line of `/proc/self/mountinfo` (proc(5)).
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(Self {
            root: before.next()?,
            point: before.next()?,
            kind: after.next()?,
            options: after.nth(1)?,
        })
    }

    /// Where the group `path` is seen through this mount, if it is.
    fn below(&self, path: &str) -> Option<PathBuf> {
        let inside = Path::new(path).strip_prefix(self.root).ok()?;
        Some(Path::new(self.point).join(inside))
    }
}

/// Makes the folder for groups and one group on trial.
fn prepare(place: &Place) -> io::Result<Groups> {
    let above = match place.interface {
        Interface::V1 => place.own.clone(),
        Interface::V2 => delegate(&place.own)?,
    };
    sweep(place.interface, &above);
    let base = own_folder(&above)?;
    if place.interface == Interface::V2 {
        write(&base.join("cgroup.subtree_control"), "+memory")?;
    }
    let groups = Groups::new(place.interface, base);
    let trial = groups.create(64 << 20)?;
    groups.remove(&trial);
    Ok(groups)
}

/// A folder that no other spawner has, not even one of the same process.
fn own_folder(above: &Path) -> io::Result<PathBuf> {
    let server = std::process::id();
    let mut number = 0;
    loop {
        let base = above.join(format!("{PREFIX}{server}-{number}"));
        match fs::create_dir(&base) {
            Ok(()) => return Ok(base),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Version 2 allows processes only in leaves: the server moves to one, and hands the memory
/// controller down. Fails where others share the server's group, which is as it should be: then
/// the group is not ours to arrange.
fn delegate(own: &Path) -> io::Result<PathBuf> {
    let controllers = fs::read_to_string(own.join("cgroup.controllers"))?;
    if !controllers.split_whitespace().any(|name| name == "memory") {
        return Err(io::Error::other(
            "the memory controller is not delegated to it",
        ));
    }
    // A second spawner of the same process finds itself in the leaf already.
    let above = match own.file_name() {
        Some(name) if name == "server" => own.parent().unwrap_or(own),
        _ => own,
    };
    let leaf = above.join("server");
    if leaf != own {
        match fs::create_dir(&leaf) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        write(&leaf.join("cgroup.procs"), "0")?;
    }
    write(&above.join("cgroup.subtree_control"), "+memory")?;
    Ok(above.to_owned())
}

/// Ends what servers that are gone have left behind.
fn sweep(interface: Interface, above: &Path) {
    let Ok(entries) = fs::read_dir(above) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some((server, _)) = ours.and_then(|ours| ours.split_once('-')) else {
            continue;
        };
        if Path::new("/proc").join(server).exists() {
            continue;
        }
        for group in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            if group.path().is_dir() {
                let path = group.path();
                Group { interface, path }.kill();
                // Its members may take a moment to go; then the next start removes it.
                let _ = fs::remove_dir(group.path());
            }
        }
        let _ = fs::remove_dir(entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_found_where_memory_is_mounted() {
        let mountinfo = "30 24 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                         32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "4:memory:/service/a\n1:cpu:/\n0::/\n";
        assert_eq!(
            locate(mountinfo, own),
            Some(Place {
                interface: Interface::V1,
                own: PathBuf::from("/sys/fs/cgroup/memory/service/a"),
            })
        );
    }

    #[test]
    fn version_2_is_found_through_a_mount_of_a_part() {
        let mountinfo = "31 24 0:27 /docker/x /sys/fs/cgroup ro,nosuid shared:9 - cgroup2 cg rw\n";
        assert_eq!(
            locate(mountinfo, "0::/docker/x/y\n"),
            Some(Place {
                interface: Interface::V2,
                own: PathBuf::from("/sys/fs/cgroup/y"),
            })
        );
        assert_eq!(locate(mountinfo, "0::/elsewhere\n"), None);
    }

    #[test]
    fn a_machine_without_groups_says_so() {
        assert_eq!(
            locate("31 24 0:27 / / rw - ext4 /dev/a rw\n", "0::/\n"),
            None
        );
    }
}
