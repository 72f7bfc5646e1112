//! The process of a worker.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use sandbox::{Bind, Job, Program, Temporary};
use tokio::net::UnixStream;

use super::WasmConfig;
use crate::Isolation;
use crate::process::body::Body;
use crate::process::scratch::Scratch;

/// Where a worker finds its program in its sandbox.
const EXECUTABLE: &str = "/var/runtime/worker";

/// A worker writes no files.
const TEMPORARY_BYTES: u64 = 1 << 20;

/// A process, and the server's end of what is its standard input.
pub(super) struct Connected {
    pub(super) body: Body,
    pub(super) stream: UnixStream,
}

/// A folder that a worker reads, and where.
pub(super) struct Shown<'a> {
    here: &'a Path,
    inside: &'static str,
}

impl<'a> Shown<'a> {
    /// `here` on this machine is `inside` in a sandbox.
    pub(super) const fn new(here: &'a Path, inside: &'static str) -> Self {
        Self { here, inside }
    }

    /// Its path for a worker.
    pub(super) fn path(&self, isolation: &Isolation) -> &Path {
        match isolation {
            Isolation::Sandboxed(_) => Path::new(self.inside),
            Isolation::None(_) => self.here,
        }
    }
}

/// Starts a process that sees `shown`.
pub(super) async fn start(
    config: &WasmConfig,
    isolation: &Isolation,
    shown: &Shown<'_>,
    memory: u64,
) -> io::Result<Connected> {
    let (ours, theirs) = StdUnixStream::pair()?;
    let input = Some(OwnedFd::from(theirs));
    let program = |executable: PathBuf| Program {
        executable,
        arguments: [config.arguments.clone(), vec![memory.to_string().into()]].concat(),
        environment: BTreeMap::new(),
        directory: PathBuf::from("/"),
        memory,
    };
    let body = match isolation {
        Isolation::Sandboxed(spawner) => {
            let bind = |from: &Path, to: &str| Bind {
                from: from.to_owned(),
                to: PathBuf::from(to),
            };
            let job = Job {
                program: program(PathBuf::from(EXECUTABLE)),
                companions: Vec::new(),
                root: None,
                binds: vec![
                    bind(&config.executable, EXECUTABLE),
                    bind(shown.here, shown.inside),
                ],
                temporary: Temporary::Memory(TEMPORARY_BYTES),
                listen: Vec::new(),
                sockets: 0,
                names: BTreeMap::new(),
                early: None,
            };
            let spawned = spawner.spawn_with(job, input).await;
            Body::Sandboxed(spawned.map_err(sandbox::Error::into_io)?)
        }
        Isolation::None(spawner) => {
            let scratch = Scratch::create(&config.scratch)?;
            let spawned = spawner
                .spawn(program(config.executable.clone()), input)
                .await;
            Body::Plain(spawned.map_err(sandbox::Error::into_io)?, scratch)
        }
    };
    ours.set_nonblocking(true)?;
    Ok(Connected {
        body,
        stream: UnixStream::from_std(ours)?,
    })
}
