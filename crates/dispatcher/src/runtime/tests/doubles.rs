//! Stand-ins for the registry, the API's payloads and the functions themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Clock, Monotonic, Timestamp};
use event_log::{Offset, Partition, StoredRecord};
use function::{
    Alias, AsyncPolicy, Draw, Function, FunctionName, QualifiedName, Qualifier, Trigger, TriggerId,
    Version,
};
use instance::{Finished, Instance, Invocation, LaunchError, Launcher, Metrics, Outcome, Spec};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{BatchAnswer, Folders, Functions, Payloads};

/// Wall time that moves with tokio's.
#[derive(Debug)]
pub(super) struct PausedClock {
    origin: Instant,
}

impl PausedClock {
    pub(super) const START: i64 = 1_795_000_000_000;

    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
        })
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(Self::START).plus(self.origin.elapsed())
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_origin(self.origin.elapsed())
    }
}

/// A registry in memory.
#[derive(Debug, Default)]
pub(super) struct Listed {
    functions: Mutex<BTreeMap<FunctionName, Arc<Function>>>,
    versions: Mutex<Vec<Arc<Function>>>,
    aliases: Mutex<Vec<Alias>>,
    triggers: Mutex<BTreeMap<TriggerId, Arc<Trigger>>>,
    changes: watch::Sender<u64>,
}

impl Listed {
    pub(super) fn put_function(&self, function: Function) {
        let name = function.name.clone();
        self.functions.lock().insert(name, Arc::new(function));
        self.changed();
    }

    pub(super) fn put_version(&self, version: Function) {
        let mut versions = self.versions.lock();
        versions.retain(|other| other.version != version.version);
        versions.push(Arc::new(version));
        drop(versions);
        self.changed();
    }

    /// Points an alias of whichever function elsewhere.
    pub(super) fn put_alias(&self, alias: Alias) {
        let mut aliases = self.aliases.lock();
        aliases.retain(|other| other.name != alias.name);
        aliases.push(alias);
        drop(aliases);
        self.changed();
    }

    pub(super) fn delete_function(&self, name: &str) {
        self.functions
            .lock()
            .remove(&FunctionName::new(name).unwrap());
        self.changed();
    }

    pub(super) fn put_trigger(&self, trigger: Trigger) {
        self.triggers.lock().insert(trigger.id, Arc::new(trigger));
        self.changed();
    }

    pub(super) fn delete_trigger(&self, id: TriggerId) {
        self.triggers.lock().remove(&id);
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl Functions for Listed {
    fn function(&self, name: &FunctionName) -> Option<Arc<Function>> {
        self.functions.lock().get(name).cloned()
    }

    fn functions(&self) -> Vec<Arc<Function>> {
        self.functions.lock().values().cloned().collect()
    }

    fn versions(&self) -> Vec<Arc<Function>> {
        self.versions.lock().clone()
    }

    fn provisioned(&self) -> Vec<(Arc<Function>, u32)> {
        let versions = self.versions.lock();
        let wanted = versions.iter().filter_map(|version| {
            let executions = version.provisioned?.executions;
            Some((Arc::clone(version), executions))
        });
        wanted.collect()
    }

    fn resolve(&self, target: &QualifiedName, draw: Draw) -> Option<Arc<Function>> {
        let version = match target.meant() {
            Qualifier::Version(version) => *version,
            Qualifier::Alias(name) => {
                let aliases = self.aliases.lock();
                let alias = aliases.iter().find(|alias| alias.name == *name)?;
                alias.choose(draw)
            }
        };
        if version == Version::Latest {
            return self.function(&target.name);
        }
        let versions = self.versions.lock();
        let found = versions
            .iter()
            .find(|it| it.name == target.name && it.version == version);
        found.cloned()
    }

    fn async_policy(&self, target: &QualifiedName) -> Option<AsyncPolicy> {
        Some(self.function(&target.name)?.asynchronous.clone())
    }

    fn triggers(&self) -> Vec<Arc<Trigger>> {
        self.triggers.lock().values().cloned().collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn folders(
        &self,
        _: &Function,
    ) -> Result<Folders, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Folders {
            code: PathBuf::from("/nowhere"),
            opt: None,
        })
    }
}

/// Payloads as plain lists: `[[offset, value], …]`; answers as lists of failed offsets.
#[derive(Debug)]
pub(super) struct Lists;

impl Payloads for Lists {
    fn encode(&self, _: &Trigger, _: Partition, records: &[StoredRecord]) -> Bytes {
        let events: Vec<_> = records
            .iter()
            .map(|stored| {
                let value = stored.record.value.clone().unwrap_or_default();
                json!([stored.offset.get(), String::from_utf8_lossy(&value)])
            })
            .collect();
        Bytes::from(Value::from(events).to_string())
    }

