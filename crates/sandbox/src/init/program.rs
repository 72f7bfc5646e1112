//! Starting the programs, and giving up every right that the first process had.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, Gid, Uid};

use super::early::Waiting;
use super::parked::{self, Parked};
use super::root::Owner;
use super::{At, EXECUTE, EXECUTE_COMPANION, Failure, die_with_parent};
use crate::confinement::{empty_bounding_set, keep_capabilities};
use crate::program::Job;
use crate::seccomp;
use crate::spawner::terms::{Order, Privilege};

/// The user and group that the program sees itself as: those of AWS Lambda.
pub(super) const USER: u32 = 993;
pub(super) const GROUP: u32 = 990;

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
pub(super) fn write_maps(process: &Path, order: &Order) -> Result<(), Failure> {
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

/// What is to be, or is about to be, the job's program.
pub(super) enum First {
    /// A process that is nothing yet.
    Parked(Parked),
    /// A program that was started early.
    Waiting(Waiting),
}

/// Has `first` become the job's program, starts its companions after it, and gives up this process's
/// rights. Returns their ids once all have been executed. `input` is the standard input of a program that
/// was not started early; `outputs` are the program's and, where there are companions, theirs.
pub(super) fn start(
    order: &Order,
    job: &Job,
    input: Option<OwnedFd>,
    outputs: &[OwnedFd],
    first: First,
) -> Result<Vec<Option<i32>>, Failure> {
    let mut begun = Vec::new();
    let output = |which: usize| {
        let missing = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
        outputs.get(which).ok_or_else(missing).at("find the output")
    };
    let waiting = match first {
        First::Parked(parked) => {
            begun.push((parked.execute(&job.program, output(0)?, input)?, EXECUTE));
            None
        }
        First::Waiting(waiting) => Some(waiting),
    };
    for companion in &job.companions {
        let parked = parked::park(order, Path::new("/"))?;
        let begun_one = parked.execute(companion, output(1)?, None)?;
        begun.push((begun_one, EXECUTE_COMPANION));
    }
    give_up_rights(order)?;
    let mut started: Vec<Option<i32>> = waiting.iter().map(|waiting| Some(waiting.pid)).collect();
    for (begun, act) in begun {
        started.push(Some(begun.executed(act)?));
    }
    // Now that nothing is left here that its code could use.
    if let Some(waiting) = waiting {
        waiting.hand_over(&job.program)?;
    }
    Ok(started)
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
    seccomp::keeper().install().at("filter system calls")
}

pub(super) fn drop_capabilities() -> rustix::io::Result<()> {
    match empty_bounding_set() {
        // The set is no longer ours to change, as when it is empty already.
        Ok(()) | Err(rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    keep_capabilities(CapabilitySet::empty())
}
