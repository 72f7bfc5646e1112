//! Instances as processes of this machine.
//!
//! Each has the package's folder as its working directory and a temporary folder of its own, and
//! reaches the platform through its Runtime API. How far it is kept from the rest of the machine is
//! the [`Isolation`]'s: in a sandbox it finds the same paths as at AWS (`/var/task`, `/var/runtime`,
//! `/tmp`) or its own image, and nothing answers on its network but the Runtime API and what it was granted.

pub(crate) mod body;
mod bridge;
mod command;
mod delivery;
mod early;
mod environment;
mod extension;
mod instance;
mod interpreter;
mod java;
mod mono;
pub(crate) mod output;
mod place;
mod rest;
pub(crate) mod scratch;

#[cfg(test)]
mod tests;

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use clock::{Monotonic, SharedClock};
use sandbox::{Job, PlainSpawner, Program, Spawner};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::egress::{Egress, Endpoints, Granted};
use crate::journal::Journal;
use crate::platform_event::PlatformEvent;
use crate::runtime_api::{Extensions, RuntimeApi};
use crate::{Instance, LaunchError, Launcher, LogSink, Runtime, Spec};

use body::Body;
use command::{Command, is_unusable, script};
use delivery::{Dialer, deliver};
use environment::Surroundings;
use instance::ProcessInstance;
use interpreter::{Interpreter, Interpreters};
use output::Output;
use place::{OPT, Place};
use rest::Rest;
use scratch::Scratch;

/// The runtimes of this crate, written out for the interpreters to read.
const BOOTSTRAPS: [(&str, &str); 6] = [
    ("start.py", include_str!("bootstraps/start.py")),
    (
        "lambda_bootstrap.py",
        include_str!("bootstraps/lambda_bootstrap.py"),
    ),
    ("rehearsal.py", include_str!("bootstraps/rehearsal.py")),
    ("rehearsal.js", include_str!("bootstraps/rehearsal.js")),
    ("bootstrap.mjs", include_str!("bootstraps/bootstrap.mjs")),
    ("bootstrap.rb", include_str!("bootstraps/bootstrap.rb")),
];

/// Where processes find what they need.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// A folder that belongs to the launcher: temporary folders of instances that have no sandbox,
    /// one for each. Whatever it holds at the start is removed.
    pub instances: PathBuf,
    /// A folder that belongs to the launcher: the runtimes for Python, Node.js, Ruby and C#.
    pub runtimes: PathBuf,
    /// Where programs are looked for, in the form of `PATH`. Instances without a sandbox get it as
    /// theirs.
    pub search_path: String,
    /// The server's ports that functions may be granted.
    pub endpoints: Endpoints,
}

/// How far instances are kept from the machine and from one another.
#[derive(Clone, Debug)]
pub enum Isolation {
    /// Each in a sandbox of its own.
    Sandboxed(Spawner),
    /// Not at all.
    None(PlainSpawner),
}

/// Starts a process for each instance. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct ProcessLauncher {
    config: Arc<ProcessConfig>,
    isolation: Isolation,
    clock: SharedClock,
    logs: Arc<dyn LogSink>,
    interpreters: Arc<Interpreters>,
}

/// What has been started around a process.
struct Started {
    body: Body,
    api: RuntimeApi,
    bridges: JoinSet<()>,
    dialer: Dialer,
}

/// A process whose initialisation has begun.
struct Running {
    body: Body,
    rest: Rest,
    api: RuntimeApi,
    /// To the ports of the server's that it was granted, and to its extensions.
    _connections: JoinSet<()>,
    output: Output,
    started: Monotonic,
}

