//! The kinds of connectors.

mod azure;
mod buckets;
mod dynamodb;
mod folder;
mod gcs;
mod kafka;
mod mysql;
mod postgres;
mod properties;
mod s3;
mod sqlite;
mod tables;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Subcommand;
use clock::SharedClock;
use connector::{Source, SourceError};
use connector_object_store::FolderFiles;
use event::{SourceId, SourcePosition};
use event_log::SharedLog;
use serde::{Deserialize, Serialize};

use super::{ConnectorName, HintBoard};

/// What a connector reads, by kind. A kind's settings are the same on the command line and in files.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, Subcommand)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Settings {
    Azure(azure::Azure),
    Dynamodb(dynamodb::Dynamodb),
    Folder(folder::Folder),
    Gcs(gcs::Gcs),
    Kafka(kafka::Kafka),
    Mysql(mysql::Mysql),
    Postgres(postgres::Postgres),
    S3(s3::S3),
    Sqlite(sqlite::Sqlite),
}

/// What a kind of connector knows. One value of settings is one connector.
#[async_trait]
pub(crate) trait Kind: Send + Sync {
    /// Its name, as the user writes it.
    fn name(&self) -> &'static str;

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// Names the setting, and never repeats a secret.
    fn check(&self) -> anyhow::Result<()>;

    /// Makes paths independent of the folder that they were given in.
    ///
    /// # Errors
    /// The current folder is not to be had.
    fn make_absolute(&mut self) -> std::io::Result<()>;

    /// Where it reads, for people, without secrets.
    fn reads(&self) -> String;

    /// The topics that it writes to.
    fn topics(&self, name: &ConnectorName) -> Topics;

    /// Names of tables whose streams functions can be attached to, as far as the settings tell.
    fn tables(&self) -> Tables {
        Tables::None
    }

    /// The files that can be read as objects of a bucket here, and its name; `None` where there are none.
    fn files(&self, _name: &ConnectorName) -> Option<(String, FolderFiles)> {
        None
    }

    /// The sources that there are now, not connected yet. Secrets are read here.
    ///
    /// # Errors
    /// As those of a source.
    async fn sources(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> Result<Sources, SourceError>;

    /// The ids of its sources, as far as they are known without asking anybody.
    fn source_ids(&self, name: &ConnectorName, log: &SharedLog) -> Vec<SourceId>;

    /// A position of one of its sources, for people; `None` when it is none.
    fn show(&self, position: &SourcePosition) -> Option<String>;

    /// Takes back what it has made at the source, and says what that was; most kinds make nothing there.
    /// May be repeated.
    ///
    /// # Errors
    /// As those of a source.
    async fn release(
        &self,
        _name: &ConnectorName,
        _around: &Surroundings,
    ) -> Result<String, SourceError> {
        Ok("it had made nothing at the source".to_owned())
    }

    /// What removing it would take back there, if anything.
    fn leaves_behind(&self, _name: &ConnectorName) -> Option<String> {
        None
    }
}

/// What the server gives to all connectors.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) log: SharedLog,
    pub(crate) clock: SharedClock,
    pub(crate) account: String,
    pub(crate) region: String,
    /// Where sources may put aside what is too large for memory.
    pub(crate) spool: PathBuf,
    /// Where sources listen to notifications.
    pub(crate) hints: Arc<HintBoard>,
}

/// What a connector reads just now.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) all: Vec<Box<dyn Source>>,
    /// What it should read, too, and cannot.
    pub(crate) absent: Vec<Absent>,
    /// Whether there may be others later: look again after this long.
    pub(crate) look_again: Option<Duration>,
    /// How each is read.
    pub(crate) runner: connector::Settings,
}

/// A part of what a connector should read that is not there, or cannot be read.
#[derive(Debug)]
pub(crate) struct Absent {
    /// Which, as its user calls it.
    pub(crate) what: String,
    pub(crate) why: SourceError,
    pub(crate) weight: Weight,
}

/// What it means that something is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Its user has asked for it: the connector does less than it should.
    Wanted,
    /// It was read and has ended at the source, as things do.
    Ended,
}

/// Topics of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topics {
    /// All whose names begin so.
    Below(String),
    /// That of a bucket.
    OfBucket(String),
}

/// Tables of a connector whose changes are in the shape of DynamoDB Streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    /// It has none.
    None,
    /// These, and with [`Rest::Unknown`] others that only the source knows.
    Some {
        names: Vec<String>,
        rest: Rest,
        partitions: u32,
    },
}

/// Whether there are more than were named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    Unknown,
}

impl Settings {
    /// What knows of it.
    pub(crate) fn as_kind(&self) -> &dyn Kind {
        match self {
            Self::Azure(kind) => kind,
            Self::Dynamodb(kind) => kind,
            Self::Folder(kind) => kind,
            Self::Gcs(kind) => kind,
            Self::Kafka(kind) => kind,
            Self::Mysql(kind) => kind,
            Self::Postgres(kind) => kind,
            Self::S3(kind) => kind,
            Self::Sqlite(kind) => kind,
        }
    }

    /// The same, to be changed.
    pub(crate) fn as_kind_mut(&mut self) -> &mut dyn Kind {
        match self {
            Self::Azure(kind) => kind,
            Self::Dynamodb(kind) => kind,
            Self::Folder(kind) => kind,
            Self::Gcs(kind) => kind,
            Self::Kafka(kind) => kind,
            Self::Mysql(kind) => kind,
            Self::Postgres(kind) => kind,
            Self::S3(kind) => kind,
            Self::Sqlite(kind) => kind,
        }
    }
}

impl Sources {
    /// One source, for ever.
    pub(crate) fn only(source: impl Source) -> Self {
        Self {
            all: vec![Box::new(source)],
            absent: Vec::new(),
            look_again: None,
            runner: connector::Settings::default(),
        }
    }

    /// Whether something is absent that its user has asked for.
    pub(crate) fn lack_something(&self) -> bool {
        self.absent.iter().any(|it| it.weight == Weight::Wanted)
    }
}

impl Topics {
    /// Whether a topic is one of them.
    pub(crate) fn contain(&self, topic: &str) -> bool {
        match self {
            Self::Below(prefix) => topic.starts_with(prefix),
            Self::OfBucket(bucket) => topic.strip_prefix("bucket.") == Some(bucket.as_str()),
        }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(prefix) => write!(f, "{prefix}*"),
            Self::OfBucket(bucket) => write!(f, "bucket.{bucket}"),
        }
    }
}

/// Partitions of a topic that a connector makes.
const fn default_partitions() -> u32 {
    4
}

/// Refuses what is no address of a service, and one that holds a secret.
fn check_endpoint(endpoint: &str) -> anyhow::Result<()> {
    let mut schemes = ["http://", "https://"].iter();
    match schemes.find_map(|scheme| endpoint.strip_prefix(scheme)) {
        None => anyhow::bail!("endpoint must begin with http:// or https://"),
        Some(host) if host.contains(['@', '?']) => anyhow::bail!(
            "endpoint holds credentials, which would be stored and shown: name the place that they are read from in a setting of their own"
        ),
        Some(_) => Ok(()),
    }
}

/// A failure of ours that somebody must see to.
fn rejected(act: impl Into<String>, error: anyhow::Error) -> SourceError {
    SourceError::Rejected {
        act: act.into(),
        source: error.into(),
    }
}
