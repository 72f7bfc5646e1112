//! Starting the program, without any right that the first process had.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

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
    write_maps("self", order)
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

/// Who the process `pid` is outside.
fn write_maps(pid: &str, order: &Order) -> Result<(), Failure> {
    let file = |name: &str| format!("/proc/{pid}/{name}");
    let write = |name: &str, text: &str| {
        let mut file = fs::File::options().write(true).open(file(name))?;
        // The kernel takes a map in one write.
        file.write_all(text.as_bytes())
    };
    // Without this a user may not map groups; with it nobody can leave one.
    write("setgroups", "deny").at("give up groups")?;
    write("uid_map", &format!("{USER} {} 1\n", order.user)).at("map the user")?;
    write("gid_map", &format!("{GROUP} {} 1\n", order.user)).at("map the group")
}

/// Starts the job's program, and its companions after it, and gives up this process's rights. Returns
/// their ids once all have been executed.
pub(super) fn start(
    order: &Order,
    job: &Job,
    output: OwnedFd,
) -> Result<Vec<Option<i32>>, Failure> {
    if order.privilege == Privilege::Root {
        // The programs inherit it, and cannot change it in a namespace that denies groups.
        rustix::thread::set_thread_groups(&[]).at("leave all groups")?;
    }
    let first = begin(
        order,
        &job.program,
        output.try_clone().at("copy the output")?,
    )?;
    let mut begun = vec![(first, EXECUTE)];
    for companion in &job.companions {
        let output = output.try_clone().at("copy the output")?;
        begun.push((begin(order, companion, output)?, EXECUTE_COMPANION));
    }
    drop(output);
    give_up_rights(order)?;
    let executed = begun.into_iter().map(|((pid, failure), act)| {
        heard(failure, act)?;
        Ok(Some(pid))
    });
    executed.collect()
}

/// Forks a program's process and lets it go. The pipe says what it could not do.
fn begin(
    order: &Order,
    program: &Program,
    output: OwnedFd,
) -> Result<(i32, io::PipeReader), Failure> {
    let (failure, report) = io::pipe().at("make a pipe")?;
    let (go, mut release) = io::pipe().at("make a pipe")?;
    let Some((pid, _handle)) = fork_program(order.privilege).at("fork the program")? else {
        drop((failure, release));
        enter(program, output, go, report)
    };
    drop((report, output, go));
    if order.privilege == Privilege::Root {
        write_maps(&pid.to_string(), order)?;
    }
    release.write_all(b"!").at("release the program")?;
    Ok((pid, failure))
}

/// Waits until a program has been executed. `execute` is what the failure of that is called.
fn heard(mut failure: io::PipeReader, execute: &str) -> Result<(), Failure> {
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
    mut go: io::PipeReader,
    mut report: io::PipeWriter,
) -> ! {
    let failed = match become_program(program, output, &mut go) {
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
    go: &mut io::PipeReader,
) -> Result<std::convert::Infallible, Failure> {
    // Until the first process has said who this one is.
    go.read_exact(&mut [0]).at("wait for the user's map")?;
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
        .stdin(Stdio::null())
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
