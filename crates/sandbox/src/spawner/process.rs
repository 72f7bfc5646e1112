//! A spawner: a process of its own, with one thread and little memory, which does what needs
//! privilege before anybody's code runs.
//!
//! It is the server's own executable, started anew, so that nothing of the server's memory is in it.
//! For each request it forks the first process of a sandbox into fresh namespaces and hands its
//! descriptor back. It ends when the server does, and everything it has started with it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use super::Error;
use crate::init;
use crate::seccomp;
use crate::wire::{self, Message, Writer};

/// The name by which the executable knows that it is to be the spawner.
const NAME: &str = "tidemill-spawner";

/// With which rights sandboxes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// As root of the machine: each sandbox has user ids of its own.
    Root,
    /// As a user, who is root only inside.
    User,
}

/// What to fork.
pub(crate) struct Order {
    pub(crate) privilege: Privilege,
    /// An empty folder over which the sandbox's root is put together.
    pub(crate) mount_point: PathBuf,
    /// The user and group on this machine that the program is to be.
    pub(crate) user: u32,
    /// The user and group that the sandbox's first process is to be.
    pub(crate) keeper: u32,
}

/// The server's end of the spawner.
#[derive(Debug)]
pub(crate) struct SpawnerProcess {
    /// Present until the process is told to end, by closing it.
    control: Option<OwnedFd>,
    child: Child,
}

impl SpawnerProcess {
    /// Starts the process.
    pub(crate) fn start() -> Result<Self, Error> {
        let start = || -> io::Result<Self> {
            let (ours, theirs) = wire::pair()?;
            let null = fs::File::options().write(true).open("/dev/null")?;
            let mut command = Command::new("/proc/self/exe");
            command
                .arg0(NAME)
                .env_clear()
                .current_dir("/")
                .stdin(Stdio::from(theirs))
                .stdout(null.try_clone()?)
                .stderr(null);
            let child = command.spawn()?;
            let control = Some(ours);
            Ok(Self { control, child })
        };
        start().map_err(|error| Error::prepare("start the spawner process", error))
    }

