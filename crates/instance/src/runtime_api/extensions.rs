//! Who runs beside the runtime: AWS's Extensions API, version 2020-01-01.
//!
//! External extensions are programs of a layer, known by their file names; internal ones are parts of
//! the runtime's own process, which register before initialisation ends. Each asks for its next event,
//! and by asking again says that it has done with the last. An instance is ready, and an invocation
//! over, when every extension concerned waits.

use bytes::Bytes;
use clock::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::exchange::Fault;
use super::telemetry::Telemetry;
use crate::outcome::error_body;
use crate::{Invocation, Spec};

/// Extensions of one instance (AWS Lambda quotas, 2026).
const MOST: usize = 10;

/// What a function tells its extensions, and how far they are.
pub(crate) struct Extensions {
    function: String,
    version: String,
    handler: String,
    account: String,
    telemetry: Telemetry,
    state: Mutex<State>,
    /// Counts changes of the state.
    changed: watch::Sender<u64>,
}

/// How far an extension has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtensionState {
    pub(crate) name: String,
    /// `Started`, `Registered` or `Ready`.
    pub(crate) state: &'static str,
    /// The events that it asked for.
    pub(crate) events: Vec<&'static str>,
}

#[derive(Default)]
struct State {
    /// External ones that have not registered yet.
    expected: Vec<String>,
    /// Whether nobody may register any more.
    closed: bool,
    registered: Vec<Extension>,
    fault: Option<Fault>,
}

struct Extension {
    id: Uuid,
    name: String,
    kind: Kind,
    events: Vec<EventKind>,
    waiting: bool,
    next: Option<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    External,
    Internal,
}

/// What an extension may ask to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Invoke,
    Shutdown,
}

/// Whether an extension is told whose function it is: only those that have asked for it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    Shown,
    Hidden,
}

/// Why an instance is shut down, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is no longer needed.
    Spindown,
    /// An invocation has run for too long.
    Timeout,
    /// Something in it has failed.
    Failure,
}

/// Why a request of an extension's is refused: AWS's error type, and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) error_type: &'static str,
    pub(crate) message: String,
}

fn refused(error_type: &'static str, message: impl Into<String>) -> Refused {
    Refused {
        error_type,
        message: message.into(),
    }
}

impl EventKind {
    fn of(name: &str) -> Option<Self> {
        match name {
            "INVOKE" => Some(Self::Invoke),
            "SHUTDOWN" => Some(Self::Shutdown),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Invoke => "INVOKE",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}

impl Reason {
    const fn name(self) -> &'static str {
        match self {
            Self::Spindown => "SPINDOWN",
            Self::Timeout => "TIMEOUT",
            Self::Failure => "FAILURE",
        }
    }
}

impl Extensions {
    /// `expected` are the file names of external ones.
    pub(crate) fn new(spec: &Spec, expected: Vec<String>) -> Self {
        Self {
            function: spec.function.clone(),
            version: spec.version.clone(),
            handler: spec.handler.clone(),
            account: spec.account.clone(),
            telemetry: Telemetry::new(),
            state: Mutex::new(State {
                expected,
                ..State::default()
            }),
            changed: watch::Sender::new(0),
        }
    }

    /// What they hear of the instance, if they subscribe to it.
    pub(crate) const fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// A registered extension's name.
    pub(crate) fn name(&self, id: Uuid) -> Result<String, Refused> {
        self.with(id, |extension| extension.name.clone())
    }

    /// Whether there are none, nor will be.
    pub(crate) fn are_none(&self) -> bool {
        let state = self.state.lock();
        state.registered.is_empty() && state.expected.is_empty()
    }

    /// Whether an external one is among them.
    pub(crate) fn has_external(&self) -> bool {
        let state = self.state.lock();
        let external = |extension: &Extension| extension.kind == Kind::External;
        state.registered.iter().any(external)
    }

    /// Lets an extension in. The id is what its further requests must name.
    pub(crate) fn register(&self, name: &str, events: &[String]) -> Result<Uuid, Refused> {
        let mut state = self.state.lock();
        let external = state.expected.iter().position(|expected| expected == name);
        let taken = state.registered.iter().any(|known| known.name == name);
        if name.is_empty() {
            return Err(refused(
                "Extension.InvalidExtensionName",
                "Empty extension name",
            ));
        }
        if taken {
            let message = "Extension with this name already registered";
            return Err(refused("Extension.InvalidExtensionState", message));
        }
        let kind = match external {
            Some(_) => Kind::External,
            None if state.closed => {
                let message = "Extension registration closed already";
                return Err(refused("Extension.RegistrationClosed", message));
            }
            None => Kind::Internal,
        };
        let mut wanted = Vec::new();
        for event in events {
            match EventKind::of(event) {
                Some(EventKind::Shutdown) if kind == Kind::Internal => {
                    let message = format!("{event}: not for internal extensions");
                    return Err(refused("Extension.InvalidEventType", message));
                }
                Some(event) => wanted.push(event),
                None => {
                    let message = format!("{event}: no such event");
                    return Err(refused("Extension.InvalidEventType", message));
                }
            }
        }
        if state.registered.len() >= MOST {
            let message = format!("Extension limit ({MOST}) reached");
            return Err(refused("Extension.TooManyExtensions", message));
        }
        if let Some(index) = external {
            state.expected.remove(index);
        }
        let id = Uuid::new_v4();
        state.registered.push(Extension {
            id,
            name: name.to_owned(),
            kind,
            events: wanted,
            waiting: false,
            next: None,
        });
        drop(state);
        self.tell();
        Ok(id)
    }