    fn selects(&self, _: &Trigger, _: &StoredRecord) -> bool {
        true
    }

    fn filter_document(&self, _: &Trigger, _: Partition, stored: &StoredRecord) -> Option<Value> {
        serde_json::from_slice(stored.record.value.as_ref()?).ok()
    }

    fn batch_answer(
        &self,
        _: &Trigger,
        _: Partition,
        _: &[StoredRecord],
        answer: &Bytes,
    ) -> BatchAnswer {
        match serde_json::from_slice::<Vec<u64>>(answer) {
            Ok(failed) if failed.is_empty() => BatchAnswer::Done,
            Ok(failed) => BatchAnswer::Failed(failed.into_iter().map(Offset::new).collect()),
            Err(_) => BatchAnswer::Unreadable,
        }
    }
}

/// One call of a function.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) function: String,
    pub(super) version: String,
    pub(super) arn: String,
    pub(super) request_id: String,
    pub(super) payload: Bytes,
}

impl Call {
    /// The offsets and values of a batch.
    pub(super) fn events(&self) -> Vec<(u64, String)> {
        serde_json::from_slice(&self.payload).unwrap()
    }

    pub(super) fn offsets(&self) -> Vec<u64> {
        self.events()
            .into_iter()
            .map(|(offset, _)| offset)
            .collect()
    }

    pub(super) fn values(&self) -> Vec<String> {
        self.events().into_iter().map(|(_, value)| value).collect()
    }
}

pub(super) type Answer = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Handler = Arc<dyn Fn(Call) -> Answer + Send + Sync>;

/// Starts instances whose functions do what a closure says.
#[derive(Clone)]
pub(super) struct Script(Handler);

impl Script {
    pub(super) fn new(handler: impl Fn(Call) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new(handler))
    }
}

struct Actor {
    script: Script,
    function: String,
    version: String,
}

#[async_trait]
impl Launcher for Script {
    async fn launch(&self, spec: &Arc<Spec>) -> Result<Box<dyn Instance>, LaunchError> {
        Ok(Box::new(Actor {
            script: self.clone(),
            function: spec.function.clone(),
            version: spec.version.clone(),
        }))
    }
}

#[async_trait]
impl Instance for Actor {
    async fn invoke(self: Box<Self>, invocation: Invocation) -> Finished {
        let call = Call {
            function: self.function.clone(),
            version: self.version.clone(),
            arn: invocation.arn,
            request_id: invocation.request_id,
            payload: invocation.payload,
        };
        let outcome = (self.script.0)(call).await;
        Finished {
            outcome,
            metrics: Metrics {
                init: None,
                duration: Duration::from_millis(5),
                max_memory_mib: 1,
            },
            log_tail: Bytes::new(),
            instance: Some(self),
        }
    }

    async fn prepare(&mut self) -> bool {
        true
    }

    async fn ready(&mut self) -> bool {
        true
    }

    async fn shutdown(self: Box<Self>) {}
}

pub(super) fn fine() -> Outcome {
    Outcome::Success(Bytes::from_static(b"[]"))
}

pub(super) fn broken() -> Outcome {
    Outcome::Error {
        body: Bytes::from_static(br#"{"errorMessage":"no","errorType":"Error"}"#),
        error_type: "Error".to_owned(),
    }
}
