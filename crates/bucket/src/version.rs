//! Versions of objects, and whether buckets keep them.

use std::sync::Arc;

use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Object, ObjectKey, Sequencer, VersionId};

/// Whether a bucket keeps versions. One that ever did is never [`Unversioned`](Self::Unversioned)
/// again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Versioning {
    /// It never has: a write replaces, a deletion removes.
    #[default]
    Unversioned,
    /// A write makes a new version, a deletion a delete marker.
    Enabled,
    /// The same for the version `null` alone: it is replaced. Other versions stay.
    Suspended,
}

impl Versioning {
    pub(crate) fn is_unversioned(&self) -> bool {
        match self {
            Self::Unversioned => true,
            Self::Enabled | Self::Suspended => false,
        }
    }
}

/// One version of what a key stands for.
#[derive(Clone, Debug)]
pub enum Version {
    /// An object.
    Object(Arc<Object>),
    /// Nothing: the object was deleted, its older versions were not.
    Marker(Arc<DeleteMarker>),
}

/// A version that says that there is no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteMarker {
    pub(crate) key: ObjectKey,
    pub(crate) version: VersionId,
    pub(crate) order: Sequencer,
    pub(crate) last_modified: Timestamp,
}

impl Version {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Object(object) => &object.key,
            Self::Marker(marker) => &marker.key,
        }
    }

    /// The version's id, unique among those of its key.
    #[must_use]
    pub fn id(&self) -> VersionId {
        match self {
            Self::Object(object) => object.version,
            Self::Marker(marker) => marker.version,
        }
    }

    /// When it was written.
    #[must_use]
    pub fn last_modified(&self) -> Timestamp {
        match self {
            Self::Object(object) => object.last_modified,
            Self::Marker(marker) => marker.last_modified,
        }
    }

    /// Its place among the versions of its key: newer ones have larger ones.
    pub(crate) fn order(&self) -> Sequencer {
        match self {
            Self::Object(object) => object.order,
            Self::Marker(marker) => marker.order,
        }
    }
}

impl DeleteMarker {
    /// Its id as a version.
    #[must_use]
    pub fn version(&self) -> VersionId {
        self.version
    }

    /// When the object was deleted.
    #[must_use]
    pub fn last_modified(&self) -> Timestamp {
        self.last_modified
    }
}
