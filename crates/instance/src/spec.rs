//! What to run, and one run of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;
use uuid::Uuid;

use crate::{LogFormat, Runtime};

/// What an instance needs to know, fixed for its life: one version of one function of one account.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The account that owns the function, twelve digits.
    pub account: String,
    /// The function's name, without a qualifier.
    pub function: String,
    /// The version that runs, `$LATEST` or a number.
    pub version: String,
    /// Identity of code and configuration together: equal revisions may share an instance.
    pub revision: String,
    /// The function's ARN without a qualifier.
    pub arn: String,
    /// The region that the function is told it runs in.
    pub region: String,
    /// What interprets the package. An image brings its own, like the `provided` runtimes.
    pub runtime: Runtime,
    /// The entry point inside the package, in the runtime's own notation (`module.function`).
    /// The `provided` runtimes hand it to `bootstrap` unread.
    pub handler: String,
    /// The folder that holds the unpacked package, or an image's root. It must outlive every instance of
    /// the revision.
    pub code: PathBuf,
    /// How the image is run that `code` is the root of; `None` for a package.
    pub image: Option<Image>,
    /// The folder that holds the function's layers, shown at `/opt`; `None` for one without. It must
    /// outlive every instance of the revision.
    pub opt: Option<PathBuf>,
    /// The memory that the function may use, in MiB.
    pub memory_mib: u32,
    /// The size of `/tmp` in MiB. Beyond AWS's default of 512 it is kept on disk where the machine allows
    /// that, and does not count towards the memory.
    pub temporary_mib: u32,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// The function's variables, and what the server adds (credentials, endpoints). Names that the
    /// Lambda model reserves for the instance itself are overwritten.
    pub environment: BTreeMap<String, String>,
    /// The log group's name, `/aws/lambda/NAME` unless configured.
    pub log_group: String,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Why the instance is started. Makes no difference to what it can serve.
    pub initialization: Initialization,
}

/// Why an instance is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initialization {
    /// An invocation found none.
    #[default]
    OnDemand,
    /// Its version is to have some that are initialised.
    Provisioned,
}

impl Initialization {
    /// AWS's word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Provisioned => "provisioned-concurrency",
        }
    }
}

/// What is run of a container image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The program, and its arguments: entry point and command. The program is a path within the image,
    /// or a name that is looked for in its `PATH`.
    pub command: Vec<String>,
    /// Variables that the image sets.
    pub environment: BTreeMap<String, String>,
    /// Where it starts: a path within the image.
    pub directory: PathBuf,
}

impl Spec {
    /// What the log calls the runtime.
    pub(crate) fn runtime_name(&self) -> String {
        match self.image {
            Some(_) => "image".to_owned(),
            None => self.runtime.to_string(),
        }
    }
}

/// One run of a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The request's id, a UUID in lower case. It names the run in the logs and in errors.
    pub request_id: String,
    /// The event, JSON.
    pub payload: Bytes,
    /// The ARN that was invoked, with the qualifier that the caller used.
    pub arn: String,
    /// The value of `X-Amzn-Trace-Id`, if the caller sent one.
    pub trace_id: Option<String>,
    /// The client context, JSON, if the caller sent one.
    pub client_context: Option<String>,
}

impl Invocation {
    /// Its trace id, a new one if the caller sent none.
    pub(crate) fn trace(&mut self, now: Timestamp) -> &str {
        self.trace_id.get_or_insert_with(|| new_trace_id(now))
    }
}

/// A trace of its own for what nobody traces, as every invocation has one at AWS: the time in seconds
/// and 96 random bits, then 64 more.
fn new_trace_id(now: Timestamp) -> String {
    let seconds = now.as_millis() / 1000;
    let root = Uuid::new_v4().as_u128() & ((1 << 96) - 1);
    let parent = Uuid::new_v4().as_u64_pair().1;
    format!("Root=1-{seconds:08x}-{root:024x};Parent={parent:016x};Sampled=0")
}
