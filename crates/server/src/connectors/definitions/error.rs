//! What can go wrong with a definition.

use object_store::path::Path;

use crate::connectors::ConnectorName;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DefinitionError {
    #[error("there is a connector {name} already")]
    Exists { name: ConnectorName },
    #[error("there is no connector {name}: `tidemill connector list` shows those that there are")]
    Unknown { name: ConnectorName },
    #[error(
        "connector {name} is declared in the configuration file: remove it from [[connectors]] there and restart the server"
    )]
    Declared { name: ConnectorName },
    #[error("connector {name} is being removed")]
    Removing { name: ConnectorName },
    #[error("connector {name} was changed by somebody else at the same time: try again")]
    Conflict { name: ConnectorName },
    #[error("{0:#}")]
    Refused(anyhow::Error),
    #[error("{act}")]
    Store {
        act: String,
        #[source]
        source: object_store::Error,
    },
    #[error("{document} in the store is damaged")]
    Damaged {
        document: Path,
        #[source]
        source: serde_json::Error,
    },
}
