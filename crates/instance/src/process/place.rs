//! Where an instance finds its things: at AWS's paths in a sandbox, at ours without one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use sandbox::{Bind, Temporary};

use super::ProcessConfig;
use super::environment::Surroundings;
use crate::Spec;
use crate::egress::Granted;

/// Up to this many MiB, `/tmp` is kept in memory: AWS Lambda's default.
const IN_MEMORY_MIB: u32 = 512;

/// Where the Runtime API is found in a sandbox (AWS Lambda's port, 2026).
const RUNTIME_API_PORT: u16 = 9001;

/// Where a sandbox shows layers.
pub(super) const OPT: &str = "/opt";

/// Where programs are looked for in a sandbox (AWS Lambda, 2026).
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/opt/bin";

/// The paths of an instance, as it sees them.
pub(super) struct Place {
    pub(super) code: PathBuf,
    pub(super) runtimes: PathBuf,
    temporary: PathBuf,
    search_path: String,
}

impl Place {
    /// In a sandbox.
    pub(super) fn inside() -> Self {
        Self {
            code: PathBuf::from("/var/task"),
            runtimes: PathBuf::from("/var/runtime"),
            temporary: PathBuf::from("/tmp"),
            search_path: SEARCH_PATH.to_owned(),
        }
    }

    /// Without one. The temporary folder is each instance's own and not known yet.
    pub(super) fn outside(spec: &Spec, config: &ProcessConfig) -> Self {
        Self {
            code: spec.code.clone(),
            runtimes: config.runtimes.clone(),
            temporary: config.instances.clone(),
            search_path: config.search_path.clone(),
        }
    }

    pub(super) fn surroundings<'a>(
        &'a self,
        runtime_api: String,
        log_stream: &'a str,
    ) -> Surroundings<'a> {
        Surroundings {
            runtime_api,
            code: &self.code,
            runtimes: &self.runtimes,
            search_path: &self.search_path,
            temporary: &self.temporary,
            log_stream,
        }
    }

    /// What a sandbox shows of this machine beside the system's folders and the runtime: the
    /// function's own. What an image has is there already.
    pub(super) fn functions(&self, spec: &Spec) -> Vec<Bind> {
        if spec.image.is_some() {
            return Vec::new();
        }
        let mut binds = vec![Bind {
            from: spec.code.clone(),
            to: self.code.clone(),
        }];
        binds.extend(spec.opt.iter().map(|opt| Bind {
            from: opt.clone(),
            to: PathBuf::from(OPT),
        }));
        binds
    }

    /// What it shows of the runtime: our own at `runtimes`, and what is the interpreter's.
    pub(super) fn runtime(&self, runtimes: &Path, roots: &[PathBuf]) -> Vec<Bind> {
        let mut binds = vec![Bind {
            from: runtimes.to_owned(),
            to: self.runtimes.clone(),
        }];
        binds.extend(roots.iter().map(|root| Bind {
            from: root.clone(),
            to: root.clone(),
        }));
        binds
    }
}

/// What `/tmp` is in a sandbox.
pub(super) fn temporary(spec: &Spec) -> Temporary {
    let bytes = u64::from(spec.temporary_mib) << 20;
    if spec.temporary_mib <= IN_MEMORY_MIB {
        Temporary::Memory(bytes)
    } else {
        Temporary::Disk(bytes)
    }
}

/// By which names hosts are found in a sandbox.
pub(super) fn names(granted: &[Granted]) -> BTreeMap<String, Ipv4Addr> {
    let name = |granted: &Granted| Some((granted.name.clone()?, *granted.inside.ip()));
    granted.iter().filter_map(name).collect()
}

/// The address of the Runtime API in a sandbox: AWS's, unless one of the granted ports has it.
pub(super) fn runtime_api(granted: &[Granted]) -> SocketAddrV4 {
    let taken = |port: u16| granted.iter().any(|granted| granted.inside.port() == port);
    let port = (RUNTIME_API_PORT..u16::MAX).find(|port| !taken(*port));
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port.unwrap_or(RUNTIME_API_PORT))
}
