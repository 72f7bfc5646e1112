//! A program that waits in its sandbox for the job it was not started for yet.
//!
//! It has every wall around it that the job's own program would have: its own user, no rights, the
//! filter. What differs is the order. Its root is this machine's root to the first process still, so
//! that the job's files can be shown in there; it has become everybody's, and the first process has no
//! right left, before the program is told of the job. Until then it runs no code but what the server chose.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use super::parked::Parked;
use super::show::Root;
use super::{At, EXECUTE, Failure};
use crate::program::{Early, Job, Program};
use crate::spawner::terms::Order;

/// A program that has been executed and reads its standard input.
pub(super) struct Waiting {
    pub(super) pid: i32,
    handover: io::PipeWriter,
}

/// Starts it.
pub(super) fn start(
    order: &Order,
    early: &Early,
    output: &OwnedFd,
    parked: Parked,
) -> Result<Waiting, Failure> {
    let root = Root::open(&order.mount_point, order.heir.as_ref())?;
    root.show(&early.binds)?;
    for folder in &early.folders {
        let made = root.folder(folder);
        made.at(format_args!("make {}", folder.display()))?;
    }
    let (input, handover) = io::pipe().at("make a pipe")?;
    let begun = parked.execute(&early.program, output, Some(input.into()))?;
    Ok(Waiting {
        pid: begun.executed(EXECUTE)?,
        handover,
    })
}

/// Removes what was there for the start only, and leaves of the job what is still to be shown.
pub(super) fn give_way(order: &Order, early: &Early, job: &mut Job) -> Result<(), Failure> {
    let root = Root::open(&order.mount_point, order.heir.as_ref())?;
    for folder in &early.folders {
        let removed = root.remove_folder(folder);
        removed.at(format_args!("remove {}", folder.display()))?;
    }
    job.binds.retain(|bind| !early.binds.contains(bind));
    Ok(())
}

impl Waiting {
    /// Tells it what it is. A program that has ended is an error.
    pub(super) fn hand_over(mut self, program: &Program) -> Result<(), Failure> {
        let told = handover(program).at("write the job down")?;
        self.handover.write_all(&told).at("hand the job over")
    }
}

/// What it reads; see [`Early`].
fn handover(program: &Program) -> io::Result<Vec<u8>> {
    let mut told = Vec::new();
    let mut say = |parts: &[&[u8]]| {
        // What no program could be executed with.
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        parts.iter().for_each(|part| told.extend_from_slice(part));
        told.push(0);
        Ok(())
    };
    say(&[program.directory.as_os_str().as_bytes()])?;
    say(&[program.arguments.len().to_string().as_bytes()])?;
    for argument in &program.arguments {
        say(&[argument.as_os_str().as_bytes()])?;
    }
    for (name, value) in &program.environment {
        say(&[name.as_bytes(), b"=", value.as_bytes()])?;
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_handover_is_what_executing_would_have_given() {
        let mut program = Program {
            executable: PathBuf::from("/bin/x"),
            arguments: vec![PathBuf::from("-c"), PathBuf::new()],
            environment: BTreeMap::from([
                ("A".to_owned(), "1=2\n".to_owned()),
                ("B".to_owned(), String::new()),
            ]),
            directory: PathBuf::from("/var/task"),
            memory: 0,
        };
        let told = handover(&program).unwrap();
        assert_eq!(told, b"/var/task\x002\0-c\0\0A=1=2\n\0B=\0");
        program.arguments.push(PathBuf::from("a\0b"));
        assert!(handover(&program).is_err());
    }
}
