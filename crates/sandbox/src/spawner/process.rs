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
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Pid, Signal};
use rustix::thread::UnshareFlags;

use super::Error;
use super::terms::{Order, Privilege, Request, Terms};
use crate::confinement::forget_keys;
use crate::group::Family;
use crate::init;
use crate::seccomp;
use crate::wire::{self, Writer};

/// The name by which the executable knows that it is to be the spawner.
const NAME: &str = "tidemill-spawner";

/// The server's end of the spawner.
#[derive(Debug)]
pub(crate) struct SpawnerProcess {
    /// Present until the process is told to end, by closing it.
    control: Option<OwnedFd>,
    child: Child,
}

/// A sandbox's first process: its id, its descriptor, and the channel to it.
pub(crate) struct Forked {
    pub(crate) pid: Pid,
    pub(crate) handle: OwnedFd,
    pub(crate) channel: OwnedFd,
}

impl SpawnerProcess {
    /// Starts the process, with the rights that the caller has now.
    pub(crate) fn start(terms: &Terms) -> Result<Self, Error> {
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
            let process = Self {
                control: Some(ours),
                child,
            };
            wire::send(process.control()?, &terms.write(), &[])?;
            Ok(process)
        };
        start().map_err(|error| Error::prepare("start the spawner process", error))
    }

    fn control(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.control.as_ref().ok_or_else(gone)?.as_fd())
    }

    /// Has a sandbox's first process forked and put into its group. Blocks for as long as the kernel takes to
    /// make namespaces.
    pub(crate) fn fork(&self, request: Request) -> io::Result<Forked> {
        let control = self.control()?;
        wire::send(control, &request.write(), &[])?;
        let mut reply = wire::receive(control)?.ok_or_else(gone)?;
        let (pid, errno): (i32, i32) = (reply.small()?, reply.small()?);
        let mut descriptors = reply.descriptors.into_iter();
        match (Pid::from_raw(pid), descriptors.next(), descriptors.next()) {
            (Some(pid), Some(handle), Some(channel)) => Ok(Forked {
                pid,
                handle,
                channel,
            }),
            (_, _, _) => Err(io::Error::from_raw_os_error(errno)),
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
        // It removes what is left of groups, which takes as long as the kernel takes to end their members.
        let _ = self.child.wait();
    }
}

fn gone() -> io::Error {
    io::Error::other("the spawner process has ended")
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

/// Forks what is asked for until the server is gone, and removes what is left of it then.
fn serve(control: &OwnedFd) {
    // A session of its own keeps the server's terminal, and the signals it sends, out of reach. Others are
    // sent to all processes of a service, of which the server is to end first.
    let _ = rustix::process::setsid();
    for signal in ENDING {
        on_signal(signal, libc::SIG_IGN);
    }
    on_signal(libc::SIGCHLD, libc::SIG_IGN);
    // What sandboxes are put together of is for everybody in them to find.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if forget_keys().is_err() {
        return;
    }
    seccomp::program();
    seccomp::keeper();
    let told = wire::receive(control.as_fd()).ok().flatten();
    let Some(terms) = told.and_then(|mut told| Terms::read(&mut told).ok()) else {
        return;
    };
    follow(control, &terms);
    // Whatever has kept this process from following: while the server lives, it may have other spawners.
    if hung_up(control) {
        terms.groups.clear();
        if terms.heir.is_some() {
            // What is there is this process's own.
            let _ = rustix::mount::unmount(&terms.mount_point, UnmountFlags::DETACH);
            // One of several spawners does it.
            let _ = fs::remove_dir(&terms.mount_point);
        }
    }
}

fn hung_up(control: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(control, PollFlags::empty())];
    // It waits for nothing, so that it is not interrupted.
    let _ = poll(&mut fds, Some(&Timespec::default()));
    fds[0].revents().contains(PollFlags::HUP)
}

fn follow(control: &OwnedFd, terms: &Terms) {
    let mut quickened = false;
    while let Ok(Some(mut message)) = wire::receive(control.as_fd()) {
        let forked = Request::read(&mut message).and_then(|request| {
            let order = terms.order(&request)?;
            if !std::mem::replace(&mut quickened, true) {
                quicken(&order);
            }
            // Until it is in its group, its id is not to become somebody else's.
            on_signal(libc::SIGCHLD, libc::SIG_DFL);
            let forked = fork_first(terms, &request, &order);
            on_signal(libc::SIGCHLD, libc::SIG_IGN);
            reap();
            forked
        });
        let answered = match forked {
            Ok((pid, handle, channel)) => {
                let reply = Writer::default().number(u64::from(pid.unsigned_abs()));
                let beside = [handle.as_fd(), channel.as_fd()];
                wire::send(control.as_fd(), &reply.number(0), &beside)
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

/// Forks a sandbox's first process, puts it into its group, and lets it go on. Returns it with the server's end
/// of the channel to it.
fn fork_first(
    terms: &Terms,
    request: &Request,
    order: &Order,
) -> io::Result<(i32, OwnedFd, OwnedFd)> {
    let (ours, theirs) = wire::pair()?;
    match fork(order.privilege)? {
        Fork::Child => {
            drop(ours);
            for signal in ENDING {
                on_signal(signal, libc::SIG_DFL);
            }
            forget_control();
            init::run(order, &theirs)
        }
        Fork::Parent(pid, handle) => {
            admit(&terms.groups, request.group, pid, &handle)?;
            // If it has ended, it has said why before.
            let _ = wire::send(ours.as_fd(), &Writer::default().number(0), &[]);
            Ok((pid, handle, ours))
        }
    }
}

/// Puts what was forked into its group, or ends it. Here, because who has given up root's rights may not.
fn admit(groups: &Family, group: u64, pid: i32, handle: &OwnedFd) -> io::Result<()> {
    groups.admit(group, pid).inspect_err(|_| {
        // A child of this process: if it cannot be ended, it has ended.
        let _ = rustix::process::pidfd_send_signal(handle, Signal::KILL);
    })
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

/// Lets go of those that have ended since it was said that none are to be kept.
fn reap() {
    let any = rustix::process::WaitOptions::NOHANG;
    while let Ok(Some(_)) = rustix::process::wait(any) {}
}

/// What ends a process that does not say otherwise, and is sent to ask it to.
const ENDING: [libc::c_int; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM];

fn on_signal(signal: libc::c_int, disposition: libc::sighandler_t) {
    #[expect(unsafe_code, reason = "neither std nor rustix sets dispositions")]
    // SAFETY: both dispositions are the kernel's own; no handler of ours runs.
    unsafe {
        libc::signal(signal, disposition);
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
