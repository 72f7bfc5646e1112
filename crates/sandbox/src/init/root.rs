//! What a sandboxed program sees as its file system.
//!
//! A small file system in memory, read-only in the end, onto which parts of this machine's are bound
//! read-only: the folders of system programs and libraries, and of `/etc` what a runtime reads. It
//! has a `/dev` with five harmless devices, a `/proc` of its own processes, and a private `/tmp`. There
//! is no `/sys`, no `/run`, no `/home`, no `/root`.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::{At, Failure, image, own_root, show};
use crate::program::{Job, Temporary};
use crate::spawner::terms::Order;

/// Folders of the system's programs and libraries: bound, or a link where this machine has a link.
const SYSTEM: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What runtimes read of `/etc`.
const ETC: [&str; 14] = [
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
];

/// How folders of `/etc` begin where Debian keeps what belongs to a Java runtime: without it none starts.
const ETC_JAVA: &str = "java-";

/// What `/etc` says of this place. The user is AWS Lambda's.
const WRITTEN: [(&str, &str); 5] = [
    (
        "passwd",
        "root:x:0:0:root:/:/sbin/nologin\nsbx_user1051:x:993:990::/tmp:/sbin/nologin\n",
    ),
    ("group", "root:x:0:\nsbx_user1051:x:990:\n"),
    (
        "hosts",
        "127.0.0.1 localhost\n127.0.0.1 sandbox.localdomain sandbox\n",
    ),
    ("resolv.conf", ""),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
];

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Below `/proc`: settings of the machine, shown but never written.
const SHOWN: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Below `/proc`: what tells of the machine's memory, keys and timers.
const HIDDEN: [&str; 7] = [
    "config.gz",
    "kallsyms",
    "kcore",
    "keys",
    "kmsg",
    "sched_debug",
    "timer_list",
];

/// Files and folders of `/tmp`, at most. Each costs memory of the function's.
const TEMPORARY_FILES: u32 = 100_000;

/// Where temporary files are.
pub(super) const TEMPORARY: &str = "/tmp";

const HARMLESS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// A bind that nobody writes through.
const HARMLESS_BIND: MountFlags = MountFlags::BIND.union(MountFlags::RDONLY).union(HARMLESS);

/// Puts together what every sandbox has, over the folder `at`.
pub(super) fn assemble(at: &Path) -> Result<(), Failure> {
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .at("keep mounts private")?;
    let small = c"size=1m,mode=755";
    rustix::mount::mount("tmpfs", at, "tmpfs", HARMLESS, small).at("mount the root")?;
    for folder in ["dev", "etc", "opt", "proc", "tmp", "var"] {
        fs::create_dir(at.join(folder)).at(format_args!("make /{folder}"))?;
    }
    for name in SYSTEM {
        let (here, inside) = (Path::new("/").join(name), at.join(name));
        match fs::symlink_metadata(&here) {
            Ok(metadata) if metadata.is_symlink() => {
                let link = fs::read_link(&here).and_then(|to| symlink(to, &inside));
                link.at(format_args!("link /{name}"))?;
            }
            Ok(_) => bind(&here, at, Path::new(name))?,
            Err(_) => {}
        }
    }
    let etc = fs::read_dir("/etc").at("list /etc")?.flatten();
    let java = etc
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|name| name.to_string_lossy().starts_with(ETC_JAVA));
    for name in ETC.into_iter().map(PathBuf::from).chain(java) {
        let here = Path::new("/etc").join(&name);
        if here.exists() {
            bind(&here, at, &Path::new("etc").join(&name))?;
        }
    }
    for (name, text) in WRITTEN {
        fs::write(at.join("etc").join(name), text).at(format_args!("write /etc/{name}"))?;
    }
    devices(&at.join("dev"))?;
    processes(&at.join("proc"))
}

/// Whom `/tmp` belongs to, in the ids of the first process's user namespace.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