    /// Has a sandbox's first process forked, which talks over `channel`. Returns its id and its
    /// descriptor. Blocks for as long as the kernel takes to make namespaces.
    pub(crate) fn fork(
        &self,
        order: &Order,
        channel: BorrowedFd<'_>,
    ) -> io::Result<(Pid, OwnedFd)> {
        let message = Writer::default()
            .number(match order.privilege {
                Privilege::Root => 0,
                Privilege::User => 1,
            })
            .text(&order.mount_point)
            .number(order.user.into())
            .number(order.keeper.into());
        let gone = || io::Error::other("the spawner process has ended");
        let control = self.control.as_ref().ok_or_else(gone)?.as_fd();
        wire::send(control, &message, &[channel])?;
        let mut reply = wire::receive(control)?.ok_or_else(gone)?;
        let (pid, errno): (i32, i32) = (reply.small()?, reply.small()?);
        match (Pid::from_raw(pid), reply.descriptors.pop()) {
            (Some(pid), Some(handle)) => Ok((pid, handle)),
            (_, _) => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

#[cfg(test)]
impl SpawnerProcess {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for SpawnerProcess {
    fn drop(&mut self) {
        self.control = None;
        // It has nothing else to do than to end.
        let _ = self.child.wait();
    }
}

impl Order {
    fn read(message: &mut Message) -> io::Result<Self> {
        Ok(Self {
            privilege: match message.number()? {
                0 => Privilege::Root,
                _ => Privilege::User,
            },
            mount_point: message.path()?,
            user: message.small()?,
            keeper: message.small()?,
        })
    }
}

/// Runs before `main` and in place of it when this process is to be the spawner, as container
/// runtimes do it: whatever executable contains this crate can be the spawner, tests included.
#[expect(
    unsafe_code,
    reason = "the only way to run before main without every main's knowing of it"
)]
// SAFETY: the section holds pointers to functions that the C library calls once, with one thread,
// before `main`. The function uses no state that `main` would have set up: it reads a file, and only
// in the spawner, which nothing else starts by this name, goes further and never returns.
#[unsafe(link_section = ".init_array")]
#[used]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let called = fs::read("/proc/self/cmdline").unwrap_or_default();
    if called.strip_suffix(b"\0") == Some(NAME.as_bytes()) {
        #[expect(unsafe_code, reason = "standard input is known by its number only")]
        // SAFETY: descriptor 0 is open, for the server passed the socket as it, and nothing else in
        // this process uses it.
        let control = unsafe { OwnedFd::from_raw_fd(0) };
        serve(&control);
        std::process::exit(0);
    }
}

/// Forks what is asked for until the server is gone.
fn serve(control: &OwnedFd) {
    // A session of its own keeps the server's terminal, and the signals it sends, out of reach.
    let _ = rustix::process::setsid();
    keep_no_zombies(libc::SIG_IGN);
    seccomp::program();
    seccomp::keeper();
    let mut quickened = false;
    while let Ok(Some(mut request)) = wire::receive(control.as_fd()) {
        let order = Order::read(&mut request);
        if let (Ok(order), false) = (&order, quickened) {
            quickened = true;
            quicken(order);
        }
        let forked = match (order, request.descriptors.pop()) {
            (Ok(order), Some(channel)) => match fork(order.privilege) {
                Ok(Fork::Child) => {
                    keep_no_zombies(libc::SIG_DFL);
                    forget_control();
                    init::run(&order, &channel)
                }
                Ok(Fork::Parent(pid, handle)) => Ok((pid, handle)),
                Err(error) => Err(error),
            },
            (Err(error), _) => Err(error),
            (Ok(_), None) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        let answered = match forked {
            Ok((pid, handle)) => {
                let reply = Writer::default().number(u64::from(pid.unsigned_abs()));
                wire::send(control.as_fd(), &reply.number(0), &[handle.as_fd()])
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let reply = Writer::default()
                    .number(0)
                    .number(errno.unsigned_abs().into());
                wire::send(control.as_fd(), &reply, &[])
            }
        };
        if answered.is_err() {
            return;
        }
    }
}

/// Has the kernel prefer quick joining of groups over quick forking, for as long as this process lives.
///
/// Otherwise each sandbox waits up to 20 ms for all processors to pass a quiet moment. The preference
/// is one for the whole machine; mounting any hierarchy with it, here an empty one that nobody else
/// sees, turns it on, and the end of the mount turns it off (`favordynmods`, Linux 6.1).
fn quicken(order: &Order) {
    if order.privilege == Privilege::User {
        return;
    }
    let options = format!("none,name=tidemill-{},favordynmods", std::process::id());
    let mount = || {
        let options = std::ffi::CString::new(options)?;
        #[expect(unsafe_code, reason = "unshare may share what others rely on")]
        // SAFETY: this process has one thread, and no one relies on sharing its mounts.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
        // What is mounted on this machine later is to be seen here too, and nothing of ours there.
        let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", flags)?;
        let at = order.mount_point.as_path();
        rustix::mount::mount(
            "none",
            at,
            "cgroup",
            MountFlags::empty(),
            options.as_c_str(),
        )?;
        Ok::<_, io::Error>(())
    };
    // Nothing is lost but time.
    let _ = mount();
}

fn keep_no_zombies(disposition: libc::sighandler_t) {
    #[expect(unsafe_code, reason = "neither std nor rustix sets dispositions")]
    // SAFETY: both dispositions are the kernel's own; no handler of ours runs.
    unsafe {
        libc::signal(libc::SIGCHLD, disposition);
    }
}

/// Puts nothing in the place of the control socket, which is the spawner's alone.
fn forget_control() {
    #[expect(unsafe_code, reason = "standard input is known by its number only")]
    // SAFETY: 1 is open on /dev/null. 0 is the control socket, whose owner's frame this process, a
    // fork that never returns to it, will not see again.
    unsafe {
        libc::dup2(1, 0);
    }
}

enum Fork {
    Child,
    Parent(i32, OwnedFd),
}

/// Forks into new namespaces.
fn fork(privilege: Privilege) -> io::Result<Fork> {
    let own_user = match privilege {
        Privilege::Root => 0,
        Privilege::User => libc::CLONE_NEWUSER,
    };
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | own_user;
    clone(namespaces)
}

/// `fork`, with flags of `clone`.
fn clone(flags: libc::c_int) -> io::Result<Fork> {
    let mut handle: libc::c_int = -1;
    #[expect(unsafe_code, reason = "std and rustix do not fork")]
    // SAFETY: the structure is valid and zero but for what is set; without a stack and without
    // CLONE_VM the call behaves as fork does. This process has one thread, so that the child finds
    // no lock held and may do whatever its parent might.
    let pid = unsafe {
        let mut arguments: libc::clone_args = std::mem::zeroed();
        arguments.flags = u64::from((flags | libc::CLONE_PIDFD).unsigned_abs());
        arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
        arguments.pidfd = &raw mut handle as u64;
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match pid {
        0 => Ok(Fork::Child),
        1.. => {
            #[expect(
                unsafe_code,
                reason = "the kernel hands the descriptor out as a number"
            )]
            // SAFETY: the kernel has just opened it for this process, and nobody else knows it.
            let handle = unsafe { OwnedFd::from_raw_fd(handle) };
            Ok(Fork::Parent(
                i32::try_from(pid).map_err(io::Error::other)?,
                handle,
            ))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Forks the program's own process from the sandbox's first: into a user namespace of its own where
/// the first process is root of the machine.
pub(crate) fn fork_program(privilege: Privilege) -> io::Result<Option<(i32, OwnedFd)>> {
    let flags = match privilege {
        Privilege::Root => libc::CLONE_NEWUSER,
        Privilege::User => 0,
    };
    Ok(match clone(flags)? {
        Fork::Child => None,
        Fork::Parent(pid, handle) => Some((pid, handle)),
    })
}
