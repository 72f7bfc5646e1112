//! The first process of a sandbox.
//!
//! Forked by the spawner into fresh namespaces, it puts the root together, forks a process that will be
//! the program, waits for a job, starts its program, gives up every right it had, and from then on only
//! reaps. When the program ends, it tells how and ends too, and with it, for it is the first process of its
//! namespace, everything that the program has left behind.
//!
//! Before a job arrives no code has run here but what the server chose. Therefore a sandbox can be kept ready, with an
//! interpreter in it that waits for the job as well (see [`Early`]).

mod early;
mod image;
mod network;
mod own_root;
mod parked;
mod program;
mod root;
mod show;

use std::fmt::Display;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use crate::exit::Exit;
use crate::program::{Bind, Early, Job, Program, Temporary};
use crate::spawner::terms::{Order, Privilege};
use crate::wire::{self, Message, Writer};

use program::First;

/// What the first process tells the server.
#[derive(Debug)]
pub(crate) enum Report {
    /// Everything but the job is there.
    Ready,
    /// A program has been executed that waits for its job.
    Waiting,
    /// The program has been executed; with it come the listeners, in the job's order, and the sockets.
    Started,
    /// A program has ended: the job's own, 0, or one of its companions, counted from 1.
    Exited(usize, Exit),
    /// Something could not be done, and this process has ended.
    Failed(Failure),
}

/// What could not be done.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) act: String,
    pub(crate) source: io::Error,
}

/// The act that executes the program: its failure is the program's own.
pub(crate) const EXECUTE: &str = "execute";

/// The same of a companion.
const EXECUTE_COMPANION: &str = "execute what is to run beside the program";

/// Names the act that failed.
pub(super) trait At<T> {
    fn at(self, act: impl Display) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, act: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            act: act.to_string(),
            source: error.into(),
        })
    }
}

/// Does what this module says, and never returns.
pub(crate) fn run(order: &Order, channel: &OwnedFd) -> ! {
    if let Err(failure) = live(order, channel) {
        // Without a server there is nobody to tell.
        let _ = tell(channel, &Report::Failed(failure), &[]);
    }
    std::process::exit(0)
}

fn live(order: &Order, channel: &OwnedFd) -> Result<(), Failure> {
    die_with_parent()?;
    // A process group of its own: a signal to one's group must not reach the spawner.
    rustix::process::setpgid(None, None).at("leave the process group")?;
    if order.privilege == Privilege::User {
        program::map_self(order)?;
    }
    rustix::system::sethostname(b"localhost").at("set the host name")?;
    network::up()?;
    let etc = root::assemble(&order.mount_point)?;
    if wire::receive(channel.as_fd())
        .at("hear of control groups")?
        .is_none()
    {
        return Ok(());
    }
    // Only now is this process in the groups that are to be the root of what is seen in there, and
    // whatever it forks with it.
    #[expect(unsafe_code, reason = "unshare may share what others rely on")]
    // SAFETY: a control group namespace changes what is shown of groups, and nothing else.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }.at("hide other groups")?;
    program::leave_groups(order)?;
    let parked = parked::park(order, &order.mount_point)?;
    tell(channel, &Report::Ready, &[]).at("tell the server")?;

    let Some((asked, mut beside)) = Asked::receive(channel).at("receive the job")? else {
        return Ok(());
    };
    let (job, input, first) = match asked {
        Asked::Job { job, input } => (*job, input, First::Parked(parked)),
        Asked::Early(early) => {
            let output = beside.first().ok_or_else(unexpected);
            let waiting = early::start(order, &early, output.at("find the output")?, parked)?;
            tell(channel, &Report::Waiting, &[]).at("tell the server")?;
            let Some((mut job, others)) = Asked::receive_job(channel).at("receive the job")? else {
                return Ok(());
            };
            beside.extend(others);
            early::give_way(order, &early, &mut job)?;
            (job, false, First::Waiting(waiting))
        }
    };
    let image = match job.temporary {
        Temporary::Memory(_) => None,
        Temporary::Disk(_) => beside.pop(),
    };
    let input = if input { beside.pop() } else { None };
    root::complete(order, &job, etc, image, program::owner(order))?;
    let first = match (&job.root, first) {
        // What is parked is in the root that is gone.
        (Some(_), First::Parked(parked)) => {
            parked.dismiss()?;
            First::Parked(parked::park(order, Path::new("/"))?)
        }
        (Some(_) | None, first) => first,
    };
    let mut sockets = network::listen(&job.listen)?;
    sockets.extend(network::sockets(job.sockets)?);
    let programs = program::start(order, &job, input, &beside, first)?;
    drop(beside);
    tell(channel, &Report::Started, &wire::lend(&sockets)).at("tell the server")?;
    drop(sockets);
    reap(channel, programs)
}

