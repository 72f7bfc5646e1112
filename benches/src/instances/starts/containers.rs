//! Container runtimes, each with a root that holds the program and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::shell::Shell;
use super::{Means, Way};
use crate::instances::brought;
use crate::table::Table;

/// The first id outside for those inside, and how many.
const IDS: [u32; 2] = [1_000_000, 65_536];

/// Those that are there.
pub(super) fn all(table: &mut Table, folder: &Path, program: &Path) -> Result<Vec<Way>> {
    // Users inside are others outside.
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    let mut ways = Vec::new();
    if let Some(crun) = brought(table, "crun run", "TIDEMILL_BENCH_CRUN") {
        ways.push(with_crun(&crun, &folder.join("crun"), program)?);
    }
    if let Some(podman) = brought(table, "podman run", "TIDEMILL_BENCH_PODMAN") {
        ways.push(with_podman(&podman, &folder.join("podman"), program)?);
    }
    Ok(ways)
}

/// The namespaces and the bound on memory that a sandbox of ours has.
fn with_crun(crun: &Path, folder: &Path, program: &Path) -> Result<Way> {
    root(folder, program)?;
    fs::write(folder.join("config.json"), bundle().to_string())?;
    let (crun, folder) = (crun.display(), folder.display());
    let line = format!("{crun} --root {folder}/state --cgroup-manager cgroupfs run -b {folder} f");
    Ok(Way {
        name: "crun run",
        conditions: "all namespaces, memory limited",
        means: Means::Shell(Shell::start()?, line),
        times: Vec::new(),
    })
}

/// What it knows of containers is in `folder`, too.
fn with_podman(podman: &Path, folder: &Path, program: &Path) -> Result<Way> {
    root(folder, program)?;
    let (podman, folder) = (podman.display(), folder.display());
    let line = format!(
        "{podman} --root {folder}/storage --runroot {folder}/run --tmpdir {folder}/tmp \
         --storage-driver vfs --cgroup-manager cgroupfs --events-backend none --runtime crun run \
         --rm --network none --cgroups disabled --log-driver none --ulimit nofile=1024:1024 \
         --ulimit nproc=1024:1024 --rootfs {folder}/rootfs /first-byte"
    );
    Ok(Way {
        name: "podman run",
        conditions: "all namespaces but users', system calls filtered, memory not limited",
        means: Means::Shell(Shell::start()?, line),
        times: Vec::new(),
    })
}

/// Makes a folder with the program and what is mounted over.
fn root(folder: &Path, program: &Path) -> Result<()> {
    let root = folder.join("rootfs");
    for mounted in ["dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(mounted))?;
    }
    fs::copy(program, root.join("first-byte")).context("copy the program")?;
    Ok(())
}

/// The bundle's description.
fn bundle() -> Value {
    let [outside, count] = IDS;
    let ids = json!([{"containerID": 0, "hostID": outside, "size": count}]);
    let empty = |at: &str| json!({"destination": at, "type": "tmpfs", "source": "tmpfs"});
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "user"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/first-byte"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "function",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            empty("/dev"),
            empty("/tmp"),
        ],
        "linux": {
            "uidMappings": ids,
            "gidMappings": ids,
            "namespaces": namespaces.map(|namespace| json!({"type": namespace})),
            "resources": {"memory": {"limit": 512 << 20}},
        },
    })
}
