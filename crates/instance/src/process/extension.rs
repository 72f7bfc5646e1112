//! External extensions: the programs in `extensions` of a function's layers, or in `/opt/extensions` of
//! its image.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use sandbox::Program;

use crate::Spec;

/// Where a sandbox shows them.
const FOLDER: &str = "/opt/extensions";

/// How often a name is looked up that leads through `..`: the kernel gives up on one while anything on this
/// machine is renamed or mounted, for it might be led outside.
const ATTEMPTS: u32 = 10_000;

/// Variables of the runtime's that are none of theirs, beside all that begin with an underscore (AWS
/// developer guide, "Extensions API", 2026).
const HIDDEN: [&str; 5] = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// Their file names, sorted.
pub(super) async fn names(spec: &Spec) -> io::Result<Vec<String>> {
    let opt = match (&spec.image, &spec.opt) {
        (Some(_), _) => return of_image(&spec.code),
        (None, Some(opt)) => opt,
        (None, None) => return Ok(Vec::new()),
    };
    let mut entries = match tokio::fs::read_dir(opt.join("extensions")).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        let metadata = tokio::fs::metadata(entry.path()).await?;
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

/// Those of an image, whose links are followed within its root: they mean something else outside.
fn of_image(root: &Path) -> io::Result<Vec<String>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, root, flags, Mode::empty())?;
    let open = |path: &Path, flags: OFlags| {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        let mut left = ATTEMPTS;
        loop {
            match rustix::fs::openat2(&root, path, flags, Mode::empty(), inside) {
                Err(Errno::AGAIN) if left > 0 => left -= 1,
                found => return found,
            }
            std::thread::yield_now();
        }
    };
    let folder = match open(Path::new(FOLDER), OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        found => found?,
    };
    let mut names = Vec::new();
    for entry in Dir::new(folder)? {
        let Ok(name) = entry?.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        let found = open(&Path::new(FOLDER).join(&name), OFlags::PATH);
        let stat = match found.and_then(rustix::fs::fstat) {
            // They would not be started, and nobody would know.
            Err(Errno::AGAIN) => return Err(Errno::AGAIN.into()),
            // A link that leads to nothing is no program.
            found => found,
        };
        let program = |stat: Stat| {
            FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_mode & 0o111 != 0
        };
        if stat.is_ok_and(program) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What is started for each, with the runtime's environment but for what is not theirs.
pub(super) fn programs(names: &[String], environment: &BTreeMap<String, String>) -> Vec<Program> {
    let theirs = |name: &&String| !name.starts_with('_') && !HIDDEN.contains(&name.as_str());
    let environment: BTreeMap<_, _> = environment
        .iter()
        .filter(|(name, _)| theirs(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let program = |name: &String| Program {
        executable: PathBuf::from(FOLDER).join(name),
        arguments: Vec::new(),
        environment: environment.clone(),
        directory: PathBuf::from("/"),
        // They share the function's.
        memory: 0,
    };
    names.iter().map(program).collect()
}