/// Changing the user undoes it, so it is done anew afterwards.
fn die_with_parent() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at("die with the spawner")
}

/// Reaps whatever ends, and tells of the programs, until all of them have.
fn reap(channel: &OwnedFd, mut programs: Vec<Option<i32>>) -> Result<(), Failure> {
    while programs.iter().any(Option::is_some) {
        let (pid, status) = match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => (pid.as_raw_nonzero().get(), status),
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error).at("wait for the program"),
        };
        let which = programs.iter().position(|program| *program == Some(pid));
        if let Some(which) = which {
            programs[which] = None;
            let exit = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Status(code),
                (None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
            };
            tell(channel, &Report::Exited(which, exit), &[]).at("tell the server")?;
        }
    }
    Ok(())
}

fn tell(
    channel: &OwnedFd,
    report: &Report,
    with: &[std::os::fd::BorrowedFd<'_>],
) -> io::Result<()> {
    wire::send(channel.as_fd(), &report.write(), with)
}

impl Report {
    fn write(&self) -> Writer {
        let to = Writer::default();
        match self {
            Self::Ready => to.number(0),
            Self::Started => to.number(1),
            Self::Exited(which, Exit::Status(code)) => to
                .number(2)
                .number(*which as u64)
                .number(u64::from(code.unsigned_abs())),
            Self::Exited(which, Exit::Signal(number)) => to
                .number(3)
                .number(*which as u64)
                .number(u64::from(number.unsigned_abs())),
            Self::Failed(failure) => {
                let errno = failure.source.raw_os_error().unwrap_or(libc::EIO);
                to.number(4)
                    .text(&failure.act)
                    .number(u64::from(errno.unsigned_abs()))
            }
            Self::Waiting => to.number(5),
        }
    }

    pub(crate) fn read(message: &mut Message) -> io::Result<Self> {
        Ok(match message.number()? {
            0 => Self::Ready,
            1 => Self::Started,
            2 => Self::Exited(message.small()?, Exit::Status(message.small()?)),
            3 => Self::Exited(message.small()?, Exit::Signal(message.small()?)),
            4 => Self::Failed(Failure {
                act: message.text()?,
                source: io::Error::from_raw_os_error(message.small()?),
            }),
            5 => Self::Waiting,
            other => return Err(io::Error::other(format!("no report {other}"))),
        })
    }
}

/// What a sandbox's first process is asked to start.
enum Asked {
    Job {
        job: Box<Job>,
        /// Whether a descriptor for its standard input comes with it.
        input: bool,
    },
    /// What waits for a job, which comes in another message.
    Early(Early),
}

impl Asked {
    /// With the descriptors for the output of the program, for that of its companions, for its input and
    /// for `/tmp`, where there are any; `None` when the server is gone.
    fn receive(channel: &OwnedFd) -> io::Result<Option<(Self, Vec<OwnedFd>)>> {
        let Some(mut message) = wire::receive(channel.as_fd())? else {
            return Ok(None);
        };
        let asked = Self::read(&mut message)?;
        Ok(Some((asked, message.descriptors)))
    }

    /// The job of what waits for it, which has its output: only the other descriptors come.
    fn receive_job(channel: &OwnedFd) -> io::Result<Option<(Job, Vec<OwnedFd>)>> {
        match Self::receive(channel)? {
            Some((Self::Job { job, .. }, outputs)) => Ok(Some((*job, outputs))),
            Some((Self::Early(_), _)) => Err(unexpected()),
            None => Ok(None),
        }
    }

    fn read(message: &mut Message) -> io::Result<Self> {
        match message.number()? {
            0 => Ok(Self::Job {
                input: message.number()? != 0,
                job: Box::new(Job::read(message)?),
            }),
            1 => Early::read(message).map(Self::Early),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidInput)
}

impl Job {
    /// What a sandbox's first process is sent. What may stand in for the program is the server's
    /// business, and so is what `/tmp` can be here. `input` is what is sent beside it to be the program's
    /// standard input.
    pub(crate) fn write(&self, temporary: Temporary, input: Option<&OwnedFd>) -> Writer {
        let names: Vec<_> = self.names.iter().collect();
        let (kind, bytes) = match temporary {
            Temporary::Memory(bytes) => (0, bytes),
            Temporary::Disk(bytes) => (1, bytes),
        };
        self.program
            .write(Writer::default().number(0).number(input.is_some().into()))
            .each(&self.companions, |to, companion| companion.write(to))
            .each(self.root.as_slice(), |to, root| to.text(root))
            .each(&self.binds, |to, bind| bind.write(to))
            .number(kind)
            .number(bytes)
            .each(&self.listen, Writer::address)
            .each(&names, |to, (name, address)| {
                to.text(name).number(u64::from(address.to_bits()))
            })
            .number(self.sockets as u64)
    }

    fn read(from: &mut Message) -> io::Result<Self> {
        Ok(Self {
            program: Program::read(from)?,
            companions: from.each(Program::read)?,
            root: from.each::<PathBuf>(Message::path)?.pop(),
            binds: from.each(Bind::read)?,
            temporary: match from.number()? {
                0 => Temporary::Memory(from.number()?),
                _ => Temporary::Disk(from.number()?),
            },
            listen: from.each::<SocketAddrV4>(Message::address)?,
            names: from
                .each(|from| Ok((from.text()?, from.small::<u32>()?.into())))?
                .into_iter()
                .collect(),
            sockets: from.small()?,
            early: None,
        })
    }
}

impl Early {
    /// What a sandbox's first process is sent before the job.
    pub(crate) fn write(&self) -> Writer {
        self.program
            .write(Writer::default().number(1))
            .each(&self.binds, |to, bind| bind.write(to))
            .each(&self.folders, |to, folder| to.text(folder))
    }

    fn read(from: &mut Message) -> io::Result<Self> {
        Ok(Self {
            program: Program::read(from)?,
            binds: from.each(Bind::read)?,
            folders: from.each(Message::path)?,
        })
    }
}

impl Bind {
    fn write(&self, to: Writer) -> Writer {
        to.text(&self.from).text(&self.to)
    }

    fn read(from: &mut Message) -> io::Result<Self> {
        Ok(Self {
            from: from.path()?,
            to: from.path()?,
        })
    }
}

impl Program {
    fn write(&self, to: Writer) -> Writer {
        let variables: Vec<_> = self.environment.iter().collect();
        to.text(&self.executable)
            .each(&self.arguments, |to, argument| to.text(argument))
            .each(&variables, |to, (name, value)| to.text(name).text(value))
            .text(&self.directory)
    }

    fn read(from: &mut Message) -> io::Result<Self> {
        Ok(Self {
            executable: from.path()?,
            arguments: from.each(Message::path)?,
            environment: from
                .each(|from| Ok((from.text()?, from.text()?)))?
                .into_iter()
                .collect(),
            directory: from.path()?,
            // Limits are the server's work.
            memory: 0,
        })
    }
}