    /// What a registered extension is told of the function.
    pub(crate) fn described(&self, account: Account) -> Bytes {
        let mut shown = json!({
            "functionName": self.function,
            "functionVersion": self.version,
            "handler": self.handler,
        });
        match account {
            Account::Shown => shown["accountId"] = json!(self.account),
            Account::Hidden => {}
        }
        Bytes::from(shown.to_string())
    }

    /// The next event for an extension, whenever there is one.
    pub(crate) async fn next(&self, id: Uuid) -> Result<Bytes, Refused> {
        self.with(id, |extension| extension.waiting = true)?;
        self.tell();
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let event = self.with(id, |extension| {
                let event = extension.next.take();
                extension.waiting &= event.is_none();
                event
            })?;
            if let Some(event) = event {
                self.tell();
                return Ok(event);
            }
            // The sender is this object's own.
            let _ = changed.changed().await;
        }
    }

    /// An extension gives up, and the instance with it.
    pub(crate) fn fail(
        &self,
        id: Uuid,
        error_type: &'static str,
        told: &str,
    ) -> Result<(), Refused> {
        let name = self.name(id)?;
        let message = format!("extension {name}: {told}");
        self.state.lock().fault.get_or_insert(Fault {
            error_type: error_type.to_owned(),
            body: error_body(error_type, &message),
        });
        self.tell();
        Ok(())
    }

    fn with<T>(&self, id: Uuid, act: impl FnOnce(&mut Extension) -> T) -> Result<T, Refused> {
        let mut state = self.state.lock();
        let found = state.registered.iter_mut().find(|known| known.id == id);
        found.map(act).ok_or_else(|| {
            let message = format!("Unknown extension {id}");
            refused("Extension.UnknownExtensionIdentifier", message)
        })
    }

    /// Initialisation of the runtime is over: nobody else may register.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Waits until all are there and wait for events.
    pub(crate) async fn ready(&self) -> Result<(), Fault> {
        self.until(|state| {
            let waiting = |extension: &Extension| extension.waiting;
            state.expected.is_empty() && state.registered.iter().all(waiting)
        })
        .await
    }

    /// Tells of an invocation those that want to know.
    pub(crate) fn invoke(&self, invocation: &Invocation, deadline: Timestamp) {
        let mut event = json!({
            "eventType": EventKind::Invoke.name(),
            "deadlineMs": deadline.as_millis(),
            "requestId": invocation.request_id,
            "invokedFunctionArn": invocation.arn,
        });
        if let Some(trace_id) = &invocation.trace_id {
            event["tracing"] = json!({"type": "X-Amzn-Trace-Id", "value": trace_id});
        }
        self.offer(EventKind::Invoke, &event.to_string());
    }

    /// Waits until those that were told of an invocation have done with it.
    pub(crate) async fn done(&self) -> Result<(), Fault> {
        self.until(|state| {
            let mut told = state
                .registered
                .iter()
                .filter(|extension| extension.events.contains(&EventKind::Invoke));
            told.all(|extension| extension.waiting && extension.next.is_none())
        })
        .await
    }

    /// Tells of the end those that want to know.
    pub(crate) fn shut_down(&self, reason: Reason, deadline: Timestamp) {
        let event = json!({
            "eventType": EventKind::Shutdown.name(),
            "shutdownReason": reason.name(),
            "deadlineMs": deadline.as_millis(),
        });
        self.offer(EventKind::Shutdown, &event.to_string());
    }

    fn offer(&self, kind: EventKind, event: &str) {
        let event = Bytes::from(event.to_owned());
        for extension in &mut self.state.lock().registered {
            if extension.events.contains(&kind) {
                extension.next = Some(event.clone());
            }
        }
        self.tell();
    }

    /// Each with its state and its events, as AWS's logs name them.
    pub(crate) fn states(&self) -> Vec<ExtensionState> {
        let state = self.state.lock();
        let registered = state.registered.iter().map(|extension| {
            let how = if extension.waiting {
                "Ready"
            } else {
                "Registered"
            };
            ExtensionState {
                name: extension.name.clone(),
                state: how,
                events: extension.events.iter().map(|event| event.name()).collect(),
            }
        });
        let expected = state.expected.iter().map(|name| ExtensionState {
            name: name.clone(),
            state: "Started",
            events: Vec::new(),
        });
        registered.chain(expected).collect()
    }

    /// Waits until one gives up.
    pub(crate) async fn failed(&self) -> Fault {
        match self.until(|_| false).await {
            Err(fault) => fault,
            Ok(()) => std::future::pending().await,
        }
    }

    async fn until(&self, come: impl Fn(&State) -> bool) -> Result<(), Fault> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            {
                let state = self.state.lock();
                if let Some(fault) = &state.fault {
                    return Err(fault.clone());
                }
                if come(&state) {
                    return Ok(());
                }
            }
            // The sender is this object's own.
            let _ = changed.changed().await;
        }
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}
