//! What a sandboxed program sees as its file system.
//!
//! A small file system in memory, read-only in the end, onto which parts of this machine's are bound
//! read-only: the folders of system programs and libraries, and of `/etc` what a runtime reads. It
//! has a `/dev` with five harmless devices, a `/proc` of its own processes, and a private `/tmp`. There
//! is no `/sys`, no `/run`, no `/home`, no `/root`.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags,
};

use super::show::{self, Root};
use super::{At, Failure, image, own_root};
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

const HARMLESS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// A bind that nobody writes through.
const HARMLESS_BIND: MountFlags = MountFlags::BIND.union(MountFlags::RDONLY).union(HARMLESS);

/// Puts together what every sandbox has, over the folder `at`. Returns its `/etc`, which is written to when
/// others may have had something else be shown in its place.
pub(super) fn assemble(at: &Path) -> Result<OwnedFd, Failure> {
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
            Ok(_) => bind(&here, &inside)?,
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
            bind(&here, &at.join("etc").join(&name))?;
        }
    }
    for (name, text) in WRITTEN {
        fs::write(at.join("etc").join(name), text).at(format_args!("write /etc/{name}"))?;
    }
    devices(&at.join("dev"))?;
    processes(&at.join("proc"))?;
    let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(at.join("etc"), how, Mode::empty()).at("open /etc")
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
    etc: OwnedFd,
    image: Option<OwnedFd>,
    owner: Owner,
) -> Result<(), Failure> {
    let heir = order.heir.as_ref();
    name_hosts(etc, job).at("write /etc/hosts")?;
    let root = Root::open(&order.mount_point, heir)?;
    let (root, at) = match &job.root {
        Some(from) => own_root::show(&root, &order.mount_point, from)?,
        None => (root, order.mount_point.clone()),
    };
    root.show(&job.binds)?;
    let temporary = match (job.temporary, image) {
        (Temporary::Disk(_), Some(image)) => image::open(&image, owner, heir)?,
        (Temporary::Disk(bytes) | Temporary::Memory(bytes), _) => memory(bytes, owner)?,
    };
    root.mount(&temporary, Path::new("/tmp")).at("mount /tmp")?;
    std::env::set_current_dir(at).at("enter the new root")?;
    rustix::process::pivot_root(".", ".").at("change the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).at("let go of the old root")?;
    std::env::set_current_dir("/").at("enter the new root")?;
    rustix::mount::mount_remount("/", HARMLESS_BIND, c"").at("make the root read-only")
}

fn name_hosts(etc: OwnedFd, job: &Job) -> io::Result<()> {
    if job.names.is_empty() {
        return Ok(());
    }
    let how = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
    // The file that is there, and nothing that is shown over it.
    let itself = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let hosts = rustix::fs::openat2(etc, "hosts", how, Mode::empty(), itself)?;
    let mut hosts = File::from(hosts);
    for (name, address) in &job.names {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !name.bytes().all(plain) {
            return Err(Errno::INVAL.into());
        }
        writeln!(hosts, "{address} {name}")?;
    }
    Ok(())
}

/// A place for files that is kept in memory.
fn memory(bytes: u64, owner: Owner) -> Result<OwnedFd, Failure> {
    let Owner { user, group } = owner;
    let open = || {
        let system = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (name, value) in [
            ("size", bytes.to_string()),
            ("nr_inodes", TEMPORARY_FILES.to_string()),
            ("mode", "1777".to_owned()),
            ("uid", user.to_string()),
            ("gid", group.to_string()),
        ] {
            rustix::mount::fsconfig_set_string(&system, name, value)?;
        }
        detached(&system)
    };
    open().at("make room in memory for /tmp")
}

/// A mount of a file system whose options are set, which nobody sees yet.
pub(super) fn detached(system: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let harmless = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    rustix::mount::fsconfig_create(system)?;
    rustix::mount::fsmount(system, FsMountFlags::FSMOUNT_CLOEXEC, harmless)
}

/// Shows a part of this machine, before anybody has said what else to show: by names, which has the kernel
/// lock all mounts half as often as [`Root::bind`] does.
fn bind(from: &Path, to: &Path) -> Result<(), Failure> {
    let place = || {
        if from.is_dir() {
            return fs::create_dir_all(to);
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::File::create(to).map(|_| ())
    };
    place().at(format_args!("make a place for {}", from.display()))?;
    rustix::mount::mount_bind_recursive(from, to).at(format_args!("bind {}", from.display()))?;
    restrict_at(to, show::HARMLESS).at(format_args!("make {} read-only", from.display()))
}

/// Sets attributes of the mount at `path`, from the folder `from`; `flags` are those of the call.
pub(super) fn restrict(
    from: BorrowedFd<'_>,
    path: &CStr,
    attributes: u64,
    flags: libc::c_int,
) -> io::Result<()> {
    let wanted = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    #[expect(unsafe_code, reason = "neither std nor rustix has mount_setattr")]
    // SAFETY: the path ends with a zero, the structure has the size that is stated, and both outlive
    // the call, which only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            from.as_raw_fd(),
            path.as_ptr(),
            flags | libc::AT_EMPTY_PATH,
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

/// The same by a path, of all that is mounted below it too.
fn restrict_at(path: &Path, attributes: u64) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    restrict(rustix::fs::CWD, &path, attributes, libc::AT_RECURSIVE)
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
