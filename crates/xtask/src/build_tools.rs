//! What building Tidemill takes besides Rust.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::debian::{self, Tool};

/// The feature with which tests have the server built: TLS towards Kafka clusters, by OpenSSL. Only
/// for commands that build the package `server`.
pub(crate) const WITH_TLS: [&str; 2] = ["--features", "server/kafka-tls"];

/// The Kafka client is C, and so is the TLS that it speaks in tests.
const PROGRAMS: &[Tool] = &[
    Tool {
        program: "cc",
        package: "gcc",
    },
    Tool {
        program: "c++",
        package: "g++",
    },
    Tool {
        program: "make",
        package: "make",
    },
    PKG_CONFIG,
];
const PKG_CONFIG: Tool = Tool {
    program: "pkg-config",
    package: "pkg-config",
};

/// Brings what is missing.
///
/// # Errors
/// It cannot be installed; the text says what to run.
pub(crate) fn install() -> Result<()> {
    for tool in PROGRAMS {
        tool.installed()?;
    }
    let mut openssl = Command::new(PKG_CONFIG.installed()?);
    let openssl = openssl.args(["--exists", "openssl"]).stdin(Stdio::null());
    if !openssl.status()?.success() {
        debian::install("libssl-dev")?;
    }
    Ok(())
}
