//! The process of a worker, up to the moment at which it has connected.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandbox::{Bind, Job, Program, Temporary};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use uuid::Uuid;

use super::WasmConfig;
use crate::Isolation;
use crate::process::body::Body;
use crate::process::scratch::Scratch;

/// How long a worker may take to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Where a worker connects to in its sandbox, on a network of its own.
const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9001);

/// Where a worker finds its program in its sandbox.
const EXECUTABLE: &str = "/var/runtime/worker";

/// A worker writes no files.
const TEMPORARY_BYTES: u64 = 1 << 20;

/// A process that has connected, and what it must say first.
pub(super) struct Connected {
    pub(super) body: Body,
    pub(super) stream: TcpStream,
    pub(super) token: String,
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

/// Starts a process that sees `shown`, and waits until it has connected.
pub(super) async fn start(
    config: &WasmConfig,
    isolation: &Isolation,
    shown: &Shown<'_>,
    memory: u64,
) -> io::Result<Connected> {
    let token = Uuid::new_v4().simple().to_string();
    let program = |executable: PathBuf, address: SocketAddr| Program {
        executable,
        arguments: [
            config.arguments.clone(),
            vec![address.to_string().into(), memory.to_string().into()],
        ]
        .concat(),
        environment: BTreeMap::from([(WasmConfig::TOKEN.to_owned(), token.clone())]),
        directory: PathBuf::from("/"),
        memory,
    };
    let (body, listener) = match isolation {
        Isolation::Sandboxed(spawner) => {
            let bind = |from: &Path, to: &str| Bind {
                from: from.to_owned(),
                to: PathBuf::from(to),
            };
            let job = Job {
                program: program(PathBuf::from(EXECUTABLE), ADDRESS.into()),
                companions: Vec::new(),
                root: None,
                binds: vec![
                    bind(&config.executable, EXECUTABLE),
                    bind(shown.here, shown.inside),
                ],
                temporary: Temporary::Memory(TEMPORARY_BYTES),
                listen: vec![ADDRESS],
                sockets: 0,
                names: BTreeMap::new(),
                early: None,
            };
            let spawned = spawner.spawn(job).await;
            let mut sandbox = spawned.map_err(sandbox::Error::into_io)?;
            let listener = sandbox.take_listeners().pop();
            let listener = listener.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            (Body::Sandboxed(sandbox), TcpListener::from_std(listener)?)
        }
        Isolation::None(spawner) => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let program = program(config.executable.clone(), listener.local_addr()?);
            let scratch = Scratch::create(&config.scratch)?;
            let spawned = spawner.spawn(program).await;
            let tree = spawned.map_err(sandbox::Error::into_io)?;
            (Body::Plain(tree, scratch), listener)
        }
    };
    let stream = tokio::select! {
        accepted = listener.accept() => accepted?.0,
        exit = body.exited() => {
            return Err(io::Error::other(format!("the worker ended at its start: {exit}")));
        }
        () = tokio::time::sleep_until(Instant::now() + CONNECT_LIMIT) => {
            return Err(io::Error::other("the worker did not connect"));
        }
    };
    stream.set_nodelay(true)?;
    Ok(Connected {
        body,
        stream,
        token,
    })
}
