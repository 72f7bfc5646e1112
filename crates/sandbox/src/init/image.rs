//! Mounts a file that holds a file system.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::FsOpenFlags;

use super::root::{Owner, detached};
use super::{At, Failure};
use crate::spawner::terms::Heir;

/// Requests to loop devices (Linux, `include/uapi/linux/loop.h`).
const GET_FREE: libc::Ioctl = 0x4C82;
const CONFIGURE: libc::Ioctl = 0x4C0A;
/// The device lets go of its file when nobody has it open or mounted any more.
const AUTOCLEAR: u32 = 4;

/// How often a free device is looked for, when others take it first.
const ATTEMPTS: usize = 100;

/// The kernel's `struct loop_config`.
#[repr(C)]
struct Configuration {
    file: u32,
    block_size: u32,
    before_flags: [u8; 52],
    flags: u32,
    after_flags: [u8; 176],
    reserved: [u64; 8],
}

/// The file system in `image`, whose root belongs to `owner`, as a mount that nobody sees yet. The image is
/// gone when that is. Nothing of it need survive a crash of the machine.
///
/// With an heir, the file must be the heir's: through a device it is read and written wherever one likes,
/// whatever its descriptor was opened for.
pub(super) fn open(image: &OwnedFd, owner: Owner, heir: Option<&Heir>) -> Result<OwnedFd, Failure> {
    check(image, heir).at("use a file as a disk for /tmp")?;
    let (device, path) = attach(image.as_fd()).at("find a loop device for /tmp")?;
    let mounted = mount(&path).at("mount the disk for /tmp")?;
    drop(device);
    let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(&mounted, ".", how, Mode::empty()).at("open /tmp")?;
    // It is there since the file system is, and holds what a check of it would find.
    let _ = rustix::fs::unlinkat(&root, "lost+found", AtFlags::REMOVEDIR);
    let everybody = Mode::from_raw_mode(0o1777);
    std::os::unix::fs::fchown(&root, Some(owner.user), Some(owner.group))
        .and_then(|()| Ok(rustix::fs::fchmod(&root, everybody)?))
        .at("give /tmp away")?;
    Ok(mounted)
}

fn check(image: &OwnedFd, heir: Option<&Heir>) -> io::Result<()> {
    let (flags, stat) = (rustix::fs::fcntl_getfl(image)?, rustix::fs::fstat(image)?);
    let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let free = flags & (OFlags::RWMODE | OFlags::APPEND) == OFlags::RDWR;
    let own = heir.is_none_or(|heir| stat.st_uid == heir.user);
    match plain && free && own {
        true => Ok(()),
        false => Err(Errno::ACCESS.into()),
    }
}

fn mount(device: &str) -> rustix::io::Result<OwnedFd> {
    let system = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&system, "source", device)?;
    // What the file system says itself is to happen may be that the machine stops.
    rustix::mount::fsconfig_set_string(&system, "errors", "remount-ro")?;
    for option in ["noinit_itable", "nobarrier"] {
        rustix::mount::fsconfig_set_flag(&system, option)?;
    }
    detached(&system)
}

/// A loop device with the file, and its path.
fn attach(file: BorrowedFd<'_>) -> io::Result<(File, String)> {
    let open = |path: &str| File::options().read(true).write(true).open(path);
    let control = open("/dev/loop-control")?;
    let configuration = Configuration {
        file: file.as_raw_fd().unsigned_abs(),
        block_size: 0,
        before_flags: [0; 52],
        flags: AUTOCLEAR,
        after_flags: [0; 176],
        reserved: [0; 8],
    };
    let mut busy = io::Error::from(io::ErrorKind::ResourceBusy);
    for _ in 0..ATTEMPTS {
        #[expect(unsafe_code, reason = "no safe call asks loop devices")]
        // SAFETY: this request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = format!("/dev/loop{number}");
        let device = open(&path)?;
        #[expect(unsafe_code, reason = "no safe call asks loop devices")]
        // SAFETY: the structure has the layout that this request reads, and outlives the call, which
        // writes nothing into it.
        let configured =
            unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const configuration) };
        if configured == 0 {
            return Ok((device, path));
        }
        busy = io::Error::last_os_error();
        if busy.raw_os_error() != Some(libc::EBUSY) {
            return Err(busy);
        }
    }
    Err(busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_the_kernels_layout() {
        // Two numbers, `struct loop_info64` of 232 bytes with its flags at 52, eight long ones.
        assert_eq!(size_of::<Configuration>(), 8 + 232 + 64);
        assert_eq!(std::mem::offset_of!(Configuration, flags), 8 + 52);
    }
}