impl ProcessLauncher {
    /// Prepares the two folders. What functions print goes to `logs`.
    ///
    /// # Errors
    /// When a folder cannot be emptied or written.
    pub fn new(
        config: ProcessConfig,
        isolation: Isolation,
        clock: SharedClock,
        logs: Arc<dyn LogSink>,
    ) -> io::Result<Self> {
        match std::fs::remove_dir_all(&config.instances) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => std::fs::create_dir_all(&config.instances)?,
        }
        std::fs::create_dir_all(&config.runtimes)?;
        for (name, text) in BOOTSTRAPS {
            let path = config.runtimes.join(name);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        }
        // Instances are other users of this machine, whatever the server's own files are hidden by.
        std::fs::set_permissions(&config.runtimes, Permissions::from_mode(0o755))?;
        // Instances run elsewhere, so relative paths would mean something else to them.
        let config = ProcessConfig {
            instances: std::path::absolute(&config.instances)?,
            runtimes: std::path::absolute(&config.runtimes)?,
            ..config
        };
        let interpreters = Interpreters::new(config.search_path.clone(), config.runtimes.clone());
        Ok(Self {
            config: Arc::new(config),
            isolation,
            clock,
            logs,
            interpreters: Arc::new(interpreters),
        })
    }

    /// Has interpreters of `runtime` wait for functions, if any do, before the first function is started.
    /// Returns when they are about to.
    ///
    /// # Errors
    /// [`LaunchError::RuntimeMissing`].
    pub async fn expect(&self, runtime: Runtime) -> Result<(), LaunchError> {
        if let Isolation::Sandboxed(spawner) = &self.isolation
            && early::can_wait(runtime)
            && let Some(script) = script(runtime)
        {
            let Interpreter { path, roots } = self.interpreters.find(runtime).await?;
            let place = Place::inside();
            let binds = place.runtime(&self.config.runtimes, &roots);
            let surroundings = place.surroundings(String::new(), "");
            let defaults = environment::defaults(runtime, &surroundings);
            let arguments = vec![place.runtimes.join(script)];
            let early = early::interpreter(path, arguments, &place.code, &binds, defaults);
            spawner.expect(&early).await;
        }
        Ok(())
    }

    async fn start(
        &self,
        spec: &Arc<Spec>,
        place: &Place,
        command: Command,
        granted: &[Granted],
        journal: &mut Journal,
    ) -> io::Result<Running> {
        let log_stream = journal.stream().to_owned();
        let runtime = &spec.runtime_name();
        let started = self.clock.monotonic();
        let names = extension::names(spec).await?;
        let extensions = Extensions::new(spec, names.clone());
        let Started {
            mut body,
            api,
            bridges: mut connections,
            dialer,
        } = match &self.isolation {
            Isolation::Sandboxed(spawner) => {
                let api = place::runtime_api(granted);
                let surroundings = place.surroundings(api.to_string(), &log_stream);
                let program = program(spec, place, &command, &surroundings);
                let mut listen = vec![api];
                listen.extend(granted.iter().map(|granted| granted.inside));
                let runtime = match spec.image {
                    Some(_) => Vec::new(),
                    None => place.runtime(&self.config.runtimes, &command.roots),
                };
                let defaults = environment::defaults(spec.runtime, &surroundings);
                let job = Job {
                    early: early::of(spec, &program, &runtime, defaults),
                    companions: extension::programs(&names, &program.environment),
                    program,
                    root: spec.image.as_ref().map(|_| spec.code.clone()),
                    binds: [place.functions(spec), runtime].concat(),
                    temporary: place::temporary(spec),
                    listen,
                    sockets: 1,
                    names: place::names(granted),
                };
                let spawned = spawner.spawn(job).await;
                let mut sandbox = spawned.map_err(sandbox::Error::into_io)?;
                let listeners = sandbox.take_listeners().into_iter();
                let mut listeners = listeners.map(TcpListener::from_std);
                let missing = || io::Error::from(io::ErrorKind::NotFound);
                let dialer = sandbox.take_sockets().pop().ok_or_else(missing)?;
                let listener = listeners.next().ok_or_else(missing)??;
                let mut bridges = JoinSet::new();
                for (listener, granted) in listeners.zip(granted) {
                    bridges.spawn(bridge::bridge(listener?, granted.to.clone()));
                }
                Started {
                    body: Body::Sandboxed(sandbox),
                    api: RuntimeApi::over(listener, Arc::clone(&self.clock), extensions),
                    bridges,
                    dialer: Dialer::Inside(dialer),
                }
            }
            Isolation::None(spawner) => {
                let scratch = Scratch::create(&self.config.instances)?;
                let address = (std::net::Ipv4Addr::LOCALHOST, 0);
                let listener = TcpListener::bind(address).await?;
                let address = listener.local_addr()?;
                let surroundings = Surroundings {
                    temporary: scratch.path(),
                    ..place.surroundings(address.to_string(), &log_stream)
                };
                let program = program(spec, place, &command, &surroundings);
                let spawned = spawner.spawn(program, None).await;
                let tree = spawned.map_err(sandbox::Error::into_io)?;
                Started {
                    body: Body::Plain(tree, scratch),
                    api: RuntimeApi::over(listener, Arc::clone(&self.clock), extensions),
                    bridges: JoinSet::new(),
                    dialer: Dialer::Outside,
                }
            }
        };
        journal.tell_also(&api.extensions);
        journal.platform(&PlatformEvent::InitStart { runtime });
        let awake = Arc::new(Semaphore::new(1));
        let extensions = Arc::clone(&api.extensions);
        let clock = Arc::clone(&self.clock);
        connections.spawn(deliver(extensions, dialer, Arc::clone(&awake), clock));
        let output = Output::new(body.output()?, body.take_companions_output())?;
        Ok(Running {
            rest: Rest::new(body.freezer(), awake),
            body,
            api,
            _connections: connections,
            output,
            started,
        })
    }
}

