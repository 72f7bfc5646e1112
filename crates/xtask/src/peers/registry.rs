//! A registry of container images, from Debian's packages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Peer, Running, Start, ask, free_ports, temporary_folder};
use crate::cache::Cache;
use crate::contract;
use crate::debian::Tool;
use crate::group::{Group, Stop};

const REGISTRY: Tool = Tool {
    program: "docker-registry",
    package: "docker-registry",
};

const USER: &str = "tidemill-test";
const PASSWORD: &str = "tidemill-test-secret";
/// The user and the password's bcrypt, at the least cost.
const LOGIN: &str = "tidemill-test:$2b$04$abcdefghijklmnopqrstuuo6RC2V55KHwrD/JqwvZxJUmtuqRJq9.\n";

/// The registry that Docker's became, which lets nobody in without a password.
pub(crate) struct Registry;

impl Peer for Registry {
    fn name(&self) -> &'static str {
        "Distribution's registry"
    }

    fn install(&self, _cache: &Cache) -> Result<PathBuf> {
        REGISTRY.installed()
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        let folder = temporary_folder()?;
        let [port] = free_ports()?;
        let path = |name: &str| folder.path().join(name);
        fs::write(path("logins"), LOGIN).context("write the registry's logins")?;
        let settings = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"}}\n\
             auth: {{htpasswd: {{realm: tests, path: \"{}\"}}}}\n",
            path("data").display(),
            path("logins").display(),
        );
        let file = path("registry.yml");
        fs::write(&file, settings).context("write the registry's settings")?;
        let mut server = Group::command(installed, Stop::Terminate);
        server.arg("serve").arg(&file);
        let exports = vec![
            (contract::REGISTRY, format!("127.0.0.1:{port}")),
            (contract::REGISTRY_USER, USER.to_owned()),
            (contract::REGISTRY_PASSWORD, PASSWORD.to_owned()),
        ];
        Start {
            name: self.name(),
            folder,
            stop: Stop::Terminate,
        }
        .until(&mut server, exports, || {
            ask::<12>(port, b"GET /v2/ HTTP/1.0\r\n\r\n") == Some(*b"HTTP/1.0 401")
        })
    }
}