/// Adds what the job asks for, makes it the root, and makes it read-only. Where the job brings a root of
/// its own, that becomes the root.
pub(super) fn complete(
    order: &Order,
    job: &Job,
    image: Option<OwnedFd>,
    owner: Owner,
) -> Result<(), Failure> {
    let (at, heir) = (order.mount_point.as_path(), order.heir.as_ref());
    name_hosts(at, job).at("write /etc/hosts")?;
    let own = match &job.root {
        Some(from) => Some(own_root::show(at, from, heir)?),
        None => None,
    };
    let at = own.as_deref().unwrap_or(at);
    show::all(at, &job.binds, heir)?;
    match (job.temporary, image) {
        (Temporary::Disk(_), Some(image)) => image::mount(&image, at, owner)?,
        (Temporary::Disk(bytes) | Temporary::Memory(bytes), _) => memory(at, bytes, owner)?,
    }
    std::env::set_current_dir(at).at("enter the new root")?;
    rustix::process::pivot_root(".", ".").at("change the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).at("let go of the old root")?;
    std::env::set_current_dir("/").at("enter the new root")?;
    rustix::mount::mount_remount("/", HARMLESS_BIND, c"").at("make the root read-only")
}

fn name_hosts(at: &Path, job: &Job) -> io::Result<()> {
    if job.names.is_empty() {
        return Ok(());
    }
    let how = OFlags::WRONLY | OFlags::APPEND;
    let mut file = fs::File::from(show::existing(at, Path::new("/etc/hosts"), how)?);
    for (name, address) in &job.names {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !name.bytes().all(plain) {
            return Err(Errno::INVAL.into());
        }
        writeln!(file, "{address} {name}")?;
    }
    Ok(())
}

/// Has files in `/tmp` below `at` kept in memory.
fn memory(at: &Path, bytes: u64, owner: Owner) -> Result<(), Failure> {
    let Owner { user, group } = owner;
    let options =
        format!("size={bytes},nr_inodes={TEMPORARY_FILES},mode=1777,uid={user},gid={group}");
    let options = std::ffi::CString::new(options).at("write the options of /tmp")?;
    mount_temporary(at, "tmpfs", "tmpfs", &options)
}

/// Mounts something at `/tmp` below `at`.
pub(super) fn mount_temporary(
    at: &Path,
    source: &str,
    kind: &str,
    options: &CStr,
) -> Result<(), Failure> {
    let place = show::folder(at, Path::new(TEMPORARY)).at("open /tmp")?;
    // The one way to say where without saying a path.
    rustix::process::fchdir(&place).at("enter /tmp")?;
    rustix::mount::mount(source, ".", kind, HARMLESS, options).at("mount /tmp")
}

/// Shows a part of this machine, before anybody has said anything.
fn bind(from: &Path, root: &Path, to: &Path) -> Result<(), Failure> {
    show::bind(root, from, &Path::new("/").join(to), None)
}

/// Sets attributes of the mount at `path`, from the folder `from`, and of all below it if that is `recursive`.
pub(super) fn restrict(
    from: BorrowedFd<'_>,
    path: &CStr,
    attributes: u64,
    recursive: bool,
) -> io::Result<()> {
    let wanted = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = match recursive {
        true => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
        false => libc::AT_EMPTY_PATH,
    };
    #[expect(unsafe_code, reason = "neither std nor rustix has mount_setattr")]
    // SAFETY: the path ends with a zero, the structure has the size that is stated, and both outlive
    // the call, which only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            from.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The same of a path.
fn restrict_at(path: &Path, attributes: u64) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    restrict(rustix::fs::CWD, &path, attributes, true)
}

fn devices(at: &Path) -> Result<(), Failure> {
    for name in DEVICES {
        let (here, there) = (Path::new("/dev").join(name), at.join(name));
        fs::File::create(&there).at(format_args!("make /dev/{name}"))?;
        rustix::mount::mount_bind(&here, &there).at(format_args!("bind /dev/{name}"))?;
        restrict_at(&there, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)
            .at(format_args!("restrict /dev/{name}"))?;
    }
    for (name, to) in LINKS {
        symlink(to, at.join(name)).at(format_args!("link /dev/{name}"))?;
    }
    Ok(())
}

fn processes(at: &Path) -> Result<(), Failure> {
    let flags = HARMLESS | MountFlags::NOEXEC;
    rustix::mount::mount("proc", at, "proc", flags, c"hidepid=invisible").at("mount /proc")?;
    let attributes = libc::MOUNT_ATTR_RDONLY
        | libc::MOUNT_ATTR_NOSUID
        | libc::MOUNT_ATTR_NODEV
        | libc::MOUNT_ATTR_NOEXEC;
    for name in SHOWN.map(|name| at.join(name)) {
        if name.exists() {
            rustix::mount::mount_bind(&name, &name)
                .map_err(io::Error::from)
                .and_then(|()| restrict_at(&name, attributes))
                .at(format_args!("make {} read-only", name.display()))?;
        }
    }
    for name in HIDDEN.map(|name| at.join(name)) {
        if name.exists() {
            rustix::mount::mount_bind("/dev/null", &name)
                .map_err(io::Error::from)
                .and_then(|()| {
                    restrict_at(&name, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)
                })
                .at(format_args!("hide {}", name.display()))?;
        }
    }
    Ok(())
}
