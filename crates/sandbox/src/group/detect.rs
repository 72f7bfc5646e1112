//! Finding out at start which groups can be made, and where.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Groups, Interface, Limit, Limits, Place, family, write};

/// Groups of ours are named by the server that made them.
const PREFIX: &str = "tidemill-";

/// The controllers that a group may have, as version 2 names them.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// How many ordinary processes all groups together are worth when the machine is busy.
const PROCESSES_WORTH: u64 = 32;

/// Finds the controllers, makes a folder for groups in each hierarchy, and tries a group out.
pub(crate) fn detect() -> (Limits, Groups) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (mounts, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
    let mut prepared = Prepared::default();
    let unified = prepared.version_2(locate(&mounts, &own, None));
    let mut one = |name: &str| match &unified {
        Ok((place, controllers)) if controllers.iter().any(|had| had == name) => Ok(place.clone()),
        Ok(_) | Err(_) => prepared.version_1(locate(&mounts, &own, Some(name))),
    };
    let (memory, cpu, pids) = (one("memory"), one("cpu"), one("pids"));
    if let Ok(place) = &cpu {
        favour(place);
    }
    let unified = unified.map(|(place, _)| place);
    let freezing = match &unified {
        Ok(place) if has_freezer(place) => Limit::Enforced,
        Ok(_) => Limit::NotEnforced("the kernel cannot freeze a group".to_owned()),
        Err(reason) => Limit::NotEnforced(reason.clone()),
    };
    let limits = Limits {
        memory: limit(&memory),
        cpu: limit(&cpu),
        processes: limit(&pids),
        freezing,
        disk: Limit::NotEnforced("functions run without sandboxes".to_owned()),
    };
    let mut groups = Groups::default();
    groups.memory = memory.ok();
    groups.cpu = cpu.ok();
    groups.pids = pids.ok();
    groups.unified = unified.ok();
    (limits, groups)
}

/// Has all groups together count as much as so many ordinary processes. Without it they would count as
/// one, and starve together beside whatever else is busy.
fn favour(place: &Place) {
    let (file, one) = match place.interface {
        Interface::V1 => ("cpu.shares", 1024),
        Interface::V2 => ("cpu.weight", 100),
    };
    // What is lost is speed on a busy machine.
    let _ = place.write(file, one * PROCESSES_WORTH);
}

fn limit(place: &Result<Place, String>) -> Limit {
    match place {
        Ok(_) => Limit::Enforced,
        Err(reason) => Limit::NotEnforced(reason.clone()),
    }
}

/// Whether groups below `place` can be frozen. The file is in every group but the root.
fn has_freezer(place: &Place) -> bool {
    place.path.join("cgroup.freeze").exists()
}

/// The folders made so far: one hierarchy of version 1 may hold several controllers.
#[derive(Default)]
struct Prepared(Vec<(PathBuf, Result<Place, String>)>);

impl Prepared {
    /// A place in the hierarchy of version 1 in which the server's own group is `own`.
    fn version_1(&mut self, own: Option<PathBuf>) -> Result<Place, String> {
        let Some(own) = own else {
            return Err("no control group file system for it is mounted".to_owned());
        };
        if let Some((_, place)) = self.0.iter().find(|(known, _)| *known == own) {
            return place.clone();
        }
        let place = prepare(Interface::V1, &own).map_err(|error| refusal(&own, &error));
        self.0.push((own, place.clone()));
        place
    }

    /// A place in version 2, and the controllers that groups there have.
    fn version_2(&mut self, own: Option<PathBuf>) -> Result<(Place, Vec<String>), String> {
        let Some(own) = own else {
            return Err("no control group file system is mounted".to_owned());
        };
        let prepare = || {
            let (above, controllers) = delegate(&own)?;
            let place = prepare(Interface::V2, &above)?;
            hand_down(&place.path, &controllers)?;
            Ok((place, controllers))
        };
        prepare().map_err(|error| refusal(&own, &error))
    }
}

fn refusal(own: &Path, error: &io::Error) -> String {
    format!("no group can be made below {}: {error}", own.display())
}

