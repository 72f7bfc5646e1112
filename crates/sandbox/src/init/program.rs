//! Starting the program, without any right that the first process had.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use super::early::Waiting;
use super::root::Owner;
use super::{At, EXECUTE, EXECUTE_COMPANION, Failure, die_with_parent};
use crate::program::{Job, Program};
use crate::seccomp;
use crate::spawner::process::{Order, Privilege, fork_program};

/// The user and group that the program sees itself as: those of AWS Lambda.
const USER: u32 = 993;
const GROUP: u32 = 990;

/// What a program may have of a resource, soft and hard. Descriptors and processes as in AWS Lambda
/// (quotas of 2026); the rest keeps it from locking memory and from leaving its memory on disk.
const LIMITS: [(Resource, u64); 4] = [
    (Resource::Nofile, 1024),
    (Resource::Nproc, 1024),
    (Resource::Core, 0),
    (Resource::Memlock, 64 * 1024),
];

/// Makes this process the one user of a user namespace that it has just been forked into.
pub(super) fn map_self(order: &Order) -> Result<(), Failure> {
    write_maps(Path::new("/proc/self"), order)
}

/// The program's user as this process names it.
pub(super) fn owner(order: &Order) -> Owner {
    match order.privilege {
        Privilege::Root => Owner {
            user: order.user,
            group: order.user,
        },
        Privilege::User => Owner {
            user: USER,
            group: GROUP,
        },
    }
}

/// Who the process is outside that `process`, a folder of the process table, is about.
fn write_maps(process: &Path, order: &Order) -> Result<(), Failure> {
    let write = |name: &str, text: &str| {
        let mut file = fs::File::options().write(true).open(process.join(name))?;
        // The kernel takes a map in one write.
        file.write_all(text.as_bytes())
    };
    // Without this a user may not map groups; with it nobody can leave one.
    write("setgroups", "deny").at("give up groups")?;
    write("uid_map", &format!("{USER} {} 1\n", order.user)).at("map the user")?;
    write("gid_map", &format!("{GROUP} {} 1\n", order.user)).at("map the group")
}

/// Leaves the groups of this machine's users. The programs inherit it, and cannot change it in a
/// namespace that denies groups.
pub(super) fn leave_groups(order: &Order) -> Result<(), Failure> {
    match order.privilege {
        Privilege::Root => rustix::thread::set_thread_groups(&[]).at("leave all groups"),
        Privilege::User => Ok(()),
    }
}

/// What a program finds where it begins, beside what every program does.
pub(super) enum Beginning<'a> {
    /// The sandbox's own root, which is complete, and nothing to read.
    Complete,
    /// The root as it will be, at this path of the machine's, and in time something to read.
    Early(&'a Path, io::PipeReader),
}

/// Starts the job's program unless it is there already, and its companions after it, and gives up this
/// process's rights. Returns their ids once all have been executed.
pub(super) fn start(
    order: &Order,
    job: &Job,
    output: OwnedFd,
    waiting: Option<Waiting>,
) -> Result<Vec<Option<i32>>, Failure> {
    let mut begun = Vec::new();
    if waiting.is_none() {
        let output = output.try_clone().at("copy the output")?;
        let first = begin(order, &job.program, output, Beginning::Complete)?;
        begun.push((first, EXECUTE));
    }
    for companion in &job.companions {
        let output = output.try_clone().at("copy the output")?;
        let companion = begin(order, companion, output, Beginning::Complete)?;
        begun.push((companion, EXECUTE_COMPANION));
    }
    drop(output);
    give_up_rights(order)?;
    let mut started: Vec<Option<i32>> = waiting.iter().map(|waiting| Some(waiting.pid)).collect();
    for ((pid, failure), act) in begun {
        heard(failure, act)?;
        started.push(Some(pid));
    }
    // Now that nothing is left here that its code could use.
    if let Some(waiting) = waiting {
        waiting.hand_over(&job.program)?;
    }
    Ok(started)
}

/// Forks a program's process and lets it go. The pipe says what it could not do.
pub(super) fn begin(
    order: &Order,
    program: &Program,
    output: OwnedFd,
    beginning: Beginning<'_>,
) -> Result<(i32, io::PipeReader), Failure> {
    let (failure, report) = io::pipe().at("make a pipe")?;
    let (go, mut release) = io::pipe().at("make a pipe")?;
    // The sandbox's own, for the ids are.
    let processes = match &beginning {
        Beginning::Complete => PathBuf::from("/proc"),
        Beginning::Early(root, _) => root.join("proc"),
    };
    let Some((pid, _handle)) = fork_program(order.privilege).at("fork the program")? else {
        drop((failure, release));
        enter(program, output, beginning, go, report)
    };
    drop((report, output, go));
    if order.privilege == Privilege::Root {
        write_maps(&processes.join(pid.to_string()), order)?;
    }
    release.write_all(b"!").at("release the program")?;
    Ok((pid, failure))
}

