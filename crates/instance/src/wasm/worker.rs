//! A worker process and the connection to it.

mod link;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use sandbox::Ended;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::WasmConfig;
use super::body::{self, Connected, Shown};
use super::module::Module;
use super::protocol::{Order, Report, take_frame};
use crate::process::output::Output;
use crate::{Isolation, Spec};

pub(super) use link::{Done, Heard, Link};

/// How many invocations one worker runs at a time; more wait for their turn. Each place costs a worker
/// up to two and a half mebibytes of memory that it keeps: 2 MiB of linear memory, and 64 KiB of each of
/// eight tables.
pub(super) const PLACES: usize = 256;

/// How long a worker may take to say who it is.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// Where workers find artifacts in their sandboxes.
pub(super) const ARTIFACTS: &str = "/var/artifacts";

/// The worker of one account, or one that compiles. Dropping it kills the process.
pub(super) struct Worker {
    link: Arc<Link>,
    engine: String,
    places: Semaphore,
    next_module: AtomicU32,
    modules: Mutex<HashMap<Revision, Weak<Module>>>,
    _process: JoinSet<()>,
}

/// What may share a loaded module, as it may share an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Revision {
    function: String,
    version: String,
    revision: String,
}

/// How a worker ended, for its user.
fn how(ended: &Ended) -> String {
    match ended.out_of_memory {
        true => "its memory was used up".to_owned(),
        false => ended.exit.to_string(),
    }
}

impl Worker {
    /// Starts the worker that reads artifacts in `folder`.
    pub(super) async fn start(
        config: &WasmConfig,
        isolation: &Isolation,
        folder: &Path,
        memory: u64,
    ) -> io::Result<Self> {
        let shown = Shown::new(folder, ARTIFACTS);
        Self::over(body::start(config, isolation, &shown, memory).await?).await
    }

    /// A worker in a process that has just been started.
    pub(super) async fn over(connected: Connected) -> io::Result<Self> {
        let Connected { body, mut stream } = connected;
        let mut buffer = BytesMut::new();
        let hello = tokio::time::timeout(HELLO_LIMIT, next(&mut stream, &mut buffer));
        let engine = match hello.await?? {
            Some(Report::Hello { engine }) if is_name(&engine) => engine,
            Some(_) => return Err(io::Error::other("something else than a worker answers")),
            None => {
                // It has let go of the connection, so that it is ending.
                let _ = tokio::time::timeout(HELLO_LIMIT, body.exited()).await;
                let how = how(&body.kill().await);
                return Err(io::Error::other(format!(
                    "the worker ended at its start: {how}"
                )));
            }
        };
        let output = Output::new(body.output()?, None)?;
        let link = Arc::new(Link::default());
        let mut process = JoinSet::new();
        let (reader, writer) = stream.into_split();
        let driven = Arc::clone(&link);
        process.spawn(async move {
            let failure = tokio::select! {
                read = driven.read(reader, buffer) => read.err(),
                written = driven.write(writer) => written.err(),
                _ = body.exited() => None,
                () = driven.condemned() => None,
                () = tell(output) => None,
            };
            if let Some(error) = failure {
                tracing::debug!(%error, "the connection to a worker has ended");
            }
            driven.end(how(&body.kill().await));
        });
        Ok(Self {
            link,
            engine,
            places: Semaphore::new(PLACES),
            next_module: AtomicU32::new(0),
            modules: Mutex::default(),
            _process: process,
        })
    }

    /// The name of the engine that runs in it.
    pub(super) fn engine(&self) -> &str {
        &self.engine
    }

    /// Whether it is gone, so that nothing can be run on it any more.
    pub(super) fn has_ended(&self) -> bool {
        self.link.has_ended()
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Waits for a place among those that run.
    pub(super) async fn place(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        // It is never closed.
        self.places.acquire().await.ok()
    }

    /// The module of `spec`'s revision, loaded or not.
    pub(super) fn module(&self, spec: &Spec) -> Arc<Module> {
        let revision = Revision {
            function: spec.function.clone(),
            version: spec.version.clone(),
            revision: spec.revision.clone(),
        };
        let mut modules = self.modules.lock();
        if let Some(module) = modules.get(&revision).and_then(Weak::upgrade) {
            return module;
        }
        modules.retain(|_, module| module.strong_count() > 0);
        let number = self.next_module.fetch_add(1, Ordering::Relaxed);
        let module = Arc::new(Module::new(number, Arc::clone(&self.link)));
        modules.insert(revision, Arc::downgrade(&module));
        module
    }

    /// Has a module compiled: the artifact, or why there is none. `None` when the worker has ended.
    pub(super) async fn compile(&self, path: String) -> Option<Result<Bytes, String>> {
        let answer = self.link.compiled()?;
        self.link.send(&Order::Compile { path });
        answer.await.ok()
    }
}

/// The next report; `None` when the worker has closed the connection.
async fn next(stream: &mut UnixStream, buffer: &mut BytesMut) -> io::Result<Option<Report>> {
    loop {
        if let Some(body) = take_frame(buffer).map_err(io::Error::other)? {
            return Report::read(body).map(Some).map_err(io::Error::other);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Whether a worker's word for its engine can be part of a file's name.
fn is_name(engine: &str) -> bool {
    (1..=64).contains(&engine.len())
        && engine
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Puts what the worker itself prints, which should be nothing, into the server's log.
async fn tell(mut output: Output) {
    loop {
        let (_, lines) = output.lines().await;
        let text = String::from_utf8_lossy(&lines);
        tracing::warn!(text = text.trim_end(), "a worker says");
    }
}

#[cfg(test)]
mod tests {
    use sandbox::PlainSpawner;

    use super::*;

    #[tokio::test]
    async fn a_worker_that_does_not_start_says_how_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let config = WasmConfig {
            executable: "/bin/sh".into(),
            arguments: vec!["-c".into(), "exit 7".into()],
            artifacts: folder.path().join("artifacts"),
            scratch: folder.path().to_owned(),
            memory: 1 << 30,
        };
        let isolation = Isolation::None(PlainSpawner::start().unwrap());
        let started = Worker::start(&config, &isolation, folder.path(), 1 << 30).await;
        let Err(error) = started else {
            panic!("a shell is no worker");
        };
        let error = error.to_string();
        assert!(error.ends_with("exit status 7"), "{error}");
    }
}