/// The server's own group: in version 2, or in the hierarchy of version 1 that has `controller`.
fn locate(mountinfo: &str, own_groups: &str, controller: Option<&str>) -> Option<PathBuf> {
    let mut mounts = mountinfo.lines().filter_map(Mount::parse);
    let mount = mounts.find(|mount| match controller {
        None => mount.kind == "cgroup2",
        Some(name) => mount.kind == "cgroup" && mount.options.split(',').any(|had| had == name),
    })?;
    let own = own_groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?);
        names
            .split(',')
            .any(|name| name == controller.unwrap_or(""))
            .then_some(path)
    })?;
    mount.below(own)
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

/// Makes the folder for groups.
fn prepare(interface: Interface, above: &Path) -> io::Result<Place> {
    for left in left_behind(above) {
        // Its members may take a moment to go; then the next start removes it.
        family::clear(&left, 1);
    }
    let path = own_folder(above)?;
    Ok(Place { interface, path })
}

/// A folder that no other spawner has, and none of the same process had: what is left of that one may be cleared
/// away just now.
pub(crate) fn own_folder(above: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let server = std::process::id();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = above.join(format!("{PREFIX}{server}-{number}"));
        match fs::create_dir(&base) {
            Ok(()) => return Ok(base),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// What servers that are gone have left behind of such folders.
fn left_behind(above: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(above).into_iter().flatten().flatten();
    let gone = |entry: &fs::DirEntry| {
        let server = entry.file_name().to_str().and_then(server_of);
        server.is_some_and(|server| !Path::new(&format!("/proc/{server}")).exists())
    };
    entries.filter(gone).map(|entry| entry.path()).collect()
}

/// Whose folder has this name, if it is one of ours.
fn server_of(name: &str) -> Option<u32> {
    let (server, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
    number.parse::<u64>().ok()?;
    server.parse().ok()
}

/// Version 2 hands controllers down only where processes are in leaves: the server moves to one.
/// Fails where others share the server's group, which is as it should be: then the group is not
/// ours to arrange. Returns the folder above the groups, and the controllers there are.
fn delegate(own: &Path) -> io::Result<(PathBuf, Vec<String>)> {
    let had = fs::read_to_string(own.join("cgroup.controllers"))?;
    let controllers: Vec<String> = had
        .split_whitespace()
        .filter(|name| CONTROLLERS.contains(name))
        .map(str::to_owned)
        .collect();
    // Where version 1 has them all, nothing has to be handed down.
    if controllers.is_empty() {
        return Ok((own.to_owned(), controllers));
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
    hand_down(above, &controllers)?;
    Ok((above.to_owned(), controllers))
}

fn hand_down(above: &Path, controllers: &[String]) -> io::Result<()> {
    let file = above.join("cgroup.subtree_control");
    let mut names = controllers.iter();
    names.try_for_each(|name| write(&file, &format!("+{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_found_where_its_controller_is_mounted() {
        let mountinfo = "30 24 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                         32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "4:memory:/service/a\n1:cpu:/\n0::/b\n";
        assert_eq!(
            locate(mountinfo, own, Some("memory")),
            Some(PathBuf::from("/sys/fs/cgroup/memory/service/a"))
        );
        assert_eq!(
            locate(mountinfo, own, None),
            Some(PathBuf::from("/sys/fs/cgroup/unified/b"))
        );
    }

    #[test]
    fn version_2_is_found_through_a_mount_of_a_part() {
        let mountinfo = "31 24 0:27 /docker/x /sys/fs/cgroup ro,nosuid shared:9 - cgroup2 cg rw\n";
        assert_eq!(
            locate(mountinfo, "0::/docker/x/y\n", None),
            Some(PathBuf::from("/sys/fs/cgroup/y"))
        );
        assert_eq!(locate(mountinfo, "0::/elsewhere\n", None), None);
    }

    #[test]
    fn a_folder_of_ours_is_told_from_others_by_its_name() {
        assert_eq!(server_of("tidemill-17-0"), Some(17));
        for other in [
            "tidemill-eu-1",
            "tidemill-17-0.service",
            "tidemill-17",
            "17-0",
        ] {
            assert_eq!(server_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_machine_without_groups_says_so() {
        let mountinfo = "31 24 0:27 / / rw - ext4 /dev/a rw\n";
        assert_eq!(locate(mountinfo, "0::/\n", None), None);
        let place = Prepared::default().version_1(None);
        assert!(matches!(limit(&place), Limit::NotEnforced(_)));
    }
}