/// Waits until a program has been executed. `execute` is what the failure of that is called.
pub(super) fn heard(mut failure: io::PipeReader, execute: &str) -> Result<(), Failure> {
    let mut told = Vec::new();
    failure.read_to_end(&mut told).at("hear of the program")?;
    let Some((errno, act)) = told.split_first_chunk() else {
        return Ok(());
    };
    let act = match String::from_utf8_lossy(act) {
        act if act == EXECUTE => execute.into(),
        act => act,
    };
    Err(io::Error::from_raw_os_error(i32::from_ne_bytes(*errno))).at(act)
}

/// The first process keeps nothing: it reaps, and tells how the program ended.
fn give_up_rights(order: &Order) -> Result<(), Failure> {
    // When memory runs out, the kernel is to end the program, not what tells of it. Not every user
    // may ask for that.
    let _ = fs::write("/proc/self/oom_score_adj", "-900");
    if order.privilege == Privilege::Root {
        let (user, group) = (Uid::from_raw(order.keeper), Gid::from_raw(order.keeper));
        rustix::thread::set_thread_res_gid(group, group, group).at("change the group")?;
        rustix::thread::set_thread_res_uid(user, user, user).at("change the user")?;
    }
    drop_capabilities().at("drop capabilities")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at("hide memory")?;
    die_with_parent()?;
    rustix::thread::set_no_new_privs(true).at("forbid new privileges")?;
    seccomp::install().at("filter system calls")
}

fn drop_capabilities() -> rustix::io::Result<()> {
    // Up to the last that this kernel has.
    for capability in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << capability);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Err(rustix::io::Errno::INVAL) => break,
            // The set is no longer ours to change, as when it is empty already.
            Err(rustix::io::Errno::PERM) => break,
            removed => removed?,
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}

/// What the program's process does until it is the program.
fn enter(
    program: &Program,
    output: OwnedFd,
    beginning: Beginning<'_>,
    mut go: io::PipeReader,
    mut report: io::PipeWriter,
) -> ! {
    let failed = match become_program(program, output, beginning, &mut go) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let errno = failed.source.raw_os_error().unwrap_or(libc::EIO);
    let mut message = errno.to_ne_bytes().to_vec();
    message.extend(failed.act.as_bytes());
    // When nobody reads it, the sandbox is ending.
    let _ = report.write_all(&message);
    std::process::exit(0)
}

fn become_program(
    program: &Program,
    output: OwnedFd,
    beginning: Beginning<'_>,
    go: &mut io::PipeReader,
) -> Result<std::convert::Infallible, Failure> {
    // Until the first process has said who this one is.
    go.read_exact(&mut [0]).at("wait for the user's map")?;
    let input = match beginning {
        Beginning::Complete => Stdio::null(),
        Beginning::Early(root, input) => {
            // The mount that is there becomes the root of all once the job has come.
            rustix::process::chroot(root).at("enter the new root")?;
            Stdio::from(input)
        }
    };
    rustix::process::setpgid(None, None).at("leave the process group")?;
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(GROUP));
    rustix::thread::set_thread_res_gid(group, group, group).at("change the group")?;
    rustix::thread::set_thread_res_uid(user, user, user).at("change the user")?;
    for (resource, to) in LIMITS {
        let both = Rlimit {
            current: Some(to),
            maximum: Some(to),
        };
        rustix::process::setrlimit(resource, both).at("set limits")?;
    }
    drop_capabilities().at("drop capabilities")?;
    rustix::thread::set_no_new_privs(true).at("forbid new privileges")?;
    let errors = output.try_clone().at("copy the output")?;
    let mut command = Command::new(&program.executable);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(&program.environment)
        .current_dir(&program.directory)
        .stdin(input)
        // One pipe for both keeps the order in which they were written.
        .stdout(output)
        .stderr(errors);
    close_on_exec().at("close descriptors")?;
    seccomp::install().at("filter system calls")?;
    Err(command.exec()).at(EXECUTE)
}

/// Marks every descriptor but the standard three.
fn close_on_exec() -> io::Result<()> {
    #[expect(unsafe_code, reason = "neither std nor rustix has close_range")]
    // SAFETY: the call takes three integers; with this flag it closes nothing before exec.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