fn program(
    spec: &Spec,
    place: &Place,
    command: &Command,
    surroundings: &Surroundings<'_>,
) -> Program {
    Program {
        executable: command.executable.clone(),
        arguments: command.arguments.clone(),
        environment: environment::of(spec, surroundings),
        directory: match &spec.image {
            Some(image) => image.directory.clone(),
            None => place.code.clone(),
        },
        memory: u64::from(spec.memory_mib) << 20,
    }
}

#[async_trait]
impl Launcher for ProcessLauncher {
    async fn launch(&self, spec: &Arc<Spec>) -> Result<Box<dyn Instance>, LaunchError> {
        let mut journal = Journal::new(Arc::clone(&self.logs), Arc::clone(&self.clock), spec);
        let running = self.begin(spec, &mut journal).await?;
        Ok(Box::new(ProcessInstance {
            launcher: self.clone(),
            spec: Arc::clone(spec),
            clock: Arc::clone(&self.clock),
            running,
            journal,
            initialised: false,
            max_memory_mib: 0,
        }))
    }
}

impl ProcessLauncher {
    /// Starts a process, whose initialisation has begun on return.
    async fn begin(&self, spec: &Arc<Spec>, journal: &mut Journal) -> Result<Running, LaunchError> {
        let refused = |source| LaunchError::Egress {
            function: spec.function.clone(),
            source,
        };
        let granted = Egress::of(&spec.environment)
            .and_then(|asked| self.config.endpoints.granted(&asked))
            .map_err(refused)?;
        let place = match &self.isolation {
            Isolation::Sandboxed(_) => Place::inside(),
            Isolation::None(_) if spec.opt.is_some() => {
                let function = spec.function.clone();
                return Err(LaunchError::Layers { function });
            }
            Isolation::None(_) if spec.image.is_some() => {
                let function = spec.function.clone();
                return Err(LaunchError::Image { function });
            }
            Isolation::None(_) => Place::outside(spec, &self.config),
        };
        let command = self.command(spec, &place).await?;
        let path = command.executable.clone();
        let own = spec.image.is_some() || path.starts_with(&place.code) || path.starts_with(OPT);
        let started = self.start(spec, &place, command, &granted, journal);
        match started.await {
            Ok(running) => Ok(running),
            Err(source) => {
                let function = spec.function.clone();
                // The package's own script may name an interpreter that is not there: trying again
                // would not help.
                if own && is_unusable(&source) {
                    Err(LaunchError::EntryPoint { function, path })
                } else {
                    Err(LaunchError::Start { function, source })
                }
            }
        }
    }
}
