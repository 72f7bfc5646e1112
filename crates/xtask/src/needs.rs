//! Which package's tests need what on the machine. Adding a need here is all it takes.

use std::collections::HashSet;

use anyhow::Result;

use crate::checkout::{Checkout, Profile};
use crate::clients::Client;
use crate::contract::Export;
use crate::peers::{self, Azure, Gcs, Kafka, Mariadb, Peer, Postgres, Registry, Running, S3};
use crate::steps::Steps;

/// Something that tests find in their environment.
#[derive(Clone, Copy)]
enum Need {
    Client(Client),
    Peer(&'static dyn Peer),
}

const NEEDS: &[(&str, &[Need])] = &[
    ("connector-kafka", &[Need::Peer(&Kafka)]),
    (
        "connector-table-stream",
        &[
            Need::Peer(&Mariadb),
            Need::Peer(&Postgres),
            Need::Client(Client::Debezium),
            Need::Client(Client::Sqlite3),
        ],
    ),
    (
        "instance",
        &[Need::Client(Client::Node), Need::Client(Client::Ruby)],
    ),
    (
        "log-rigs",
        &[
            Need::Client(Client::Strace),
            Need::Client(Client::XfsIo),
            Need::Client(Client::MkfsExt4),
        ],
    ),
    (
        "tests",
        &[
            Need::Client(Client::Kcat),
            Need::Client(Client::Python),
            Need::Client(Client::KafkaPython),
            Need::Client(Client::KafkaJava),
            Need::Client(Client::Kafkajs),
            Need::Client(Client::Franz),
            Need::Client(Client::RicPython),
            Need::Client(Client::RicNode),
            Need::Client(Client::RicJava),
            Need::Client(Client::RicGo),
            Need::Client(Client::Node),
            Need::Client(Client::Ruby),
            Need::Client(Client::Csharp),
            Need::Client(Client::WasmTarget),
            Need::Client(Client::WasmExamples),
            Need::Client(Client::Moto),
            Need::Client(Client::S3sE2e),
            Need::Client(Client::AwsSdkJs),
            Need::Client(Client::AwsSdkJava),
            Need::Client(Client::AwsSdkGo),
            Need::Client(Client::Rclone),
            Need::Client(Client::Mc),
            Need::Client(Client::Sqlite3),
            Need::Client(Client::Skopeo),
            Need::Peer(&Azure),
            Need::Peer(&Gcs),
            Need::Peer(&Kafka),
            Need::Peer(&Mariadb),
            Need::Peer(&Postgres),
            Need::Peer(&Registry),
            Need::Peer(&S3),
        ],
    ),
];

impl Need {
    fn name(self) -> &'static str {
        match self {
            Self::Client(client) => client.name(),
            Self::Peer(peer) => peer.name(),
        }
    }
}

/// What has been brought and started for a run of tests; servers end when this is dropped.
pub(crate) struct Provided {
    pub(crate) exports: Vec<Export>,
    _servers: Vec<Running>,
}

/// Whether the tests of `package`, or those of all packages, need anything at all.
pub(crate) fn any(package: Option<&str>) -> bool {
    of(package).next().is_some()
}

/// Brings and starts what the tests of `package` need, or those of all packages.
///
/// What cannot be had is noted as skipped, what does not start as failed.
///
/// # Errors
/// When the checkout's path cannot be handed to tests.
pub(crate) fn provide(
    package: Option<&str>,
    checkout: &Checkout,
    steps: &mut Steps,
) -> Result<Provided> {
    let mut exports = checkout.exports(Profile::Debug)?;
    let mut servers = Vec::new();
    for need in of(package) {
        match need {
            Need::Client(client) => {
                let brought = steps.offer(&format!("bring {}", client.name()), || {
                    client.installed(checkout.cache())
                });
                exports.extend(brought.into_iter().flatten());
            }
            Need::Peer(peer) => servers.extend(peers::provide(peer, checkout.cache(), steps)),
        }
    }
    exports.extend(
        servers
            .iter()
            .flat_map(|server| server.exports.iter().cloned()),
    );
    Ok(Provided {
        exports,
        _servers: servers,
    })
}

/// Each need once, however many packages have it.
fn of(package: Option<&str>) -> impl Iterator<Item = Need> {
    let mut seen = HashSet::new();
    let wanted = NEEDS
        .iter()
        .filter(move |(name, _)| package.is_none_or(|package| package == *name));
    wanted
        .flat_map(|(_, needs)| needs.iter().copied())
        .filter(move |need| seen.insert(need.name()))
}
