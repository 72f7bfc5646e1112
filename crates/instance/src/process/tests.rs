//! Real processes, in sandboxes unless a test is about life without. What needs Python or Node.js, or
//! a machine that allows sandboxes, says so by name when the machine lacks it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::SystemClock;
use rustix::process::{Pid, test_kill_process};
use sandbox::SpawnerConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    Finished, Initialization, Invocation, LogFormat, LogQueue, LogReceiver, Outcome, Pool,
    PoolConfig, log_queue,
};

mod early;
mod examples;
mod extensions;
mod images;
mod json_logs;
mod node;
mod provided;
mod provisioned;
mod python;
mod ruby;
mod sandboxed;

/// A launcher, a pool over it, and the log.
struct Bench {
    folder: TempDir,
    pool: Pool,
    logs: LogReceiver,
    launcher: Arc<ProcessLauncher>,
}

impl Bench {
    /// `None`, and a skip, on a machine that lacks `program`.
    fn having(program: &str) -> Option<Self> {
        let (sink, logs) = log_queue(16 << 20);
        Self::with(program, 0, sink, logs)
    }

    /// The same with interpreters that wait for their functions.
    fn early(program: &str) -> Option<Self> {
        let (sink, logs) = log_queue(16 << 20);
        Self::with(program, 2, sink, logs)
    }

    fn with(program: &str, early: usize, sink: LogQueue, logs: LogReceiver) -> Option<Self> {
        if lacks(program) {
            return None;
        }
        let folder = TempDir::new().unwrap();
        let config = SpawnerConfig {
            mount_point: folder.path().join("root"),
            disk: folder.path().join("disk"),
            spares: 1,
            spares_at_most: 4,
            early,
        };
        match Spawner::start(config) {
            Ok(spawner) => Some(Self::over(
                folder,
                Isolation::Sandboxed(spawner),
                Endpoints::default(),
                sink,
                logs,
            )),
            Err(error) => {
                let source = std::error::Error::source(&error).unwrap();
                skip(&format!("{error}: {source}"));
                None
            }
        }
    }

    /// Without sandboxes, so that processes are known by the same ids inside and outside.
    fn plain(program: &str) -> Option<Self> {
        let (sink, logs) = log_queue(16 << 20);
        let isolation = Isolation::None(PlainSpawner::start().unwrap());
        let folder = TempDir::new().unwrap();
        (!lacks(program)).then(|| Self::over(folder, isolation, Endpoints::default(), sink, logs))
    }

    /// The same with ports of the server's to grant.
    fn granting(self, endpoints: Endpoints) -> Self {
        let (sink, logs) = log_queue(16 << 20);
        let isolation = self.launcher.isolation.clone();
        Self::over(self.folder, isolation, endpoints, sink, logs)
    }

    fn over(
        folder: TempDir,
        isolation: Isolation,
        endpoints: Endpoints,
        sink: LogQueue,
        logs: LogReceiver,
    ) -> Self {
        let config = ProcessConfig {
            instances: folder.path().join("instances"),
            runtimes: folder.path().join("runtimes"),
            search_path: search_path(),
            endpoints,
        };
        let clock = Arc::new(SystemClock::new());
        let launcher = ProcessLauncher::new(config, isolation, clock, Arc::new(sink)).unwrap();
        let launcher = Arc::new(launcher);
        let pool = Pool::new(
            Arc::clone(&launcher) as Arc<dyn Launcher>,
            PoolConfig::default(),
        );
        Self {
            folder,
            pool,
            logs,
            launcher,
        }
    }

    /// A function with one file.
    fn spec(&self, runtime: &str, handler: &str, file: &str, text: &str) -> Spec {
        let code = TempDir::with_prefix_in("code-", self.folder.path())
            .unwrap()
            .keep();
        let path = code.join(file);
        std::fs::write(&path, text).unwrap();
        for readable in [&path, &code] {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(readable, mode).unwrap();
        }
        Spec {
            account: "000000000000".to_owned(),
            function: "f".to_owned(),
            version: "$LATEST".to_owned(),
            revision: "1".to_owned(),
            arn: "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned(),
            region: "us-east-1".to_owned(),
            runtime: runtime.parse().unwrap(),
            handler: handler.to_owned(),
            code,
            image: None,
            opt: None,
            memory_mib: 512,
            temporary_mib: 512,
            timeout: Duration::from_secs(30),
            environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
            log_group: "/aws/lambda/f".to_owned(),
            log_format: LogFormat::Text,
            initialization: Initialization::OnDemand,
        }
    }

    async fn invoke(&self, spec: &Arc<Spec>, payload: &Value) -> Finished {
        let payload = Bytes::from(payload.to_string());
        self.pool
            .invoke(spec, invocation(spec, payload))
            .await
            .unwrap()
    }

    /// The answer of a function that succeeds.
    async fn answer(&self, spec: &Arc<Spec>, payload: &Value) -> Value {
        let finished = self.invoke(spec, payload).await;
        let tail = String::from_utf8_lossy(&finished.log_tail).into_owned();
        match finished.outcome {
            Outcome::Success(body) => serde_json::from_slice(&body).unwrap(),
            other => panic!("{other:?}: {tail}"),
        }
    }

    /// The error of a function that fails, as its invoker sees it.
    async fn error(&self, spec: &Arc<Spec>, payload: &Value) -> Value {
        let finished = self.invoke(spec, payload).await;
        assert_eq!(finished.outcome.function_error(), Some("Unhandled"));
        serde_json::from_slice(&finished.outcome.body(REQUEST)).unwrap()
    }

    /// Whether what passes its memory limit is killed.
    fn memory(&self) -> sandbox::Limit {
        match &self.launcher.isolation {
            Isolation::Sandboxed(spawner) => spawner.limits().memory.clone(),
            Isolation::None(spawner) => spawner.limits().memory.clone(),
        }
    }

    /// The text of the log so far, after the queue has been emptied.
    fn log(&mut self) -> String {
        let mut text = Vec::new();
        while let Some(chunk) = self.logs.try_next() {
            text.extend_from_slice(&chunk.text);
        }
        String::from_utf8(text).unwrap()
    }
}

const REQUEST: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

fn invocation(spec: &Spec, payload: Bytes) -> Invocation {
    Invocation {
        request_id: REQUEST.to_owned(),
        payload,
        arn: spec.arn.clone(),
        trace_id: Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
        client_context: Some(r#"{"custom":{"a":"b"}}"#.to_owned()),
    }
}

fn search_path() -> String {
    from_caller("PATH").unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by their caller where programs are, and where to note a skip"
)]
fn from_caller(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether the machine lacks `program`, which is noted: the running test is skipped then.
fn lacks(program: &str) -> bool {
    let path = search_path();
    let lacks = !std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if lacks {
        skip(&format!("{program} is not installed"));
    }
    lacks
}

/// Notes why the running test is skipped.
fn skip(reason: &str) {
    if let Some(file) = from_caller("TIDEMILL_SKIPS") {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let line = format!("skipped: instance::{test}: {reason}\n");
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(file);
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

fn is_alive(pid: &Value) -> bool {
    let pid = i32::try_from(pid.as_i64().unwrap()).unwrap();
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}
